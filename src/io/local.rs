//! Connections of a driver with others in the same process, which go through memory and not through the kernel.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use super::op::{Chunk, Completion, ConnId, Op, Outcome, Token};
use super::pipe::{PipeEnd, Pulled, Pushed, pipe};

/// Takes the other end of a connection, and the first bytes that come over it, which say whom it is for. Returns false when nobody is
/// there any more.
type Offer = dyn Fn(&[u8], PipeEnd) -> bool + Send + Sync;

/// Somebody in this process who can be connected with through memory, at the address at which others find him.
#[derive(Clone)]
pub struct LocalListener {
    address: SocketAddr,
    offer: Arc<Offer>,
}

impl LocalListener {
    /// Whoever connects to this address is offered so.
    pub fn new(address: SocketAddr, offer: impl Fn(&[u8], PipeEnd) -> bool + Send + Sync + 'static) -> Self {
        Self { address, offer: Arc::new(offer) }
    }
}

impl fmt::Debug for LocalListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalListener").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The local connections of one driver.
#[derive(Default)]
pub(super) struct LocalConnections {
    listener: Option<LocalListener>,
    connections: BTreeMap<ConnId, Connection>,
    next: u64,
    /// By number; those that have been released are empty places.
    chunks: Vec<Option<Received>>,
    /// Empty places.
    free: Vec<u32>,
    completions: Vec<Completion>,
    /// Connections with a send that waits for room.
    waiting: usize,
}

/// A received chunk that has not been released.
struct Received {
    /// Where it has come from, and where its memory goes.
    conn: ConnId,
    bytes: Vec<u8>,
}

struct Connection {
    end: PipeEnd,
    /// Goes to the listener with the first bytes.
    other: Option<PipeEnd>,
    receiving: Option<Token>,
    sending: Option<(Token, Vec<u8>)>,
}

impl LocalConnections {
    pub(super) fn set_listener(&mut self, listener: LocalListener) {
        self.listener = Some(listener);
    }

    /// Takes in an end of a connection.
    pub(super) fn join(&mut self, end: PipeEnd, other: Option<PipeEnd>, waker: &Waker) -> ConnId {
        end.set_waker(waker);
        assert!(self.next < ConnId::LOCAL, "far fewer connections in the life of a driver");
        let conn = ConnId(ConnId::LOCAL | self.next);
        self.next += 1;
        self.connections.insert(conn, Connection { end, other, receiving: None, sending: None });
        conn
    }

    /// Carries out what is for a local connection, and gives back what is not. Completions are there for the next
    /// [`LocalConnections::collect`].
    pub(super) fn submit(&mut self, token: Token, op: Op, waker: impl FnOnce() -> Waker) -> Option<Op> {
        let conn = match &op {
            Op::Connect { address } => {
                if self.listener.as_ref().is_none_or(|listener| listener.address != *address) {
                    return Some(op);
                }
                let (end, other) = pipe();
                let conn = self.join(end, Some(other), &waker());
                self.complete(token, Outcome::Connected { conn });
                return None;
            }
            Op::Receive { conn }
            | Op::StopReceive { conn }
            | Op::Send { conn, .. }
            | Op::Detach { conn }
            | Op::CloseConn { conn } => *conn,
            _ => return Some(op),
        };
        if !conn.is_local() {
            return Some(op);
        }
        let connection = self.connections.get_mut(&conn).expect("a connection of this driver");
        match op {
            Op::Receive { .. } => connection.receiving = Some(token),
            Op::StopReceive { .. } => connection.receiving = None,
            Op::Send { data, .. } => self.send(conn, token, data),
            Op::Detach { .. } => self.complete(token, Outcome::Failed(std::io::ErrorKind::Unsupported.into())),
            Op::CloseConn { .. } => {
                let connection = self.connections.remove(&conn).expect("just seen");
                if let Some((token, data)) = connection.sending {
                    self.waiting -= 1;
                    self.complete(token, Outcome::Sent { conn, data, result: Err(closed()) });
                }
                self.complete(token, Outcome::Done);
            }
            _ => unreachable!("sorted out above"),
        }
        None
    }

    fn complete(&mut self, token: Token, outcome: Outcome) {
        self.completions.push(Completion { token, outcome });
    }

    fn send(&mut self, conn: ConnId, token: Token, data: Vec<u8>) {
        let connection = self.connections.get_mut(&conn).expect("a connection of this driver");
        // Whoever the other end goes to is told what it begins with.
        let offered = connection.other.take().map(|other| (other, data.clone()));
        let pushed = connection.end.push(data);
        if let Some((other, first)) = offered
            && !self.listener.as_ref().is_some_and(|listener| (listener.offer)(&first, other))
        {
            // Whoever connects next finds what is at the address, if there is anything.
            self.listener = None;
        }
        match pushed {
            // As after any send, the sender gets memory back.
            Pushed::Taken(data) => self.complete(token, Outcome::Sent { conn, data, result: Ok(()) }),
            Pushed::Closed(data) => self.complete(token, Outcome::Sent { conn, data, result: Err(closed()) }),
            Pushed::Full(data) => {
                connection.sending = Some((token, data));
                self.waiting += 1;
            }
        }
    }

    /// Tries the sends again that found no room.
    fn send_waiting(&mut self) {
        let waiting: Vec<_> = self
            .connections
            .iter_mut()
            .filter_map(|(conn, connection)| Some((*conn, connection.sending.take()?)))
            .collect();
        self.waiting = 0;
        waiting.into_iter().for_each(|(conn, (token, data))| self.send(conn, token, data));
    }

    /// What has completed, or come in.
    pub(super) fn collect(&mut self, completions: &mut Vec<Completion>) {
        if self.waiting > 0 {
            self.send_waiting();
        }
        let Self { connections, chunks, free, .. } = self;
        for (&conn, connection) in connections {
            let Some(token) = connection.receiving else { continue };
            loop {
                let chunk = match connection.end.pull() {
                    Pulled::Bytes(bytes) => {
                        let len = u32::try_from(bytes.len()).expect("what is sent at once is far below 4 GiB");
                        let place = free.pop().unwrap_or_else(|| {
                            chunks.push(None);
                            u32::try_from(chunks.len() - 1).expect("far fewer chunks are held at once")
                        });
                        assert!(place < Chunk::LOCAL, "far fewer chunks are held at once");
                        chunks[place as usize] = Some(Received { conn, bytes });
                        Chunk { buffer: Chunk::LOCAL | place, len }
                    }
                    Pulled::Nothing => break,
                    Pulled::Closed => {
                        connection.receiving = None;
                        Chunk::END
                    }
                };
                let is_end = chunk.is_end();
                self.completions.push(Completion { token, outcome: Outcome::Received { conn, chunk } });
                if is_end {
                    break;
                }
            }
        }
        completions.append(&mut self.completions);
    }

    pub(super) fn chunk(&self, chunk: &Chunk) -> &[u8] {
        let received = self.chunks[(chunk.buffer & !Chunk::LOCAL) as usize].as_ref();
        &received.expect("a chunk that has not been released").bytes
    }

    pub(super) fn release(&mut self, chunk: &Chunk) {
        let place = chunk.buffer & !Chunk::LOCAL;
        let Received { conn, bytes } = self.chunks[place as usize].take().expect("released once");
        self.free.push(place);
        if let Some(connection) = self.connections.get(&conn) {
            connection.end.give_back(bytes);
        }
    }
}

fn closed() -> std::io::Error {
    std::io::ErrorKind::BrokenPipe.into()
}
