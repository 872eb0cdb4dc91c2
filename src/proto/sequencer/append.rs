use super::machine::{Lost, Sequencer, State};
use super::stages::Times;
use crate::base::{Instant, Offset};
use crate::proto::PeerId;
use crate::wire::{Batch, Message};

/// An append that has its offsets and no answer yet.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct Outstanding {
    /// Nobody, once the client's connection is gone.
    from: Option<PeerId>,
    request: u64,
    pub(super) first: Offset,
    count: u32,
    pub(super) times: Times,
}

impl Outstanding {
    /// To whom, if anybody, and the answer made of its request, first offset and count.
    pub(super) fn answer<'a>(
        self,
        answer: impl FnOnce(u64, Offset, u32) -> Message<'a>,
    ) -> Option<(PeerId, Message<'a>)> {
        Some((self.from?, answer(self.request, self.first, self.count)))
    }

    pub(super) fn end(&self) -> Offset {
        self.first + u64::from(self.count)
    }
}

impl Sequencer {
    /// Whether one more append of any permitted size may be handed in. Otherwise the host stops reading that client (P11: what
    /// has an offset has its memory and its place in every queue).
    pub fn has_room(&self) -> bool {
        // What is refused needs no room.
        self.state != State::Running || self.lacks_space() || self.queue.weight() < self.window_bytes
    }

    /// Whether an append is to be given its offsets, and then handed in. Otherwise it is refused, and no offset is to be taken for it.
    pub fn takes_appends(&self) -> bool {
        self.state == State::Running && !self.lacks_space()
    }

    /// An append of `from`, whose frame body had this checksum. Answered later, exactly once, by [`Sequencer::poll_reply`]. For a
    /// loglet's only lane, which needs nobody to tell it the next offset.
    ///
    /// # Panics
    /// Without room for it; see [`Sequencer::has_room`].
    pub fn handle_append(&mut self, from: PeerId, request: u64, batch: Batch<'_>, body_checksum: u32, now: Instant) {
        assert!(self.has_room(), "the host stops reading a client while there is no room");
        match self.takes_appends() {
            true => self.handle_granted_append(from, request, self.tail, batch, body_checksum, now),
            false => self.refuse_append(from, request),
        }
    }

    /// As [`Sequencer::handle_append`], for an append whose records have the offsets from `first` on: the host has given them to nobody
    /// else, and gives them in ascending order.
    ///
    /// # Panics
    /// Without room for it, or when no appends are taken: everything that can fail is looked at before offsets are given, because a
    /// range that was given must be stored (P11). See [`Sequencer::has_room`] and [`Sequencer::takes_appends`].
    pub fn handle_granted_append(
        &mut self,
        from: PeerId,
        request: u64,
        first: Offset,
        batch: Batch<'_>,
        body_checksum: u32,
        now: Instant,
    ) {
        assert!(self.has_room(), "the host stops reading a client while there is no room");
        assert!(self.takes_appends(), "the host refuses appends that are not taken, before it gives them offsets");
        assert!(first >= self.end && first >= self.watermark, "offsets are given in ascending order, and once");
        if !self.is_waited_for() {
            self.progress = now;
        }
        let count = batch.count();
        self.patience.note_append(now);
        self.queue.push(first, batch, body_checksum);
        self.given.append_bytes += batch.len() as u64;
        self.outstanding.push_back(Outstanding { from: Some(from), request, first, count, times: Times::since(now) });
        self.end = first + u64::from(count);
        self.tail = self.tail.max(self.end);
        assert!(self.watermark < self.end);
    }

    /// An append of `from`, or a fill, that is given no offsets, and so surely not taken in: because no appends are taken, or because the
    /// loglet turned out to be sealed when its offsets were to be given. Answered by [`Sequencer::poll_reply`].
    pub fn refuse_append(&mut self, from: PeerId, request: u64) {
        let (loglet, first) = (self.loglet(), self.tail);
        let reply = match self.state {
            State::Running if self.lacks_space() => Message::AppendNoSpace { request, loglet, first, count: 0 },
            State::Running | State::Sealing | State::Sealed => {
                Message::AppendSealed { request, loglet, first, count: 0 }
            }
            State::Lost(_) => Message::SequencerLost { request, loglet },
        };
        self.replies.push_back((from, reply));
    }

    /// The client's connection is gone: its appends go on, its answers are dropped.
    pub fn handle_client_disconnected(&mut self, peer: PeerId) {
        self.replies.retain(|(to, _)| *to != peer);
        for append in self.outstanding.iter_mut().filter(|append| append.from == Some(peer)) {
            append.from = None;
        }
        self.forget_filler(peer);
    }

    /// The next answer to a client.
    pub fn poll_reply(&mut self) -> Option<(PeerId, Message<'static>)> {
        self.replies.pop_front()
    }

    /// Acknowledges what lies wholly below the watermark, which LogServer `last` has raised; one beyond the configuration where another
    /// lane knows which it was.
    pub(super) fn acknowledge(&mut self, last: usize, now: Instant) {
        assert_eq!(self.state, State::Running, "nothing is acknowledged after the first sign of a seal");
        let (loglet, known_tail) = (self.loglet(), self.watermark);
        while let Some(&append) = self.outstanding.front().filter(|append| append.end() <= known_tail) {
            self.outstanding.pop_front();
            let Outstanding { from, request, first, count, times } = append;
            self.append_latency.record(now.since(times.arrived));
            self.patience.note_latency(now.since(times.arrived));
            if let Some(from) = from {
                let residence = times.residence(last, now);
                self.replies
                    .push_back((from, Message::Appended { request, loglet, first, count, known_tail, residence }));
            }
        }
        self.answer_fills();
        if self.outstanding.is_empty() {
            self.patience.note_idle();
        }
        self.lose_patience(now);
    }

    /// Answers everything outstanding with what it needs to be settled. At once, not when a majority is sealed: the chain's
    /// stop decides either way, and the client that hears of the seal completes it too (P16, L1).
    pub(super) fn settle(&mut self, lost: Option<Lost>) {
        assert_ne!(self.state, State::Running, "a running sequencer settles by acknowledging");
        let loglet = self.loglet();
        let known = lost.is_none_or(Lost::offsets_stand);
        for Outstanding { from, request, first, count, .. } in std::mem::take(&mut self.outstanding) {
            let reply = match known {
                true => Message::AppendSealed { request, loglet, first, count },
                false => Message::SequencerLost { request, loglet },
            };
            self.replies.extend(from.map(|from| (from, reply)));
        }
        self.refuse_fills();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn an_append_is_acknowledged_when_a_majority_has_stored_it() {
        let mut rig = Rig::new(3);
        rig.append(1, 2);
        rig.stored(0, 2);
        assert_eq!(rig.replies(), []);
        rig.stored(2, 2);
        assert_eq!(rig.replies(), [appended(1, 0, 2, 2)]);
    }

    #[test]
    fn pipelined_appends_are_acknowledged_in_order_by_one_cumulative_answer() {
        let mut rig = Rig::new(3);
        (1..=3).for_each(|request| rig.append(request, 1));
        rig.stored(0, 3);
        rig.stored(1, 2);
        assert_eq!(rig.replies(), [appended(1, 0, 1, 2), appended(2, 1, 1, 2)]);
    }

    /// A cumulative answer inside a batch proves only a part of it.
    #[test]
    fn a_batch_is_not_acknowledged_in_part() {
        let mut rig = Rig::new(1);
        rig.append(1, 4);
        rig.stored(0, 3);
        assert_eq!(rig.replies(), []);
        rig.stored(0, 4);
        assert_eq!(rig.replies(), [appended(1, 0, 4, 4)]);
    }

    /// Ranges between this lane's belong to others.
    #[test]
    fn what_another_lane_knows_to_be_committed_is_acknowledged_here() {
        let mut rig = Rig::new(3);
        rig.granted(1, 2, 3);
        rig.granted(2, 10, 1);
        rig.core.handle_lanes(Offset(20), Offset(10), rig.now);
        assert_eq!(rig.replies(), [appended(1, 2, 3, 10)]);
        rig.stored(0, 15);
        rig.stored(2, 12);
        assert_eq!(rig.replies(), [appended(2, 10, 1, 12)]);
        assert_eq!(rig.core.known_tail(), Offset(12), "offsets of others below it are committed as well");
    }

    #[test]
    #[should_panic(expected = "once")]
    fn an_offset_is_not_given_twice() {
        let mut rig = Rig::new(3);
        rig.granted(1, 4, 2);
        rig.granted(2, 5, 1);
    }

    /// P11 a: what can fail is looked at before offsets are given.
    #[test]
    #[should_panic(expected = "before it gives them offsets")]
    fn a_sequencer_that_has_stopped_is_given_no_offsets() {
        let mut rig = Rig::new(3);
        rig.core.lose(Lost::Ended);
        rig.granted(1, 0, 1);
    }

    #[test]
    fn an_append_whose_offsets_were_refused_is_surely_not_stored() {
        let mut rig = Rig::new(3);
        rig.granted(1, 3, 1);
        rig.core.refuse_append(CLIENT, 2);
        let refused = Message::AppendSealed { request: 2, loglet: LOGLET, first: Offset(4), count: 0 };
        assert_eq!(rig.replies(), [refused]);
        assert_eq!(rig.core.state(), State::Running, "why it was sealed is told by who sealed it");
    }

    #[test]
    fn a_client_that_left_gets_no_answer_and_keeps_its_offsets() {
        let mut rig = Rig::new(1);
        rig.append(1, 1);
        rig.core.handle_client_disconnected(CLIENT);
        rig.stored(0, 1);
        assert_eq!(rig.replies(), []);
        assert_eq!(rig.core.known_tail(), Offset(1));
    }

    #[test]
    fn the_window_closes_and_opens_with_the_bytes_held() {
        let mut rig = Rig::new(1);
        let mut appends = 0;
        while rig.core.has_room() {
            appends += 1;
            rig.append_bytes(appends, &[0; 4000]);
        }
        assert!((2..100).contains(&appends));
        rig.stored(0, appends);
        assert!(rig.core.has_room());
    }
}
