//! Sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use mio::unix::SourceFd;
use mio::{Interest, Token as EventToken};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::connection::{Connection, Listener, Sending};
use super::driver::EpollDriver;
use crate::io::op::{ConnId, ListenerId, Outcome, Token};
use crate::io::sockets::{self, Blocking};

/// The event that ends a wait.
pub(super) const WAKE: EventToken = EventToken(usize::MAX);
/// Events of listeners are numbered downwards from here; events of connections have the connection's key, which never comes
/// near: its lower half counts the connections that exist at once.
const LISTENERS: usize = usize::MAX - 1;
/// Most chunks received from one connection before the others have their turn.
const CHUNKS_PER_TURN: usize = 4;
/// Most connections accepted from one listener before others have their turn.
const ACCEPTS_PER_TURN: usize = 64;

impl EpollDriver {
    pub(super) fn start_listening(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let (socket, bound) = sockets::listening_socket(address, Blocking::No)?;
        let id = self.listeners.len();
        let source = socket.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&source), EventToken(LISTENERS - id), Interest::READABLE)?;
        self.listeners.push(Listener { socket, accept: None, readable: false });
        Ok((ListenerId(id as u32), bound))
    }

    pub(super) fn accept(&mut self, token: Token, listener: ListenerId) {
        match self.listeners.get_mut(listener.0 as usize) {
            Some(listener) => listener.accept = Some(token),
            None => self.complete(token, Outcome::Failed(io::ErrorKind::NotConnected.into())),
        }
    }

    pub(super) fn connect(&mut self, token: Token, address: SocketAddr) {
        if let Err(error) = self.try_connect(token, address) {
            self.complete(token, Outcome::Failed(error));
        }
    }

    fn try_connect(&mut self, token: Token, address: SocketAddr) -> io::Result<()> {
        let socket = sockets::connecting_socket(address, Blocking::No)?;
        let connected = match rustix::net::connect(&socket, &address) {
            Ok(()) => true,
            Err(Errno::INPROGRESS | Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        let conn = self.take_in_connection(Connection::new(socket, (!connected).then_some(token)))?;
        if connected {
            self.complete(token, Outcome::Connected { conn });
        }
        Ok(())
    }

    /// Registers a connection, once for all its life.
    fn take_in_connection(&mut self, connection: Connection) -> io::Result<ConnId> {
        // Without it the connection works, and a peer that vanishes is noticed late.
        let _ = self.peer_timeout.set_on(&connection.socket);
        let socket = connection.socket.as_raw_fd();
        let key = self.connections.insert(connection);
        if let Err(error) = self.watch(key, socket) {
            self.connections.remove(key);
            return Err(error);
        }
        Ok(ConnId(key))
    }

    fn watch(&self, key: u64, socket: RawFd) -> io::Result<()> {
        let event = EventToken(usize::try_from(key).expect("keys have 64 bits, as addresses do"));
        self.poll.registry().register(&mut SourceFd(&socket), event, Interest::READABLE | Interest::WRITABLE)
    }

    pub(super) fn receive(&mut self, token: Token, ConnId(conn): ConnId) {
        let Some(connection) = self.open_connection(conn) else {
            return self.complete(token, Outcome::Failed(io::ErrorKind::NotConnected.into()));
        };
        connection.receive = Some(token);
        self.queue_if_readable(conn);
    }

    pub(super) fn stop_receive(&mut self, ConnId(conn): ConnId) {
        if let Some(connection) = self.open_connection(conn) {
            connection.receive = None;
        }
    }

    pub(super) fn send(&mut self, token: Token, ConnId(conn): ConnId, data: Vec<u8>) {
        let Some(connection) = self.open_connection(conn) else {
            let result = Err(io::ErrorKind::NotConnected.into());
            return self.complete(token, Outcome::Sent { conn: ConnId(conn), data, result });
        };
        assert!(connection.send.is_none(), "at most one send is in flight for each connection");
        connection.send = Some(Sending { token, data, sent: 0 });
        self.go_on_sending(conn);
    }

    /// Sends until all has left or the kernel takes no more: then an event says when it does again.
    fn go_on_sending(&mut self, conn: u64) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(sending) = &mut connection.send else { return };
        let result = loop {
            let rest = &sending.data[sending.sent..];
            if rest.is_empty() {
                break Ok(());
            }
            match rustix::net::send(&connection.socket, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    sending.sent += bytes;
                    self.counters.bytes += bytes as u64;
                    self.counters.resends += u64::from(sending.sent < sending.data.len());
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => break Err(error.into()),
            }
        };
        let sending = connection.send.take().expect("just seen");
        let (token, outcome) = sending.outcome(ConnId(conn), result);
        self.complete(token, outcome);
        self.finish_detaching(conn);
    }

    pub(super) fn close_connection(&mut self, token: Token, ConnId(conn): ConnId) {
        if self.open_connection(conn).is_some() {
            let connection = self.remove_connection(conn);
            let aborted = || io::Error::from(io::ErrorKind::ConnectionAborted);
            if let Some(receive) = connection.receive {
                self.complete(receive, Outcome::Failed(aborted()));
            }
            if let Some(sending) = connection.send {
                let (token, outcome) = sending.outcome(ConnId(conn), Err(aborted()));
                self.complete(token, outcome);
            }
        }
        self.complete(token, Outcome::Done);
    }

    pub(super) fn detach(&mut self, token: Token, ConnId(conn): ConnId) {
        match self.open_connection(conn) {
            Some(connection) => {
                connection.receive = None;
                connection.detaching = Some(token);
                self.finish_detaching(conn);
            }
            None => self.complete(token, Outcome::Failed(io::ErrorKind::NotConnected.into())),
        }
    }

    fn finish_detaching(&mut self, conn: u64) {
        let Some(connection) = self.connections.get(conn) else { return };
        let Some(token) = connection.detaching.filter(|_| connection.send.is_none()) else { return };
        let socket = self.remove_connection(conn).socket;
        self.complete(token, Outcome::Detached { conn: ConnId(conn), socket });
    }

    pub(super) fn attach_connection(&mut self, socket: OwnedFd) -> ConnId {
        // Another driver may have made it blocking. It cannot fail on an open descriptor.
        let _ = rustix::io::ioctl_fionbio(&socket, true);
        let key = self.connections.insert(Connection::new(socket, None));
        let connection = self.connections.get_mut(key).expect("just inserted");
        let socket = connection.socket.as_raw_fd();
        if let Err(error) = self.watch(key, socket) {
            tracing::warn!(%error, "a connection cannot be watched, and ends");
            let connection = self.connections.get_mut(key).expect("just inserted");
            // It fails only when the peer has ended it already. The next receive finds the end without any event.
            let _ = rustix::net::shutdown(&connection.socket, rustix::net::Shutdown::Both);
            (connection.readable, connection.hung_up) = (true, true);
        }
        ConnId(key)
    }

    fn remove_connection(&mut self, conn: u64) -> Connection {
        let connection = self.connections.remove(conn).expect("just seen");
        let source = connection.socket.as_raw_fd();
        // It fails only for what is not registered, and this is.
        let _ = self.poll.registry().deregister(&mut SourceFd(&source));
        connection
    }

    /// Remembers what the events of the last poll say, and carries on what waited for them.
    pub(super) fn handle_events(&mut self) {
        for event in self.events.iter() {
            if event.token() == WAKE {
                continue;
            }
            // A key of a connection that has gone finds nothing.
            if let Some(connection) = self.connections.get_mut(event.token().0 as u64) {
                let failed = event.is_error();
                connection.hung_up |= failed || event.is_read_closed();
                connection.readable |= failed || event.is_readable() || event.is_read_closed();
                let writable = failed || event.is_writable() || event.is_write_closed();
                if writable && (connection.send.is_some() || connection.connecting.is_some()) {
                    self.writable.push(event.token().0 as u64);
                }
                if connection.is_to_be_read() && !connection.queued {
                    connection.queued = true;
                    self.to_be_read.push_back(event.token().0 as u64);
                }
            } else if let Some(listener) = self.listeners.get_mut(LISTENERS.wrapping_sub(event.token().0)) {
                listener.readable = true;
            }
        }
        while let Some(conn) = self.writable.pop() {
            self.connect_has_ended(conn);
            self.go_on_sending(conn);
        }
    }

    fn connect_has_ended(&mut self, conn: u64) {
        let Some(connection) = self.connections.get(conn) else { return };
        let Some(token) = connection.connecting else { return };
        let result = rustix::net::sockopt::socket_error(&connection.socket);
        if let Ok(Err(error)) | Err(error) = result {
            self.remove_connection(conn);
            return self.complete(token, Outcome::Failed(error.into()));
        }
        // An event may come before the connection is there.
        if rustix::net::getpeername(&connection.socket).is_ok() {
            self.connections.get_mut(conn).expect("just seen").connecting = None;
            self.complete(token, Outcome::Connected { conn: ConnId(conn) });
        }
    }

    /// Whether there is something to accept or receive now, without any event.
    pub(super) fn has_work(&self) -> bool {
        let to_accept = self.listeners.iter().any(|listener| listener.readable && listener.accept.is_some());
        to_accept || !self.to_be_read.is_empty() && !self.receive.are_all_held()
    }

    /// Accepts and receives what is there, each connection in its turn and within its share.
    pub(super) fn take_from_sockets(&mut self) {
        for index in 0..self.listeners.len() {
            self.accept_waiting(index);
        }
        for _ in 0..self.to_be_read.len() {
            let conn = self.to_be_read.pop_front().expect("counted");
            if self.receive.are_all_held() && self.connections.get(conn).is_some_and(Connection::is_to_be_read) {
                // The others behind it could not receive either. It has the first buffer that is released.
                self.counters.enobufs += 1;
                self.to_be_read.push_front(conn);
                return;
            }
            if let Some(connection) = self.connections.get_mut(conn) {
                connection.queued = false;
                self.receive_waiting(conn);
                self.queue_if_readable(conn);
            }
        }
    }

    fn queue_if_readable(&mut self, conn: u64) {
        if let Some(connection) = self.connections.get_mut(conn)
            && connection.is_to_be_read()
            && !connection.queued
        {
            connection.queued = true;
            self.to_be_read.push_back(conn);
        }
    }

    fn receive_waiting(&mut self, conn: u64) {
        for _ in 0..CHUNKS_PER_TURN {
            let connection = self.connections.get_mut(conn).expect("it stays while it is read from");
            if !connection.is_to_be_read() || self.receive.are_all_held() {
                return;
            }
            let token = connection.receive.expect("just seen");
            match self.receive.fill(&connection.socket) {
                Ok(chunk) => {
                    if chunk.is_end() {
                        connection.receive = None;
                    } else if self.receive.is_short(&chunk) && !connection.hung_up {
                        // What comes later brings an event of its own.
                        connection.readable = false;
                    }
                    self.counters.bytes += u64::from(chunk.len);
                    self.complete(token, Outcome::Received { conn: ConnId(conn), chunk });
                }
                Err(Errno::AGAIN) => connection.readable = false,
                Err(Errno::INTR) => {}
                Err(error) => {
                    connection.receive = None;
                    self.complete(token, Outcome::Failed(error.into()));
                }
            }
        }
    }

    fn accept_waiting(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let listener = &mut self.listeners[index];
            let Some(token) = listener.accept.filter(|_| listener.readable) else { return };
            match rustix::net::accept_with(&listener.socket, Blocking::No.flags()) {
                Ok(socket) => self.take_in_accepted(token, socket),
                Err(Errno::AGAIN) => listener.readable = false,
                Err(error) if sockets::is_lack_of_resources(error.raw_os_error()) => {
                    listener.accept = None;
                    self.complete(token, Outcome::Failed(error.into()));
                }
                // The peer has gone before it was accepted, or a signal has come.
                Err(_) => {}
            }
        }
    }

    fn take_in_accepted(&mut self, token: Token, socket: OwnedFd) {
        // A peer that has gone already is nobody's concern.
        let Ok(()) = sockets::prepare_stream(&socket) else { return };
        let Ok(peer) = sockets::peer_of(&socket) else { return };
        match self.take_in_connection(Connection::new(socket, None)) {
            Ok(conn) => self.complete(token, Outcome::Accepted { conn, peer }),
            // The kernel has no memory to watch it; the peer sees the connection end.
            Err(error) => tracing::warn!(%error, %peer, "a connection cannot be watched, and is closed"),
        }
    }

    fn open_connection(&mut self, conn: u64) -> Option<&mut Connection> {
        self.connections.get_mut(conn).filter(|connection| connection.detaching.is_none())
    }
}
