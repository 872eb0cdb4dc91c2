//! Appends of one loglet that enter on several shards of its sequencer's node.

mod support;

use std::collections::BTreeMap;
use std::thread;

use naxos::base::{Limits, LogPos, Offset};
use naxos::client::{AppendError, Client, Extended, ReadResult, VirtualLog};
use naxos::io::DriverChoice;
use naxos::node::{Node, NodeConfig};
use serde_json::Value;
use support::{CLUSTER, Cluster, read_all, record};

const APPENDERS: u64 = 4;

fn with_lanes(driver: DriverChoice, nodes: usize, shards: usize) -> Cluster {
    let limits = Limits { lanes: Limits::LANES_ALL, ..support::small_limits() };
    Cluster::start_with(driver, nodes, shards, limits)
}

/// What the shards of the sequencer's node say.
fn shards(cluster: &Cluster) -> Vec<Value> {
    let status = cluster.client.status(cluster.config.sequencer.address).unwrap();
    status["shards"].as_array().unwrap().clone()
}

/// Records that each shard has taken in.
fn taken(cluster: &Cluster) -> Vec<u64> {
    shards(cluster).iter().map(|shard| shard["appends"]["append_records"].as_u64().unwrap()).collect()
}

/// What became of each record of an appender, up to the first that was not acknowledged.
type Fates = Vec<Result<Offset, AppendError>>;

/// Each appends on a connection of its own, some at a time, until it is through or something else than an acknowledgement comes.
fn append_together(cluster: &Cluster, each: u64, meanwhile: impl FnOnce()) -> Vec<Fates> {
    let logs: Vec<_> = (0..APPENDERS).map(|_| cluster.log()).collect();
    thread::scope(|scope| {
        let appenders: Vec<_> = logs
            .iter()
            .zip(0..)
            .map(|(log, writer)| {
                scope.spawn(move || {
                    let mut fates = Fates::new();
                    for window in (0..each).collect::<Vec<_>>().chunks(50) {
                        let appends: Vec<_> = window.iter().map(|index| log.append(&record(writer, *index))).collect();
                        fates.extend(appends.into_iter().map(|append| append.wait()));
                        if fates.iter().any(Result::is_err) {
                            break;
                        }
                    }
                    fates
                })
            })
            .collect();
        meanwhile();
        appenders.into_iter().map(|appender| appender.join().unwrap()).collect()
    })
}

fn appends_enter_on_every_shard(driver: DriverChoice) {
    const EACH: u64 = 2_000;
    let cluster = with_lanes(driver, 3, 2);
    let fates = append_together(&cluster, EACH, || {});
    let mut expected = BTreeMap::new();
    for (writer, fates) in fates.into_iter().enumerate() {
        let offsets: Vec<_> = fates.into_iter().map(|fate| fate.unwrap()).collect();
        assert!(offsets.is_sorted(), "one connection keeps its order");
        for (index, offset) in offsets.into_iter().enumerate() {
            let before = expected.insert(offset, record(writer as u64, index as u64));
            assert_eq!(before, None, "{offset} was given twice");
        }
    }
    let total = APPENDERS * EACH;
    assert!(expected.keys().copied().eq((0..total).map(Offset)), "every offset was given");
    let log = cluster.log();
    let tail = log.check_tail().unwrap();
    assert_eq!((tail.tail, tail.sealed), (Offset(total), false));
    assert!(expected.into_values().eq(read_all(&log, 0, total)));

    let taken = taken(&cluster);
    assert_eq!(taken.iter().sum::<u64>(), total, "{taken:?}");
    assert!(taken.iter().all(|taken| *taken == total / 2), "connections are spread evenly: {taken:?}");
    for shard in shards(&cluster) {
        let sequencer = &shard["sequencers"][0];
        assert_eq!((&sequencer["lanes"], &sequencer["state"]), (&Value::from(2), &Value::from("running")));
        let servers = sequencer["log_servers"].as_array().unwrap();
        assert!(servers.iter().all(|server| server["connected"] == true), "{servers:?}");
    }
}

#[test]
fn appends_enter_on_every_shard_and_all_are_read_back() {
    appends_enter_on_every_shard(DriverChoice::Auto);
}

#[test]
fn appends_enter_on_every_shard_on_epoll() {
    appends_enter_on_every_shard(DriverChoice::Epoll);
}

/// A seal on the way: whatever lane an append went through, the stop settles it (P16), and nothing beyond was acknowledged.
#[test]
fn a_seal_under_load_settles_the_appends_of_every_lane() {
    let cluster = with_lanes(DriverChoice::Auto, 3, 2);
    // Logs end with their clients.
    let client = support::client();
    let sealer = client.open(&cluster.config, CLUSTER);
    let fates = append_together(&cluster, 200_000, || {
        while taken(&cluster).iter().any(|taken| *taken < 1_000) {
            thread::yield_now();
        }
        sealer.seal().unwrap();
    });
    let stop = sealer.check_tail().unwrap();
    assert!(stop.sealed);
    sealer.set_stop(stop.tail).unwrap();
    let stored = read_all(&sealer, 0, stop.tail.0);
    let mut acknowledged = 0;
    for (writer, fates) in fates.iter().enumerate() {
        assert!(fates.iter().any(Result::is_err), "every lane has heard of the seal");
        for (index, fate) in fates.iter().enumerate() {
            let expected = record(writer as u64, index as u64);
            match fate {
                Ok(offset) => {
                    assert_eq!(stored[offset.0 as usize], expected, "acknowledged at {offset}, of {}", stop.tail);
                    acknowledged += 1;
                }
                Err(AppendError::Sealed { record_at: Some(offset) }) if *offset < stop.tail => {
                    assert_eq!(stored[offset.0 as usize], expected);
                }
                Err(AppendError::Sealed { .. }) => assert!(!stored.contains(&expected), "surely not stored"),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(acknowledged >= 2_000);
    for shard in shards(&cluster) {
        let sequencers = shard["sequencers"].as_array().unwrap();
        assert!(sequencers.iter().all(|sequencer| sequencer["state"] != "running"), "{sequencers:?}");
    }
}

fn read_log(log: &VirtualLog) -> Vec<Vec<u8>> {
    let tail = log.check_tail().unwrap();
    let (mut at, mut records) = (LogPos(0), Vec::new());
    while at < tail {
        match log.read(at, tail, 64 << 10).unwrap() {
            ReadResult::Records(delivery) => {
                records.extend(delivery.records().map(<[u8]>::to_vec));
                at = delivery.end();
            }
            other => panic!("at {at} of {tail}: {other:?}"),
        }
    }
    records
}

/// A virtual log goes from loglet to loglet, each with lanes of its own, under appends on all of them.
#[test]
fn a_log_is_reconfigured_under_the_load_of_all_lanes() {
    const EACH: u64 = 6_000;
    let nodes = with_lanes(DriverChoice::Auto, 3, 2);
    let addresses = nodes.addresses();
    nodes.client.begin_cluster(CLUSTER, &addresses).unwrap();
    let cluster = nodes.client.cluster(&addresses).unwrap();
    cluster.found().unwrap();
    let operator = cluster.create_log("default", addresses.len()).unwrap();
    let clients: Vec<Client> = (0..APPENDERS).map(|_| support::client()).collect();
    let mut positions: Vec<(LogPos, Vec<u8>)> = thread::scope(|scope| {
        let appenders: Vec<_> = clients
            .iter()
            .zip(0..)
            .map(|(client, writer)| {
                let log = client.cluster(&addresses).unwrap().open_log("default").unwrap();
                scope.spawn(move || {
                    let mut positions = Vec::new();
                    for window in (0..EACH).collect::<Vec<_>>().chunks(100) {
                        let appends = window.iter().map(|index| log.append(&record(writer, *index)));
                        let appends: Vec<_> = appends.collect();
                        let ends = appends.into_iter().map(|append| append.wait().unwrap());
                        positions.extend(ends.zip(window.iter().map(|index| record(writer, *index))));
                    }
                    positions
                })
            })
            .collect();
        for _ in 0..4 {
            let tail = operator.check_tail().unwrap();
            while operator.check_tail().unwrap().0 < tail.0 + 2_000 {
                thread::yield_now();
            }
            assert!(matches!(operator.extend(None, false).unwrap(), Extended::Done(_)));
        }
        appenders.into_iter().flat_map(|appender| appender.join().unwrap()).collect()
    });
    positions.sort_unstable();
    assert_eq!(operator.chain().unwrap().segments.len(), 5);
    assert!(positions.iter().map(|(position, _)| position.0).eq(0..APPENDERS * EACH), "each record once");
    assert!(positions.into_iter().map(|(_, record)| record).eq(read_log(&operator)));
}

#[test]
fn one_lane_is_what_there_is_unless_more_are_asked_for() {
    let cluster = Cluster::start(3, 2);
    append_together(&cluster, 50, || {});
    let taken = taken(&cluster);
    assert!(taken.iter().filter(|taken| **taken > 0).count() == 1, "{taken:?}");
}

#[test]
fn more_lanes_than_shards_are_refused() {
    let directory = support::scratch();
    let limits = Limits { lanes: 3, ..support::small_limits() };
    let config = NodeConfig { shards: Some(2), limits, ..support::node_config(directory.path()) };
    let refused = Node::start(config).unwrap_err().to_string();
    assert!(refused.contains("`lanes` is 3") && refused.contains("2 shards"), "{refused}");
}
