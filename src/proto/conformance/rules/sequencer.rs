use std::time::Duration;

use super::super::cluster::{Cluster, End, LOGLET, read, texts};
use super::{client_reaches, over_seeds};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult};
use crate::proto::sequencer::{Lost, State};

/// P4, steps 1 and 2 up to the loss of the sequencer's state: records 0..10 on S1 and S2, S3 has nothing.
fn without_third(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(3, 3, seed);
    cluster.isolate(2);
    cluster.append_all(0, &["old"; 10]);
    cluster
}

fn stale_append_is_refused(cluster: &mut Cluster) {
    let append = cluster.append(0, "x");
    let create = cluster.create(1);
    cluster.rejoin(2);
    cluster.settle();
    assert!(matches!(cluster.result(append), Some(LogletResult::SequencerLost { .. })), "{:?}", cluster.result(append));
    assert!(matches!(cluster.result(create), Some(LogletResult::SequencerLost { .. })));
    assert_no_second_value(cluster);
}

/// 4: whoever is asked, offset 0 is what was acknowledged there.
fn assert_no_second_value(cluster: &mut Cluster) {
    for server in 0..3 {
        assert_ne!(cluster.servers[server].disk.record(LOGLET, Offset(0)).as_deref(), Some(&b"x"[..]));
    }
    cluster.clients[2].set_preferred(2);
    let result = cluster.run(2, LogletOp::ReadNext { min: Offset(0), max: Offset(1), limit: Offset(10), bytes_max: 9 });
    assert_eq!(texts(&result), ["old"]);
}

#[test]
fn p4_a_restarted_process_never_sequences_again() {
    over_seeds(|seed| {
        let mut cluster = without_third(seed);
        cluster.restart_process();
        stale_append_is_refused(&mut cluster);
    });
}

#[test]
fn p4_a_loglet_that_was_ended_is_not_sequenced_again() {
    over_seeds(|seed| {
        let mut cluster = without_third(seed);
        for server in 0..3 {
            cluster.cut(End::Sequencer, End::Server(server));
        }
        cluster.process.sequencers.end(LOGLET);
        stale_append_is_refused(&mut cluster);
    });
}

/// P4: should a process sequence it all the same, no LogServer takes anything from it, not even one that has nothing.
#[test]
fn p4_a_log_server_refuses_another_incarnation() {
    over_seeds(|seed| {
        let mut cluster = without_third(seed);
        cluster.restart_process();
        cluster.force_sequencer();
        // Only S3 is there for it at first.
        cluster.rejoin(2);
        for server in [0, 1] {
            cluster.cut(End::Sequencer, End::Server(server));
        }
        let append = cluster.append(0, "x");
        cluster.settle();
        assert!(
            matches!(cluster.result(append), Some(LogletResult::SequencerLost { .. })),
            "{:?}",
            cluster.result(append)
        );
        assert_eq!(cluster.sequencer().state(), State::Lost(Lost::Refused { server: 2 }));
        assert_no_second_value(&mut cluster);
    });
}

/// L4: the sequencer lives and reaches no majority.
#[test]
fn l4_a_sequencer_that_stands_still_gives_up() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 2, seed);
        cluster.append_all(0, &["zero"]);
        super::sequencer_reaches(&mut cluster, &[1]);
        let append = cluster.append(0, "one");
        cluster.settle();
        assert_eq!(cluster.result(append), None);
        cluster.pass_time(cluster.limits.stall);
        assert_eq!(cluster.sequencer().state(), State::Lost(Lost::Stalled));
        let result = cluster.result(append);
        assert!(matches!(result, Some(LogletResult::AppendSealed { first: Some(Offset(1)), .. })), "{result:?}");
        assert!((0..3).all(|server| cluster.local(server).1), "and the client that heard of it completes the seal");
    });
}

/// L4: an open checkTail waits for a record that nobody will complete.
#[test]
fn l4_a_check_tail_that_stands_still_seals() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 2, seed);
        super::sequencer_reaches(&mut cluster, &[0]);
        cluster.append(0, "zero");
        cluster.settle();
        cluster.restart_process();
        super::sequencer_reaches(&mut cluster, &[]);
        client_reaches(&mut cluster, 1, &[0, 1]);
        let check = cluster.start(1, LogletOp::CheckTail);
        cluster.settle();
        assert_eq!(cluster.result(check), None, "one server has 1, the other 0");
        cluster.pass_time(cluster.limits.stall);
        assert_eq!(cluster.result(check), Some(super::super::cluster::tail(1, true)));
    });
}

/// L6: later records fill the window for early arrivals while the next one was refused.
#[test]
fn l6_a_full_window_never_blocks_the_next_record() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 2, seed);
        cluster.append_all(0, &["zero"]);
        cluster.isolate(1);
        cluster.hold(End::Sequencer, End::Server(2));
        let long = "x".repeat(90);
        let appends: Vec<_> = (0..20).map(|_| cluster.append(0, &long)).collect();
        cluster.settle();
        // The next record finds the journal busy; everything after it arrives too early.
        cluster.servers[2].disk.refuse = Some(crate::proto::log_server::Refused::Busy);
        cluster.deliver_requests(End::Sequencer, End::Server(2), 1);
        cluster.servers[2].disk.refuse = None;
        cluster.deliver_requests(End::Sequencer, End::Server(2), 100);
        assert_eq!(cluster.local(2), (1, false));
        assert!(cluster.status(2).early_bytes <= cluster.limits.early_window_bytes as usize);
        cluster.release(End::Sequencer, End::Server(2));
        cluster.pass_time(cluster.limits.stall / 2);
        for append in appends {
            assert!(matches!(cluster.result(append), Some(LogletResult::Appended { .. })));
        }
        assert_eq!(cluster.local(2), (21, false));
        let result = cluster.run(1, read(20, 21));
        assert_eq!(texts(&result), [long]);
    });
}

/// P6: what another lane has given out is not filled, and whoever asked hears soon that it is committed, though nobody tells the lane.
#[test]
fn a_fill_that_waits_for_another_lane_is_answered_soon() {
    let mut cluster = Cluster::with_lanes(3, 2, 2, 1);
    cluster.servers.iter_mut().for_each(|server| server.disk_held = true);
    let append = cluster.append(0, "a");
    cluster.settle();
    let fill = cluster.start(1, LogletOp::FillTo { offset: Offset(1) });
    cluster.settle();
    cluster.servers.iter_mut().for_each(|server| server.disk_held = false);
    cluster.settle();
    assert!(matches!(cluster.result(append), Some(LogletResult::Appended { .. })));
    cluster.pass_time(Duration::from_millis(1));
    assert_eq!(cluster.result(fill), Some(LogletResult::Filled { known_tail: Offset(1), placed: 0 }));
}
