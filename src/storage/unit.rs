//! A unit while it is filled, and a unit as it is read back.

use zerocopy::{FromBytes, IntoBytes};

use super::format::{
    ENTRY_BYTES, End, Entry, FLAG_INDEX, HEADER_BYTES, Header, MAGIC, Owner, SECTOR, SegmentIdentity, Sequence, VERSION,
};
use crate::base::Buf;
use crate::base::checksum::crc64;
use crate::base::mutants::{self, Mutant};

/// Collects entries into the memory of one write.
pub(super) struct UnitBuilder {
    /// Away while the unit is being written.
    buf: Option<Buf>,
    table: Vec<Entry>,
    /// End of the payload so far, from the start of the unit; a multiple of 8.
    payload_end: usize,
    /// Bytes that the unit must not exceed.
    bytes_max: usize,
    block_bytes: usize,
}

/// Everything a header says that the unit's own bytes do not.
#[derive(Debug)]
pub(super) struct Stamp {
    pub(super) owner: Owner,
    pub(super) segment: SegmentIdentity,
    pub(super) flags: u16,
    pub(super) sequence: Sequence,
    pub(super) claim: Sequence,
    pub(super) previous: u64,
    pub(super) position: u64,
}

/// Bytes that an entry with this payload takes of a unit.
pub(super) fn entry_bytes(payload: usize) -> usize {
    ENTRY_BYTES + payload.next_multiple_of(8)
}

/// Bytes of a unit whose entries take `content` bytes.
pub(super) fn unit_bytes(content: usize, block_bytes: usize) -> usize {
    (HEADER_BYTES + content).next_multiple_of(block_bytes)
}

impl UnitBuilder {
    pub(super) fn new(bytes_max: usize, block_bytes: usize) -> Self {
        let buf = Some(Buf::zeroed(bytes_max));
        let mut builder = Self { buf, table: Vec::new(), payload_end: HEADER_BYTES, bytes_max, block_bytes };
        builder.reset(bytes_max);
        builder
    }

    /// Empties the unit for its next use.
    pub(super) fn reset(&mut self, bytes_max: usize) {
        assert!(bytes_max <= self.capacity() && bytes_max.is_multiple_of(self.block_bytes));
        self.bytes_max = bytes_max;
        let capacity = self.capacity();
        self.buf_mut().set_len(capacity);
        self.table.clear();
        self.payload_end = HEADER_BYTES;
    }

    fn buf(&self) -> &Buf {
        self.buf.as_ref().expect("the memory is here unless the unit is being written")
    }

    fn buf_mut(&mut self) -> &mut Buf {
        self.buf.as_mut().expect("the memory is here unless the unit is being written")
    }

    pub(super) fn capacity(&self) -> usize {
        self.buf().capacity()
    }

    /// Bytes reserved for it: its bound.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.table
    }

    pub(super) fn fits(&self, payload: usize) -> bool {
        self.payload_end + self.table.len() * ENTRY_BYTES + entry_bytes(payload) <= self.bytes_max
    }

    /// Adds an entry, its payload given in two parts; the payload's place and checksum are filled in.
    pub(super) fn push(&mut self, mut entry: Entry, [front, back]: [&[u8]; 2]) {
        let bytes = front.len() + back.len();
        assert!(self.fits(bytes), "the caller has checked that the entry fits");
        let (start, end) = (self.payload_end, self.payload_end + bytes);
        let padded = end.next_multiple_of(8);
        let buf = self.buf_mut();
        buf[start..start + front.len()].copy_from_slice(front);
        buf[start + front.len()..end].copy_from_slice(back);
        buf[end..padded].fill(0);
        entry.payload_offset = (start as u32).into();
        entry.payload_bytes = (bytes as u32).into();
        entry.payload_checksum = crc64(&self.buf()[start..end]).into();
        self.payload_end = padded;
        self.table.push(entry);
    }

    /// Bytes that the unit takes on disk as it is now.
    pub(super) fn bytes(&self) -> usize {
        (self.payload_end + self.table.len() * ENTRY_BYTES).next_multiple_of(self.block_bytes)
    }

    pub(super) fn payload_of(&self, entry: &Entry) -> &[u8] {
        let at = entry.payload_offset.get() as usize;
        &self.buf()[at..at + entry.payload_bytes.get() as usize]
    }

    /// Writes table, padding and header; the unit is ready to be written. Returns its end.
    pub(super) fn seal(&mut self, stamp: &Stamp) -> End {
        let bytes = self.bytes();
        assert!(bytes <= self.bytes_max, "a unit stays within its bound");
        assert!(stamp.claim < stamp.sequence || stamp.flags & FLAG_INDEX != 0, "a unit claims only what is before it");
        assert!(stamp.segment.is_counted() && stamp.sequence.is_counted(), "readers believe no greater numbers");
        let payload_end = self.payload_end;
        let table = self.table.as_bytes();
        let table_end = payload_end + table.len();
        let table_checksum = crc64(table);
        let buf = self.buf.as_mut().expect("the memory is here unless the unit is being written");
        buf[payload_end..table_end].copy_from_slice(table);
        buf[table_end..bytes].fill(0);
        let mut header = Header {
            magic: MAGIC,
            version: VERSION.into(),
            flags: stamp.flags.into(),
            journal: stamp.owner.journal.into(),
            node: stamp.owner.node.0.into(),
            life: stamp.segment.life.0.into(),
            segment: stamp.segment.number.0.into(),
            generation: stamp.segment.generation.0.into(),
            sequence: stamp.sequence.0.into(),
            claim: stamp.claim.0.into(),
            previous: stamp.previous.into(),
            payload_bytes: ((payload_end - HEADER_BYTES) as u32).into(),
            entries: (self.table.len() as u32).into(),
            unit_bytes: (bytes as u32).into(),
            reserved: 0.into(),
            table_checksum: table_checksum.into(),
            payload_checksum: crc64(&buf[HEADER_BYTES..payload_end]).into(),
            position: stamp.position.into(),
            header_checksum: 0.into(),
        };
        header.header_checksum = header.compute_checksum().into();
        buf[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        buf.set_len(bytes);
        header.end()
    }

    /// The memory, for the write.
    pub(super) fn take_buf(&mut self) -> Buf {
        self.buf.take().expect("a unit is written once")
    }

    /// The memory comes back from the write.
    pub(super) fn put_buf(&mut self, buf: Buf) {
        self.buf = Some(buf);
    }

    /// The sealed unit's bytes, once its memory is back.
    pub(super) fn sealed_bytes(&self) -> &[u8] {
        self.buf()
    }
}

/// A unit found in bytes from a disk: its header is whole and belongs here; the rest is still to be judged.
pub(super) struct UnitView<'a> {
    pub(super) position: u64,
    pub(super) header: Header,
    /// The unit's bytes, or fewer when what was read ends before it.
    bytes: &'a [u8],
}

impl<'a> UnitView<'a> {
    /// The first unit of `segment` at or after byte `from` of `bytes`, which begin at `base` of the segment.
    pub(super) fn find(
        bytes: &'a [u8],
        base: u64,
        mut from: u64,
        owner: Owner,
        segment: SegmentIdentity,
    ) -> Option<UnitView<'a>> {
        assert!(base.is_multiple_of(SECTOR) && from.is_multiple_of(SECTOR) && from >= base);
        loop {
            let rest = bytes.get((from - base) as usize..)?;
            if rest.len() < HEADER_BYTES {
                return None;
            }
            match Header::read(rest) {
                Ok(header)
                    if header.owner() == owner
                        && header.identity() == segment
                        && header.position.get() == from
                        && !header.has(FLAG_INDEX) =>
                {
                    let len = rest.len().min(header.unit_bytes.get() as usize);
                    return Some(UnitView { position: from, header, bytes: &rest[..len] });
                }
                _ => from += SECTOR,
            }
        }
    }

    /// The view of bytes whose header has been judged by the caller.
    pub(super) fn of(bytes: &'a [u8], header: Header) -> Self {
        let len = bytes.len().min(header.unit_bytes.get() as usize);
        Self { position: header.position.get(), header, bytes: &bytes[..len] }
    }

    /// The unit's bytes, as far as they were read.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether all of it has been read.
    pub(super) fn is_complete(&self) -> bool {
        self.bytes.len() == self.header.unit_bytes.get() as usize
    }

    /// Where the next unit begins.
    pub(super) fn next_position(&self) -> u64 {
        self.position + u64::from(self.header.unit_bytes.get())
    }

    /// The entries, when their checksum holds.
    pub(super) fn table(&self) -> Option<&'a [Entry]> {
        let from = HEADER_BYTES + self.header.payload_bytes.get() as usize;
        let len = self.header.entries.get() as usize * ENTRY_BYTES;
        let table = self.bytes.get(from..from + len)?;
        if crc64(table) != self.header.table_checksum.get() && !mutants::is(Mutant::SkipUnitChecksum) {
            return None;
        }
        Some(<[Entry]>::ref_from_bytes(table).expect("whole entries, no alignment"))
    }

    /// Whether the payload's checksum holds.
    pub(super) fn payload_holds(&self) -> bool {
        let end = HEADER_BYTES + self.header.payload_bytes.get() as usize;
        let holds = |payload: &[u8]| {
            crc64(payload) == self.header.payload_checksum.get() || mutants::is(Mutant::SkipUnitChecksum)
        };
        self.bytes.get(HEADER_BYTES..end).is_some_and(holds)
    }

    /// An entry's payload, where its place makes sense; its checksum is not looked at.
    pub(super) fn payload(&self, entry: &Entry) -> Option<&'a [u8]> {
        let from = entry.payload_offset.get() as usize;
        let end = from.checked_add(entry.payload_bytes.get() as usize)?;
        let payload_end = HEADER_BYTES + self.header.payload_bytes.get() as usize;
        if from < HEADER_BYTES || end > payload_end { None } else { self.bytes.get(from..end) }
    }

    /// An entry's payload, when its checksum holds.
    pub(super) fn payload_checked(&self, entry: &Entry) -> Option<&'a [u8]> {
        self.payload(entry).filter(|payload| crc64(payload) == entry.payload_checksum.get())
    }
}
