//! Index blocks: what a start reads instead of a closed segment.

use zerocopy::IntoBytes;

use super::format::{Entry, FLAG_INDEX, IndexEntry, Kind, SegmentNumber, index_capacity};
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
        let entries: Vec<IndexEntry> = self
            .index
            .of_segment(number)
            .map(|(loglet, extent)| IndexEntry {
                log: loglet.log.into(),
                version: loglet.version.into(),
                nonce: loglet.nonce.into(),
                first: extent.first.0.into(),
                end: extent.end.0.into(),
                position: extent.position.into(),
                span: extent.span.into(),
                reserved: 0.into(),
            })
            .collect();
        let position = self.data_bytes(slot);
        let region = self.segments.slots[slot].bytes - position;
        if entries.len() > index_capacity(region) {
            self.counters.index_overflows += 1;
            self.segments.live.get_mut(&number).expect("just seen").stage = Stage::Settled;
            return None;
        }
        let payload = entries.as_bytes();
        let needed = unit_bytes(entry_bytes(payload.len()), self.config.block_bytes as usize);
        let mut builder = UnitBuilder::new(needed, self.config.block_bytes as usize);
        builder.push(Entry::plain(Kind::Index), payload);
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
