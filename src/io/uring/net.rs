//! Sockets on the ring.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::cqueue;
use rustix::net::SocketAddrAny;

use super::connections::{Connection, Leaving, Receive};
use super::driver::UringDriver;
use super::flight::Flight;
use super::receive::END;
use super::ring::Event;
use crate::io::op::{Chunk, ConnId, ListenerId, Outcome, Token};
use crate::io::sockets::{self, Blocking};

impl UringDriver {
    pub(super) fn start_listening(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let (socket, bound) = sockets::listening_socket(address, Blocking::Yes)?;
        self.listeners.push(socket);
        Ok((ListenerId(self.listeners.len() as u32 - 1), bound))
    }

    pub(super) fn accept(&mut self, token: Token, listener: ListenerId) {
        match self.listeners.get(listener.0 as usize) {
            Some(socket) => {
                let socket = socket.as_raw_fd();
                self.ring.start(Flight::Accept { token, listener: listener.0, socket });
            }
            None => self.complete(token, Outcome::Failed(io::ErrorKind::NotConnected.into())),
        }
    }

    pub(super) fn connect(&mut self, token: Token, address: SocketAddr) {
        match sockets::connecting_socket(address, Blocking::Yes) {
            Ok(socket) => {
                // Without it the connection works, and a peer that vanishes is noticed late.
                let _ = self.peer_timeout.set_on(&socket);
                let conn = Connection::new(socket);
                let socket = conn.fd();
                let conn = self.connections.insert(conn);
                let address = Box::new(SocketAddrAny::from(address));
                self.ring.start(Flight::Connect { token, conn, socket, address });
            }
            Err(error) => self.complete(token, Outcome::Failed(error)),
        }
    }

    pub(super) fn receive(&mut self, token: Token, ConnId(conn): ConnId) {
        let Some(connection) = self.open_connection(conn) else {
            return self.complete(token, Outcome::Failed(io::ErrorKind::NotConnected.into()));
        };
        match &mut connection.receive {
            Receive::Idle => self.arm(conn, token),
            Receive::Armed { token: held, .. } | Receive::Starved { token: held } => *held = token,
            Receive::Stopping { again, .. } => *again = Some(token),
        }
    }

    pub(super) fn stop_receive(&mut self, ConnId(conn): ConnId) {
        let Some(connection) = self.open_connection(conn) else { return };
        match connection.receive {
            Receive::Idle => {}
            Receive::Armed { token, key } => {
                connection.receive = Receive::Stopping { token, key, again: None };
                self.ring.cancel(key);
            }
            Receive::Starved { .. } => connection.receive = Receive::Idle,
            Receive::Stopping { token, key, again } => {
                connection.receive = Receive::Stopping { token: again.unwrap_or(token), key, again: None };
            }
        }
    }

    pub(super) fn send(&mut self, token: Token, ConnId(conn): ConnId, data: Vec<u8>) {
        let Some(connection) = self.open_connection(conn) else {
            let result = Err(io::ErrorKind::NotConnected.into());
            return self.complete(token, Outcome::Sent { conn: ConnId(conn), data, result });
        };
        assert!(connection.send.is_none(), "at most one send is in flight for each connection");
        if data.is_empty() {
            return self.complete(token, Outcome::Sent { conn: ConnId(conn), data, result: Ok(()) });
        }
        let socket = connection.fd();
        let key = self.ring.start(Flight::Send { token, conn, socket, data, sent: 0 });
        self.connection(conn).send = Some(key);
    }

    pub(super) fn close_connection(&mut self, token: Token, ConnId(conn): ConnId) {
        let Some(connection) = self.open_connection(conn) else { return self.complete(token, Outcome::Done) };
        connection.leaving = Some(Leaving::Close(token));
        let send = connection.send;
        // A peer that never reads cannot keep a send in flight: the cancellation ends one that waits, and this one that is
        // just being carried on. It fails only when the peer has closed already.
        let _ = rustix::net::shutdown(&connection.socket, rustix::net::Shutdown::Both);
        match connection.receive {
            Receive::Armed { key, .. } | Receive::Stopping { key, .. } => self.ring.cancel(key),
            Receive::Starved { token } => {
                connection.receive = Receive::Idle;
                self.complete(token, Outcome::Failed(io::ErrorKind::ConnectionAborted.into()));
            }
            Receive::Idle => {}
        }
        if let Some(key) = send {
            self.ring.cancel(key);
        }
        self.finish_leaving(conn);
    }

    pub(super) fn accepted(&mut self, event: Event) {
        let flight = event.ended.as_ref().or_else(|| self.ring.flight(event.key));
        let Some(&Flight::Accept { token, listener, .. }) = flight else { unreachable!("dispatched by kind") };
        let rearm = event.ended.is_some();
        if let Some(socket) = event.accepted {
            let peer = sockets::prepare_stream(&socket).and_then(|()| sockets::peer_of(&socket));
            // A peer that has gone already is nobody's concern.
            if let Ok(peer) = peer {
                let _ = self.peer_timeout.set_on(&socket);
                let conn = ConnId(self.connections.insert(Connection::new(socket)));
                self.complete(token, Outcome::Accepted { conn, peer });
            }
        } else if sockets::is_lack_of_resources(-event.result) {
            let error = io::Error::from_raw_os_error(-event.result);
            return self.complete(token, Outcome::Failed(error));
        }
        if rearm {
            self.accept(token, ListenerId(listener));
        }
    }

    pub(super) fn connected(&mut self, token: Token, conn: u64, result: i32) {
        if result < 0 {
            self.connections.remove(conn);
            return self.complete(token, Outcome::Failed(io::Error::from_raw_os_error(-result)));
        }
        self.complete(token, Outcome::Connected { conn: ConnId(conn) });
    }

    pub(super) fn sent(&mut self, flight: Flight, result: i32) {
        let Flight::Send { token, conn, socket, data, mut sent } = flight else { unreachable!("dispatched by kind") };
        let connection = self.connection(conn);
        connection.send = None;
        let closing = connection.is_closing();
        let result = match usize::try_from(result) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => {
                self.ring.counters.bytes += bytes as u64;
                sent += bytes;
                Ok(())
            }
            Err(_) => Err(io::Error::from_raw_os_error(-result)),
        };
        if result.is_ok() && sent < data.len() {
            if !closing {
                self.ring.counters.resends += 1;
                let key = self.ring.start(Flight::Send { token, conn, socket, data, sent });
                self.connection(conn).send = Some(key);
                return;
            }
            let result = Err(io::ErrorKind::ConnectionAborted.into());
            self.complete(token, Outcome::Sent { conn: ConnId(conn), data, result });
        } else {
            self.complete(token, Outcome::Sent { conn: ConnId(conn), data, result });
        }
        self.finish_leaving(conn);
    }

    pub(super) fn received(&mut self, conn: u64, event: Event) {
        let ended = event.ended.is_some();
        let state = self.connection(conn).receive;
        let token = match state {
            Receive::Armed { token, .. } => token,
            Receive::Stopping { token, again, .. } => again.unwrap_or(token),
            Receive::Idle | Receive::Starved { .. } => {
                unreachable!("nothing comes for a receive that is not in flight")
            }
        };
        let bytes = u32::try_from(event.result).unwrap_or(0);
        if let Some(buffer) = cqueue::buffer_select(event.flags) {
            let chunk = self.ring.receive.take(buffer, bytes);
            if bytes > 0 {
                self.ring.counters.bytes += u64::from(bytes);
                self.complete(token, Outcome::Received { conn: ConnId(conn), chunk });
            } else {
                self.ring.receive.release(chunk);
            }
        }
        if ended {
            self.receive_ended(conn, token, event.result);
        }
    }

    /// The receive on `conn` is not in flight any more, with `result` as its last one.
    fn receive_ended(&mut self, conn: u64, token: Token, result: i32) {
        let connection = self.connection(conn);
        let closing = connection.is_closing();
        let before = std::mem::replace(&mut connection.receive, Receive::Idle);
        let stopped = matches!(before, Receive::Stopping { again: None, .. });
        match -result {
            _ if closing => self.complete(token, Outcome::Failed(io::ErrorKind::ConnectionAborted.into())),
            0 => self.complete(token, Outcome::Received { conn: ConnId(conn), chunk: END }),
            // Also without an error the kernel may end a receive, for example when its completion queue was full.
            error if error < 0 || error == libc::ECANCELED || error == libc::ENOBUFS => {
                self.ring.counters.enobufs += u64::from(error == libc::ENOBUFS);
                if stopped {
                    // Whoever has stopped it does not wait for an end.
                } else if error == libc::ENOBUFS && self.ring.receive.are_all_held() {
                    self.connection(conn).receive = Receive::Starved { token };
                    self.starved.push(conn);
                } else {
                    // The buffer that was missing may have been released before this was seen.
                    self.arm(conn, token);
                }
            }
            error => self.complete(token, Outcome::Failed(io::Error::from_raw_os_error(error))),
        }
        self.finish_leaving(conn);
    }

    fn arm(&mut self, conn: u64, token: Token) {
        let socket = self.connection(conn).fd();
        let key = self.ring.start(Flight::Receive { conn, socket });
        self.connection(conn).receive = Receive::Armed { token, key };
    }

    pub(super) fn release_chunk(&mut self, chunk: Chunk) {
        self.ring.receive.release(chunk);
        // All of them try again: those that find no buffer cost one completion each, and none is forgotten.
        let mut starved = std::mem::take(&mut self.starved);
        for conn in starved.drain(..) {
            if let Some(Receive::Starved { token }) = self.connections.get(conn).map(|connection| connection.receive) {
                self.arm(conn, token);
            }
        }
        self.starved = starved;
    }

    pub(super) fn detach(&mut self, token: Token, conn: ConnId) {
        self.stop_receive(conn);
        match self.open_connection(conn.0) {
            Some(connection) => {
                connection.leaving = Some(Leaving::Detach(token));
                self.finish_leaving(conn.0);
            }
            None => self.complete(token, Outcome::Failed(io::ErrorKind::NotConnected.into())),
        }
    }

    pub(super) fn attach_connection(&mut self, socket: OwnedFd) -> ConnId {
        // Another driver may have made it non-blocking, with which operations on the ring would fail instead of waiting. It
        // cannot fail on an open descriptor.
        let _ = rustix::io::ioctl_fionbio(&socket, false);
        ConnId(self.connections.insert(Connection::new(socket)))
    }

    fn finish_leaving(&mut self, conn: u64) {
        let connection = self.connection(conn);
        let Some(leaving) = connection.leaving.filter(|_| connection.is_quiet()) else { return };
        let socket = self.connections.remove(conn).expect("just seen").socket;
        match leaving {
            Leaving::Close(token) => self.complete(token, Outcome::Done),
            Leaving::Detach(token) => self.complete(token, Outcome::Detached { conn: ConnId(conn), socket }),
        }
    }

    /// A connection that exists because something is or was just in flight on it.
    fn connection(&mut self, conn: u64) -> &mut Connection {
        self.connections.get_mut(conn).expect("a connection stays while operations are in flight on it")
    }

    fn open_connection(&mut self, conn: u64) -> Option<&mut Connection> {
        self.connections.get_mut(conn).filter(|connection| connection.leaving.is_none())
    }
}
