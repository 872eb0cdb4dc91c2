//! How sockets are made, and made ready, for every driver of real ones.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// How many connections may wait to be accepted.
const LISTEN_BACKLOG: i32 = 1024;

/// What an operation on a socket does that cannot be carried out yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocking {
    /// It waits: on a ring that costs no thread, and spares retries.
    Yes,
    /// It fails with `EAGAIN`.
    No,
}

impl Blocking {
    /// The flags of a socket that is made so.
    pub(super) fn flags(self) -> SocketFlags {
        match self {
            Self::Yes => SocketFlags::CLOEXEC,
            Self::No => SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        }
    }
}

/// A socket on which to connect to `peer`.
pub(super) fn connecting_socket(peer: SocketAddr, blocking: Blocking) -> io::Result<OwnedFd> {
    let socket = stream_socket(peer, blocking)?;
    prepare_stream(&socket)?;
    Ok(socket)
}

/// A listening socket, and the address that it has got.
pub(super) fn listening_socket(address: SocketAddr, blocking: Blocking) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = stream_socket(address, blocking)?;
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

fn stream_socket(address: SocketAddr, blocking: Blocking) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(rustix::net::socket_with(family, SocketType::STREAM, blocking.flags(), None)?)
}

/// Whether an accept has failed for want of something that a later one may find, and not because of its connection. To try
/// again at once would spin for as long as the connection waits.
pub(super) fn is_lack_of_resources(error: i32) -> bool {
    matches!(error, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EINVAL | libc::EBADF)
}
