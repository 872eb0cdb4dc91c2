//! The anchor: a small file beside the segments that says which segment was begun last and how far the journal reached.
//!
//! Each head names the segments before it, so that one of them cannot go unnoticed. Nothing in the segments names the newest:
//! without the anchor, a journal whose newest segment is gone is a shorter journal, and a whole one.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::format::{COUNTED_MAX, End, Generation, HeaderFault, Life, Owner, SegmentIdentity, SegmentNumber, Sequence};
use super::types::DamageCause;
use crate::base::NodeId;
use crate::base::checksum::crc64;

/// Its name in the journal's directory.
pub const ANCHOR_FILE: &str = "anchor";
/// The two records lie this far apart, whatever the block size: written in turns, so that a crash leaves one of them whole.
pub(super) const SLOT_BYTES: u64 = 64 << 10;
/// Size of the file.
pub(super) const ANCHOR_FILE_BYTES: u64 = 2 * SLOT_BYTES;
pub(super) const ANCHOR_BYTES: usize = 128;
const ANCHOR_MAGIC: [u8; 8] = *b"NAXOSANC";
const ANCHOR_VERSION: u16 = 1;

/// First 128 bytes of a slot.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug)]
#[repr(C)]
struct AnchorBytes {
    magic: [u8; 8],
    version: U16,
    lost_cause: U16,
    journal: U32,
    node: U128,
    count: U64,
    life: U64,
    segment: U64,
    generation: U64,
    file_bytes: U64,
    end_sequence: U64,
    end_checksum: U64,
    lost_segment: U64,
    reserved: [U64; 3],
    checksum: U64,
}

const _: () = assert!(size_of::<AnchorBytes>() == ANCHOR_BYTES);

/// What the anchor says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Anchor {
    /// Grows with each writing; the slot is `count % 2`.
    pub(super) count: u64,
    /// The newest segment whose head is durable; number 0 when there never was one.
    pub(super) segment: SegmentIdentity,
    /// Size of its file.
    pub(super) file_bytes: u64,
    /// A unit that is durable with all before it: the last of that head, or the last of all after a clean stop.
    pub(super) end: End,
    /// Something was lost once that could have been anything, here: for good, whatever later starts see of it (P10).
    pub(super) lost: Option<(SegmentNumber, DamageCause)>,
}

impl Anchor {
    /// Where in the file it is written.
    pub(super) fn offset(&self) -> u64 {
        self.count % 2 * SLOT_BYTES
    }

    pub(super) fn to_bytes(self, owner: Owner) -> [u8; ANCHOR_BYTES] {
        let mut bytes = AnchorBytes::new_zeroed();
        bytes.magic = ANCHOR_MAGIC;
        bytes.version = ANCHOR_VERSION.into();
        bytes.journal = owner.journal.into();
        bytes.node = owner.node.0.into();
        bytes.count = self.count.into();
        bytes.life = self.segment.life.0.into();
        bytes.segment = self.segment.number.0.into();
        bytes.generation = self.segment.generation.0.into();
        bytes.file_bytes = self.file_bytes.into();
        bytes.end_sequence = self.end.sequence.0.into();
        bytes.end_checksum = self.end.checksum.into();
        if let Some((segment, cause)) = self.lost {
            bytes.lost_segment = segment.0.into();
            bytes.lost_cause = code(cause).into();
        }
        bytes.checksum = crc64(&bytes.as_bytes()[..ANCHOR_BYTES - 8]).into();
        bytes.as_bytes().try_into().expect("the size is asserted")
    }

    /// Reads a slot. The owner is for the caller to judge.
    pub(super) fn read(bytes: &[u8]) -> Result<(Owner, Self), HeaderFault> {
        let (bytes, _) = AnchorBytes::ref_from_prefix(bytes).map_err(|_| HeaderFault::Invalid)?;
        let checksum = crc64(&bytes.as_bytes()[..ANCHOR_BYTES - 8]);
        if bytes.magic != ANCHOR_MAGIC || checksum != bytes.checksum.get() {
            return Err(HeaderFault::Invalid);
        }
        if bytes.version.get() != ANCHOR_VERSION {
            return Err(HeaderFault::Version(bytes.version.get()));
        }
        let lost = match bytes.lost_cause.get() {
            0 => None,
            code => Some((SegmentNumber(bytes.lost_segment.get()), cause(code).ok_or(HeaderFault::Invalid)?)),
        };
        let anchor = Self {
            count: bytes.count.get(),
            segment: SegmentIdentity {
                number: SegmentNumber(bytes.segment.get()),
                generation: Generation(bytes.generation.get()),
                life: Life(bytes.life.get()),
            },
            file_bytes: bytes.file_bytes.get(),
            end: End { sequence: Sequence(bytes.end_sequence.get()), checksum: bytes.end_checksum.get() },
            lost,
        };
        if !(anchor.segment.is_counted() && anchor.end.sequence.is_counted() && anchor.count <= COUNTED_MAX) {
            return Err(HeaderFault::Invalid);
        }
        Ok((Owner { node: NodeId(bytes.node.get()), journal: bytes.journal.get() }, anchor))
    }
}

const CAUSES: [(u16, DamageCause); 5] = [
    (1, DamageCause::Unit),
    (2, DamageCause::Unreadable),
    (3, DamageCause::SegmentMissing),
    (4, DamageCause::SegmentShort),
    (5, DamageCause::Anchor),
];

fn code(cause: DamageCause) -> u16 {
    CAUSES.iter().find(|(_, known)| *known == cause).expect("every cause has a code").0
}

fn cause(code: u16) -> Option<DamageCause> {
    CAUSES.iter().find(|(known, _)| *known == code).map(|(_, cause)| *cause)
}

/// The file's first content: it says nothing yet, and the journal's first start fills it in. A journal directory is born with it,
/// so that one without has lost it.
pub fn first_anchor(node: NodeId, journal: u32) -> Vec<u8> {
    let anchor = Anchor { count: 1, ..Anchor::default() };
    let mut bytes = vec![0; ANCHOR_FILE_BYTES as usize];
    let at = anchor.offset() as usize;
    bytes[at..at + ANCHOR_BYTES].copy_from_slice(&anchor.to_bytes(Owner { node, journal }));
    bytes
}

/// Whether a file's content says nothing: no journal has been started on it.
pub fn anchor_is_unused(bytes: &[u8]) -> bool {
    let slots = bytes.chunks(SLOT_BYTES as usize).map(Anchor::read);
    slots.flatten().all(|(_, anchor)| anchor.segment.number == SegmentNumber(0) && anchor.lost.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { node: NodeId(7), journal: 3 };

    #[test]
    fn what_is_written_is_read_back_and_a_flipped_bit_is_noticed() {
        let segment = SegmentIdentity { number: SegmentNumber(4), generation: Generation(9), life: Life(2) };
        let end = End { sequence: Sequence(77), checksum: 5 };
        for lost in [None, Some((SegmentNumber(3), DamageCause::SegmentShort))] {
            let anchor = Anchor { count: 6, segment, file_bytes: 1 << 20, end, lost };
            let mut bytes = anchor.to_bytes(OWNER);
            assert_eq!(Anchor::read(&bytes), Ok((OWNER, anchor)));
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Anchor::read(&bytes), Err(HeaderFault::Invalid), "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        assert_eq!(Anchor::read(&[0; 512]), Err(HeaderFault::Invalid));
        assert_eq!(Anchor::read(&[]), Err(HeaderFault::Invalid));
    }

    #[test]
    fn numbers_that_no_journal_counts_to_make_no_anchor() {
        let segment = SegmentIdentity { number: SegmentNumber(4), generation: Generation(9), life: Life(2) };
        let sound = Anchor { count: 6, segment, ..Anchor::default() };
        for forged in [
            Anchor { count: u64::MAX, ..sound },
            Anchor { end: End { sequence: Sequence(u64::MAX), checksum: 1 }, ..sound },
            Anchor { segment: SegmentIdentity { number: SegmentNumber(u64::MAX), ..segment }, ..sound },
            Anchor { segment: SegmentIdentity { life: Life(u64::MAX), ..segment }, ..sound },
        ] {
            assert_eq!(Anchor::read(&forged.to_bytes(OWNER)), Err(HeaderFault::Invalid), "{forged:?}");
        }
    }

    #[test]
    fn the_first_one_says_nothing_and_a_start_makes_it_used() {
        let mut bytes = first_anchor(NodeId(7), 3);
        let (owner, first) = Anchor::read(&bytes[SLOT_BYTES as usize..]).unwrap();
        assert_eq!((owner, first.segment.number, bytes.len() as u64), (OWNER, SegmentNumber(0), ANCHOR_FILE_BYTES));
        assert!(anchor_is_unused(&bytes));
        let segment = SegmentIdentity { number: SegmentNumber(1), ..SegmentIdentity::default() };
        let used = Anchor { count: 2, segment, ..Anchor::default() };
        bytes[..ANCHOR_BYTES].copy_from_slice(&used.to_bytes(owner));
        assert!(!anchor_is_unused(&bytes));
    }
}
