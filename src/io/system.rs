//! The drivers of real sockets and files as one type: the choice between them is made when the program runs.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::Waker;
use std::time::Duration;

use super::device::Volume;
use super::epoll::{self, EpollDriver};
use super::local::{LocalConnections, LocalListener};
use super::op::{Chunk, Completion, ConnId, ListenerId, Op, Token};
use super::uring::{self, UringDriver};
use super::{CoreTime, Driver, DriverKind, PipeEnd};
use crate::base::Instant;

/// A driver of the kind that was chosen, and its connections within this process.
pub struct SystemDriver {
    kind: Kind,
    local: LocalConnections,
}

enum Kind {
    Uring(UringDriver),
    Epoll(EpollDriver),
}

impl SystemDriver {
    /// A driver of this kind, with the usual sizes, for the calling thread.
    ///
    /// # Errors
    /// The kernel refuses it, or has no descriptor or memory left.
    pub fn open(kind: DriverKind) -> io::Result<Self> {
        let kind = match kind {
            DriverKind::Uring => Kind::Uring(UringDriver::new(uring::Options::default())?),
            DriverKind::Epoll => Kind::Epoll(EpollDriver::new(epoll::Options::default())?),
        };
        Ok(Self { kind, local: LocalConnections::default() })
    }

    /// Connects with this one through memory, as long as somebody is there.
    pub fn connect_locally(&mut self, listener: LocalListener) {
        self.local.set_listener(listener);
    }

    /// From now on the files of the volume's directory are on its device.
    ///
    /// # Panics
    /// When files were used before.
    pub fn mount(&mut self, volume: Volume) {
        match &mut self.kind {
            Kind::Uring(driver) => driver.mount(volume),
            Kind::Epoll(driver) => driver.mount(volume),
        }
    }

    /// Keeps a file description, and a lock on it, until the driver's last operation has ended, also when the process is
    /// killed (P9).
    ///
    /// # Errors
    /// The kernel cannot promise that.
    pub fn hold(&mut self, file: OwnedFd) -> io::Result<()> {
        match &mut self.kind {
            Kind::Uring(driver) => driver.hold(file),
            Kind::Epoll(driver) => {
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
            Kind::Uring($inner) => $action,
            Kind::Epoll($inner) => $action,
        }
    };
}

impl Driver for SystemDriver {
    fn set_peer_timeout(&mut self, timeout: Duration) {
        either!(&mut self.kind, driver => driver.set_peer_timeout(timeout));
    }

    fn submit(&mut self, token: Token, op: Op) {
        let kind = &self.kind;
        if let Some(op) = self.local.submit(token, op, || either!(kind, driver => driver.waker())) {
            either!(&mut self.kind, driver => driver.submit(token, op));
        }
    }

    fn wait(&mut self, deadline: Option<Instant>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.local.collect(completions);
        let deadline = if completions.is_empty() { deadline } else { Some(Instant::ORIGIN) };
        either!(&mut self.kind, driver => driver.wait(deadline, completions))?;
        self.local.collect(completions);
        Ok(())
    }

    fn now(&self) -> Instant {
        either!(&self.kind, driver => driver.now())
    }

    fn clock(&self) -> Option<fn() -> Instant> {
        Some(super::clock::now)
    }

    fn core_time(&self) -> Option<CoreTime> {
        Some(super::clock::core_time())
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        either!(&mut self.kind, driver => driver.listen(address))
    }

    fn chunk(&self, chunk: &Chunk) -> &[u8] {
        if chunk.is_local() {
            return self.local.chunk(chunk);
        }
        either!(&self.kind, driver => driver.chunk(chunk))
    }

    fn release(&mut self, chunk: Chunk) {
        if chunk.is_local() {
            return self.local.release(&chunk);
        }
        either!(&mut self.kind, driver => driver.release(chunk));
    }

    fn waker(&self) -> Waker {
        either!(&self.kind, driver => driver.waker())
    }

    fn attach(&mut self, socket: OwnedFd) -> ConnId {
        either!(&mut self.kind, driver => driver.attach(socket))
    }

    fn join(&mut self, end: PipeEnd) -> ConnId {
        let waker = self.waker();
        self.local.join(end, None, &waker)
    }
}
