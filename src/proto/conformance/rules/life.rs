use super::super::cluster::{Cluster, End, LOGLET, tail};
use super::{client_reaches, over_seeds};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult};

/// P5: a deleted seal is not a forgotten seal.
#[test]
fn p5_a_deleted_loglet_never_comes_back_open() {
    over_seeds(|seed| {
        for restarted in [false, true] {
            let mut cluster = Cluster::new(3, 3, seed);
            cluster.append_all(0, &["record"; 5]);
            // 2: the sequencer is stopped before the seal; an append is on its way.
            (0..3).for_each(|server| cluster.hold(End::Sequencer, End::Server(server)));
            let append = cluster.append(0, "late");
            cluster.settle();
            // 1: A is sealed, trimmed and truncated off the chain; S1 and S2 drop it.
            client_reaches(&mut cluster, 1, &[0, 1]);
            assert_eq!(cluster.run(1, LogletOp::Seal), LogletResult::Sealed);
            cluster.run(1, LogletOp::Trim { point: Offset(5), committed: Offset(5) });
            let delete = cluster.delete(1, LOGLET.version + 1);
            cluster.settle();
            assert_eq!(cluster.result(delete), Some(LogletResult::Done));
            if restarted {
                for server in [0, 1] {
                    cluster.crash(server);
                    cluster.restart(server);
                }
            }
            // 3, 4: it wakes and resends; nobody creates anything, and nothing is acknowledged.
            (0..3).for_each(|server| cluster.release(End::Sequencer, End::Server(server)));
            cluster.settle();
            let result = cluster.result(append);
            assert!(matches!(result, Some(LogletResult::AppendSealed { .. })), "{result:?}");
            // A stale client gets no tail, by asking or by creating it again.
            client_reaches(&mut cluster, 2, &[0, 1]);
            assert_eq!(cluster.run(2, LogletOp::CheckTail), LogletResult::Gone);
            let create = cluster.create(0);
            cluster.settle();
            let result = cluster.result(create);
            assert!(matches!(result, Some(LogletResult::Gone | LogletResult::Sealed)), "{result:?}");
        }
    });
}

/// P5: a loglet that was never created is no empty open one.
#[test]
fn p5_an_unborn_loglet_has_no_tail() {
    over_seeds(|seed| {
        let mut cluster = Cluster::unborn(3, 2, seed);
        let check = cluster.start(0, LogletOp::CheckTail);
        cluster.pass_time(cluster.limits.operation_timeout);
        let result = cluster.result(check);
        assert!(matches!(result, Some(LogletResult::Unavailable { .. })), "{result:?}");
    });
}

/// P5: a seal that comes before the creation wins.
#[test]
fn p5_a_seal_before_birth_stands() {
    over_seeds(|seed| {
        let mut cluster = Cluster::unborn(3, 2, seed);
        client_reaches(&mut cluster, 0, &[1, 2]);
        assert_eq!(cluster.run(0, LogletOp::Seal), LogletResult::Sealed);
        let create = cluster.create(1);
        cluster.settle();
        let result = cluster.result(create);
        assert_eq!(result, Some(LogletResult::Sealed), "a majority never has it open");
        assert_eq!(cluster.run(1, LogletOp::CheckTail), tail(0, true));
    });
}
