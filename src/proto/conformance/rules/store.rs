use super::super::cluster::{Cluster, End, read, tail, texts};
use super::{client_reaches, over_seeds, sequencer_reaches};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult};

/// P14 a: a record that is resent while it is in flight is no success.
#[test]
fn p14_a_resent_record_counts_when_its_copy_is_durable() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 2, seed);
        sequencer_reaches(&mut cluster, &[0, 1]);
        cluster.servers[0].disk_held = true;
        let append = cluster.append(0, "seven");
        cluster.settle();
        // It is resent on new connections.
        for _ in 0..3 {
            cluster.cut(End::Sequencer, End::Server(0));
            cluster.heal(End::Sequencer, End::Server(0));
            cluster.settle();
        }
        assert_eq!(cluster.result(append), None, "S1 has no durable copy");
        // S1 loses power, and {S1, S3} are sealed.
        cluster.crash(0);
        cluster.restart(0);
        cluster.servers[0].disk_held = false;
        cluster.cut(End::Sequencer, End::Server(0));
        client_reaches(&mut cluster, 1, &[0, 2]);
        assert_eq!(cluster.run(1, LogletOp::Seal), LogletResult::Sealed);
        assert_eq!(cluster.run(1, LogletOp::CheckTail), tail(0, true));
        cluster.settle();
        assert!(!matches!(cluster.result(append), Some(LogletResult::Appended { .. })), "it is lost");
    });
}

/// P17: a server that lacks the record at `min` never answers with a later one, to a read or a subscriber.
#[test]
fn p17_nothing_is_read_over_a_gap() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 3, seed);
        cluster.append_all(0, &["0", "1"]);
        cluster.isolate(2);
        let long = "x".repeat(150);
        cluster.append_all(0, &[long.as_str(); 30]);
        // It is back, the sequencer has dropped what it lacks, and nobody gives it the records.
        [0, 1].into_iter().for_each(|server| cluster.hold(End::Server(2), End::Server(server)));
        cluster.rejoin(2);
        cluster.settle();
        cluster.append_all(0, &["last"]);
        assert_eq!(cluster.local(2), (33, false));
        assert!(cluster.status(2).gaps > 0, "the queue was dropped");
        cluster.clients[1].set_preferred(2);
        client_reaches(&mut cluster, 1, &[2]);
        let alone = cluster.start(1, read(2, 33));
        let subscription =
            cluster.start(1, LogletOp::Subscribe { from: Offset(0), limit: Offset(33), credit: 1 << 20 });
        cluster.pass_time(cluster.limits.stall);
        assert_eq!(cluster.result(alone), None, "nobody at hand has it");
        let last = cluster.results[&subscription].last().expect("what is before the gap");
        assert_eq!(texts(last).last().map(String::as_str), Some("1"));
        // Others have it.
        client_reaches(&mut cluster, 1, &[0, 1, 2]);
        cluster.pass_time(cluster.limits.stall);
        assert_eq!(texts(&cluster.result(alone).expect("read elsewhere"))[0], long);
        let delivered: Vec<_> = cluster.results[&subscription].iter().flat_map(texts).collect();
        assert_eq!((delivered.len(), delivered[32].as_str()), (33, "last"));
        // And so it gets it, in the end.
        [0, 1].into_iter().for_each(|server| cluster.release(End::Server(2), End::Server(server)));
        cluster.pass_time(cluster.limits.stall * 20);
        assert_eq!(cluster.status(2).gaps, 0);
        cluster.clients[2].set_preferred(2);
        client_reaches(&mut cluster, 2, &[2]);
        assert_eq!(texts(&cluster.run(2, read(2, 33)))[0], long);
    });
}
