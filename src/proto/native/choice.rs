use super::link::{Connection, Shared};
use crate::base::Instant;
use crate::proto::loglet::OpId;

/// Which LogServer to read from: the preferred one first, then the others in turn, and after all of them a pause.
#[derive(Clone, Hash, Debug)]
pub(super) struct Choice {
    start: usize,
    tried: Vec<bool>,
    /// Until then a LogServer of which nothing has been heard yet is waited for before a later one is taken.
    patience: Instant,
    /// All have been tried; they are tried again from then on.
    resume: Option<Instant>,
}

impl Choice {
    pub(super) fn new(shared: &Shared, id: OpId, now: Instant) -> Self {
        let servers = shared.servers();
        let turn = (id.0 % servers as u64) as usize;
        Self {
            start: shared.preferred.unwrap_or(turn),
            tried: vec![false; servers],
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
