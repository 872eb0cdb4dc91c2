//! Nodes that join, are drained and leave, and registers that move with them, over real nodes in one process.

mod support;

use naxos::base::{LogPos, NodeId};
use naxos::client::{
    Client, Cluster, ClusterError, Extended, LogAppendError, NodeUse, ReadResult, RootRefusal, VirtualLog,
};
use naxos::node::{Node, NodeConfig};
use naxos::wire::Member;
use support::{CLUSTER, node_config};

/// Nodes, of which the first ones are a cluster.
struct Rig {
    nodes: support::Cluster,
    cluster: Cluster,
}

impl Rig {
    fn start(nodes: usize, founders: usize) -> Self {
        let nodes = support::Cluster::start(nodes, 1);
        let addresses = nodes.addresses();
        nodes.client.begin_cluster(CLUSTER, &addresses[..founders]).unwrap();
        let cluster = nodes.client.cluster(&addresses[..1]).unwrap();
        cluster.found().unwrap();
        Self { nodes, cluster }
    }

    fn member(&self, node: usize) -> Member {
        let running = self.nodes.nodes[node].as_ref().unwrap();
        Member { node: running.node(), address: running.address() }
    }

    fn id(&self, node: usize) -> NodeId {
        self.nodes.node_id(node)
    }

    fn join(&self, node: usize, zone: Option<&str>) {
        self.nodes.client.join_cluster(&[self.member(0).address], self.member(node), zone).unwrap();
    }

    /// The cluster, found by one node alone, on a client that knows nothing yet.
    fn found_by(&self, node: usize) -> (Client, Cluster) {
        let client = support::client();
        let cluster = client.cluster(&[self.member(node).address]).unwrap();
        (client, cluster)
    }

    fn restart_all(&mut self, nodes: impl Iterator<Item = usize> + Clone) {
        let addresses: Vec<_> = nodes.clone().map(|node| self.nodes.stop(node)).collect();
        nodes.zip(addresses).for_each(|(node, address)| self.nodes.restart(node, address));
    }
}

fn record(number: u64) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

fn append(log: &VirtualLog, range: std::ops::Range<u64>) {
    let appends: Vec<_> = range.map(|number| (number, log.append(&record(number)))).collect();
    for (number, append) in appends {
        assert_eq!(append.wait().unwrap(), LogPos(number));
    }
}

fn assert_holds(log: &VirtualLog, range: std::ops::Range<u64>) {
    let tail = log.check_tail().unwrap();
    assert_eq!(tail, LogPos(range.end));
    let mut at = LogPos(range.start);
    while at < tail {
        let ReadResult::Records(delivery) = log.read(at, tail, 1000).unwrap() else { panic!("at {at} of {tail}") };
        for (number, found) in (at.0..).zip(delivery.records()) {
            assert_eq!(found, record(number));
        }
        at = delivery.end();
    }
}

fn closed(uses: &[NodeUse]) -> bool {
    uses.iter().all(|used| matches!(used, NodeUse::Closed { .. }))
}

#[test]
fn a_node_is_drained_and_removed_while_its_log_goes_on() {
    let mut rig = Rig::start(4, 3);
    let log = rig.cluster.create_log("default", 3).unwrap();
    append(&log, 0..100);
    let leaving = log.chain().unwrap().last().loglet.first().sequencer.node;
    let refused = rig.cluster.drain(leaving).unwrap_err();
    assert!(matches!(refused, ClusterError::Refused(RootRefusal::LastReplica { left: 2, needed: 3, .. })), "{refused}");
    let refused = rig.cluster.remove(leaving).unwrap_err();
    assert!(matches!(refused, ClusterError::Refused(RootRefusal::NotDraining(_))), "{refused}");

    rig.join(3, Some("east"));
    let joined = rig.cluster.root().unwrap();
    rig.join(3, Some("east"));
    assert_eq!(rig.cluster.root().unwrap(), joined, "joining again changes nothing");
    let drained = rig.cluster.drain(leaving).unwrap();
    assert!(drained.failures.is_empty() && closed(&drained.left), "{drained:?}");
    let active = log.chain().unwrap().last().loglet.clone();
    assert!(!active.nodes().contains(&leaving));
    assert_eq!(active.log_servers().count(), 3);
    append(&log, 100..200);
    let refused = rig.cluster.remove(leaving).unwrap_err().to_string();
    assert!(refused.ends_with("is still used by 1 closed segments of log `default`"), "{refused}");
    let refused = rig.cluster.create_log("wide", 4).unwrap_err().to_string();
    assert_eq!(refused, "4 replicas need 4 nodes, and the cluster has 3, and 1 more that are draining");

    // What is trimmed away needs it no more.
    log.trim(LogPos(100)).unwrap();
    assert_eq!(rig.cluster.remove(leaving).unwrap().nodes.len(), 3);
    assert!(matches!(rig.cluster.remove(leaving), Err(ClusterError::Refused(RootRefusal::NoSuchNode(_)))));
    let left: Vec<usize> = (0..4).filter(|node| rig.id(*node) != leaving).collect();
    let gone = (0..4).find(|node| rig.id(*node) == leaving).unwrap();
    rig.nodes.stop(gone);
    rig.restart_all(left.iter().copied());
    // Also by the node that was in no register at the beginning.
    for node in left {
        let (_client, cluster) = rig.found_by(node);
        assert_holds(&cluster.open_log("default").unwrap(), 100..200);
    }
    let (_client, cluster) = rig.found_by(3);
    append(&cluster.open_log("default").unwrap(), 200..210);
}

/// L8: nobody who kept a register at its birth is left, and it is found and changed all the same.
#[test]
fn registers_outlive_all_their_first_members() {
    let mut rig = Rig::start(4, 1);
    let log = rig.cluster.create_log("default", 1).unwrap();
    append(&log, 0..10);
    for node in 1..4 {
        rig.join(node, None);
    }
    let first = rig.id(0);
    let before = rig.cluster.uses(first).unwrap();
    assert!(before.contains(&NodeUse::RootRegister), "{before:?}");
    let drained = rig.cluster.drain(first).unwrap();
    assert!(drained.failures.is_empty() && closed(&drained.left), "{drained:?}");
    log.trim(LogPos(10)).unwrap();
    rig.cluster.remove(first).unwrap();
    rig.nodes.stop(0);
    rig.restart_all(1..4);
    for node in 1..4 {
        let (_client, cluster) = rig.found_by(node);
        assert_eq!(cluster.root().unwrap().nodes.len(), 3);
        let log = cluster.open_log("default").unwrap();
        assert!(matches!(log.extend(None, false).unwrap(), Extended::Done(_)), "the chain can be changed");
    }
    let (_client, cluster) = rig.found_by(2);
    append(&cluster.open_log("default").unwrap(), 10..20);
    // A minority of the new members may go as well.
    rig.nodes.stop(3);
    let (_client, cluster) = rig.found_by(1);
    cluster.create_log("other", 1).unwrap();
}

#[test]
fn a_register_changes_hands_while_its_chain_changes() {
    let rig = Rig::start(4, 4);
    let log = rig.cluster.create_log("default", 3).unwrap();
    let (_client, operator) = rig.found_by(1);
    let members: Vec<Member> = (0..4).map(|node| rig.member(node)).collect();
    let hands =
        [vec![members[1], members[2], members[3]], vec![members[0]], members.clone(), vec![members[2], members[3]]];
    let moving = std::thread::spawn(move || {
        for _ in 0..3 {
            for members in &hands {
                operator.rewrite_members(Some("default"), members).unwrap();
                operator.rewrite_members(None, members).unwrap();
            }
        }
    });
    // A node has room for some hundreds of loglets, which nobody trims here.
    const EXTENDS: usize = 200;
    let (mut appended, mut extends) = (0, 0);
    while !moving.is_finished() {
        append(&log, appended..appended + 10);
        appended += 10;
        if extends < EXTENDS {
            log.extend(None, false).unwrap();
            extends += 1;
        }
    }
    moving.join().unwrap();
    append(&log, appended..appended + 10);
    assert_holds(&log, 0..appended + 10);
    let (_client, cluster) = rig.found_by(0);
    assert_holds(&cluster.open_log("default").unwrap(), 0..appended + 10);
    let refused = cluster.rewrite_members(None, &[]).unwrap_err();
    assert!(matches!(refused, ClusterError::InvalidMembers(0)), "{refused}");
}

/// A node that is dead for ever leaves like any other.
#[test]
fn a_dead_node_can_be_removed() {
    let mut rig = Rig::start(4, 4);
    let log = rig.cluster.create_log("default", 3).unwrap();
    append(&log, 0..10);
    let placed = log.chain().unwrap().last().loglet.first().log_servers[1].node;
    let dead = (0..4).find(|node| rig.id(*node) == placed).unwrap();
    rig.nodes.stop(dead);
    let drained = rig.cluster.drain(placed).unwrap();
    assert!(drained.failures.is_empty() && closed(&drained.left), "{drained:?}");
    append(&log, 10..20);
    log.trim(LogPos(10)).unwrap();
    rig.cluster.remove(placed).unwrap();
    assert_holds(&log, 10..20);
}

#[test]
fn a_node_that_was_elsewhere_meanwhile_is_found_where_it_is() {
    let mut rig = Rig::start(3, 3);
    let before = rig.member(2);
    rig.nodes.stop(2);
    let config = node_config(&rig.nodes.node_directory(2));
    rig.nodes.nodes[2] = Some(Node::start(NodeConfig { shards: None, ..config }).unwrap());
    let now = rig.member(2);
    assert!(before.node == now.node && before.address != now.address);
    rig.join(2, None);
    assert_eq!(rig.cluster.root().unwrap().node(now.node).unwrap().member, now);
    // Its vote is asked for there.
    rig.nodes.stop(1);
    rig.cluster.create_log("default", 1).unwrap();
}

#[test]
fn a_deleted_log_is_gone_and_its_name_is_free() {
    let rig = Rig::start(3, 3);
    let log = rig.cluster.create_log("default", 3).unwrap();
    let other = rig.cluster.create_log("other", 3).unwrap();
    append(&log, 0..50);
    log.extend(None, false).unwrap();
    append(&log, 50..60);
    append(&other, 0..5);
    let number = rig.cluster.root().unwrap().log("default").unwrap().log;
    let deleted = rig.cluster.delete_log("default").unwrap();
    assert_eq!((deleted.loglets.len(), deleted.failures.len()), (2, 0));
    assert!(rig.cluster.delete_log("default").is_err(), "there is none of that name");
    let late = log.append(b"late").wait();
    assert_eq!(late, Err(LogAppendError::Deleted { maybe_stored: false }));
    let stale = log.chain().unwrap_err().to_string();
    assert!(stale.ends_with("the log has been deleted"), "{stale}");
    let mut registers = Vec::new();
    for address in rig.nodes.addresses() {
        let status = rig.nodes.client.status(address).unwrap();
        let kept = status["shards"][0]["metastore"]["registers"].as_array().unwrap().iter();
        registers.extend(kept.filter(|kept| kept["register"] == number).map(|kept| kept["bytes"].clone()));
        let status = status.to_string();
        assert!(
            deleted.loglets.iter().all(|loglet| !status.contains(&serde_json::to_string(loglet).unwrap())),
            "{status}"
        );
    }
    let last = r#"{"deleted":null}"#.len();
    assert!(registers.iter().filter(|bytes| **bytes == last).count() >= 2, "the chain is forgotten: {registers:?}");
    let again = rig.cluster.create_log("default", 3).unwrap();
    assert_eq!(again.check_tail().unwrap(), LogPos(0));
    append(&again, 0..3);
    assert_eq!(log.append(b"later").wait(), Err(LogAppendError::Deleted { maybe_stored: false }));
    assert_holds(&again, 0..3);
    assert_holds(&other, 0..5);
}
