//! Random crashes, partitions and resets under load; afterwards, everything that was promised must hold.

use std::collections::BTreeMap;
use std::time::Duration;

use naxos::base::{Offset, Rng};
use naxos::client::{AppendError, Log, Operation, ReadResult, Tail};

use crate::cluster::{Cluster, NODES, addresses, small_limits};
use crate::writer::Writer;

const SEEDS: u64 = 400;
const ACTIONS: usize = 60;

/// What has been asked and what was answered while everything was going wrong.
struct Observer {
    log: Log,
    /// Each with the end of what had been acknowledged when it was asked (P18).
    tails: Vec<(Offset, Operation<Tail>)>,
    reads: Vec<Operation<ReadResult>>,
    /// The largest `(X, open)`.
    open_max: Offset,
    /// The smallest `(X, sealed)`: any of them may become the log's end.
    sealed_min: Offset,
    /// What anybody has read at an offset.
    read: BTreeMap<Offset, Vec<u8>>,
}

impl Observer {
    fn new(log: Log) -> Self {
        let (tails, reads, read) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { log, tails, reads, open_max: Offset::ZERO, sealed_min: Offset::MAX, read }
    }

    fn ask(&mut self, writer: &mut Writer, rng: &mut Rng) {
        self.tails.push((writer.acknowledged_end(), self.log.start_check_tail()));
        let from = Offset(rng.u64(..=self.open_max.0));
        self.reads.push(self.log.start_read(from, Offset::MAX, 4 << 10));
    }

    fn look(&mut self) {
        let (mut answered, read) = (Vec::new(), &mut self.read);
        self.tails.retain_mut(|(covered, operation)| match operation.try_take() {
            None => true,
            Some(Ok(tail)) => {
                answered.push((*covered, tail));
                false
            }
            Some(Err(_)) => false,
        });
        self.reads.retain_mut(|operation| match operation.try_take() {
            None => true,
            Some(Ok(ReadResult::Records(delivery))) => {
                let first = delivery.first();
                for (at, record) in delivery.records().enumerate() {
                    let before = read.insert(first + at as u64, record.to_vec());
                    assert!(before.is_none_or(|before| before == record), "{} reads differently", first + at as u64);
                }
                false
            }
            Some(Ok(_) | Err(_)) => false,
        });
        for (covered, tail) in answered {
            self.note(covered, tail);
        }
    }

    fn note(&mut self, covered: Offset, Tail { tail, sealed }: Tail) {
        assert!(tail >= covered, "a tail of {tail} does not cover what was acknowledged before, up to {covered}");
        match sealed {
            false => self.open_max = self.open_max.max(tail),
            true => self.sealed_min = self.sealed_min.min(tail),
        }
        assert!(self.open_max <= self.sealed_min, "open up to {}, sealed at {}", self.open_max, self.sealed_min);
    }
}

/// Lets things go wrong at random. Returns whether the sequencer's node has crashed.
fn disturb(cluster: &mut Cluster, writer: &mut Writer, observer: &mut Observer, rng: &mut Rng, spare: usize) -> bool {
    let addresses = addresses();
    let mut sequencer_crashed = false;
    for _ in 0..ACTIONS {
        let a = addresses[rng.usize(..addresses.len())];
        let b = addresses[rng.usize(..addresses.len())];
        let down = (0..NODES).find(|&node| !cluster.is_up(node));
        match (rng.u8(..16), down) {
            (0..6, _) => writer.append(rng.u64(1..30)),
            (6 | 7, _) => observer.ask(writer, rng),
            (8 | 9, None) => {
                let node = rng.usize(spare..NODES);
                sequencer_crashed |= node == 0;
                cluster.crash(node);
            }
            (8..12, Some(node)) => cluster.restart(node),
            (12, _) if a != b => cluster.world.partition(a, b),
            (13 | 14, _) if a != b => cluster.world.heal(a, b),
            (15, _) if a != b => cluster.world.reset_connections(a, b),
            _ => {}
        }
        // Mostly right after the last thing, and now and then long enough for connections to come back.
        let most = if rng.u8(..4) == 0 { 60_000_000 } else { 3_000_000 };
        cluster.run_for(Duration::from_nanos(rng.u64(..most)));
        observer.look();
        writer.look();
    }
    sequencer_crashed
}

/// The sequencer has never stopped: every server gets everything.
fn converge(cluster: &mut Cluster, writer: &mut Writer, observer: &mut Observer) {
    let failed = writer.failed.len();
    writer.append(10);
    cluster.run_until("the appends after healing are acknowledged", |_| writer.pending() == 0);
    assert_eq!(writer.failed.len(), failed, "nothing is in the way of these: {:?}", writer.failed.last());
    let end = writer.acknowledged_end();
    cluster.run_until("every server holds everything", |cluster| {
        // Reporting turns a shard; once in a while is enough.
        cluster.run_for(Duration::from_millis(2));
        (0..NODES).all(|node| {
            let report = cluster.loglet_report(node);
            assert_eq!(report["sealed"], false);
            report["local_tail"] == end.0 && report["known_tail"] == end.0 && report["missing"] == 0
        })
    });
    let tail = cluster.finish("check tail", observer.log.start_check_tail()).expect("all nodes are up");
    assert_eq!(tail, Tail { tail: end, sealed: false });
    observer.note(end, tail);
}

/// One life of a log under faults. Returns whether the sequencer came through.
fn survive(seed: u64) -> bool {
    let mut rng = Rng::with_seed(seed);
    let mut cluster = Cluster::start(seed, small_limits());
    let mut writer = Writer::new(cluster.created());
    let mut observer = Observer::new(cluster.open());
    let spare = usize::from(seed.is_multiple_of(2));
    let crashed = disturb(&mut cluster, &mut writer, &mut observer, &mut rng, spare);
    cluster.heal();
    cluster.run_until("the nodes are ready", |cluster| (0..NODES).all(|node| cluster.is_ready(node)));
    cluster.run_for(Duration::from_millis(300));
    cluster.run_until("what was asked is answered", |_| {
        observer.look();
        observer.tails.is_empty() && observer.reads.is_empty() && writer.pending() == 0
    });
    let running = !crashed && cluster.sequencer_report()["state"] == "running";
    if running {
        converge(&mut cluster, &mut writer, &mut observer);
    }

    let closer = cluster.open();
    cluster.finish("seal", closer.start_seal()).expect("all nodes are up");
    writer.append(5);
    let covered = writer.acknowledged_end();
    let tail = cluster.finish("check tail", closer.start_check_tail()).expect("all nodes are up");
    assert!(tail.sealed);
    observer.note(covered, tail);
    cluster.run_until("appends after the seal end", |_| writer.pending() == 0);
    assert!(writer.acknowledged_end() <= observer.sealed_min, "nothing is acknowledged beyond a seal");
    assert!(!matches!(writer.failed.last(), None | Some((_, AppendError::Closed))), "they end as a typed error");
    closer.set_stop(tail.tail).unwrap();
    let contents = cluster.read_all(&closer, Offset::ZERO, tail.tail);
    writer.check(&contents, Some(tail.tail));
    for (&offset, record) in observer.read.range(..tail.tail) {
        assert_eq!(&contents[offset.0 as usize], record, "{offset} was read before with other contents");
    }
    let beyond = observer.read.range(tail.tail..).next();
    assert!(beyond.is_none(), "something was read beyond the log's end: {:?}", beyond.map(|(offset, _)| offset));
    running
}

/// `SEED=n` runs one, `SEEDS=n` the first so many.
#[test]
fn acknowledged_records_survive_random_crashes() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("seeds are numbers"));
    let seeds = number("SEED").map_or(0..number("SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let (mut survived, mut lost) = (0, 0);
    for seed in seeds.clone() {
        match std::panic::catch_unwind(|| survive(seed)) {
            Ok(true) => survived += 1,
            Ok(false) => lost += 1,
            Err(panic) => {
                eprintln!("seed {seed} fails; SEED={seed} repeats it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("the sequencer survived {survived} runs and was lost in {lost}");
    assert!(survived.min(lost) >= (seeds.end - seeds.start) / 5, "both kinds of end are tested");
}

/// The tail of a server was raised by a peer's answer while stores were held; they were never answered, the sequencer's room
/// for them stayed taken, and the server got nothing more for ever.
#[test]
fn a_server_whose_tail_others_have_raised_goes_on_taking_stores() {
    assert!(survive(2562));
}
