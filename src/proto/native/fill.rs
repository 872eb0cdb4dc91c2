use super::link::Shared;
use super::round::why_silent;
use super::step::{Context, Step};
use crate::base::{Instant, Offset};
use crate::proto::loglet::{FillFailure, LogletResult};
use crate::wire::Message;

/// Asks the sequencer, once: whoever wants to know more asks again, or elsewhere.
#[derive(Clone, Hash, Debug)]
pub(super) struct Fill {
    offset: Offset,
    asked: bool,
    /// When it counts as lost.
    deadline: Instant,
    ended: Option<LogletResult>,
}

impl Fill {
    pub(super) fn new(shared: &mut Shared, offset: Offset, now: Instant) -> Self {
        let sequencer = shared.sequencer();
        shared.links[sequencer].wanted = true;
        // Who wants more than there can be wants as much as one request places; the frame takes no other number.
        let offset = offset.min(Offset::LAST);
        Self { offset, asked: false, deadline: now + shared.limits.operation_timeout, ended: None }
    }

    fn fail(&mut self, failure: FillFailure) {
        self.ended.get_or_insert(LogletResult::FillFailed(failure));
    }
}

impl Step for Fill {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        let shared = &mut *context.shared;
        if self.ended.is_none() && (shared.gone || shared.sealer.is_complete(shared.quorum())) {
            self.fail(FillFailure::Sealed);
        }
        if context.now >= self.deadline {
            self.fail(FillFailure::SequencerLost);
        }
        let (sequencer, loglet, offset) = (shared.sequencer(), shared.loglet(), self.offset);
        if self.ended.is_none() && !self.asked && shared.links[sequencer].ready() {
            shared.ask(sequencer, context.key, |request| Message::FillTo { request, loglet, offset });
            self.asked = true;
        }
        self.ended.take()
    }

    fn answer(&mut self, context: &mut Context<'_>, _: usize, _: u64, message: &Message<'_>) {
        match *message {
            Message::Filled { known_tail, placed, .. } => {
                self.ended.get_or_insert(LogletResult::Filled { known_tail, placed });
            }
            Message::AppendSealed { .. } => {
                // L1: whoever hears of a seal completes it.
                context.shared.sealer.want();
                self.fail(FillFailure::Sealed);
            }
            Message::AppendNoSpace { .. } => self.fail(FillFailure::NoSpace),
            _ => self.fail(FillFailure::SequencerLost),
        }
    }

    fn lost(&mut self, _: usize) {
        self.fail(FillFailure::SequencerLost);
    }

    fn timeout(&self, _: &Shared) -> Option<(Instant, &'static str)> {
        Some((self.deadline, "loglet: a fill has taken too long"))
    }

    fn missing(&self, shared: &Shared) -> String {
        let address = shared.config.sequencer.address;
        format!("the sequencer at {address} {}", why_silent(shared, shared.sequencer()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Target;
    use super::super::testing::*;
    use super::*;
    use crate::base::Limits;
    use crate::proto::loglet::LogletOp;

    fn rig() -> Rig {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        rig.core.handle_connected(Target::Sequencer, rig.now);
        rig
    }

    fn fill(rig: &mut Rig, offset: u64) {
        rig.start(1, LogletOp::FillTo { offset: Offset(offset) });
        rig.run();
    }

    fn asked(rig: &Rig) -> u64 {
        rig.fills.last().expect("the sequencer was asked").0
    }

    fn failed(failure: FillFailure) -> [LogletResult; 1] {
        [LogletResult::FillFailed(failure)]
    }

    #[test]
    fn the_sequencer_is_asked_and_its_known_tail_is_one() {
        let mut rig = rig();
        fill(&mut rig, 7);
        assert_eq!(rig.fills, [(asked(&rig), Offset(7))]);
        assert!(rig.core.waits_for(Target::Sequencer));
        let (request, loglet, known_tail) = (asked(&rig), LOGLET, Offset(9));
        rig.sequencer(Message::Filled { request, loglet, placed: 3, known_tail });
        assert_eq!(rig.results(), [LogletResult::Filled { known_tail, placed: 3 }]);
        assert_eq!(rig.core.known_tail(), known_tail, "reached by unsealed answers (P1)");
        assert!(!rig.core.waits_for(Target::Sequencer));
    }

    /// A frame with a larger number would be malformed, and end the connection.
    #[test]
    fn what_is_above_every_offset_is_asked_for_as_the_last_one() {
        let mut rig = rig();
        fill(&mut rig, Offset::MAX.0);
        assert_eq!(rig.fills, [(asked(&rig), Offset::LAST)]);
        let (request, loglet, known_tail) = (asked(&rig), LOGLET, Offset(9));
        rig.sequencer(Message::Filled { request, loglet, placed: 9, known_tail });
        assert_eq!(rig.results(), [LogletResult::Filled { known_tail, placed: 9 }]);
    }

    /// L1, and P6 d: nobody waits for a filler that will not be answered.
    #[test]
    fn a_sealed_answer_completes_the_seal() {
        let mut rig = rig();
        fill(&mut rig, 7);
        let (request, loglet, first) = (asked(&rig), LOGLET, Offset(4));
        rig.sequencer(Message::AppendSealed { request, loglet, first, count: 0 });
        assert_eq!(rig.results(), failed(FillFailure::Sealed));
        rig.run();
        assert!(rig.servers.iter().all(|server| server.sealed));
        assert_eq!(rig.core.known_tail(), Offset::ZERO);
    }

    #[test]
    fn other_answers_end_it_with_what_they_say() {
        let loglet = LOGLET;
        for (answer, failure) in [
            (Message::SequencerLost { request: 0, loglet }, FillFailure::SequencerLost),
            (Message::AppendNoSpace { request: 0, loglet, first: Offset(0), count: 0 }, FillFailure::NoSpace),
            (Message::Unavailable { request: 0, loglet, reason: "" }, FillFailure::SequencerLost),
        ] {
            let mut rig = rig();
            fill(&mut rig, 7);
            let request = asked(&rig);
            rig.sequencer(match answer {
                Message::SequencerLost { .. } => Message::SequencerLost { request, loglet },
                Message::AppendNoSpace { first, .. } => Message::AppendNoSpace { request, loglet, first, count: 0 },
                _ => Message::Unavailable { request, loglet, reason: "" },
            });
            assert_eq!(rig.results(), failed(failure));
            rig.run();
            assert!(rig.servers.iter().all(|server| !server.sealed));
        }
    }

    /// As appends: asked or not, nothing waits for another connection after one was lost.
    #[test]
    fn a_lost_connection_ends_it_and_the_first_one_is_waited_for() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        fill(&mut rig, 7);
        assert!(rig.core.wants(Target::Sequencer) && rig.core.waits_for(Target::Sequencer));
        rig.core.handle_connected(Target::Sequencer, rig.now);
        rig.run();
        let late = asked(&rig);
        rig.core.handle_disconnected(Target::Sequencer, rig.now);
        assert_eq!(rig.results(), failed(FillFailure::SequencerLost));
        fill(&mut rig, 7);
        rig.core.handle_disconnected(Target::Sequencer, rig.now);
        assert_eq!(rig.results(), failed(FillFailure::SequencerLost), "the next one could not be made");
        fill(&mut rig, 7);
        rig.core.handle_connected(Target::Sequencer, rig.now);
        rig.run();
        rig.sequencer(Message::Filled { request: late, loglet: LOGLET, placed: 0, known_tail: Offset(7) });
        assert_eq!(rig.results(), [], "an answer of the former connection is nobody's");
        rig.core.handle_connected(Target::Sequencer, rig.now);
        assert_eq!(rig.results(), failed(FillFailure::SequencerLost), "a replaced connection was a lost one");
    }

    #[test]
    fn it_takes_no_longer_than_any_operation() {
        let mut rig = rig();
        fill(&mut rig, 7);
        rig.pass_time(Limits::default().operation_timeout);
        assert_eq!(rig.results(), failed(FillFailure::SequencerLost));
    }

    #[test]
    fn a_closed_loglet_is_not_filled() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        fill(&mut rig, 7);
        rig.start(2, LogletOp::Seal);
        rig.run();
        let sealed = LogletResult::FillFailed(FillFailure::Sealed);
        let results = rig.results();
        assert!(results.contains(&sealed) && results.len() == 2, "{results:?}");
        rig.start(3, LogletOp::FillTo { offset: Offset(7) });
        assert_eq!(rig.results(), [sealed]);
        assert!(!rig.core.wants(Target::Sequencer) && rig.fills.is_empty());
    }
}
