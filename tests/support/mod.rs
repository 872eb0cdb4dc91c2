//! What the integration tests share: clusters inside the test's process, on a real disk.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod command;
pub mod counting;
pub mod disk;
pub mod loop_device;
pub mod process;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use naxos::base::{ClusterId, Limits, LogletId, NodeId, Offset};
use naxos::client::{Client, ClientOptions, Log, ReadResult};
use naxos::io::DriverChoice;
use naxos::node::{Node, NodeConfig};
use naxos::wire::{LogletConfig, Member, Sequencer};

pub const CLUSTER: ClusterId = ClusterId(0xC1);

/// A directory on the build directory's disk, removed at the end.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Small segments, so that tests roll over and prepare quickly.
pub fn small_limits() -> Limits {
    Limits { segment_bytes: 8 << 20, segments_prepared: 2, ..Limits::default() }
}

/// The records of a loglet from one offset up to another.
pub fn read_all(log: &Log, from: u64, to: u64) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut next = Offset(from);
    while next < Offset(to) {
        match log.read(next, Offset(to), 64 << 10).unwrap() {
            ReadResult::Records(delivery) => {
                assert_eq!(delivery.first(), next);
                records.extend(delivery.records().map(<[u8]>::to_vec));
                next = delivery.end();
            }
            other => panic!("expected records at {next}, got {other:?}"),
        }
    }
    records
}

pub fn node_config(directory: &Path) -> NodeConfig {
    let any = "127.0.0.1:0".parse().unwrap();
    // What a test does not ask for does not happen.
    NodeConfig { shards: Some(1), limits: small_limits(), control: None, ..NodeConfig::new(directory, any, CLUSTER) }
}

/// To start a node again on a directory that has its number of shards.
pub fn node_config_of(directory: &Path) -> NodeConfig {
    NodeConfig { shards: None, ..node_config(directory) }
}

/// Nodes in this process, and a loglet over all of them whose sequencer is the first.
pub struct Cluster {
    pub directory: tempfile::TempDir,
    pub nodes: Vec<Option<Node>>,
    pub config: LogletConfig,
    pub client: Client,
}

impl Cluster {
    pub fn start(nodes: usize, shards: usize) -> Self {
        Self::start_on(DriverChoice::Auto, nodes, shards)
    }

    /// With this driver in the nodes and the client.
    pub fn start_on(driver: DriverChoice, nodes: usize, shards: usize) -> Self {
        Self::start_with(driver, nodes, shards, small_limits())
    }

    /// With these bounds of the nodes.
    pub fn start_with(driver: DriverChoice, nodes: usize, shards: usize, limits: Limits) -> Self {
        let directory = scratch();
        let running: Vec<_> = (0..nodes)
            .map(|node| {
                let directory = directory.path().join(node.to_string());
                let limits = limits.clone();
                Node::start(NodeConfig { shards: Some(shards), driver, limits, ..node_config(&directory) }).unwrap()
            })
            .collect();
        let config = loglet_over(&running, 1);
        let client =
            Client::start(ClientOptions { limits: small_limits(), driver, ..ClientOptions::default() }).unwrap();
        client.create(&config, CLUSTER).unwrap();
        Self { directory, nodes: running.into_iter().map(Some).collect(), config, client }
    }

    pub fn log(&self) -> Log {
        self.client.open(&self.config, CLUSTER)
    }

    pub fn node_directory(&self, node: usize) -> PathBuf {
        self.directory.path().join(node.to_string())
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().flatten().map(Node::address).collect()
    }

    /// Whose data directory this is, as the loglet's configuration says: its LogServers are the nodes in their order.
    pub fn node_id(&self, node: usize) -> NodeId {
        self.config.log_servers[node].node
    }

    pub fn stop(&mut self, node: usize) -> SocketAddr {
        let running = self.nodes[node].take().unwrap();
        let address = running.address();
        running.stop();
        address
    }

    pub fn restart(&mut self, node: usize, listen: SocketAddr) {
        let config = NodeConfig { listen, ..node_config(&self.node_directory(node)) };
        self.nodes[node] = Some(Node::start(NodeConfig { shards: None, ..config }).unwrap());
    }
}

/// A client of its own.
pub fn client() -> Client {
    client_with(small_limits())
}

pub fn client_with(limits: Limits) -> Client {
    Client::start(ClientOptions { limits, ..ClientOptions::default() }).unwrap()
}

/// The loglet number `nonce` over these nodes, sequenced by the first.
pub fn loglet_over(nodes: &[Node], nonce: u64) -> LogletConfig {
    let member = |node: &Node| Member { node: node.node(), address: node.address() };
    LogletConfig {
        id: LogletId { log: 1, version: 1, nonce },
        sequencer: Sequencer {
            node: nodes[0].node(),
            incarnation: nodes[0].incarnation(),
            address: nodes[0].address(),
        },
        log_servers: nodes.iter().map(member).collect(),
    }
}

/// Record number `index` of `writer`: unique, and of varying length.
pub fn record(writer: u64, index: u64) -> Vec<u8> {
    let mut record = format!("{writer}:{index}:").into_bytes();
    record.resize(record.len() + (index as usize * 37) % 400, b'.');
    record
}
