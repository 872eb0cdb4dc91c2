//! The driver: dispatches operations to the ring and completions to their owners.

use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::buffers::FixedBuffers;
use super::connections::Connection;
use super::disk::OpenFile;
use super::flight::Flight;
use super::options::{Capabilities, Counters, Options};
use super::ring::{Event, Ring};
use super::wake::WakeUp;
use crate::base::Instant;
use crate::io::Driver;
use crate::io::clock;
use crate::io::op::{Chunk, Completion, ConnId, FileId, ListenerId, Op, Outcome, Token};
use crate::io::peer_timeout::PeerTimeout;
use crate::io::slab::Slab;
use crate::io::worker::{Job, Worker};

/// [`Driver`] on io_uring. It belongs to the thread that has made it.
///
/// Dropping it cancels what is in flight and waits for the kernel. If a device keeps the kernel for too long, the memory in
/// use is leaked.
pub struct UringDriver {
    // The ring comes first: it is dropped before the descriptors that its operations use.
    pub(super) ring: Ring,
    pub(super) buffers: FixedBuffers,
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) connections: Slab<Connection>,
    /// Connections whose receive waits for a buffer.
    pub(super) starved: Vec<u64>,
    pub(super) files: BTreeMap<FileId, OpenFile>,
    pub(super) next_file: u32,
    /// Places in the ring's table of files.
    pub(super) free_files: Vec<u32>,
    fixed_files: bool,
    /// Where the device of the mounted volume is registered.
    pub(super) device: Option<u32>,
    pub(super) worker: Worker,
    wake: Arc<WakeUp>,
    /// What has completed and was not yet reported.
    ready: Vec<Completion>,
    held: Vec<OwnedFd>,
    /// What every connection gets.
    pub(super) peer_timeout: PeerTimeout,
    _one_thread: PhantomData<*const ()>,
}

impl UringDriver {
    /// A driver for the calling thread.
    ///
    /// # Errors
    /// The kernel refuses: io_uring is missing or forbidden (`ENOSYS`, `EPERM`), too old (`Unsupported`), or memory is short.
    ///
    /// # Panics
    /// When the number of receive buffers is not a power of two up to 32768.
    pub fn new(options: Options) -> io::Result<Self> {
        let mut ring = Ring::new(&options)?;
        let buffers = FixedBuffers::new(&ring.submitter(), options.fixed_buffers);
        let files = register_files(&ring.submitter(), options.fixed_files);
        let fixed_files = files > 0;
        let free_files = (0..files).rev().collect();
        let wake = Arc::new(WakeUp::new()?);
        ring.start(Flight::Wake { event: wake.fd(), count: Box::new(0) });
        Ok(Self {
            ring,
            buffers,
            listeners: Vec::new(),
            connections: Slab::new(),
            starved: Vec::new(),
            files: BTreeMap::new(),
            next_file: 0,
            free_files,
            fixed_files,
            device: None,
            worker: Worker::new(Waker::from(Arc::clone(&wake))),
            wake,
            ready: Vec::new(),
            held: Vec::new(),
            peer_timeout: PeerTimeout::default(),
            _one_thread: PhantomData,
        })
    }

    /// Which features of the kernel are in use.
    pub fn describe(&self) -> Capabilities {
        Capabilities {
            setup: self.ring.setup,
            registered_ring: self.ring.is_name_registered(),
            fixed_files: self.fixed_files,
            fixed_buffers: self.buffers.is_usable(),
        }
    }

    /// What the driver has done so far.
    pub fn counters(&self) -> Counters {
        self.ring.counters
    }

    /// Ties a file description to this ring: it, and a lock on it, lasts until the kernel has finished the ring's last
    /// operation, also when the process is killed (P9). The kernel does not wait for a dead process's writes, so that a lock
    /// held by the process alone would let its successor start too early.
    ///
    /// # Errors
    /// The kernel does not register files, or the table of files is full; the lock would not be safe.
    pub fn hold(&mut self, file: OwnedFd) -> io::Result<()> {
        self.register_file(&file).ok_or(io::ErrorKind::Unsupported)?;
        self.held.push(file);
        Ok(())
    }

    pub(super) fn complete(&mut self, token: Token, outcome: Outcome) {
        self.ready.push(Completion { token, outcome });
    }

    fn dispatch(&mut self) {
        while let Some(mut event) = self.ring.next_event() {
            match event.ended.take() {
                Some(Flight::Wake { event, count }) => {
                    self.ring.start(Flight::Wake { event, count });
                }
                Some(Flight::Connect { token, conn, .. }) => self.connected(token, conn, event.result),
                Some(flight @ Flight::Send { .. }) => self.sent(flight, event.result),
                Some(flight @ (Flight::Read(_) | Flight::Write(_))) => self.transferred(flight, event.result),
                Some(flight @ Flight::Accept { .. }) => self.accepted(Event { ended: Some(flight), ..event }),
                Some(Flight::Receive { conn, socket }) => {
                    self.received(conn, Event { ended: Some(Flight::Receive { conn, socket }), ..event });
                }
                None => match self.ring.flight(event.key) {
                    Some(&Flight::Receive { conn, .. }) => self.received(conn, event),
                    Some(Flight::Accept { .. }) => self.accepted(event),
                    _ => unreachable!("only accepts and receives continue"),
                },
            }
        }
    }
}

/// Makes a table of at most `wanted` files and returns its size. The kernel allows no more places than the process may have
/// descriptors.
fn register_files(submitter: &io_uring::Submitter<'_>, wanted: u32) -> u32 {
    let mut places = wanted;
    while places > 0 {
        match submitter.register_files_sparse(places) {
            Ok(()) => break,
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => places /= 2,
            Err(_) => places = 0,
        }
    }
    if 0 < places && places < wanted {
        tracing::warn!(
            places,
            "fewer files than usual are registered with the kernel: the process may have too few descriptors; raise the limit \
             with `ulimit -n`, or LimitNOFILE= in a systemd unit"
        );
    }
    places
}

impl Driver for UringDriver {
    fn submit(&mut self, token: Token, op: Op) {
        match op {
            Op::List { directory } => self.start_job(token, Job::List { directory }),
            Op::Open { path } => self.start_job(token, Job::Open { path }),
            Op::Prepare { path, bytes } => self.start_job(token, Job::Prepare { path, bytes }),
            Op::Remove { path } => self.start_job(token, Job::Remove { path }),
            Op::CloseFile { file } => self.close_file(token, file),
            Op::Read { file, offset, buf } => self.read(token, file, offset, buf),
            Op::Write { file, offset, buf } => self.write(token, file, offset, buf),
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
            self.collect_answers();
            completions.append(&mut self.ready);
            let rest = deadline.map(|deadline| deadline.since(self.now()));
            let idle = completions.len() == before && rest.is_none_or(|rest| !rest.is_zero());
            let sleep = idle && self.wake.flag.prepare_to_sleep();
            let entered = self.ring.enter(u32::from(sleep), rest.filter(|_| sleep));
            let woken = self.wake.flag.awake() || idle && !sleep;
            entered?;
            self.dispatch();
            self.collect_answers();
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
        self.ring.receive.bytes(chunk)
    }

    fn release(&mut self, chunk: Chunk) {
        self.release_chunk(chunk);
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.wake))
    }

    fn set_peer_timeout(&mut self, timeout: Duration) {
        self.peer_timeout = PeerTimeout::after(timeout);
    }

    fn attach(&mut self, socket: OwnedFd) -> ConnId {
        self.attach_connection(socket)
    }
}
