//! The public face of the journal: its state, and where each call and completion goes.

use std::collections::BTreeMap;

use super::anchor::SLOT_BYTES;
use super::anchoring::Anchoring;
use super::cache::Cache;
use super::carry::Carried;
use super::cells::Cells;
use super::format::{End, Entry, Kind, Owner, SegmentNumber, index_region};
use super::index::Index;
use super::reader::Reader;
use super::recovery::{Recovery, Restored};
use super::segments::Segments;
use super::types::{
    Counters, Failure, Full, FullReason, JournalConfig, ReadOutcome, ReadRequest, Recovered, State, Work,
};
use super::writer::Writer;
use crate::base::{CellKey, LogletId, Offset, Rng, Write};
use crate::io::op::{Completion, Op, Outcome, Token};
use crate::wire::{Batch, BatchBuilder};

/// What an operation of the journal is for; the upper byte of a token's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Tag {
    List,
    Clean,
    Open,
    Fetch,
    Prepare,
    Unit,
    Index,
    Read,
    Anchor,
}

impl Tag {
    fn of(token: Token) -> Self {
        let byte = (token.value() >> 48) as u8;
        let tags =
            [Self::List, Self::Clean, Self::Open, Self::Fetch, Self::Prepare, Self::Unit, Self::Index, Self::Read];
        tags.into_iter()
            .chain([Self::Anchor])
            .find(|tag| *tag as u8 == byte)
            .expect("the token is one of this journal's")
    }
}

/// The durable log of one shard.
///
/// Call order: [`Journal::open`], then every loop turn hand completions to [`Journal::handle`] and take operations from
/// [`Journal::poll_op`] until it has none; each `None` counts as one turn. Once [`Journal::state`] is `Open`, take what was
/// recovered and write. What was written is durable when [`Journal::durable`] has reached it, never before: nothing
/// may be answered on the strength of a write alone.
pub struct Journal {
    pub(super) config: JournalConfig,
    pub(super) owner: Owner,
    pub(super) state: State,
    pub(super) failure: Option<Failure>,
    pub(super) counters: Counters,
    pub(super) rng: Rng,
    pub(super) life: u64,
    /// Accepted end of the life before.
    pub(super) former: End,
    pub(super) segments: Segments,
    pub(super) index: Index,
    pub(super) cells: Cells,
    pub(super) cache: Cache,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) carried: Carried,
    pub(super) anchoring: Anchoring,
    /// Of the loglets for which something was done.
    pub(super) work: BTreeMap<LogletId, Work>,
    recovery: Option<Recovery>,
    restored: Option<Restored>,
    recovered: Option<Recovered>,
    prepare_error: Option<std::io::Error>,
}

impl Journal {
    /// Begins the recovery of what is in the directory, which may be empty. A failure shows in [`Journal::state`].
    pub fn open(config: JournalConfig) -> Self {
        let owner = Owner { node: config.node, journal: config.journal };
        let limits = config.limits.clone();
        let mut journal = Self {
            owner,
            state: State::Opening,
            failure: None,
            counters: Counters::default(),
            rng: Rng::with_seed(config.seed),
            life: 0,
            former: End::default(),
            segments: Segments::new(config.directory.clone(), &limits),
            index: Index::new(limits.index_granularity_bytes),
            cells: Cells::default(),
            cache: Cache::new(2 * limits.unit_depth as usize),
            writer: Writer::new(limits.unit_bytes_max, config.block_bytes),
            reader: Reader::default(),
            carried: Carried::default(),
            anchoring: Anchoring::default(),
            work: BTreeMap::new(),
            recovery: Some(Recovery::new(config.directory.clone(), owner, config.block_bytes, limits.segment_bytes)),
            restored: None,
            recovered: None,
            prepare_error: None,
            config,
        };
        let block = journal.config.block_bytes;
        if let Err(error) = limits.check() {
            journal.fail(error.into());
        } else if !block.is_power_of_two()
            || !(512..=SLOT_BYTES).contains(&u64::from(block))
            || !limits.unit_bytes_max.is_multiple_of(block)
        {
            journal.fail(Failure::Block(block));
        } else if !journal.cells_fit(0) {
            let bytes = journal.head_bytes_max(0);
            journal.fail(Failure::Head { bytes });
        }
        journal
    }

    /// The next operation to carry out, until `None`.
    pub fn poll_op(&mut self) -> Option<(Token, Op)> {
        if self.failure.is_none() {
            if let Some(recovery) = &mut self.recovery {
                let polled = recovery.poll();
                if let Some((tag, value, op)) = polled {
                    return Some((self.token(tag, value), op));
                }
                return None;
            }
            if let Some(op) = self.poll_anchor() {
                return Some(op);
            }
            if self.writer.current != SegmentNumber(0)
                && let Some(op) = self.poll_writer()
            {
                return Some(op);
            }
            if let Some(op) = self.poll_segments() {
                return Some(op);
            }
        }
        self.poll_reader()
    }

    /// Takes the end of an operation.
    ///
    /// # Panics
    /// When the token is none of this journal's.
    pub fn handle(&mut self, completion: Completion) {
        assert_eq!(completion.token.owner(), self.config.token_owner, "completions go to their owner");
        let value = completion.token.value() & ((1 << 48) - 1);
        match (Tag::of(completion.token), completion.outcome) {
            (Tag::Unit, Outcome::Written { buf, result }) => self.handle_unit(value, buf, result),
            (Tag::Index, Outcome::Written { buf, result }) => self.handle_index(value, &buf, result),
            (Tag::Read, Outcome::Read { buf, result }) => self.handle_read(value, buf, result),
            (Tag::Anchor, outcome) => self.handle_anchor(outcome),
            (Tag::Prepare, Outcome::Opened { file, bytes }) => {
                self.segments.prepared(file, bytes);
                self.counters.segments_prepared += 1;
                self.prepare_error = None;
            }
            (Tag::Prepare, Outcome::Failed(error)) => {
                self.segments.prepare_failed();
                self.counters.prepare_failures += 1;
                self.prepare_error = Some(error);
            }
            (tag @ (Tag::List | Tag::Clean | Tag::Open | Tag::Fetch), outcome) => {
                self.handle_recovery(tag, value, outcome)
            }
            (tag, outcome) => unreachable!("{tag:?} does not complete as {outcome:?}"),
        }
        self.step_opening();
        self.counters.segments_in_use = self.segments.live.len() as u64;
    }

    fn handle_recovery(&mut self, tag: Tag, value: u64, outcome: Outcome) {
        let Some(recovery) = &mut self.recovery else { return };
        match recovery.handle(tag, value, outcome) {
            Ok(None) => {}
            Ok(Some(restored)) => {
                self.recovery = None;
                self.restore(restored);
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn restore(&mut self, mut restored: Restored) {
        self.life = restored.life;
        self.former = restored.end;
        self.segments.begin_life(restored.life);
        self.segments.slots = std::mem::take(&mut restored.slots);
        self.segments.free = std::mem::take(&mut restored.free);
        self.segments.live = std::mem::take(&mut restored.live);
        for (loglet, extent) in std::mem::take(&mut restored.extents) {
            self.index.insert(loglet, extent);
        }
        self.cells = Cells::new(std::mem::take(&mut restored.cells));
        self.anchoring.begin(restored.anchor_file, restored.anchor, restored.anchor_due);
        self.writer.last = restored.end;
        self.writer.durable = restored.end.sequence;
        self.writer.next_number = restored.next_number;
        self.restored = Some(restored);
    }

    /// Moves opening on: a segment for this life, its head, and the reserve or the knowledge that there is none to be had.
    fn step_opening(&mut self) {
        if self.state != State::Opening || self.failure.is_some() || self.restored.is_none() {
            return;
        }
        if self.writer.current == SegmentNumber(0) {
            // What was lost is on record before the head that would hide it.
            if !self.anchoring.is_settled() {
                return;
            }
            let Some(slot) = self.segments.take_highest() else {
                if self.segments.is_exhausted() {
                    let error = self.prepare_error.take();
                    self.fail(
                        error.map_or(Failure::NoSegmentLeft(self.config.limits.segments_max), Failure::NoSegment),
                    );
                }
                return;
            };
            let Some(room) = self.room_after_head(slot).filter(|_| self.cells_fit(self.cells.bytes_max())) else {
                let bytes = self.head_bytes_max(self.cells.bytes_max());
                return self.fail(Failure::Head { bytes });
            };
            let number = self.writer.next_number;
            self.writer.next_number = number.next();
            self.begin_segment(slot, number, true);
            self.set_room(room);
        }
        let begun = self.writer.head_is_durable() && self.anchoring.names(self.writer.current);
        if begun && (self.segments.reserve_is_whole() || self.segments.is_exhausted()) {
            self.finish_opening();
        }
    }

    fn finish_opening(&mut self) {
        let restored = self.restored.take().expect("opening ends once");
        let cells: Vec<_> = self.cells.iter().map(|(key, value)| (*key, value.clone())).collect();
        let mut loglets: Vec<_> = self.index.loglets().chain(cells.iter().map(|(key, _)| key.loglet)).collect();
        loglets.sort_unstable();
        loglets.dedup();
        self.recovered = Some(Recovered { cells, loglets, damage: restored.damage, life: self.life });
        self.state = State::Open;
        self.reclaim();
        self.carry_indexes(restored.unindexed);
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.state = State::Failed;
        self.failure.get_or_insert(failure);
    }

    pub(super) fn token(&self, tag: Tag, value: u64) -> Token {
        assert!(value < 1 << 48, "counted values stay far below 2^48");
        Token::new(self.config.token_owner, (tag as u64) << 48 | value)
    }

    /// Bytes of a file before its index region.
    pub(super) fn data_bytes(&self, slot: usize) -> u64 {
        let bytes = self.segments.slots[slot].bytes;
        bytes.saturating_sub(index_region(bytes, self.config.block_bytes))
    }

    /// Where the journal is in its life.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it failed: the first reason.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What this start has found; once, when open.
    ///
    /// # Panics
    /// When not open, or taken before.
    pub fn take_recovered(&mut self) -> Recovered {
        self.recovered.take().expect("taken once, when the journal has opened")
    }

    fn check_open(&self) -> Result<(), Full> {
        match self.state {
            State::Open => Ok(()),
            State::Opening => Err(Full { reason: FullReason::Space }),
            State::Failed => Err(Full { reason: FullReason::Failed }),
        }
    }

    /// Copies records into the filling unit. Offsets already stored may be written again (a repair); the new copy counts.
    ///
    /// # Errors
    /// Nothing was taken: the queue is full, there is no prepared segment beyond the reserve, or the journal has failed.
    ///
    /// # Panics
    /// When the batch is larger than `frame_body_bytes_max`.
    pub fn write_records(&mut self, loglet: LogletId, first: Offset, batch: Batch<'_>) -> Result<Write, Full> {
        self.check_open()?;
        if self.lacks_room() && !self.may_roll_over() {
            return Err(self.refuse_for_space());
        }
        self.write_repair(loglet, first, batch)
    }

    /// As [`Journal::write_records`], for a repair's copy: it may take the room that other records leave in the last segment.
    ///
    /// # Errors
    /// As of [`Journal::write_records`].
    ///
    /// # Panics
    /// As [`Journal::write_records`].
    pub fn write_repair(&mut self, loglet: LogletId, first: Offset, batch: Batch<'_>) -> Result<Write, Full> {
        self.check_open()?;
        assert!(batch.len() <= self.config.limits.frame_body_bytes_max as usize, "the wire bounds batches");
        let write = self.push_entry(Entry::records(loglet, first, batch.count()), batch.parts())?;
        let work = self.work.entry(loglet).or_default();
        work.entries += 1;
        work.entry_bytes += batch.len() as u64;
        Ok(write)
    }

    /// Whether only what records leave is left.
    pub(super) fn lacks_room(&self) -> bool {
        self.segments.is_last() && self.writer.room < self.repair_room()
    }

    /// What records leave in the last segment, so that a sealed loglet can be repaired on a full disk: LogServers differ by what the
    /// sequencer had on its way. A unit more for what is being filled, and one for the seal and its claim.
    fn repair_room(&self) -> u64 {
        let limits = &self.config.limits;
        let copies = u64::from(limits.sequencer_window_bytes).min(limits.segment_bytes / 4);
        (copies + 2 * u64::from(limits.unit_bytes_max)).min(limits.segment_bytes / 2)
    }

    /// Whether the cells of this journal take no more than half of what a head has for them.
    pub fn has_room_for_cells(&self) -> bool {
        self.cells_fit(2 * self.cells.bytes_max())
    }

    /// Sets a cell. Cells may use the reserve and are not refused for the length of the queue.
    ///
    /// # Errors
    /// The journal has failed; or `Space` when the cells of this journal together, 64 bytes of table for each included,
    /// would make a head of more than a quarter of a segment, or when the reserve itself is used up for a moment.
    pub fn write_cell(&mut self, key: CellKey, value: &[u8]) -> Result<Write, Full> {
        self.check_open()?;
        let bytes = super::unit::entry_bytes(value.len());
        if !self.cells_fit(self.cells.bytes_max() + bytes as u64) {
            return Err(Full { reason: FullReason::Space });
        }
        // Counted before the push: a segment planned for it has to hold a head that repeats what is before it.
        let write = self.push_entry(Entry::cell(Kind::Cell, key, 0), [value, &[]])?;
        self.cells.note_pending(value.len());
        Ok(write)
    }

    /// Removes a cell, present or not.
    ///
    /// # Errors
    /// As of [`Journal::write_cell`], but for the bound on cells.
    pub fn remove_cell(&mut self, key: CellKey) -> Result<Write, Full> {
        self.check_open()?;
        self.push_entry(Entry::cell(Kind::CellRemoved, key, 0), [&[], &[]])
    }

    /// Everything at or below this write is on stable storage.
    pub fn durable(&self) -> Write {
        self.writer.durable_write()
    }

    /// The newest write that has been begun.
    pub fn newest(&self) -> Write {
        self.writer.newest_write()
    }

    /// The newest write of which all has been handed out by [`Journal::poll_op`].
    pub fn submitted(&self) -> Write {
        self.writer.submitted_write()
    }

    /// Asks for records; the answer comes from [`Journal::poll_read`].
    pub fn read(&mut self, request: ReadRequest) {
        self.counters.reads += 1;
        self.reader.push(request);
    }

    /// The next answer to a read.
    pub fn poll_read(&mut self) -> Option<(u64, ReadOutcome)> {
        if self.has_reads_due() {
            self.start_reads();
        }
        self.reader.pop()
    }

    /// Whether reads wait that could begin: the turn has had its share of them, and nothing but the next turn is needed for more.
    pub fn has_reads_due(&self) -> bool {
        self.state != State::Opening && self.reader.has_due()
    }

    /// Takes the memory of an answer back.
    pub fn recycle(&mut self, records: BatchBuilder) {
        self.reader.recycle(records);
    }

    /// Records below `point` may go. The caller has made its trim cell durable before.
    pub fn trim(&mut self, loglet: LogletId, point: Offset) {
        self.index.trim(loglet, point);
        self.reclaim();
    }

    /// All records of the loglet may go. Its cells are the caller's to remove.
    pub fn remove(&mut self, loglet: LogletId) {
        self.index.remove(loglet);
        self.work.remove(&loglet);
        self.reclaim();
    }

    /// The ranges of durable records present, merged and in order.
    pub fn stored(&self, loglet: LogletId) -> impl Iterator<Item = (Offset, Offset)> {
        self.index.stored(loglet)
    }

    /// Journal bytes of the units that hold records of the loglet; a unit shared by several loglets counts for each.
    pub fn stored_bytes(&self, loglet: LogletId) -> u64 {
        self.index.span_bytes(loglet)
    }

    /// What was done for the loglet since the start.
    pub fn work(&self, loglet: LogletId) -> Work {
        self.work.get(&loglet).copied().unwrap_or_default()
    }

    /// What has been counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes of free, prepared segments.
    pub fn prepared_bytes(&self) -> u64 {
        self.segments.free_bytes()
    }

    /// Whether there is room for records of any size. Without it cells are still taken, and with them seals, trims and promises, into
    /// the reserve; it comes back by itself with a trim, or with a segment that can be prepared again.
    pub fn accepts_records(&self) -> bool {
        let limits = &self.config.limits;
        let unit_max = u64::from(limits.unit_bytes_max.max(limits.frame_body_bytes_max + 8192));
        let kept = if self.segments.is_last() { self.repair_room() } else { 0 };
        self.state == State::Open
            && (self.segments.has_room_for_records(self.writer.room, kept + unit_max) || self.may_roll_over())
    }

    /// Whether a refusal for want of space may end without a trim: a segment is being prepared, or freed. False from a preparation's
    /// failure until one succeeds.
    pub fn may_grow(&self) -> bool {
        self.segments.may_grow()
    }

    /// Somebody waits for space: a preparation that failed is tried again after some of these.
    pub fn wish_for_space(&mut self) {
        self.segments.note_refusal();
    }

    /// Prepares so many segments beyond those that are always kept ready, once: they are not replaced when they have been taken. Also
    /// makes a preparation that failed be tried again at once.
    pub fn prepare_stock(&mut self, segments: u32) {
        self.segments.set_stock(segments);
    }

    /// Whether a claim is owed for what was written (P9): the host calls [`Journal::claim`] when nothing has been written for a
    /// while. At once, it would stand in the way of a writer that waits for each acknowledgement.
    pub fn wants_claim(&self) -> bool {
        self.failure.is_none() && self.writer.wants_claim() && !self.writer.has_unfinished()
    }

    /// Writes the claim that is owed, unless something else is written first.
    pub fn claim(&mut self) {
        self.writer.claim();
    }

    /// Begins a clean stop: when all is written, a claim follows by itself. Stopped when
    /// [`Journal::is_idle`].
    pub fn close(&mut self) {
        self.writer.close();
    }

    /// Nothing is in flight and no further turn would start anything.
    pub fn is_idle(&self) -> bool {
        if self.failure.is_some() {
            return !self.writer.has_in_flight()
                && !self.anchoring.is_in_flight()
                && !self.segments.is_preparing()
                && self.reader.is_idle();
        }
        self.state == State::Open
            && !self.writer.has_unfinished()
            && !self.writer.wants_claim()
            && !self.is_indexing()
            && self.segments.is_settled()
            && self.anchoring.is_settled()
            && !self.owes_end()
            && self.reader.is_idle()
    }
}
