use super::link::{Key, Shared};
use super::round::Round;
use super::step::{Context, Step};
use crate::proto::loglet::LogletResult;
use crate::wire::Message;

/// The answers to seals go to nobody in particular.
pub(super) const SEALER: Key = Key(0);

/// Seals the loglet on behalf of all operations: from the first reason on, on every LogServer, until each has answered (L1) or
/// the loglet has left the chain.
#[derive(Clone, Debug)]
pub(super) struct Sealer {
    wanted: bool,
    round: Round,
}

impl Sealer {
    pub(super) fn new(servers: usize) -> Self {
        Self { wanted: false, round: Round::new(servers) }
    }

    /// There is a reason to seal. It is never withdrawn.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// This LogServer is sealed, durably (P2).
    pub(super) fn note(&mut self, server: usize) {
        self.wanted = true;
        self.round.settle(server);
    }

    pub(super) fn lost(&mut self, server: usize) {
        self.round.lost(server);
    }

    /// Whether a majority is sealed.
    pub(super) fn is_complete(&self, quorum: usize) -> bool {
        self.round.answered() >= quorum
    }

    pub(super) fn drive(shared: &mut Shared) {
        if !shared.sealer.wanted || shared.gone {
            return;
        }
        let (servers, loglet) = (shared.servers(), shared.loglet());
        shared.links[..servers].iter_mut().for_each(|link| link.wanted = true);
        let mut round = std::mem::take(&mut shared.sealer.round);
        round.ask(shared, SEALER, |_| true, |request| Message::Seal { request, loglet });
        shared.sealer.round = round;
    }
}

/// The operation: waits for a majority.
#[derive(Clone, Debug)]
pub(super) struct Seal;

impl Step for Seal {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        context.shared.sealer.want();
        if context.shared.gone {
            return Some(LogletResult::Gone);
        }
        context.shared.sealer.is_complete(context.shared.quorum()).then_some(LogletResult::Sealed)
    }

    fn answer(&mut self, _: &mut Context<'_>, _: usize, _: u64, _: &Message<'_>) {}

    fn lost(&mut self, _: usize) {}

    fn missing(&self, shared: &Shared) -> String {
        format!("no majority is sealed: {}", shared.sealer.round.missing(shared))
    }
}
