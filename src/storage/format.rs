//! The bytes on disk. Everything is little-endian; `docs/DATA_FILE.md` is the same in prose.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::base::checksum::crc64;
use crate::base::{CellKey, LogletId, NodeId, Offset};

/// First bytes of every unit.
pub(super) const MAGIC: [u8; 8] = *b"NAXOSJNL";
/// The only format so far.
pub(super) const VERSION: u16 = 1;
/// Units begin at multiples of this, whatever the block size was when they were written.
pub(super) const SECTOR: u64 = 512;
/// Bytes of a unit's header.
pub(super) const HEADER_BYTES: usize = 128;
/// Bytes of one entry of a unit's table.
pub(super) const ENTRY_BYTES: usize = 64;

/// No counted number comes near this. Bytes that say more were not written by a journal, whatever their checksum says. What is counted
/// on from here fits the 48 bits of a token for the life of any process.
pub(super) const COUNTED_MAX: u64 = 1 << 47;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
        pub(super) struct $name(pub(super) u64);
        impl $name {
            pub(super) fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("counted, and bounded where it is read"))
            }

            /// Whether a journal can have counted so far.
            pub(super) fn is_counted(self) -> bool {
                self.0 <= COUNTED_MAX
            }
        }
    };
}

number! {
    /// Place of a unit in the journal's order, over all segments and lives; the first unit ever is 1.
    Sequence
}
number! {
    /// Place of a segment in the journal's order; the first segment ever is 1.
    SegmentNumber
}
number! {
    /// One start of the journal; the first is 1.
    Life
}

/// Drawn for each use of a file, so that bytes of another use, or of a user, never pass for units of this one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Generation(pub(super) u64);

/// Whose journal it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    pub(super) node: NodeId,
    pub(super) journal: u32,
}

/// One use of one file.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct SegmentIdentity {
    pub(super) number: SegmentNumber,
    pub(super) generation: Generation,
    pub(super) life: Life,
}

impl SegmentIdentity {
    pub(super) fn is_counted(&self) -> bool {
        self.number.is_counted() && self.life.is_counted()
    }
}

/// The last unit of something: its sequence and the checksum of its header.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct End {
    pub(super) sequence: Sequence,
    pub(super) checksum: u64,
}

/// Header flag: first unit of its segment.
pub(super) const FLAG_FIRST: u16 = 1 << 0;
/// Header flag: first unit of its life; always with [`FLAG_FIRST`].
pub(super) const FLAG_LIFE: u16 = 1 << 1;
/// Header flag: an index block, which stands outside the sequence.
pub(super) const FLAG_INDEX: u16 = 1 << 2;
/// Header flag: an empty unit that only claims.
pub(super) const FLAG_CLAIM: u16 = 1 << 3;

/// First 128 bytes of a unit.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) version: U16,
    pub(super) flags: U16,
    pub(super) journal: U32,
    pub(super) node: U128,
    pub(super) life: U64,
    pub(super) segment: U64,
    pub(super) generation: U64,
    pub(super) sequence: U64,
    pub(super) claim: U64,
    pub(super) previous: U64,
    pub(super) payload_bytes: U32,
    pub(super) entries: U32,
    pub(super) unit_bytes: U32,
    pub(super) reserved: U32,
    pub(super) table_checksum: U64,
    pub(super) payload_checksum: U64,
    pub(super) position: U64,
    pub(super) header_checksum: U64,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);
const _: () = assert!(align_of::<Header>() == 1);

/// Why bytes are not a unit header of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// No unit was ever written here, or what was is damaged.
    Invalid,
    /// Whole, but of a format this program does not know.
    Version(u16),
}

impl Header {
    /// The checksum over all bytes before it.
    pub(super) fn compute_checksum(&self) -> u64 {
        crc64(&self.as_bytes()[..HEADER_BYTES - 8])
    }

    /// Reads a header from the start of `bytes`: magic, checksum, version, and numbers and lengths that make sense.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, HeaderFault> {
        if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
            return Err(HeaderFault::Invalid);
        }
        let header = Self::read_from_bytes(&bytes[..HEADER_BYTES]).expect("length checked");
        if header.compute_checksum() != header.header_checksum.get() {
            return Err(HeaderFault::Invalid);
        }
        if header.version.get() != VERSION {
            return Err(HeaderFault::Version(header.version.get()));
        }
        let used = HEADER_BYTES as u64
            + u64::from(header.payload_bytes.get())
            + u64::from(header.entries.get()) * ENTRY_BYTES as u64;
        let bytes = u64::from(header.unit_bytes.get());
        let counted = header.identity().is_counted() && header.sequence().is_counted();
        let sound = counted && used <= bytes && bytes.is_multiple_of(SECTOR);
        if sound { Ok(header) } else { Err(HeaderFault::Invalid) }
    }

    pub(super) fn owner(&self) -> Owner {
        Owner { node: NodeId(self.node.get()), journal: self.journal.get() }
    }

    pub(super) fn identity(&self) -> SegmentIdentity {
        SegmentIdentity {
            number: SegmentNumber(self.segment.get()),
            generation: Generation(self.generation.get()),
            life: Life(self.life.get()),
        }
    }

    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags.get() & flag != 0
    }

    pub(super) fn sequence(&self) -> Sequence {
        Sequence(self.sequence.get())
    }

    pub(super) fn end(&self) -> End {
        End { sequence: self.sequence(), checksum: self.header_checksum.get() }
    }
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// Says nothing; readers skip it. Reserved.
    NoOp = 0,
    /// Records of a loglet at contiguous offsets; the payload is a batch.
    Records = 1,
    /// The value of a cell.
    Cell = 2,
    /// A cell is gone.
    CellRemoved = 3,
    /// A head begins; the payload is a [`HeadStart`] and its segments.
    HeadStart = 4,
    /// The head is complete.
    HeadEnd = 5,
    /// The contents of a closed segment; the payload is an array of [`IndexEntry`]. About the segment it lies in, or about
    /// one of a former life that the entry names.
    Index = 6,
    /// A segment holds nothing that is needed; its file may be used again once this is durable.
    Dropped = 7,
}

impl Kind {
    pub(super) fn of(byte: u8) -> Option<Self> {
        [
            Self::NoOp,
            Self::Records,
            Self::Cell,
            Self::CellRemoved,
            Self::HeadStart,
            Self::HeadEnd,
            Self::Index,
            Self::Dropped,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Entry flag: a cell that a head repeats.
pub(super) const FLAG_HEAD: u16 = 1 << 0;

/// One entry of a unit's table.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) kind: u8,
    pub(super) cell_kind: u8,
    pub(super) flags: U16,
    pub(super) count: U32,
    pub(super) log: U64,
    pub(super) version: U64,
    pub(super) nonce: U64,
    pub(super) first: U64,
    pub(super) payload_offset: U32,
    pub(super) payload_bytes: U32,
    pub(super) payload_checksum: U64,
    pub(super) reserved: U64,
}

const _: () = assert!(size_of::<Entry>() == ENTRY_BYTES);
const _: () = assert!(align_of::<Entry>() == 1);

impl Entry {
    fn of_loglet(kind: Kind, loglet: LogletId) -> Self {
        Self { log: loglet.log.into(), version: loglet.version.into(), nonce: loglet.nonce.into(), ..Self::plain(kind) }
    }

    /// An entry about no loglet.
    pub(super) fn plain(kind: Kind) -> Self {
        let mut entry = Self::new_zeroed();
        entry.kind = kind as u8;
        entry
    }

    pub(super) fn records(loglet: LogletId, first: Offset, count: u32) -> Self {
        Self { first: first.0.into(), count: count.into(), ..Self::of_loglet(Kind::Records, loglet) }
    }

    pub(super) fn cell(kind: Kind, key: CellKey, flags: u16) -> Self {
        Self { cell_kind: key.kind, flags: flags.into(), ..Self::of_loglet(kind, key.loglet) }
    }

    /// The end of one use of a file: its number in `first`, its generation in `log`.
    pub(super) fn dropped(number: SegmentNumber, generation: Generation) -> Self {
        Self { first: number.0.into(), log: generation.0.into(), ..Self::plain(Kind::Dropped) }
    }

    /// The index of a segment of a former life.
    pub(super) fn index_of(segment: SegmentIdentity, end: End) -> Self {
        Self {
            first: segment.number.0.into(),
            log: segment.generation.0.into(),
            version: end.sequence.0.into(),
            nonce: end.checksum.into(),
            ..Self::plain(Kind::Index)
        }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::of(self.kind)
    }

    pub(super) fn loglet(&self) -> LogletId {
        LogletId { log: self.log.get(), version: self.version.get(), nonce: self.nonce.get() }
    }

    pub(super) fn cell_key(&self) -> CellKey {
        CellKey { loglet: self.loglet(), kind: self.cell_kind }
    }

    pub(super) fn first(&self) -> Offset {
        Offset(self.first.get())
    }

    /// One past the last record. Saturates: the bytes may come from a disk.
    pub(super) fn end(&self) -> Offset {
        Offset(self.first.get().saturating_add(u64::from(self.count.get())))
    }
}

/// Fixed part of a head's first entry; `segments` many [`HeadSegment`]s follow.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct HeadStart {
    /// Accepted end of the life before this one: sequence and header checksum. Zero in the first life.
    pub(super) former_sequence: U64,
    pub(super) former_checksum: U64,
    /// Lowest number among the live segments, this one included.
    pub(super) first_live_segment: U64,
    pub(super) segments: U32,
    pub(super) reserved: U32,
}

const _: () = assert!(size_of::<HeadStart>() == 32);

/// A live segment before the one whose head names it, and where it ends.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct HeadSegment {
    pub(super) number: U64,
    pub(super) generation: U64,
    pub(super) life: U64,
    pub(super) end_sequence: U64,
    pub(super) end_checksum: U64,
}

const _: () = assert!(size_of::<HeadSegment>() == 40);

/// Records of one loglet in a closed segment: offsets `[first, end)`, in units within `[position, position + span)`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct IndexEntry {
    pub(super) log: U64,
    pub(super) version: U64,
    pub(super) nonce: U64,
    pub(super) first: U64,
    pub(super) end: U64,
    pub(super) position: U64,
    pub(super) span: U32,
    pub(super) reserved: U32,
}

const _: () = assert!(size_of::<IndexEntry>() == 56);

/// Bytes at the end of a segment of `segment_bytes` that only its index block may use.
pub(super) fn index_region(segment_bytes: u64, block_bytes: u32) -> u64 {
    (segment_bytes / 256).next_multiple_of(4096.max(u64::from(block_bytes)))
}

/// Entries that an index block can hold.
pub(super) fn index_capacity(region: u64) -> usize {
    (region as usize - HEADER_BYTES - ENTRY_BYTES) / size_of::<IndexEntry>()
}
