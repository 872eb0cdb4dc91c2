use super::super::cluster::{Cluster, End, read, tail, texts};
use super::{client_reaches, over_seeds, sequencer_reaches};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult, OpId};

const APPENDER: usize = 0;
const R1: usize = 1;
const R2: usize = 2;
const READER: usize = 3;

/// P1, steps 1 to 8: two reconfigurers find different sealed tails, and the smaller one becomes the stop. Returns the append of the
/// record that lies at the larger one.
///
/// In these cores a seal is durable only after the records before it (one journal, in order), so that step 4 happens before step 2;
/// R1 finds 0 because it does not reach the server with the record.
fn two_sealed_tails(seed: u64) -> (Cluster, OpId) {
    let mut cluster = Cluster::new(3, 4, seed);
    sequencer_reaches(&mut cluster, &[0]);
    let append = cluster.append(APPENDER, "zero");
    cluster.settle();
    assert_eq!(cluster.result(append), None, "one copy is no majority");
    client_reaches(&mut cluster, R1, &[1, 2]);
    assert_eq!(cluster.run(R1, LogletOp::Seal), LogletResult::Sealed);
    assert_eq!(cluster.run(R1, LogletOp::CheckTail), tail(0, true));
    client_reaches(&mut cluster, R2, &[0, 1]);
    assert_eq!(cluster.run(R2, LogletOp::CheckTail), tail(1, true));
    assert_eq!(cluster.local(1), (1, true), "repaired");
    // 8: whatever R2 knows goes to every server that it reaches.
    assert_eq!(cluster.run(R2, LogletOp::CheckTail), tail(1, true));
    cluster.run(R2, LogletOp::Trim { point: Offset(0), committed: Offset(0) });
    (cluster, append)
}

#[test]
fn p1_9a_a_reader_of_the_old_chain_sees_nothing_beyond_the_stop() {
    over_seeds(|seed| {
        let (mut cluster, _) = two_sealed_tails(seed);
        for server in 0..3 {
            cluster.clients[READER].set_preferred(server);
            assert_eq!(cluster.run(READER, read(0, 0)), LogletResult::NothingYet);
        }
        let subscribe = LogletOp::Subscribe { from: Offset(0), limit: Offset(0), credit: 1000 };
        assert_eq!(cluster.run(READER, subscribe), LogletResult::SubscriptionEnded { sealed: true });
        let known = (0..4).map(|client| cluster.clients[client].known_tail());
        assert!(known.chain([cluster.sequencer().known_tail()]).all(|known| known == Offset(0)));
        assert!((0..3).all(|server| cluster.status(server).known_tail == Offset(0)));
    });
}

#[test]
fn p1_9b_a_zombie_is_never_acknowledged() {
    over_seeds(|seed| {
        let (mut cluster, append) = two_sealed_tails(seed);
        // The sequencer resends 0 to every server, and hears `Sealed` with whatever they know.
        sequencer_reaches(&mut cluster, &[0, 1, 2]);
        cluster.break_connection(false);
        cluster.settle();
        let result = cluster.result(append);
        assert!(
            matches!(result, Some(LogletResult::AppendSealed { first: Some(Offset(0)), .. })),
            "the stop is 0, and the append at 0 was told {result:?}"
        );
        assert_eq!(cluster.sequencer().known_tail(), Offset(0));
    });
}

/// From the stop on, the limit of the reader is the stop: a sealed tail that no known tail ever reached can be read.
#[test]
fn p1_a_closed_segment_is_readable_up_to_its_stop() {
    over_seeds(|seed| {
        let (mut cluster, _) = two_sealed_tails(seed);
        // Had R2's write won, the stop were 1.
        for server in [0, 1] {
            cluster.clients[READER].set_preferred(server);
            let result = cluster.run(READER, read(0, 1));
            assert_eq!(texts(&result), ["zero"]);
        }
    });
}

/// L3: after the last append nothing else carries the known tail; subscribers get the last record nevertheless.
#[test]
fn l3_an_idle_log_delivers_its_last_record() {
    over_seeds(|seed| {
        for server in 0..3 {
            let mut cluster = Cluster::new(3, 2, seed);
            cluster.clients[1].set_preferred(server);
            let subscribe = LogletOp::Subscribe { from: Offset(0), limit: Offset(0), credit: 1000 };
            let id = cluster.start(1, subscribe);
            cluster.append_all(0, &["only"]);
            let result = cluster.result(id).expect("a delivery");
            assert_eq!(texts(&result), ["only"]);
        }
    });
}

/// L3: a server that came back to a queue that was dropped is needed for a tail, and nobody appends.
#[test]
fn l3_a_server_with_a_gap_helps_to_find_the_tail() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 2, seed);
        cluster.append_all(0, &["first"]);
        cluster.isolate(2);
        let long = "x".repeat(150);
        cluster.append_all(0, &[long.as_str(); 30]);
        cluster.crash(0);
        // It holds nothing of what was dropped, and those who have it do not answer it.
        cluster.hold(End::Server(2), End::Server(1));
        cluster.rejoin(2);
        cluster.crash(2);
        cluster.restart(2);
        assert_eq!(cluster.run(1, LogletOp::CheckTail), tail(31, false));
    });
}
