use std::collections::VecDeque;

use super::super::contract::Request;
use super::super::spec::LogletSpec;
use crate::base::{LogletId, NodeId};

/// Clients of loglets that are kept for the next operation although nothing is under way on them.
const IDLE_MAX: usize = 4;

/// The loglets that the host has clients of, the one used last behind all others.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Loglets {
    open: VecDeque<Open>,
}

#[derive(Clone, Hash, Debug)]
struct Open {
    loglet: LogletId,
    /// The LogServers that the client knows, of all stripes.
    log_servers: Vec<NodeId>,
}

fn nodes(loglet: &LogletSpec) -> impl Iterator<Item = NodeId> {
    loglet.log_servers().map(|member| member.node)
}

impl Loglets {
    /// This loglet is about to be used; returns what to ask first if it is new.
    pub(super) fn used(&mut self, loglet: &LogletSpec) -> Option<Request> {
        let id = loglet.id();
        if self.is_newest(id) {
            return None;
        }
        let known = self.open.iter().position(|open| open.loglet == id).and_then(|at| self.open.remove(at));
        let request = known.is_none().then(|| Request::Open(Box::new(loglet.clone())));
        let new = || Open { loglet: id, log_servers: nodes(loglet).collect() };
        self.open.push_back(known.unwrap_or_else(new));
        request
    }

    /// Whether it is the one used last.
    pub(super) fn is_newest(&self, loglet: LogletId) -> bool {
        self.open.back().is_some_and(|open| open.loglet == loglet)
    }

    /// Whether the host's client knows other LogServers than these.
    pub(super) fn is_outdated(&self, loglet: &LogletSpec) -> bool {
        let known = self.open.iter().find(|open| open.loglet == loglet.id());
        known.is_some_and(|open| !open.log_servers.iter().copied().eq(nodes(loglet)))
    }

    /// The host is told to close its client.
    pub(super) fn forget(&mut self, loglet: LogletId) {
        self.open.retain(|open| open.loglet != loglet);
    }

    /// Takes out those that are to be closed: idle ones, as far as they are too many.
    pub(super) fn take_idle(&mut self, is_busy: impl Fn(LogletId) -> bool) -> Vec<LogletId> {
        let mut excess = self.open.iter().filter(|open| !is_busy(open.loglet)).count().saturating_sub(IDLE_MAX);
        let mut idle = Vec::new();
        self.open.retain(|open| {
            let goes = excess > 0 && !is_busy(open.loglet);
            if goes {
                excess -= 1;
                idle.push(open.loglet);
            }
            !goes
        });
        idle
    }
}
