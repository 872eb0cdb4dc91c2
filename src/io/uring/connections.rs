//! What the driver knows of each connection.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::io::op::Token;

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
