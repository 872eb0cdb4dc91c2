//! Disks on which nothing more can be prepared.

use std::time::Duration;

use naxos::base::{Limits, Offset};
use naxos::client::{AppendError, Log};
use serde_json::Value;

use crate::cluster::{Cluster, NODES, node_address, small_limits};
use crate::writer::Writer;

/// Lets nothing more be prepared on the disks of `nodes`.
fn fill_disks(cluster: &mut Cluster, nodes: &[usize]) {
    for &node in nodes {
        cluster.world.set_free_bytes(node_address(node), Some(0));
    }
}

/// Appends in small steps until an append fails, and all are over; at most as much as fills a journal several times.
fn append_until_refused(cluster: &mut Cluster, writer: &mut Writer) {
    for _ in 0..200 {
        writer.append(10);
        cluster.run_until("the appends are over", |_| writer.pending() == 0);
        if !writer.failed.is_empty() {
            return;
        }
    }
    panic!("space is never used up");
}

fn trim(cluster: &mut Cluster, log: &Log, point: Offset) {
    let trimmed = cluster.finish("trim", log.start_trim(point)).expect("a full disk takes trims");
    assert_eq!(trimmed, point);
}

fn journal_is_full(cluster: &mut Cluster, node: usize) -> bool {
    cluster.report(node)["journal"]["no_space"] == true
}

/// Appends until they are taken again; what is refused meanwhile surely is not in the log.
fn append_again(cluster: &mut Cluster, writer: &mut Writer) {
    let before = writer.acknowledged.len();
    cluster.run_until("an append is taken again", |_| {
        if writer.pending() == 0 && writer.acknowledged.len() == before {
            writer.append(1);
        }
        writer.acknowledged.len() > before
    });
}

#[test]
fn one_full_server_is_noticed_by_no_append_and_catches_up() {
    for seed in 0..10 {
        let mut cluster = Cluster::start(seed, small_limits());
        let mut writer = Writer::new(cluster.created());
        fill_disks(&mut cluster, &[1]);
        writer.append(2_000);
        cluster.run_until("the appends are over", |_| writer.pending() == 0);
        assert_eq!(writer.failed, []);
        assert!(journal_is_full(&mut cluster, 1));
        assert!(cluster.shard(1).failure().is_none(), "a full disk is no failure");
        let sequencer = cluster.sequencer_report();
        assert_eq!((&sequencer["no_space"], &sequencer["log_servers"][1]["no_space"]), (&false.into(), &true.into()));
        let stored = |report: Value| report["stored_records"].as_u64().expect("a count");
        assert!(stored(cluster.loglet_report(1)) < 2_000);
        cluster.world.set_free_bytes(node_address(1), None);
        cluster.run_until("it catches up", |cluster| {
            cluster.run_for(Duration::from_millis(50));
            stored(cluster.loglet_report(1)) == 2_000
        });
        assert!(!journal_is_full(&mut cluster, 1));
    }
}

#[test]
fn without_space_on_a_majority_appends_fail_typed_and_succeed_again_after_a_trim() {
    for seed in 0..10 {
        let nodes: &[usize] = if seed % 2 == 0 { &[1, 2] } else { &[0, 1, 2] };
        let mut cluster = Cluster::start(seed, small_limits());
        let mut writer = Writer::new(cluster.created());
        let log = writer.log.clone();
        fill_disks(&mut cluster, nodes);
        append_until_refused(&mut cluster, &mut writer);
        let typed = |error: &AppendError| matches!(error, AppendError::NoSpace { .. });
        assert!(writer.failed.iter().all(|(_, error)| typed(error)), "{:?}", writer.failed);
        assert_eq!(cluster.sequencer_report()["no_space"], true);

        // From now on they are refused at once, before they are given an offset.
        let (failed, before) = (writer.failed.len(), cluster.world.now());
        writer.append(50);
        cluster.run_until("the appends are refused", |_| writer.pending() == 0);
        assert!(cluster.world.now().since(before) < cluster.limits.stall / 4);
        let early = &writer.failed[failed..];
        assert!(early.iter().all(|(_, error)| *error == AppendError::NoSpace { record_at: None }), "{early:?}");
        assert_eq!(early.len(), 50);

        // Nothing waits for what is in flight, and nothing is sealed for it.
        let end = writer.acknowledged_end();
        let tail = cluster.finish("check tail", log.start_check_tail()).expect("a full disk tells its tail");
        assert!(!tail.sealed && tail.tail >= end, "{tail:?}, {end} acknowledged");
        let contents = cluster.read_all(&log, Offset::ZERO, tail.tail);
        trim(&mut cluster, &log, end);
        append_again(&mut cluster, &mut writer);
        writer.append(100);
        cluster.run_until("the appends are over", |_| writer.pending() == 0);
        assert_eq!(cluster.sequencer_report()["state"], "running");
        for &node in nodes {
            assert!(cluster.shard(node).failure().is_none(), "a full disk is no failure");
        }

        let tail = cluster.finish("check tail", log.start_check_tail()).expect("a tail").tail;
        let contents = [&contents[..end.0 as usize], &cluster.read_all(&log, end, tail)].concat();
        writer.check(&contents, None);
    }
}

#[test]
fn space_that_others_give_back_ends_it_too() {
    for seed in 0..10 {
        let mut cluster = Cluster::start(seed, small_limits());
        let mut writer = Writer::new(cluster.created());
        let log = writer.log.clone();
        fill_disks(&mut cluster, &[1, 2]);
        append_until_refused(&mut cluster, &mut writer);
        cluster.run_for(Duration::from_secs(20));
        (0..NODES).for_each(|node| cluster.world.set_free_bytes(node_address(node), None));
        append_again(&mut cluster, &mut writer);
        writer.append(1_000);
        let refused = writer.failed.len();
        cluster.run_until("the appends are over", |_| writer.pending() == 0);
        assert_eq!(writer.failed.len(), refused);
        assert!((0..NODES).all(|node| !journal_is_full(&mut cluster, node)));
        let tail = cluster.finish("check tail", log.start_check_tail()).expect("a tail").tail;
        let contents = cluster.read_all(&log, Offset::ZERO, tail);
        writer.check(&contents, None);
    }
}

#[test]
fn appends_in_flight_wait_for_space_as_long_as_the_limit_lets_them() {
    for seed in 0..10 {
        let patient = Duration::from_secs(60);
        let limits = Limits { stall: patient, operation_timeout: 2 * patient, ..small_limits() };
        let mut cluster = Cluster::start(seed, limits);
        let mut writer = Writer::new(cluster.created());
        fill_disks(&mut cluster, &[1, 2]);
        // All at once, so that some are in flight when the space is used up.
        writer.append(1_500);
        cluster.run_for(Duration::from_secs(5));
        let waiting = writer.pending();
        assert!(waiting > 0 && waiting < 1_500, "the space is used up, and some wait: {waiting}");
        (0..NODES).for_each(|node| cluster.world.set_free_bytes(node_address(node), None));
        cluster.run_until("there is space again", |_| writer.pending() == 0);
        let early = |(_, error): &(u64, AppendError)| *error == AppendError::NoSpace { record_at: None };
        assert!(writer.failed.iter().all(early), "what had an offset was stored: {:?}", writer.failed);
        let end = writer.acknowledged_end();
        let contents = cluster.read_all(&writer.log.clone(), Offset::ZERO, end);
        writer.check(&contents, None);
    }
}

#[test]
fn a_log_on_full_disks_can_be_sealed_repaired_and_read() {
    for seed in 0..10 {
        // Segments that leave repairs as much room as the sequencer has window, each of whose batches takes whole blocks here.
        let limits = Limits { segment_bytes: 256 << 10, ..small_limits() };
        let mut cluster = Cluster::start(seed, limits);
        let mut writer = Writer::new(cluster.created());
        fill_disks(&mut cluster, &[0, 1, 2]);
        writer.append(1_500);
        cluster.run_until("the appends end", |_| writer.pending() == 0);
        assert!(!writer.failed.is_empty() && !writer.acknowledged.is_empty());
        let log = cluster.open();
        cluster.finish("seal", log.start_seal()).expect("a seal needs no space for records");
        // Where tails differ, the repair finds the room that appends have left to it.
        let tail = cluster.finish("check tail", log.start_check_tail()).expect("a repair has room of its own");
        assert!(tail.sealed);
        log.set_stop(tail.tail).unwrap();
        let contents = cluster.read_all(&log, Offset::ZERO, tail.tail);
        writer.check(&contents, Some(tail.tail));
    }
}

#[test]
fn full_servers_that_restart_are_full_and_lose_nothing() {
    for seed in 0..10 {
        let mut cluster = Cluster::start(seed, small_limits());
        let mut writer = Writer::new(cluster.created());
        let log = writer.log.clone();
        fill_disks(&mut cluster, &[1, 2]);
        append_until_refused(&mut cluster, &mut writer);
        for node in [1, 2] {
            cluster.crash(node);
            cluster.restart(node);
            cluster.run_until("it is ready", |cluster| cluster.is_ready(node));
            cluster.run_for(Duration::from_millis(100));
        }
        let end = writer.acknowledged_end();
        let tail = cluster.finish("check tail", log.start_check_tail()).expect("a tail").tail;
        assert!(tail >= end);
        let contents = cluster.read_all(&log, Offset::ZERO, end);
        trim(&mut cluster, &log, end);
        append_again(&mut cluster, &mut writer);
        let tail = cluster.finish("check tail", log.start_check_tail()).expect("a tail").tail;
        let contents = [contents, cluster.read_all(&log, end, tail)].concat();
        writer.check(&contents, None);
    }
}
