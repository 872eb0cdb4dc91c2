//! The driver: dispatches operations, and looks after the sockets and the threads.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::connection::{Connection, Listener};
use super::disk::OpenFile;
use super::net::WAKE;
use super::options::{Counters, Options};
use super::pool::{Direction, Pool};
use super::receive::ReceiveBuffers;
use super::wake::WakeUp;
use crate::base::Instant;
use crate::io::Driver;
use crate::io::clock;
use crate::io::op::{Chunk, Completion, ConnId, FileId, ListenerId, Op, Outcome, Token};
use crate::io::peer_timeout::PeerTimeout;
use crate::io::slab::Slab;
use crate::io::worker::{Job, Worker};

/// [`Driver`] on epoll and threads.
///
/// Dropping it waits for the reads and writes that a thread has begun, and forgets the others.
pub struct EpollDriver {
    // The threads come first: they end before anything else goes.
    pub(super) writers: Pool,
    pub(super) readers: Pool,
    pub(super) worker: Worker,
    pub(super) poll: mio::Poll,
    pub(super) events: mio::Events,
    pub(super) receive: ReceiveBuffers,
    pub(super) listeners: Vec<Listener>,
    pub(super) connections: Slab<Connection>,
    /// Connections that may have something for an armed receive, each once.
    pub(super) to_be_read: VecDeque<u64>,
    /// Connections of the last events on which a send or an opening may go on; kept for its memory.
    pub(super) writable: Vec<u64>,
    pub(super) files: BTreeMap<FileId, OpenFile>,
    pub(super) next_file: u32,
    pub(super) counters: Counters,
    /// What every connection gets.
    pub(super) peer_timeout: PeerTimeout,
    wake: Arc<WakeUp>,
    /// What has completed and was not yet reported.
    ready: Vec<Completion>,
    /// Let go last, when no thread writes any more.
    held: Vec<OwnedFd>,
}

impl EpollDriver {
    /// A driver.
    ///
    /// # Errors
    /// The kernel has no descriptor or memory left.
    ///
    /// # Panics
    /// When one of the sizes is zero.
    pub fn new(options: Options) -> io::Result<Self> {
        assert!(options.events > 0, "a poll takes events");
        let poll = mio::Poll::new()?;
        let wake = Arc::new(WakeUp::new(poll.registry(), WAKE)?);
        Ok(Self {
            writers: Pool::new("naxos-write", options.write_threads, &wake),
            readers: Pool::new("naxos-read", options.read_threads, &wake),
            worker: Worker::new(Waker::from(Arc::clone(&wake))),
            poll,
            events: mio::Events::with_capacity(options.events.into()),
            receive: ReceiveBuffers::new(options.receive_buffers, options.receive_buffer_bytes),
            listeners: Vec::new(),
            connections: Slab::new(),
            to_be_read: VecDeque::new(),
            writable: Vec::new(),
            files: BTreeMap::new(),
            next_file: 0,
            counters: Counters::default(),
            peer_timeout: PeerTimeout::default(),
            wake,
            ready: Vec::new(),
            held: Vec::new(),
        })
    }

    /// What the driver has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many threads read and write its files; they are started when there is work for them.
    pub fn threads(&self) -> usize {
        self.writers.threads() + self.readers.threads()
    }

    /// Keeps a file description, and a lock on it, until this driver's last write has ended, also when the process is
    /// killed (P9): a thread in a direct write cannot be interrupted, and the descriptors of a process are closed when its
    /// last thread has ended.
    pub fn hold(&mut self, file: OwnedFd) {
        self.held.push(file);
    }

    pub(super) fn complete(&mut self, token: Token, outcome: Outcome) {
        self.ready.push(Completion { token, outcome });
    }

    /// Looks for events, for at most `timeout`; that a signal came is not an error.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.polls += 1;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

impl Driver for EpollDriver {
    fn set_peer_timeout(&mut self, timeout: Duration) {
        self.peer_timeout = PeerTimeout::after(timeout);
    }

    fn submit(&mut self, token: Token, op: Op) {
        match op {
            Op::List { directory } => self.start_job(token, Job::List { directory }),
            Op::Open { path } => self.start_job(token, Job::Open { path }),
            Op::Prepare { path, bytes } => self.start_job(token, Job::Prepare { path, bytes }),
            Op::Remove { path } => self.start_job(token, Job::Remove { path }),
            Op::CloseFile { file } => self.close_file(token, file),
            Op::Read { file, offset, buf } => self.transfer(token, Direction::Read, file, offset, buf),
            Op::Write { file, offset, buf } => self.transfer(token, Direction::Write, file, offset, buf),
            Op::Accept { listener } => self.accept(token, listener),
            Op::Connect { address } => self.connect(token, address),
            Op::Receive { conn } => self.receive(token, conn),
            Op::StopReceive { conn } => self.stop_receive(conn),
            Op::Send { conn, data } => self.send(token, conn, data),
            Op::Detach { conn } => self.detach(token, conn),
            Op::CloseConn { conn } => self.close_connection(token, conn),
        }
    }

    fn wait(&mut self, deadline: Option<Instant>, completions: &mut Vec<Completion>) -> io::Result<()> {
        let before = completions.len();
        loop {
            self.collect_from_threads();
            completions.append(&mut self.ready);
            let rest = deadline.map(|deadline| deadline.since(self.now()));
            let idle = completions.len() == before && !self.has_work() && rest.is_none_or(|rest| !rest.is_zero());
            let sleep = idle && self.wake.flag.prepare_to_sleep();
            let looked = self.look(if sleep { rest } else { Some(Duration::ZERO) });
            let woken = self.wake.flag.awake() || idle && !sleep;
            looked?;
            self.handle_events();
            self.take_from_sockets();
            self.collect_from_threads();
            completions.append(&mut self.ready);
            if !idle || woken || completions.len() > before {
                return Ok(());
            }
        }
    }

    fn now(&self) -> Instant {
        clock::now()
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        self.start_listening(address)
    }

    fn chunk(&self, chunk: &Chunk) -> &[u8] {
        self.receive.bytes(chunk)
    }

    fn release(&mut self, chunk: Chunk) {
        self.receive.release(chunk);
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.wake))
    }

    fn attach(&mut self, socket: OwnedFd) -> ConnId {
        self.attach_connection(socket)
    }
}
