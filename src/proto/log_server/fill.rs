use super::Disk;
use super::loglet::Loglet;
use super::shared::{Shared, What};
use crate::base::{Instant, NodeId, Offset};
use crate::wire::{Batch, Message};

/// The copying of records that this server lacks from other LogServers: one request or one write at a time.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Fill {
    /// Something is lacking, and the loglet is among the active ones.
    active: bool,
    asked: Option<Asked>,
    writing: Option<(Offset, Offset)>,
    /// Whose turn it is, counted over the other members.
    turn: usize,
    /// The next offset when it was last looked at: as long as it moves, records below the known tail are still on their way.
    seen_next: Offset,
    /// Refusals since the last success.
    failures: u32,
    /// When the next request is due; none while nothing is lacking.
    pub(super) next_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Hash)]
struct Asked {
    request: u64,
    node: NodeId,
    from: Offset,
    to: Offset,
    at: Instant,
}

impl Loglet {
    /// Notes whether something is lacking. What the sequencer skipped may only be late, so a gap is given a moment.
    pub(super) fn schedule_fill(&mut self, shared: &mut Shared) {
        let lacking = self.catch_up.is_some()
            || self.next < self.known_tail
            || self.journal.first_hole(self.trim_point, self.next).is_some();
        if lacking && !shared.failed && !self.deleting && self.others(shared).next().is_some() {
            if !self.fill.active {
                self.fill.active = true;
                self.fill.seen_next = self.next;
                self.fill.next_at = Some(shared.now + shared.limits.reconnect_delay);
                shared.active.insert(self.id);
            }
        } else if self.fill.active {
            self.fill.active = false;
            self.fill.next_at = None;
            shared.active.remove(&self.id);
        }
    }

    /// When background work is due, and which.
    pub(super) fn work_due(&self, shared: &Shared) -> Option<(Instant, &'static str)> {
        let asks = self.catch_up.as_ref().and_then(|catch_up| catch_up.next_ask());
        let asks = asks.map(|at| (at, "a LogServer that catches up asks the others for their tails"));
        let fill = match (&self.fill.asked, self.fill.writing) {
            (Some(asked), _) => {
                Some((asked.at + shared.limits.stall, "a LogServer has not answered a request for records"))
            }
            (None, Some(_)) => None,
            (None, None) => self.fill.next_at.map(|at| (at, "records are to be copied from another LogServer")),
        };
        asks.into_iter().chain(fill).min_by_key(|due| due.0)
    }

    /// Does the background work that is due.
    pub(super) fn work(&mut self, shared: &mut Shared, disk: &mut impl Disk) {
        if shared.failed || self.deleting {
            return;
        }
        self.ask_tails(shared);
        if let Some(asked) = self.fill.asked {
            if asked.at + shared.limits.stall > shared.now {
                return;
            }
            shared.requests.remove(&asked.request);
            self.fill_failed(shared);
        }
        if self.fill.writing.is_some() || self.fill.next_at.is_none_or(|at| at > shared.now) {
            return;
        }
        if self.fill.seen_next == self.next {
            // Nobody sends it: it is a gap.
            self.skip_to(self.known_tail, shared, disk);
        }
        self.fill.seen_next = self.next;
        let bound = self.catch_up_target().unwrap_or(self.next).max(self.next);
        match self.journal.first_hole(self.trim_point, bound) {
            Some(_) if shared.full => self.fill.next_at = Some(shared.now + shared.space_pause()),
            Some(hole) => self.ask_for(hole, shared),
            None => {
                self.fill.failures = 0;
                self.fill.next_at = Some(shared.now + shared.limits.reconnect_delay);
                self.finish_catch_up(shared, disk);
            }
        }
        self.settle(shared, disk);
    }

    fn ask_for(&mut self, (from, to): (Offset, Offset), shared: &mut Shared) {
        assert!(self.fill.asked.is_none() && self.fill.writing.is_none(), "one request or write at a time");
        let others = self.others(shared).count();
        let Some(member) = self.others(shared).nth(self.fill.turn % others.max(1)) else { return };
        let (loglet, bytes_max) = (self.id, shared.limits.read_bytes_max);
        let message = |request| Message::Read { request, loglet, min: from, max: to, limit: to, bytes_max };
        let request = shared.ask(member, loglet, message);
        self.fill.asked = Some(Asked { request, node: member.node, from, to, at: shared.now });
    }

    /// The member asked cannot help; the next one is asked, at once until all have been.
    fn fill_failed(&mut self, shared: &Shared) {
        let others = u32::try_from(self.others(shared).count()).expect("few members").max(1);
        self.fill.asked = None;
        self.fill.turn = self.fill.turn.wrapping_add(1);
        self.fill.failures += 1;
        let rounds = self.fill.failures / others;
        let pause = if self.fill.failures.is_multiple_of(others) {
            shared.limits.reconnect_delay * (1 << rounds.min(4))
        } else {
            std::time::Duration::ZERO
        };
        self.fill.next_at = Some(shared.now + pause);
    }

    /// The connection to a member is lost, and its answers with it.
    pub(super) fn member_lost(&mut self, node: NodeId, shared: &Shared) {
        if self.fill.asked.is_some_and(|asked| asked.node == node) {
            self.fill_failed(shared);
        }
    }

    /// An answer to a request of this loglet.
    pub(super) fn member_answer(
        &mut self,
        request: u64,
        node: NodeId,
        message: &Message<'_>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        match (self.fill.asked, message) {
            (Some(asked), message) if asked.request == request => {
                assert_eq!(asked.node, node, "requests are matched by node");
                self.fill_answer(asked, message, shared, disk);
            }
            (_, Message::Tail { tail, trim_point, .. } | Message::Sealed { tail, trim_point, .. }) => {
                self.tail_told(node, (*tail).max(*trim_point), shared);
            }
            // The next round asks again.
            _ => {}
        }
        self.settle(shared, disk);
    }

    fn fill_answer(&mut self, asked: Asked, message: &Message<'_>, shared: &mut Shared, disk: &mut impl Disk) {
        match *message {
            Message::Records { first, known_tail, batch, .. } if first == asked.from && batch.verify().is_ok() => {
                if plausible(known_tail) {
                    self.known_tail = self.known_tail.max(known_tail);
                }
                self.fill.asked = None;
                self.fill.failures = 0;
                self.fill.next_at = Some(shared.now);
                self.fill_write(asked, batch, shared, disk);
            }
            // What is trimmed there is committed, and cannot be had any more (P3).
            Message::Trimmed { trim_point, .. } if plausible(trim_point) && trim_point > asked.from => {
                self.fill.asked = None;
                self.fill.next_at = Some(shared.now + shared.limits.reconnect_delay);
                self.raise_trim(trim_point, shared, disk);
            }
            _ => self.fill_failed(shared),
        }
    }

    fn fill_write(&mut self, asked: Asked, batch: Batch<'_>, shared: &mut Shared, disk: &mut impl Disk) {
        let end = (asked.from + u64::from(batch.count())).min(asked.to);
        // Something else may have filled, or trimmed, the hole meanwhile.
        let Some((from, to)) = self.journal.first_hole(asked.from.max(self.trim_point), end) else { return };
        let mut bytes = shared.buffer();
        let skip = u32::try_from(from.since(asked.from)).expect("within the batch");
        let records = u32::try_from(to.since(from)).expect("within the batch");
        let count = batch.copy_range(skip, records, usize::MAX, &mut bytes);
        assert_eq!(count, records, "a range without a limit is copied whole");
        let below = self.local_tail().max(self.catch_up_target().unwrap_or_default());
        assert!(to <= below, "filling never raises a tail that was told (P1)");
        match disk.write_records(self.id, from, Batch::new(count, &bytes).expect("a range of a batch")) {
            Ok(write) => {
                shared.taken(write, self.id, What::Records { first: from, end: to });
                self.journal.insert(from, to);
                self.next = self.next.max(to);
                self.fill.writing = Some((from, to));
            }
            Err(super::Refused::Failed) => shared.failed = true,
            Err(super::Refused::Space) => {
                shared.fill_up();
                self.fill.next_at = Some(shared.now + shared.space_pause());
            }
            Err(super::Refused::Busy) => self.fill.next_at = Some(shared.now + shared.limits.reconnect_delay),
        }
        shared.recycle(bytes);
    }

    /// Records have become durable; perhaps those that were copied.
    pub(super) fn fill_durable(&mut self, first: Offset, end: Offset) {
        if self.fill.writing.is_some_and(|writing| first <= writing.0 && writing.1 <= end) {
            self.fill.writing = None;
        }
    }
}

/// Whether a number told by a peer can be an offset; the decoder keeps those of records below this as well.
pub(super) fn plausible(offset: Offset) -> bool {
    offset <= Offset::LAST
}
