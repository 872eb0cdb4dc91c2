//! What the driver knows of each connection and listener.

use std::os::fd::OwnedFd;

use crate::io::op::{ConnId, Outcome, Token};

/// A connection, from its first operation until it is closed.
///
/// It is registered once, for both directions and edge-triggered: an event says that something has changed, and the flags
/// here remember it until the kernel has nothing more (`EAGAIN`, or less than was asked for).
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    /// Set while the connection is being opened.
    pub(super) connecting: Option<Token>,
    /// Set while receiving is asked for.
    pub(super) receive: Option<Token>,
    /// The kernel may have bytes.
    pub(super) readable: bool,
    /// The peer has ended the stream or the connection has failed: no further event need come, so that only the kernel's
    /// own answer ends receiving.
    pub(super) hung_up: bool,
    /// Whether it is in the driver's queue of connections to receive from.
    pub(super) queued: bool,
    /// The send in flight.
    pub(super) send: Option<Sending>,
    /// Set when it is to be handed over as soon as nothing is in flight; until then nothing new is taken.
    pub(super) detaching: Option<Token>,
}

/// A send in flight.
pub(super) struct Sending {
    pub(super) token: Token,
    pub(super) data: Vec<u8>,
    pub(super) sent: usize,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, connecting: Option<Token>) -> Self {
        Self {
            socket,
            connecting,
            receive: None,
            // The first event after the registration says so, if it is.
            readable: false,
            hung_up: false,
            queued: false,
            send: None,
            detaching: None,
        }
    }

    /// Whether a receive would bring something, or has to find out that it does not.
    pub(super) fn is_to_be_read(&self) -> bool {
        self.readable && self.receive.is_some()
    }
}

impl Sending {
    /// The completion of this send.
    pub(super) fn outcome(self, conn: ConnId, result: std::io::Result<()>) -> (Token, Outcome) {
        (self.token, Outcome::Sent { conn, data: self.data, result })
    }
}

/// A listening socket.
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    /// Set while accepting is asked for.
    pub(super) accept: Option<Token>,
    /// Connections may wait.
    pub(super) readable: bool,
}
