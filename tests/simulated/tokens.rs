//! Records with tokens: a sequencer that dies between storing and answering makes repeats, and readers tell them.

use std::collections::BTreeMap;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use naxos::base::{LogPos, Rng, WriterId};
use naxos::client::{AppendToken, Deduplicate, LogAppend, ReadResult, Seen, Tokened, Tokens, VirtualLog};

use crate::cluster::{Cluster, NODES, limits_of_long_chains};
use crate::writer::record;

const ROUNDS: u64 = 12;
const RECORDS: u64 = 8;

/// The number of the node that sequences the log now.
fn sequencer(cluster: &mut Cluster, log: &VirtualLog) -> usize {
    let chain = cluster.finish_log("the chain", log.start_chain()).expect("all nodes are up");
    let node = chain.last().loglet.first().sequencer.node;
    let position = cluster.config.log_servers.iter().position(|member| member.node == node);
    position.expect("each node has kept its disk")
}

fn acknowledgement(cluster: &mut Cluster, append: &mut LogAppend) -> LogPos {
    let mut position = None;
    cluster.run_until("an append is acknowledged", |_| {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut *append).poll(&mut context) {
            Poll::Ready(end) => position = Some(end.expect("two of three nodes are up")),
            Poll::Pending => {}
        }
        position.is_some()
    });
    position.expect("just seen")
}

fn read_all(cluster: &mut Cluster, log: &VirtualLog) -> Vec<Vec<u8>> {
    let tail = cluster.finish_log("a tail", log.start_check_tail()).expect("all nodes are up");
    let (mut at, mut records) = (LogPos::ZERO, Vec::new());
    while at < tail {
        match cluster.finish_log("a read", log.start_read(at, tail, 8 << 10)) {
            Ok(ReadResult::Records(delivery)) => {
                records.extend(delivery.records().map(<[u8]>::to_vec));
                at = delivery.end();
            }
            Ok(ReadResult::NothingYet) => cluster.run_for(Duration::from_millis(1)),
            other => panic!("at {at} of {tail}: {other:?}"),
        }
    }
    records
}

/// Appends with tokens, each round under a sequencer that dies while they are on their way. Returns what was acknowledged.
fn append_under_crashes(
    cluster: &mut Cluster,
    log: &VirtualLog,
    tokens: &mut Tokens,
    rng: &mut Rng,
) -> BTreeMap<LogPos, AppendToken> {
    let mut acknowledged = BTreeMap::new();
    for _ in 0..ROUNDS {
        let node = sequencer(cluster, log);
        let appends: Vec<(AppendToken, LogAppend)> = (0..RECORDS)
            .map(|_| {
                let token = tokens.take();
                (token, log.append_with(token, &record(token.sequence)))
            })
            .collect();
        cluster.run_for(Duration::from_nanos(rng.u64(..3_000_000)));
        cluster.crash(node);
        for (token, mut append) in appends {
            let position = acknowledgement(cluster, &mut append);
            assert_eq!(acknowledged.insert(position, token), None, "{position} was acknowledged twice");
        }
        cluster.restart(node);
        cluster.run_until("the nodes are ready", |cluster| (0..NODES).all(|node| cluster.is_ready(node)));
    }
    acknowledged
}

#[test]
fn what_a_dying_sequencer_had_stored_is_there_twice_and_told_as_a_repeat() {
    let mut repeats = 0;
    for seed in 0..4 {
        let mut rng = Rng::with_seed(seed);
        let mut cluster = Cluster::start_with(seed, limits_of_long_chains(), 1);
        let log = cluster.open_log(0, seed);
        let first = cluster.config.clone();
        cluster.begin_log(&log, first);
        let mut tokens = Tokens::of(AppendToken { writer: WriterId(7), sequence: 0 });
        let acknowledged = append_under_crashes(&mut cluster, &log, &mut tokens, &mut rng);

        let (mut deduplicate, mut taken) = (Deduplicate::new(2 * RECORDS as u32, 1), Vec::new());
        let contents = read_all(&mut cluster, &log);
        for (position, bytes) in contents.iter().enumerate() {
            let Tokened { token, record: bytes } = Tokened::unwrap(bytes).expect("version 1");
            let token = token.expect("all were appended with one");
            assert_eq!(bytes, record(token.sequence));
            if let Some(told) = acknowledged.get(&LogPos(position as u64)) {
                assert_eq!(*told, token, "at {position}");
            }
            match deduplicate.see(token) {
                Seen::First => taken.push(token.sequence),
                Seen::Repeat => repeats += 1,
            }
        }
        assert_eq!(taken, (0..ROUNDS * RECORDS).collect::<Vec<_>>(), "each once, in their order; seed {seed}");
    }
    assert!(repeats > 0, "some records were stored by a sequencer that could not say so");
    eprintln!("{repeats} repeats");
}
