//! What the driver knows of each connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::io::op::Token;

/// How many connections may wait to be accepted.
const LISTEN_BACKLOG: i32 = 1024;

/// A connection, from its first operation until it is closed.
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) receive: Receive,
    /// The send in flight.
    pub(super) send: Option<u64>,
    /// What happens when nothing is in flight any more; until then nothing new is taken.
    pub(super) leaving: Option<Leaving>,
}

/// How a connection leaves the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Close(Token),
    Detach(Token),
}

/// The state of receiving on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// Not asked for, ended or stopped.
    Idle,
    /// In flight.
    Armed { token: Token, key: u64 },
    /// Asked for, and waiting for a free buffer.
    Starved { token: Token },
    /// In flight and being canceled; to go on as `again` when that is set.
    Stopping { token: Token, key: u64, again: Option<Token> },
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, receive: Receive::Idle, send: None, leaving: None }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.leaving, Some(Leaving::Close(_)))
    }

    /// Whether nothing is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.receive == Receive::Idle && self.send.is_none()
    }
}

/// A socket on which to connect to `peer`. Sockets stay blocking: on the ring that costs no thread, and spares retries.
pub(super) fn connecting_socket(peer: SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream_socket(peer)?;
    prepare_stream(&socket)?;
    Ok(socket)
}

/// A listening socket, and the address that it has got.
pub(super) fn listening_socket(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = stream_socket(address)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, LISTEN_BACKLOG)?;
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, bound))
}

/// Who is at the other end; an error when nobody is any more.
pub(super) fn peer_of(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let peer = rustix::net::getpeername(socket)?.ok_or(io::ErrorKind::NotConnected)?;
    Ok(SocketAddr::try_from(peer)?)
}

/// Small frames must leave at once: the sender has coalesced what it could, so neither Nagle's algorithm nor pacing has a place
/// here. BBR, a common default, paces by timers.
pub(super) fn prepare_stream(socket: &OwnedFd) -> io::Result<()> {
    // Where the kernel does not have it, the machine's default does.
    let _ = rustix::net::sockopt::set_tcp_congestion(socket, "cubic");
    Ok(rustix::net::sockopt::set_tcp_nodelay(socket, true)?)
}

fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}
