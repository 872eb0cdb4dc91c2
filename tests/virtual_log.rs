//! Virtual logs over real nodes in one process: chains in the nodes' own MetaStore, reconfigured while they are used.

mod support;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use naxos::base::{IntentId, Limits, LogPos, NodeId};
use naxos::client::{
    Client, Cluster, ClusterError, Event, Extended, GenesisError, GivenUp, Intent, OpError, ReadResult, VirtualLog,
    Wanted,
};
use naxos::wire::Member;
use support::CLUSTER;

/// Nodes that have made a cluster, with a log of three replicas.
struct Rig {
    nodes: support::Cluster,
    addresses: Vec<SocketAddr>,
    cluster: Cluster,
    log: VirtualLog,
    /// Logs end with their clients.
    clients: RefCell<Vec<Client>>,
}

impl Rig {
    fn start(nodes: usize) -> Self {
        let nodes = support::Cluster::start(nodes, 2);
        let addresses = nodes.addresses();
        nodes.client.begin_cluster(CLUSTER, &addresses).unwrap();
        let cluster = nodes.client.cluster(&addresses[..1]).unwrap();
        cluster.found().unwrap();
        let log = cluster.create_log("default", addresses.len()).unwrap();
        Self { nodes, addresses, cluster, log, clients: RefCell::default() }
    }

    /// The log on a client of its own.
    fn another(&self) -> VirtualLog {
        let client = support::client();
        let log = client.cluster(&self.addresses).unwrap().open_log("default").unwrap();
        self.clients.borrow_mut().push(client);
        log
    }

    /// The number of the node that sequences the log now.
    fn sequencer(&self) -> usize {
        let node = self.log.chain().unwrap().last().loglet.first().sequencer.node;
        (0..self.addresses.len()).find(|index| self.nodes.node_id(*index) == node).unwrap()
    }
}

fn record(number: u64) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

/// Appends these records, all of which must be acknowledged at consecutive positions.
fn append(log: &VirtualLog, range: std::ops::Range<u64>) {
    let appends: Vec<_> = range.clone().map(|number| (number, log.append(&record(number)))).collect();
    for (number, append) in appends {
        assert_eq!(append.wait().unwrap(), LogPos(number));
    }
}

/// Everything from `from` to the tail, by reads.
fn read(log: &VirtualLog, from: u64) -> Vec<Vec<u8>> {
    let tail = log.check_tail().unwrap();
    let (mut at, mut records) = (LogPos(from), Vec::new());
    while at < tail {
        match log.read(at, tail, 1000).unwrap() {
            ReadResult::Records(delivery) => {
                assert_eq!(delivery.first(), at);
                records.extend(delivery.records().map(<[u8]>::to_vec));
                at = delivery.end();
            }
            other => panic!("at {at} of {tail}: {other:?}"),
        }
    }
    records
}

/// As many records as these, by a subscription.
fn follow(log: &VirtualLog, from: u64, count: usize) -> Vec<Vec<u8>> {
    let mut subscription = log.subscribe(LogPos(from));
    let mut records = Vec::new();
    while records.len() < count {
        match subscription.next_timeout(Duration::from_secs(30)).unwrap() {
            Some(Event::Records(delivery)) => records.extend(delivery.records().map(<[u8]>::to_vec)),
            other => panic!("after {} of {count}: {other:?}", records.len()),
        }
    }
    records
}

fn records(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(record).collect()
}

#[test]
fn a_log_goes_on_across_loglets() {
    let rig = Rig::start(3);
    for round in 0..4 {
        append(&rig.log, round * 50..round * 50 + 50);
        assert!(matches!(rig.log.extend(None, false).unwrap(), Extended::Done(_)));
    }
    assert_eq!(rig.log.check_tail().unwrap(), LogPos(200));
    let chain = rig.another().chain().unwrap();
    assert_eq!(chain.segments.len(), 5);
    for log in [&rig.log, &rig.another()] {
        assert_eq!(read(log, 0), records(0..200));
        assert_eq!(follow(log, 30, 170), records(30..200));
    }
    append(&rig.log, 200..210);
    assert_eq!(follow(&rig.another(), 0, 210), records(0..210));
}

/// Nothing of an empty loglet stays in the chain (P15).
#[test]
fn a_segment_without_records_is_replaced() {
    let rig = Rig::start(3);
    for _ in 0..3 {
        assert!(matches!(rig.log.extend(None, false).unwrap(), Extended::Done(_)));
    }
    assert_eq!(rig.log.chain().unwrap().segments.len(), 1);
    append(&rig.log, 0..3);
    assert_eq!(read(&rig.another(), 0), records(0..3));
}

#[test]
fn appends_and_subscribers_do_not_notice_a_live_extend() {
    let rig = Rig::start(3);
    let (log, operator, reader) = (rig.log.clone(), rig.another(), rig.another());
    const RECORDS: u64 = 20_000;
    let appending = std::thread::spawn(move || {
        let mut pending = std::collections::VecDeque::new();
        for number in 0..RECORDS {
            pending.push_back(log.append(&record(number)));
            if pending.len() > 200 {
                assert_eq!(pending.pop_front().unwrap().wait().unwrap(), LogPos(number - 200));
            }
        }
        pending.into_iter().for_each(|append| assert!(append.wait().is_ok()));
    });
    let following = std::thread::spawn(move || follow(&reader, 0, RECORDS as usize));
    let mut extends = 0;
    while !appending.is_finished() {
        assert!(matches!(operator.extend(None, false).unwrap(), Extended::Done(_)));
        extends += 1;
    }
    appending.join().unwrap();
    assert!(extends > 1, "some extends while there was load");
    assert_eq!(following.join().unwrap(), records(0..RECORDS));
    assert_eq!(read(&rig.another(), 0), records(0..RECORDS));
}

#[test]
fn a_lost_sequencer_is_replaced_by_whoever_appends() {
    let mut rig = Rig::start(3);
    append(&rig.log, 0..100);
    let sequencer = rig.sequencer();
    let address = rig.nodes.stop(sequencer);
    append(&rig.log, 100..200);
    assert_ne!(rig.sequencer(), sequencer);
    assert_eq!(read(&rig.another(), 0), records(0..200));
    rig.nodes.restart(sequencer, address);
    append(&rig.another(), 200..210);
    assert_eq!(follow(&rig.log, 0, 210), records(0..210));
}

/// While a majority is away nothing can be put behind the last loglet, however often it is tried: what is tried must not fill the others.
#[test]
fn an_outage_of_a_majority_leaves_no_loglets_behind() {
    let mut rig = Rig::start(3);
    append(&rig.log, 0..10);
    let stored = |rig: &Rig| {
        let status = rig.nodes.client.status(rig.addresses[2]).unwrap();
        let loglets = |shard: &serde_json::Value| shard["loglets"].as_array().unwrap().len();
        status["shards"].as_array().unwrap().iter().map(loglets).sum::<usize>()
    };
    let before = stored(&rig);
    let writers = [rig.another(), rig.another()];
    let addresses = [0, 1].map(|node| rig.nodes.stop(node));
    let _appends = writers.each_ref().map(|log| log.append(b"meanwhile"));
    thread::sleep(3 * support::small_limits().stall);
    assert_eq!(stored(&rig), before);
    addresses.into_iter().enumerate().for_each(|(node, address)| rig.nodes.restart(node, address));
    let log = rig.another();
    log.append(b"afterwards").wait().unwrap();
    assert_eq!(read(&log, 0)[..10], records(0..10));
}

#[test]
fn everything_is_there_when_all_nodes_have_been_restarted() {
    let mut rig = Rig::start(3);
    append(&rig.log, 0..100);
    rig.log.extend(None, false).unwrap();
    append(&rig.log, 100..150);
    let addresses: Vec<_> = (0..3).map(|node| rig.nodes.stop(node)).collect();
    addresses.into_iter().enumerate().for_each(|(node, address)| rig.nodes.restart(node, address));
    let log = rig.another();
    assert_eq!(read(&log, 0), records(0..150));
    append(&log, 150..160);
    assert_eq!(read(&rig.log, 0), records(0..160));
}

#[test]
fn racing_extends_make_one_chain() {
    let rig = Rig::start(3);
    let operators: Vec<_> = (0..3).map(|_| rig.another()).collect();
    for round in 0..5 {
        append(&rig.log, round * 10..round * 10 + 10);
        let threads: Vec<_> = operators
            .iter()
            .cloned()
            .map(|operator| std::thread::spawn(move || operator.extend(None, false).unwrap()))
            .collect();
        let ends: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(ends.iter().any(|end| matches!(end, Extended::Done(_))), "{ends:?}");
    }
    assert_eq!(read(&rig.another(), 0), records(0..50));
    append(&rig.log, 50..60);
}

#[test]
fn a_trim_takes_whole_segments_out_of_the_chain() {
    let rig = Rig::start(3);
    for round in 0..3 {
        append(&rig.log, round * 10..round * 10 + 10);
        rig.log.extend(None, false).unwrap();
    }
    assert_eq!(rig.log.trim(LogPos(15)).unwrap(), LogPos(15));
    let chain = rig.another().chain().unwrap();
    assert_eq!((chain.trim_point, chain.segments.len()), (LogPos(15), 3));
    let other = rig.another();
    assert!(matches!(other.read(LogPos(0), LogPos(5), 100).unwrap(), ReadResult::Trimmed(LogPos(15))));
    assert_eq!(read(&other, 15), records(15..30));
    // Beyond the tail there is nothing to give up (P3).
    assert_eq!(other.trim(LogPos(1000)).unwrap(), LogPos(30));
    append(&rig.log, 30..35);
    assert_eq!(read(&other, 30), records(30..35));
    assert_eq!(rig.another().chain().unwrap().segments.len(), 1);
}

/// Somebody who has looked at a log long ago, and then wants to change what he has seen.
#[test]
fn what_is_about_a_chain_that_has_been_replaced_changes_nothing() {
    let rig = Rig::start(3);
    let stale = rig.another();
    append(&stale, 0..10);
    let seen = stale.chain().unwrap();
    let first = seen.last().loglet.clone();
    for _ in 0..2 {
        assert!(matches!(rig.log.extend(None, false).unwrap(), Extended::Done(_)));
        let end = rig.log.check_tail().unwrap().0;
        append(&rig.log, end..end + 10);
    }
    rig.log.trim(LogPos(15)).unwrap();
    let before = rig.log.chain().unwrap();
    assert!(before.segments.iter().all(|segment| segment.loglet.id() != first.id()), "it has left the chain");
    let wanted = Wanted::clone_of(&first, first.first().sequencer.member());
    let overtaken = |end: Result<Extended, OpError>| match end.unwrap() {
        Extended::Overtaken(chain) => assert_eq!(chain, before),
        other => panic!("{other:?}"),
    };
    overtaken(stale.extend_seen(&seen, None, false));
    overtaken(stale.extend_seen(&seen, Some(wanted.clone()), true));
    overtaken(stale.extend_from(first.id(), wanted.clone(), None));
    assert!(matches!(stale.modify(first.id(), first.first().log_servers.clone()), Err(OpError::Unavailable { .. })));
    assert_eq!(stale.trim(LogPos(5)).unwrap(), LogPos(15), "a trim never goes back");
    assert_eq!(rig.another().chain().unwrap(), before);
    assert_eq!(read(&stale, 15), records(15..30), "and it goes on with what is there");

    // Of a log of that name that is another one by now, it knows nothing.
    rig.cluster.delete_log("default").unwrap();
    let next = rig.cluster.create_log("default", 3).unwrap();
    let gone = |reason: String| assert!(reason.contains("the log has been deleted"), "{reason}");
    gone(stale.append(b"late").wait().unwrap_err().to_string());
    gone(stale.extend(None, false).unwrap_err().to_string());
    gone(stale.extend_seen(&before, Some(wanted), true).unwrap_err().to_string());
    gone(stale.trim(LogPos(20)).unwrap_err().to_string());
    gone(stale.check_tail().unwrap_err().to_string());
    assert_eq!((next.check_tail().unwrap(), next.chain().unwrap().version), (LogPos(0), 1));
}

#[test]
fn what_was_given_up_is_told_until_something_else_was_done() {
    let rig = Rig::start(3);
    let seen = rig.log.chain().unwrap();
    let log_servers = seen.last().loglet.first().log_servers.clone();
    // Nobody is this node.
    let nobody = Member { node: NodeId(7), ..log_servers[0] };
    let wanted = Wanted::native(nobody, log_servers.clone());
    let (id, replaces) = (IntentId(5), seen.last().loglet.id());
    let pending = rig.log.start_intended(Intent { id, replaces, wanted, stripes: None, since_unix_ms: 0 });
    let other = rig.another();
    while other.chain().unwrap().intent.is_none() {}
    let given_up = Some(GivenUp::new(id, "there is no such node"));
    assert_eq!(other.drop_intent(id, "there is no such node").unwrap().given_up, given_up);
    drop(pending);
    assert!(matches!(other.extend(None, false).unwrap(), Extended::Done(_)));
    assert_eq!(rig.another().chain().unwrap().given_up, given_up);
    let wanted = Wanted::native(log_servers[1], log_servers);
    assert!(matches!(other.extend(Some(wanted), true).unwrap(), Extended::Done(_)));
    assert_eq!(rig.another().chain().unwrap().given_up, None);
}

/// One of three acceptors is enough to lose: chains change; without two of them nothing does, and appends go on.
#[test]
fn the_metastore_outlives_a_minority_of_its_nodes() {
    let mut rig = Rig::start(3);
    append(&rig.log, 0..10);
    let sequencer = rig.sequencer();
    let others: Vec<usize> = (0..3).filter(|node| *node != sequencer).collect();
    let address = rig.nodes.stop(others[0]);
    assert!(matches!(rig.log.extend(None, false).unwrap(), Extended::Done(_)));
    append(&rig.log, 10..20);
    rig.nodes.restart(others[0], address);
    assert_eq!(read(&rig.another(), 0), records(0..20));
}

#[test]
fn a_cluster_begins_once() {
    let nodes = support::Cluster::start(4, 1);
    let addresses = nodes.addresses();
    let client: &Client = &nodes.client;
    let first = client.begin_cluster(CLUSTER, &addresses[..3]).unwrap();
    assert_eq!(client.begin_cluster(CLUSTER, &addresses[..3]).unwrap(), first, "doing it again changes nothing");
    let other = client.begin_cluster(CLUSTER, &addresses[1..]).unwrap_err();
    assert!(matches!(other, GenesisError::OtherGenesis { members: 3, .. }), "{other}");
    let twice = client.begin_cluster(CLUSTER, &[addresses[3], addresses[3]]).unwrap_err();
    assert!(matches!(twice, GenesisError::Twice(..)), "{twice}");
    assert!(client.cluster(&addresses[3..]).is_err(), "the fourth node is in no cluster yet");
    let cluster = client.cluster(&addresses).unwrap();
    assert!(matches!(cluster.root(), Err(ClusterError::NoRoot(_))), "its list of nodes has not been written");
    assert_eq!(cluster.found().unwrap(), cluster.found().unwrap());
    assert!(cluster.root().unwrap().node(NodeId(1)).is_none());
}

/// Whoever looks for a cluster is not held up by those of its nodes that are not there.
#[test]
fn a_cluster_is_found_by_any_of_its_nodes_at_once() {
    let mut rig = Rig::start(3);
    append(&rig.log, 0..5);
    rig.nodes.stop(0);
    rig.nodes.stop(1);
    // It would wait for half a minute for each of them.
    let client = support::client();
    let begin = std::time::Instant::now();
    client.cluster(&rig.addresses).unwrap();
    assert!(begin.elapsed() < Limits::default().operation_timeout, "{:?}", begin.elapsed());
}

/// All seeds have to be there: the one that is not could be in another cluster (P8 f).
#[test]
fn a_cluster_does_not_begin_without_one_of_its_nodes() {
    let mut nodes = support::Cluster::start(3, 1);
    let addresses = nodes.addresses();
    let address = nodes.stop(1);
    let hasty = support::client_with(Limits { operation_timeout: Duration::from_secs(1), ..support::small_limits() });
    assert!(matches!(hasty.begin_cluster(CLUSTER, &addresses), Err(GenesisError::Unreached(_))));
    nodes.restart(1, address);
    nodes.client.begin_cluster(CLUSTER, &addresses).unwrap();
}

#[test]
fn logs_are_created_once_and_by_name() {
    let rig = Rig::start(3);
    let refused = rig.cluster.create_log("default", 3).unwrap_err();
    assert_eq!(refused.to_string(), "there is a log `default` already");
    let refused = rig.cluster.create_log("other", 4).unwrap_err();
    assert_eq!(refused.to_string(), "4 replicas need 4 nodes, and the cluster has 3");
    let other = rig.cluster.create_log("other", 1).unwrap();
    append(&other, 0..5);
    append(&rig.log, 0..3);
    assert_eq!(read(&rig.cluster.open_log("other").unwrap(), 0), records(0..5));
    let missing = rig.cluster.open_log("nothing").unwrap_err();
    assert_eq!(missing.to_string(), "there is no log `nothing`; the cluster has: default, other");
}
