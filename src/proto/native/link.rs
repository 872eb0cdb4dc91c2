use std::collections::{BTreeMap, VecDeque};

use super::seal::Sealer;
use crate::base::{Instant, Limits, LogletId, Offset};
use crate::proto::loglet::{LogletResult, OpId};
use crate::wire::{Batch, LogletConfig, Message};

/// Names an operation inside the core; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key(pub(super) u64);

/// Request numbers from here on belong to operations, those below to appends.
const REQUEST_FIRST: u64 = 1 << 63;

/// Something to send.
#[derive(Clone, Debug)]
enum Out {
    Plain(Message<'static>),
    Repair { request: u64, first: Offset, count: u32, bytes: Vec<u8> },
}

/// What is known of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Connection {
    /// The host has not said anything yet.
    #[default]
    Unknown,
    Up,
    Down,
}

/// One connection: requests to be sent, and who waits for the answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) connection: Connection,
    /// Whether there has ever been a use for it.
    pub(super) wanted: bool,
    /// Nothing new is asked before: the peer has refused something.
    pub(super) paused: Option<Instant>,
    /// The last refusal, for people.
    pub(super) refusal: Option<String>,
    pub(super) pending: BTreeMap<u64, Key>,
    queue: VecDeque<Out>,
    /// Bytes of the repair that is being sent.
    sending: Vec<u8>,
}

impl Link {
    /// Whether something may be asked now.
    pub(super) fn ready(&self) -> bool {
        self.connection == Connection::Up && self.paused.is_none()
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The connection changed: nothing that was queued or asked will be answered. Returns who waited.
    pub(super) fn reset(&mut self, connection: Connection) -> Vec<Key> {
        self.connection = connection;
        self.paused = None;
        self.queue.clear();
        let mut waiting: Vec<Key> = std::mem::take(&mut self.pending).into_values().collect();
        waiting.sort_unstable();
        waiting.dedup();
        waiting
    }

    pub(super) fn poll_send(&mut self, loglet: LogletId) -> Option<Message<'_>> {
        match self.queue.pop_front()? {
            Out::Plain(message) => Some(message),
            Out::Repair { request, first, count, bytes } => {
                self.sending = bytes;
                let batch = Batch::new(count, &self.sending).expect("checked when it was received");
                Some(Message::Repair { request, loglet, first, batch })
            }
        }
    }
}

/// What all operations share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) config: LogletConfig,
    pub(super) limits: Limits,
    /// P1: raised by `(X, open)`, by own acknowledgements and by merging others' known tails; never by a sealed tail or a repair.
    pub(super) known_tail: Offset,
    /// The largest trim point that has been heard: a client that knows records to be given up does not get them from a server that
    /// has not heard of it yet.
    pub(super) trimmed: Offset,
    /// The LogServers in the configuration's order, then the sequencer.
    pub(super) links: Vec<Link>,
    pub(super) sealer: Sealer,
    /// A LogServer has answered `Gone`: the chain no longer names the loglet (P5).
    pub(super) gone: bool,
    /// The LogServer to read from, if the host has one that is nearest.
    pub(super) preferred: Option<usize>,
    pub(super) results: VecDeque<(OpId, LogletResult)>,
    next_request: u64,
}

impl Shared {
    pub(super) fn new(config: LogletConfig, limits: &Limits) -> Self {
        let servers = config.log_servers.len();
        assert!(servers > 0, "a loglet has LogServers");
        Self {
            config,
            limits: limits.clone(),
            known_tail: Offset::ZERO,
            trimmed: Offset::ZERO,
            links: vec![Link::default(); servers + 1],
            sealer: Sealer::new(servers),
            gone: false,
            preferred: None,
            results: VecDeque::new(),
            next_request: REQUEST_FIRST,
        }
    }

    pub(super) fn loglet(&self) -> LogletId {
        self.config.id
    }

    pub(super) fn servers(&self) -> usize {
        self.config.log_servers.len()
    }

    /// The index of the sequencer's link.
    pub(super) fn sequencer(&self) -> usize {
        self.servers()
    }

    pub(super) fn quorum(&self) -> usize {
        self.config.quorum()
    }

    /// Merges a known tail of one of the three kinds of P1.
    pub(super) fn learn(&mut self, known_tail: Offset) {
        self.known_tail = self.known_tail.max(known_tail);
    }

    /// Queues a request whose answer goes to `key`; returns its number.
    pub(super) fn ask(&mut self, link: usize, key: Key, message: impl FnOnce(u64) -> Message<'static>) -> u64 {
        let request = self.take_request(link, key);
        self.links[link].queue.push_back(Out::Plain(message(request)));
        request
    }

    /// Queues a repair, whose records are `bytes`.
    pub(super) fn ask_repair(&mut self, link: usize, key: Key, first: Offset, count: u32, bytes: Vec<u8>) -> u64 {
        let request = self.take_request(link, key);
        self.links[link].queue.push_back(Out::Repair { request, first, count, bytes });
        request
    }

    /// Queues a message that is not answered.
    pub(super) fn tell(&mut self, link: usize, message: Message<'static>) {
        self.links[link].queue.push_back(Out::Plain(message));
    }

    /// Asks nothing of this peer for a while.
    pub(super) fn pause(&mut self, link: usize, now: Instant) {
        let until = now + self.limits.reconnect_delay;
        self.links[link].paused.get_or_insert(until);
    }

    fn take_request(&mut self, link: usize, key: Key) -> u64 {
        assert!(self.links[link].ready(), "only a ready peer is asked");
        let request = self.next_request;
        self.next_request += 1;
        let before = self.links[link].pending.insert(request, key);
        assert!(before.is_none(), "request numbers are never used twice");
        request
    }
}
