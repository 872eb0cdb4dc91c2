use super::link::{Key, Shared};
use super::round::Round;
use super::step::{Context, Step};
use crate::base::Offset;
use crate::proto::loglet::LogletResult;
use crate::wire::Message;

/// The answers to seals go to nobody in particular.
pub(super) const SEALER: Key = Key(0);

/// Seals the loglet on behalf of all operations: from the first reason on, on every LogServer, until each has answered (L1) or
/// the loglet has left the chain.
#[derive(Clone, Hash, Debug)]
pub(super) struct Sealer {
    wanted: bool,
    round: Round,
    /// The largest tail that each LogServer has told while sealed. A sealed answer stays true (L2).
    tails: Vec<Option<Offset>>,
}

impl Sealer {
    pub(super) fn new(servers: usize) -> Self {
        Self { wanted: false, round: Round::new(servers), tails: vec![None; servers] }
    }

    /// There is a reason to seal. It is never withdrawn.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// This LogServer is sealed, durably (P2), with this tail.
    pub(super) fn note(&mut self, server: usize, tail: Offset) {
        self.wanted = true;
        self.round.settle(server);
        self.tails[server] = self.tails[server].max(Some(tail));
    }

    /// Who has told a tail while sealed, by number, and the largest that it has told.
    pub(super) fn tails(&self) -> impl Iterator<Item = (usize, Offset)> {
        self.tails.iter().enumerate().filter_map(|(server, tail)| Some((server, (*tail)?)))
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
#[derive(Clone, Hash, Debug)]
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

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::base::{Limits, Offset};
    use crate::proto::loglet::{LogletOp, LogletResult};

    #[test]
    fn a_majority_seals() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        rig.disconnect(1);
        assert_eq!(rig.run_op(LogletOp::Seal), [LogletResult::Sealed]);
    }

    #[test]
    fn a_minority_does_not() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        rig.disconnect(1);
        rig.disconnect(2);
        assert_eq!(rig.run_op(LogletOp::Seal), []);
        rig.pass_time(Limits::default().operation_timeout);
        assert!(matches!(rig.results()[..], [LogletResult::Unavailable { .. }]));
    }

    /// L1: sealing goes on after the operation, until the last LogServer has answered.
    #[test]
    fn the_rest_is_sealed_whenever_it_comes_back() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        rig.disconnect(2);
        rig.run_op(LogletOp::Seal);
        rig.servers[2].full = true;
        rig.connect(2);
        rig.run();
        rig.servers[2].full = false;
        rig.pass_time(Limits::default().operation_timeout * 2);
        assert!(rig.servers[2].sealed);
        let asked = rig.count(2, "Seal");
        rig.disconnect(2);
        rig.connect(2);
        rig.run();
        assert_eq!(rig.count(2, "Seal"), asked, "an answered one is not asked again");
    }

    /// L1: a client that meets a seal, in whatever it does, completes it.
    #[test]
    fn whoever_sees_sealed_completes_the_seal() {
        let mut rig = Rig::new(vec![Server::with(0..1).sealed(), Server::with(0..1), Server::with(0..1)]);
        rig.start(0, LogletOp::Subscribe { from: Offset(0), limit: Offset(1), credit: 100 });
        rig.run();
        assert!(matches!(
            rig.results()[..],
            [LogletResult::Records { .. }, LogletResult::SubscriptionEnded { sealed: true }]
        ));
        assert!(rig.servers.iter().all(|server| server.sealed));
    }
}
