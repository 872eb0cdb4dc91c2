use super::link::Shared;
use super::round::{Round, why_silent};
use super::step::{Context, Step};
use crate::proto::loglet::{LogletResult, Records};
use crate::wire::Message;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Activation {
    Idle,
    Asked,
    Done,
    Refused,
}

/// Creates the loglet on a majority, durably, and only then starts its sequencer (P4, P5).
#[derive(Clone, Debug)]
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
        if self.round.answered() < shared.quorum() {
            return None;
        }
        let sequencer = shared.sequencer();
        match self.activation {
            Activation::Idle if shared.links[sequencer].ready() => {
                shared.ask(sequencer, context.key, |request| Message::Activate { request, config });
                self.activation = Activation::Asked;
                None
            }
            Activation::Idle | Activation::Asked => None,
            Activation::Done => Some(LogletResult::Done),
            Activation::Refused => {
                Some(LogletResult::SequencerLost { maybe_stored: false, records: Records::default() })
            }
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
