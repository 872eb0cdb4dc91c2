use std::task::Waker;

use super::inbox::SubscriptionKey;
use super::profile::Sample;
use crate::base::Instant;
use crate::io::op::{Op, Outcome};

/// Appends that have ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Who is to be woken, when all that has come in has been looked at: each wake-up may cost a call of the kernel, and one that comes
    /// alone has whoever waits sleep again before the next.
    pub(super) woken: Vec<Waker>,
    /// Where the time of those that were acknowledged went, as far as that is measured.
    pub(super) samples: Vec<Sample>,
}

impl Ended {
    /// Takes over what another one has.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.woken.append(&mut other.woken);
        self.samples.append(&mut other.samples);
    }
}

/// What the reactor turns, whatever is open there: a loglet, a virtual log, or the registers of a cluster.
pub(super) trait Work {
    /// A subscription may have more bytes on the way.
    fn credit(&mut self, _: SubscriptionKey, _: u32, _: Instant) {}
    /// Ends a subscription.
    fn unsubscribe(&mut self, _: SubscriptionKey, _: Instant) {}
    /// For people who look for what stands still.
    fn describe(&self) -> String {
        String::new()
    }
    /// The handles are gone, or the client ends.
    fn close(&mut self);
    /// Whether it is closed and nothing of it is left in the driver.
    fn is_over(&self) -> bool;
    /// Takes in an outcome of one of its connections, by the number that [`Work::poll_op`] has given it: at most 28 bits. Returns whether
    /// it was still wanted; if not, a connection that was made is to be closed.
    fn handle(&mut self, link: u64, outcome: Outcome, bytes: &[u8], now: Instant) -> bool;
    /// Moves everything on that can move.
    fn advance(&mut self, now: Instant);
    /// The appends that have ended since they were taken out.
    fn ended(&mut self) -> Option<&mut Ended> {
        None
    }
    /// The next operation of one of its connections.
    fn poll_op(&mut self, now: Instant) -> Option<(u64, Op)>;
    /// When [`Work::advance`] has something to do without any event.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Where the reactor's schedule has it.
    fn scheduled(&mut self) -> &mut Option<Instant>;
}
