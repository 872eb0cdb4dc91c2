use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::errand::{ErrandReply, Question};
use super::inbox::{Command, Inbox, LogKey};
use super::profile::AppendProfile;
use super::reactor::Reactor;
use super::submission::Submission;
use super::virtual_log::Opening;
use super::{Log, OpError, VirtualLog};
use crate::base::{ClusterId, Incarnation, Instant, Limits, NodeId, RegisterId};
use crate::io::{DriverChoice, LocalListener, Lodger, SystemDriver};
use crate::proto::virtual_log::LogletSpec;
use crate::wire::RegisterMessage;

/// How a client works.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// Its bounds.
    pub limits: Limits,
    /// The core to pin its I/O thread to.
    pub core: Option<usize>,
    /// What it does its input and output with.
    pub driver: DriverChoice,
    /// A node in the same process: whatever is asked of it goes through memory, and the client is near to it.
    pub collocated: Option<Collocated>,
    /// The node that the client is near to, on the same host or in the same rack: records that it has are read from it, and appends go to
    /// the stripes that it sequences, where there are any. Without one, it is the collocated node.
    pub near: Option<NodeId>,
}

/// A node of the same process, as its client needs it.
#[derive(Debug, Clone)]
pub struct Collocated {
    /// Which node.
    pub node: NodeId,
    /// The way to it.
    pub listener: LocalListener,
}

/// Who a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeInfo {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its data directory's identity.
    pub node: NodeId,
    /// The life of its process.
    pub incarnation: Incarnation,
    /// It stores nothing and keeps no registers: it can be no member of the cluster.
    pub sequences_only: bool,
}

/// One I/O thread on which logs are opened. It ends when the client and all its logs are dropped.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) handle: Arc<Handle>,
    /// Ends the thread with the last clone; logs hold only the handle, and find the client closed.
    _thread: Arc<IoThread>,
    pub(super) limits: Limits,
}

/// The way to the reactor, and the numbering of what is opened on it.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) inbox: Arc<Inbox>,
    /// The reactor's clock; none where time is simulated.
    clock: Option<fn() -> Instant>,
    next_key: Mutex<u64>,
}

impl Handle {
    pub(super) fn new(inbox: Arc<Inbox>, clock: Option<fn() -> Instant>) -> Self {
        Self { inbox, clock, next_key: Mutex::new(0) }
    }

    pub(super) fn next_key(&self) -> u64 {
        let mut next = self.next_key.lock().expect("no panic while locked");
        *next += 1;
        *next
    }

    /// Opens a log on the reactor behind this handle.
    pub(super) fn open(self: &Arc<Self>, loglet: LogletSpec, cluster: ClusterId, limits: &Limits) -> Log {
        let log = LogKey(self.next_key());
        let submission = Arc::new(Submission::new(limits.clone(), self.clock));
        self.inbox.push(Command::Open { log, loglet, cluster, submission: submission.clone() });
        Log::new(log, self.clone(), submission)
    }
}

impl Handle {
    /// Opens a virtual log on the reactor behind this handle. No other log has the same seed.
    pub(super) fn open_log(self: &Arc<Self>, opening: Opening, seed: u64, limits: &Limits) -> VirtualLog {
        let log = LogKey(self.next_key());
        let submission = Arc::new(Submission::new(limits.clone(), self.clock));
        self.inbox.push(Command::OpenLog { log, opening, seed, submission: submission.clone() });
        VirtualLog::new(log, self.clone(), submission)
    }
}

#[derive(Debug)]
struct IoThread {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.inbox.push(Command::End);
        if let Some(thread) = self.thread.lock().expect("no panic while locked").take()
            && thread.join().is_err()
        {
            tracing::error!("the client's I/O thread had panicked");
        }
    }
}

impl Client {
    /// Starts the I/O thread.
    ///
    /// # Errors
    /// The driver asked for is refused, or it or the thread cannot be set up.
    pub fn start(options: ClientOptions) -> io::Result<Self> {
        Self::start_with(options, |_| Ok(None))
    }

    /// As [`Client::start`], with somebody who shares the I/O thread and its driver, on which `lodge` is called there.
    ///
    /// # Errors
    /// As [`Client::start`], or those of `lodge`.
    pub(crate) fn start_with<L>(options: ClientOptions, lodge: L) -> io::Result<Self>
    where
        L: FnOnce(&mut SystemDriver) -> io::Result<Option<Box<dyn Lodger<SystemDriver>>>> + Send + 'static,
    {
        options.limits.check().map_err(io::Error::other)?;
        let driver = options.driver.resolve().map_err(io::Error::other)?;
        let (started, outcome) = sync_channel(1);
        let limits = options.limits.clone();
        let thread = std::thread::Builder::new().name("naxos-client".to_owned()).spawn(move || {
            if let Some(id) = options.core {
                core_affinity::set_for_current(core_affinity::CoreId { id });
            }
            let opened = SystemDriver::open(driver).and_then(|mut driver| {
                let lodger = lodge(&mut driver)?;
                Ok((driver, lodger))
            });
            let (mut driver, lodger) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    started.send(Err(error)).expect("the starting thread waits");
                    return;
                }
            };
            let near = options.near.or(options.collocated.as_ref().map(|collocated| collocated.node));
            if let Some(Collocated { listener, .. }) = options.collocated {
                driver.connect_locally(listener);
            }
            let mut reactor = Reactor::new(driver, options.limits);
            reactor.set_near(near);
            lodger.into_iter().for_each(|lodger| reactor.set_lodger(lodger));
            started.send(Ok(reactor.handle())).expect("the starting thread waits");
            drop(started);
            loop {
                match reactor.turn(true) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        tracing::error!(%error, "the client's driver has failed");
                        return;
                    }
                }
            }
        })?;
        let handle = outcome.recv().map_err(|_| io::Error::other("the client's I/O thread ended at once"))??;
        let io_thread = IoThread { inbox: handle.inbox.clone(), thread: Mutex::new(Some(thread)) };
        Ok(Self { handle, _thread: Arc::new(io_thread), limits })
    }

    /// Opens a log, with connections of its own. Connecting happens in the background, when an operation needs it.
    pub fn open(&self, loglet: impl Into<LogletSpec>, cluster: ClusterId) -> Log {
        self.handle.open(loglet.into(), cluster, &self.limits)
    }

    /// Creates a loglet on a majority of its LogServers and starts its sequencer.
    ///
    /// # Errors
    /// As [`Log::create`].
    pub fn create(&self, loglet: impl Into<LogletSpec>, cluster: ClusterId) -> Result<(), OpError> {
        self.open(loglet, cluster).create()
    }

    /// Where the time of appends has gone since the last call, on all logs of this client. Nothing where [`Limits::profile`] is off, here or
    /// at the sequencer's node.
    ///
    /// # Errors
    /// The client has ended.
    pub fn take_append_profile(&self) -> Result<AppendProfile, OpError> {
        let (reply, profile) = sync_channel(1);
        self.handle.inbox.push(Command::TakeProfile(reply));
        profile.recv().map(|profile| *profile).map_err(|_| OpError::Closed)
    }

    /// Asks the node at this address who it is.
    ///
    /// # Errors
    /// It does not answer in time.
    pub fn hello(&self, node: SocketAddr) -> Result<NodeInfo, OpError> {
        self.start_hello(node).recv().map_err(|_| OpError::Closed)?
    }

    /// [`Client::hello`] without blocking.
    pub(crate) fn start_hello(&self, node: SocketAddr) -> Receiver<Result<NodeInfo, OpError>> {
        let (reply, result) = sync_channel(1);
        self.handle.inbox.push(Command::Errand { node, question: Question::Hello, reply: ErrandReply::Hello(reply) });
        result
    }

    /// Asks the node at this address, which belongs to this cluster, something about a register.
    pub(super) fn ask_register(
        &self,
        node: SocketAddr,
        cluster: ClusterId,
        register: RegisterId,
        message: RegisterMessage,
    ) -> Receiver<Result<RegisterMessage, OpError>> {
        let (reply, result) = sync_channel(1);
        let question = Question::Register(cluster, register, Box::new(message));
        self.handle.inbox.push(Command::Errand { node, question, reply: ErrandReply::Register(reply) });
        result
    }

    /// Asks the node at this address how it is.
    ///
    /// # Errors
    /// It does not answer in time.
    pub fn status(&self, node: SocketAddr) -> Result<serde_json::Value, OpError> {
        self.statuses(&[node]).pop().expect("one answer for each node")
    }

    /// Asks the nodes at these addresses how they are, all at once; the answers are in their order.
    pub fn statuses(&self, nodes: &[SocketAddr]) -> Vec<Result<serde_json::Value, OpError>> {
        let asked: Vec<_> = nodes.iter().map(|node| (node, self.start_status(*node))).collect();
        let wait = |(node, result): (&SocketAddr, Receiver<Result<Vec<u8>, OpError>>)| {
            let json = result.recv().map_err(|_| OpError::Closed)??;
            serde_json::from_slice(&json)
                .map_err(|error| OpError::Unreadable { reason: format!("{node} answered with no JSON: {error}") })
        };
        asked.into_iter().map(wait).collect()
    }

    /// [`Client::status`] without blocking, as JSON.
    pub(crate) fn start_status(&self, node: SocketAddr) -> Receiver<Result<Vec<u8>, OpError>> {
        let (reply, result) = sync_channel(1);
        self.handle.inbox.push(Command::Errand { node, question: Question::Status, reply: ErrandReply::Status(reply) });
        result
    }
}
