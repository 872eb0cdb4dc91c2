//! Heads and indexes of any content, through the bytes that stand for them.

use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::facts::{self, Fact};
use crate::base::Offset;
use crate::storage::format::{
    End, Entry, FLAG_INDEX, HeadSegment, HeadStart, IndexEntry, Kind, Owner, SegmentIdentity,
};
use crate::storage::tests::codecs::{end, identity, loglet, owner};
use crate::storage::unit::{Stamp, UnitBuilder, UnitView};

const UNIT_BYTES: usize = 16 << 10;

fn sealed(
    entries: &[(Entry, Vec<u8>)],
    owner: Owner,
    segment: SegmentIdentity,
    flags: u16,
    end: End,
    position: u64,
) -> Vec<u8> {
    let mut builder = UnitBuilder::new(UNIT_BYTES, 512);
    entries.iter().for_each(|(entry, payload)| builder.push(*entry, [payload, &[]]));
    let claim = Default::default();
    builder.seal(&Stamp { owner, segment, flags, sequence: end.sequence, claim, previous: end.checksum, position });
    builder.sealed_bytes().to_vec()
}

fn head(segments: &[(SegmentIdentity, End)], announced: u32) -> Vec<u8> {
    let start = HeadStart {
        former_sequence: 0.into(),
        former_checksum: 0.into(),
        first_live_segment: 0.into(),
        segments: announced.into(),
        reserved: 0.into(),
    };
    let mut payload = start.as_bytes().to_vec();
    for (identity, end) in segments {
        let line = HeadSegment {
            number: identity.number.0.into(),
            generation: identity.generation.0.into(),
            life: identity.life.0.into(),
            end_sequence: end.sequence.0.into(),
            end_checksum: end.checksum.into(),
        };
        payload.extend_from_slice(line.as_bytes());
    }
    payload
}

/// What an entry with this payload says in a unit of its own.
fn fact_of(entry: Entry, payload: Vec<u8>) -> Option<Fact> {
    let (owner, segment) = (Owner { node: crate::base::NodeId(1), journal: 0 }, SegmentIdentity::default());
    let end = End { sequence: crate::storage::format::Sequence(1), checksum: 0 };
    let bytes = sealed(&[(entry, payload)], owner, segment, 0, end, 0);
    let unit = UnitView::find(&bytes, 0, 0, owner, segment).expect("just sealed");
    facts::fact(&unit, &unit.table().expect("it holds")[0])
}

/// Records as an index lists them, none of them empty.
fn lines() -> impl Strategy<Value = Vec<IndexEntry>> {
    let line = (loglet(), 0..1_u64 << 40, 1..1_u64 << 20, 0..64_u64, 1..9_u32);
    let line = line.prop_map(|(loglet, first, count, sector, span)| IndexEntry {
        log: loglet.log.into(),
        version: loglet.version.into(),
        nonce: loglet.nonce.into(),
        first: first.into(),
        end: (first + count).into(),
        position: (sector * 512).into(),
        span: (span * 512).into(),
        reserved: 0.into(),
    });
    vec(line, 0..20)
}

/// Whether extents are those lines.
fn same(extents: &[(crate::base::LogletId, crate::storage::index::Extent)], lines: &[IndexEntry]) -> bool {
    extents.len() == lines.len()
        && extents.iter().zip(lines).all(|((loglet, extent), line)| {
            (loglet.log, loglet.version, loglet.nonce) == (line.log.get(), line.version.get(), line.nonce.get())
                && (extent.first, extent.end) == (Offset(line.first.get()), Offset(line.end.get()))
                && (extent.position, extent.span) == (line.position.get(), line.span.get())
        })
}

proptest! {
    #[test]
    fn a_head_names_its_segments_and_a_cut_one_names_none(
        segments in vec((identity(), end()), 0..30),
        cut in any::<prop::sample::Index>(),
        announced in any::<u32>(),
    ) {
        let count = segments.len() as u32;
        let payload = head(&segments, count);
        let fact = fact_of(Entry::plain(Kind::HeadStart), payload.clone());
        prop_assert!(matches!(fact, Some(Fact::HeadStart(Some(ref list))) if *list == segments));
        let cut = payload[..cut.index(payload.len())].to_vec();
        prop_assert!(matches!(fact_of(Entry::plain(Kind::HeadStart), cut), Some(Fact::HeadStart(None))));
        if let Some((first, _)) = segments.first() {
            let last = End { sequence: crate::storage::format::Sequence(u64::MAX), checksum: 0 };
            let forged = [&[(*first, last)], &segments[1..]].concat();
            let fact = fact_of(Entry::plain(Kind::HeadStart), head(&forged, count));
            prop_assert!(matches!(fact, Some(Fact::HeadStart(None))), "no journal counts so far");
        }
        prop_assume!(announced != count);
        let other = head(&segments, announced);
        prop_assert!(matches!(fact_of(Entry::plain(Kind::HeadStart), other), Some(Fact::HeadStart(None))));
    }

    #[test]
    fn a_carried_index_says_what_was_written_about_its_segment(
        lines in lines(),
        segment in identity(),
        end in end(),
        empty in any::<prop::sample::Index>(),
    ) {
        let entry = Entry::index_of(segment, end);
        let Some(Fact::Carried(carried)) = fact_of(entry, lines.as_bytes().to_vec()) else { panic!("an index") };
        prop_assert_eq!((carried.number, carried.generation, carried.end), (segment.number, segment.generation, end));
        prop_assert!(same(&carried.extents, &lines));
        if !lines.is_empty() {
            // A line about nothing makes no index.
            let mut lines = lines;
            let at = empty.index(lines.len());
            lines[at].end = lines[at].first;
            prop_assert!(fact_of(entry, lines.as_bytes().to_vec()).is_none());
        }
    }

    #[test]
    fn an_index_block_is_read_back_and_a_changed_byte_is_noticed(
        (own, carried) in (lines(), lines()),
        (owner, segment, former) in (owner(), identity(), identity()),
        (last, former_end) in (end(), end()),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let position = 64 * 512 + 8 * 512;
        let entries = [
            (Entry::plain(Kind::Index), own.as_bytes().to_vec()),
            (Entry::index_of(former, former_end), carried.as_bytes().to_vec()),
        ];
        let mut bytes = sealed(&entries, owner, segment, FLAG_INDEX, last, position);
        let index = facts::index(&bytes, position, owner, segment).expect("just written");
        prop_assert_eq!(index.end, last);
        prop_assert!(same(&index.extents, &own) && same(&index.carried[0].extents, &carried));
        prop_assert!(facts::index(&bytes, position + 512, owner, segment).is_none(), "misdirected");
        // The records end behind where the block begins.
        let reaches_in = own.iter().any(|line| line.position.get() + u64::from(line.span.get()) > 512);
        let early = sealed(&entries, owner, segment, FLAG_INDEX, last, 512);
        prop_assert_eq!(facts::index(&early, 512, owner, segment).is_none(), reaches_in);
        // A changed byte leaves no block, or, in what it carries, a block without that.
        let used = 128 + 56 * (own.len() + carried.len()) + 2 * 64;
        bytes[at.index(used)] ^= flip;
        if let Some(index) = facts::index(&bytes, position, owner, segment) {
            prop_assert!(same(&index.extents, &own) && index.carried.is_empty());
        }
    }
}
