use super::link::{Connection, Shared};
use crate::base::Instant;
use crate::proto::loglet::OpId;

/// Which LogServer to read from: the preferred one first, or one that is not with the sequencer; then the others in turn, and after
/// all of them a pause.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    start: usize,
    tried: Vec<bool>,
    /// Until then a LogServer of which nothing has been heard yet is waited for before a later one is taken.
    patience: Instant,
    /// All have been tried; they are tried again from then on.
    resume: Option<Instant>,
}

/// Each in its turn; those on the sequencer's node, which has most to do, only where there is no other.
fn in_turn(shared: &Shared, id: OpId) -> usize {
    let members = &shared.config.log_servers;
    let sequencer = shared.config.sequencer.node;
    let others = || (0..members.len()).filter(|&server| members[server].node != sequencer);
    let count = others().count();
    if count == 0 {
        return (id.0 % members.len() as u64) as usize;
    }
    others().nth((id.0 % count as u64) as usize).expect("below the count")
}

impl Choice {
    pub(super) fn new(shared: &Shared, id: OpId, now: Instant) -> Self {
        Self {
            start: shared.preferred.unwrap_or_else(|| in_turn(shared, id)),
            tried: vec![false; shared.servers()],
            patience: now + shared.limits.reconnect_delay,
            resume: None,
        }
    }

    /// The LogServer to ask now.
    pub(super) fn pick(&mut self, shared: &Shared, now: Instant) -> Option<usize> {
        if let Some(resume) = self.resume {
            if now < resume {
                return None;
            }
            self.forgive();
        }
        let servers = self.tried.len();
        for server in (0..servers).map(|step| (self.start + step) % servers).filter(|server| !self.tried[*server]) {
            let link = &shared.links[server];
            if link.ready() {
                return Some(server);
            }
            if link.connection == Connection::Unknown && now < self.patience {
                return None;
            }
        }
        if self.tried.contains(&true) {
            self.resume = Some(now + shared.limits.reconnect_delay);
        }
        None
    }

    /// This LogServer was of no use.
    pub(super) fn fail(&mut self, server: usize) {
        self.tried[server] = true;
    }

    /// Everybody may be asked again, because there has been progress or a pause.
    pub(super) fn forgive(&mut self) {
        self.tried.fill(false);
        self.resume = None;
    }

    /// When to pick again although nothing happens.
    pub(super) fn timeout(&self, shared: &Shared) -> Option<Instant> {
        let unknown = shared.links[..self.tried.len()].iter().any(|link| link.connection == Connection::Unknown);
        let any_ready = shared.links[..self.tried.len()].iter().any(|link| link.ready());
        self.resume.or((unknown && any_ready).then_some(self.patience))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::config;
    use super::*;
    use crate::base::{Limits, NodeId};

    #[test]
    fn readers_take_turns_at_the_servers_that_are_not_with_the_sequencer() {
        let mut shared = Shared::new(config(3), &Limits::default());
        let starts = |shared: &Shared| (0..6).map(|id| in_turn(shared, OpId(id))).collect::<Vec<_>>();
        assert_eq!(starts(&shared), [0, 1, 2, 0, 1, 2], "the sequencer has a node of its own");
        shared.config.sequencer.node = NodeId(1);
        assert_eq!(starts(&shared), [0, 2, 0, 2, 0, 2]);
        let one = shared.config.log_servers[0];
        shared.config.sequencer.node = one.node;
        shared.config.log_servers = vec![one];
        assert_eq!(in_turn(&shared, OpId(5)), 0, "with nobody else, to that one");
    }
}
