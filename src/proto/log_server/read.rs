use super::catch_up::CATCHING_UP;
use super::loglet::Loglet;
use super::shared::{Purpose, Shared};
use super::{Disk, ReadOutcome};
use crate::base::Offset;
use crate::proto::peer::PeerId;
use crate::wire::{Message, RejectCode};

/// Single reads that one loglet has under way; a further one is refused.
const READS_MAX: u32 = 256;

/// What there is at an offset.
pub(super) enum Readable {
    /// It has been given up.
    Trimmed,
    /// Durable records up to here.
    Records { to: Offset },
    /// It lies below the local tail and this server has no durable copy up to `to`; with `coming` one is on its way.
    Gap { to: Offset, coming: bool },
    /// Nothing that may be read, yet.
    Nothing,
}

impl Loglet {
    /// What a reader with this bound may see at `from`: never anything at or beyond the bound, and never over a gap (P17).
    pub(super) fn readable(&self, from: Offset, bound: Offset) -> Readable {
        let tail = self.local_tail();
        if from < self.trim_point {
            Readable::Trimmed
        } else if from >= bound {
            Readable::Nothing
        } else if let Some(end) = self.stored.end_of(from) {
            Readable::Records { to: end.min(bound) }
        } else if from < tail {
            let to = self.stored.next_run(from).map_or(tail, |run| run.0.min(tail));
            Readable::Gap { to, coming: self.is_coming(from) }
        } else {
            Readable::Nothing
        }
    }

    /// Whether a record is on its way into the journal, or, as nothing has been skipped there yet, on its way to this server.
    fn is_coming(&self, offset: Offset) -> bool {
        let unskipped = offset >= self.next && self.config.is_some();
        unskipped || self.journal.end_of(offset).is_some()
    }

    /// Reads `min..max`, below what the client or this server knows to be committed (P17).
    pub(super) fn read(
        &mut self,
        (peer, request): (PeerId, u64),
        (min, max): (Offset, Offset),
        limit: Offset,
        bytes_max: u32,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        let bound = max.min(limit.max(self.known_tail));
        match self.readable(min, bound) {
            Readable::Records { .. } if self.reads >= READS_MAX => {
                shared.reject(peer, request, RejectCode::Limit, "too many reads are under way on this loglet");
            }
            Readable::Records { to } => {
                assert!(min < to && to <= bound, "a read stays below its bound (P1)");
                self.reads += 1;
                let id = shared.start_read(self.id, Purpose::Read { peer, request, from: min, to });
                disk.read(id, self.id, min, to, bytes_max.min(shared.limits.read_bytes_max));
            }
            _ => self.answer_unreadable(peer, request, min, bound, shared),
        }
    }

    fn answer_unreadable(&self, peer: PeerId, request: u64, min: Offset, bound: Offset, shared: &mut Shared) {
        let loglet = self.id;
        let message = match self.readable(min, bound) {
            Readable::Trimmed => Message::Trimmed { request, loglet, trim_point: self.trim_point },
            Readable::Gap { to, .. } => Message::Gap { request, loglet, from: min, to },
            // `Behind` tells a tail, which a server that catches up does not (P10).
            _ if self.catch_up.is_some() => Message::Unavailable { request, loglet, reason: CATCHING_UP },
            _ => {
                let tail = self.local_tail();
                Message::Behind { request, loglet, tail, known_tail: self.known_tail }
            }
        };
        shared.send(peer, message);
    }

    /// A single read is complete.
    pub(super) fn read_done<'b>(
        &mut self,
        (peer, request): (PeerId, u64),
        (from, to): (Offset, Offset),
        outcome: ReadOutcome<'b>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) -> Option<(PeerId, Message<'b>)> {
        assert!(self.reads > 0, "a read was under way");
        self.reads -= 1;
        if let ReadOutcome::Records { first, batch } = outcome {
            check_range(first, batch.count(), from, to);
            let known_tail = self.known_tail;
            return Some((peer, Message::Records { request, loglet: self.id, first, known_tail, batch }));
        }
        self.make_hole(from, to, outcome, shared, disk);
        self.answer_unreadable(peer, request, from, to, shared);
        None
    }

    /// Records that were thought to be here are not, or not whole: a hole, to be filled from others. The tail stands (P10).
    pub(super) fn make_hole(
        &mut self,
        from: Offset,
        to: Offset,
        outcome: ReadOutcome<'_>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        let end = match outcome {
            ReadOutcome::Records { .. } => return,
            ReadOutcome::Missing { to, .. } | ReadOutcome::Damaged { to, .. } => to,
        };
        let tail = self.local_tail();
        let end = end.clamp(from + 1, to);
        self.stored.remove(from, end);
        self.journal.remove(from, end);
        assert_eq!(self.local_tail(), tail, "a damaged record does not move the tail (P10)");
        self.settle(shared, disk);
    }
}

/// A journal that answers more than it was asked would show records beyond the bound.
pub(super) fn check_range(first: Offset, count: u32, from: Offset, to: Offset) {
    assert_eq!(first, from, "a read begins where it was asked to (P17)");
    assert!(first + u64::from(count) <= to, "a read ends where it was asked to (P1)");
}
