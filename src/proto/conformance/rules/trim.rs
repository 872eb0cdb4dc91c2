use super::super::cluster::{Cluster, read, tail, texts};
use super::{client_reaches, over_seeds, sequencer_reaches};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult};

const FRESH: usize = 1;

fn trim(cluster: &mut Cluster, client: usize, point: u64, committed: u64) -> LogletResult {
    let id = cluster.start(client, LogletOp::Trim { point: Offset(point), committed: Offset(committed) });
    // One that cannot be reached is not waited for without end.
    cluster.pass_time(cluster.limits.stall);
    cluster.result(id).expect("the trim ends")
}

/// P3, first hole: everything acknowledged is trimmed, everybody who could remember the tail restarts, and offsets are not given
/// out again.
#[test]
fn p3_hole_1_a_trim_does_not_forget_the_tail() {
    over_seeds(|seed| {
        for sealed in [false, true] {
            let mut cluster = Cluster::new(3, 2, seed);
            cluster.isolate(2);
            // 1: records 0..10 are acknowledged and trimmed on S1 and S2.
            cluster.append_all(0, &["record"; 10]);
            assert!(matches!(trim(&mut cluster, 0, 10, 10), LogletResult::TrimDone { servers: 2, .. }));
            // 2: all restart.
            cluster.restart_process();
            for server in 0..3 {
                cluster.crash(server);
                cluster.restart(server);
            }
            super::silence(&mut cluster, 0);
            cluster.rejoin(2);
            super::silence(&mut cluster, 0);
            assert_eq!(cluster.local(0), (10, false));
            // 3: no tail below 10, open or sealed, from any majority.
            let result = match sealed {
                true => {
                    client_reaches(&mut cluster, FRESH, &[1, 2]);
                    assert_eq!(cluster.run(FRESH, LogletOp::Seal), LogletResult::Sealed);
                    cluster.run(FRESH, LogletOp::CheckTail)
                }
                false => {
                    client_reaches(&mut cluster, FRESH, &[0, 1]);
                    cluster.run(FRESH, LogletOp::CheckTail)
                }
            };
            assert_eq!(result, tail(10, sealed));
        }
    });
}

/// P3, second hole: a trim beyond the tail would trim what is appended afterwards.
#[test]
fn p3_hole_2_a_trim_never_reaches_what_is_still_to_come() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 2, seed);
        cluster.append_all(0, &["zero", "one"]);
        for client in [FRESH, 0] {
            assert!(matches!(trim(&mut cluster, client, 50, 2), LogletResult::TrimDone { trim_point: Offset(2), .. }));
        }
        cluster.append_all(0, &["two"]);
        for server in 0..3 {
            cluster.clients[FRESH].set_preferred(server);
            let result = cluster.run(FRESH, read(2, 3));
            assert_eq!(texts(&result), ["two"]);
        }
    });
}

/// P3, third hole: the server with the larger tail has trimmed what the other one lacks.
#[test]
fn p3_hole_3_a_repair_trims_the_lower_server_and_goes_on() {
    over_seeds(|seed| {
        let mut cluster = Cluster::new(3, 2, seed);
        cluster.append_all(0, &["0", "1"]);
        cluster.isolate(2);
        cluster.append_all(0, &["2", "3", "4", "5"]);
        trim(&mut cluster, 0, 4, 6);
        // One more is on S1 only; and nobody is left who knows of any tail.
        sequencer_reaches(&mut cluster, &[0]);
        cluster.append(0, "6");
        cluster.settle();
        cluster.crash(1);
        super::silence(&mut cluster, 0);
        cluster.rejoin(2);
        super::silence(&mut cluster, 0);
        sequencer_reaches(&mut cluster, &[]);
        for server in [0, 2] {
            cluster.crash(server);
            cluster.restart(server);
        }
        client_reaches(&mut cluster, FRESH, &[0, 2]);
        assert_eq!(cluster.run(FRESH, LogletOp::Seal), LogletResult::Sealed);
        assert_eq!([0, 2].map(|server| cluster.local(server)), [(7, true), (2, true)]);
        let check = cluster.start(FRESH, LogletOp::CheckTail);
        cluster.settle();
        assert_eq!(cluster.result(check), Some(tail(7, true)));
        assert_eq!((cluster.local(2), cluster.status(2).trim_point), ((7, true), Offset(4)));
        cluster.clients[FRESH].set_preferred(2);
        assert_eq!(cluster.run(FRESH, read(1, 7)), LogletResult::Trimmed { trim_point: Offset(4) });
        let result = cluster.run(FRESH, read(4, 7));
        assert_eq!(texts(&result), ["4", "5", "6"]);
    });
}
