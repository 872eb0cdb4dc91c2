//! No-ops, placed where others wait for this loglet's offsets to be given out (P6).

use std::ops::Range;
use std::time::Duration;

use super::machine::{Sequencer, State};
use crate::base::checksum::crc32c;
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, Limits, Offset};
use crate::proto::PeerId;
use crate::wire::Message;

/// Requests that wait at once; more are left unread.
const FILLS_MAX: usize = 1024;
/// How soon to look again whether another lane's ranges are committed, which nobody tells this one: about what a durable write takes.
const LOOK: Duration = Duration::from_micros(200);

/// Somebody who waits for everything below an offset to be committed.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct Fill {
    /// Nobody, once the client's connection is gone.
    from: Option<PeerId>,
    request: u64,
    /// All below it has been given out: `until <= tail`.
    until: Offset,
    /// No-ops that this request itself has added.
    placed: u64,
}

/// What was given out, for what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Given {
    /// Bytes of the records that were appended, with their tables.
    pub append_bytes: u64,
    /// No-ops.
    pub no_ops: u64,
    /// Bytes of these, which are their tables alone.
    pub no_op_bytes: u64,
}

/// Most no-ops of one request: as many as an append may have records.
pub(super) fn no_ops_max(limits: &Limits) -> u32 {
    limits.batch_records_max.min(limits.batch_bytes_max / Limits::RECORD_OVERHEAD).max(1)
}

impl Sequencer {
    /// Whether a request for no-ops may be handed in. Otherwise the host stops reading that client, as with [`Sequencer::has_room`].
    pub fn has_room_to_fill(&self) -> bool {
        self.has_room() && self.fills.len() + self.patience.waiting() < FILLS_MAX
    }

    /// Most no-ops that one request is given offsets for.
    pub fn no_ops_max(&self) -> u32 {
        self.no_ops_max
    }

    /// `from` wants every offset below `to` to be given out. Those that are not, as far as one request may go, become no-ops: at once if nobody
    /// has appended lately, else after a while, as more records may come. Answered by [`Sequencer::poll_reply`] when all that is
    /// committed, as far as it was given out; else as an append. Whoever asks while others do adds nothing to what these have placed
    /// (P6 c). For a loglet's only lane.
    ///
    /// # Panics
    /// Without room for it; see [`Sequencer::has_room_to_fill`].
    pub fn handle_fill(&mut self, from: PeerId, request: u64, to: Offset, now: Instant) {
        assert!(self.has_room_to_fill(), "the host stops reading a client while there is no room");
        match self.takes_appends() {
            true if to > self.tail && self.patience.expects_records(now) => {
                self.wait_for_records(from, request, to, now)
            }
            true => self.fill_now(from, request, to, now),
            false => self.refuse_append(from, request),
        }
    }

    pub(super) fn fill_now(&mut self, from: PeerId, request: u64, to: Offset, now: Instant) {
        let end = to.min(self.tail + u64::from(self.no_ops_max)).max(self.tail);
        self.handle_granted_fill(from, request, to, self.tail..end, now);
    }

    /// As [`Sequencer::handle_fill`], for no-ops whose offsets the host has given, as it does for appends: `granted`, which is empty
    /// where all below `to` had been given out before.
    ///
    /// # Panics
    /// As [`Sequencer::handle_granted_append`]; offsets below `to` are neither granted nor given out, and may have been granted.
    pub fn handle_granted_fill(
        &mut self,
        from: PeerId,
        request: u64,
        to: Offset,
        granted: Range<Offset>,
        now: Instant,
    ) {
        assert!(self.has_room_to_fill(), "the host stops reading a client while there is no room");
        assert!(self.takes_appends(), "the host refuses fills that are not taken, before it gives them offsets");
        if !self.is_waited_for() {
            self.progress = now;
        }
        let placed = granted.end.since(granted.start);
        assert!(placed <= u64::from(self.no_ops_max), "a request has a batch of no-ops at most");
        if placed > 0 {
            self.place(granted.start, placed);
        }
        let until = to.min(self.tail);
        assert!(until == to || placed == u64::from(self.no_ops_max), "all that may be granted is");
        if until > self.end {
            self.look_at.get_or_insert(now + LOOK);
        }
        self.fills.push(Fill { from: Some(from), request, until, placed });
        self.answer_fills();
    }

    fn place(&mut self, first: Offset, count: u64) {
        assert!(first >= self.end && first >= self.watermark, "offsets are given in ascending order, and once");
        let mut batch = std::mem::take(&mut self.no_ops);
        (0..count).for_each(|_| batch.push_no_op());
        let [table, _] = batch.batch().parts();
        self.queue.push(first, batch.batch(), crc32c(table));
        self.given.no_ops += count;
        self.given.no_op_bytes += batch.len() as u64;
        batch.clear();
        self.no_ops = batch;
        self.end = first + count;
        self.tail = self.tail.max(self.end);
    }

    /// Answers whoever waits for no more than is committed.
    pub(super) fn answer_fills(&mut self) {
        assert_eq!(self.state, State::Running, "nothing is acknowledged after the first sign of a seal");
        let known_tail = if mutants::is(Mutant::FillBeforeCommitted) { self.tail } else { self.watermark };
        let (loglet, replies) = (self.loglet(), &mut self.replies);
        self.fills.retain(|Fill { from, request, until, placed }| {
            let waits = *until > known_tail;
            let filled = Message::Filled { request: *request, loglet, placed: *placed, known_tail };
            replies.extend(from.filter(|_| !waits).map(|from| (from, filled)));
            waits
        });
    }

    /// Answers whoever waits as one who would ask now.
    pub(super) fn refuse_fills(&mut self) {
        assert!(!self.takes_appends(), "fills wait for what is taken");
        for Fill { from, request, .. } in std::mem::take(&mut self.fills) {
            if let Some(from) = from {
                self.refuse_append(from, request);
            }
        }
        self.refuse_patient();
    }

    pub(super) fn forget_filler(&mut self, peer: PeerId) {
        self.patience.forget(peer);
        self.fills.iter_mut().filter(|fill| fill.from == Some(peer)).for_each(|fill| fill.from = None);
    }

    /// Whether the time has come to look again, which the host does before it says that time has passed.
    pub(super) fn look_again(&mut self, now: Instant) {
        let waits = self.fills.iter().any(|fill| fill.until > self.end);
        if self.look_at.take_if(|at| *at <= now).is_some() && waits {
            self.look_at = Some(now + LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::Lost;
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_fill_gives_what_is_missing_to_no_ops_and_is_answered_when_they_are_committed() {
        let mut rig = Rig::new(3);
        rig.append(1, 2);
        rig.fill(2, 5);
        rig.pass_time(Limits::default().fill_patience_max);
        let sent =
            [Sent::Store { first: Offset(0), count: 2, known: Offset(0) }, Sent::NoOps { first: Offset(2), count: 3 }];
        (0..3).for_each(|server| assert_eq!(rig.drain(server), sent));
        rig.stored(0, 5);
        rig.stored(1, 4);
        assert_eq!(rig.replies(), [appended(1, 0, 2, 4)], "the last no-op is on one server");
        rig.stored(2, 5);
        assert_eq!(rig.replies(), [filled(2, 3, 5)]);
        rig.append(3, 1);
        assert!(
            matches!(rig.drain(0)[..], [Sent::Store { first: Offset(5), count: 1, .. }]),
            "appends go on behind them"
        );
    }

    /// P6 c: who asks for what was given out adds nothing, and waits for no more than is asked for.
    #[test]
    fn what_is_given_out_already_is_waited_for_and_not_filled_again() {
        let mut rig = Rig::new(1);
        rig.append(1, 4);
        rig.append(2, 4);
        rig.fill(3, 3);
        assert_eq!(rig.replies(), []);
        rig.stored(0, 4);
        assert_eq!(rig.replies(), [appended(1, 0, 4, 4), filled(3, 0, 4)]);
        rig.fill(4, 4);
        rig.fill(5, 0);
        assert_eq!(rig.replies(), [filled(4, 0, 4), filled(5, 0, 4)], "at once");
        assert_eq!(rig.core.status().given().no_ops, 0);
    }

    /// P6 c: with a range added for each of them, fillers would chase each other.
    #[test]
    fn fills_that_wait_together_do_not_add_up() {
        let mut rig = Rig::new(1);
        for (request, to) in [(1, 4), (2, 4), (3, 6), (4, 1)] {
            rig.fill(request, to);
        }
        assert_eq!(rig.core.status().tail(), Offset(6));
        rig.stored(0, 4);
        assert_eq!(rig.replies(), [filled(1, 4, 4), filled(2, 0, 4), filled(4, 0, 4)]);
        rig.stored(0, 6);
        assert_eq!(rig.replies(), [filled(3, 2, 6)]);
    }

    #[test]
    fn one_request_places_a_batch_of_no_ops_at_most() {
        let mut rig = Rig::new(1);
        rig.core.no_ops_max = 4;
        rig.fill(1, 10);
        assert_eq!(rig.core.status().tail(), Offset(4));
        rig.stored(0, 4);
        assert_eq!(rig.replies(), [filled(1, 4, 4)], "who wants more asks again");
        rig.fill(2, 10);
        rig.fill(3, 10);
        rig.stored(0, 10);
        assert_eq!(rig.replies(), [filled(2, 4, 10), filled(3, 2, 10)]);
        let limits = Limits::default();
        assert!(no_ops_max(&limits) * Limits::RECORD_OVERHEAD <= limits.batch_bytes_max);
    }

    /// P11: no-ops take room as appends do, and are not placed without it.
    #[test]
    fn no_ops_fill_the_window() {
        let mut rig = Rig::new(1);
        let (mut request, mut to) = (0, 0);
        while rig.core.has_room_to_fill() {
            (request, to) = (request + 1, to + 500);
            rig.fill(request, to);
        }
        assert!((2..100).contains(&request), "{request}");
        rig.stored(0, to);
        assert!(rig.core.has_room_to_fill());
        assert_eq!(rig.replies().len() as u64, request);
    }

    #[test]
    fn those_who_wait_are_bounded() {
        let mut rig = Rig::new(1);
        (0..FILLS_MAX as u64).for_each(|request| rig.fill(request, 1));
        assert!(!rig.core.has_room_to_fill() && rig.core.has_room());
        rig.stored(0, 1);
        assert!(rig.core.has_room_to_fill());
    }

    #[test]
    fn a_seal_a_loss_and_want_of_space_answer_those_who_wait() {
        let refused =
            |request, first| Message::AppendSealed { request, loglet: LOGLET, first: Offset(first), count: 0 };
        let mut rig = Rig::new(3);
        rig.fill(1, 4);
        rig.handle(0, Message::Gone { request: 0, loglet: LOGLET });
        rig.fill(2, 9);
        assert_eq!(rig.replies(), [refused(1, 4), refused(2, 4)]);
        assert_eq!(rig.core.status().tail(), Offset(4), "nothing is placed any more");

        let mut rig = Rig::new(3);
        rig.fill(1, 4);
        rig.core.lose(Lost::Ended);
        rig.fill(2, 4);
        assert_eq!(rig.replies(), [1, 2].map(|request| Message::SequencerLost { request, loglet: LOGLET }));

        let mut rig = Rig::new(3);
        rig.fill(1, 4);
        (0..2).for_each(|server| rig.handle(server, Message::NoSpace { request: 0, loglet: LOGLET }));
        rig.fill(2, 9);
        let no_space = |request| Message::AppendNoSpace { request, loglet: LOGLET, first: Offset(4), count: 0 };
        assert_eq!(rig.replies(), [no_space(2)]);
        rig.pass_time(rig.core.stall);
        assert_eq!(rig.replies(), [no_space(1)]);
        assert_eq!(rig.core.state(), State::Running);
    }

    /// L4: also where nobody but a filler waits.
    #[test]
    fn no_ops_that_no_majority_stores_end_the_sequencer() {
        let mut rig = Rig::new(3);
        rig.pass_time(rig.core.stall);
        rig.fill(1, 4);
        rig.pass_time(rig.core.stall / 2);
        assert_eq!(rig.core.state(), State::Running);
        rig.pass_time(rig.core.stall / 2);
        assert_eq!(rig.core.state(), State::Lost(Lost::Stalled));
        assert_eq!(rig.replies(), [Message::SequencerLost { request: 1, loglet: LOGLET }]);
    }

    #[test]
    fn a_client_that_left_gets_no_answer_and_its_no_ops_stay() {
        let mut rig = Rig::new(1);
        rig.fill(1, 2);
        rig.core.handle_client_disconnected(CLIENT);
        rig.stored(0, 2);
        assert_eq!(rig.replies(), []);
        assert_eq!(rig.core.known_tail(), Offset(2));
    }

    /// What is missing lies between the ranges of other lanes; what these have given out is theirs to store.
    #[test]
    fn a_lane_places_what_it_was_granted_and_waits_for_other_lanes() {
        let mut rig = Rig::new(3);
        rig.granted(1, 5, 2);
        rig.core.handle_lanes(Offset(12), Offset(0), rig.now);
        rig.core.handle_granted_fill(CLIENT, 2, Offset(15), Offset(12)..Offset(15), rig.now);
        rig.core.handle_granted_fill(CLIENT, 3, Offset(9), Offset(15)..Offset(15), rig.now);
        let store = Sent::Store { first: Offset(5), count: 2, known: Offset(0) };
        assert_eq!(rig.drain(0), [store, Sent::NoOps { first: Offset(12), count: 3 }]);
        rig.core.handle_lanes(Offset(15), Offset(10), rig.now);
        assert_eq!(rig.replies(), [appended(1, 5, 2, 10), filled(3, 0, 10)]);
        (0..2).for_each(|server| rig.stored(server, 15));
        assert_eq!(rig.replies(), [filled(2, 3, 15)]);
    }

    /// Nobody wakes a lane when another one's ranges are committed.
    #[test]
    fn a_lane_that_waits_only_for_others_looks_again_and_again() {
        let mut rig = Rig::new(3);
        rig.core.handle_lanes(Offset(4), Offset(0), rig.now);
        rig.core.handle_granted_fill(CLIENT, 1, Offset(4), Offset(4)..Offset(4), rig.now);
        for _ in 0..3 {
            assert_eq!(rig.core.poll_timeout().map(|(at, _)| at), Some(rig.now + LOOK));
            rig.pass_time(LOOK);
        }
        rig.core.handle_lanes(Offset(4), Offset(4), rig.now);
        assert_eq!(rig.replies(), [filled(1, 0, 4)]);
        rig.pass_time(LOOK);
        assert_eq!(rig.core.poll_timeout(), None);
    }

    #[test]
    fn status_tells_no_ops_from_appends() {
        let mut rig = Rig::new(1);
        rig.append_bytes(1, &[0; 100]);
        rig.stored(0, 1);
        rig.pass_time(Limits::default().fill_patience_max);
        rig.fill(2, 4);
        assert_eq!(rig.core.status().given(), Given { append_bytes: 108, no_ops: 3, no_op_bytes: 24 });
    }

    #[test]
    fn memory_for_no_ops_is_counted_and_given_up() {
        let mut rig = Rig::new(1);
        rig.fill(1, 1000);
        assert!(rig.core.memory_bytes() >= 2 * 8000, "the queue's, and what they were made in");
        rig.stored(0, 1000);
        rig.replies();
        rig.core.shed();
        assert_eq!(rig.core.memory_bytes(), 0);
    }
}
