use super::super::cluster::{Cluster, End, read, tail, texts};
use super::{client_reaches, over_seeds, sequencer_reaches, silence};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult};

const R1: usize = 1;

/// P2: a seal that is not durable is told to nobody, and lost with the power.
#[test]
fn p2_sealed_is_said_when_the_seal_is_durable() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 2, seed);
        sequencer_reaches(&mut cluster, &[0, 1]);
        cluster.servers[1].disk_held = true;
        // 1: S1 stores 0 and answers success; S2 has it in flight.
        let append = cluster.append(0, "zero");
        cluster.settle();
        // Later answers of S1 are slow, to the sequencer and to R1.
        cluster.hold(End::Sequencer, End::Server(0));
        cluster.hold(End::Client(R1), End::Server(0));
        // 2: the seal is durable on S1 and S3, only in memory on S2.
        let seal = cluster.start(R1, LogletOp::Seal);
        let check = cluster.start(R1, LogletOp::CheckTail);
        cluster.deliver_requests(End::Client(R1), End::Server(0), 10);
        cluster.settle();
        assert_eq!([0, 2].map(|server| cluster.local(server)), [(1, true), (0, true)]);
        // 3: S2 says nothing.
        assert_eq!((cluster.result(seal), cluster.result(check)), (None, None));
        // 4: power is lost after 0 became durable and before the seal did.
        cluster.land(1, 1);
        cluster.cut(End::Client(R1), End::Server(1));
        cluster.crash(1);
        cluster.restart(1);
        cluster.servers[1].disk_held = false;
        assert_eq!(cluster.local(1), (1, false));
        // 5: S1 and S2 have it.
        cluster.settle();
        assert!(matches!(cluster.result(append), Some(LogletResult::Appended { first: Offset(0), .. })));
        // 6: whatever R1 hears now covers it.
        cluster.release(End::Client(R1), End::Server(0));
        cluster.release(End::Sequencer, End::Server(0));
        cluster.settle();
        assert_eq!(cluster.result(check), Some(tail(1, true)));
    });
}

/// P2: between the memory bit and the durable cell there is neither success nor open.
#[test]
fn p2_between_memory_and_disk_nothing_is_said() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 3, seed);
        cluster.append_all(0, &["zero"]);
        cluster.servers[1].disk_held = true;
        client_reaches(&mut cluster, R1, &[1]);
        cluster.start(R1, LogletOp::Seal);
        cluster.settle();
        silence(&mut cluster, R1);
        // S2 and S3 would have to agree.
        cluster.isolate(0);
        let append = cluster.append(0, "one");
        client_reaches(&mut cluster, 2, &[1, 2]);
        let check = cluster.start(2, LogletOp::CheckTail);
        cluster.settle();
        assert_eq!((cluster.result(append), cluster.result(check)), (None, None));
        cluster.servers[1].disk_held = false;
        cluster.settle();
        assert!(matches!(cluster.result(append), Some(LogletResult::AppendSealed { .. })));
        assert!(matches!(cluster.result(check), Some(LogletResult::Tail { sealed: true, .. })));
    });
}

/// P16: a sealed append carries its offset, and the stop settles it.
#[test]
fn p16_the_stop_settles_a_sealed_append() {
    over_seeds(|seed| {
        for (reached, stop) in [([0, 1], 1), ([1, 2], 0)] {
            let mut cluster = Cluster::new(3, 2, seed);
            sequencer_reaches(&mut cluster, &[0]);
            let given = cluster.append(0, "given");
            cluster.settle();
            client_reaches(&mut cluster, R1, &reached);
            assert_eq!(cluster.run(R1, LogletOp::Seal), LogletResult::Sealed);
            assert_eq!(cluster.run(R1, LogletOp::CheckTail), tail(stop, true));
            sequencer_reaches(&mut cluster, &[0, 1, 2]);
            cluster.settle();
            let result = cluster.result(given);
            assert!(matches!(result, Some(LogletResult::AppendSealed { first: Some(Offset(0)), .. })), "{result:?}");
            let late = cluster.append(0, "late");
            cluster.settle();
            let result = cluster.result(late);
            assert!(matches!(result, Some(LogletResult::AppendSealed { first: None, .. })), "{result:?}");
            // Below the stop it has succeeded where it was put; at the stop it never shows.
            for server in 0..3 {
                cluster.clients[R1].set_preferred(server);
                client_reaches(&mut cluster, R1, &[0, 1, 2]);
                let result = cluster.run(R1, read(0, stop));
                match stop {
                    1 => assert_eq!(texts(&result), ["given"]),
                    _ => assert_eq!(result, LogletResult::NothingYet),
                }
            }
        }
    });
}

/// L1: S1 is sealed, S2 open, S3 dead, and nobody is left but somebody who only appends.
#[test]
fn l1_an_append_that_meets_a_seal_completes_it() {
    over_seeds(|seed| {
        for sequencer_alone in [true, false] {
            let mut cluster = Cluster::new(3, 2, seed);
            cluster.append_all(0, &["zero"]);
            cluster.crash(2);
            client_reaches(&mut cluster, R1, &[0]);
            cluster.start(R1, LogletOp::Seal);
            cluster.settle_between(End::Client(R1), End::Server(0));
            silence(&mut cluster, R1);
            match sequencer_alone {
                true => client_reaches(&mut cluster, 0, &[]),
                // It has been heard of by a client only: the sequencer does not reach the others any more.
                false => {
                    cluster.settle_between(End::Sequencer, End::Server(0));
                    cluster.land(0, 10);
                    sequencer_reaches(&mut cluster, &[0]);
                }
            }
            let append = cluster.append(0, "one");
            cluster.settle();
            assert!(matches!(cluster.result(append), Some(LogletResult::AppendSealed { .. })));
            assert!(cluster.local(1).1, "S2 is sealed by whoever heard of it");
            cluster.restart(2);
            sequencer_reaches(&mut cluster, &[0, 1, 2]);
            cluster.settle();
            assert!(cluster.local(2).1, "and S3 as soon as it is there");
        }
    });
}

/// L2: each answer comes from another majority, and the answers to the seal are enough.
#[test]
fn l2_the_majority_that_answered_the_seal_is_the_answer() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 3, seed);
        cluster.append_all(0, &["zero", "one"]);
        // One server is sealed, by somebody who has gone; the sequencer has not noticed.
        (0..3).for_each(|server| cluster.hold(End::Sequencer, End::Server(server)));
        client_reaches(&mut cluster, 2, &[0]);
        cluster.start(2, LogletOp::Seal);
        cluster.settle();
        silence(&mut cluster, 2);
        // The first answers: S2 is open, then S1 is sealed.
        cluster.hold(End::Client(R1), End::Server(0));
        cluster.hold(End::Client(R1), End::Server(2));
        let check = cluster.start(R1, LogletOp::CheckTail);
        cluster.settle();
        assert_eq!(cluster.result(check), None);
        // The seal is answered by S1 and S3, and S2 is never heard again.
        cluster.cut(End::Client(R1), End::Server(1));
        for server in [0, 2] {
            cluster.release(End::Client(R1), End::Server(server));
            cluster.settle();
        }
        assert_eq!(cluster.result(check), Some(tail(2, true)));
        assert_eq!(cluster.local(1), (2, false), "S2 has not even been sealed");
    });
}
