use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::contract::{MetaStoreResult, OpId};
use crate::base::{Instant, Limits, NodeId, ProposerId, RegisterId, Rng};
use crate::wire::{Message, RegisterMessage};

/// The connection to one acceptor.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Link {
    up: bool,
    /// Nothing is asked before: the acceptor has refused something.
    paused: Option<Instant>,
    /// The last refusal, for people.
    pub(super) refusal: Option<String>,
    queue: VecDeque<Message<'static>>,
}

/// What all registers of a proposer share.
#[derive(Clone, Hash, Debug)]
pub(super) struct Shared {
    pub(super) id: ProposerId,
    pub(super) limits: Limits,
    /// The time of the input that is being handled.
    pub(super) now: Instant,
    /// By the node that the acceptor's hello named, never by address (P8 e).
    pub(super) links: BTreeMap<NodeId, Link>,
    pub(super) results: VecDeque<(OpId, MetaStoreResult)>,
    /// The state of the random stream.
    seed: u64,
    next_request: u64,
}

/// The pause between two ballots grows up to this many doublings.
const DOUBLINGS_MAX: u32 = 6;

impl Shared {
    pub(super) fn new(id: ProposerId, seed: u64, limits: &Limits) -> Self {
        Self {
            id,
            limits: limits.clone(),
            now: Instant::ORIGIN,
            links: BTreeMap::new(),
            results: VecDeque::new(),
            seed,
            next_request: 1,
        }
    }

    /// A number for the questions of one phase: with the node asked it names one question, so members may share it.
    pub(super) fn take_request(&mut self) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        request
    }

    /// Queues a message for an acceptor that can be asked now; who cannot be is asked when he can.
    pub(super) fn send(&mut self, to: NodeId, request: u64, register: RegisterId, message: RegisterMessage) {
        if let Some(link) = self.links.get_mut(&to).filter(|link| link.is_ready()) {
            link.queue.push_back(Message::Register { request, register, message: Box::new(message) });
        }
    }

    /// How long to wait before the next ballot: at random, and longer with each attempt, so that one of several gets through (P8).
    pub(super) fn backoff(&mut self, attempts: u32) -> Duration {
        let longest = self.limits.reconnect_delay * (1 << attempts.min(DOUBLINGS_MAX));
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let mut random = Rng::with_seed(self.seed);
        let nanoseconds = random.u64(longest / 4..=longest);
        self.seed = random.get_seed();
        Duration::from_nanos(nanoseconds)
    }

    /// The connection came up or went down: nothing that was queued or asked on it will be answered.
    pub(super) fn reset_link(&mut self, node: NodeId, up: bool) {
        let link = self.links.entry(node).or_default();
        *link = Link { up, refusal: link.refusal.take(), ..Link::default() };
    }

    /// The acceptor has refused something: it is asked again after a while.
    pub(super) fn pause(&mut self, node: NodeId, reason: &str) {
        let until = self.now + self.limits.reconnect_delay;
        let link = self.links.entry(node).or_default();
        link.refusal = Some(reason.to_owned());
        link.paused.get_or_insert(until);
    }

    /// Ends the pauses that are over, and returns whose.
    pub(super) fn resume(&mut self) -> Vec<NodeId> {
        let now = self.now;
        let over = self.links.iter_mut().filter_map(|(node, link)| link.paused.take_if(|at| *at <= now).map(|_| *node));
        over.collect()
    }

    pub(super) fn next_resume(&self) -> Option<Instant> {
        self.links.values().filter_map(|link| link.paused).min()
    }
}

impl Link {
    fn is_ready(&self) -> bool {
        self.up && self.paused.is_none()
    }

    pub(super) fn poll_send(&mut self) -> Option<Message<'static>> {
        self.queue.pop_front().filter(|_| self.up)
    }

    /// For people: what stands in the way.
    pub(super) fn trouble(&self) -> String {
        let silence = if self.up { "no answer" } else { "not connected" };
        self.refusal.clone().unwrap_or_else(|| silence.to_owned())
    }
}
