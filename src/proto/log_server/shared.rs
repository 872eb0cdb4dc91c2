use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::cell::Image;
use super::{ReadId, Refused};
use crate::base::{Incarnation, Instant, Limits, LogletId, NodeId, Offset, Write};
use crate::proto::peer::PeerId;
use crate::wire::{Member, Message, RejectCode, Role};

/// What the LogServers want sent.
#[derive(Clone, PartialEq, Hash, Debug)]
pub enum Output {
    /// An answer, or a delivery of a subscription, on a connection.
    Send {
        /// The connection.
        to: PeerId,
        /// What.
        message: Message<'static>,
    },
    /// A request to another LogServer, with [`Role::LogServer`]. The host opens and keeps the connection, and brings what comes back
    /// to [`LogServer::handle_member`](super::LogServer::handle_member).
    ToMember {
        /// Whom to ask.
        to: Member,
        /// What.
        message: Message<'static>,
    },
}

/// The process at the other end of an inbound connection, as its hello told.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct Peer {
    pub(super) role: Role,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) subscriptions: u32,
    /// Reads of the journal under way for it.
    pub(super) reads: u32,
    /// It does not take what it is sent, so nothing is read for its subscriptions.
    pub(super) paused: bool,
}

/// A write on its way to the disk.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct Pending {
    pub(super) write: Write,
    pub(super) loglet: LogletId,
    pub(super) what: What,
}

/// What a write makes durable.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) enum What {
    Records {
        first: Offset,
        end: Offset,
    },
    Cell(Image),
    Floor,
    /// The mark of a journal that has lost entries; nothing waits for it.
    Marker,
    /// The cell of a deleted loglet is gone, and so the floor below which it is not created again is durable.
    Removal,
}

/// For whom a read of the journal is.
#[derive(Clone, Hash, Debug)]
pub(super) enum Purpose {
    Read {
        peer: PeerId,
        request: u64,
        from: Offset,
        to: Offset,
    },
    Subscription {
        peer: PeerId,
        request: u64,
        from: Offset,
        to: Offset,
    },
    /// The stored copy of a store that came again, to be compared with these checksums.
    Compare {
        from: Offset,
        to: Offset,
        first: Offset,
        checksums: Vec<u32>,
    },
}

impl Purpose {
    /// The connection that the read is for.
    fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Read { peer, .. } | Self::Subscription { peer, .. } => Some(*peer),
            Self::Compare { .. } => None,
        }
    }
}

/// What all loglets share; the loglets themselves are kept beside it, so that one of them and this can be changed together.
#[derive(Clone, Hash, Debug)]
pub(super) struct Shared {
    pub(super) node: NodeId,
    pub(super) limits: Limits,
    /// The time of the input that is being handled.
    pub(super) now: Instant,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    /// Writes in the order of the journal.
    pub(super) pending: VecDeque<Pending>,
    pub(super) reads: BTreeMap<ReadId, (LogletId, Purpose)>,
    /// Subscriptions whose next read waits for others to end, by connection and request; the longest waiting is first.
    pub(super) blocked: VecDeque<(PeerId, u64, LogletId)>,
    /// Requests to other LogServers that have no answer yet.
    pub(super) requests: BTreeMap<u64, (LogletId, NodeId)>,
    /// Loglets with something to copy from other LogServers.
    pub(super) active: BTreeSet<LogletId>,
    /// Loglets with something that the journal refused for now, and since when it is due again.
    pub(super) retry: BTreeSet<LogletId>,
    pub(super) retry_at: Instant,
    /// Since the journal refused records for want of space, and until it has space for records of any size.
    pub(super) full: bool,
    /// When the journal is asked for space again.
    pub(super) space_at: Instant,
    /// The loglet that was first when they were offered last.
    pub(super) retried_first: LogletId,
    pub(super) out: VecDeque<Output>,
    /// Loglets that owe their sequencer an answer; it is made when it is sent, so that it is true then (P2).
    pub(super) owing: VecDeque<LogletId>,
    /// Subscriptions of all connections.
    pub(super) subscriptions: u32,
    /// Bytes of early arrivals of all loglets.
    pub(super) early_bytes: usize,
    /// Memory of dropped early arrivals, for the next ones.
    pub(super) buffers: Vec<Vec<u8>>,
    /// The journal has failed: reads only.
    pub(super) failed: bool,
    /// The journal has lost part of its entry table, in this life or an earlier one (P10).
    pub(super) table_lost: bool,
    reads_started: u64,
    requests_made: u64,
    last_write: Write,
}

/// Buffers kept for reuse; further ones are freed.
pub(super) const BUFFERS_MAX: usize = 64;

impl Shared {
    pub(super) fn new(node: NodeId, limits: &Limits) -> Self {
        Self {
            node,
            limits: limits.clone(),
            now: Instant::ORIGIN,
            peers: BTreeMap::new(),
            pending: VecDeque::new(),
            reads: BTreeMap::new(),
            blocked: VecDeque::new(),
            requests: BTreeMap::new(),
            active: BTreeSet::new(),
            retry: BTreeSet::new(),
            retry_at: Instant::ORIGIN,
            full: false,
            space_at: Instant::ORIGIN,
            retried_first: LogletId::default(),
            out: VecDeque::new(),
            owing: VecDeque::new(),
            subscriptions: 0,
            early_bytes: 0,
            buffers: Vec::new(),
            failed: false,
            table_lost: false,
            reads_started: 0,
            requests_made: 0,
            last_write: Write(0),
        }
    }

    pub(super) fn send(&mut self, to: PeerId, message: Message<'static>) {
        self.out.push_back(Output::Send { to, message });
    }

    pub(super) fn reject(&mut self, to: PeerId, request: u64, code: RejectCode, detail: &'static str) {
        self.send(to, Message::Reject { request, code, detail });
    }

    pub(super) fn unavailable(&mut self, to: PeerId, request: u64, loglet: LogletId, reason: &'static str) {
        self.send(to, Message::Unavailable { request, loglet, reason });
    }

    /// Asks another LogServer; `message` gets the request's number.
    pub(super) fn ask(&mut self, to: Member, loglet: LogletId, message: impl FnOnce(u64) -> Message<'static>) -> u64 {
        assert_ne!(to.node, self.node, "a LogServer does not ask itself");
        self.requests_made += 1;
        let request = self.requests_made;
        self.requests.insert(request, (loglet, to.node));
        self.out.push_back(Output::ToMember { to, message: message(request) });
        request
    }

    /// Whether one more read of the journal may be started for a peer: each answer may be large, and is held until the peer takes
    /// it, so that they are bounded for each connection and for all.
    pub(super) fn may_read(&self, peer: PeerId) -> bool {
        let max = self.limits.reads_per_connection_max;
        self.reads.len() < self.limits.reads_max as usize
            && self.peers.get(&peer).is_some_and(|peer| !peer.paused && peer.reads < max)
    }

    pub(super) fn start_read(&mut self, loglet: LogletId, purpose: Purpose) -> ReadId {
        self.reads_started += 1;
        if let Some(peer) = purpose.peer().and_then(|peer| self.peers.get_mut(&peer)) {
            peer.reads += 1;
        }
        let id = ReadId(self.reads_started);
        self.reads.insert(id, (loglet, purpose));
        id
    }

    /// A read has ended.
    pub(super) fn end_read(&mut self, id: ReadId) -> (LogletId, Purpose) {
        let (loglet, purpose) = self.reads.remove(&id).expect("a read completes once");
        if let Some(peer) = purpose.peer().and_then(|peer| self.peers.get_mut(&peer)) {
            peer.reads -= 1;
        }
        (loglet, purpose)
    }

    /// Notes what a write makes durable. Neighbouring records of one loglet in one unit are one entry.
    pub(super) fn taken(&mut self, write: Write, loglet: LogletId, what: What) {
        assert!(write >= self.last_write, "the journal's writes are ordered");
        self.last_write = write;
        if let (What::Records { first, end }, Some(last)) = (what, self.pending.back_mut())
            && let What::Records { end: last_end, .. } = &mut last.what
            && (last.write, last.loglet, *last_end) == (write, loglet, first)
        {
            *last_end = end;
            return;
        }
        self.pending.push_back(Pending { write, loglet, what });
    }

    /// Handles the refusal of a write that must happen some time: it is tried again when the journal has moved, or after a while.
    pub(super) fn refused(&mut self, loglet: LogletId, refused: Refused) {
        match refused {
            Refused::Busy | Refused::Space => {
                if self.retry.is_empty() {
                    self.retry_at = self.now + self.limits.reconnect_delay;
                }
                self.retry.insert(loglet);
            }
            Refused::Failed => self.failed = true,
        }
    }

    /// The journal has no space for records.
    pub(super) fn fill_up(&mut self) {
        if !std::mem::replace(&mut self.full, true) {
            self.space_at = self.now + self.space_pause();
        }
    }

    /// How long to wait before the journal is asked for space again. A trim is noticed at once; this is for space that others
    /// give back on the file system.
    pub(super) fn space_pause(&self) -> std::time::Duration {
        self.limits.reconnect_delay * 5
    }

    pub(super) fn no_space(&mut self, to: PeerId, request: u64, loglet: LogletId) {
        self.send(to, Message::NoSpace { request, loglet });
    }

    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        // Those of unusually large records are not worth keeping.
        if self.buffers.len() < BUFFERS_MAX && buffer.capacity() <= self.limits.batch_bytes_max as usize {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}
