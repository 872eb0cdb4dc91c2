//! The drivers of real sockets and files as one type: the choice between them is made when the program runs.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::Waker;
use std::time::Duration;

use super::epoll::{self, EpollDriver};
use super::op::{Chunk, Completion, ConnId, ListenerId, Op, Token};
use super::uring::{self, UringDriver};
use super::{Driver, DriverKind};
use crate::base::Instant;

/// A driver of the kind that was chosen.
pub enum SystemDriver {
    /// On io_uring.
    Uring(UringDriver),
    /// On epoll and threads.
    Epoll(EpollDriver),
}

impl SystemDriver {
    /// A driver of this kind, with the usual sizes, for the calling thread.
    ///
    /// # Errors
    /// The kernel refuses it, or has no descriptor or memory left.
    pub fn open(kind: DriverKind) -> io::Result<Self> {
        Ok(match kind {
            DriverKind::Uring => Self::Uring(UringDriver::new(uring::Options::default())?),
            DriverKind::Epoll => Self::Epoll(EpollDriver::new(epoll::Options::default())?),
        })
    }

    /// Keeps a file description, and a lock on it, until the driver's last operation has ended, also when the process is
    /// killed (P9).
    ///
    /// # Errors
    /// The kernel cannot promise that.
    pub fn hold(&mut self, file: OwnedFd) -> io::Result<()> {
        match self {
            Self::Uring(driver) => driver.hold(file),
            Self::Epoll(driver) => {
                driver.hold(file);
                Ok(())
            }
        }
    }
}

/// Does the same with whichever driver it is.
macro_rules! either {
    ($driver:expr, $inner:ident => $action:expr) => {
        match $driver {
            SystemDriver::Uring($inner) => $action,
            SystemDriver::Epoll($inner) => $action,
        }
    };
}

impl Driver for SystemDriver {
    fn set_peer_timeout(&mut self, timeout: Duration) {
        either!(self, driver => driver.set_peer_timeout(timeout));
    }

    fn submit(&mut self, token: Token, op: Op) {
        either!(self, driver => driver.submit(token, op));
    }

    fn wait(&mut self, deadline: Option<Instant>, completions: &mut Vec<Completion>) -> io::Result<()> {
        either!(self, driver => driver.wait(deadline, completions))
    }

    fn now(&self) -> Instant {
        either!(self, driver => driver.now())
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        either!(self, driver => driver.listen(address))
    }

    fn chunk(&self, chunk: &Chunk) -> &[u8] {
        either!(self, driver => driver.chunk(chunk))
    }

    fn release(&mut self, chunk: Chunk) {
        either!(self, driver => driver.release(chunk));
    }

    fn waker(&self) -> Waker {
        either!(self, driver => driver.waker())
    }

    fn attach(&mut self, socket: OwnedFd) -> ConnId {
        either!(self, driver => driver.attach(socket))
    }
}
