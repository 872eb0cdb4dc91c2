//! What one lane of a sequencer is told of the others.

use super::machine::{Lost, Sequencer, State};
use crate::base::{Instant, Offset};

impl Sequencer {
    /// How far all lanes together are: no offset at or beyond `tail` has been given out, and everything below `watermark` has been
    /// stored by a majority, in answers to whichever of them (P1). What it held when it heard of it may be older than what it knows.
    ///
    /// # Panics
    /// The watermark is beyond the tail: it has to be read first.
    pub fn handle_lanes(&mut self, tail: Offset, watermark: Offset, now: Instant) {
        assert!(watermark <= tail, "{watermark} is committed, and offsets end at {tail}");
        self.tail = self.tail.max(tail);
        if self.state == State::Running && watermark > self.watermark {
            self.raise_watermark(watermark, self.servers.len(), now);
            self.release();
        }
    }

    /// Another lane has seen a sign of a seal, or is lost for this reason: this one stops as if it had seen that itself, since no range
    /// beyond one that is never stored can be committed.
    pub fn handle_lane_stopped(&mut self, lost: Option<Lost>) {
        match (self.state, lost) {
            (State::Running, Some(reason)) => self.lose(reason),
            (State::Running, None) => self.stop(State::Sealing, None),
            _ => {}
        }
        assert_ne!(self.state, State::Running);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::wire::Message;

    #[test]
    fn one_lane_that_stops_stops_the_others() {
        for (lost, answer) in [
            (None, Message::AppendSealed { request: 1, loglet: LOGLET, first: Offset(5), count: 2 }),
            (Some(Lost::Stalled), Message::AppendSealed { request: 1, loglet: LOGLET, first: Offset(5), count: 2 }),
            (Some(Lost::Refused { server: 0 }), Message::SequencerLost { request: 1, loglet: LOGLET }),
        ] {
            let mut rig = Rig::new(3);
            rig.granted(1, 5, 2);
            rig.core.handle_lane_stopped(lost);
            assert_eq!(rig.replies(), [answer]);
            assert_eq!(rig.drain(1), [Sent::Seal], "every lane completes the seal (L1)");
            rig.core.handle_lanes(Offset(7), Offset(7), rig.now);
            assert_eq!((rig.replies(), rig.core.known_tail()), (vec![], Offset(0)), "the watermark stands (P1)");
        }
    }

    /// P11 c: known tails are stamped when sent, also with what another lane knows.
    #[test]
    fn a_store_tells_what_other_lanes_know() {
        let mut rig = Rig::new(3);
        rig.granted(1, 5, 2);
        rig.core.handle_lanes(Offset(9), Offset(5), rig.now);
        assert_eq!(rig.drain(0), [Sent::Store { first: Offset(5), count: 2, known: Offset(5) }]);
        rig.core.handle_lanes(Offset(9), Offset(8), rig.now);
        assert_eq!(rig.drain(0), [Sent::KnownTail(Offset(8))]);
    }

    /// P11 c: a range that was dropped for a server is owed a known tail; ranges between, which are those of others, are not.
    #[test]
    fn only_what_was_dropped_here_is_owed_a_known_tail() {
        let mut rig = Rig::new(3);
        rig.granted(1, 5, 2);
        rig.drain(2);
        let behind = |tail| Message::Behind { request: 0, loglet: LOGLET, tail: Offset(tail), known_tail: Offset(0) };
        rig.handle(2, behind(3));
        assert_eq!(rig.drain(2), [Sent::Store { first: Offset(5), count: 2, known: Offset(0) }]);
        rig.core.handle_lanes(Offset(9), Offset(9), rig.now);
        rig.core.shed();
        rig.granted(2, 9, 1);
        rig.handle(2, behind(4));
        let store = Sent::Store { first: Offset(9), count: 1, known: Offset(9) };
        assert_eq!(rig.drain(2), [Sent::KnownTail(Offset(9)), store]);
    }

    /// A tail in another lane's range is nothing that this one has sent, and no contradiction.
    #[test]
    fn a_tail_in_the_range_of_another_lane_is_believed() {
        let mut rig = Rig::new(3);
        rig.granted(1, 5, 2);
        rig.core.handle_lanes(Offset(9), Offset(0), rig.now);
        rig.stored(0, 8);
        rig.stored(1, 6);
        assert_eq!((rig.core.state(), rig.core.known_tail()), (State::Running, Offset(6)));
        assert_eq!(rig.replies(), [], "its batch ends beyond");
        rig.stored(1, 10);
        assert_eq!(rig.core.state(), State::Lost(Lost::Contradicted { server: 1, at: Offset(9) }));
    }

    /// L4: what others raise is progress, and what nobody raises is none.
    #[test]
    fn a_lane_stalls_when_no_lane_gets_on() {
        let mut rig = Rig::new(3);
        rig.granted(1, 5, 2);
        rig.pass_time(rig.core.stall / 2);
        rig.core.handle_lanes(Offset(7), Offset(3), rig.now);
        rig.pass_time(rig.core.stall / 2);
        assert_eq!(rig.core.state(), State::Running);
        rig.pass_time(rig.core.stall / 2);
        assert_eq!(rig.core.state(), State::Lost(Lost::Stalled));
    }
}
