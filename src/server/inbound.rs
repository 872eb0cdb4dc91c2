use std::collections::HashMap;
use std::net::SocketAddr;

use crate::base::Limits;
use crate::io::op::ConnId;
use crate::net::{Closed, Connection};
use crate::proto::PeerId;
use crate::wire::{Hello, Message};

/// What one connection may have queued while memory is short.
const SHORT_OUTBOUND_BYTES: usize = 64 << 10;

/// A connection that a peer has opened.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) connection: Connection,
    pub(super) peer: Option<SocketAddr>,
    /// The peer's introduction, once it has come.
    pub(super) hello: Option<Hello>,
    /// A status request waits for the reports of all shards.
    pub(super) asking: bool,
    /// The LogServers and sequencers have been told that it is gone.
    pub(super) loss_told: bool,
    /// It goes to this other shard as soon as the driver lets go of it.
    pub(super) handoff: Option<usize>,
    /// Its memory as counted in the table.
    counted: usize,
    /// Something has happened on it since idle memory was given up last.
    used: bool,
}

/// The inbound connections of a shard, and the memory that they hold together. Never iterated where their order could show.
#[derive(Debug)]
pub(super) struct InboundTable {
    connections: HashMap<ConnId, Inbound>,
    /// Connections with something to submit.
    touched: Vec<ConnId>,
    /// Connections whose requests wait for room.
    pub(super) held: Vec<ConnId>,
    pool: Pool,
}

/// The memory that connections hold, and may hold.
#[derive(Debug)]
struct Pool {
    memory_bytes: usize,
    bytes_max: usize,
    /// What one connection may have queued while memory is not short.
    outbound_bytes_max: usize,
}

impl Pool {
    fn is_short(&self) -> bool {
        self.memory_bytes > self.bytes_max / 2
    }

    /// Counts a connection's memory anew.
    fn count(&mut self, inbound: &mut Inbound) {
        let bytes = inbound.connection.memory_bytes();
        self.memory_bytes = self.memory_bytes - inbound.counted + bytes;
        inbound.counted = bytes;
    }

    /// Counts a connection that has been used, and gives it its share.
    fn account(&mut self, inbound: &mut Inbound) {
        self.count(inbound);
        inbound.used = true;
        let share = if self.is_short() { SHORT_OUTBOUND_BYTES } else { self.outbound_bytes_max };
        inbound.connection.set_outbound_max(share.min(self.outbound_bytes_max));
    }
}

/// The peer number of a connection.
pub(super) fn peer_of(conn: ConnId) -> PeerId {
    PeerId(conn.0)
}

impl InboundTable {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            connections: HashMap::new(),
            touched: Vec::new(),
            held: Vec::new(),
            pool: Pool {
                memory_bytes: 0,
                bytes_max: limits.connection_pool_bytes as usize,
                outbound_bytes_max: limits.outbound_bytes_max as usize,
            },
        }
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Those of them from within this process.
    pub(super) fn local(&self) -> usize {
        self.connections.keys().filter(|conn| conn.is_local()).count()
    }

    /// Bytes of memory that all connections hold for frames.
    pub(super) fn memory_bytes(&self) -> usize {
        self.pool.memory_bytes
    }

    /// Whether half of the memory is used up, so that each connection is held to a small share.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.pool.is_short()
    }

    pub(super) fn insert(&mut self, conn: ConnId, peer: Option<SocketAddr>, hello: Option<Hello>, limits: &Limits) {
        let connection = Connection::new(conn, limits);
        let (loss_told, handoff, counted, asking) = (false, None, 0, false);
        let inbound = Inbound { connection, peer, hello, asking, loss_told, handoff, counted, used: true };
        let before = self.connections.insert(conn, inbound);
        assert!(before.is_none(), "connection ids are not reused");
        self.touched.push(conn);
    }

    /// Takes a connection out, to work with it and the rest of the shard; put it back with [`InboundTable::put_back`], or give it
    /// up with [`InboundTable::forget`].
    pub(super) fn take(&mut self, conn: ConnId) -> Option<Inbound> {
        self.connections.remove(&conn)
    }

    pub(super) fn put_back(&mut self, mut inbound: Inbound) {
        let conn = inbound.connection.id();
        self.pool.account(&mut inbound);
        self.touched.push(conn);
        self.connections.insert(conn, inbound);
    }

    /// A connection that was taken out is gone.
    pub(super) fn forget(&mut self, inbound: &Inbound) {
        self.pool.memory_bytes -= inbound.counted;
    }

    /// Queues a message for a peer, if it is still there. Returns whether it may be sent more.
    pub(super) fn send(&mut self, to: PeerId, message: &Message<'_>) -> bool {
        let conn = ConnId(to.0);
        let Some(inbound) = self.connections.get_mut(&conn) else { return true };
        inbound.connection.send(message);
        self.pool.account(inbound);
        let has_room = inbound.connection.has_room();
        if self.touched.last() != Some(&conn) {
            self.touched.push(conn);
        }
        has_room
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Inbound> {
        self.connections.get_mut(&conn)
    }

    /// The connections with something to submit, each once, in order.
    pub(super) fn take_touched(&mut self, into: &mut Vec<ConnId>) {
        std::mem::swap(into, &mut self.touched);
        into.sort_unstable();
        into.dedup();
    }

    /// Gives up the memory of connections on which nothing has happened since the last time. Returns whether there may be more to
    /// give up later.
    pub(super) fn release_idle(&mut self) -> bool {
        let mut more = false;
        for inbound in self.connections.values_mut().filter(|inbound| inbound.used || inbound.counted > 0) {
            if std::mem::take(&mut inbound.used) {
                more = true;
            } else {
                inbound.connection.release_memory();
                self.pool.count(inbound);
            }
        }
        more
    }

    /// Closes whichever connection holds most, until what the others hold is within the bound. Returns how many were closed.
    pub(super) fn enforce_pool(&mut self) -> usize {
        let mut closed = 0;
        if self.pool.memory_bytes <= self.pool.bytes_max {
            return closed;
        }
        for inbound in self.connections.values_mut() {
            inbound.connection.release_memory();
            self.pool.count(inbound);
        }
        let mut held: Vec<_> = self.connections.iter().map(|(conn, inbound)| (inbound.counted, *conn)).collect();
        held.sort_unstable();
        // What is closed keeps the memory of its last send until the driver gives it back.
        let mut excess = self.pool.memory_bytes.saturating_sub(self.pool.bytes_max);
        while excess > 0
            && let Some((bytes, conn)) = held.pop()
        {
            let inbound = self.connections.get_mut(&conn).expect("just seen");
            if !inbound.connection.is_closing() {
                tracing::warn!(peer = ?inbound.peer, bytes, "closed a connection: the memory for connections is used up");
                inbound.connection.abandon(Closed::Here("the memory for connections is used up"));
                closed += 1;
                self.touched.push(conn);
            }
            excess = excess.saturating_sub(bytes);
        }
        closed
    }

    /// Closes every connection that has nothing left to send. Used when the shard stops.
    pub(super) fn close_all(&mut self, close: impl Fn(&mut Connection)) {
        for (conn, inbound) in &mut self.connections {
            close(&mut inbound.connection);
            self.touched.push(*conn);
        }
    }
}
