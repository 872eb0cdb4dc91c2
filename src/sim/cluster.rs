//! A cluster in a world: nodes of one shard each, clients, and the loop that lets each of them run when it has something to do.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use serde_json::Value;

use crate::base::{ClusterId, Incarnation, Instant, Limits, LogletId, NodeId, Nonce, Offset, RegisterId, Rng, Version};
use crate::client::{Extended, Log, LogletSpec, OpError, Operation, Reactor, ReadResult, VirtualLog};
use crate::io::Driver;
use crate::io::mem::{Config, DriverId, MemDriver, World};
use crate::proto::virtual_log::contract::LogResult;
use crate::server::{Command, NodeIdentity, Shard, ShardConfig};
use crate::storage::{ANCHOR_FILE, first_anchor};
use crate::wire::{Decision, LogletConfig, Member, Sequencer};

const CLUSTER: ClusterId = ClusterId(0x51);
/// Nodes of a cluster that [`Cluster::start`] makes.
pub const NODES: usize = 3;
const PORT: u16 = 7_000;
const DIRECTORY: &str = "/data";
/// Steps that one wait may take before it counts as stuck. The longest waits take some thousands.
const STEPS_MAX: u64 = 400_000;
/// Turns that one driver may take in a row, each only because time has moved by the least amount, before it counts as spinning.
const SPIN_MAX: u32 = 2_000;
/// The least amount, with what the conversion between clocks adds.
const SPIN: Duration = Duration::from_nanos(1_010);

/// The address of a node, by its number.
pub fn node_address(node: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, node as u8 + 1).into()
}

pub(super) fn client_address(client: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 1, client as u8 + 1).into()
}

/// Every address of a cluster that [`Cluster::start`] makes, the client's last.
pub fn addresses() -> Vec<IpAddr> {
    (0..NODES).map(node_address).chain([client_address(0)]).collect()
}

struct Node {
    /// Another one after its disk was lost.
    id: NodeId,
    /// How many disks it has had.
    disks: u64,
    life: u64,
    incarnation: Incarnation,
    shard: Option<(DriverId, Shard<MemDriver>)>,
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Node(usize),
    Client(usize),
}

/// Nodes and clients in a [`World`], in virtual time. Nothing moves but in [`Cluster::run_until`], [`Cluster::run_for`] and what is
/// built on them.
pub struct Cluster {
    /// Disks, network and time.
    pub world: World,
    /// The bounds of everybody.
    pub limits: Limits,
    /// A loglet over all nodes, sequenced by the first life of node 0.
    pub config: LogletConfig,
    seed: u64,
    nodes: Vec<Node>,
    clients: Vec<Reactor<MemDriver>>,
    drivers: BTreeMap<DriverId, Who>,
    /// Who had the last turn, when, and how many in a row came one after another.
    spin: (DriverId, Instant, u32),
}

impl Cluster {
    /// Three nodes, recovered and ready, and one client.
    pub fn start(seed: u64, limits: Limits) -> Self {
        Self::start_with(seed, limits, 1)
    }

    /// Three nodes, recovered and ready, and so many clients.
    pub fn start_with(seed: u64, limits: Limits, clients: usize) -> Self {
        let mut cluster = Self::begin(seed, limits, Config::default(), NODES, clients);
        cluster.run_until("the nodes are ready", |cluster| (0..NODES).all(|node| cluster.is_ready(node)));
        cluster
    }

    /// So many nodes, about to recover, and clients.
    pub(super) fn begin(seed: u64, limits: Limits, config: Config, nodes: usize, clients: usize) -> Self {
        let world = World::new(seed, config);
        let node = |node| Node {
            id: NodeId(0xA0 + node as u128),
            disks: 1,
            life: 0,
            incarnation: Incarnation::default(),
            shard: None,
        };
        let mut cluster = Self {
            world,
            limits,
            config: LogletConfig {
                id: LogletId { log: 1, version: 1, nonce: seed },
                sequencer: Sequencer {
                    node: NodeId::default(),
                    incarnation: Incarnation::default(),
                    address: (node_address(0), PORT).into(),
                },
                log_servers: Vec::new(),
            },
            seed,
            nodes: (0..nodes).map(node).collect(),
            clients: Vec::new(),
            drivers: BTreeMap::new(),
            spin: (DriverId(u32::MAX), Instant::ORIGIN, 0),
        };
        for client in 0..clients {
            let driver = cluster.world.node(client_address(client));
            let reactor = cluster.start_client(client, driver);
            cluster.clients.push(reactor);
        }
        for node in 0..nodes {
            cluster.format(node);
            let driver = cluster.world.node(node_address(node));
            cluster.start_node(node, driver);
        }
        cluster.config = cluster.configuration(cluster.config.id, 0);
        cluster
    }

    /// A loglet over all nodes as they are now, sequenced by the present life of one of them.
    pub(super) fn configuration(&self, id: LogletId, sequencer: usize) -> LogletConfig {
        self.configuration_on(id, sequencer, &(0..self.nodes.len()).collect::<Vec<_>>())
    }

    /// A loglet over some nodes as they are now, sequenced by the present life of one node.
    pub(super) fn configuration_on(&self, id: LogletId, sequencer: usize, nodes: &[usize]) -> LogletConfig {
        let log_servers = nodes.iter().map(|&node| self.member(node)).collect();
        LogletConfig { id, sequencer: self.sequencer(sequencer), log_servers }
    }

    /// The present life of a node, as a sequencer.
    pub(super) fn sequencer(&self, node: usize) -> Sequencer {
        let Member { node: id, address } = self.member(node);
        Sequencer { node: id, incarnation: self.nodes[node].incarnation, address }
    }

    /// A node as it is now.
    pub(super) fn member(&self, node: usize) -> Member {
        Member { node: self.nodes[node].id, address: (node_address(node), PORT).into() }
    }

    fn start_client(&mut self, client: usize, driver: MemDriver) -> Reactor<MemDriver> {
        self.drivers.insert(driver.id(), Who::Client(client));
        Reactor::new(driver, self.limits.clone())
    }

    /// Ends a client between two of its turns, and starts another one at its address. Nothing of what it did goes on.
    pub(super) fn replace_client(&mut self, client: usize) {
        self.world.crash(client_address(client));
        self.drivers.retain(|_, who| *who != Who::Client(client));
        let driver = self.world.restart(client_address(client));
        self.clients[client] = self.start_client(client, driver);
    }

    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// What a directory has before the first start (P13).
    fn format(&self, node: usize) {
        let path = Path::new(DIRECTORY).join(ANCHOR_FILE);
        self.world.put_file(node_address(node), &path, &first_anchor(self.nodes[node].id, 0));
    }

    fn start_node(&mut self, node: usize, mut driver: MemDriver) {
        let state = &mut self.nodes[node];
        state.life += 1;
        state.incarnation = incarnation(self.seed, node, state.life);
        let (listener, _) = driver.listen(SocketAddr::new(node_address(node), PORT)).expect("the port is free");
        let config = ShardConfig {
            identity: NodeIdentity { cluster: CLUSTER, node: state.id, incarnation: state.incarnation },
            shard: 0,
            shards: 1,
            directory: DIRECTORY.into(),
            block_bytes: 4096,
            limits: self.limits.clone(),
            seed: state.incarnation.0 as u64,
            durability: "quorum-dsync",
            driver: "mem",
            prepare_bytes: 0,
            cores: 1,
        };
        let id = driver.id();
        let shard = Shard::new(driver, config, Some(listener));
        self.world.set_deadline(id, shard.deadline());
        self.drivers.insert(id, Who::Node(node));
        state.shard = Some((id, shard));
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node_id(&self, node: usize) -> NodeId {
        self.nodes[node].id
    }

    /// Whether the node has not crashed.
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].shard.is_some()
    }

    /// How many times the node has been started.
    pub(super) fn life(&self, node: usize) -> u64 {
        self.nodes[node].life
    }

    /// Whether the node answers requests.
    pub fn is_ready(&self, node: usize) -> bool {
        self.nodes[node].shard.as_ref().is_some_and(|(_, shard)| shard.is_ready())
    }

    /// The node's shard.
    ///
    /// # Panics
    /// When the node has crashed.
    pub fn shard(&self, node: usize) -> &Shard<MemDriver> {
        &self.nodes[node].shard.as_ref().expect("the node is up").1
    }

    /// Ends a node between two of its turns.
    pub fn crash(&mut self, node: usize) {
        self.world.crash(node_address(node));
        if let Some((id, _)) = self.nodes[node].shard.take() {
            self.drivers.remove(&id);
        }
    }

    /// Starts a crashed node again, on its disk.
    pub fn restart(&mut self, node: usize) {
        let driver = self.world.restart(node_address(node));
        self.start_node(node, driver);
    }

    /// Starts a crashed node again, with a blank disk. It is another node from then on (P7).
    pub fn restart_blank(&mut self, node: usize) {
        self.world.wipe(node_address(node));
        let state = &mut self.nodes[node];
        state.id = NodeId(0xA0 + node as u128 + (u128::from(state.disks) << 64));
        state.disks += 1;
        self.format(node);
        self.restart(node);
    }

    /// Opens every path and starts every node.
    pub fn heal(&mut self) {
        let clients = (0..self.clients.len()).map(client_address);
        let addresses: Vec<_> = (0..self.nodes.len()).map(node_address).chain(clients).collect();
        for (index, &a) in addresses.iter().enumerate() {
            addresses[..index].iter().for_each(|&b| self.world.heal(a, b));
        }
        for node in 0..self.nodes.len() {
            if !self.is_up(node) {
                self.restart(node);
            }
        }
    }

    /// Opens the loglet of [`Cluster::config`].
    pub fn open(&self) -> Log {
        self.clients[0].open(&self.config, CLUSTER)
    }

    pub(super) fn open_at(&self, client: usize, config: &LogletConfig) -> Log {
        self.clients[client].open(config, CLUSTER)
    }

    /// A log that has been created.
    pub fn created(&mut self) -> Log {
        let log = self.open();
        self.finish("create", log.start_create()).expect("all nodes are up");
        log
    }

    /// Opens the virtual log of the cluster at a client.
    pub fn open_log(&self, client: usize, seed: u64) -> VirtualLog {
        let members = self.config.log_servers.clone();
        let birth = Decision { version: Version::BIRTH, nonce: Nonce(1), members, value: Vec::new() };
        let register = RegisterId(self.config.id.log);
        self.clients[client].open_log(CLUSTER, register, birth, seed)
    }

    /// Makes the virtual log of the cluster, with this as its first loglet.
    pub fn begin_log(&mut self, log: &VirtualLog, first: impl Into<LogletSpec>) {
        let begun = self.finish_log("begin", log.start_begin(first)).expect("all nodes are up");
        assert!(matches!(begun, Extended::Done(_)), "nobody else makes it");
    }

    /// Lets whoever is next run. False when nothing will ever happen by itself, or not before `limit`, which it then is.
    pub(super) fn step(&mut self, limit: Option<Instant>) -> bool {
        let next = match limit {
            Some(limit) => self.world.step_until(limit),
            None => self.world.step(),
        };
        let Some(driver) = next else { return false };
        let now = self.world.now();
        let (last, at, row) = self.spin;
        self.spin =
            if last == driver && at + SPIN >= now && at < now { (driver, now, row + 1) } else { (driver, now, 0) };
        let Some(&who) = self.drivers.get(&driver) else { return true };
        assert!(self.spin.2 < SPIN_MAX, "spinning: {who:?} wants a turn again and again and does nothing with it");
        let deadline = match who {
            // Waiting never blocks here.
            Who::Node(node) => {
                let (_, shard) = self.nodes[node].shard.as_mut().expect("only what is up has a turn");
                assert!(shard.turn(true).expect("the driver of a node that is up works"), "nobody asked it to stop");
                shard.deadline()
            }
            Who::Client(client) => {
                let client = &mut self.clients[client];
                assert!(client.turn(true).expect("the client's driver works"), "nobody asked it to stop");
                client.deadline()
            }
        };
        self.world.set_deadline(driver, deadline);
        true
    }

    /// Goes on until `done`.
    ///
    /// # Panics
    /// When that does not come about, with everything that the nodes say of themselves.
    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if done(self) {
                return;
            }
            if !self.step(None) {
                self.stuck(what);
            }
        }
        self.stuck(what);
    }

    /// Goes on for this long.
    ///
    /// # Panics
    /// When it takes so many steps that time does not seem to pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.world.now() + time;
        for _ in 0..STEPS_MAX {
            if !self.step(Some(end)) {
                return;
            }
        }
        self.stuck("time passes");
    }

    /// Lets so many have their turns.
    pub(super) fn run_steps(&mut self, steps: u64) {
        for _ in 0..steps {
            if !self.step(None) {
                return;
            }
        }
    }

    /// Goes on until `done`, or for this long.
    pub(super) fn run_until_or_for(&mut self, time: Duration, mut done: impl FnMut(&Self) -> bool) {
        let end = self.world.now() + time;
        while !done(self) && self.step(Some(end)) {}
    }

    fn stuck(&mut self, what: &str) -> ! {
        let reports = self.reports();
        let (now, seed, clients) = (self.world.now(), self.seed, self.describe_clients());
        panic!("stuck: waiting until {what}, at {now:?}, seed {seed}; {reports}\n{clients}");
    }

    /// What all clients wait for.
    pub(super) fn describe_clients(&mut self) -> String {
        let clients: Vec<_> = self.clients.iter_mut().map(Reactor::describe).collect();
        clients.join("\n")
    }

    /// What all nodes say of themselves, a line each.
    pub(super) fn reports(&mut self) -> String {
        let nodes = (0..self.nodes.len()).map(|node| {
            let mut report = self.report(node);
            // What nobody wants to read twice.
            if let Value::Object(journal) = &mut report["journal"] {
                journal.remove("write_latency");
            }
            for loglet in report["loglets"].as_array_mut().into_iter().flatten() {
                loglet["config"].take();
            }
            format!("\nnode {node}: {report}")
        });
        nodes.collect()
    }

    /// Goes on until the operation is over, and returns its result.
    ///
    /// # Errors
    /// The operation's.
    pub fn finish<T>(&mut self, what: &str, mut operation: Operation<T>) -> Result<T, OpError> {
        let mut result = None;
        self.run_until(what, |_| {
            result = operation.try_take();
            result.is_some()
        });
        result.expect("it is over")
    }

    /// Goes on until the operation on a virtual log is over, and returns its result.
    ///
    /// # Errors
    /// The operation's.
    pub fn finish_log<T>(&mut self, what: &str, mut operation: Operation<T, LogResult>) -> Result<T, OpError> {
        let mut result = None;
        self.run_until(what, |_| {
            result = operation.try_take();
            result.is_some()
        });
        result.expect("it is over")
    }

    /// Reads everything from `from` up to `to`.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read_all(&mut self, log: &Log, from: Offset, to: Offset) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let mut next = from;
        while next < to {
            match self.finish("a read", log.start_read(next, to, 8 << 10)) {
                Ok(ReadResult::Records(delivery)) => {
                    assert_eq!(delivery.first(), next, "a read begins where it was asked to");
                    records.extend(delivery.records().map(<[u8]>::to_vec));
                    next = delivery.end();
                }
                other => panic!("records up to {to} are readable, and at {next} there is {other:?}"),
            }
        }
        assert_eq!(next, to, "a read ends where it was asked to");
        records
    }

    /// What a node says of itself; null when it is down.
    pub fn report(&mut self, node: usize) -> Value {
        let Some((driver, shard)) = &mut self.nodes[node].shard else { return Value::Null };
        let (reply, report) = sync_channel(1);
        shard.inbox().push(Command::Report(reply));
        assert!(shard.turn(true).expect("the driver of a node that is up works"), "nobody asked it to stop");
        self.world.set_deadline(*driver, shard.deadline());
        report.try_recv().expect("a shard reports in its next turn")
    }

    /// What a node's LogServer says of its first loglet.
    pub fn loglet_report(&mut self, node: usize) -> Value {
        self.report(node)["loglets"][0].clone()
    }

    /// What the sequencer says of itself.
    pub fn sequencer_report(&mut self) -> Value {
        self.report(0)["sequencers"][0].clone()
    }
}

fn incarnation(seed: u64, node: usize, life: u64) -> Incarnation {
    let stream = seed ^ (node as u64) << 32 ^ life << 40;
    Incarnation(Rng::with_seed(stream).u128(1..))
}
