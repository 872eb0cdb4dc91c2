//! A node in the process of its user: records that it has are read without a network.

mod support;

use naxos::base::LogPos;
use naxos::client::{Client, ClientOptions, Event, ReadResult, VirtualLog};
use naxos::io::DriverChoice;
use naxos::node::{Node, NodeConfig};
use serde_json::Value;
use std::time::{Duration, Instant};
use support::{CLUSTER, node_config, scratch, small_limits};

const RECORDS: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(30);

fn record(number: u64) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

fn status(node: &Node) -> Value {
    node.reporter().report(PATIENCE)
}

/// The sum of a counter over the shards.
fn sum(status: &Value, path: &[&str]) -> u64 {
    let shards = status["shards"].as_array().unwrap();
    let of = |shard: &Value| path.iter().fold(shard, |value, key| &value[*key]).as_u64().unwrap();
    shards.iter().map(of).sum()
}

/// Connections that have come over the network.
fn from_elsewhere(node: &Node) -> u64 {
    let status = status(node);
    sum(&status, &["connections"]) - sum(&status, &["local_connections"])
}

fn read(log: &VirtualLog) {
    let mut at = LogPos::ZERO;
    while at < LogPos(RECORDS) {
        match log.read(at, LogPos(RECORDS), 2000).unwrap() {
            ReadResult::Records(delivery) => {
                let numbers = delivery.first().0..;
                numbers.zip(delivery.records()).for_each(|(number, found)| assert_eq!(found, record(number)));
                at = delivery.end();
            }
            other => panic!("at {at}: {other:?}"),
        }
    }
}

fn follow(log: &VirtualLog) {
    let (mut subscription, mut next) = (log.subscribe(LogPos::ZERO), 0);
    while next < RECORDS {
        let Some(Event::Records(delivery)) = subscription.next_timeout(PATIENCE).unwrap() else {
            panic!("nothing after {next}")
        };
        for found in delivery.records() {
            assert_eq!(found, record(next));
            next += 1;
        }
    }
}

/// Three nodes, of which nobody but this test uses anything.
fn cluster(driver: DriverChoice, shards: usize) -> (tempfile::TempDir, Vec<Node>) {
    let directory = scratch();
    let start = |number: usize| {
        let config = node_config(&directory.path().join(number.to_string()));
        Node::start(NodeConfig { shards: Some(shards), driver, control: None, ..config }).unwrap()
    };
    let nodes = (0..3).map(start).collect();
    (directory, nodes)
}

fn reads_need_no_network(driver: DriverChoice) {
    let (_directory, mut nodes) = cluster(driver, 2);
    let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
    let options = || ClientOptions { limits: small_limits(), driver, ..ClientOptions::default() };
    let client = |options| Client::start(options).unwrap();
    let writer = client(options());
    writer.begin_cluster(CLUSTER, &addresses).unwrap();
    writer.cluster(&addresses).unwrap().found().unwrap();
    let log = writer.cluster(&addresses).unwrap().create_log("default", 3).unwrap();
    let appends: Vec<_> = (0..RECORDS).map(|number| log.append(&record(number))).collect();
    appends.into_iter().for_each(|append| assert!(append.wait().is_ok()));
    let chain = log.chain().unwrap();
    drop((log, writer));

    // A reader in the process of a node that is not the sequencer's.
    let home = nodes.iter().position(|node| node.node() != chain.last().loglet.first().sequencer.node).unwrap();
    let home = nodes.swap_remove(home);
    let reader = client(ClientOptions { collocated: Some(home.collocated()), ..options() });
    let log = reader.cluster(&addresses).unwrap().open_log("default").unwrap();
    assert_eq!(log.check_tail().unwrap(), LogPos(RECORDS));
    // Whoever was connected for anything else goes.
    nodes.into_iter().for_each(Node::stop);
    let deadline = Instant::now() + PATIENCE;
    while from_elsewhere(&home) > 0 {
        assert!(Instant::now() < deadline, "{}", status(&home));
        std::thread::yield_now();
    }
    let (local, sent) = (&["local_connections"][..], &["network", "accepted", "sent_bytes"][..]);
    let before = sum(&status(&home), sent);
    read(&log);
    follow(&log);
    let after = status(&home);
    assert_eq!(from_elsewhere(&home), 0, "no connection was made: {after}");
    assert!(sum(&after, local) > 0 && sum(&after, sent) > before + 2 * RECORDS, "through memory: {after}");

    // The reader outlives the node.
    home.stop();
    let gone = log.start_read(LogPos::ZERO, LogPos(1), 100);
    drop((log, reader));
    assert!(gone.wait().is_err());
}

#[test]
fn a_collocated_reader_needs_no_network() {
    reads_need_no_network(DriverChoice::Auto);
    reads_need_no_network(DriverChoice::Epoll);
}

/// Everything else that a client asks of a collocated node goes the same way, and works as it does from elsewhere; when the node is started
/// anew, it is found at its address.
#[test]
fn a_collocated_client_is_a_client() {
    let (directory, mut nodes) = cluster(DriverChoice::Auto, 1);
    let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
    let options = ClientOptions { limits: small_limits(), ..ClientOptions::default() };
    let client = Client::start(ClientOptions { collocated: Some(nodes[0].collocated()), ..options }).unwrap();
    client.begin_cluster(CLUSTER, &addresses).unwrap();
    let cluster = client.cluster(&addresses).unwrap();
    cluster.found().unwrap();
    let log = cluster.create_log("default", 3).unwrap();
    let large = vec![7; 300 << 10];
    let appends: Vec<_> = (0..40).map(|_| log.append(&large)).collect();
    appends.into_iter().for_each(|append| assert!(append.wait().is_ok()));
    assert!(sum(&status(&nodes[0]), &["local_connections"]) > 0);
    let first = nodes.remove(0);
    let listen = first.address();
    first.stop();
    let config = NodeConfig { listen, shards: None, control: None, ..node_config(&directory.path().join("0")) };
    nodes.push(Node::start(config).unwrap());
    assert_eq!(log.append(b"after the restart").wait().unwrap(), LogPos(40));
    let (mut subscription, mut next) = (log.subscribe(LogPos::ZERO), LogPos::ZERO);
    while next < LogPos(41) {
        let Some(Event::Records(delivery)) = subscription.next_timeout(PATIENCE).unwrap() else {
            panic!("after {next}")
        };
        next = delivery.end();
    }
    assert_eq!(sum(&status(nodes.last().unwrap()), &["local_connections"]), 0, "another life, found over the network");
}
