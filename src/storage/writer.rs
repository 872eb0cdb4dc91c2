//! Units on their way to the disk: filling, waiting, in flight, durable.

use std::collections::VecDeque;

use super::format::{End, Entry, FLAG_CLAIM, FLAG_LIFE, Header, Kind, SegmentNumber, Sequence, index_capacity};
use super::index::Extent;
use super::journal::{Journal, Tag};
use super::segments::{RESERVE, Stage};
use super::types::{Failure, Full, FullReason};
use super::unit::{Stamp, UnitBuilder, entry_bytes, unit_bytes};
use crate::base::mutants::{self, Mutant};
use crate::base::{Buf, Write};
use crate::io::op::{Op, Token};

/// Units kept for their memory.
pub(super) const SPARES_MAX: usize = 32;

/// Units that may be in flight beyond `unit_depth` while one with a cell waits: a reconfiguration is a row of such cells, each of which
/// would otherwise wait for a full unit of records to be done before its own is even begun.
pub(super) const URGENT_DEPTH: usize = 1;

/// What a unit is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Entries of the caller.
    Data(Write),
    /// Part of a segment's head.
    Head,
    /// Nothing but its claim.
    Claim,
}

/// One unit, from its first entry until it is durable.
pub(super) struct Unit {
    pub(super) builder: UnitBuilder,
    pub(super) purpose: Purpose,
    flags: u16,
    /// It has a cell: a seal, a promise, a vote, for which somebody stands still.
    urgent: bool,
    /// The file and number of the segment that begins before this unit.
    roll: Option<(usize, SegmentNumber)>,
    sequence: Sequence,
    segment: SegmentNumber,
    position: u64,
    bytes: usize,
    done: bool,
}

impl Unit {
    pub(super) fn new(builder: UnitBuilder, purpose: Purpose, flags: u16) -> Self {
        let (sequence, segment) = Default::default();
        Self {
            builder,
            purpose,
            flags,
            urgent: false,
            roll: None,
            sequence,
            segment,
            position: 0,
            bytes: 0,
            done: false,
        }
    }
}

/// The writing half of the journal.
pub(super) struct Writer {
    filling: Option<Unit>,
    queue: VecDeque<Unit>,
    pub(super) heads: VecDeque<Unit>,
    /// In order of sequence; a unit leaves when it and all before it are done, so that at most `unit_depth`, and [`URGENT_DEPTH`] more, are
    /// unclaimed.
    in_flight: VecDeque<Unit>,
    spares: Vec<UnitBuilder>,
    unit_bytes_max: usize,
    block_bytes: usize,
    /// Bytes not yet promised to a unit in the last segment that a unit has been planned for.
    pub(super) room: u64,
    /// A block beyond `room` that only a claim may take.
    claim_block: bool,
    pub(super) next_number: SegmentNumber,
    next_write: u64,
    submitted_write: Write,
    durable_write: Write,
    /// Last unit submitted.
    pub(super) last: End,
    /// Last unit of the contiguous durable prefix.
    pub(super) durable: Sequence,
    pub(super) current: SegmentNumber,
    pub(super) cursor: u64,
    /// Newest segment whose head is durable to its end mark.
    head_done: SegmentNumber,
    /// Submitted units are not all claimed.
    claim_wanted: bool,
    /// Closed segments whose index block has not been submitted.
    pub(super) unindexed: usize,
    /// The host has said that a claim may go out.
    claim_due: bool,
    closing: bool,
}

impl Writer {
    pub(super) fn new(unit_bytes_max: u32, block_bytes: u32) -> Self {
        Self {
            filling: None,
            queue: VecDeque::new(),
            heads: VecDeque::new(),
            in_flight: VecDeque::new(),
            spares: Vec::new(),
            unit_bytes_max: unit_bytes_max as usize,
            block_bytes: block_bytes as usize,
            room: 0,
            claim_block: false,
            next_number: SegmentNumber(1),
            next_write: 1,
            submitted_write: Write(0),
            durable_write: Write(0),
            last: End::default(),
            durable: Sequence(0),
            current: SegmentNumber(0),
            cursor: 0,
            head_done: SegmentNumber(0),
            claim_wanted: false,
            unindexed: 0,
            claim_due: false,
            closing: false,
        }
    }

    /// An empty unit of the usual bound, or of `needed` bytes if that is more.
    pub(super) fn builder(&mut self, needed: usize) -> UnitBuilder {
        let bytes_max = needed.max(self.unit_bytes_max);
        match self.spares.iter().rposition(|spare| spare.capacity() >= bytes_max) {
            Some(at) => {
                let mut builder = self.spares.swap_remove(at);
                builder.reset(bytes_max);
                builder
            }
            None => UnitBuilder::new(bytes_max, self.block_bytes),
        }
    }

    /// Keeps memory of the usual size; that of larger units goes, or one burst of them would stay for ever.
    fn recycle(&mut self, builder: UnitBuilder) {
        let usual = self.unit_bytes_max.next_multiple_of(4096);
        if self.spares.len() < SPARES_MAX && builder.capacity() == usual {
            self.spares.push(builder);
        }
    }

    pub(super) fn has_unfinished(&self) -> bool {
        self.filling.is_some() || !self.queue.is_empty() || !self.heads.is_empty() || !self.in_flight.is_empty()
    }

    pub(super) fn has_in_flight(&self) -> bool {
        self.in_flight.iter().any(|unit| !unit.done)
    }

    pub(super) fn wants_claim(&self) -> bool {
        self.claim_wanted
    }

    /// Lets the claim go out, unless something is written first.
    pub(super) fn claim(&mut self) {
        self.claim_due = true;
    }

    /// Whether a unit with a cell waits, or one that goes before it.
    fn is_urgent(&self) -> bool {
        self.queue.iter().chain(&self.filling).any(|unit| unit.urgent)
    }

    /// The newest write that has been promised to anybody.
    pub(super) fn newest_write(&self) -> Write {
        Write(self.next_write - 1)
    }

    pub(super) fn submitted_write(&self) -> Write {
        self.submitted_write
    }

    pub(super) fn durable_write(&self) -> Write {
        self.durable_write
    }

    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// A clean stop has been asked for, and there is nothing left to write.
    pub(super) fn is_at_rest(&self) -> bool {
        self.closing && !self.claim_wanted && !self.has_unfinished()
    }

    pub(super) fn head_is_durable(&self) -> bool {
        self.head_done == self.current
    }
}

impl Journal {
    pub(super) fn refuse_for_space(&mut self) -> Full {
        self.counters.ran_out_of_prepared += 1;
        self.segments.note_refusal();
        Full { reason: FullReason::Space }
    }

    /// Puts an entry into the filling unit, beginning another one where needed.
    pub(super) fn push_entry(&mut self, entry: Entry, payload: [&[u8]; 2]) -> Result<Write, Full> {
        let is_records = matches!(entry.kind(), Some(Kind::Records | Kind::Index));
        if is_records && !self.segments.reserve_is_whole() {
            return Err(self.refuse_for_space());
        }
        let bytes = payload[0].len() + payload[1].len();
        if !self.writer.filling.as_ref().is_some_and(|unit| unit.builder.fits(bytes)) {
            self.close_filling();
            if is_records && self.writer.queue.len() >= self.config.limits.unit_queue_max as usize {
                return Err(Full { reason: FullReason::Queue });
            }
            self.begin_filling(bytes, is_records)?;
        }
        let unit = self.writer.filling.as_mut().expect("there is a filling unit now");
        unit.builder.push(entry, payload);
        unit.urgent |= matches!(entry.kind(), Some(Kind::Cell));
        self.writer.claim_due = false;
        match unit.purpose {
            Purpose::Data(write) => Ok(write),
            Purpose::Head | Purpose::Claim => unreachable!("only units of data are filled"),
        }
    }

    fn begin_filling(&mut self, payload: usize, is_records: bool) -> Result<(), Full> {
        let builder = self.writer.builder(unit_bytes(entry_bytes(payload), self.config.block_bytes as usize));
        let Some(roll) = self.plan(builder.bytes_max() as u64, is_records) else {
            self.writer.recycle(builder);
            return Err(self.refuse_for_space());
        };
        let write = Write(self.writer.next_write);
        self.writer.next_write += 1;
        self.writer.filling = Some(Unit { roll, ..Unit::new(builder, Purpose::Data(write), 0) });
        Ok(())
    }

    /// Promises `bytes` of a segment to the next unit; `None` when there is no room. The inner value is the segment to
    /// begin before it.
    fn plan(&mut self, bytes: u64, is_records: bool) -> Option<Option<(usize, SegmentNumber)>> {
        let crowded = self.index.live_in(self.writer.current) >= self.index_entries_max(self.writer.current) * 3 / 4
            && self.writer.next_number == self.writer.current.next();
        let leaves = is_records && self.lacks_room() && self.may_roll_over();
        if self.writer.room >= bytes && !(crowded && self.segments.free.len() > RESERVE) && !leaves {
            self.writer.room -= bytes;
            return Some(None);
        }
        if self.segments.free.len() < if is_records && !self.may_roll_over() { RESERVE + 1 } else { 1 } {
            return None;
        }
        let lowest = *self.segments.free.first().expect("counted");
        let room = self.room_after_head(lowest)?.checked_sub(bytes)?;
        let slot = self.segments.take_lowest().expect("counted");
        assert_eq!(slot, lowest);
        let number = self.writer.next_number;
        self.writer.next_number = number.next();
        self.writer.room = room;
        self.writer.claim_block = true;
        Some(Some((slot, number)))
    }

    /// Whether records may go on in a file of the reserve: the segment in use has been trimmed whole, and takes its place as soon as it
    /// is left. Otherwise a journal with no other file would stay full for ever.
    pub(super) fn may_roll_over(&self) -> bool {
        self.segments.free.len() == RESERVE
            && self.writer.head_is_durable()
            && !self.writer.has_unfinished()
            && self.index.live_in(self.writer.current) == 0
    }

    /// Bytes for units in a segment of this file after the largest head that may be due, less one block for a claim.
    pub(super) fn room_after_head(&self, slot: usize) -> Option<u64> {
        let head = self.head_bytes_max(self.cells.bytes_max());
        self.data_bytes(slot).checked_sub(head)?.checked_sub(u64::from(self.config.block_bytes))
    }

    /// Sets what the first segment of this life offers.
    pub(super) fn set_room(&mut self, room: u64) {
        self.writer.room = room;
        self.writer.claim_block = true;
    }

    fn index_entries_max(&self, number: SegmentNumber) -> usize {
        let Some(segment) = self.segments.live.get(&number) else { return usize::MAX / 4 };
        let slot = segment.slot;
        index_capacity(self.segments.slots[slot].bytes - self.data_bytes(slot))
    }

    fn close_filling(&mut self) {
        if let Some(unit) = self.writer.filling.take() {
            assert!(!unit.builder.entries().is_empty(), "a unit is begun for an entry");
            self.writer.room += (unit.builder.bytes_max() - unit.builder.bytes()) as u64;
            self.writer.queue.push_back(unit);
        }
    }

    /// The next write, if the depth allows one.
    pub(super) fn poll_writer(&mut self) -> Option<(Token, Op)> {
        if let Some(op) = self.poll_index_block() {
            return Some(op);
        }
        let depth = self.config.limits.unit_depth as usize;
        let depth = if self.writer.is_urgent() { depth + URGENT_DEPTH } else { depth };
        if self.writer.in_flight.len() >= depth {
            return None;
        }
        // The first unit of a life is durable before another one begins: were it torn with one behind it on the disk, a later start
        // could not tell that from damage.
        if self.writer.in_flight.front().is_some_and(|unit| unit.flags & FLAG_LIFE != 0) {
            return None;
        }
        if self.writer.heads.is_empty() {
            if self.writer.queue.is_empty() {
                self.close_filling();
            }
            match self.writer.queue.front_mut() {
                Some(unit) => {
                    if let Some((slot, number)) = unit.roll.take() {
                        self.begin_segment(slot, number, false);
                    }
                }
                None => return self.poll_claim(),
            }
        }
        let unit = self.writer.heads.pop_front().or_else(|| self.writer.queue.pop_front())?;
        Some(self.submit(unit))
    }

    fn poll_claim(&mut self) -> Option<(Token, Op)> {
        if !self.writer.claim_wanted || !self.writer.in_flight.is_empty() {
            return None;
        }
        if !self.writer.claim_due && !self.writer.closing {
            return None;
        }
        let block = u64::from(self.config.block_bytes);
        if self.writer.room >= block {
            self.writer.room -= block;
        } else if !std::mem::take(&mut self.writer.claim_block) {
            self.writer.claim_wanted = false;
            return None;
        }
        self.counters.claims += 1;
        let builder = self.writer.builder(self.config.block_bytes as usize);
        Some(self.submit(Unit::new(builder, Purpose::Claim, FLAG_CLAIM)))
    }

    fn submit(&mut self, mut unit: Unit) -> (Token, Op) {
        let data_end = {
            let segment = &self.segments.live[&self.writer.current];
            self.data_bytes(segment.slot)
        };
        self.note_submitted(&unit);
        self.reader.note_write();
        let segment = self.segments.live.get_mut(&self.writer.current).expect("the current segment is live");
        assert_eq!(segment.stage, Stage::Current, "units go to the current segment only");
        unit.sequence = self.writer.last.sequence.next();
        unit.segment = self.writer.current;
        unit.position = self.writer.cursor;
        unit.bytes = unit.builder.bytes();
        self.writer.cursor += unit.bytes as u64;
        assert!(self.writer.cursor <= data_end, "a unit fits where it was planned to");
        self.writer.last = unit.builder.seal(&Stamp {
            owner: self.owner,
            segment: segment.identity,
            flags: unit.flags,
            sequence: unit.sequence,
            claim: self.writer.durable,
            previous: self.writer.last.checksum,
            position: unit.position,
        });
        segment.end = self.writer.last;
        self.writer.claim_wanted = unit.purpose != Purpose::Claim;
        self.writer.claim_due = false;
        let op = Op::Write {
            file: self.segments.slots[segment.slot].file,
            offset: unit.position,
            buf: unit.builder.take_buf(),
        };
        let token = self.token(Tag::Unit, unit.sequence.0);
        if let Purpose::Data(write) = unit.purpose {
            self.writer.submitted_write = write;
        }
        self.writer.in_flight.push_back(unit);
        (token, op)
    }

    /// From here on the unit's cells and drops belong into later heads.
    fn note_submitted(&mut self, unit: &Unit) {
        if !matches!(unit.purpose, Purpose::Data(_)) {
            return;
        }
        for entry in unit.builder.entries() {
            match entry.kind() {
                Some(Kind::Cell) => self.cells.submitted(entry, unit.builder.payload_of(entry)),
                Some(Kind::CellRemoved) => self.cells.removed(entry),
                Some(Kind::Dropped) => {
                    let number = SegmentNumber(entry.first.get());
                    let segment = self.segments.live.get_mut(&number).expect("dropped once");
                    assert_eq!(segment.stage, Stage::Dropping);
                    segment.stage = Stage::Dropped;
                }
                _ => {}
            }
        }
    }

    /// The outcome of a write of units or of an index block.
    pub(super) fn check_written(
        &mut self,
        result: std::io::Result<usize>,
        expected: usize,
        segment: SegmentNumber,
        position: u64,
    ) -> bool {
        match result {
            Ok(written) if written == expected => return self.failure.is_none(),
            _ if mutants::is(Mutant::RetryAfterFlushError) => return self.failure.is_none(),
            Ok(written) => self.fail(Failure::ShortWrite { segment: segment.0, position, written, expected }),
            Err(error) => self.fail(Failure::Write { segment: segment.0, position, error }),
        }
        false
    }

    pub(super) fn handle_unit(&mut self, sequence: u64, buf: Buf, result: std::io::Result<usize>) {
        let first = self.writer.in_flight.front().expect("the unit is in flight").sequence.0;
        let at = sequence.checked_sub(first).expect("a unit completes once") as usize;
        let unit = &mut self.writer.in_flight[at];
        assert!(!unit.done && unit.sequence.0 == sequence);
        unit.builder.put_buf(buf);
        unit.done = true;
        let (bytes, segment, position) = (unit.bytes, unit.segment, unit.position);
        if !self.check_written(result, bytes, segment, position) {
            return;
        }
        self.note_anchored();
    }

    /// Counts as durable what is, in order. Of a segment that the anchor does not name yet that is the head alone: were it lost
    /// with what follows, nobody would know.
    pub(super) fn note_anchored(&mut self) {
        if self.failure.is_some() {
            return;
        }
        while let Some(unit) = self.writer.in_flight.front()
            && unit.done
            && (unit.purpose == Purpose::Head || self.anchoring.names(unit.segment))
        {
            let unit = self.writer.in_flight.pop_front().expect("just seen");
            self.note_durable(unit);
        }
    }

    fn note_durable(&mut self, unit: Unit) {
        assert_eq!(unit.sequence, self.writer.durable.next(), "the durable prefix has no gap");
        self.writer.durable = unit.sequence;
        self.counters.unit_bytes += unit.bytes as u64;
        self.counters.entries += unit.builder.entries().len() as u64;
        for entry in unit.builder.entries() {
            match entry.kind() {
                Some(Kind::Records) => {
                    let span = unit.bytes as u32;
                    let (first, end) = (entry.first(), entry.end());
                    let extent = Extent { first, end, segment: unit.segment, position: unit.position, span };
                    self.index.insert(entry.loglet(), extent);
                }
                Some(Kind::HeadEnd) => {
                    let header = Header::read(unit.builder.sealed_bytes()).expect("sealed by this journal");
                    self.writer.head_done = unit.segment;
                    self.anchor_segment(unit.segment, header.end());
                }
                Some(Kind::Dropped) if self.segments.release(SegmentNumber(entry.first.get())) => {
                    self.counters.segments_recycled += 1;
                }
                _ => {}
            }
        }
        match unit.purpose {
            Purpose::Data(write) => {
                assert!(self.writer.durable_write < write, "writes become durable in order");
                self.writer.durable_write = write;
                self.counters.units += 1;
                if let Some(builder) = self.cache.put(unit.builder) {
                    self.writer.recycle(builder);
                }
            }
            Purpose::Head | Purpose::Claim => self.writer.recycle(unit.builder),
        }
        if unit.segment == self.writer.head_done {
            self.reclaim();
        }
    }

    /// Drops segments without records that are needed, once a later head repeats what else they hold.
    pub(super) fn reclaim(&mut self) {
        if self.failure.is_some() || !self.writer.head_is_durable() {
            return;
        }
        loop {
            let idle = self.segments.live.values().find(|segment| {
                segment.stage == Stage::Settled
                    && segment.identity.number < self.writer.head_done
                    && self.index.live_in(segment.identity.number) == 0
            });
            let Some(segment) = idle else { return };
            let identity = segment.identity;
            if self.push_entry(Entry::dropped(identity.number, identity.generation), [&[], &[]]).is_err() {
                return;
            }
            self.segments.live.get_mut(&identity.number).expect("just seen").stage = Stage::Dropping;
        }
    }
}
