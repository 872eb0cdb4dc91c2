//! Disks on which nothing more can be prepared.

use std::time::Duration;

use naxos::base::Offset;
use naxos::client::OpError;

use crate::cluster::{Cluster, NODES, node_address, small_limits};
use crate::writer::Writer;

/// Appends until the disks of `nodes` take nothing more.
fn fill(cluster: &mut Cluster, writer: &mut Writer, nodes: &[usize], records: u64) {
    for &node in nodes {
        cluster.world.set_free_bytes(node_address(node), Some(0));
    }
    writer.append(records);
}

#[test]
fn appends_wait_for_space_on_a_majority_and_go_on_with_it() {
    for seed in 0..10 {
        // A stall that does not come to pass while space is short.
        let limits = naxos::base::Limits {
            stall: Duration::from_secs(60),
            operation_timeout: Duration::from_secs(120),
            ..small_limits()
        };
        let mut cluster = Cluster::start(seed, limits);
        let mut writer = Writer::new(cluster.created());
        fill(&mut cluster, &mut writer, &[1, 2], 1_500);
        cluster.run_for(Duration::from_secs(5));
        let waiting = writer.pending();
        assert!(waiting > 0 && waiting < 1_500, "the space is used up, and then they wait: {waiting}");
        for node in 0..NODES {
            assert!(cluster.shard(node).failure().is_none(), "a full disk is no failure");
            cluster.world.set_free_bytes(node_address(node), None);
        }
        cluster.run_until("there is space again", |_| writer.pending() == 0);
        assert_eq!(writer.failed, []);
        let contents = cluster.read_all(&writer.log.clone(), Offset::ZERO, Offset(1_500));
        writer.check(&contents, None);
    }
}

#[test]
fn a_full_disk_that_stays_full_ends_the_appends_and_loses_nothing() {
    for seed in 0..10 {
        let mut cluster = Cluster::start(seed, small_limits());
        let mut writer = Writer::new(cluster.created());
        fill(&mut cluster, &mut writer, &[0, 1, 2], 1_500);
        cluster.run_until("the appends end", |_| writer.pending() == 0);
        assert!(!writer.failed.is_empty() && !writer.acknowledged.is_empty());
        // Cells may use the reserve: the log can be closed on full disks.
        let log = cluster.open();
        cluster.finish("seal", log.start_seal()).expect("a seal needs no new segment");
        // Where tails differ the repair has to write records, and says so until it can.
        let tail = cluster.finish("check tail", log.start_check_tail());
        assert!(matches!(tail, Ok(_) | Err(OpError::Unavailable { .. })), "{tail:?}");
        (0..NODES).for_each(|node| cluster.world.set_free_bytes(node_address(node), None));
        let tail = cluster.finish("check tail", log.start_check_tail()).expect("there is space for repairs");
        log.set_stop(tail.tail).unwrap();
        let contents = cluster.read_all(&log, Offset::ZERO, tail.tail);
        writer.check(&contents, Some(tail.tail));
    }
}
