//! Every row of the checkTail table, with servers that are crashed, restarted or lagging.

use super::super::cluster::{Cluster, End, read, tail, texts};
use super::{client_reaches, over_seeds, sequencer_reaches};
use crate::proto::loglet::{LogletOp, LogletResult};

const ASKER: usize = 1;
const SEALER: usize = 2;

/// What happens to a server before the tail is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Crashed,
    Restarted,
    /// Nobody reaches it.
    CutOff,
}

const FATES: [Fate; 3] = [Fate::Crashed, Fate::Restarted, Fate::CutOff];

fn befalls(cluster: &mut Cluster, server: usize, fate: Fate) {
    match fate {
        Fate::Crashed => cluster.crash(server),
        Fate::Restarted => {
            cluster.crash(server);
            cluster.restart(server);
        }
        Fate::CutOff => cluster.isolate(server),
    }
}

/// A cluster whose servers hold this many records each, of which a majority's are acknowledged.
fn with_tails(seed: u64, tails: [usize; 3]) -> Cluster {
    let mut cluster = Cluster::new(3, 3, seed);
    for number in 0..*tails.iter().max().unwrap() {
        let servers: Vec<usize> = (0..3).filter(|server| tails[*server] > number).collect();
        sequencer_reaches(&mut cluster, &servers);
        cluster.append(0, &number.to_string());
        cluster.settle();
    }
    // Known tails would say what the servers do not hold: they are forgotten, and the sequencer tells none.
    sequencer_reaches(&mut cluster, &[]);
    for (server, tail) in tails.into_iter().enumerate() {
        cluster.crash(server);
        cluster.restart(server);
        assert_eq!(cluster.local(server), (tail as u64, false));
    }
    cluster
}

fn for_each_fate(execution: impl Fn(u64, usize, Fate)) {
    over_seeds(|seed| {
        for server in 0..3 {
            FATES.into_iter().for_each(|fate| execution(seed, server, fate));
        }
    });
}

fn seal_on(cluster: &mut Cluster, servers: &[usize]) {
    client_reaches(cluster, SEALER, servers);
    cluster.start(SEALER, LogletOp::Seal);
    cluster.settle();
    super::silence(cluster, SEALER);
    super::silence(cluster, 0);
}

#[test]
fn row_1_all_sealed_at_one_tail() {
    for_each_fate(|seed, server, fate| {
        let mut cluster = with_tails(seed, [4; 3]);
        seal_on(&mut cluster, &[0, 1, 2]);
        befalls(&mut cluster, server, fate);
        assert_eq!(cluster.run(ASKER, LogletOp::CheckTail), tail(4, true));
    });
}

#[test]
fn row_2_all_sealed_at_different_tails() {
    for_each_fate(|seed, server, fate| {
        let tails = [5, 3, 1];
        let mut cluster = with_tails(seed, tails);
        seal_on(&mut cluster, &[0, 1, 2]);
        befalls(&mut cluster, server, fate);
        let LogletResult::Tail { tail, sealed: true } = cluster.run(ASKER, LogletOp::CheckTail) else { panic!() };
        // The maximum of the majority that answered; 3 records were acknowledged.
        let possible: Vec<u64> = (0..3)
            .flat_map(|a| (0..3).filter(move |b| *b != a).map(move |b| (a, b)))
            .filter(|(a, b)| fate == Fate::Restarted || (*a != server && *b != server))
            .map(|(a, b)| tails[a].max(tails[b]) as u64)
            .collect();
        assert!(tail.0 >= 3 && possible.contains(&tail.0), "{tail} is none of {possible:?}");
        // Repaired: the tail stands on a majority, with the records that were stored there.
        let holders: Vec<usize> = (0..3)
            .filter(|index| cluster.servers[*index].core.is_some() && cluster.local(*index).0 >= tail.0)
            .collect();
        assert!(holders.len() >= 2, "{tail} is on {holders:?} only");
        for holder in holders.into_iter().filter(|holder| fate != Fate::CutOff || *holder != server) {
            cluster.clients[ASKER].set_preferred(holder);
            let expected: Vec<String> = (0..tail.0).map(|number| number.to_string()).collect();
            let mut found = Vec::new();
            while (found.len() as u64) < tail.0 {
                found.extend(texts(&cluster.run(ASKER, read(found.len() as u64, tail.0))));
            }
            assert_eq!(found, expected);
        }
    });
}

/// A repair that is cut short by a crash of its target, or of its source, is done again, to a tail that covers what was
/// acknowledged.
#[test]
fn row_2_a_repair_survives_a_crash() {
    over_seeds(|seed| {
        for victim in [0, 1] {
            for steps in [5, 15, 25, 40] {
                let mut cluster = with_tails(seed, [9, 2, 2]);
                seal_on(&mut cluster, &[0, 1, 2]);
                client_reaches(&mut cluster, ASKER, &[0, 1]);
                let check = cluster.start(ASKER, LogletOp::CheckTail);
                for _ in 0..steps {
                    cluster.step();
                }
                cluster.crash(victim);
                cluster.restart(victim);
                cluster.pass_time(cluster.limits.stall);
                assert_eq!(cluster.result(check), Some(tail(9, true)));
            }
        }
    });
}

#[test]
fn row_3_some_sealed() {
    for_each_fate(|seed, server, fate| {
        for sealed in 0..3 {
            let mut cluster = with_tails(seed, [4, 4, 2]);
            seal_on(&mut cluster, &[sealed]);
            befalls(&mut cluster, server, fate);
            let check = cluster.start(ASKER, LogletOp::CheckTail);
            cluster.pass_time(cluster.limits.stall);
            let result = cluster.result(check).expect("a majority is there");
            // Whether the sealed one is among those who answer is open; if not, the tail is an open one.
            let sealed_is_there = fate == Fate::Restarted || sealed != server;
            match result {
                LogletResult::Tail { tail, sealed: true } => assert_eq!(tail.0, 4),
                LogletResult::Tail { tail, sealed: false } => {
                    assert_eq!(tail.0, 4);
                    assert!(!sealed_is_there || cluster.local(sealed).1);
                }
                other => panic!("{other:?}"),
            }
            if matches!(result, LogletResult::Tail { sealed: true, .. }) {
                // L1: the seal is completed wherever it can be.
                cluster.settle();
                let reached = (0..3).filter(|index| *index != server || fate == Fate::Restarted);
                assert!(reached.into_iter().all(|index| cluster.local(index).1));
            }
        }
    });
}

#[test]
fn row_4_none_sealed_and_a_majority_at_the_largest_tail() {
    for_each_fate(|seed, server, fate| {
        let mut cluster = with_tails(seed, [4; 3]);
        befalls(&mut cluster, server, fate);
        assert_eq!(cluster.run(ASKER, LogletOp::CheckTail), tail(4, false));
    });
}

/// A server lags; the tail is that of the two others, or waits for the sequencer to bring the third one up.
#[test]
fn row_5_none_sealed_and_a_lagging_server() {
    for_each_fate(|seed, server, fate| {
        let mut cluster = with_tails(seed, [4, 4, 1]);
        befalls(&mut cluster, server, fate);
        let check = cluster.start(ASKER, LogletOp::CheckTail);
        cluster.settle();
        let needs_the_lagging_one = server != 2 && fate != Fate::Restarted;
        if needs_the_lagging_one {
            assert_eq!(cluster.result(check), None, "one server alone has 4");
            super::reaches(&mut cluster, End::Sequencer, &[2]);
            cluster.settle();
        }
        assert_eq!(cluster.result(check), Some(tail(4, false)));
    });
}

/// As before, and the sequencer never comes: L4.
#[test]
fn row_5_without_a_sequencer_the_wait_ends_sealed() {
    over_seeds(|seed| {
        for server in [0, 1] {
            for fate in [Fate::Crashed, Fate::CutOff] {
                let mut cluster = with_tails(seed, [4, 4, 1]);
                befalls(&mut cluster, server, fate);
                super::silence(&mut cluster, 0);
                let check = cluster.start(ASKER, LogletOp::CheckTail);
                cluster.pass_time(cluster.limits.stall);
                assert_eq!(cluster.result(check), Some(tail(4, true)));
                assert_eq!(cluster.local(2), (4, true), "repaired");
            }
        }
    });
}

/// The erratum: a seal comes between the question and the answers, and an open answer below the largest tail proves nothing.
#[test]
fn row_5_a_seal_that_comes_while_waiting_turns_the_answer() {
    over_seeds(|seed| {
        let mut cluster = with_tails(seed, [3, 2, 2]);
        super::silence(&mut cluster, 0);
        client_reaches(&mut cluster, ASKER, &[0, 1]);
        let check = cluster.start(ASKER, LogletOp::CheckTail);
        cluster.settle();
        assert_eq!(cluster.result(check), None);
        client_reaches(&mut cluster, SEALER, &[1, 2]);
        assert_eq!(cluster.run(SEALER, LogletOp::Seal), LogletResult::Sealed);
        // Either the two agree, or the asker's repair comes too late for the sealer, and the chain decides.
        let stop = cluster.run(SEALER, LogletOp::CheckTail);
        assert!([tail(2, true), tail(3, true)].contains(&stop));
        cluster.settle();
        assert_eq!(cluster.result(check), Some(tail(3, true)), "{stop:?}");
    });
}
