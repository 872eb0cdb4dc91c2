//! Index blocks: what a start reads instead of a closed segment.

use zerocopy::IntoBytes;

use super::format::{Entry, FLAG_INDEX, Kind, SegmentNumber};
use super::journal::{Journal, Tag};
use super::segments::Stage;
use super::unit::{Stamp, UnitBuilder, entry_bytes, unit_bytes};
use crate::base::Buf;
use crate::io::op::{Op, Token};

impl Journal {
    /// The index block of a closed segment, once all that it lists is durable (P9 f).
    pub(super) fn poll_index_block(&mut self) -> Option<(Token, Op)> {
        if self.writer.unindexed == 0 {
            return None;
        }
        let durable = self.writer.durable;
        let (number, segment) = self
            .segments
            .live
            .iter_mut()
            .find(|(_, segment)| segment.stage == Stage::Closed && segment.end.sequence <= durable)?;
        let (number, identity, end, slot) = (*number, segment.identity, segment.end, segment.slot);
        segment.stage = Stage::Indexing;
        self.writer.unindexed -= 1;
        let position = self.data_bytes(slot);
        let region = self.segments.slots[slot].bytes - position;
        let mut lists = vec![(Entry::plain(Kind::Index), self.index_entries(number))];
        lists.extend(self.carried_in(number));
        let content = lists.iter().map(|(_, entries)| entry_bytes(entries.as_bytes().len())).sum();
        let needed = unit_bytes(content, self.config.block_bytes as usize);
        if needed as u64 > region {
            self.counters.index_overflows += 1;
            self.segments.live.get_mut(&number).expect("just seen").stage = Stage::Settled;
            return None;
        }
        let mut builder = UnitBuilder::new(needed, self.config.block_bytes as usize);
        for (entry, entries) in &lists {
            builder.push(*entry, [entries.as_bytes(), &[]]);
        }
        builder.seal(&Stamp {
            owner: self.owner,
            segment: identity,
            flags: FLAG_INDEX,
            sequence: end.sequence,
            claim: end.sequence,
            previous: end.checksum,
            position,
        });
        let op = Op::Write { file: self.segments.slots[slot].file, offset: position, buf: builder.take_buf() };
        Some((self.token(Tag::Index, number.0), op))
    }

    pub(super) fn handle_index(&mut self, number: u64, buf: &Buf, result: std::io::Result<usize>) {
        let number = SegmentNumber(number);
        let slot = self.segments.live[&number].slot;
        let position = self.data_bytes(slot);
        if self.check_written(result, buf.len(), number, position) {
            let segment = self.segments.live.get_mut(&number).expect("just seen");
            assert_eq!(segment.stage, Stage::Indexing);
            segment.stage = Stage::Settled;
            self.counters.index_blocks += 1;
            self.reclaim();
        }
    }

    pub(super) fn is_indexing(&self) -> bool {
        self.segments.live.values().any(|segment| matches!(segment.stage, Stage::Closed | Stage::Indexing))
    }
}
