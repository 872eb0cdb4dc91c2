use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::connection::{Connection, Pair, Remains};
use super::lanes::Lanes;
use super::part::Part;
use super::server::Server;
use crate::base::{Incarnation, Instant, Limits, LogletId, NodeId, Offset, Rng};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::proto::native::NativeLoglet;
use crate::proto::sequencer::Sequencer;
use crate::proto::sequencers::Sequencers;
use crate::proto::testing::{Owned, config};
use crate::wire::LogletConfig;

/// The loglet of every cluster.
pub(crate) const LOGLET: LogletId = LogletId { log: 1, version: 2, nonce: 3 };

/// The process that the configuration names for the sequencer, in one of its lives.
#[derive(Clone, Hash)]
pub(crate) struct Process {
    pub(crate) incarnation: Incarnation,
    pub(crate) sequencers: Sequencers,
    /// A sequencer that should not be: it has passed by the rule that forbids it.
    pub(crate) impostor: Option<Sequencer>,
    /// None while the sequencer is one.
    pub(super) lanes: Option<Lanes>,
}

impl Process {
    pub(crate) fn sequencer(&self, loglet: LogletId) -> Option<&Sequencer> {
        self.impostor.as_ref().or_else(|| self.sequencers.get(loglet))
    }

    pub(crate) fn sequencer_mut(&mut self, loglet: LogletId) -> Option<&mut Sequencer> {
        match &mut self.impostor {
            Some(impostor) => Some(impostor),
            None => self.sequencers.get_mut(loglet),
        }
    }
}

/// Everything that a NativeLoglet is made of.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) now: Instant,
    pub(crate) limits: Limits,
    pub(crate) config: LogletConfig,
    pub(crate) servers: Vec<Part<Server>>,
    pub(crate) process: Part<Process>,
    /// Lanes that the sequencer gets; client n appends on the n-th of them, counted round.
    pub(super) lanes: usize,
    pub(crate) clients: Vec<Part<NativeLoglet>>,
    /// Every result so far, by operation.
    pub(crate) results: BTreeMap<OpId, Vec<LogletResult>>,
    /// Results nobody has taken yet, in their order.
    pub(crate) fresh: Vec<(OpId, LogletResult)>,
    pub(super) connections: BTreeMap<Pair, Connection>,
    pub(super) remains: Vec<Remains>,
    /// Pairs without a connection until they are healed.
    pub(super) cut: BTreeSet<Pair>,
    /// Connections on which nothing arrives, in neither direction.
    pub(super) held: BTreeSet<Pair>,
    pub(super) random: Rng,
    /// How often each pair has connected.
    pub(super) connected: BTreeMap<Pair, u64>,
    next_op: u64,
}

/// Small bounds, so that a few records fill a window, a batch and a read.
pub(crate) fn small_limits() -> Limits {
    Limits {
        batch_bytes_max: 128,
        early_window_bytes: 600,
        sequencer_window_bytes: 4000,
        store_window_bytes: 1200,
        read_bytes_max: 300,
        // At once, so that a search has no timer more for each LogServer.
        known_tail_delay: Duration::ZERO,
        ..Limits::default()
    }
}

/// All that decides what can happen from here on. Left out is what never changes (the limits, the configuration), what only tests look
/// at (the results) and the seed, which decides nothing where every event is tried.
impl Hash for Cluster {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { now, limits: _, config: _, servers, process, lanes: _, clients, results: _, fresh, .. } = self;
        let Self { connections, remains, cut, held, random: _, connected, next_op, .. } = self;
        (now, servers, process, clients, fresh).hash(state);
        (connections, remains, cut, held, connected, next_op).hash(state);
    }
}

impl Cluster {
    /// All are there and nobody knows of the loglet.
    pub(crate) fn unborn(servers: usize, clients: usize, seed: u64) -> Self {
        let limits = small_limits();
        let nodes: Vec<u128> = (1..=servers as u128).collect();
        let config = config(LOGLET, &nodes);
        let incarnation = config.sequencer.incarnation;
        Self {
            now: Instant::from_nanos(1),
            servers: nodes.iter().map(|node| Part::new(Server::new(NodeId(*node), &limits))).collect(),
            process: Part::new(Process {
                incarnation,
                sequencers: Sequencers::new(limits.clone()),
                impostor: None,
                lanes: None,
            }),
            lanes: 1,
            clients: (0..clients).map(|_| Part::new(NativeLoglet::new(config.clone(), &limits))).collect(),
            results: BTreeMap::new(),
            fresh: Vec::new(),
            connections: BTreeMap::new(),
            remains: Vec::new(),
            cut: BTreeSet::new(),
            held: BTreeSet::new(),
            random: Rng::with_seed(seed),
            connected: BTreeMap::new(),
            next_op: 0,
            limits,
            config,
        }
    }

    /// The loglet is there, on all LogServers, and its sequencer runs.
    pub(crate) fn new(servers: usize, clients: usize, seed: u64) -> Self {
        Self::with_lanes(servers, clients, 1, seed)
    }

    /// As [`Cluster::new`], with so many lanes of the sequencer.
    pub(crate) fn with_lanes(servers: usize, clients: usize, lanes: usize, seed: u64) -> Self {
        let mut cluster = Self::unborn(servers, clients, seed);
        cluster.lanes = lanes;
        let created = cluster.create(0);
        cluster.settle();
        assert_eq!(cluster.result(created), Some(LogletResult::Done));
        cluster.fresh.clear();
        cluster
    }

    pub(crate) fn create(&mut self, client: usize) -> OpId {
        let id = self.next_id();
        self.clients[client].create(id, self.now);
        self.pump();
        id
    }

    pub(crate) fn delete(&mut self, client: usize, chain_version: u64) -> OpId {
        let id = self.next_id();
        self.clients[client].delete(id, chain_version, Vec::new(), self.now);
        self.pump();
        id
    }

    /// Starts an operation; nothing is delivered yet.
    pub(crate) fn start(&mut self, client: usize, op: LogletOp) -> OpId {
        let id = self.next_id();
        self.start_as(client, id, op);
        id
    }

    /// As [`Cluster::start`], under a number of the caller's.
    pub(crate) fn start_as(&mut self, client: usize, id: OpId, op: LogletOp) {
        self.clients[client].handle_op(id, op, self.now);
        self.pump();
    }

    /// Runs an operation as far as it goes without time; it must end.
    pub(crate) fn run(&mut self, client: usize, op: LogletOp) -> LogletResult {
        let id = self.start(client, op);
        self.settle();
        self.result(id).expect("the operation ends")
    }

    pub(crate) fn append(&mut self, client: usize, payload: &str) -> OpId {
        self.start(client, LogletOp::Append { records: records_of(&[payload]) })
    }

    /// Appends these and sees them acknowledged.
    pub(crate) fn append_all(&mut self, client: usize, payloads: &[&str]) {
        for payload in payloads {
            let id = self.append(client, payload);
            self.settle();
            assert!(matches!(self.result(id), Some(LogletResult::Appended { .. })), "{:?}", self.result(id));
        }
    }

    /// What an operation has come to; none if it is still under way.
    pub(crate) fn result(&self, id: OpId) -> Option<LogletResult> {
        self.results.get(&id).and_then(|results| results.last()).cloned()
    }

    /// The sequencer of the present process.
    pub(crate) fn sequencer(&self) -> &Sequencer {
        self.process.sequencer(LOGLET).expect("the loglet is sequenced")
    }

    /// The loglet's local tail at a server that runs, and whether it is sealed there.
    pub(crate) fn local(&self, server: usize) -> (u64, bool) {
        let status = self.status(server);
        (status.local_tail.0, status.sealed)
    }

    pub(crate) fn status(&self, server: usize) -> crate::proto::log_server::LogletStatus<'_> {
        let core = self.servers[server].core.as_ref().expect("the server runs");
        core.loglets().find(|loglet| loglet.id == LOGLET).expect("the server knows the loglet")
    }

    pub(crate) fn next_id(&mut self) -> OpId {
        self.next_op += 1;
        // Apart from the numbers that the suite chooses.
        OpId(self.next_op + (1 << 32))
    }
}

/// These payloads as an append wants them.
pub(crate) fn records_of(payloads: &[&str]) -> Records {
    let Owned { count, bytes } = Owned::of(payloads);
    Records { count, bytes }
}

/// A read of everything below `limit` from `min` on.
pub(crate) fn read(min: u64, limit: u64) -> LogletOp {
    LogletOp::ReadNext { min: Offset(min), max: Offset::MAX, limit: Offset(limit), bytes_max: 4096 }
}

/// The result of a checkTail.
pub(crate) fn tail(tail: u64, sealed: bool) -> LogletResult {
    LogletResult::Tail { tail: Offset(tail), sealed }
}

/// The payloads of a result that has some, as text.
pub(crate) fn texts(result: &LogletResult) -> Vec<String> {
    let LogletResult::Records { records, .. } = result else { panic!("no records: {result:?}") };
    let batch = crate::wire::Batch::new(records.count, &records.bytes).unwrap();
    batch.records().map(|(payload, _)| String::from_utf8(payload.to_vec()).unwrap()).collect()
}
