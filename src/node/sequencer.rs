use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use super::Reporter;
use super::descriptors::connections_allowed;
use super::entrance::Entrance;
use super::running::ServeError;
use crate::base::{ClusterId, Incarnation, Limits, NodeId};
use crate::client::{Client, ClientOptions, Collocated, Extended, OpError, VirtualLog, Wanted};
use crate::io::{Driver, DriverChoice, DriverError, DriverKind, Lodger, SystemDriver};
use crate::server::{Command, Inbox, NodeIdentity, SequencerShard, SequencerShardConfig};
use crate::wire::{Member, Sequencer};

/// How a node is run that only sequences.
#[derive(Debug, Clone)]
pub struct SequencerConfig {
    /// The cluster whose nodes store what it sequences.
    pub cluster: ClusterId,
    /// Where processes other than its own append through it; port 0 takes a free one. Nowhere if not given: to everybody else it is then
    /// a sequencer that cannot be reached.
    pub listen: Option<SocketAddr>,
    /// Its bounds.
    pub limits: Limits,
    /// What it does its input and output with.
    pub driver: DriverChoice,
    /// The core to pin its thread to.
    pub core: Option<usize>,
}

impl SequencerConfig {
    /// A sequencer for the clients of its own process.
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, listen: None, limits: Limits::default(), driver: DriverChoice::Auto, core: None }
    }
}

/// A node that sequences and does nothing else, on a thread of its own or of a client, in the process that writes. It stores nothing, keeps no registers, is no
/// member of a cluster, and needs no directory.
///
/// A client that it is started with, or any of the same process with [`SequencerNode::collocated`] in its options, reaches it through
/// memory: an append is one round trip to the LogServers, and one durable write there.
///
/// Its identity is drawn when it starts and ends with it. Nothing has to be remembered for that: what it could forget and somebody
/// rely on would be a vote, a record or a seal, of which it has none, and the offsets that it has given out, which belong to this one life (P4): no
/// other process ever has this identity, so that a loglet which names it is never sequenced by anybody else. When it is gone the loglet
/// is sealed by whoever appends next, as that of any lost sequencer.
///
/// ```no_run
/// use naxos::client::{Client, ClientOptions};
/// use naxos::node::{SequencerConfig, SequencerNode};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let nodes = ["10.0.0.1:4100".parse()?];
/// let cluster = Client::start(ClientOptions::default())?.cluster(&nodes)?.id();
/// let (sequencer, client) =
///     SequencerNode::start_with_client(SequencerConfig::new(cluster), ClientOptions::default())?;
/// let log = client.cluster(&nodes)?.open_or_create_log("default", 3)?;
/// sequencer.take_over(&log)?;
/// log.append(b"one round trip").wait()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SequencerNode {
    address: SocketAddr,
    identity: NodeIdentity,
    /// None before it runs.
    inbox: Option<Arc<Inbox>>,
    /// None where it is on a client's.
    thread: Option<JoinHandle<()>>,
    entrance: Entrance,
}

impl SequencerNode {
    /// Starts one on a thread of its own, and returns when it can be appended through. Any number of clients of this process may share it.
    ///
    /// # Errors
    /// It cannot run; nothing of it is left running then.
    pub fn start(config: SequencerConfig) -> Result<Self, ServeError> {
        let driver = config.driver.resolve()?;
        let (mut node, opening) = Self::prepare(config, driver)?;
        let (started, events) = channel();
        let run = move || {
            let mut driver = match SystemDriver::open(driver).map_err(|error| DriverError::of(error).into()) {
                Ok(driver) => driver,
                Err(error) => return drop(started.send(Err(error))),
            };
            match opening.open(&mut driver) {
                Ok((shard, address)) => {
                    let _ = started.send(Ok((shard.inbox(), address)));
                    run(driver, shard);
                }
                Err(error) => drop(started.send(Err(error))),
            }
        };
        let thread = std::thread::Builder::new().name("naxos-shard-seq".to_owned()).spawn(run);
        node.thread = Some(thread.map_err(failed)?);
        node.wait_until_open(&events)?;
        Ok(node)
    }

    /// Starts one on the I/O thread of a client, which is started for it and is the way to append through it: no thread has to be woken
    /// between the two, which is the quickest way for one append after another. With many appends in flight a thread of its own may do more.
    /// `options.collocated` and `options.driver` are not looked at: it is this node, and the driver is that of `config`.
    ///
    /// It ends with the client, if it has not been stopped before. Where it listens the address is taken until then.
    ///
    /// # Errors
    /// It cannot run; nothing of it is left running then.
    pub fn start_with_client(config: SequencerConfig, options: ClientOptions) -> Result<(Self, Client), ServeError> {
        let core = config.core;
        let driver = config.driver;
        let (mut node, opening) = Self::prepare(config, driver.resolve()?)?;
        let (started, events) = channel();
        let entrance = node.entrance.clone();
        let lodge = move |driver: &mut SystemDriver| match opening.open(driver) {
            Ok((shard, address)) => {
                driver.connect_locally(entrance.listener(address));
                let _ = started.send(Ok((shard.inbox(), address)));
                let lodger: Box<dyn Lodger<SystemDriver>> = Box::new(shard);
                Ok(Some(lodger))
            }
            Err(error) => {
                let _ = started.send(Err(error));
                Err(io::Error::other("the sequencer cannot run"))
            }
        };
        let options = ClientOptions { driver, core: core.or(options.core), collocated: None, ..options };
        let client = Client::start_with(options, lodge);
        // It says more than the client does.
        node.wait_until_open(&events)?;
        Ok((node, client.map_err(failed)?))
    }

    /// A node that is nowhere yet, and what makes its shard.
    fn prepare(config: SequencerConfig, driver: DriverKind) -> Result<(Self, Opening), ServeError> {
        let SequencerConfig { cluster, listen, mut limits, core, .. } = config;
        limits.check()?;
        if listen.is_some() {
            limits.connections_max = connections_allowed(&limits, 1, 0)?;
        }
        // Both are new: this is the first and only life of a node that was never there before.
        let identity = NodeIdentity { cluster, node: NodeId::random(), incarnation: Incarnation::random() };
        let shard = SequencerShardConfig { identity, limits, driver: driver.name() };
        let entrance = Entrance::default();
        let node = Self { address: Sequencer::NOWHERE, identity, inbox: None, thread: None, entrance };
        Ok((node, Opening { shard, listen, core }))
    }

    fn wait_until_open(&mut self, events: &Receiver<Started>) -> Result<(), ServeError> {
        let ended = || failed(io::Error::other("it ended while starting"));
        let (inbox, address) = events.recv().map_err(|_| ended())??;
        self.address = address;
        self.entrance.open(vec![inbox.clone()]);
        self.inbox = Some(inbox);
        Ok(())
    }

    /// Where it listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.sequencer().listens().then_some(self.address)
    }

    /// The node that it is, for as long as it runs.
    pub fn node(&self) -> NodeId {
        self.identity.node
    }

    /// As a configuration of a loglet names it.
    pub fn sequencer(&self) -> Sequencer {
        let NodeIdentity { node, incarnation, .. } = self.identity;
        Sequencer { node, incarnation, address: self.address }
    }

    /// As a wish for a reconfiguration names it ([`Wanted`]).
    pub fn member(&self) -> Member {
        self.sequencer().member()
    }

    /// For [`crate::client::ClientOptions::collocated`] of the clients of this process.
    pub fn collocated(&self) -> Collocated {
        Collocated { node: self.identity.node, listener: self.entrance.listener(self.address) }
    }

    /// For asking how it is from other threads.
    pub fn reporter(&self) -> Reporter {
        Reporter { identity: self.identity, durability: None, inboxes: self.inbox.iter().cloned().collect() }
    }

    /// Puts a loglet behind the last one of a log that is sequenced here, on the same LogServers, unless the last one is already. The log
    /// has to be open on a client that reaches this node: one of its process, or any if it listens.
    ///
    /// The log stays here until somebody reconfigures it: a client that cannot reach this node and appends, control when a LogServer is to
    /// be replaced, or this process by its end.
    ///
    /// # Errors
    /// As [`VirtualLog::extend`].
    pub fn take_over(&self, log: &VirtualLog) -> Result<Extended, OpError> {
        let chain = log.chain()?;
        let last = &chain.last().loglet;
        if last.sequencers().all(|sequencer| sequencer == self.sequencer()) {
            return Ok(Extended::Done(chain));
        }
        log.extend_seen(&chain, Some(Wanted::clone_of(last, self.member())), false)
    }

    /// Whether its own thread has ended by itself, which only a failed driver or a broken invariant does. On a client's thread it ends with the
    /// client, whose operations fail then.
    pub fn has_failed(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Stops it. What is on the way to LogServers has an unknown outcome; the loglets that it sequenced wait for a successor.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.entrance.close();
        self.inbox.iter().for_each(|inbox| inbox.push(Command::Stop));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sequencer had panicked");
        }
    }
}

impl Drop for SequencerNode {
    fn drop(&mut self) {
        self.end();
    }
}

type Started = Result<(Arc<Inbox>, SocketAddr), ServeError>;

fn failed(error: io::Error) -> ServeError {
    ServeError::Shard { shard: 0, error }
}

/// What makes the shard, on the thread that is to run it.
struct Opening {
    shard: SequencerShardConfig,
    listen: Option<SocketAddr>,
    core: Option<usize>,
}

impl Opening {
    fn open(self, driver: &mut SystemDriver) -> Result<(SequencerShard, SocketAddr), ServeError> {
        if let Some(id) = self.core
            && !core_affinity::set_for_current(core_affinity::CoreId { id })
        {
            tracing::warn!(core = id, "could not pin the sequencer to its core");
        }
        let (mut listener, mut address) = (None, Sequencer::NOWHERE);
        if let Some(listen) = self.listen {
            let (id, bound) = driver.listen(listen).map_err(|error| ServeError::Listen { address: listen, error })?;
            (listener, address) = (Some(id), bound);
        }
        Ok((SequencerShard::new(driver, self.shard, listener), address))
    }
}

/// The life of a sequencer's own thread.
fn run(mut driver: SystemDriver, mut shard: SequencerShard) {
    let mut completions = Vec::new();
    while !Lodger::<SystemDriver>::is_over(&shard) {
        let deadline = Lodger::<SystemDriver>::deadline(&shard);
        if let Err(error) = driver.wait(deadline, &mut completions) {
            tracing::error!(error = &error as &dyn std::error::Error, "the sequencer has ended");
            return;
        }
        let now = driver.now();
        completions.drain(..).for_each(|completion| shard.complete(&mut driver, completion, now));
        shard.advance(&mut driver, now);
    }
}
