//! Servers that cannot be reached: memory stays bounded, nobody hangs, and they catch up.

use std::time::Duration;

use naxos::base::Offset;
use naxos::client::AppendError;

use crate::cluster::{Cluster, NODES, node_address, small_limits};
use crate::writer::Writer;

#[test]
fn a_server_cut_off_for_long_is_dropped_from_the_queue_and_catches_up() {
    for seed in 0..10 {
        let mut cluster = Cluster::start(seed, small_limits());
        let mut writer = Writer::new(cluster.created());
        let limit = u64::from(cluster.limits.sequencer_window_bytes);
        cluster.world.partition(node_address(0), node_address(2));
        // Several windows' worth.
        for _ in 0..40 {
            writer.append(20);
            cluster.run_until("the majority goes on", |_| writer.pending() == 0);
            let queued = cluster.sequencer_report()["log_servers"][2]["queued_bytes"].as_u64().unwrap();
            assert!(queued <= limit / 2, "{queued} bytes are held for a server that may never come back");
        }
        assert_eq!(writer.failed, []);
        cluster.world.heal(node_address(0), node_address(2));
        cluster.run_until("it has caught up", |cluster| {
            cluster.run_for(Duration::from_millis(2));
            let report = cluster.loglet_report(2);
            report["local_tail"] == 800 && report["missing"] == 0 && report["known_tail"] == 800
        });
        // Alone with the sequencer's own server it holds up the majority.
        cluster.crash(1);
        writer.append(20);
        cluster.run_until("it acknowledges", |_| writer.pending() == 0);
        assert_eq!(writer.failed, []);
        let contents = cluster.read_all(&writer.log.clone(), Offset::ZERO, Offset(820));
        writer.check(&contents, None);
    }
}

/// L4: what stands still for `stall` is given up.
#[test]
fn a_watermark_that_stands_still_ends_the_appends() {
    for seed in 0..10 {
        let mut cluster = Cluster::start(seed, small_limits());
        let mut writer = Writer::new(cluster.created());
        writer.append(20);
        cluster.run_until("all is acknowledged", |_| writer.pending() == 0);
        for node in 1..NODES {
            cluster.world.partition(node_address(0), node_address(node));
        }
        let cut_at = cluster.world.now();
        writer.append(20);
        cluster.run_until("the appends end", |_| writer.pending() == 0);
        let took = cluster.world.now().since(cut_at);
        let stall = cluster.limits.stall;
        assert!(took >= stall && took <= 3 * stall, "they end after {took:?}");
        assert_eq!(writer.acknowledged.len(), 20);
        let typed =
            |error: &AppendError| matches!(error, AppendError::SequencerLost { .. } | AppendError::Sealed { .. });
        assert!(writer.failed.iter().all(|(_, error)| typed(error)), "{:?}", writer.failed);
        // The client still reaches everybody: the log is closed and read without waiting for the healing.
        let log = cluster.open();
        cluster.finish("seal", log.start_seal()).unwrap();
        let tail = cluster.finish("check tail", log.start_check_tail()).unwrap();
        assert!(tail.sealed && tail.tail >= Offset(20));
        log.set_stop(tail.tail).unwrap();
        let contents = cluster.read_all(&log, Offset::ZERO, tail.tail);
        writer.check(&contents, Some(tail.tail));
    }
}
