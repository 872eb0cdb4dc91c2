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

    /// An append of `from`, whose frame body had this checksum. Answered later, exactly once, by [`Sequencer::poll_reply`].
    ///
    /// # Panics
    /// Without room for it; see [`Sequencer::has_room`].
    pub fn handle_append(&mut self, from: PeerId, request: u64, batch: Batch<'_>, body_checksum: u32, now: Instant) {
        assert!(self.has_room(), "the host stops reading a client while there is no room");
        let loglet = self.loglet();
        match self.state {
            State::Running => {}
            State::Sealing | State::Sealed => {
                let first = self.tail;
                self.replies.push_back((from, Message::AppendSealed { request, loglet, first, count: 0 }));
                return;
            }
            State::Lost(_) => {
                self.replies.push_back((from, Message::SequencerLost { request, loglet }));
                return;
            }
        }
        if self.lacks_space() {
            let first = self.tail;
            self.replies.push_back((from, Message::AppendNoSpace { request, loglet, first, count: 0 }));
            return;
        }
        if self.outstanding.is_empty() {
            self.progress = now;
        }
        let (first, count) = (self.tail, batch.count());
        self.queue.push(first, batch, body_checksum);
        self.outstanding.push_back(Outstanding { from: Some(from), request, first, count, times: Times::since(now) });
        self.tail = first + u64::from(count);
        assert!(self.watermark < self.tail);
    }

    /// The client's connection is gone: its appends go on, its answers are dropped.
    pub fn handle_client_disconnected(&mut self, peer: PeerId) {
        self.replies.retain(|(to, _)| *to != peer);
        for append in self.outstanding.iter_mut().filter(|append| append.from == Some(peer)) {
            append.from = None;
        }
    }

    /// The next answer to a client.
    pub fn poll_reply(&mut self) -> Option<(PeerId, Message<'static>)> {
        self.replies.pop_front()
    }

    /// Acknowledges what lies wholly below the watermark, which LogServer `last` has raised.
    pub(super) fn acknowledge(&mut self, last: usize, now: Instant) {
        assert_eq!(self.state, State::Running, "nothing is acknowledged after the first sign of a seal");
        let (loglet, known_tail) = (self.loglet(), self.watermark);
        while let Some(&append) = self.outstanding.front().filter(|append| append.end() <= known_tail) {
            self.outstanding.pop_front();
            let Outstanding { from, request, first, count, times } = append;
            self.append_latency.record(now.since(times.arrived));
            if let Some(from) = from {
                let residence = times.residence(last, now);
                self.replies
                    .push_back((from, Message::Appended { request, loglet, first, count, known_tail, residence }));
            }
        }
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
