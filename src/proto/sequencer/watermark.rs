use std::collections::VecDeque;

use super::machine::{Sequencer, State};
use crate::base::{Instant, Offset};
use crate::proto::PeerId;
use crate::wire::{BatchBuilder, Message};

impl Sequencer {
    /// The largest offset that a majority has acknowledged while open. By the order rule a success for n stands on everything
    /// below n, so this one number is enough: there is no completion window (section 8, P11).
    fn majority_tail(&self) -> Offset {
        let quorum = self.config.quorum();
        let reached = |tail: &Offset| self.servers.iter().filter(|server| server.acked >= *tail).count() >= quorum;
        // Zero is reached by all, so there is always one.
        self.servers.iter().map(|server| server.acked).filter(reached).max().unwrap_or(Offset::ZERO)
    }

    /// Moves the watermark as far as the answers reach, the last of which is LogServer `last`'s, and acknowledges.
    pub(super) fn advance(&mut self, last: usize, now: Instant) {
        assert_eq!(self.state, State::Running, "the watermark stands from the first sign of a seal (P1)");
        let reached = self.majority_tail();
        assert!(reached <= self.tail, "answers beyond the tail are refused when they come in");
        if reached > self.watermark {
            self.raise_watermark(reached, last, now);
        }
        self.release();
    }

    pub(super) fn raise_watermark(&mut self, reached: Offset, last: usize, now: Instant) {
        assert!(self.watermark < reached && reached <= self.tail, "it only rises, and not beyond what was given out");
        self.watermark = reached;
        self.progress = now;
        let delay = self.known_tail_delay;
        self.servers.iter_mut().for_each(|server| server.owe_known_tail(now, delay));
        self.acknowledge(last, now);
    }

    /// Drops what every LogServer has, and of the rest what is globally committed and more than a slow LogServer's share.
    pub(super) fn release(&mut self) {
        self.release_beyond(self.lag_bytes);
    }

    /// Gives up what memory it can: whatever is globally committed, which a slow LogServer then copies from the others, and what
    /// holds nothing.
    pub fn shed(&mut self) {
        if self.state == State::Running {
            self.release_beyond(0);
            self.give_up_space();
        }
        self.trim_memory();
    }

    /// Gives up memory that holds nothing, of a sequencer that has not been used for a while.
    pub fn trim_memory(&mut self) {
        self.queue.fit();
        if self.outstanding.is_empty() {
            self.outstanding = VecDeque::new();
        }
        if self.fills.is_empty() {
            self.fills = Vec::new();
        }
        self.patience.trim_memory();
        self.no_ops = BatchBuilder::default();
        if self.replies.is_empty() {
            self.replies = VecDeque::new();
        }
    }

    /// Bytes of memory held for batches and answers.
    pub fn memory_bytes(&self) -> usize {
        self.queue.memory_bytes()
            + self.no_ops.memory_bytes()
            + self.outstanding.capacity() * size_of::<super::append::Outstanding>()
            + self.fills.capacity() * size_of::<super::fill::Fill>()
            + self.patience.memory_bytes()
            + self.replies.capacity() * size_of::<(PeerId, Message<'static>)>()
    }

    fn release_beyond(&mut self, lag_bytes: u64) {
        let everywhere = self.servers.iter().map(|server| server.done).min().unwrap_or(0);
        while self.queue.begin() < everywhere {
            self.queue.pop();
        }
        while self.queue.weight() > lag_bytes
            && self.queue.get(self.queue.begin()).is_some_and(|entry| entry.end() <= self.watermark)
        {
            self.queue.pop();
            let begin = self.queue.begin();
            self.servers.iter_mut().for_each(|server| server.jump(begin));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::base::Offset;
    use crate::wire::Message;

    #[test]
    fn the_watermark_is_the_tail_of_a_majority_for_every_size() {
        for servers in 1..=5 {
            let mut rig = Rig::new(servers);
            (1..=5).for_each(|request| rig.append(request, 1));
            (0..servers).for_each(|server| rig.stored(server, 5 - server as u64));
            let majority = servers / 2 + 1;
            assert_eq!(rig.core.known_tail(), Offset(5 - (majority as u64 - 1)), "{servers} servers");
        }
    }

    /// One majority may not be made of two different servers at two different offsets counted twice.
    #[test]
    fn one_server_alone_moves_nothing_however_far_it_is() {
        let mut rig = Rig::new(3);
        (1..=5).for_each(|request| rig.append(request, 1));
        (1..=5).for_each(|tail| rig.stored(0, tail));
        assert_eq!(rig.core.known_tail(), Offset::ZERO);
    }

    #[test]
    fn a_slow_server_never_closes_the_window() {
        let mut rig = Rig::new(3);
        for request in 1..=500 {
            assert!(rig.core.has_room(), "append {request}");
            rig.append_bytes(request, &[0; 4000]);
            rig.drain(0);
            rig.drain(1);
            rig.stored(0, request);
            rig.stored(1, request);
        }
        assert!(rig.core.queue.weight() <= rig.core.lag_bytes);
        assert_eq!(rig.replies().len(), 500);
    }

    #[test]
    fn what_is_kept_for_a_slow_server_only_is_given_up_for_want_of_memory() {
        let mut rig = Rig::new(3);
        for request in 1..=6 {
            rig.append_bytes(request, &[0; 4000]);
            rig.stored(0, request);
            rig.stored(1, request.min(5));
        }
        assert!(rig.core.memory_bytes() > 6 * 4000, "{}", rig.core.memory_bytes());
        rig.core.shed();
        assert_eq!(rig.core.queue.end() - rig.core.queue.begin(), 1, "only what is not committed is kept");
        rig.stored(1, 6);
        assert_eq!(rig.replies().len(), 6);
        rig.core.shed();
        assert_eq!(rig.core.memory_bytes(), 0);
        rig.append_bytes(7, &[0; 4000]);
        rig.stored(0, 7);
        rig.stored(1, 7);
        assert_eq!(rig.core.known_tail(), Offset(7), "it goes on");
    }

    /// P11 c: what a server will never get is announced by a known tail at or above its end, before anything else.
    #[test]
    fn a_dropped_range_is_owed_a_known_tail_before_the_next_store() {
        let mut rig = Rig::new(3);
        for request in 1..=500 {
            rig.append_bytes(request, &[0; 4000]);
            rig.stored(0, request);
            rig.stored(1, request);
        }
        rig.append_bytes(501, &[0; 4000]);
        let dropped_end = rig.core.queue.get(rig.core.queue.begin()).unwrap().first;
        assert!(dropped_end > Offset::ZERO);
        let sent = rig.drain(2);
        let Sent::KnownTail(told) = sent[0] else { panic!("{sent:?}") };
        assert!(told >= dropped_end);
        let Sent::Store { first, .. } = sent[1] else { panic!("{sent:?}") };
        assert_eq!(first, dropped_end, "the cursor has jumped over what is gone");
    }

    /// As above, when the range had been sent already and the server asks for it again.
    #[test]
    fn a_server_behind_the_dropped_range_is_told_the_known_tail() {
        let mut rig = Rig::new(3);
        rig.append_bytes(1, &[0; 4000]);
        rig.drain(2);
        for request in 2..=500 {
            rig.append_bytes(request, &[0; 4000]);
            rig.stored(0, request);
            rig.stored(1, request);
        }
        rig.drain(2);
        rig.handle(2, Message::Behind { request: 0, loglet: LOGLET, tail: Offset(0), known_tail: Offset(0) });
        assert_eq!(rig.drain(2)[0], Sent::KnownTail(Offset(500)));
    }
}
