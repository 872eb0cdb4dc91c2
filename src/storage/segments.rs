//! The files of the journal: which hold live segments, which are free, and the making of new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::format::{End, SegmentIdentity, SegmentNumber};
use super::journal::{Journal, Tag};
use crate::base::Limits;
use crate::io::op::{FileId, Op, Token};

/// Free files that only the next life, and cells, may take (P9).
pub(super) const RESERVE: usize = 2;

/// Most refusals to wait for between two attempts to prepare a file. A LogServer without space asks some ten times a second.
const BACKOFF_MAX: u32 = 64;

/// A file of the journal.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) file: FileId,
    pub(super) bytes: u64,
}

/// How far a segment is on its way out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    /// Taking units.
    Current,
    /// A later segment has begun; `end` is final.
    Closed,
    /// Its index block is being written.
    Indexing,
    /// Its index block is durable, or it will never have one.
    Settled,
    /// An entry that drops it waits to be submitted.
    Dropping,
    /// That entry has been submitted: later heads do not name the segment.
    Dropped,
}

/// A file in use.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) identity: SegmentIdentity,
    pub(super) slot: usize,
    /// Last unit submitted to it.
    pub(super) end: End,
    pub(super) stage: Stage,
}

/// All files. Slots are in order of file name, so that "lowest" is the same choice before and after a start.
pub(super) struct Segments {
    pub(super) slots: Vec<Slot>,
    pub(super) free: BTreeSet<usize>,
    pub(super) live: BTreeMap<SegmentNumber, Segment>,
    directory: PathBuf,
    /// Files are named by life and count, so that a preparation that outlives its process can never meet a later one's.
    next_file: u64,
    is_preparing: bool,
    /// Free files that are always kept ready, the reserve included.
    kept: usize,
    /// Files to have ready beyond these, until they are taken. They are not made again: making a file costs the disk as much as filling
    /// it, and would go on beside every segment that is written.
    stock: usize,
    segment_bytes: u64,
    slots_max: usize,
    /// Refusals to wait for, and refusals seen, before a failed preparation is tried again.
    backoff: Option<(u32, u32)>,
    /// Refusals to wait for after the next failure.
    backoff_next: u32,
    /// The last preparation failed.
    is_failing: bool,
}

impl Segments {
    pub(super) fn new(directory: PathBuf, limits: &Limits) -> Self {
        Self {
            slots: Vec::new(),
            free: BTreeSet::new(),
            live: BTreeMap::new(),
            directory,
            next_file: 1 << 32,
            is_preparing: false,
            kept: limits.segments_prepared.max(RESERVE as u32 + 1) as usize,
            stock: 0,
            segment_bytes: limits.segment_bytes,
            slots_max: limits.segments_max as usize,
            backoff: None,
            backoff_next: 1,
            is_failing: false,
        }
    }

    /// Names of files of `life` begin here.
    pub(super) fn begin_life(&mut self, life: u64) {
        self.next_file = life << 32;
    }

    pub(super) fn set_stock(&mut self, segments: u32) {
        self.stock = segments as usize;
        self.backoff = None;
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.free.iter().map(|slot| self.slots[*slot].bytes).sum()
    }

    /// Whether no preparation is running and none would start.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_preparing && !self.wants_file()
    }

    pub(super) fn is_preparing(&self) -> bool {
        self.is_preparing
    }

    /// Whether the last attempt to make a file failed, or the limit does not allow another one.
    pub(super) fn is_exhausted(&self) -> bool {
        !self.is_preparing && !self.wants_file()
    }

    fn wants_file(&self) -> bool {
        self.free.len() < self.kept + self.stock
            && self.live.len() + self.free.len() < self.slots_max
            && self.backoff.is_none()
    }

    /// Whether records may be written: the reserve is whole.
    pub(super) fn reserve_is_whole(&self) -> bool {
        self.free.len() >= RESERVE
    }

    /// Whether a unit of `unit_bytes` finds room: in the `room` of the segment in use or in a segment beyond the reserve.
    pub(super) fn has_room_for_records(&self, room: u64, unit_bytes: u64) -> bool {
        self.free.len() > RESERVE || (self.reserve_is_whole() && room >= unit_bytes)
    }

    /// Whether there will be more free files without anything being given up: one can be made, or is being freed.
    pub(super) fn may_grow(&self) -> bool {
        (!self.is_failing && self.live.len() + self.free.len() < self.slots_max)
            || self.live.values().any(|segment| segment.stage >= Stage::Dropping)
    }

    /// Whether the segment in use is the last that records may go to.
    pub(super) fn is_last(&self) -> bool {
        self.free.len() <= RESERVE && !self.may_grow()
    }

    /// A write was refused for want of a segment; a failed preparation is tried again after ever more of these.
    pub(super) fn note_refusal(&mut self) {
        if let Some((wait, seen)) = &mut self.backoff {
            *seen += 1;
            if seen >= wait {
                self.backoff_next = (*wait * 2).min(BACKOFF_MAX);
                self.backoff = None;
            }
        }
    }

    pub(super) fn poll_prepare(&mut self) -> Option<Op> {
        if self.is_preparing || !self.wants_file() {
            return None;
        }
        let path = self.directory.join(format!("{:016x}.seg", self.next_file));
        self.next_file += 1;
        self.is_preparing = true;
        Some(Op::Prepare { path, bytes: self.segment_bytes })
    }

    pub(super) fn prepared(&mut self, file: FileId, bytes: u64) {
        assert!(std::mem::take(&mut self.is_preparing), "one preparation at a time");
        self.slots.push(Slot { file, bytes });
        self.free.insert(self.slots.len() - 1);
        self.backoff_next = 1;
        self.is_failing = false;
    }

    pub(super) fn prepare_failed(&mut self) {
        self.is_failing = true;
        assert!(std::mem::take(&mut self.is_preparing), "one preparation at a time");
        self.backoff = Some((self.backoff_next, 0));
    }

    /// Takes a free file: the lowest, so that what the next life takes first, the highest, is none that this life could
    /// still be writing to.
    pub(super) fn take_lowest(&mut self) -> Option<usize> {
        self.stock = self.stock.saturating_sub(1);
        self.free.pop_first()
    }

    pub(super) fn take_highest(&mut self) -> Option<usize> {
        self.stock = self.stock.saturating_sub(1);
        self.free.pop_last()
    }

    /// Frees the file of a segment whose drop is durable. Returns whether there was one: a later start may drop it again.
    pub(super) fn release(&mut self, number: SegmentNumber) -> bool {
        let Some(segment) = self.live.remove(&number) else { return false };
        assert_eq!(segment.stage, Stage::Dropped, "only a dropped segment is freed");
        assert!(self.free.insert(segment.slot), "a live segment's file is not free");
        true
    }
}

impl Journal {
    pub(super) fn poll_segments(&mut self) -> Option<(Token, Op)> {
        let op = self.segments.poll_prepare()?;
        Some((self.token(Tag::Prepare, 0), op))
    }
}
