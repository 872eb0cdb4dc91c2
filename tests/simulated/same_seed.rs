//! The meta-test: everything below is worth as much as its repeatability.

use std::time::Duration;

use naxos::base::Offset;
use naxos::client::Tail;
use naxos::io::mem::Trace;

use crate::cluster::{Cluster, small_limits};
use crate::writer::Writer;

#[derive(Debug, PartialEq)]
struct Run {
    trace: Trace,
    outcomes: Vec<(Offset, u64)>,
    tail: Tail,
    contents: Vec<Vec<u8>>,
}

fn run(seed: u64) -> Run {
    let mut cluster = Cluster::start(seed, small_limits());
    let mut writer = Writer::new(cluster.created());
    writer.append(200);
    cluster.run_for(Duration::from_millis(3));
    cluster.crash(2);
    writer.append(100);
    cluster.run_for(Duration::from_millis(20));
    cluster.restart(2);
    writer.append(100);
    cluster.run_until("everything is acknowledged", |_| writer.pending() == 0);
    assert_eq!(writer.failed, []);
    cluster.finish("seal", writer.log.start_seal()).unwrap();
    let tail = cluster.finish("check tail", writer.log.start_check_tail()).unwrap();
    assert_eq!(tail, Tail { tail: Offset(400), sealed: true });
    writer.log.set_stop(tail.tail).unwrap();
    let contents = cluster.read_all(&writer.log, Offset::ZERO, tail.tail);
    writer.check(&contents, Some(tail.tail));
    Run { trace: cluster.world.trace(), outcomes: writer.acknowledged.clone().into_iter().collect(), tail, contents }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut hashes = Vec::new();
    for seed in 1..=4 {
        let first = run(seed);
        assert!(first == run(seed), "seed {seed} does not repeat itself");
        assert!(first.trace.events > 1_000);
        hashes.push(first.trace.hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 4, "other seeds, other histories");
}

/// Found when two logs opened by hand had the same key: the second took the first one's place.
#[test]
fn logs_of_one_client_are_apart() {
    let mut cluster = Cluster::start(1, small_limits());
    let mut writers = [cluster.created(), cluster.open()].map(Writer::new);
    writers.iter_mut().for_each(|writer| writer.append(10));
    cluster.run_until("both are acknowledged", |_| writers.iter_mut().all(|writer| writer.pending() == 0));
    let offsets: Vec<_> = writers.iter().flat_map(|writer| writer.acknowledged.keys()).collect();
    assert_eq!(offsets.len(), 20, "each has its acknowledgements: {offsets:?}");
}
