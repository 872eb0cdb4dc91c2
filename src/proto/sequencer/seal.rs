use super::machine::{Lost, Sequencer, State};

/// Request number of every `Seal`.
pub(super) const SEAL_REQUEST: u64 = 2;

/// How far one LogServer is with being sealed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) enum Seal {
    /// To be asked, once there is a reason to.
    #[default]
    Open,
    /// Asked on this connection.
    Asked,
    /// Sealed, durably (P2), or the loglet has been deleted there.
    Answered,
}

impl Seal {
    /// The question, or the answer, may not have arrived.
    pub(super) fn lost(&mut self) {
        if *self == Self::Asked {
            *self = Self::Open;
        }
    }

    /// Whether to ask now; it counts as asked then.
    pub(super) fn ask(&mut self) -> bool {
        let ask = *self == Self::Open;
        if ask {
            *self = Self::Asked;
        }
        ask
    }
}

impl Sequencer {
    /// Declares itself lost: acknowledges nothing more, answers everything, and seals the loglet. Void once it is sealed or
    /// lost already: the first reason stands.
    pub fn lose(&mut self, reason: Lost) {
        if self.state == State::Running {
            self.stop(State::Lost(reason), Some(reason));
        }
        assert_ne!(self.state, State::Running);
    }

    /// Whether every LogServer has answered the seal, or the loglet has left the chain, so that nothing is left to do (L1); and
    /// every answer has been handed out.
    pub fn is_finished(&self) -> bool {
        let sealed = self.servers.iter().all(|server| server.seal == Seal::Answered);
        self.state != State::Running && (sealed || self.left_chain) && self.replies.is_empty()
    }

    /// LogServer `server` says that the loglet is sealed, or deleted. The first such answer makes the sequencer seal all
    /// others, and keep at it until each has answered (L1).
    pub(super) fn handle_sealed(&mut self, server: usize) {
        self.servers[server].seal = Seal::Answered;
        if self.state == State::Running {
            self.stop(State::Sealing, None);
        }
        let answered = self.servers.iter().filter(|server| server.seal == Seal::Answered).count();
        if self.state == State::Sealing && answered >= self.config.quorum() {
            self.state = State::Sealed;
        }
    }

    pub(super) fn stop(&mut self, state: State, lost: Option<Lost>) {
        assert_eq!(self.state, State::Running, "a sequencer stops once");
        assert_ne!(state, State::Running);
        self.state = state;
        self.settle(lost);
        self.queue.clear();
        let end = self.queue.end();
        self.servers.iter_mut().for_each(|server| server.jump(end));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::base::Offset;
    use crate::wire::Message;

    fn sealed_with(server_knows: u64) -> Message<'static> {
        let known_tail = Offset(server_knows);
        Message::Sealed { request: 0, loglet: LOGLET, tail: Offset(1), known_tail, trim_point: Offset::ZERO }
    }

    /// P1 9b: the known tail that comes with `Sealed`, and the successes that come after it, acknowledge nothing.
    #[test]
    fn a_sealed_answer_acknowledges_nothing_whatever_known_tail_it_carries() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        rig.stored(1, 1);
        rig.handle(0, sealed_with(1));
        rig.stored(2, 1);
        rig.stored(0, 1);
        assert_eq!(rig.core.known_tail(), Offset::ZERO);
        let settled = Message::AppendSealed { request: 1, loglet: LOGLET, first: Offset(0), count: 1 };
        assert_eq!(rig.replies(), [settled]);
    }

    /// P16: every outstanding append is answered with the offsets it was given, later ones with none.
    #[test]
    fn sealed_appends_carry_their_offsets() {
        let mut rig = Rig::new(3);
        rig.append(1, 2);
        rig.append(2, 3);
        rig.stored(0, 2);
        rig.stored(1, 2);
        rig.handle(2, sealed_with(0));
        rig.append(3, 1);
        let sealed =
            |request, first, count| Message::AppendSealed { request, loglet: LOGLET, first: Offset(first), count };
        assert_eq!(rig.replies(), [appended(1, 0, 2, 2), sealed(2, 2, 3), sealed(3, 5, 0)]);
    }

    /// L1: the first `Sealed` completes the seal on all others, through lost connections and refusals.
    #[test]
    fn the_first_sealed_answer_seals_every_other_server_until_each_has_answered() {
        let mut rig = Rig::new(3);
        rig.handle(0, sealed_with(0));
        assert_eq!(rig.core.state(), State::Sealing);
        assert_eq!(rig.drain(0), []);
        assert_eq!(rig.drain(1), [Sent::Seal]);
        assert_eq!(rig.drain(2), [Sent::Seal]);
        assert_eq!(rig.drain(2), [], "asked once on one connection");
        rig.handle(1, sealed_with(0));
        assert_eq!(rig.core.state(), State::Sealed);
        assert!(!rig.core.is_finished());
        for _ in 0..3 {
            rig.core.handle_disconnected(2, rig.now);
            rig.core.handle_connected(2, rig.now);
            assert_eq!(rig.drain(2), [Sent::Seal]);
            rig.handle(2, Message::Unavailable { request: SEAL_REQUEST, loglet: LOGLET, reason: "" });
            rig.pass_time(rig.core.retry);
            assert_eq!(rig.drain(2), [Sent::Seal]);
        }
        rig.handle(2, Message::Gone { request: 0, loglet: LOGLET });
        assert!(rig.core.is_finished());
    }

    /// P5: a deleted loglet is a sealed one for appends.
    #[test]
    fn gone_counts_as_sealed() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        rig.stored(1, 1);
        rig.handle(0, Message::Gone { request: 0, loglet: LOGLET });
        rig.stored(2, 1);
        assert!(matches!(rig.replies()[..], [Message::AppendSealed { count: 1, .. }]));
    }

    /// L4: a watermark that stands still with records outstanding is the end; the seal starts, and nothing hangs.
    #[test]
    fn a_watermark_that_stands_still_ends_the_sequencer_and_seals() {
        let mut rig = Rig::new(3);
        rig.pass_time(10 * rig.core.stall);
        assert_eq!(rig.core.state(), State::Running, "idle is no stall");
        rig.append(1, 1);
        rig.pass_time(rig.core.stall / 2);
        rig.append(2, 1);
        rig.stored(0, 2);
        rig.pass_time(rig.core.stall / 2);
        assert_eq!(rig.core.state(), State::Lost(Lost::Stalled), "neither a later append nor one answer is progress");
        let sealed = |request, first| Message::AppendSealed { request, loglet: LOGLET, first: Offset(first), count: 1 };
        assert_eq!(rig.replies(), [sealed(1, 0), sealed(2, 1)]);
        assert_eq!(rig.drain(1), [Sent::Seal]);
        rig.stored(1, 2);
        rig.append(3, 1);
        assert_eq!(rig.replies(), [Message::SequencerLost { request: 3, loglet: LOGLET }]);
    }

    #[test]
    fn a_moving_watermark_is_no_stall() {
        let mut rig = Rig::new(1);
        for request in 1..=10 {
            rig.append(request, 1);
            rig.append(request + 100, 1);
            rig.pass_time(rig.core.stall / 2);
            rig.stored(0, 2 * request - 1);
        }
        assert_eq!(rig.core.state(), State::Running);
    }

    /// P4: somebody else's record at one of its offsets. Those offsets settle nothing: the outcome is unknown.
    #[test]
    fn a_conflict_ends_the_sequencer_without_offsets() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        rig.handle(0, Message::Conflict { request: 0, loglet: LOGLET, at: Offset(0) });
        assert_eq!(rig.core.state(), State::Lost(Lost::Contradicted { server: 0, at: Offset(0) }));
        assert_eq!(rig.replies(), [Message::SequencerLost { request: 1, loglet: LOGLET }]);
    }

    #[test]
    fn a_server_that_knows_another_incarnation_ends_the_sequencer() {
        let mut rig = Rig::new(3);
        rig.handle(1, Message::SequencerLost { request: 0, loglet: LOGLET });
        assert_eq!(rig.core.state(), State::Lost(Lost::Refused { server: 1 }));
    }

    #[test]
    fn the_first_reason_stands() {
        let mut rig = Rig::new(3);
        rig.core.lose(Lost::Ended);
        rig.core.lose(Lost::Stalled);
        rig.handle(0, sealed_with(0));
        assert_eq!(rig.core.state(), State::Lost(Lost::Ended));
    }
}
