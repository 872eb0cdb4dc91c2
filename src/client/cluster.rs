use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::inbox::{Command, LogKey};
use super::virtual_log::Opening;
use super::{Client, Extended, FileMetaStoreError, GenesisError, OpError, RegisterFiles, VirtualLog};
use crate::base::{ClusterId, Incarnation, LogletId, NodeId, Nonce, RegisterId, Version};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, Versioned};
use crate::proto::virtual_log::{LogRecord, LogletSpec, Root, RootRefusal, Seat, StripeRange, Stripes, rotate};
use crate::wire::{Decision, Member, Sequencer};

/// Why a change of a cluster has failed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Somebody who is needed did not answer in time.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The cluster does not allow it.
    #[error(transparent)]
    Refused(#[from] RootRefusal),
    /// The root register holds something else.
    #[error("the root register holds no list of nodes and logs: {0}")]
    NoRoot(String),
    /// A log's register cannot be used.
    #[error("the log's register: {0}")]
    NoChain(String),
    /// The log has no chain yet.
    #[error("the creation of log `{0}` has not been finished: create it again, or delete it")]
    Unfinished(String),
    /// Nobody can keep a register so.
    #[error("{0} members cannot keep a register: it takes 1 to {max}, none twice", max = Decision::MEMBERS_MAX)]
    InvalidMembers(usize),
    /// A node has not taken what it was told.
    #[error(transparent)]
    Node(#[from] GenesisError),
    /// Registers in files cannot be made or used.
    #[error(transparent)]
    Files(#[from] FileMetaStoreError),
    /// The cluster has begun with registers in files of another directory.
    #[error("the cluster has its registers in files in {0}")]
    KeptInFiles(String),
    /// The cluster has begun with registers that its nodes keep.
    #[error("the nodes of the cluster keep its registers themselves, and not in files")]
    KeptByNodes,
    /// Others were faster, again and again.
    #[error("others change the same all the time; do it again")]
    Contended,
    /// Whether it was done nobody can say.
    #[error("the MetaStore did not answer in time: whether it was done is not known; do it again")]
    Unknown,
}

/// A cluster, through its root register. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    key: LogKey,
    client: Client,
    cluster: ClusterId,
    /// The decided version of the root register that was found.
    root: Decision,
    /// Where the registers are, once it is known that the nodes do not keep them.
    files: OnceLock<RegisterFiles>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.client.handle.inbox.push(Command::Close(self.key));
    }
}

/// Pause before another try of a conditional write that others have been faster with, at most; random, so that they do not go on together.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(20);

/// Tries of something that others may be faster with, for as long as one operation may take.
pub(super) struct Tries {
    deadline: Instant,
    tried: bool,
}

impl Iterator for Tries {
    type Item = ();

    fn next(&mut self) -> Option<()> {
        if std::mem::replace(&mut self.tried, true) {
            let share = (Incarnation::random().0 as u32) as f64 / f64::from(u32::MAX);
            thread::sleep(RETRY_PAUSE_MAX.mul_f64(share));
        }
        (Instant::now() < self.deadline).then_some(())
    }
}

pub(super) fn not_finished() -> ClusterError {
    ClusterError::NoRoot("the cluster's beginning has not been finished".to_owned())
}

impl Client {
    /// Finds the cluster that the nodes at these addresses belong to; one that answers is enough.
    ///
    /// # Errors
    /// None of them answers, or no cluster has begun with them.
    pub fn cluster(&self, seeds: &[SocketAddr]) -> Result<Cluster, OpError> {
        let (cluster, root) = self.find_root(seeds)?;
        let key = LogKey(self.handle.next_key());
        let seed = Incarnation::random().0 as u64;
        self.handle.inbox.push(Command::OpenRegisters { key, cluster, seed });
        let files = OnceLock::new();
        let found = Cluster { inner: Arc::new(Inner { key, client: self.clone(), cluster, root, files }) };
        if let Ok(Root { registers_in: Some(directory), .. }) = Root::from_json(&found.inner.root.value) {
            found.use_files(&directory);
        }
        Ok(found)
    }
}

impl Cluster {
    /// Which cluster it is.
    pub fn id(&self) -> ClusterId {
        self.inner.cluster
    }

    /// For a conditional write that others may be faster with.
    pub(super) fn tries(&self) -> Tries {
        Tries { deadline: Instant::now() + self.client().limits.operation_timeout, tried: false }
    }

    pub(super) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Carries out an operation on a register, of which `decided` is any decided version.
    pub(super) fn ask_metastore(&self, decided: Decision, op: MetaStoreOp) -> Result<MetaStoreResult, OpError> {
        if let Some(files) = self.inner.files.get() {
            return Ok(files.carry_out(&decided, op));
        }
        let (reply, result) = sync_channel(1);
        self.client().handle.inbox.push(Command::RegisterOp { key: self.inner.key, decided, op, reply });
        result.recv().map_err(|_| OpError::Closed)
    }

    pub(super) fn op(&self, decided: Decision, op: MetaStoreOp) -> Result<MetaStoreResult, OpError> {
        match self.ask_metastore(decided, op)? {
            MetaStoreResult::Unavailable { reason } => {
                Err(OpError::Unavailable { reason: format!("the MetaStore: {reason}") })
            }
            result => Ok(result),
        }
    }

    /// A decided version of the root register.
    pub(super) fn known_root(&self) -> Decision {
        self.inner.root.clone()
    }

    pub(super) fn read_root(&self) -> Result<(Versioned, Option<Root>), ClusterError> {
        match self.op(self.known_root(), MetaStoreOp::Read { register: RegisterId::ROOT })? {
            MetaStoreResult::Value(newest) if newest.version == Version::BIRTH && newest.value.is_empty() => {
                Ok((newest, None))
            }
            MetaStoreResult::Value(newest) => {
                let root = Root::from_json(&newest.value).map_err(|error| ClusterError::NoRoot(error.to_string()))?;
                match &root.registers_in {
                    // What the node keeps says where the others are; those there say it of themselves.
                    Some(directory) if self.inner.files.get().is_none() => {
                        self.use_files(directory);
                        self.read_root()
                    }
                    _ => Ok((newest, Some(root))),
                }
            }
            other => Err(ClusterError::NoRoot(format!("{other:?}"))),
        }
    }

    /// The nodes and logs of the cluster.
    ///
    /// # Errors
    /// No majority of the root register's members answers in time.
    pub fn root(&self) -> Result<Root, ClusterError> {
        let (_, root) = self.read_root()?;
        root.ok_or_else(not_finished)
    }

    /// Changes the root that is there; nothing is written if `change` changes nothing.
    pub(super) fn edit_root(
        &self,
        mut change: impl FnMut(&Root) -> Result<Root, RootRefusal>,
    ) -> Result<Root, ClusterError> {
        self.change_root(|root, _| {
            let root = root.ok_or_else(not_finished)?;
            let next = change(&root)?;
            Ok(Some(next).filter(|next| *next != root))
        })
    }

    /// Changes the root on the condition that nobody else has meanwhile; `change` is asked again if somebody has.
    fn change_root(
        &self,
        mut change: impl FnMut(Option<Root>, &Versioned) -> Result<Option<Root>, ClusterError>,
    ) -> Result<Root, ClusterError> {
        for () in self.tries() {
            let (newest, root) = self.read_root()?;
            let Some(next) = change(root.clone(), &newest)? else {
                return Ok(root.expect("nothing is to be changed of what is there"));
            };
            let (expected, members) = (newest.version, newest.members);
            let op = MetaStoreOp::Write { register: RegisterId::ROOT, expected, value: next.to_json(), members };
            match self.op(self.known_root(), op)? {
                MetaStoreResult::Written { .. } => return Ok(next),
                MetaStoreResult::Conflict(_) => {}
                MetaStoreResult::Unknown => return Err(ClusterError::Unknown),
                other => return Err(ClusterError::NoRoot(format!("{other:?}"))),
            }
        }
        Err(ClusterError::Contended)
    }

    /// Writes the first list of nodes, after [`Client::begin_cluster`]; nothing if there is one.
    ///
    /// # Errors
    /// As [`Cluster::root`].
    pub fn found(&self) -> Result<Root, ClusterError> {
        self.change_root(|root, newest| Ok(root.is_none().then(|| Root::begin(&newest.members))))
    }

    fn use_files(&self, directory: &str) {
        let files = RegisterFiles::at(Path::new(directory), self.id(), &self.client().limits);
        self.inner.files.get_or_init(|| files);
    }

    /// The directory with the files that hold the registers; none if the nodes keep them, or if they have not been asked yet.
    pub fn registers_in(&self) -> Option<&Path> {
        self.inner.files.get().map(RegisterFiles::directory)
    }

    /// Writes the first list of nodes, after [`Client::begin_cluster`] with one node: from then on the registers are in files of this
    /// directory, whose full name it is. Done again, also after it was cut short, it changes nothing.
    ///
    /// # Errors
    /// The cluster has begun in another way, or with more nodes, or the directory cannot be used.
    pub fn found_in_files(&self, directory: &str) -> Result<Root, ClusterError> {
        let (newest, root) = self.read_root()?;
        if root.is_none() {
            let pointer = Root::in_files(&newest.members, directory)?;
            // The files first: whoever finds them named finds them there.
            let files = RegisterFiles::at(Path::new(directory), self.id(), &self.client().limits);
            files.begin(newest.members, pointer.to_json())?;
            self.change_root(|root, _| Ok(root.is_none().then(|| pointer.clone())))?;
        }
        let root = self.root()?;
        match &root.registers_in {
            Some(found) if found == directory => Ok(root),
            Some(found) => Err(ClusterError::KeptInFiles(found.clone())),
            None => Err(ClusterError::KeptByNodes),
        }
    }

    /// Creates a log on as many nodes as it has replicas, or finishes a creation that was begun.
    ///
    /// # Errors
    /// There is such a log, or the cluster is too small for it, or somebody who is needed does not answer.
    pub fn create_log(&self, name: &str, replicas: usize) -> Result<VirtualLog, ClusterError> {
        self.create_striped_log(name, replicas, Stripes::ONE)
    }

    /// [`Cluster::create_log`] of a log whose loglets are divided so, over the fewest stripes at first.
    ///
    /// # Errors
    /// As [`Cluster::create_log`], or it cannot be divided so.
    pub fn create_striped_log(
        &self,
        name: &str,
        replicas: usize,
        stripes: impl Into<StripeRange>,
    ) -> Result<VirtualLog, ClusterError> {
        let (nonce, range) = (Nonce::random(), stripes.into());
        let root = self.change_root(|root, newest| {
            let root = root.ok_or_else(not_finished)?;
            // One that is there may be half made.
            match root.log(name) {
                Ok(_) => Ok(None),
                Err(_) => {
                    Ok(Some(root.with_log(name, replicas, nonce, newest.members.clone())?.with_stripes(name, range)?))
                }
            }
        })?;
        let record = root.log(name)?;
        let log = self.open_record(record);
        match log.start_begin(self.first_loglet(&root, record)?).wait()? {
            Extended::Done(_) => Ok(log),
            Extended::Overtaken(_) | Extended::Pending(_) => Err(RootRefusal::NameTaken(name.to_owned()).into()),
        }
    }

    /// Opens a log, which is created first if there is none of this name.
    ///
    /// # Errors
    /// As [`Cluster::create_log`] and [`Cluster::open_log`].
    pub fn open_or_create_log(&self, name: &str, replicas: usize) -> Result<VirtualLog, ClusterError> {
        match self.create_log(name, replicas) {
            Err(ClusterError::Refused(RootRefusal::NameTaken(_))) => self.open_log(name),
            created => created,
        }
    }

    /// On the log's nodes, each stripe sequenced by one of its own that answers.
    fn first_loglet(&self, root: &Root, record: &LogRecord) -> Result<LogletSpec, OpError> {
        let places = Self::useful(root, &self.living(root), &[], record.nodes()).place(record);
        let mut lives: BTreeMap<NodeId, Option<Incarnation>> = BTreeMap::new();
        let mut failure = OpError::Unavailable { reason: "the log has no nodes".to_owned() };
        let mut ask = |member: &Member| match self.hello(*member) {
            Ok(incarnation) => Some(incarnation),
            Err(error) => {
                failure = error;
                None
            }
        };
        let seats: Vec<Seat> = places.iter().map(|place| Seat { others: place.clone(), ..Seat::default() }).collect();
        let sequencers = rotate(&seats, |member| lives.entry(member.node).or_insert_with(|| ask(member)).is_some());
        let Some(sequencers) = sequencers else { return Err(failure) };
        let id = LogletId { log: record.log, version: 1, nonce: Incarnation::random().0 as u64 };
        let stripe = |(Member { node, address }, log_servers)| {
            let incarnation = lives[&node].expect("it has answered");
            (Sequencer { node, incarnation, address }, log_servers)
        };
        Ok(LogletSpec::new(id, sequencers.into_iter().zip(places).map(stripe)))
    }

    /// Which life of a node answers where it should be.
    fn hello(&self, Member { node, address }: Member) -> Result<Incarnation, OpError> {
        match self.inner.client.hello(address)? {
            info if info.node == node => Ok(info.incarnation),
            info => Err(OpError::Unavailable { reason: format!("at {address} is node {}, not {node}", info.node) }),
        }
    }

    /// Opens a log.
    ///
    /// # Errors
    /// There is no such log, or the MetaStore does not answer.
    pub fn open_log(&self, name: &str) -> Result<VirtualLog, ClusterError> {
        Ok(self.open_record(self.root()?.log(name)?))
    }

    /// Opens the log of this record.
    pub(crate) fn open_record(&self, record: &LogRecord) -> VirtualLog {
        let decided = self.known_version(record);
        let files = self.inner.files.get().cloned();
        let opening = Opening { cluster: self.inner.cluster, register: record.register(), decided, files };
        self.client().handle.open_log(opening, Incarnation::random().0 as u64, &self.inner.client.limits)
    }
}
