use std::collections::HashMap;
use std::net::SocketAddr;

use crate::base::Limits;
use crate::io::op::ConnId;
use crate::net::Connection;
use crate::proto::PeerId;
use crate::wire::{Hello, Message};

/// A connection that a peer has opened.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) connection: Connection,
    pub(super) peer: Option<SocketAddr>,
    /// The peer's introduction, once it has come.
    pub(super) hello: Option<Hello>,
    /// The LogServers and sequencers have been told that it is gone.
    pub(super) loss_told: bool,
    /// It goes to this other shard as soon as the driver lets go of it.
    pub(super) handoff: Option<usize>,
}

/// The inbound connections of a shard. Never iterated, so their order never shows.
#[derive(Debug, Default)]
pub(super) struct InboundTable {
    connections: HashMap<ConnId, Inbound>,
    /// Connections with something to submit.
    touched: Vec<ConnId>,
    /// Connections whose appends wait for room at a sequencer.
    pub(super) held: Vec<ConnId>,
}

/// The peer number of a connection.
pub(super) fn peer_of(conn: ConnId) -> PeerId {
    PeerId(conn.0)
}

impl InboundTable {
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn insert(&mut self, conn: ConnId, peer: Option<SocketAddr>, hello: Option<Hello>, limits: &Limits) {
        let connection = Connection::new(conn, limits);
        let inbound = Inbound { connection, peer, hello, loss_told: false, handoff: None };
        let before = self.connections.insert(conn, inbound);
        assert!(before.is_none(), "connection ids are not reused");
        self.touched.push(conn);
    }

    /// Takes a connection out, to work with it and the rest of the shard; put it back with [`InboundTable::put_back`].
    pub(super) fn take(&mut self, conn: ConnId) -> Option<Inbound> {
        self.connections.remove(&conn)
    }

    pub(super) fn put_back(&mut self, inbound: Inbound) {
        let conn = inbound.connection.id();
        self.touched.push(conn);
        self.connections.insert(conn, inbound);
    }

    /// Queues a message for a peer, if it is still there.
    pub(super) fn send(&mut self, to: PeerId, message: &Message<'_>) {
        let conn = ConnId(to.0);
        if let Some(inbound) = self.connections.get_mut(&conn) {
            inbound.connection.send(message);
            if self.touched.last() != Some(&conn) {
                self.touched.push(conn);
            }
        }
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

    /// Closes every connection that has nothing left to send. Used when the shard stops.
    pub(super) fn close_all(&mut self, close: impl Fn(&mut Connection)) {
        for (conn, inbound) in &mut self.connections {
            close(&mut inbound.connection);
            self.touched.push(*conn);
        }
    }
}
