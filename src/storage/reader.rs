//! Reads: from the index to the units, and only what verifies.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::format::{Entry, Kind, SegmentIdentity};
use super::index::Extent;
use super::journal::{Journal, Tag};
use super::types::{ReadOutcome, ReadRequest, State};
use super::unit::UnitView;
use crate::base::checksum::crc32c;
use crate::base::{Buf, LogletId, Offset};
use crate::io::op::{Op, Token};
use crate::wire::{Batch, BatchBuilder};

/// Reads from the disk at once; further ones wait.
pub(super) const READS_MAX: usize = 16;
/// Answers, builders and buffers kept for their memory.
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

/// A read that waits for the disk.
struct Waiting {
    reading: Reading,
    extent: Extent,
    segment: SegmentIdentity,
    /// Where in the segment the bytes begin.
    base: u64,
}

/// The reading half of the journal.
#[derive(Default)]
pub(super) struct Reader {
    queued: VecDeque<ReadRequest>,
    wanted: VecDeque<Waiting>,
    in_flight: BTreeMap<u64, Waiting>,
    next_token: u64,
    answers: VecDeque<(u64, ReadOutcome)>,
    spare_bytes: Vec<Vec<u8>>,
    spare_builders: Vec<BatchBuilder>,
    spare_bufs: Vec<Buf>,
}

impl Reader {
    pub(super) fn push(&mut self, request: ReadRequest) {
        self.queued.push_back(request);
    }

    pub(super) fn pop(&mut self) -> Option<(u64, ReadOutcome)> {
        self.answers.pop_front()
    }

    pub(super) fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare_bytes.len() < SPARES_MAX {
            bytes.clear();
            self.spare_bytes.push(bytes);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queued.is_empty() && self.wanted.is_empty() && self.in_flight.is_empty()
    }

    fn buf(&mut self, bytes: usize) -> Buf {
        let at = self.spare_bufs.iter().position(|buf| buf.capacity() >= bytes);
        let mut buf = at.map_or_else(|| Buf::zeroed(bytes), |at| self.spare_bufs.swap_remove(at));
        buf.set_len(bytes);
        buf
    }

    /// Answers with what was gathered, or else with `otherwise`.
    fn answer(&mut self, mut reading: Reading, otherwise: ReadOutcome) {
        let outcome = if reading.gathered.is_empty() {
            otherwise
        } else {
            let mut bytes = self.spare_bytes.pop().unwrap_or_default();
            reading.gathered.write_to(&mut bytes);
            ReadOutcome::Records { first: reading.request.from, records: (reading.gathered.count(), bytes) }
        };
        reading.gathered.clear();
        if self.spare_builders.len() < SPARES_MAX {
            self.spare_builders.push(reading.gathered);
        }
        self.answers.push_back((reading.request.id, outcome));
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
            for (payload, checksum) in batch.records().skip(skip) {
                let bytes = self.gathered.len() + payload.len() + crate::base::Limits::RECORD_OVERHEAD as usize;
                if self.next >= self.request.to
                    || (!self.gathered.is_empty() && bytes > self.request.bytes_max as usize)
                {
                    return Gathered::Full;
                }
                if crc32c(payload) != checksum {
                    return Gathered::Damaged { to: self.next + 1 };
                }
                self.gathered.push_with(payload, checksum);
                self.next = self.next + 1;
            }
        }
        Gathered::Full
    }

    fn damaged(&self, to: Offset) -> ReadOutcome {
        ReadOutcome::Damaged { from: self.request.from, to: to.min(self.request.to) }
    }
}

impl Journal {
    /// Takes up reads that wait, as far as the disk's queue allows.
    pub(super) fn start_reads(&mut self) {
        while self.reader.wanted.len() + self.reader.in_flight.len() < READS_MAX
            && let Some(request) = self.reader.queued.pop_front()
        {
            let gathered = self.reader.spare_builders.pop().unwrap_or_default();
            self.resume(Reading { request, gathered, next: request.from, from_disk: false });
        }
    }

    /// Goes on at `next`: from memory, or by asking the disk.
    fn resume(&mut self, mut reading: Reading) {
        let (request, opened) = (reading.request, self.writer.head_is_durable());
        loop {
            if reading.next >= request.to {
                self.count_memory(&reading);
                return self.reader.answer(reading, ReadOutcome::Missing { from: request.from, to: request.from });
            }
            let extent = match self.index.find(request.loglet, reading.next) {
                Ok(extent) => extent,
                Err(_) if !opened => {
                    return self.reader.answer(reading, ReadOutcome::Damaged { from: request.from, to: request.to });
                }
                Err(next) => {
                    self.count_memory(&reading);
                    let to = next.unwrap_or(request.to).min(request.to);
                    return self.reader.answer(reading, ReadOutcome::Missing { from: request.from, to });
                }
            };
            let before = reading.next;
            if let Some(unit) = self.cache.find(request.loglet, reading.next) {
                let table = unit.table().expect("sealed by this journal and held in memory since");
                match reading.gather(&unit, table) {
                    Gathered::Full => {
                        self.count_memory(&reading);
                        return self
                            .reader
                            .answer(reading, ReadOutcome::Missing { from: request.from, to: request.from });
                    }
                    Gathered::Exhausted => {
                        assert!(reading.next > before, "the unit holds the offset");
                        continue;
                    }
                    // What came damaged from the caller is as damaged on the disk.
                    Gathered::Damaged { to } => {
                        let outcome = reading.damaged(to);
                        self.counters.reads_damaged += 1;
                        return self.reader.answer(reading, outcome);
                    }
                }
            }
            // At least one record, whatever was asked for: `Missing` would say that there is none.
            if !reading.gathered.is_empty() && reading.gathered.len() >= request.bytes_max as usize {
                let none = ReadOutcome::Missing { from: request.from, to: request.from };
                return self.reader.answer(reading, none);
            }
            reading.from_disk = true;
            let segment = self.segments.live[&extent.segment].identity;
            let base = extent.position / u64::from(self.config.block_bytes) * u64::from(self.config.block_bytes);
            return self.reader.wanted.push_back(Waiting { reading, extent, segment, base });
        }
    }

    fn count_memory(&mut self, reading: &Reading) {
        if !reading.from_disk && !reading.gathered.is_empty() {
            self.counters.reads_from_memory += 1;
        }
    }

    pub(super) fn poll_reader(&mut self) -> Option<(Token, Op)> {
        if self.state != State::Opening {
            self.start_reads();
        }
        let waiting = self.reader.wanted.pop_front()?;
        // The segment may have been dropped meanwhile: its records were trimmed.
        let slot = match self.segments.live.get(&waiting.extent.segment) {
            Some(segment) => segment.slot,
            None => {
                self.resume(waiting.reading);
                return self.poll_reader();
            }
        };
        let block = u64::from(self.config.block_bytes);
        let end = (waiting.extent.position + u64::from(waiting.extent.span)).next_multiple_of(block);
        let bytes = end.min(self.segments.slots[slot].bytes).saturating_sub(waiting.base);
        let buf = self.reader.buf(bytes as usize);
        self.counters.read_bytes += bytes;
        let op = Op::Read { file: self.segments.slots[slot].file, offset: waiting.base, buf };
        let token = self.reader.next_token;
        self.reader.next_token += 1;
        self.reader.in_flight.insert(token, waiting);
        Some((self.token(Tag::Read, token), op))
    }

    pub(super) fn handle_read(&mut self, token: u64, buf: Buf, result: io::Result<usize>) {
        let waiting = self.reader.in_flight.remove(&token).expect("a read completes once");
        self.judge_read(waiting, &buf, result);
        if self.reader.spare_bufs.len() < READS_MAX {
            self.reader.spare_bufs.push(buf);
        }
        self.start_reads();
    }

    fn judge_read(&mut self, waiting: Waiting, buf: &[u8], result: io::Result<usize>) {
        let Waiting { mut reading, extent, segment, base } = waiting;
        let bytes = &buf[..result.unwrap_or(0).min(buf.len())];
        let (mut at, mut damage_to) = (extent.position, extent.end);
        while let Some(unit) = UnitView::find(bytes, base, at, self.owner, segment) {
            at = unit.next_position();
            let Some(table) = unit.table().filter(|_| unit.is_complete()) else { continue };
            match reading.gather(&unit, table) {
                Gathered::Exhausted => {}
                Gathered::Full => {
                    let none = ReadOutcome::Missing { from: reading.next, to: reading.next };
                    return self.reader.answer(reading, none);
                }
                Gathered::Damaged { to } => {
                    damage_to = to;
                    break;
                }
            }
            let after = |entry: &&Entry| {
                entry.kind() == Some(Kind::Records)
                    && entry.loglet() == reading.request.loglet
                    && entry.first() > reading.next
            };
            if let Some(later) = table.iter().filter(after).map(Entry::first).min() {
                damage_to = damage_to.min(later);
            }
        }
        // Either the extent has given all that it had when the read began, or it is no longer the one that counts.
        let now = self.index.find(reading.request.loglet, reading.next);
        let same = now.is_ok_and(|now| now.segment == extent.segment && now.position == extent.position);
        if reading.next >= extent.end || !same {
            return self.resume(reading);
        }
        self.counters.reads_damaged += 1;
        let outcome = reading.damaged(damage_to);
        self.reader.answer(reading, outcome);
    }
}
