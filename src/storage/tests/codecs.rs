//! Units and anchors of any content: what is written is read back, and whatever is cut off or changed is noticed.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::base::{CellKey, Limits, LogletId, NodeId, Offset};
use crate::storage::DamageCause;
use crate::storage::anchor::Anchor;
use crate::storage::format::{
    COUNTED_MAX, ENTRY_BYTES, End, Entry, FLAG_CLAIM, FLAG_FIRST, FLAG_HEAD, FLAG_LIFE, Generation, HEADER_BYTES, Kind,
    Life, Owner, SECTOR, SegmentIdentity, SegmentNumber, Sequence,
};
use crate::storage::unit::{Stamp, UnitBuilder, UnitView};

const UNIT_BYTES: usize = 16 << 10;

pub(in crate::storage) fn owner() -> impl Strategy<Value = Owner> {
    (any::<u128>(), any::<u32>()).prop_map(|(node, journal)| Owner { node: NodeId(node), journal })
}

pub(in crate::storage) fn identity() -> impl Strategy<Value = SegmentIdentity> {
    (0..=COUNTED_MAX, any::<u64>(), 0..=COUNTED_MAX).prop_map(|(number, generation, life)| SegmentIdentity {
        number: SegmentNumber(number),
        generation: Generation(generation),
        life: Life(life),
    })
}

pub(in crate::storage) fn end() -> impl Strategy<Value = End> {
    (0..=COUNTED_MAX, any::<u64>()).prop_map(|(sequence, checksum)| End { sequence: Sequence(sequence), checksum })
}

pub(in crate::storage) fn loglet() -> impl Strategy<Value = LogletId> {
    any::<(u64, u64, u64)>().prop_map(|(log, version, nonce)| LogletId { log, version, nonce })
}

/// An entry of any kind, and its payload.
fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let head = prop_oneof![Just(0), Just(FLAG_HEAD)];
    let entry = prop_oneof![
        (loglet(), any::<u64>(), any::<u32>()).prop_map(|(id, first, count)| Entry::records(id, Offset(first), count)),
        (loglet(), any::<u8>(), head)
            .prop_map(|(loglet, kind, flags)| { Entry::cell(Kind::Cell, CellKey { loglet, kind }, flags) }),
        (loglet(), any::<u8>())
            .prop_map(|(loglet, kind)| { Entry::cell(Kind::CellRemoved, CellKey { loglet, kind }, 0) }),
        (any::<u64>(), any::<u64>())
            .prop_map(|(number, generation)| Entry::dropped(SegmentNumber(number), Generation(generation))),
        (identity(), end()).prop_map(|(segment, end)| Entry::index_of(segment, end)),
    ];
    (entry, vec(any::<u8>(), 0..300))
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let flags = prop_oneof![Just(0), Just(FLAG_FIRST), Just(FLAG_FIRST | FLAG_LIFE), Just(FLAG_CLAIM)];
    (owner(), identity(), flags, 1..=COUNTED_MAX, any::<u64>(), any::<u64>(), 0..1_u64 << 40).prop_map(
        |(owner, segment, flags, sequence, claim, previous, sector)| Stamp {
            owner,
            segment,
            flags,
            sequence: Sequence(sequence),
            claim: Sequence(claim % sequence),
            previous,
            position: sector * SECTOR,
        },
    )
}

/// A sealed unit, and how many of its bytes say something.
fn sealed(entries: &[(Entry, Vec<u8>)], stamp: &Stamp, block_bytes: usize) -> (Vec<u8>, usize, End) {
    let mut builder = UnitBuilder::new(UNIT_BYTES, block_bytes);
    let mut used = HEADER_BYTES;
    for (entry, payload) in entries {
        builder.push(*entry, [payload, &[]]);
        used += ENTRY_BYTES + payload.len().next_multiple_of(8);
    }
    let end = builder.seal(stamp);
    (builder.sealed_bytes().to_vec(), used, end)
}

fn is_whole(bytes: &[u8], stamp: &Stamp) -> bool {
    let found = UnitView::find(bytes, stamp.position, stamp.position, stamp.owner, stamp.segment);
    found.is_some_and(|unit| {
        unit.position == stamp.position && unit.is_complete() && unit.table().is_some() && unit.payload_holds()
    })
}

/// Under load a unit is filled by full batches; what does not fit a second time is left empty by every unit.
#[test]
fn two_full_batches_fit_a_unit() {
    let limits = Limits::default();
    let mut unit = UnitBuilder::new(limits.unit_bytes_max as usize, 4096);
    let batch = vec![7; limits.batch_bytes_max as usize];
    for first in [0, 1] {
        assert!(unit.fits(batch.len()));
        unit.push(Entry::records(LogletId::default(), Offset(first), 1), [&batch, &[]]);
    }
}

proptest! {
    #[test]
    fn a_unit_is_read_back_as_it_was_written(
        entries in vec(entry(), 0..12),
        stamp in stamp(),
        block in prop_oneof![Just(512_usize), Just(4096)],
        before in 0..4_usize,
    ) {
        let (bytes, used, end) = sealed(&entries, &stamp, block);
        prop_assert!(bytes.len().is_multiple_of(block) && used <= bytes.len());
        prop_assert!(bytes[used..].iter().all(|byte| *byte == 0));
        // It is found behind whatever is no unit.
        let base = stamp.position.saturating_sub(before as u64 * SECTOR);
        let mut image = vec![0xA5; (stamp.position - base) as usize];
        image.extend_from_slice(&bytes);
        let unit = UnitView::find(&image, base, base, stamp.owner, stamp.segment).expect("it is there");
        prop_assert_eq!((unit.position, unit.header.end(), unit.header.owner()), (stamp.position, end, stamp.owner));
        prop_assert_eq!(unit.header.flags.get(), stamp.flags);
        prop_assert_eq!((unit.header.claim.get(), unit.header.previous.get()), (stamp.claim.0, stamp.previous));
        prop_assert_eq!(unit.next_position(), stamp.position + bytes.len() as u64);
        prop_assert!(unit.is_complete() && unit.payload_holds());
        let table = unit.table().expect("its checksum holds");
        prop_assert_eq!(table.len(), entries.len());
        for (read, (entry, payload)) in table.iter().zip(&entries) {
            prop_assert_eq!(unit.payload_checked(read), Some(&payload[..]));
            let (place, bytes, checksum) = (read.payload_offset, read.payload_bytes, read.payload_checksum);
            let placed = Entry { payload_offset: place, payload_bytes: bytes, payload_checksum: checksum, ..*entry };
            prop_assert_eq!(*read, placed);
        }
    }

    #[test]
    fn a_changed_or_missing_byte_of_a_unit_is_noticed(
        entries in vec(entry(), 0..6),
        stamp in stamp(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let (mut bytes, used, _) = sealed(&entries, &stamp, 512);
        prop_assert!(is_whole(&bytes, &stamp));
        prop_assert!(!is_whole(&bytes[..at.index(bytes.len())], &stamp), "it ends too early");
        bytes[at.index(used)] ^= flip;
        prop_assert!(!is_whole(&bytes, &stamp), "byte {} of {used} was changed", at.index(used));
    }

    #[test]
    fn a_unit_is_none_of_another_owner_segment_or_place(
        entries in vec(entry(), 0..3),
        stamp in stamp(),
        other in owner(),
        another in identity(),
    ) {
        let (bytes, ..) = sealed(&entries, &stamp, 512);
        prop_assume!(other != stamp.owner && another != stamp.segment);
        let base = stamp.position;
        prop_assert!(UnitView::find(&bytes, base, base, other, stamp.segment).is_none());
        prop_assert!(UnitView::find(&bytes, base, base, stamp.owner, another).is_none());
        // Misdirected.
        let base = base + SECTOR;
        prop_assert!(UnitView::find(&bytes, base, base, stamp.owner, stamp.segment).is_none());
    }

    #[test]
    fn an_anchor_is_read_back_and_a_changed_byte_is_noticed(
        owner in owner(),
        (count, segment, file_bytes, end) in (0..=COUNTED_MAX, identity(), any::<u64>(), end()),
        lost in prop::option::of((any::<u64>(), prop::sample::select(&[
            DamageCause::Unit,
            DamageCause::Unreadable,
            DamageCause::SegmentMissing,
            DamageCause::SegmentShort,
            DamageCause::Anchor,
        ]))),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let lost = lost.map(|(number, cause)| (SegmentNumber(number), cause));
        let anchor = Anchor { count, segment, file_bytes, end, lost };
        let mut bytes = anchor.to_bytes(owner);
        prop_assert_eq!(Anchor::read(&bytes), Ok((owner, anchor)));
        prop_assert!(Anchor::read(&bytes[..at.index(bytes.len())]).is_err());
        bytes[at.index(bytes.len())] ^= flip;
        prop_assert!(Anchor::read(&bytes).is_err());
    }
}
