//! Reads: from the index to the units, and only what verifies.

use std::collections::VecDeque;
use std::io;

use super::format::{Entry, Kind, Owner, SegmentIdentity};
use super::index::Extent;
use super::journal::{Journal, Tag};
use super::types::{ReadOutcome, ReadRequest, State};
use super::unit::UnitView;
use super::windows::{Found, Span, WINDOWS_MAX, Windows};
use crate::base::checksum::crc32c;
use crate::base::mutants::{self, Mutant};
use crate::base::{Buf, LogletId, Offset};
use crate::io::op::{Op, Token};
use crate::wire::{Batch, BatchBuilder};

/// Reads under way at once; further ones wait.
pub(super) const READS_MAX: usize = WINDOWS_MAX / 2;
/// Windows that are fetched for a reader in order before it asks. With fewer the disk runs dry while one is checked and sent: two
/// give three quarters of the rate.
const AHEAD: usize = 4;
/// Reads of the disk at once while the journal is written to: a durable write waits behind whatever the disk has begun to read.
const BESIDE_WRITES: usize = 1;
/// The journal counts as written to until so many reads of the disk have ended without a write between them.
const QUIET_AFTER: u32 = 16;
/// Bytes of answers that are begun in one turn of the host. More would keep what else the turn has to do waiting: appends.
const TURN_BYTES: u64 = 128 << 10;
/// A reader who asks for less at once than this is not read ahead for.
const AHEAD_BYTES_MIN: u32 = 64 << 10;
/// Answers kept for their memory.
pub(super) const SPARES_MAX: usize = 32;

/// Whether an entry has the record at `offset`.
pub(super) fn holds(entry: &Entry, loglet: LogletId, offset: Offset) -> bool {
    entry.kind() == Some(Kind::Records) && entry.loglet() == loglet && entry.first() <= offset && offset < entry.end()
}

/// A read on its way.
struct Reading {
    request: ReadRequest,
    gathered: BatchBuilder,
    next: Offset,
    from_disk: bool,
}

/// The reading half of the journal.
#[derive(Default)]
pub(super) struct Reader {
    queued: VecDeque<ReadRequest>,
    /// Reads taken up and not yet answered.
    under_way: usize,
    windows: Windows<Reading>,
    answers: VecDeque<(u64, ReadOutcome)>,
    /// Reads of the disk that have ended since the last write began.
    quiet: u32,
    /// Bytes answered in this turn.
    turn_bytes: u64,
    spares: Vec<BatchBuilder>,
}

impl Reader {
    pub(super) fn push(&mut self, request: ReadRequest) {
        self.queued.push_back(request);
    }

    /// A write begins.
    pub(super) fn note_write(&mut self) {
        self.quiet = 0;
    }

    /// Whether the disk may be given one more read now.
    fn may_start(&self) -> bool {
        self.quiet >= QUIET_AFTER || self.windows.in_flight() < BESIDE_WRITES
    }

    pub(super) fn pop(&mut self) -> Option<(u64, ReadOutcome)> {
        self.answers.pop_front()
    }

    pub(super) fn recycle(&mut self, mut records: BatchBuilder) {
        if self.spares.len() < SPARES_MAX {
            records.clear();
            self.spares.push(records);
        }
    }

    /// Whether reads wait, and the turn has room for more of them.
    pub(super) fn has_due(&self) -> bool {
        !self.queued.is_empty() && self.under_way < READS_MAX && self.turn_bytes < TURN_BYTES
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queued.is_empty() && self.under_way == 0 && self.windows.is_idle()
    }

    /// Answers with what was gathered, or else with `otherwise`.
    fn answer(&mut self, reading: Reading, otherwise: ReadOutcome) {
        let Reading { request, gathered, .. } = reading;
        self.turn_bytes += gathered.len() as u64;
        let outcome = if gathered.is_empty() {
            self.recycle(gathered);
            otherwise
        } else {
            ReadOutcome::Records { first: request.from, records: gathered }
        };
        self.under_way -= 1;
        self.answers.push_back((request.id, outcome));
    }
}

/// What a unit had to give.
enum Gathered {
    /// The answer is as large as it may be, or complete.
    Full,
    /// The unit has nothing, or nothing more, at the next offset.
    Exhausted,
    /// The record at the next offset fails its checks; `to` is where the damage ends.
    Damaged { to: Offset },
}

impl Reading {
    /// Takes verified records from a unit.
    fn gather(&mut self, unit: &UnitView<'_>, table: &[Entry]) -> Gathered {
        while self.next < self.request.to {
            let Some(entry) = table.iter().find(|entry| holds(entry, self.request.loglet, self.next)) else {
                return Gathered::Exhausted;
            };
            let batch = unit.payload(entry).and_then(|payload| Batch::new(entry.count.get(), payload).ok());
            let Some(batch) = batch else { return Gathered::Damaged { to: entry.end() } };
            let skip = self.next.since(entry.first()) as usize;
            for (index, (payload, checksum)) in (0..).zip(batch.records()).skip(skip) {
                let bytes = self.gathered.len() + payload.len() + crate::base::Limits::RECORD_OVERHEAD as usize;
                if self.next >= self.request.to
                    || (!self.gathered.is_empty() && bytes > self.request.bytes_max as usize)
                {
                    return Gathered::Full;
                }
                if crc32c(payload) != checksum && !mutants::is(Mutant::SkipUnitChecksum) {
                    return Gathered::Damaged { to: self.next + 1 };
                }
                match batch.is_no_op(index) {
                    true => self.gathered.push_no_op(),
                    false => self.gathered.push_with(payload, checksum),
                }
                self.next = self.next + 1;
            }
        }
        Gathered::Full
    }

    /// Takes verified records from the units of an extent, in `bytes` that begin at `base` of the segment.
    fn gather_extent(
        &mut self,
        bytes: &[u8],
        base: u64,
        extent: &Extent,
        owner: Owner,
        segment: SegmentIdentity,
    ) -> Gathered {
        let (mut at, mut damage_to) = (extent.position, extent.end);
        while let Some(unit) = UnitView::find(bytes, base, at, owner, segment)
            && unit.position < extent.data_end()
        {
            at = unit.next_position();
            let Some(table) = unit.table().filter(|_| unit.is_complete()) else { continue };
            match self.gather(&unit, table) {
                Gathered::Exhausted if self.next >= extent.end => return Gathered::Exhausted,
                Gathered::Exhausted => {}
                ends => return ends,
            }
            let after = |entry: &&Entry| {
                entry.kind() == Some(Kind::Records)
                    && entry.loglet() == self.request.loglet
                    && entry.first() > self.next
            };
            if let Some(later) = table.iter().filter(after).map(Entry::first).min() {
                damage_to = damage_to.min(later);
            }
        }
        Gathered::Damaged { to: damage_to }
    }

    fn damaged(&self, to: Offset) -> ReadOutcome {
        ReadOutcome::Damaged { from: self.request.from, to: to.min(self.request.to) }
    }
}

impl Journal {
    /// Answers with what was gathered, or else with `otherwise`.
    fn answer(&mut self, reading: Reading, otherwise: ReadOutcome) {
        let loglet = reading.request.loglet;
        // One that was removed meanwhile is not counted for any more.
        if self.index.span_bytes(loglet) > 0 {
            let work = self.work.entry(loglet).or_default();
            work.reads += 1;
            work.read_bytes += reading.gathered.len() as u64;
        }
        self.reader.answer(reading, otherwise);
    }

    /// Takes up reads that wait, as far as the disk's queue and the turn allow.
    pub(super) fn start_reads(&mut self) {
        while self.reader.has_due()
            && let Some(request) = self.reader.queued.pop_front()
        {
            self.reader.under_way += 1;
            let gathered = self.reader.spares.pop().unwrap_or_default();
            self.resume(Reading { request, gathered, next: request.from, from_disk: false });
        }
    }

    /// Goes on at `next`: from memory, or by asking the disk.
    fn resume(&mut self, mut reading: Reading) {
        let (request, opened) = (reading.request, self.writer.head_is_durable());
        loop {
            if reading.next >= request.to {
                self.count_memory(&reading);
                return self.answer(reading, ReadOutcome::Missing { from: request.from, to: request.from });
            }
            let extent = match self.index.find(request.loglet, reading.next) {
                Ok(extent) => extent,
                Err(_) if !opened => {
                    return self.answer(reading, ReadOutcome::Damaged { from: request.from, to: request.to });
                }
                Err(next) => {
                    self.count_memory(&reading);
                    let to = next.unwrap_or(request.to).min(request.to);
                    return self.answer(reading, ReadOutcome::Missing { from: request.from, to });
                }
            };
            let before = reading.next;
            if let Some(unit) = self.cache.find(request.loglet, reading.next) {
                let table = unit.table().expect("sealed by this journal and held in memory since");
                match reading.gather(&unit, table) {
                    Gathered::Full => {
                        self.count_memory(&reading);
                        return self.answer(reading, ReadOutcome::Missing { from: request.from, to: request.from });
                    }
                    Gathered::Exhausted => {
                        assert!(reading.next > before, "the unit holds the offset");
                        continue;
                    }
                    // What came damaged from the caller is as damaged on the disk.
                    Gathered::Damaged { to } => {
                        let outcome = reading.damaged(to);
                        self.counters.reads_damaged += 1;
                        return self.answer(reading, outcome);
                    }
                }
            }
            // At least one record, whatever was asked for: `Missing` would say that there is none.
            if !reading.gathered.is_empty() && reading.gathered.len() >= request.bytes_max as usize {
                let none = ReadOutcome::Missing { from: request.from, to: request.from };
                return self.answer(reading, none);
            }
            reading.from_disk = true;
            match self.gather_from_disk(reading, &extent) {
                Some(goes_on) => reading = goes_on,
                None => return,
            }
        }
    }

    /// Takes what the disk has of an extent. Gives the read back when it has got all of that, and else sees to it that it goes
    /// on, or is answered.
    fn gather_from_disk(&mut self, mut reading: Reading, extent: &Extent) -> Option<Reading> {
        let request = reading.request;
        let segment = self.segments.live[&extent.segment].identity;
        match self.reader.windows.find(extent, segment) {
            Found::Bytes(bytes, span) => {
                let gathered = reading.gather_extent(bytes, span.base, extent, self.owner, segment);
                self.read_ahead(&request, span);
                let outcome = match gathered {
                    Gathered::Exhausted => return Some(reading),
                    Gathered::Full => ReadOutcome::Missing { from: reading.next, to: reading.next },
                    Gathered::Damaged { to } => {
                        self.reader.windows.forget(span);
                        self.counters.reads_damaged += 1;
                        reading.damaged(to)
                    }
                };
                self.answer(reading, outcome);
            }
            Found::Pending => self.reader.windows.wait(extent, segment, reading),
            Found::Nothing => {
                let block = u64::from(self.config.block_bytes);
                let span = Span::around(*extent, segment, request.loglet, &self.index, block);
                self.reader.windows.want(span, vec![reading]);
                self.read_ahead(&request, span);
            }
        }
        None
    }

    /// Fetches what a reader who wants more than `span` will ask for next.
    fn read_ahead(&mut self, request: &ReadRequest, span: Span) {
        if request.bytes_max < AHEAD_BYTES_MIN {
            return;
        }
        let mut until = span.until;
        for _ in 0..AHEAD {
            if until >= request.to {
                return;
            }
            let Ok(extent) = self.index.find(request.loglet, until) else { return };
            let segment = self.segments.live[&extent.segment].identity;
            until = match self.reader.windows.until(&extent, segment) {
                Some(there) => there.max(extent.end),
                None if self.reader.windows.pending() + READS_MAX >= WINDOWS_MAX => return,
                None if !self.reader.windows.has_room_ahead() => return,
                None => {
                    let block = u64::from(self.config.block_bytes);
                    let next = Span::around(extent, segment, request.loglet, &self.index, block);
                    self.reader.windows.want(next, Vec::new());
                    next.until
                }
            };
        }
    }

    fn count_memory(&mut self, reading: &Reading) {
        if !reading.from_disk && !reading.gathered.is_empty() {
            self.counters.reads_from_memory += 1;
        }
    }

    /// The next read of the disk. When there is none, the turn is over.
    pub(super) fn poll_reader(&mut self) -> Option<(Token, Op)> {
        if self.state != State::Opening {
            self.start_reads();
        }
        loop {
            let wanted = self.reader.windows.next_wanted().filter(|_| self.reader.may_start());
            let Some(wanted) = wanted else {
                self.reader.turn_bytes = 0;
                return None;
            };
            let segment = wanted.segment.number;
            if let Some(live) = self.segments.live.get(&segment) {
                let slot = &self.segments.slots[live.slot];
                let (token, offset, buf) = self.reader.windows.start(slot.bytes);
                self.counters.read_bytes += buf.len() as u64;
                return Some((self.token(Tag::Read, token), Op::Read { file: slot.file, offset, buf }));
            }
            // It has been dropped meanwhile: its records were trimmed.
            for reading in self.reader.windows.abandon(segment) {
                self.resume(reading);
            }
        }
    }

    pub(super) fn handle_read(&mut self, token: u64, buf: Buf, result: io::Result<usize>) {
        self.reader.quiet = self.reader.quiet.saturating_add(1);
        let (span, is_whole, waiting) = self.reader.windows.complete(token, buf, result);
        for reading in waiting {
            self.resume(reading);
        }
        if !is_whole {
            self.reader.windows.forget(span);
        }
    }
}
