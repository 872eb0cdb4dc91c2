use super::link::Shared;
use super::round::{Round, why_silent};
use super::step::{Context, Step};
use crate::proto::loglet::{LogletResult, Records};
use crate::wire::Message;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Activation {
    Idle,
    Asked,
    Done,
    Refused,
}

/// Creates the loglet on a majority, durably, and starts its sequencer, which need not wait for the other: until a chain names the
/// loglet nobody appends to it, and that is not before both are done (P4, P5).
#[derive(Clone, Hash, Debug)]
pub(super) struct Create {
    round: Round,
    sealed: bool,
    activation: Activation,
}

impl Create {
    pub(super) fn new(servers: usize) -> Self {
        Self { round: Round::new(servers), sealed: false, activation: Activation::Idle }
    }
}

impl Step for Create {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        let shared = &mut *context.shared;
        let config = shared.config.clone();
        if shared.gone {
            return Some(LogletResult::Gone);
        }
        // A seal came first: somebody has given this loglet up already.
        if self.sealed {
            return Some(LogletResult::Sealed);
        }
        self.round.ask(shared, context.key, |_| true, |request| Message::Create { request, config: config.clone() });
        let sequencer = shared.sequencer();
        if self.activation == Activation::Idle && shared.links[sequencer].ready() {
            shared.ask(sequencer, context.key, |request| Message::Activate { request, config });
            self.activation = Activation::Asked;
        }
        match self.activation {
            Activation::Refused => {
                Some(LogletResult::SequencerLost { maybe_stored: false, records: Records::default() })
            }
            Activation::Done if self.round.answered() >= shared.quorum() => Some(LogletResult::Done),
            // It would be refused again: whoever wants it had better know why.
            _ if self.round.refused(shared) > shared.servers() - shared.quorum() => {
                Some(LogletResult::Unavailable { reason: self.missing(shared) })
            }
            _ => None,
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, link: usize, _: u64, message: &Message<'_>) {
        let to_activate = link == context.shared.sequencer();
        match message {
            Message::Done { .. } if to_activate => self.activation = Activation::Done,
            Message::Done { .. } => self.round.settle(link),
            Message::SequencerLost { .. } if to_activate => self.activation = Activation::Refused,
            _ => self.lost(link),
        }
    }

    fn lost(&mut self, link: usize) {
        // Both questions are idempotent.
        if self.round.is_for(link) {
            self.round.lost(link);
        } else if self.activation == Activation::Asked {
            self.activation = Activation::Idle;
        }
    }

    fn sealed(&mut self, _: usize, _: crate::base::Offset) {
        self.sealed = true;
    }

    fn missing(&self, shared: &Shared) -> String {
        if self.round.answered() < shared.quorum() {
            return format!("not created on a majority: {}", self.round.missing(shared));
        }
        let address = shared.config.sequencer.address;
        format!("the sequencer at {address} {}", why_silent(shared, shared.sequencer()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{NativeLoglet, Target};
    use super::*;
    use crate::base::Limits;
    use crate::proto::loglet::OpId;

    fn create(rig: &mut Rig) {
        rig.core.create(OpId(1), rig.now);
        rig.run();
    }

    fn activation(rig: &mut Rig) -> u64 {
        rig.core.handle_connected(Target::Sequencer, rig.now);
        rig.run();
        rig.activations.pop().expect("the sequencer was asked")
    }

    #[test]
    fn it_is_done_when_a_majority_has_the_loglet_and_the_sequencer_has_started() {
        for sequencer_first in [true, false] {
            let mut rig = Rig::new(vec![Server::default(); 3]);
            rig.disconnect(1);
            rig.disconnect(2);
            create(&mut rig);
            let request = activation(&mut rig);
            let start = |rig: &mut Rig| rig.sequencer(Message::Done { request, loglet: LOGLET });
            if sequencer_first {
                start(&mut rig);
                assert_eq!(rig.results(), [], "one LogServer of three");
            }
            rig.connect(2);
            rig.run();
            if !sequencer_first {
                assert_eq!(rig.results(), [], "nobody gives out offsets");
                start(&mut rig);
            }
            assert_eq!(rig.results(), [LogletResult::Done]);
        }
    }

    /// P4: a process that may not sequence it says so, and nothing is installed.
    #[test]
    fn a_refused_activation_is_a_lost_sequencer() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        create(&mut rig);
        let request = activation(&mut rig);
        rig.sequencer(Message::SequencerLost { request, loglet: LOGLET });
        assert!(matches!(rig.results()[..], [LogletResult::SequencerLost { maybe_stored: false, .. }]));
    }

    #[test]
    fn a_loglet_sealed_or_deleted_before_birth_is_not_created() {
        let mut rig = Rig::new(vec![Server::default(), Server::default().sealed(), Server::default()]);
        create(&mut rig);
        assert_eq!(rig.results(), [LogletResult::Sealed]);
        let mut rig = Rig::new(vec![Server { gone: true, ..Server::default() }, Server::default(), Server::default()]);
        create(&mut rig);
        assert_eq!(rig.results(), [LogletResult::Gone]);
    }

    /// A shard that has as many loglets as it may have, say: nobody waits for it until the time is over.
    #[test]
    fn what_a_majority_refuses_ends_at_once_and_says_why() {
        let full = || Server { full: true, ..Server::default() };
        let mut rig = Rig::new(vec![full(), Server::default(), Server::default()]);
        create(&mut rig);
        assert_eq!(rig.results(), [], "a majority takes it, and the sequencer has not started");
        let mut rig = Rig::new(vec![full(), Server::default(), full()]);
        create(&mut rig);
        let results = rig.results();
        let [LogletResult::Unavailable { reason }] = &results[..] else { panic!("{results:?}") };
        assert!(reason.contains("not created on a majority") && reason.contains("refused: no space"), "{reason}");
    }

    #[test]
    fn a_lost_sequencer_is_asked_again_and_named_when_missing() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        create(&mut rig);
        activation(&mut rig);
        rig.core.handle_disconnected(Target::Sequencer, rig.now);
        activation(&mut rig);
        rig.core.handle_disconnected(Target::Sequencer, rig.now);
        rig.pass_time(Limits::default().operation_timeout);
        let results = rig.results();
        let [LogletResult::Unavailable { reason }] = &results[..] else { panic!("{results:?}") };
        assert_eq!(reason, "the sequencer at 127.0.0.1:4100 is not connected");
    }

    #[test]
    fn nothing_is_wanted_before_there_is_something_to_do() {
        let mut core = NativeLoglet::new(config(3), &Limits::default());
        let all = [Target::Sequencer, Target::LogServer(0), Target::LogServer(2)];
        assert!(all.iter().all(|target| !core.wants(*target)));
        core.create(OpId(1), crate::base::Instant::ORIGIN);
        assert!(all.iter().all(|target| core.wants(*target)));
    }
}
