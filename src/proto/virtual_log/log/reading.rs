use super::super::contract::LogResult;
use super::machine::{Purpose, VirtualLog};
use super::trouble::Sign;
use crate::base::mutants::{self, Mutant};
use crate::base::{LogPos, LogletId, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::wire::Batch;

impl VirtualLog {
    pub(super) fn ask_tail(&mut self, id: OpId) {
        if self.trouble.is_some() {
            return;
        }
        let loglet = self.last().loglet.clone();
        self.ask_loglet(&loglet, Purpose::Operation(id, Some(loglet.id())), LogletOp::CheckTail);
        self.mark_busy(id);
    }

    pub(super) fn seal(&mut self, id: OpId) {
        let loglet = self.last().loglet.clone();
        self.ask_loglet(&loglet, Purpose::Operation(id, Some(loglet.id())), LogletOp::Seal);
        self.mark_busy(id);
    }

    pub(super) fn seal_answered(&mut self, id: OpId, result: LogletResult) {
        self.end(
            id,
            match result {
                // Deleted: something else has replaced it.
                LogletResult::Sealed | LogletResult::Gone => LogResult::Sealed,
                LogletResult::Unavailable { reason } => LogResult::Unavailable { reason },
                other => unreachable!("no result of a seal: {other:?}"),
            },
        );
    }

    pub(super) fn mark_busy(&mut self, id: OpId) {
        self.operations.get_mut(&id).expect("it has just asked something").busy = true;
    }

    pub(super) fn tail_found(&mut self, id: OpId, loglet: LogletId, result: LogletResult) {
        match result {
            LogletResult::Tail { tail, sealed: false } => match self.position_at_end(loglet, tail) {
                Some(position) => {
                    self.raise_committed(loglet, tail);
                    self.end(id, LogResult::Tail(position));
                }
                // It has been closed meanwhile: what was open when the question came is below its stop, and the tail of
                // the log is elsewhere.
                None => self.go_on(id),
            },
            // Serves the conditional write of the chain, and nothing else (P1).
            LogletResult::Tail { sealed: true, .. } | LogletResult::Gone => {
                self.suspect(loglet, Sign::Sealed);
                self.go_on(id);
            }
            LogletResult::Unavailable { reason } => self.end(id, LogResult::Unavailable { reason }),
            other => unreachable!("no result of a checkTail: {other:?}"),
        }
    }

    /// The position of a tail of the last loglet; none when it is not the last one any more.
    pub(super) fn position_at_end(&self, loglet: LogletId, tail: Offset) -> Option<LogPos> {
        let last = self.last();
        (last.loglet.id() == loglet).then(|| last.start + tail.0)
    }

    /// An open tail is committed (P1 b).
    pub(super) fn raise_committed(&mut self, loglet: LogletId, tail: Offset) {
        if self.last().loglet.id() == loglet {
            self.committed = self.committed.max(tail);
        }
    }

    pub(super) fn ask_records(&mut self, id: OpId, min: LogPos, max: LogPos, bytes_max: u32) {
        let chain = self.chain.as_ref().expect("asked only once there is a chain");
        let first = chain.first_position();
        if min < first {
            return self.end(id, LogResult::Trimmed { trim_point: first });
        }
        if min >= max {
            return self.end(id, LogResult::NothingYet);
        }
        let place = chain.locate(min).expect("at or above the first position");
        let segment = &chain.segments[place.segment];
        let end = max.offset_from(segment.start);
        let (max, limit) = match place.stop {
            Some(_) if mutants::is(Mutant::ReadPastStop) => (end, Offset::MAX),
            Some(stop) => (end.min(stop), stop),
            None => (end, self.committed),
        };
        let loglet = segment.loglet.clone();
        let op = LogletOp::ReadNext { min: place.offset, max, limit, bytes_max };
        self.ask_loglet(&loglet, Purpose::Operation(id, Some(loglet.id())), op);
        self.mark_busy(id);
    }

    pub(super) fn records_read(&mut self, id: OpId, loglet: LogletId, result: LogletResult) {
        let chain = self.chain.as_ref().expect("there was one when it was asked");
        match result {
            LogletResult::Records { first, records } => match self.in_the_log(loglet, first, records) {
                Some((first, records)) => self.end(id, LogResult::Records { first, records }),
                // The chain has changed meanwhile.
                None => self.go_on(id),
            },
            LogletResult::NothingYet if chain.last().loglet.id() == loglet => self.end(id, LogResult::NothingYet),
            LogletResult::NothingYet => self.go_on(id),
            LogletResult::Trimmed { trim_point } => {
                let trim_point = self.trimmed_to(loglet, trim_point);
                self.end(id, LogResult::Trimmed { trim_point });
            }
            // It goes on with the next chain that is read.
            LogletResult::Gone => self.suspect_gone(loglet),
            LogletResult::Unavailable { reason } => self.end(id, LogResult::Unavailable { reason }),
            other => unreachable!("no result of a read: {other:?}"),
        }
    }

    /// The first position that may still be read, when a loglet is trimmed up to this offset.
    pub(super) fn trimmed_to(&self, loglet: LogletId, trim_point: Offset) -> LogPos {
        let chain = self.chain.as_ref().expect("there was one when it was asked");
        let segment = chain.segment_of(loglet).map(|segment| &chain.segments[segment]);
        let trimmed = segment.map_or(LogPos::ZERO, |segment| {
            let end = segment.stop_offset().unwrap_or(Offset::MAX);
            segment.start + trim_point.min(end).0
        });
        trimmed.max(chain.first_position())
    }

    /// The part of what a loglet has returned that is in the log: **the boundary rule** (P1). None if there is none.
    pub(super) fn in_the_log(&self, loglet: LogletId, first: Offset, records: Records) -> Option<(LogPos, Records)> {
        let chain = self.chain.as_ref()?;
        let segment = chain.segment_of(loglet)?;
        if mutants::is(Mutant::ReadPastStop) {
            return Some((chain.segments[segment].start + first.0, records));
        }
        let (position, keep) = chain.positions(segment, first, records.count)?;
        if keep == records.count {
            return Some((position, records));
        }
        let batch = Batch::new(records.count, &records.bytes).expect("checked when received");
        let mut bytes = Vec::new();
        let count = batch.copy_range(0, keep, usize::MAX, &mut bytes);
        Some((position, Records { count, bytes }))
    }
}
