use super::super::cluster::{Cluster, LOGLET, read, tail, texts};
use super::{client_reaches, over_seeds};
use crate::base::Offset;

/// P10: a journal that lost entries which nobody can name gives no tail before others have said what there was.
#[test]
fn p10_a_lost_entry_table_is_no_vote_for_an_empty_loglet() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 2, seed);
        cluster.isolate(2);
        cluster.append_all(0, &["0", "1", "2", "3", "4"]);
        // S1 loses what it held; S2, the only one with a copy, cannot be reached.
        cluster.servers[0].disk.lose_records(LOGLET, Offset(2));
        cluster.crash(0);
        cluster.restart_with(0, true);
        cluster.rejoin(2);
        cluster.isolate(1);
        client_reaches(&mut cluster, 1, &[0, 2]);
        let check = cluster.start(1, crate::proto::loglet::LogletOp::CheckTail);
        cluster.pass_time(cluster.limits.stall * 3);
        assert_eq!(cluster.result(check), None, "five records were acknowledged");
        // With S2 it copies, and votes.
        cluster.rejoin(1);
        cluster.pass_time(cluster.limits.stall * 3);
        let result = cluster.result(check);
        assert!(result == Some(tail(5, true)) || result == Some(tail(5, false)), "{result:?}");
        client_reaches(&mut cluster, 1, &[0]);
        let result = cluster.run(1, read(4, 5));
        assert_eq!(texts(&result), ["4"]);
    });
}
