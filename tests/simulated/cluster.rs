//! A cluster in a world: nodes of one shard each, one client, and the loop that lets each of them run when it has something
//! to do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use naxos::base::{ClusterId, Incarnation, Instant, Limits, LogletId, NodeId, Offset, Rng};
use naxos::client::{Log, OpError, Operation, Reactor, ReadResult};
use naxos::io::Driver;
use naxos::io::mem::{Config, DriverId, MemDriver, World};
use naxos::server::{Command, NodeIdentity, Shard, ShardConfig};
use naxos::wire::{LogletConfig, Member, Sequencer};
use serde_json::Value;

pub const CLUSTER: ClusterId = ClusterId(0x51);
pub const NODES: usize = 3;
const PORT: u16 = 7_000;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
/// Steps that one wait may take before it counts as stuck. The longest waits of these tests take some thousands.
const STEPS_MAX: u64 = 400_000;
/// Turns in a row that a driver may take only because its deadline has come, before it counts as spinning.
const SPIN_MAX: u32 = 1_000;
/// How soon a deadline that stands is looked at again.
const POLL: Duration = Duration::from_micros(1);

/// Limits at which everything happens often: segments hold few batches, windows are filled, and a stall is short.
pub fn small_limits() -> Limits {
    let limits = Limits {
        record_bytes_max: 4 << 10,
        batch_bytes_max: 4 << 10,
        batch_records_max: 16,
        frame_body_bytes_max: 8 << 10,
        unit_bytes_max: 8 << 10,
        segment_bytes: 96 << 10,
        segments_max: 96,
        segments_prepared: 3,
        index_granularity_bytes: 4 << 10,
        early_window_bytes: 16 << 10,
        sequencer_window_bytes: 64 << 10,
        store_window_bytes: 16 << 10,
        outbound_bytes_max: 16 << 10,
        read_bytes_max: 8 << 10,
        client_window_bytes: 32 << 10,
        stall: Duration::from_millis(500),
        reconnect_delay: Duration::from_millis(5),
        operation_timeout: Duration::from_secs(4),
        ..Limits::default()
    };
    limits.check().expect("the limits agree");
    limits
}

pub fn node_address(node: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, node as u8 + 1).into()
}

/// Every address, the client's last.
pub fn addresses() -> Vec<IpAddr> {
    (0..NODES).map(node_address).chain([CLIENT]).collect()
}

struct Node {
    life: u64,
    shard: Option<(DriverId, Shard<MemDriver>)>,
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Node(usize),
    Client,
}

pub struct Cluster {
    pub world: World,
    pub limits: Limits,
    /// The loglet over all nodes, sequenced by the first life of node 0.
    pub config: LogletConfig,
    seed: u64,
    nodes: Vec<Node>,
    client: Reactor<MemDriver>,
    client_driver: DriverId,
    /// The last turn that only a deadline asked for, when, and how many of the same driver there were in a row.
    polled: Option<(Who, Instant, u32)>,
}

impl Cluster {
    /// Three nodes, recovered and ready.
    pub fn start(seed: u64, limits: Limits) -> Self {
        let world = World::new(seed, Config::default());
        let driver = world.node(CLIENT);
        let members = (0..NODES).map(|node| Member { node: node_id(node), address: (node_address(node), PORT).into() });
        let config = LogletConfig {
            id: LogletId { log: 1, version: 1, nonce: seed },
            sequencer: Sequencer {
                node: node_id(0),
                incarnation: incarnation(seed, 0, 1),
                address: (node_address(0), PORT).into(),
            },
            log_servers: members.collect(),
        };
        let mut cluster = Self {
            client_driver: driver.id(),
            client: Reactor::new(driver, limits.clone()),
            nodes: (0..NODES).map(|_| Node { life: 0, shard: None }).collect(),
            world,
            limits,
            config,
            seed,
            polled: None,
        };
        for node in 0..NODES {
            let driver = cluster.world.node(node_address(node));
            cluster.start_node(node, driver);
        }
        cluster.run_until("the nodes are ready", |cluster| (0..NODES).all(|node| cluster.is_ready(node)));
        cluster
    }

    fn start_node(&mut self, node: usize, mut driver: MemDriver) {
        self.nodes[node].life += 1;
        let life = self.nodes[node].life;
        let (listener, _) = driver.listen(SocketAddr::new(node_address(node), PORT)).unwrap();
        let incarnation = incarnation(self.seed, node, life);
        let config = ShardConfig {
            identity: NodeIdentity { cluster: CLUSTER, node: node_id(node), incarnation },
            shard: 0,
            shards: 1,
            directory: "/data".into(),
            block_bytes: 4096,
            limits: self.limits.clone(),
            seed: incarnation.0 as u64,
            durability: "quorum-dsync",
            driver: "mem",
            prepare_bytes: 0,
        };
        self.nodes[node].shard = Some((driver.id(), Shard::new(driver, config, Some(listener))));
    }

    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].shard.is_some()
    }

    pub fn is_ready(&self, node: usize) -> bool {
        self.nodes[node].shard.as_ref().is_some_and(|(_, shard)| shard.is_ready())
    }

    pub fn shard(&self, node: usize) -> &Shard<MemDriver> {
        &self.nodes[node].shard.as_ref().expect("the node is up").1
    }

    pub fn crash(&mut self, node: usize) {
        self.world.crash(node_address(node));
        self.nodes[node].shard = None;
    }

    pub fn restart(&mut self, node: usize) {
        let driver = self.world.restart(node_address(node));
        self.start_node(node, driver);
    }

    /// Opens every path and starts every node.
    pub fn heal(&mut self) {
        let addresses = addresses();
        for (index, &a) in addresses.iter().enumerate() {
            addresses[..index].iter().for_each(|&b| self.world.heal(a, b));
        }
        for node in 0..NODES {
            if !self.is_up(node) {
                self.restart(node);
            }
        }
    }

    pub fn open(&self) -> Log {
        self.client.open(&self.config, CLUSTER)
    }

    /// A log that has been created.
    pub fn created(&mut self) -> Log {
        let log = self.open();
        self.finish("create", log.start_create()).expect("all nodes are up");
        log
    }

    /// When somebody next has something to do without any event.
    fn deadline(&self) -> Option<(Instant, Who)> {
        let nodes = self.nodes.iter().enumerate();
        let nodes = nodes.filter_map(|(index, node)| Some((node.shard.as_ref()?.1.deadline()?, Who::Node(index))));
        let client = self.client.deadline().map(|at| (at, Who::Client));
        // One that has just had its turn for this very deadline is not asked again before time has moved.
        let later = |(at, who): (Instant, Who)| match self.polled {
            Some((polled, then, _)) if polled == who => (at.max(then + POLL), who),
            _ => (at, who),
        };
        nodes.chain(client).map(later).min_by_key(|(at, _)| *at)
    }

    /// Lets whoever is next run. False when nothing will ever happen by itself, or not before `limit`, which it then is.
    fn step(&mut self, limit: Option<Instant>) -> bool {
        let due = self.deadline().filter(|(at, _)| limit.is_none_or(|limit| *at <= limit));
        let until = due.map(|(at, _)| at).or(limit);
        let event = match until {
            Some(until) => self.world.step_until(until),
            None => self.world.step(),
        };
        let who = match (event, due) {
            (Some(driver), _) => {
                self.polled = None;
                self.who(driver)
            }
            (None, Some((_, who))) => {
                let row = self.polled.filter(|(polled, ..)| *polled == who).map_or(0, |(_, _, row)| row + 1);
                assert!(row < SPIN_MAX, "spinning: {who:?} wants a turn again and again and does nothing with it");
                self.polled = Some((who, self.world.now(), row));
                Some(who)
            }
            (None, None) => return false,
        };
        match who {
            // Waiting never blocks here; it only tells the world the deadline.
            Some(Who::Node(node)) => {
                let (_, shard) = self.nodes[node].shard.as_mut().expect("only what is up has a turn");
                assert!(shard.turn(true).expect("the driver of a node that is up works"));
            }
            Some(Who::Client) => assert!(self.client.turn(true).expect("the client's driver works")),
            None => {}
        }
        true
    }

    fn who(&self, driver: DriverId) -> Option<Who> {
        if driver == self.client_driver {
            return Some(Who::Client);
        }
        let has = |node: &Node| node.shard.as_ref().is_some_and(|(id, _)| *id == driver);
        self.nodes.iter().position(has).map(Who::Node)
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
    pub fn run_for(&mut self, time: Duration) {
        let end = self.world.now() + time;
        for _ in 0..STEPS_MAX {
            if !self.step(Some(end)) {
                return;
            }
        }
        self.stuck("time passes");
    }

    fn stuck(&mut self, what: &str) -> ! {
        let nodes: Vec<_> = (0..NODES)
            .map(|node| {
                let mut report = self.report(node);
                // What nobody wants to read twice.
                if let Value::Object(journal) = &mut report["journal"] {
                    journal.remove("counters");
                }
                for loglet in report["loglets"].as_array_mut().into_iter().flatten() {
                    loglet["config"].take();
                }
                format!("\nnode {node}: {report}")
            })
            .collect();
        panic!("stuck: waiting until {what}, at {:?}, seed {}; {}", self.world.now(), self.seed, nodes.concat());
    }

    pub fn finish<T>(&mut self, what: &str, mut operation: Operation<T>) -> Result<T, OpError> {
        let mut result = None;
        self.run_until(what, |_| {
            result = operation.try_take();
            result.is_some()
        });
        result.expect("it is over")
    }

    /// Reads everything from `from` up to `to`.
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
        assert_eq!(next, to);
        records
    }

    /// What a node says of itself; null when it is down.
    pub fn report(&mut self, node: usize) -> Value {
        let Some((_, shard)) = &mut self.nodes[node].shard else { return Value::Null };
        let (reply, report) = sync_channel(1);
        shard.inbox().push(Command::Report(reply));
        assert!(shard.turn(true).expect("the driver of a node that is up works"));
        report.try_recv().expect("a shard reports in its next turn")
    }

    /// What a node's LogServer says of the loglet.
    pub fn loglet_report(&mut self, node: usize) -> Value {
        self.report(node)["loglets"][0].clone()
    }

    /// What the sequencer says of itself.
    pub fn sequencer_report(&mut self) -> Value {
        self.report(0)["sequencers"][0].clone()
    }
}

fn node_id(node: usize) -> NodeId {
    NodeId(0xA0 + node as u128)
}

fn incarnation(seed: u64, node: usize, life: u64) -> Incarnation {
    let stream = seed ^ (node as u64) << 32 ^ life << 40;
    Incarnation(Rng::with_seed(stream).u128(1..))
}
