//! Loglets of several stripes over real nodes.

mod support;

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use naxos::base::{LogletId, Offset};
use naxos::client::{AppendError, Client, ClientOptions, Event, Log, LogletSpec, ReadResult};
use naxos::io::DriverChoice;
use naxos::node::Node;
use naxos::wire::{Member, Sequencer};
use support::{CLUSTER, Cluster, record};

/// Over all nodes, sequenced by one after the other.
fn rotating(nodes: &[&Node], stripes: usize, nonce: u64) -> LogletSpec {
    let members: Vec<_> = nodes.iter().map(|node| Member { node: node.node(), address: node.address() }).collect();
    let stripe = |stripe: usize| {
        let node = nodes[stripe % nodes.len()];
        let sequencer = Sequencer { node: node.node(), incarnation: node.incarnation(), address: node.address() };
        (sequencer, members.clone())
    };
    LogletSpec::new(LogletId { log: 1, version: 1, nonce }, (0..stripes).map(stripe))
}

/// Over nodes of its own for each stripe.
fn sharded(nodes: &[&Node], stripes: usize, nonce: u64) -> LogletSpec {
    let stripe = |nodes: &[&Node]| {
        let members = nodes.iter().map(|node| Member { node: node.node(), address: node.address() }).collect();
        let (node, incarnation, address) = (nodes[0].node(), nodes[0].incarnation(), nodes[0].address());
        (Sequencer { node, incarnation, address }, members)
    };
    LogletSpec::new(LogletId { log: 1, version: 1, nonce }, nodes.chunks(nodes.len() / stripes).map(stripe))
}

struct Rig {
    cluster: Cluster,
    spec: LogletSpec,
}

impl Rig {
    fn new(driver: DriverChoice, nodes: usize, make: impl FnOnce(&[&Node]) -> LogletSpec) -> Self {
        let cluster = Cluster::start_on(driver, nodes, 1);
        let spec = make(&cluster.nodes.iter().flatten().collect::<Vec<_>>());
        cluster.client.create(&spec, CLUSTER).unwrap();
        Self { cluster, spec }
    }

    fn log(&self) -> Log {
        self.cluster.client.open(&self.spec, CLUSTER)
    }
}

/// All that was ever appended, each with its offset.
fn read_all(log: &Log, to: Offset) -> BTreeMap<Offset, Vec<u8>> {
    let (mut next, mut found) = (Offset(0), BTreeMap::new());
    while next < to {
        match log.read(next, to, 64 << 10).unwrap() {
            ReadResult::Records(delivery) => {
                assert_eq!(delivery.first(), next);
                found.extend(delivery.entries().map(|(offset, payload)| (offset, payload.to_vec())));
                next = delivery.end();
            }
            other => panic!("expected records at {next}, got {other:?}"),
        }
    }
    found
}

/// Appends from several threads, each on connections of its own; what became of each record.
fn append_together(logs: &[Log], each: u64) -> BTreeMap<Offset, Vec<u8>> {
    let appended = thread::scope(|scope| {
        let append = |(log, writer): (&Log, u64)| {
            let log = log.clone();
            scope.spawn(move || {
                let mut offsets = Vec::new();
                for window in (0..each).collect::<Vec<_>>().chunks(50) {
                    let appends: Vec<_> = window.iter().map(|index| log.append(&record(writer, *index))).collect();
                    let offset = |append: naxos::client::Append| append.wait().unwrap();
                    let window: Vec<_> = window.iter().map(|index| record(writer, *index)).collect();
                    offsets.extend(appends.into_iter().map(offset).zip(window));
                }
                offsets
            })
        };
        let appenders: Vec<_> = logs.iter().zip(0..).map(append).collect();
        appenders.into_iter().flat_map(|appender| appender.join().unwrap()).collect::<Vec<_>>()
    });
    let count = appended.len();
    let expected: BTreeMap<_, _> = appended.into_iter().collect();
    assert_eq!(expected.len(), count, "no offset was given twice");
    expected
}

fn appends_of_several_clients_are_one_log(
    driver: DriverChoice,
    nodes: usize,
    make: impl FnOnce(&[&Node]) -> LogletSpec,
) {
    let rig = Rig::new(driver, nodes, make);
    let logs: Vec<_> = (0..3).map(|_| rig.log()).collect();
    let follower = rig.log();
    let mut subscription = follower.subscribe(Offset(0));
    let expected = append_together(&logs, 1_000);
    let tail = rig.log().check_tail().unwrap();
    assert!(!tail.sealed && tail.tail > *expected.keys().last().unwrap(), "{tail:?}");
    let reader = rig.log();
    assert_eq!(reader.check_tail().unwrap(), tail);
    assert_eq!(read_all(&reader, tail.tail), expected);
    let (mut followed, mut next) = (BTreeMap::new(), Offset(0));
    while followed.len() < expected.len() {
        let Event::Records(delivery) = subscription.next().unwrap() else { panic!("it is open") };
        assert_eq!(delivery.first(), next);
        next = delivery.end();
        followed.extend(delivery.entries().map(|(offset, payload)| (offset, payload.to_vec())));
    }
    assert_eq!(followed, expected);
    reader.seal().unwrap();
    let sealed = reader.check_tail().unwrap();
    assert!(sealed.sealed && sealed.tail >= tail.tail, "{sealed:?}");
    assert!(matches!(logs[0].append(b"late").wait(), Err(AppendError::Sealed { .. })));
}

#[test]
fn sequencers_rotate_over_the_same_log_servers() {
    appends_of_several_clients_are_one_log(DriverChoice::Auto, 3, |nodes| rotating(nodes, 3, 7));
}

#[test]
fn stripes_have_log_servers_of_their_own() {
    appends_of_several_clients_are_one_log(DriverChoice::Auto, 6, |nodes| sharded(nodes, 2, 7));
}

#[test]
fn stripes_work_without_io_uring() {
    appends_of_several_clients_are_one_log(DriverChoice::Epoll, 3, |nodes| rotating(nodes, 2, 7));
}

/// One stripe alone has appends, but for a few: the others are filled, and what was appended before is before.
fn a_client_appends_to_the_stripes_of_the_second_node(of_node: impl FnOnce(&Node) -> ClientOptions) {
    let rig = Rig::new(DriverChoice::Auto, 3, |nodes| rotating(nodes, 3, 7));
    let options = of_node(rig.cluster.nodes[1].as_ref().unwrap());
    let near = Client::start(ClientOptions { limits: support::small_limits(), ..options }).unwrap();
    let (near, far) = (near.open(&rig.spec, CLUSTER), rig.log());
    let mut last = None;
    for number in 0..50 {
        let is_far = number % 10 == 9;
        let offset = if is_far { &far } else { &near }.append(&record(0, number)).wait().unwrap();
        assert!(is_far || offset.0 % 3 == 1, "{offset} is not of the second stripe");
        assert!(last < Some(offset), "{offset} after {last:?}");
        last = Some(offset);
    }
    let tail = far.check_tail().unwrap().tail;
    assert_eq!(
        read_all(&far, tail).into_values().collect::<Vec<_>>(),
        (0..50).map(|n| record(0, n)).collect::<Vec<_>>()
    );
}

#[test]
fn who_is_near_to_a_node_appends_to_its_stripe_and_idle_ones_hold_nobody_up() {
    a_client_appends_to_the_stripes_of_the_second_node(|node| ClientOptions {
        near: Some(node.node()),
        ..ClientOptions::default()
    });
}

#[test]
fn a_collocated_client_is_near_to_its_node() {
    a_client_appends_to_the_stripes_of_the_second_node(|node| ClientOptions {
        collocated: Some(node.collocated()),
        ..ClientOptions::default()
    });
}

/// P6 d: the loss of one sequencer ends the whole, and nothing that was acknowledged is lost with it.
#[test]
fn one_lost_sequencer_ends_the_loglet_and_loses_nothing() {
    let mut rig = Rig::new(DriverChoice::Auto, 4, |nodes| {
        // The last one stores nothing.
        let mut spec = rotating(&nodes[..3], 2, 7);
        let LogletSpec::Striped(config) = &mut spec else { panic!("of two stripes") };
        let node = nodes[3];
        config.stripes[1].sequencer =
            Sequencer { node: node.node(), incarnation: node.incarnation(), address: node.address() };
        spec
    });
    let log = rig.log();
    let expected = append_together(std::slice::from_ref(&log), 300);
    rig.cluster.stop(3);
    let outcomes: Vec<_> = (0..20).map(|number| log.append(&record(9, number)).wait()).collect();
    assert!(outcomes.iter().any(Result::is_err));
    let tail = loop {
        let tail = log.check_tail().unwrap();
        if tail.sealed {
            break tail.tail;
        }
        thread::sleep(Duration::from_millis(10));
    };
    log.set_stop(tail).unwrap();
    let mut found = read_all(&log, tail);
    for (offset, payload) in expected {
        assert_eq!(found.remove(&offset), Some(payload));
    }
    let settled: BTreeMap<_, _> = outcomes
        .into_iter()
        .zip(0..)
        .filter_map(|(outcome, number)| match outcome {
            Ok(offset) => Some((offset, record(9, number))),
            Err(AppendError::Sealed { record_at: Some(offset) }) if offset < tail => Some((offset, record(9, number))),
            Err(_) => None,
        })
        .collect();
    for (offset, payload) in settled {
        assert_eq!(found.remove(&offset), Some(payload), "acknowledged, or settled by the stop (P16)");
    }
}
