use super::link::Shared;
use super::round::Broadcast;
use super::step::{Context, Step};
use crate::base::{Instant, LogletId};
use crate::proto::loglet::LogletResult;
use crate::wire::Message;

/// Deletes the loglet on every LogServer that can be reached, at least a majority.
#[derive(Clone, Hash, Debug)]
pub(super) struct Delete {
    chain_version: u64,
    live: Vec<LogletId>,
    broadcast: Broadcast,
}

impl Delete {
    pub(super) fn new(servers: usize, chain_version: u64, live: Vec<LogletId>) -> Self {
        Self { chain_version, live, broadcast: Broadcast::new(servers) }
    }
}

impl Step for Delete {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        let (loglet, chain_version) = (context.shared.loglet(), self.chain_version);
        self.broadcast.round.ask(
            context.shared,
            context.key,
            |_| true,
            |request| Message::Delete { request, loglet, chain_version, live: self.live.clone() },
        );
        self.broadcast.is_complete(context).then_some(LogletResult::Done)
    }

    fn answer(&mut self, _: &mut Context<'_>, link: usize, _: u64, message: &Message<'_>) {
        match message {
            Message::Gone { .. } => self.broadcast.round.settle(link),
            _ => self.lost(link),
        }
    }

    fn lost(&mut self, link: usize) {
        self.broadcast.round.lost(link);
    }

    fn timeout(&self, shared: &Shared) -> Option<(Instant, &'static str)> {
        self.broadcast.timeout(shared)
    }

    fn missing(&self, shared: &Shared) -> String {
        format!("not deleted on a majority: {}", self.broadcast.round.missing(shared))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::proto::loglet::{LogletResult, OpId};

    #[test]
    fn every_reachable_server_deletes_and_a_majority_is_needed() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        rig.disconnect(0);
        rig.disconnect(1);
        rig.core.delete(OpId(1), 7, Vec::new(), rig.now);
        rig.run();
        assert_eq!(rig.results(), []);
        rig.connect(1);
        rig.run();
        assert_eq!(rig.results(), [LogletResult::Done]);
        assert!(rig.servers[1].gone && rig.servers[2].gone);
    }
}
