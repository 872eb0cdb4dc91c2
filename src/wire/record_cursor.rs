use super::{Batch, BatchBuilder};

/// Records of a batch, taken one by one. Owns them, and knows where the next one is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RecordCursor {
    bytes: Vec<u8>,
    count: u32,
    taken: u32,
    /// Where the next one's payload begins.
    payload_at: usize,
}

impl RecordCursor {
    /// At the first record.
    ///
    /// # Panics
    /// Of bytes that are no batch of so many records.
    pub fn new(count: u32, bytes: Vec<u8>) -> Self {
        let batch = Batch::new(count, &bytes).expect("records are a batch");
        let payload_at = batch.parts()[0].len();
        Self { bytes, count, taken: 0, payload_at }
    }

    /// Records that were not taken.
    pub fn len(&self) -> u32 {
        self.count - self.taken
    }

    /// Whether all were taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the next record takes in a batch.
    ///
    /// # Panics
    /// When all were taken.
    pub fn next_bytes(&self) -> usize {
        assert!(self.taken < self.count, "a record is left");
        BatchBuilder::bytes_of(&self.bytes, self.taken)
    }

    /// Takes the next record, with its checksum as it is, to the end of `out`.
    ///
    /// # Panics
    /// When all were taken.
    pub fn take_into(&mut self, out: &mut BatchBuilder) {
        assert!(self.taken < self.count, "a record is left");
        self.payload_at += out.push_copy_of(&self.bytes, self.taken, self.payload_at);
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_from_batch_to_batch_as_they_are() {
        let (mut from, mut bytes) = (BatchBuilder::default(), Vec::new());
        from.push(b"one");
        from.push_no_op();
        from.push(b"three");
        from.write_to(&mut bytes);
        let mut cursor = RecordCursor::new(3, bytes.clone());
        let mut to = BatchBuilder::default();
        for left in [2, 1, 0] {
            let (before, bytes) = (to.len(), cursor.next_bytes());
            cursor.take_into(&mut to);
            assert_eq!(to.len() - before, bytes);
            assert_eq!((cursor.len(), cursor.is_empty()), (left, left == 0));
        }
        let mut copied = Vec::new();
        to.write_to(&mut copied);
        assert_eq!(copied, bytes);
    }
}
