use std::collections::VecDeque;

use super::super::contract::Request;
use crate::base::LogletId;
use crate::wire::LogletConfig;

/// Clients of loglets that are kept for the next operation although nothing is under way on them.
const IDLE_MAX: usize = 4;

/// The loglets that the host has clients of, the one used last behind all others.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Loglets {
    open: VecDeque<LogletId>,
}

impl Loglets {
    /// This loglet is about to be used; returns what to ask first if it is new.
    pub(super) fn used(&mut self, config: &LogletConfig) -> Option<Request> {
        if self.open.back() == Some(&config.id) {
            return None;
        }
        let known = self.open.iter().position(|open| *open == config.id);
        let request = match known {
            Some(at) => {
                self.open.remove(at);
                None
            }
            None => Some(Request::Open(config.clone())),
        };
        self.open.push_back(config.id);
        request
    }

    /// Takes out those that are to be closed: idle ones, as far as they are too many.
    pub(super) fn take_idle(&mut self, is_busy: impl Fn(LogletId) -> bool) -> Vec<LogletId> {
        let mut excess = self.open.iter().filter(|loglet| !is_busy(**loglet)).count().saturating_sub(IDLE_MAX);
        let mut idle = Vec::new();
        self.open.retain(|loglet| {
            let goes = excess > 0 && !is_busy(*loglet);
            if goes {
                excess -= 1;
                idle.push(*loglet);
            }
            !goes
        });
        idle
    }
}
