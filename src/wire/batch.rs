use crate::base::Limits;
use crate::base::checksum::crc32c;

/// Bytes of one entry of the record table: length and CRC-32C.
const TABLE_ENTRY: usize = Limits::RECORD_OVERHEAD as usize;

/// Records at contiguous offsets: a table of (length, CRC-32C), then the payloads without gaps. The same bytes travel in an
/// append, in a store, in a journal entry and to the reader; nobody re-encodes them on the way.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Batch<'a> {
    count: u32,
    bytes: &'a [u8],
}

/// Bytes that are no batch of the announced number of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch of {count} records cannot have these {bytes} bytes")]
pub struct InvalidBatch {
    count: u32,
    bytes: usize,
}

impl<'a> Batch<'a> {
    /// Checks that the table's lengths add up to `bytes`. The records' own checksums are not verified here; see
    /// [`Batch::verify`].
    ///
    /// # Errors
    /// The lengths do not add up, or there are no records.
    pub fn new(count: u32, bytes: &'a [u8]) -> Result<Self, InvalidBatch> {
        let batch = Self { count, bytes };
        let invalid = InvalidBatch { count, bytes: bytes.len() };
        let table = count as usize * TABLE_ENTRY;
        if count == 0 || table > bytes.len() {
            return Err(invalid);
        }
        let payload: u64 = (0..count).map(|index| batch.table(index).0 as u64).sum();
        if table as u64 + payload == bytes.len() as u64 { Ok(batch) } else { Err(invalid) }
    }

    fn table(&self, index: u32) -> (u32, u32) {
        let at = index as usize * TABLE_ENTRY;
        let entry = &self.bytes[at..at + TABLE_ENTRY];
        let word = |from: usize| u32::from_le_bytes(entry[from..from + 4].try_into().expect("four bytes"));
        (word(0), word(4))
    }

    /// Number of records, at least 1.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Table and payloads, as they travel.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The CRC-32C of one record, as its client computed it.
    pub fn checksum(&self, index: u32) -> u32 {
        assert!(index < self.count);
        self.table(index).1
    }

    /// The payloads in order, each with the CRC-32C that its client computed.
    pub fn records(&self) -> impl Iterator<Item = (&'a [u8], u32)> + use<'a> {
        let batch = *self;
        let mut at = batch.count as usize * TABLE_ENTRY;
        (0..batch.count).map(move |index| {
            let (len, checksum) = batch.table(index);
            let payload = &batch.bytes[at..at + len as usize];
            at += len as usize;
            (payload, checksum)
        })
    }

    /// The index of the first record whose payload does not match its checksum.
    pub fn verify(&self) -> Result<(), u32> {
        match self.records().position(|(payload, checksum)| crc32c(payload) != checksum) {
            Some(index) => Err(index as u32),
            None => Ok(()),
        }
    }

    /// Copies up to `records` records from `skip` on, at least one and further ones only while payloads and table stay within
    /// `bytes_max`, as a batch of its own to the end of `out`. Returns how many were copied.
    pub fn copy_range(&self, skip: u32, records: u32, bytes_max: usize, out: &mut Vec<u8>) -> u32 {
        assert!(skip < self.count && records > 0, "the range has records in the batch");
        let records = records.min(self.count - skip);
        let before: usize = (0..skip).map(|index| self.table(index).0 as usize).sum();
        let (mut taken, mut payload) = (0, 0);
        while taken < records {
            let len = self.table(skip + taken).0 as usize;
            if taken > 0 && payload + len + (taken as usize + 1) * TABLE_ENTRY > bytes_max {
                break;
            }
            payload += len;
            taken += 1;
        }
        let table = skip as usize * TABLE_ENTRY;
        out.extend_from_slice(&self.bytes[table..table + taken as usize * TABLE_ENTRY]);
        let start = self.count as usize * TABLE_ENTRY + before;
        out.extend_from_slice(&self.bytes[start..start + payload]);
        taken
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} records, {} bytes)", self.count, self.bytes.len())
    }
}

/// Collects records into a batch; keeps its memory when cleared.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    table: Vec<u8>,
    payload: Vec<u8>,
}

impl BatchBuilder {
    /// Adds a record, computing its checksum.
    pub fn push(&mut self, payload: &[u8]) {
        self.push_with(payload, crc32c(payload));
    }

    /// Adds a record with the checksum that its client computed.
    pub fn push_with(&mut self, payload: &[u8], checksum: u32) {
        let len = u32::try_from(payload.len()).expect("records are far below 4 GiB");
        self.table.extend_from_slice(&len.to_le_bytes());
        self.table.extend_from_slice(&checksum.to_le_bytes());
        self.payload.extend_from_slice(payload);
    }

    /// Number of records so far.
    pub fn count(&self) -> u32 {
        (self.table.len() / TABLE_ENTRY) as u32
    }

    /// Bytes that the batch takes so far.
    pub fn len(&self) -> usize {
        self.table.len() + self.payload.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The batch's bytes, to the end of `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.table);
        out.extend_from_slice(&self.payload);
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.table.clear();
        self.payload.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch_of(records: &[&[u8]]) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        records.iter().for_each(|record| builder.push(record));
        let mut bytes = Vec::new();
        builder.write_to(&mut bytes);
        bytes
    }

    #[test]
    fn records_come_back_in_order_with_their_checksums() {
        let bytes = batch_of(&[b"one", b"", b"three"]);
        let batch = Batch::new(3, &bytes).unwrap();
        batch.verify().unwrap();
        let records: Vec<_> = batch.records().map(|(payload, _)| payload).collect();
        assert_eq!(records, [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn a_changed_byte_is_found_by_the_record_checksum() {
        let mut bytes = batch_of(&[b"one", b"two"]);
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(Batch::new(2, &bytes).unwrap().verify(), Err(1));
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() {
        let bytes = batch_of(&[b"one", b"two"]);
        for (count, bytes) in
            [(0, &bytes[..]), (1, &bytes), (3, &bytes), (2, &bytes[..bytes.len() - 1]), (u32::MAX, &[])]
        {
            assert!(Batch::new(count, bytes).is_err(), "{count} records");
        }
    }

    #[test]
    fn a_range_is_a_batch_of_its_own_and_respects_the_byte_limit() {
        let bytes = batch_of(&[b"zero", b"one", b"two", b"three"]);
        let batch = Batch::new(4, &bytes).unwrap();
        let mut out = Vec::new();
        assert_eq!(batch.copy_range(1, 2, usize::MAX, &mut out), 2);
        let range: Vec<_> = Batch::new(2, &out).unwrap().records().map(|(payload, _)| payload).collect();
        assert_eq!(range, [b"one", b"two"]);
        out.clear();
        assert_eq!(batch.copy_range(1, 3, 2 * 8 + 6, &mut out), 2, "a third record would exceed the limit");
        out.clear();
        assert_eq!(batch.copy_range(3, 9, 0, &mut out), 1, "at least one record is always copied");
    }
}
