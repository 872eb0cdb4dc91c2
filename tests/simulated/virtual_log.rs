//! A virtual log under random crashes, partitions and reconfigurations by several clients: one log comes of it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use naxos::base::{LogPos, Rng};
use naxos::client::{Extended, LogAppend, LogAppendError, Operation, ReadResult, VirtualLog};
use naxos::proto::virtual_log::contract::LogResult;

use crate::cluster::{Cluster, NODES, addresses, limits_of_long_chains};
use crate::writer::{index_of, record};

const SEEDS: u64 = 60;
const ACTIONS: usize = 80;
const CLIENTS: usize = 3;

/// One client: what it has appended and asked, and what it was told.
struct Party {
    log: VirtualLog,
    pending: Vec<(u64, LogAppend)>,
    tails: Vec<(LogPos, Operation<LogPos, LogResult>)>,
    reads: Vec<Operation<ReadResult<LogPos>, LogResult>>,
    extends: Vec<Operation<Extended, LogResult>>,
}

/// What everybody has been told together.
#[derive(Default)]
struct Told {
    /// The number of the record at each acknowledged position.
    acknowledged: BTreeMap<LogPos, u64>,
    /// Records that were not acknowledged, and why.
    failed: Vec<(u64, LogAppendError)>,
    /// What was read at a position.
    read: BTreeMap<LogPos, Vec<u8>>,
    tail: LogPos,
    extends: usize,
}

impl Told {
    /// The first position above everything acknowledged.
    fn end(&self) -> LogPos {
        self.acknowledged.last_key_value().map_or(LogPos::ZERO, |(&last, _)| last + 1)
    }

    fn read(&mut self, position: LogPos, bytes: &[u8]) {
        let before = self.read.insert(position, bytes.to_vec());
        assert!(before.is_none_or(|before| before == bytes), "{position} reads differently");
    }
}

impl Party {
    fn new(log: VirtualLog) -> Self {
        Self { log, pending: Vec::new(), tails: Vec::new(), reads: Vec::new(), extends: Vec::new() }
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.tails.is_empty() && self.reads.is_empty() && self.extends.is_empty()
    }

    /// Takes in what has been answered.
    fn look(&mut self, told: &mut Told) {
        let mut context = Context::from_waker(Waker::noop());
        self.pending.retain_mut(|(index, append)| match Pin::new(append).poll(&mut context) {
            Poll::Pending => true,
            Poll::Ready(Ok(position)) => {
                let before = told.acknowledged.insert(position, *index);
                assert_eq!(before, None, "{position} was acknowledged twice");
                false
            }
            Poll::Ready(Err(error)) => {
                told.failed.push((*index, error));
                false
            }
        });
        self.tails.retain_mut(|(covered, operation)| match operation.try_take() {
            None => true,
            Some(Ok(tail)) => {
                assert!(tail >= *covered, "a tail of {tail} does not cover {covered}");
                told.tail = told.tail.max(tail);
                false
            }
            Some(Err(_)) => false,
        });
        self.reads.retain_mut(|operation| match operation.try_take() {
            None => true,
            Some(Ok(ReadResult::Records(delivery))) => {
                let positions = (delivery.first().0..).map(LogPos);
                positions.zip(delivery.records()).for_each(|(position, record)| told.read(position, record));
                false
            }
            Some(Ok(_) | Err(_)) => false,
        });
        self.extends.retain_mut(|operation| match operation.try_take() {
            None => true,
            Some(result) => {
                told.extends += usize::from(matches!(result, Ok(Extended::Done(_))));
                false
            }
        });
    }
}

fn disturb(cluster: &mut Cluster, parties: &mut [Party], told: &mut Told, next: &mut u64, rng: &mut Rng) {
    let addresses = addresses();
    for _ in 0..ACTIONS {
        let (a, b) = (addresses[rng.usize(..addresses.len())], addresses[rng.usize(..addresses.len())]);
        let party = &mut parties[rng.usize(..CLIENTS)];
        let down = (0..NODES).find(|&node| !cluster.is_up(node));
        match (rng.u8(..18), down) {
            (0..6, _) => {
                for _ in 0..rng.u64(1..20) {
                    party.pending.push((*next, party.log.append(&record(*next))));
                    *next += 1;
                }
            }
            (6, _) => party.tails.push((told.end(), party.log.start_check_tail())),
            (7, _) => party.reads.push(party.log.start_read(LogPos(rng.u64(..=told.tail.0)), LogPos::MAX, 4 << 10)),
            (8 | 9, _) => party.extends.push(party.log.start_extend(None, false).expect("a clone needs no chain")),
            (10 | 11, None) => cluster.crash(rng.usize(..NODES)),
            (10..14, Some(node)) => cluster.restart(node),
            (14, _) if a != b => cluster.world.partition(a, b),
            (15 | 16, _) if a != b => cluster.world.heal(a, b),
            (17, _) if a != b => cluster.world.reset_connections(a, b),
            _ => {}
        }
        let most = if rng.u8(..4) == 0 { 60_000_000 } else { 3_000_000 };
        cluster.run_for(Duration::from_nanos(rng.u64(..most)));
        parties.iter_mut().for_each(|party| party.look(told));
    }
}

/// One life of a log. Returns how many extends and segments there were.
fn survive(seed: u64) -> (usize, usize) {
    let mut rng = Rng::with_seed(seed);
    let mut cluster = Cluster::start_with(seed, limits_of_long_chains(), CLIENTS);
    let logs: Vec<_> = (0..CLIENTS).map(|client| cluster.open_log(client, seed * 100 + 10 * client as u64)).collect();
    let first = cluster.config.clone();
    cluster.begin_log(&logs[0], first);
    let mut parties: Vec<_> = logs.into_iter().map(Party::new).collect();
    let (mut told, mut next) = (Told::default(), 0);
    disturb(&mut cluster, &mut parties, &mut told, &mut next, &mut rng);

    cluster.heal();
    cluster.run_until("the nodes are ready", |cluster| (0..NODES).all(|node| cluster.is_ready(node)));
    cluster.run_until("what was asked is answered", |_| {
        parties.iter_mut().for_each(|party| party.look(&mut told));
        parties.iter().all(Party::is_idle)
    });
    // Everybody is well: an append, a tail, a read and an extend of each client succeed.
    let failed = told.failed.len();
    for party in &mut parties {
        party.pending.push((next, party.log.append(&record(next))));
        next += 1;
    }
    cluster.run_until("appends after the healing", |_| {
        parties.iter_mut().for_each(|party| party.look(&mut told));
        parties.iter().all(Party::is_idle)
    });
    assert_eq!(told.failed.len(), failed, "nothing is in the way of these: {:?}", told.failed.last());
    for party in &parties {
        let tail = cluster.finish_log("a tail", party.log.start_check_tail()).expect("all nodes are up");
        assert!(tail >= told.end() && tail >= told.tail, "a tail of {tail} after {} and {}", told.end(), told.tail);
        told.tail = tail;
        let mut at = LogPos::ZERO;
        while at < tail {
            match cluster.finish_log("a read", party.log.start_read(at, tail, 8 << 10)) {
                Ok(ReadResult::Records(delivery)) => {
                    assert_eq!(delivery.first(), at);
                    delivery.records().enumerate().for_each(|(index, record)| told.read(at + index as u64, record));
                    at = delivery.end();
                }
                Ok(ReadResult::NothingYet) => cluster.run_for(Duration::from_millis(1)),
                other => panic!("at {at} of {tail}: {other:?}"),
            }
        }
    }
    check(&told, next);
    let chain = cluster.finish_log("the chain", parties[0].log.start_chain()).expect("all nodes are up");
    (told.extends, chain.segments.len())
}

/// Every acknowledged record is where it was said to be, and all are records that were appended.
fn check(told: &Told, next: u64) {
    let mut places: BTreeMap<u64, Vec<LogPos>> = BTreeMap::new();
    for (position, bytes) in &told.read {
        let index = index_of(bytes);
        assert!(index < next && *bytes == record(index), "the record at {position} is one that was appended");
        places.entry(index).or_default().push(*position);
    }
    assert_eq!(told.read.len() as u64, told.tail.0, "everything up to the tail has been read, and nothing beyond");
    for (position, index) in &told.acknowledged {
        let at = places.get(index);
        assert!(at.is_some_and(|at| at.contains(position)), "record {index}, acknowledged at {position}, is at {at:?}");
    }
    for (index, error) in &told.failed {
        let surely_not = matches!(
            error,
            LogAppendError::Unavailable { maybe_stored: false } | LogAppendError::NoSpace { record_at: None }
        );
        assert!(!surely_not || !places.contains_key(index), "record {index} surely was not stored: {error}");
    }
}

/// `SEED=n` runs one, `SEEDS=n` the first so many.
#[test]
fn one_log_survives_random_crashes_and_reconfigurations() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("seeds are numbers"));
    let seeds = number("SEED").map_or(0..number("SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let (mut extends, mut segments) = (0, 0);
    for seed in seeds {
        match std::panic::catch_unwind(|| survive(seed)) {
            Ok((made, there)) => {
                extends += made;
                segments += there;
            }
            Err(panic) => {
                eprintln!("seed {seed} fails; SEED={seed} repeats it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("{extends} extends as wished, {segments} segments at the ends");
    assert!(extends > 0 && segments > extends / 4, "logs were reconfigured");
}
