//! Real processes, killed with SIGKILL at random moments under load: every acknowledged record is there afterwards, in order,
//! none twice.

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use naxos::base::{ClusterId, Offset};
use naxos::client::{AppendError, Client, ClientOptions, Log, ReadResult};
use naxos::wire::LogletConfig;
use support::process::{NodeProcess, loglet_over, program, serve};

const CLUSTER: ClusterId = ClusterId(0xDEAD);
const NODES: usize = 3;
/// How long anything may take before the test calls it stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node, and where it comes back.
struct Node {
    directory: PathBuf,
    process: NodeProcess,
}

fn start(directory: &Path, listen: SocketAddr) -> Node {
    let process = NodeProcess::start(serve(program(), CLUSTER, directory, listen));
    Node { directory: directory.to_owned(), process }
}

impl Node {
    fn restart(&mut self) {
        *self = start(&self.directory.clone(), self.process.address);
    }
}

fn loglet(nodes: &[Node], sequencer: usize, nonce: u64) -> LogletConfig {
    loglet_over(&nodes.iter().map(|node| &node.process).collect::<Vec<_>>(), sequencer, nonce)
}

/// Record `index` of a log: unique, checkable, and between nothing much and some kilobytes.
fn record(index: u64) -> Vec<u8> {
    let mut record = index.to_le_bytes().to_vec();
    record.resize(8 + (index as usize).wrapping_mul(31) % 2_000, index as u8);
    record
}

/// Appends as fast as the window allows until told to stop or the log ends.
struct Writer {
    thread: JoinHandle<Written>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

#[derive(Default)]
struct Written {
    /// Index of the record at each acknowledged offset.
    acknowledged: Vec<(Offset, u64)>,
    issued: u64,
}

impl Writer {
    fn start(log: Log) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (stop, count) = (stop.clone(), acknowledged.clone());
            move || {
                let mut written = Written::default();
                let mut ended = false;
                while !ended && !stop.load(Ordering::Relaxed) {
                    let first = written.issued;
                    let appends: Vec<_> = (first..first + 50).map(|index| log.append(&record(index))).collect();
                    written.issued += 50;
                    for (index, append) in (first..).zip(appends) {
                        match append.wait() {
                            Ok(offset) => {
                                written.acknowledged.push((offset, index));
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(AppendError::SequencerLost { .. } | AppendError::Sealed { .. }) => ended = true,
                            Err(error) => panic!("append {index}: {error}"),
                        }
                    }
                }
                written
            }
        });
        Self { thread, stop, acknowledged }
    }

    fn finish(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }

    /// Waits until more has been acknowledged than now.
    fn expect_progress(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        eventually("appends go on with a majority", || self.acknowledged.load(Ordering::Relaxed) > before + 100);
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads `[0, tail)` and checks it against what was written.
fn verify(log: &Log, tail: Offset, written: &Written) {
    let mut indexes = Vec::new();
    let mut next = Offset::ZERO;
    while next < tail {
        match log.read(next, tail, 256 << 10).unwrap() {
            ReadResult::Records(delivery) => {
                assert_eq!(delivery.first(), next, "no gap");
                for found in delivery.records() {
                    let index = u64::from_le_bytes(found[..8].try_into().unwrap());
                    assert_eq!(found, record(index), "contents as sent");
                    indexes.push(index);
                }
                next = delivery.end();
            }
            other => panic!("offset {next} of {tail}: {other:?}"),
        }
    }
    for &(offset, index) in &written.acknowledged {
        assert_eq!(indexes.get(offset.0 as usize), Some(&index), "acknowledged at {offset}");
    }
    // One writer, pipelined on one connection: what it wrote is in its order, and nothing is there twice.
    assert!(indexes.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    assert!(indexes.last().is_none_or(|&last| last < written.issued));
}

fn rounds(count: u64, seed: u64) {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    println!("seed {seed}");
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut nodes: Vec<_> = (0..NODES).map(|node| start(&scratch.path().join(node.to_string()), any)).collect();
    let client = Client::start(ClientOptions::default()).unwrap();
    let mut sequencer = 0;
    let mut nonce = 0;
    let mut config = loglet(&nodes, sequencer, nonce);
    client.create(&config, CLUSTER).unwrap();
    let mut log = client.open(&config, CLUSTER);
    let mut writer = Writer::start(log.clone());
    for round in 0..count {
        writer.expect_progress();
        std::thread::sleep(Duration::from_millis(random.u64(0..150)));
        // The last round of a short run must be one that ends the log.
        let victim = if round + 1 == count { sequencer } else { random.usize(0..NODES) };
        nodes[victim].process.kill();
        if victim != sequencer {
            writer.expect_progress();
            nodes[victim].restart();
            continue;
        }
        let written = writer.finish();
        log.seal().unwrap();
        let tail = log.check_tail().unwrap();
        assert!(tail.sealed);
        log.set_stop(tail.tail).unwrap();
        verify(&log, tail.tail, &written);
        nodes[victim].restart();
        println!("round {round}: {} acknowledged, {} in the log", written.acknowledged.len(), tail.tail);
        nonce += 1;
        sequencer = random.usize(0..NODES);
        config = loglet(&nodes, sequencer, nonce);
        client.create(&config, CLUSTER).unwrap();
        log = client.open(&config, CLUSTER);
        writer = Writer::start(log.clone());
    }
    // A restarted LogServer catches up: it alone with any other holds up everything.
    writer.expect_progress();
    let written = writer.finish();
    let tail = log.check_tail().unwrap();
    assert!(!tail.sealed);
    for node in &nodes {
        eventually("every server has every record", || {
            let status = client.status(node.process.address).unwrap();
            let loglets = status["shards"][0]["loglets"].as_array().unwrap();
            let nonce = config.id.nonce;
            loglets.iter().any(|loglet| {
                loglet["id"]["nonce"] == nonce
                    && loglet["local_tail"].as_u64() >= Some(tail.tail.0)
                    && loglet["missing"] == 0
            })
        });
    }
    verify(&log, tail.tail, &written);
}

#[test]
fn kill_minorities_a_few_times() {
    rounds(5, 1);
}

#[test]
#[ignore = "takes minutes: cargo test --release --test crash -- --ignored"]
fn kill_minorities_fifty_times() {
    rounds(50, fastrand::u64(..));
}
