use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::Reporter;
use super::data_dir::{DataDir, DataDirError, cores};
use super::descriptors::{TooFewDescriptors, connections_allowed};
use super::device::DeviceOptions;
use super::entrance::Entrance;
use super::free_space::check_prepared;
use crate::base::{ClusterId, Incarnation, InvalidLimits, Limits, NodeId};
use crate::client::Collocated;
use crate::control::{Control, ControlConfig, InvalidScaling, Patience, Scaling, Told};
use crate::io::device::Volume;
use crate::io::{Driver, DriverChoice, DriverError, DriverKind, SystemDriver};
use crate::server::{Command, Inbox, NodeIdentity, Shard, ShardConfig};

/// How a node is run.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Its data directory; made if it does not exist.
    pub directory: PathBuf,
    /// A block device for its journals, which is theirs for ever; in files of the directory if not given.
    pub device: Option<DeviceOptions>,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// How many shards a new directory gets; one for each core if not given. An existing directory keeps its number.
    pub shards: Option<usize>,
    /// Whether each shard's thread is pinned to a core of its own.
    pub pin: bool,
    /// Its bounds.
    pub limits: Limits,
    /// Whether a directory on a file system in memory is accepted.
    pub allow_volatile: bool,
    /// Journal bytes, over all shards, to prepare at the start, once, beyond the number of segments that is always kept ready.
    pub prepare_bytes: Option<u64>,
    /// What its shards do their input and output with.
    pub driver: DriverChoice,
    /// How it takes part in healing the cluster's logs, if it does.
    pub control: Option<ControlOptions>,
}

/// How a node takes part in healing the cluster's logs.
#[derive(Debug, Clone, Default)]
pub struct ControlOptions {
    /// Where other nodes of the cluster may be found, if this one does not know by itself.
    pub seeds: Vec<SocketAddr>,
    /// How long it waits before it acts.
    pub patience: Patience,
    /// When it changes the number of stripes of a log that has a range of them.
    pub scaling: Scaling,
}

impl NodeConfig {
    /// A node for embedding into another program: its threads are not pinned, everything else is as `naxos serve` has it.
    pub fn new(directory: impl Into<PathBuf>, listen: SocketAddr, cluster: ClusterId) -> Self {
        Self {
            directory: directory.into(),
            device: None,
            listen,
            cluster,
            shards: None,
            pin: false,
            limits: Limits::default(),
            allow_volatile: false,
            prepare_bytes: None,
            driver: DriverChoice::Auto,
            control: Some(ControlOptions::default()),
        }
    }
}

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its bounds contradict each other.
    #[error(transparent)]
    Limits(#[from] InvalidLimits),
    /// The marks by which it changes logs contradict each other.
    #[error(transparent)]
    Scaling(#[from] InvalidScaling),
    /// Its directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The process may have too few descriptors.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The driver asked for, or any, cannot be used.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// More lanes than shards are asked for.
    #[error("`lanes` is {lanes} and this node has {shards} shards: at most as many, or all of them, can have a lane")]
    Lanes {
        /// As asked for.
        lanes: u32,
        /// As the data directory has them.
        shards: usize,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A journal cannot be recovered.
    #[error("the journal of shard {shard} cannot be opened: {reason}")]
    Journal {
        /// Which.
        shard: usize,
        /// Why.
        reason: String,
    },
    /// Control could not be started.
    #[error("control")]
    Control(#[source] io::Error),
    /// A thread could not be started, or ended.
    #[error("shard {shard}")]
    Shard {
        /// Which.
        shard: usize,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// A running node, in this process. Dropping it stops it.
#[derive(Debug)]
pub struct Node {
    address: SocketAddr,
    identity: NodeIdentity,
    durability: &'static str,
    inboxes: Vec<Arc<Inbox>>,
    threads: Vec<JoinHandle<()>>,
    entrance: Entrance,
    control: Option<Control>,
}

impl Node {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The node that it is.
    pub fn node(&self) -> NodeId {
        self.identity.node
    }

    /// This life of it.
    pub fn incarnation(&self) -> Incarnation {
        self.identity.incarnation
    }

    /// What its acknowledgements mean.
    pub fn durability(&self) -> &'static str {
        self.durability
    }

    /// For asking the shards from other threads.
    pub fn reporter(&self) -> Reporter {
        Reporter { identity: self.identity, durability: Some(self.durability), inboxes: self.inboxes.clone() }
    }

    /// For [`crate::client::ClientOptions::collocated`] of a client in this process: what it asks of this node goes through memory, and records that this node
    /// has are read from it. Once the node has stopped the client looks for another at its address.
    pub fn collocated(&self) -> Collocated {
        Collocated { node: self.identity.node, listener: self.entrance.listener(self.address) }
    }

    /// Whether a shard's thread has ended by itself, which only a failed driver or a broken invariant does.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Stops gracefully: connections end, what is in flight completes, the journals are closed cleanly.
    pub fn stop(mut self) {
        self.end();
    }

    fn start_control(&mut self, options: ControlOptions) -> Result<(), ServeError> {
        let ControlOptions { mut seeds, patience, scaling } = options;
        seeds.insert(0, self.address);
        let NodeIdentity { cluster, node, .. } = self.identity;
        let inboxes = self.inboxes.clone();
        let tell = move |told: Told| {
            inboxes[0].push(match told {
                Told::Misses(nodes) => Command::Misses(nodes),
                Told::Scaling(decisions) => Command::Scaling(decisions),
            });
        };
        let control = Control::start(ControlConfig { cluster, node, seeds, patience, scaling }, tell);
        self.control = Some(control.map_err(ServeError::Control)?);
        Ok(())
    }

    fn end(&mut self) {
        self.control = None;
        self.entrance.close();
        self.inboxes.iter().for_each(|inbox| inbox.push(Command::Stop));
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard had panicked");
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a shard's thread tells while it starts.
enum Started {
    /// The driver runs; shard 0 listens on this address.
    Up {
        shard: usize,
        inbox: Arc<Inbox>,
        address: Option<SocketAddr>,
    },
    /// The journal is recovered.
    Ready {
        shard: usize,
    },
    Failed(ServeError),
}

impl Node {
    /// Starts a node and returns when it answers requests.
    ///
    /// # Errors
    /// It cannot run; nothing of it is left running then.
    pub fn start(config: NodeConfig) -> Result<Self, ServeError> {
        config.limits.check()?;
        config.control.as_ref().map_or(Ok(()), |control| control.scaling.check())?;
        let driver = config.driver.resolve()?;
        let on = config.device.as_ref().map(|device| (device, &config.limits));
        let directory =
            DataDir::open_with(&config.directory, config.cluster, config.shards, config.allow_volatile, on)?;
        let mut limits = config.limits.clone();
        if let Some(device) = directory.device() {
            device.bound(&mut limits).map_err(DataDirError::from)?;
            limits.check()?;
        }
        let identity =
            NodeIdentity { cluster: config.cluster, node: directory.node(), incarnation: Incarnation::random() };
        let shards = directory.shards();
        if limits.lanes != Limits::LANES_ALL && limits.lanes as usize > shards {
            return Err(ServeError::Lanes { lanes: limits.lanes, shards });
        }
        if let Some(bytes) = config.prepare_bytes.filter(|bytes| *bytes > 0) {
            let segment = limits.segment_bytes;
            let wanted =
                (bytes / shards as u64).div_ceil(segment).saturating_mul(segment).saturating_mul(shards as u64);
            let journals: Vec<_> = (0..shards).map(|shard| directory.journal(shard)).collect();
            match directory.device() {
                Some(device) => device.check_prepared(wanted, segment).map_err(DataDirError::from)?,
                None => check_prepared(&config.directory, &journals, wanted)?,
            }
        }
        // The segments of a device share one descriptor.
        let files = if directory.device().is_some() { 0 } else { u64::from(limits.segments_max) * shards as u64 };
        let connections = connections_allowed(&limits, shards, files)?;
        let (started, events) = channel();
        let mut node = Self {
            address: config.listen,
            identity,
            durability: directory.durability().name(),
            inboxes: Vec::new(),
            threads: Vec::new(),
            entrance: Entrance::default(),
            control: None,
        };
        let mut peers_senders = Vec::new();
        for shard in 0..shards {
            let (peers_sender, peers) = sync_channel(1);
            peers_senders.push(peers_sender);
            let limits = Limits { connections_max: connections.div_ceil(shards as u32), ..limits.clone() };
            let shard_config = ShardConfig {
                identity,
                shard,
                shards,
                directory: directory.journal(shard),
                block_bytes: directory.block_bytes(),
                limits,
                seed: (Incarnation::random().0 as u64).wrapping_add(shard as u64),
                durability: node.durability,
                driver: driver.name(),
                prepare_bytes: config.prepare_bytes.unwrap_or(0) / shards as u64,
                cores: cores(),
            };
            let thread = ShardThread {
                config: shard_config,
                driver,
                listen: (shard == 0).then_some(config.listen),
                lock: directory.lock_for_ring().map_err(|error| ServeError::Shard { shard, error })?,
                volume: directory.volume(shard)?,
                core: config.pin.then_some(shard),
                started: started.clone(),
                peers,
            };
            let spawned = std::thread::Builder::new().name(format!("naxos-shard-{shard}")).spawn(move || thread.run());
            node.threads.push(spawned.map_err(|error| ServeError::Shard { shard, error })?);
        }
        drop(started);
        node.wait_until_ready(shards, &events, peers_senders)?;
        node.entrance.open(node.inboxes.clone());
        if let Some(options) = config.control {
            node.start_control(options)?;
        }
        Ok(node)
    }

    fn wait_until_ready(
        &mut self,
        shards: usize,
        events: &Receiver<Started>,
        peers_senders: Vec<SyncSender<Vec<Arc<Inbox>>>>,
    ) -> Result<(), ServeError> {
        let mut inboxes = vec![None; shards];
        let mut ready = 0;
        while ready < shards {
            let ended = || ServeError::Shard { shard: 0, error: io::Error::other("a shard ended while starting") };
            match events.recv().map_err(|_| ended())? {
                Started::Up { shard, inbox, address } => {
                    self.address = address.unwrap_or(self.address);
                    self.inboxes.push(inbox.clone());
                    inboxes[shard] = Some(inbox);
                    if let Some(all) = inboxes.iter().cloned().collect::<Option<Vec<_>>>() {
                        for sender in &peers_senders {
                            // A shard that has ended meanwhile reports why by itself.
                            let _ = sender.send(all.clone());
                        }
                        self.inboxes = all;
                    }
                }
                Started::Ready { shard } => {
                    tracing::debug!(shard, "recovered");
                    ready += 1;
                }
                Started::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }
}

struct ShardThread {
    config: ShardConfig,
    driver: DriverKind,
    listen: Option<SocketAddr>,
    lock: std::os::fd::OwnedFd,
    volume: Option<Volume>,
    core: Option<usize>,
    started: Sender<Started>,
    peers: Receiver<Vec<Arc<Inbox>>>,
}

impl ShardThread {
    fn run(self) {
        let (started, shard) = (self.started.clone(), self.config.shard);
        let end = catch_unwind(AssertUnwindSafe(|| self.try_run()));
        match end {
            Ok(Ok(())) => {}
            // Whoever starts the node reports why it does not; nobody listens any more once it runs.
            Ok(Err(error)) => {
                if let Err(SendError(Started::Failed(error))) = started.send(Started::Failed(error)) {
                    tracing::error!(error = &error as &dyn std::error::Error, "a shard has ended");
                }
            }
            Err(panic) => {
                let error = io::Error::other("it has panicked, and said where");
                drop(started.send(Started::Failed(ServeError::Shard { shard, error })));
                resume_unwind(panic)
            }
        }
    }

    fn try_run(self) -> Result<(), ServeError> {
        let number = self.config.shard;
        if let Some(core) = self.core {
            pin(core);
        }
        let failed = |error| ServeError::Shard { shard: number, error };
        let mut driver = SystemDriver::open(self.driver).map_err(DriverError::of)?;
        driver.hold(self.lock).map_err(failed)?;
        if let Some(volume) = self.volume {
            driver.mount(volume);
        }
        let mut listener = None;
        let mut address = None;
        if let Some(listen) = self.listen {
            let (id, bound) = driver.listen(listen).map_err(|error| ServeError::Listen { address: listen, error })?;
            (listener, address) = (Some(id), Some(bound));
        }
        let shards = self.config.shards;
        let mut shard = Shard::new(driver, self.config, listener);
        let _ = self.started.send(Started::Up { shard: number, inbox: shard.inbox(), address });
        let Ok(peers) = self.peers.recv() else { return Ok(()) };
        assert_eq!(peers.len(), shards);
        shard.set_peers(peers);
        let mut told = false;
        loop {
            let goes_on = shard.turn(true).map_err(|error| ServeError::Shard { shard: number, error })?;
            if !told && shard.is_ready() {
                told = true;
                let _ = self.started.send(Started::Ready { shard: number });
            }
            if !told && let Some(failure) = shard.failure() {
                return Err(ServeError::Journal { shard: number, reason: failure.to_string() });
            }
            if !goes_on {
                return Ok(());
            }
        }
    }
}

/// Pins this thread to one of the cores that the process may use, counted round.
fn pin(number: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = cores.get(number % cores.len().max(1)).copied()
        && !core_affinity::set_for_current(core)
    {
        tracing::warn!(core = core.id, "could not pin a shard to its core");
    }
}
