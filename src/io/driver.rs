use std::io;
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use super::PipeEnd;
use super::op::{Chunk, Completion, ConnId, ListenerId, Op, Token};
use crate::base::Instant;

/// What a thread has had of the cores since it began.
#[derive(Clone, Copy, Debug)]
pub struct CoreTime {
    /// How long it was on one, in the kernel as well.
    pub used: Duration,
    /// How long it was ready to run and had none, if the kernel tells.
    pub delayed: Option<Duration>,
}

/// Carries out operations and reports their completions. One driver belongs to one thread.
///
/// Nothing in here blocks except [`Driver::wait`]. Dropping a driver waits for, or abandons safely, whatever is in flight:
/// memory in use by the kernel is never freed.
pub trait Driver {
    /// Queues an operation; it starts at the latest at the next [`Driver::wait`]. The operation's memory belongs to the driver
    /// until its completion.
    fn submit(&mut self, token: Token, op: Op);

    /// Starts what is queued, waits for at least one completion, a wake-up or `deadline` (for ever when `None`, not at all
    /// when it has passed), and appends what has completed to `completions`.
    ///
    /// # Errors
    /// The driver itself has failed and nothing more will complete.
    fn wait(&mut self, deadline: Option<Instant>, completions: &mut Vec<Completion>) -> io::Result<()>;

    /// The driver's clock.
    fn now(&self) -> Instant;

    /// The same clock for any thread; none where time is simulated.
    fn clock(&self) -> Option<fn() -> Instant> {
        None
    }

    /// What the driver's thread has had of the cores; none where time is simulated.
    fn core_time(&self) -> Option<CoreTime> {
        None
    }

    /// Listens on an address; port 0 takes a free one. Returns the address in use.
    ///
    /// # Errors
    /// The address cannot be bound.
    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)>;

    /// The bytes of a received chunk.
    fn chunk(&self, chunk: &Chunk) -> &[u8];

    /// Gives a chunk's memory back, to receive into it again.
    fn release(&mut self, chunk: Chunk);

    /// Ends a [`Driver::wait`] from another thread.
    fn waker(&self) -> Waker;

    /// How long the peers of connections made or accepted from now on may be silent before their connection fails; none is
    /// timed out before this is called.
    fn set_peer_timeout(&mut self, timeout: Duration);

    /// Takes in a connection that another driver has detached ([`Op::Detach`]).
    ///
    /// # Panics
    /// Where connections cannot be handed over.
    fn attach(&mut self, socket: std::os::fd::OwnedFd) -> ConnId;

    /// Takes in the end of a connection within this process.
    ///
    /// # Panics
    /// Where there are no such connections.
    fn join(&mut self, _: PipeEnd) -> ConnId {
        panic!("this driver has no connections within the process")
    }
}
