//! No-ops, over TCP: what nobody appended at is filled, and readers find the records and nothing else, also after restarts.

mod support;

use std::thread;
use std::time::Duration;

use naxos::base::{Limits, Offset};
use naxos::client::{Event, Filled, Log, OpError, ReadResult};
use naxos::io::DriverChoice;
use support::{CLUSTER, Cluster, record};

const PATIENCE: Duration = Duration::from_secs(20);

/// Fills as far as it takes, and returns how many no-ops that has placed.
fn fill(log: &Log, to: u64) -> u64 {
    let (mut reached, mut sum) = (Offset::ZERO, 0);
    while reached < Offset(to) {
        let Filled { known_tail, placed } = log.fill_to(Offset(to)).unwrap();
        (reached, sum) = (known_tail, sum + placed);
    }
    sum
}

/// Every record up to `tail`, each with its offset, as a reader and a subscriber find them.
fn entries(log: &Log, tail: u64) -> Vec<(Offset, Vec<u8>)> {
    let (mut read, mut next) = (Vec::new(), Offset::ZERO);
    while next < Offset(tail) {
        match log.read(next, Offset(tail), 1000).unwrap() {
            ReadResult::Records(delivery) => {
                assert_eq!(delivery.first(), next);
                read.extend(delivery.entries().map(|(offset, record)| (offset, record.to_vec())));
                next = delivery.end();
            }
            other => panic!("{next} of {tail}: {other:?}"),
        }
    }
    let (mut streamed, mut next, mut subscription) = (Vec::new(), Offset::ZERO, log.subscribe(Offset::ZERO));
    while next < Offset(tail) {
        match subscription.next_timeout(PATIENCE).unwrap() {
            Some(Event::Records(delivery)) => {
                assert_eq!(delivery.first(), next);
                streamed.extend(delivery.entries().map(|(offset, record)| (offset, record.to_vec())));
                next = delivery.end();
            }
            other => panic!("{next} of {tail}: {other:?}"),
        }
    }
    assert_eq!(read, streamed);
    read
}

/// What the sequencers of a node say of one thing, all shards together.
fn sum_of(cluster: &Cluster, name: &str) -> u64 {
    let status = cluster.client.status(cluster.config.sequencer.address).unwrap();
    let shards = status["shards"].as_array().unwrap();
    shards.iter().flat_map(|shard| shard["sequencers"].as_array().unwrap()).filter_map(|of| of[name].as_u64()).sum()
}

/// Far more no-ops than one request places, between records, and read from disks that were started again.
#[test]
fn records_among_no_ops_are_read_back_after_restarts() {
    const FAR: u64 = 40_000;
    let mut cluster = Cluster::start(3, 1);
    let log = cluster.log();
    let mut expected = Vec::new();
    let mut append =
        |log: &Log, index| expected.push((log.append(&record(1, index)).wait().unwrap(), record(1, index)));
    (0..10).for_each(|index| append(&log, index));
    assert_eq!(fill(&log, FAR), FAR - 10);
    (10..20).for_each(|index| append(&log, index));
    assert_eq!((fill(&log, FAR + 10), fill(&log, 5)), (0, 0), "all of it is given out");
    let tail = FAR + 10;
    assert_eq!(log.check_tail().unwrap().tail, Offset(tail));
    assert_eq!(expected[10].0, Offset(FAR));
    assert_eq!(entries(&log, tail), expected);
    assert_eq!((sum_of(&cluster, "no_ops"), sum_of(&cluster, "no_op_bytes")), (FAR - 10, 8 * (FAR - 10)));

    let addresses: Vec<_> = (0..3).map(|node| cluster.stop(node)).collect();
    addresses.into_iter().enumerate().for_each(|(node, address)| cluster.restart(node, address));
    let client = support::client();
    let log = client.open(&cluster.config, CLUSTER);
    assert_eq!(log.fill_to(Offset(tail + 1)), Err(OpError::SequencerLost), "another life does not go on (P4)");
    assert_eq!(log.check_tail().unwrap().tail, Offset(tail));
    assert_eq!(entries(&log, tail), expected);
}

/// P6 c, from several connections, which enter on different shards where there are lanes.
fn fills_at_once_place_each_no_op_once(lanes: u32, shards: usize) {
    const ROUNDS: u64 = 50;
    const STEP: u64 = 100;
    let limits = Limits { lanes, ..support::small_limits() };
    let cluster = Cluster::start_with(DriverChoice::Auto, 3, shards, limits);
    let logs: Vec<_> = (0..4).map(|_| cluster.log()).collect();
    let fillers: Vec<_> = logs
        .iter()
        .zip(0_u64..)
        .map(|(log, writer)| {
            let log = log.clone();
            thread::spawn(move || {
                let mut appended = Vec::new();
                let mut placed = 0;
                for round in 1..=ROUNDS {
                    let append = (writer < 2).then(|| log.append(&record(writer, round)));
                    placed += fill(&log, round * STEP);
                    appended.extend(append.map(|append| (append.wait().unwrap(), record(writer, round))));
                }
                (placed, appended)
            })
        })
        .collect();
    let (mut placed, mut expected) = (0, Vec::new());
    for filler in fillers {
        let (own, appended) = filler.join().unwrap();
        placed += own;
        expected.extend(appended);
    }
    expected.sort_unstable();
    let tail = cluster.log().check_tail().unwrap().tail.0;
    assert!((ROUNDS * STEP..ROUNDS * STEP + 2 * ROUNDS).contains(&tail), "{tail}");
    assert_eq!(placed + 2 * ROUNDS, tail, "each offset was given out once");
    assert_eq!(entries(&cluster.log(), tail), expected);
    assert_eq!(sum_of(&cluster, "no_ops"), placed);
}

#[test]
fn fills_of_one_lane_at_once_place_each_no_op_once() {
    fills_at_once_place_each_no_op_once(1, 1);
}

#[test]
fn fills_of_two_lanes_at_once_place_each_no_op_once() {
    fills_at_once_place_each_no_op_once(Limits::LANES_ALL, 2);
}

/// `Offset::MAX` is no number of a frame; who asks for it is answered all the same.
#[test]
fn a_fill_without_an_end_places_as_much_as_one_request_may() {
    for (lanes, shards) in [(1, 1), (Limits::LANES_ALL, 2)] {
        let limits = Limits { lanes, ..support::small_limits() };
        let cluster = Cluster::start_with(DriverChoice::Auto, 3, shards, limits);
        let log = cluster.log();
        let first = log.fill_to(Offset::MAX).unwrap();
        assert_eq!((first.placed > 0, Offset(first.placed)), (true, first.known_tail));
        let second = log.fill_to(Offset::MAX).unwrap();
        assert_eq!((second.placed, second.known_tail), (first.placed, first.known_tail + first.placed));
        log.append(&record(1, 1)).wait().unwrap();
    }
}

#[test]
fn a_sealed_loglet_is_not_filled() {
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    assert_eq!(fill(&log, 5), 5);
    cluster.log().seal().unwrap();
    assert_eq!(log.fill_to(Offset(9)), Err(OpError::Sealed));
    let tail = log.check_tail().unwrap();
    assert_eq!((tail.tail, tail.sealed), (Offset(5), true));
}
