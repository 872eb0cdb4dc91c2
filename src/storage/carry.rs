//! Carried indexes: what former lives' segments without an index block hold, written once more by the life that found out.
//!
//! A life ends without closing its last segment, and nobody writes into an older life's segments (P9). Without this, each
//! later start would scan every one of them again, so that starts became slower with each restart.

use zerocopy::IntoBytes;

use super::format::{End, Entry, IndexEntry, SegmentNumber};
use super::index::Extent;
use super::journal::Journal;
use super::segments::Stage;
use super::unit::entry_bytes;
use crate::base::LogletId;

/// Share of a segment that carried indexes may take. What does not fit is scanned by the next start.
const SEGMENT_SHARE: u64 = 8;

/// Which indexes this life carries, and the segment that holds them.
#[derive(Default)]
pub(super) struct Carried {
    pub(super) into: SegmentNumber,
    pub(super) segments: Vec<SegmentNumber>,
}

impl Journal {
    /// What is stored of a segment, as its index block lists it.
    pub(super) fn index_entries(&self, number: SegmentNumber) -> Vec<IndexEntry> {
        let entry = |(loglet, extent): (LogletId, Extent)| IndexEntry {
            log: loglet.log.into(),
            version: loglet.version.into(),
            nonce: loglet.nonce.into(),
            first: extent.first.0.into(),
            end: extent.end.0.into(),
            position: extent.position.into(),
            span: extent.span.into(),
            reserved: 0.into(),
        };
        self.index.of_segment(number).map(entry).collect()
    }

    /// Writes the indexes of these segments into the first segment of this life. A refusal costs the next start a scan,
    /// nothing else.
    pub(super) fn carry_indexes(&mut self, segments: Vec<SegmentNumber>) {
        self.carried.into = self.writer.current;
        let mut room = self.config.limits.segment_bytes / SEGMENT_SHARE;
        for number in segments {
            let Some(segment) = self.segments.live.get(&number).filter(|segment| segment.stage == Stage::Settled)
            else {
                continue;
            };
            // Without a known end nobody could tell later whether the index is about all of it.
            if segment.end == End::default() {
                continue;
            }
            let entry = Entry::index_of(segment.identity, segment.end);
            let entries = self.index_entries(number);
            let bytes = entry_bytes(entries.as_bytes().len()) as u64;
            if bytes > room || !self.segments.reserve_is_whole() {
                continue;
            }
            if self.push_entry(entry, [entries.as_bytes(), &[]]).is_err() {
                return;
            }
            room -= bytes;
            self.carried.segments.push(number);
        }
    }

    /// What the index block of `number` repeats: the index entries in its data area, for they are not read when it has one.
    pub(super) fn carried_in(&self, number: SegmentNumber) -> Vec<(Entry, Vec<IndexEntry>)> {
        if number != self.carried.into {
            return Vec::new();
        }
        let live = self.carried.segments.iter().filter_map(|number| self.segments.live.get_key_value(number));
        live.map(|(number, segment)| (Entry::index_of(segment.identity, segment.end), self.index_entries(*number)))
            .collect()
    }
}
