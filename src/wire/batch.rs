use crate::base::Limits;
use crate::base::checksum::crc32c;

/// Bytes of one entry of the record table: length and CRC-32C.
const TABLE_ENTRY: usize = Limits::RECORD_OVERHEAD as usize;
/// The length that makes a record a no-op. No record has it: a whole batch is far smaller.
const NO_OP: u32 = u32::MAX;

/// Records at contiguous offsets: a table of (length, CRC-32C), then the payloads without gaps. The same bytes travel in an
/// append, in a store, in a journal entry and to the reader; nobody re-encodes them on the way.
///
/// A *no-op* is a record that a sequencer has placed where nobody appended anything (P6): it has an offset and is stored like any other
/// (P17), but no payload, and no reader is handed it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Batch<'a> {
    table: &'a [u8],
    payload: &'a [u8],
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
        Self::checked(count, bytes, payload_bytes)
    }

    /// As [`Batch::new`], for a batch that may not have no-ops.
    ///
    /// # Errors
    /// As [`Batch::new`], or there is a no-op.
    pub fn without_no_ops(count: u32, bytes: &'a [u8]) -> Result<Self, InvalidBatch> {
        // Taken at its word, the length of a no-op is more than any body has.
        Self::checked(count, bytes, |len| len)
    }

    fn checked(count: u32, bytes: &'a [u8], length: impl Fn(u32) -> u32) -> Result<Self, InvalidBatch> {
        let invalid = InvalidBatch { count, bytes: bytes.len() };
        let Some((table, payload)) = bytes.split_at_checked(count as usize * TABLE_ENTRY) else { return Err(invalid) };
        let batch = Self { table, payload };
        let lengths: u64 = batch.entries().map(|(len, _)| u64::from(length(len))).sum();
        if count > 0 && lengths == payload.len() as u64 { Ok(batch) } else { Err(invalid) }
    }

    fn entries(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        self.table.as_chunks::<TABLE_ENTRY>().0.iter().map(|entry| {
            let [l0, l1, l2, l3, c0, c1, c2, c3] = *entry;
            (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([c0, c1, c2, c3]))
        })
    }

    /// Number of records, at least 1; no-ops count like others.
    pub fn count(&self) -> u32 {
        (self.table.len() / TABLE_ENTRY) as u32
    }

    /// Bytes that it takes, as it travels.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.table.len() + self.payload.len()
    }

    /// Table and payloads, which travel one behind the other.
    pub fn parts(&self) -> [&'a [u8]; 2] {
        [self.table, self.payload]
    }

    /// The batch's bytes, as they travel, to the end of `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.table);
        out.extend_from_slice(self.payload);
    }

    /// Length as it stands in the table, and checksum, of one record.
    fn entry(&self, index: u32) -> (u32, u32) {
        // Not through the iterator, which walks over all that come before: whoever asks for each in turn would wait quadratically long.
        let (entries, _) = self.table.as_chunks::<TABLE_ENTRY>();
        let [l0, l1, l2, l3, c0, c1, c2, c3] = entries[index as usize];
        (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([c0, c1, c2, c3]))
    }

    /// What two copies of one record have in common, and two records at one offset do not, but for a chance of one in 2^32: the CRC-32C,
    /// as its client computed it. That of a no-op is the one of no record without payload, which has the same CRC-32C.
    pub fn fingerprint(&self, index: u32) -> u32 {
        match self.entry(index) {
            (NO_OP, checksum) => !checksum,
            (_, checksum) => checksum,
        }
    }

    /// Whether this record is a no-op.
    pub fn is_no_op(&self, index: u32) -> bool {
        self.entry(index).0 == NO_OP
    }

    /// How many of the records are no-ops.
    pub fn no_ops(&self) -> u32 {
        self.entries().filter(|(len, _)| *len == NO_OP).count() as u32
    }

    /// The payloads in order, each with the CRC-32C that its client computed. A no-op's is that of no bytes, and so like an empty record's;
    /// see [`Batch::values`].
    pub fn records(&self) -> impl Iterator<Item = (&'a [u8], u32)> + use<'a> {
        let mut rest = self.payload;
        self.entries().map(move |(len, checksum)| {
            let (payload, after) = rest.split_at(payload_bytes(len) as usize);
            rest = after;
            (payload, checksum)
        })
    }

    /// The payloads in order; nothing for a no-op.
    pub fn values(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        self.entries().zip(self.records()).map(|((len, _), (payload, _))| (len != NO_OP).then_some(payload))
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
        assert!(skip < self.count() && records > 0, "the range has records in the batch");
        let lengths = || self.entries().map(|(len, _)| payload_bytes(len) as usize);
        let before: usize = lengths().take(skip as usize).sum();
        let (mut taken, mut payload) = (0, 0);
        for len in lengths().skip(skip as usize).take(records as usize) {
            if taken > 0 && payload + len + (taken + 1) * TABLE_ENTRY > bytes_max {
                break;
            }
            payload += len;
            taken += 1;
        }
        let table = skip as usize * TABLE_ENTRY;
        out.extend_from_slice(&self.table[table..table + taken * TABLE_ENTRY]);
        out.extend_from_slice(&self.payload[before..before + payload]);
        taken as u32
    }
}

/// Bytes that a record of this length in the table has among the payloads.
fn payload_bytes(len: u32) -> u32 {
    if len == NO_OP { 0 } else { len }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} records, {} bytes)", self.count(), self.len())
    }
}

/// Collects records into a batch; keeps its memory when cleared.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
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
        let len = u32::try_from(payload.len()).ok().filter(|len| *len != NO_OP).expect("records are far below 4 GiB");
        self.push_entry(len, checksum);
        self.payload.extend_from_slice(payload);
    }

    /// Adds a no-op, whose checksum is that of no bytes.
    pub fn push_no_op(&mut self) {
        self.push_entry(NO_OP, crc32c(&[]));
    }

    fn push_entry(&mut self, len: u32, checksum: u32) {
        self.table.extend_from_slice(&len.to_le_bytes());
        self.table.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Bytes that record `index` takes of the batch whose bytes these are.
    pub(super) fn bytes_of(batch: &[u8], index: u32) -> usize {
        let (entries, _) = batch.as_chunks::<TABLE_ENTRY>();
        let [l0, l1, l2, l3, ..] = entries[index as usize];
        TABLE_ENTRY + payload_bytes(u32::from_le_bytes([l0, l1, l2, l3])) as usize
    }

    /// Adds record `index` of the batch whose bytes these are, as it is; its payload begins at `payload_at`. Returns its length.
    pub(super) fn push_copy_of(&mut self, batch: &[u8], index: u32, payload_at: usize) -> usize {
        let len = Self::bytes_of(batch, index) - TABLE_ENTRY;
        let (entries, _) = batch.as_chunks::<TABLE_ENTRY>();
        let entry = entries[index as usize];
        self.table.extend_from_slice(&entry);
        self.payload.extend_from_slice(&batch[payload_at..payload_at + len]);
        len
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

    /// The records so far, where they are.
    ///
    /// # Panics
    /// When there are none.
    pub fn batch(&self) -> Batch<'_> {
        assert!(!self.is_empty(), "a batch has records");
        Batch { table: &self.table, payload: &self.payload }
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.table.capacity() + self.payload.capacity()
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

    /// A record, a no-op, a record without payload, a no-op, and a record.
    fn with_no_ops() -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        builder.push(b"one");
        builder.push_no_op();
        builder.push(b"");
        builder.push_no_op();
        builder.push(b"five");
        let mut bytes = Vec::new();
        builder.write_to(&mut bytes);
        bytes
    }

    #[test]
    fn a_no_op_is_a_record_without_payload_and_is_told_from_an_empty_one() {
        let bytes = with_no_ops();
        let batch = Batch::new(5, &bytes).unwrap();
        batch.verify().unwrap();
        assert_eq!(bytes.len(), 5 * TABLE_ENTRY + 7);
        assert_eq!(&bytes[TABLE_ENTRY..2 * TABLE_ENTRY], [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
        assert_eq!((batch.count(), batch.no_ops()), (5, 2));
        assert_eq!([0, 1, 2, 3, 4].map(|index| batch.is_no_op(index)), [false, true, false, true, false]);
        let values: Vec<_> = batch.values().collect();
        assert_eq!(values, [Some(&b"one"[..]), None, Some(b""), None, Some(b"five")]);
        let records: Vec<_> = batch.records().map(|(payload, _)| payload).collect();
        assert_eq!(records, [&b"one"[..], b"", b"", b"", b"five"]);
        assert_ne!(batch.fingerprint(1), batch.fingerprint(2));
        assert_eq!(batch.fingerprint(0), crc32c(b"one"));
    }

    #[test]
    fn a_range_keeps_its_no_ops() {
        let bytes = with_no_ops();
        let batch = Batch::new(5, &bytes).unwrap();
        let mut out = Vec::new();
        assert_eq!(batch.copy_range(1, 9, 3 * TABLE_ENTRY, &mut out), 3, "no-ops have no bytes but their table's");
        let range: Vec<_> = Batch::new(3, &out).unwrap().values().collect();
        assert_eq!(range, [None, Some(&b""[..]), None]);
        out.clear();
        batch.copy_range(3, 2, usize::MAX, &mut out);
        assert_eq!(Batch::new(2, &out).unwrap().values().collect::<Vec<_>>(), [None, Some(&b"five"[..])]);
    }

    /// Only a sequencer places them (P6).
    #[test]
    fn a_batch_that_may_not_have_no_ops_is_refused_with_one() {
        assert!(Batch::without_no_ops(5, &with_no_ops()).is_err());
        assert!(Batch::without_no_ops(2, &batch_of(&[b"one", b""])).is_ok());
    }

    #[test]
    fn a_no_op_with_a_checksum_of_something_is_damage() {
        let mut bytes = with_no_ops();
        bytes[2 * TABLE_ENTRY - 1] ^= 1;
        assert_eq!(Batch::new(5, &bytes).unwrap().verify(), Err(1));
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
