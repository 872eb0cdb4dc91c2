//! Heads: what every segment begins with, so that the segments before it are needed for their records only.

use std::collections::VecDeque;

use zerocopy::IntoBytes;

use super::format::{
    Entry, FLAG_FIRST, FLAG_HEAD, FLAG_LIFE, Generation, HEADER_BYTES, HeadSegment, HeadStart, Kind, SegmentIdentity,
    SegmentNumber,
};
use super::journal::Journal;
use super::segments::{Segment, Stage};
use super::unit::{entry_bytes, unit_bytes};
use super::writer::{Purpose, Unit};

impl Journal {
    /// No head that repeats `cell_bytes` of cells takes more than this. Two neighbouring units of a head together exceed
    /// one unit's bound, or the second would not have been begun.
    pub(super) fn head_bytes_max(&self, cell_bytes: u64) -> u64 {
        let list = size_of::<HeadStart>() + self.config.limits.segments_max as usize * size_of::<HeadSegment>();
        let content = cell_bytes + (entry_bytes(list) + entry_bytes(0)) as u64;
        let unit = u64::from(self.config.limits.unit_bytes_max) - HEADER_BYTES as u64;
        if content <= unit {
            return unit_bytes(content as usize, self.config.block_bytes as usize) as u64;
        }
        let units = 2 * content.div_ceil(unit) + 3;
        content + units * (HEADER_BYTES as u64 + u64::from(self.config.block_bytes))
    }

    /// Most bytes that all cells together may take, as entries: a head stays within a quarter of a segment.
    pub(super) fn cells_fit(&self, cell_bytes: u64) -> bool {
        self.head_bytes_max(cell_bytes) <= self.config.limits.segment_bytes / 4
    }

    /// Makes the file of `slot` the current segment and queues its head.
    pub(super) fn begin_segment(&mut self, slot: usize, number: SegmentNumber, life_start: bool) {
        assert!(self.writer.heads.is_empty(), "one segment begins at a time");
        if let Some((last, segment)) = self.segments.live.last_key_value() {
            assert!(*last < number, "segment numbers only grow");
            assert!(segment.stage != Stage::Current || !life_start, "a life begins once");
        }
        if !life_start {
            let segment = self.segments.live.get_mut(&self.writer.current).expect("the current segment is live");
            assert_eq!(segment.stage, Stage::Current);
            segment.stage = Stage::Closed;
            segment.end = self.writer.last;
            self.writer.unindexed += 1;
        }
        let identity =
            SegmentIdentity { number, generation: Generation(self.rng.u64(..)), life: super::format::Life(self.life) };
        self.build_head(identity, life_start);
        let end = self.writer.last;
        self.segments.live.insert(number, Segment { identity, slot, end, stage: Stage::Current });
        self.writer.current = number;
        self.writer.cursor = 0;
    }

    fn build_head(&mut self, identity: SegmentIdentity, life_start: bool) {
        let live = || self.segments.live.values().filter(|segment| segment.stage != Stage::Dropped);
        let first_live = live().next().map_or(identity.number, |segment| segment.identity.number);
        let mut list = HeadStart {
            former_sequence: self.former.sequence.0.into(),
            former_checksum: self.former.checksum.into(),
            first_live_segment: first_live.0.into(),
            segments: (live().count() as u32).into(),
            reserved: 0.into(),
        }
        .as_bytes()
        .to_vec();
        for segment in live() {
            let line = HeadSegment {
                number: segment.identity.number.0.into(),
                generation: segment.identity.generation.0.into(),
                life: segment.identity.life.0.into(),
                end_sequence: segment.end.sequence.0.into(),
                end_checksum: segment.end.checksum.into(),
            };
            list.extend_from_slice(line.as_bytes());
        }
        let first_flags = FLAG_FIRST | if life_start { FLAG_LIFE } else { 0 };
        let mut units = VecDeque::new();
        let unit = self.head_unit(first_flags, list.len());
        units.push_back(unit);
        let mut push = |journal: &mut Self, entry: Entry, payload: &[u8]| {
            if !units.back().is_some_and(|unit| unit.builder.fits(payload.len())) {
                units.push_back(journal.head_unit(0, payload.len()));
            }
            units.back_mut().expect("just made sure").builder.push(entry, [payload, &[]]);
        };
        push(self, Entry::plain(Kind::HeadStart), &list);
        let cells = std::mem::take(&mut self.cells);
        for (key, value) in cells.iter() {
            push(self, Entry::cell(Kind::Cell, *key, FLAG_HEAD), value);
        }
        self.cells = cells;
        push(self, Entry::plain(Kind::HeadEnd), &[]);
        let bytes: u64 = units.iter().map(|unit| unit.builder.bytes() as u64).sum();
        assert!(bytes <= self.head_bytes_max(self.cells.bytes_max()), "a head stays within what was planned for it");
        self.counters.head_units += units.len() as u64;
        self.writer.heads = units;
    }

    fn head_unit(&mut self, flags: u16, payload: usize) -> Unit {
        let needed = unit_bytes(entry_bytes(payload), self.config.block_bytes as usize);
        let builder = self.writer.builder(needed);
        Unit::new(builder, Purpose::Head, flags)
    }
}
