//! Writes that fail: the server is out of the vote at once and for good, and only a new life brings it back (P10).

use std::time::Duration;

use naxos::base::Offset;
use naxos::client::AppendError;
use naxos::io::mem::DiskFault;

use crate::cluster::{Cluster, node_address, small_limits};
use crate::writer::Writer;

/// A cluster in which 50 records are acknowledged and on all servers.
fn loaded(seed: u64) -> (Cluster, Writer) {
    let mut cluster = Cluster::start(seed, small_limits());
    let mut writer = Writer::new(cluster.created());
    writer.append(50);
    cluster.run_until("all is acknowledged", |_| writer.pending() == 0);
    cluster.run_for(Duration::from_millis(20));
    (cluster, writer)
}

/// How far the sequencer has counted this server's answers.
fn answered(cluster: &mut Cluster, server: usize) -> u64 {
    cluster.sequencer_report()["log_servers"][server]["acked"].as_u64().expect("the sequencer runs")
}

fn poison(cluster: &mut Cluster, node: usize, fault: DiskFault) {
    cluster.world.inject(node_address(node), fault);
    cluster.run_until("the write has failed", |cluster| cluster.shard(node).failure().is_some());
    let report = cluster.report(node);
    let failure = report["journal"]["failure"].as_str().expect("status names the failure").to_owned();
    assert!(failure.contains("writ"), "{failure}");
}

fn one_poisoned(seed: u64, fault: DiskFault) {
    let (mut cluster, mut writer) = loaded(seed);
    writer.append(50);
    poison(&mut cluster, 1, fault);
    let counted = answered(&mut cluster, 1);
    cluster.run_until("the majority goes on", |_| writer.pending() == 0);
    writer.append(50);
    cluster.run_until("the majority goes on", |_| writer.pending() == 0);
    assert_eq!(writer.failed, []);
    // Not even what was durable there before the failure and not yet answered counts from now on.
    assert_eq!(answered(&mut cluster, 1), counted, "a poisoned server does not vote");
    assert!(counted < 150);

    // With a second server away there is no majority, however long one waits.
    cluster.crash(2);
    writer.append(5);
    cluster.run_for(cluster.limits.stall / 2);
    assert_eq!(writer.pending(), 5, "one good server and a poisoned one acknowledge nothing");
    cluster.restart(2);
    cluster.run_until("the majority is back", |_| writer.pending() == 0);
    assert_eq!(writer.failed, []);

    cluster.crash(1);
    cluster.restart(1);
    cluster.run_until("a new life takes part again", |cluster| {
        cluster.run_for(Duration::from_millis(2));
        cluster.loglet_report(1)["local_tail"] == 155 && cluster.loglet_report(1)["missing"] == 0
    });
    let contents = cluster.read_all(&writer.log.clone(), Offset::ZERO, Offset(155));
    writer.check(&contents, None);
}

fn majority_poisoned(seed: u64, fault: DiskFault) {
    let (mut cluster, mut writer) = loaded(seed);
    cluster.world.inject(node_address(1), fault);
    cluster.world.inject(node_address(2), fault);
    writer.append(50);
    cluster.run_until("both have failed", |cluster| [1, 2].iter().all(|&node| cluster.shard(node).failure().is_some()));
    writer.look();
    // What both had answered before their first failure stands; nothing comes after it.
    let acknowledged = writer.acknowledged.len();
    writer.append(50);
    cluster.run_until("nobody waits for ever", |_| writer.pending() == 0);
    assert_eq!(writer.acknowledged.len(), acknowledged, "no majority can vote");
    assert_eq!(writer.failed.len(), 150 - acknowledged);
    let typed = |error: &AppendError| matches!(error, AppendError::SequencerLost { .. } | AppendError::Sealed { .. });
    assert!(writer.failed.iter().all(|(_, error)| typed(error)), "{:?}", writer.failed);
    let log = writer.log.clone();
    let contents = cluster.read_all(&log, Offset::ZERO, Offset(acknowledged as u64));
    assert_eq!(contents.len(), acknowledged, "what was acknowledged is still read");
    for node in [1, 2] {
        assert!(cluster.shard(node).failure().is_some(), "a failure is for good");
        cluster.crash(node);
        cluster.restart(node);
    }
    cluster.run_until("the nodes are ready", |cluster| [1, 2].iter().all(|&node| cluster.is_ready(node)));
    let log = cluster.open();
    cluster.finish("seal", log.start_seal()).expect("a majority votes again");
    let tail = cluster.finish("check tail", log.start_check_tail()).expect("a majority votes again");
    log.set_stop(tail.tail).unwrap();
    let contents = cluster.read_all(&log, Offset::ZERO, tail.tail);
    writer.check(&contents, Some(tail.tail));
}

#[test]
fn a_failed_or_short_write_stops_acknowledgements_at_once_for_good() {
    for seed in 0..10 {
        for fault in [DiskFault::WriteFails, DiskFault::WriteShort] {
            one_poisoned(seed, fault);
            majority_poisoned(seed, fault);
        }
    }
}
