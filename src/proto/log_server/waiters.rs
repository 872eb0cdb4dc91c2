use super::loglet::{Fate, Loglet};
use super::shared::Shared;
use crate::base::Offset;
use crate::proto::peer::PeerId;
use crate::wire::{Message, RejectCode};

/// Answers held for one loglet; a request beyond it is refused.
pub(super) const WAITERS_MAX: usize = 1024;

/// A request whose answer is held.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Waiter {
    pub(super) peer: PeerId,
    pub(super) request: u64,
    pub(super) until: Until,
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Until {
    /// The configuration to be durable.
    Created,
    /// The seal to be durable.
    Sealed,
    /// A local tail of at least this, or the seal.
    TailOrSealed(Offset),
    /// A repair's records to be durable up to here.
    Repaired(Offset),
    /// The trim point to be durable.
    Trimmed(Offset),
    /// The deletion to be durable.
    Deleted,
}

impl Loglet {
    /// Answers a request now, if it is due, or holds it.
    pub(super) fn answer_when(&mut self, peer: PeerId, request: u64, until: Until, shared: &mut Shared) {
        let waiter = Waiter { peer, request, until };
        if let Some(message) = self.due(&waiter, shared.full) {
            shared.send(peer, message);
        } else if self.waiters.len() < WAITERS_MAX {
            self.waiters.push(waiter);
        } else {
            shared.reject(peer, request, RejectCode::Limit, "too many answers are held for this loglet");
        }
    }

    /// Sends what has become due, in the order of the requests.
    pub(super) fn release_waiters(&mut self, shared: &mut Shared) {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.retain(|waiter| match self.due(waiter, shared.full) {
            Some(message) => {
                shared.send(waiter.peer, message);
                false
            }
            None => true,
        });
        assert!(self.waiters.is_empty(), "nothing waits anew while answers are released");
        self.waiters = waiters;
    }

    /// The answer, once it may be given (P2, P10). On a `full` journal a tail that is not there is not waited for.
    fn due(&self, waiter: &Waiter, full: bool) -> Option<Message<'static>> {
        if self.deleting {
            return None;
        }
        let Waiter { request, until, .. } = *waiter;
        match until {
            Until::Trimmed(point) => {
                let (loglet, trim_point) = (self.id, self.trim_point);
                (trim_point >= point).then_some(Message::Trimmed { request, loglet, trim_point })
            }
            Until::Created if self.cell.config_durable && self.is_open() => {
                Some(Message::Done { request, loglet: self.id })
            }
            Until::Created if self.cell.config_durable && self.tells_sealed() => Some(self.sealed_message(request)),
            Until::Sealed if self.tells_sealed() => Some(self.sealed_message(request)),
            Until::TailOrSealed(_) if self.tells_sealed() => Some(self.sealed_message(request)),
            Until::TailOrSealed(at_least) if self.is_open() && self.local_tail() >= at_least => {
                Some(self.tail_message(request))
            }
            Until::TailOrSealed(_) if self.is_open() && full => Some(Message::NoSpace { request, loglet: self.id }),
            Until::Repaired(end) if self.tells_sealed() && self.local_tail() >= end => {
                Some(self.sealed_message(request))
            }
            _ => None,
        }
    }

    /// Answers everything with `Gone`: the deletion is durable.
    pub(super) fn gone(&mut self, shared: &mut Shared) {
        assert!(self.deleting, "only a deleted loglet is gone");
        let loglet = self.id;
        for waiter in self.waiters.drain(..) {
            shared.send(waiter.peer, Message::Gone { request: waiter.request, loglet });
        }
        for subscription in self.subscriptions.drain(..) {
            shared.send(subscription.peer, Message::Gone { request: subscription.request, loglet });
            shared.subscription_ended(subscription.peer);
        }
        for lane in self.lanes.iter() {
            shared.send(lane.peer, Message::Gone { request: 0, loglet });
        }
    }

    /// The journal has failed: nothing that was held will ever be answered (P10).
    pub(super) fn disk_failed(&mut self, shared: &mut Shared) {
        let loglet = self.id;
        for waiter in self.waiters.drain(..) {
            shared.unavailable(waiter.peer, waiter.request, loglet, FAILED);
        }
        self.lanes.each(|owes| (owes.stored, owes.behind, owes.sealed) = (false, false, false));
        self.early.clear(shared);
        assert!(self.fate <= Fate::Sealed && self.waiters.is_empty());
    }
}

/// Why a poisoned journal answers nothing but reads.
pub(super) const FAILED: &str = "the journal has failed";
