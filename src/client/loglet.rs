use super::native::NativeClient;
use super::profile::Sample;
use super::striped::StripedClient;
use crate::base::{ClusterId, Incarnation, Instant, Limits, LogletId, NodeId, Offset};
use crate::io::op::{Op, Outcome};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::proto::native::Went;
use crate::proto::virtual_log::LogletSpec;
use crate::wire::{LogletConfig, Member};

/// Append frames on the way to one loglet beyond which a batch that is not full waits, so that batches grow with the load and not with a
/// timer.
pub(super) const FRAMES_BEFORE_BATCHING: usize = 2;
/// Numbers of connections: `stripe << 8 | link`.
const LINK_BITS: usize = 8;
/// Bits of the number of any connection of a loglet.
pub(super) const CONNECTION_BITS: u64 = 14;

/// A client of one loglet on the reactor, of whichever kind.
pub(super) enum LogletClient {
    Native(Box<NativeClient>),
    Striped(Box<StripedClient>),
}

/// An acknowledged append: on which stripe, from which offset there, where its time went, and when that was heard.
pub(super) struct Trace {
    pub(super) stripe: usize,
    pub(super) first: Offset,
    pub(super) went: Went,
    pub(super) heard: Instant,
}

impl LogletClient {
    /// Reads begin at the LogServer of the node `near`, if it has one, and appends go to the stripes that it sequences. Each client has a
    /// `turn` of its own.
    pub(super) fn new(
        loglet: LogletSpec,
        cluster: ClusterId,
        incarnation: Incarnation,
        near: Option<NodeId>,
        turn: u64,
        limits: &Limits,
    ) -> Self {
        let native = |config: LogletConfig| NativeClient::new(config, cluster, incarnation, near, limits);
        match loglet {
            LogletSpec::Native(config) => Self::Native(Box::new(native(config))),
            LogletSpec::Striped(config) => {
                let stripes = config.stripes.into_iter().map(native).collect();
                Self::Striped(Box::new(StripedClient::new(stripes, near, turn)))
            }
        }
    }

    /// The clients of its stripes; a native loglet is its own only one.
    pub(super) fn stripes(&self) -> &[NativeClient] {
        match self {
            Self::Native(native) => std::slice::from_ref(native),
            Self::Striped(striped) => &striped.stripes,
        }
    }

    /// Whether another batch is to be sent although it is not full, when this many are not over: some on the way keep the stripes at work,
    /// and more of them would only be smaller.
    pub(super) fn wants_a_batch(&self, not_over: usize) -> bool {
        match self {
            Self::Native(_) => not_over < FRAMES_BEFORE_BATCHING,
            Self::Striped(striped) => {
                striped.core.appends_under_way() < striped.stripes.len() - 1 + FRAMES_BEFORE_BATCHING
            }
        }
    }

    fn stripes_mut(&mut self) -> &mut [NativeClient] {
        match self {
            Self::Native(native) => std::slice::from_mut(native),
            Self::Striped(striped) => &mut striped.stripes,
        }
    }

    pub(super) fn handle_op(&mut self, id: OpId, op: LogletOp, now: Instant) {
        match self {
            Self::Native(native) => native.core.handle_op(id, op, now),
            Self::Striped(striped) => striped.core.handle_op(id, op, now),
        }
    }

    pub(super) fn create(&mut self, id: OpId, now: Instant) {
        match self {
            Self::Native(native) => native.core.create(id, now),
            Self::Striped(striped) => striped.core.create(id, now),
        }
    }

    pub(super) fn delete(&mut self, id: OpId, chain_version: u64, live: Vec<LogletId>, now: Instant) {
        match self {
            Self::Native(native) => native.core.delete(id, chain_version, live, now),
            Self::Striped(striped) => striped.core.delete(id, chain_version, live, now),
        }
    }

    /// Gives these LogServers all of a native loglet, as a stripe is on its own (P7).
    pub(super) fn restore(&mut self, id: OpId, stop: Offset, servers: &[usize], now: Instant) {
        let Self::Native(native) = self else { unreachable!("stripes get other LogServers one by one") };
        native.core.restore(id, stop, servers, now);
    }

    /// The next result.
    pub(super) fn poll_result(&mut self, now: Instant) -> Option<(OpId, LogletResult)> {
        match self {
            Self::Native(native) => native.core.poll_result(),
            Self::Striped(striped) => striped.poll_result(now),
        }
    }

    /// From now on it is kept where the time of appends goes.
    pub(super) fn keep_residences(&mut self) {
        self.stripes_mut().iter_mut().for_each(|stripe| stripe.core.keep_residences());
    }

    /// Where the time of an acknowledged append went. To be asked in the order of the results.
    pub(super) fn poll_trace(&mut self, id: OpId, first: Offset, now: Instant) -> Option<Trace> {
        match self {
            Self::Native(native) => {
                let went = native.core.poll_residence(id)?;
                Some(Trace { stripe: 0, first, went, heard: now })
            }
            Self::Striped(striped) => striped.take_trace(first),
        }
    }

    /// The stages of an acknowledged append of so many records, of which the first had come at `since`, and which ends now.
    pub(super) fn sample(&mut self, trace: &Trace, records: u32, since: Instant, now: Instant) -> Sample {
        let Trace { stripe, first, went, heard } = trace;
        let stripe = &mut self.stripes_mut()[*stripe];
        // It may have waited for other stripes since.
        Sample::of(stripe, (*first, records), since, *heard, went).until(*heard, now)
    }

    /// Takes in an outcome of one of its connections.
    pub(super) fn handle(&mut self, connection: usize, outcome: Outcome, bytes: &[u8], now: Instant) {
        let (stripe, link) = (connection >> LINK_BITS, connection & ((1 << LINK_BITS) - 1));
        self.stripes_mut()[stripe].handle(link, outcome, bytes, now);
    }

    /// Tells the cores of the time, if they want to know.
    pub(super) fn pass_time(&mut self, now: Instant) {
        match self {
            Self::Native(native) => native.pass_time(now),
            Self::Striped(striped) => striped.pass_time(now),
        }
    }

    /// Hands messages to the connections.
    pub(super) fn send(&mut self, now: Instant) {
        self.stripes_mut().iter_mut().for_each(|stripe| stripe.send(now));
    }

    /// As [`NativeClient::doubt`].
    pub(super) fn doubt(&mut self, now: Instant, mut ask: impl FnMut(Member)) {
        self.stripes_mut().iter_mut().for_each(|stripe| stripe.doubt(now, &mut ask));
    }

    /// A node that was doubted is there.
    pub(super) fn node_is_there(&mut self, node: NodeId, now: Instant) {
        self.stripes_mut().iter_mut().for_each(|stripe| stripe.node_is_there(node, now));
    }

    /// A node that was doubted is stopped, or cut off: nothing is expected of it any more.
    pub(super) fn node_is_silent(&mut self, node: NodeId, now: Instant) {
        self.stripes_mut().iter_mut().for_each(|stripe| stripe.node_is_silent(node, now));
    }

    pub(super) fn close(&mut self) {
        self.stripes_mut().iter_mut().for_each(NativeClient::close);
    }

    /// Whether nothing of it is left in the driver.
    pub(super) fn is_at_rest(&self) -> bool {
        self.stripes().iter().all(NativeClient::is_at_rest)
    }

    /// The next operation of one of its connections.
    pub(super) fn poll_op(&mut self, now: Instant) -> Option<(usize, Op)> {
        self.stripes_mut().iter_mut().enumerate().find_map(|(stripe, client)| {
            let (link, op) = client.poll_op(now)?;
            Some((stripe << LINK_BITS | link, op))
        })
    }

    /// When there is something to do without any event.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let striped = match self {
            Self::Native(_) => None,
            Self::Striped(striped) => striped.core.poll_timeout().map(|(at, _)| at),
        };
        self.stripes().iter().filter_map(NativeClient::poll_timeout).chain(striped).min()
    }

    /// When somebody is to be doubted.
    pub(super) fn poll_doubt(&self) -> Option<Instant> {
        self.stripes().iter().filter_map(NativeClient::poll_doubt).min()
    }
}
