//! One load on one log, measured around and verified behind.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::counters::NodeCounters;
use super::cpu::processes_time;
use super::device::DeviceCounters;
use super::generator::{Generated, Plan, Progress, generate_in_spans};
use super::io_wq::{IoWq, IoWqCount};
use super::logs::{self, READ_STALL};
use super::machine::BlockDevice;
use super::payload::NUMBERS_BYTES;
use super::trimmer::{Trimmed, trim};
use super::verify::{Checker, Ledger, Verified};
use super::witness::{Checked, Witness, check_history, witness};
use crate::base::{ClusterId, Offset};
use crate::client::{Client, Log, LogletSpec, OpError};
use crate::history::Value as HistoryValue;

/// Between two looks at an interruption, the progress and the workers.
const TURN: Duration = Duration::from_millis(50);

/// Where the load goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The log; it must be empty.
    pub loglet: LogletSpec,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Every node, for its counters.
    pub nodes: Vec<SocketAddr>,
    /// Processes of the nodes; empty when they run in this one.
    pub server_pids: Vec<u32>,
    /// The disk of the nodes, if it could be found.
    pub device: Option<BlockDevice>,
}

/// What a load is doing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Phase {
    /// Appending, for so long and with so many acknowledgements.
    Appending {
        /// Since the start.
        elapsed: Duration,
        /// Warm-up included.
        acknowledged: u64,
    },
    /// Reading back.
    Verifying {
        /// Records read.
        read: u64,
        /// Records to read.
        total: u64,
    },
}

/// The person, or program, that watches a load.
pub trait Observer {
    /// Called about 20 times a second. The load ends early, as an error, when the answer is false.
    fn progress(&mut self, phase: Phase) -> bool;
}

/// What a load did.
pub struct Measured {
    /// Latencies and counts; the spans are the plan's intervals.
    pub generated: Generated,
    /// Whether it is all there.
    pub verified: Verified,
    /// Whether its history obeys the rules, if that was asked for.
    pub history: Option<Checked>,
    /// What was trimmed meanwhile, if anything should be.
    pub trimmed: Option<Trimmed>,
    /// Counters of the nodes over the measured time alone; only where the log is trimmed.
    pub nodes_in_window: Option<NodeCounters>,
    /// Work of the disk during the measured time, of everything on the machine.
    pub device: Option<DeviceCounters>,
    /// Counters of the nodes, from before the load to after it.
    pub nodes: NodeCounters,
    /// Processor time of this process during the measured time.
    pub client_cpu: Duration,
    /// Processor time of the nodes' processes; `None` when the nodes run in this process.
    pub server_cpu: Option<Duration>,
    /// Operations on io-wq during the whole load.
    pub io_wq: IoWqCount,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The observer said so.
    #[error("interrupted")]
    Interrupted,
    /// The record cannot be verified.
    #[error(
        "records of {bytes} bytes cannot be verified: they need room for the {NUMBERS_BYTES} bytes that tell their origin; use --record-bytes {NUMBERS_BYTES} or more"
    )]
    TooShort {
        /// As asked for.
        bytes: usize,
    },
    /// A node's counters could not be had.
    #[error("node {node} does not report its status: {error}")]
    Status {
        /// Its address.
        node: SocketAddr,
        /// Why.
        error: OpError,
    },
    /// The log could not be read back.
    #[error("reading back stopped at offset {at} of {tail}: {error}")]
    Read {
        /// First offset that was not read.
        at: Offset,
        /// Where the log ends.
        tail: Offset,
        /// Why.
        error: OpError,
    },
    /// Reading back made no progress.
    #[error("reading back stands still at offset {at} of {tail} for {} s", READ_STALL.as_secs())]
    ReadStalled {
        /// First offset that was not read.
        at: Offset,
        /// Where the log ends.
        tail: Offset,
    },
    /// A reader was given a record that is not the next one.
    #[error("reading back gave offset {got} after the records before {expected}")]
    OutOfOrder {
        /// The next offset.
        expected: Offset,
        /// What came.
        got: Offset,
    },
    /// The end of the log could not be found.
    #[error("the tail of the log cannot be found: {0}")]
    Tail(OpError),
    /// A client beside those that append got no answer.
    #[error("a question about the tail, or a read, failed beside the appends: {0}")]
    Watch(OpError),
    /// The log could not be trimmed.
    #[error("a question about the tail, or a trim, failed beside the appends: {0}")]
    Trim(OpError),
    /// /proc cannot be read.
    #[error("the processor time of the nodes cannot be read (has one ended?): {0}")]
    Cpu(io::Error),
}

/// Appends by `plan` from `clients` connections, then reads everything back that has not been trimmed.
///
/// # Errors
/// See [`RunError`]. A load in which appends failed is a result, not an error.
pub fn run(
    client: &Client,
    target: &Target,
    plan: &Plan,
    clients: usize,
    observer: &mut dyn Observer,
) -> Result<Measured, RunError> {
    if plan.record_bytes < NUMBERS_BYTES {
        return Err(RunError::TooShort { bytes: plan.record_bytes });
    }
    let logs: Vec<Log> = (0..clients).map(|_| client.open(&target.loglet, target.cluster)).collect();
    let before = status(client, target)?;
    let own = [std::process::id()];
    let watched = if target.server_pids.is_empty() { &own[..] } else { &target.server_pids };
    let mut io_wq = IoWq::start(watched);
    let (generated, witness, trimmed, window) = load(client, logs, target, plan, &mut io_wq, observer)?;
    let io_wq = io_wq.stop();
    let nodes = status(client, target)?.since(before);
    let log = client.open(&target.loglet, target.cluster);
    let mut contents = plan.check_history.then(Vec::new);
    let from = trimmed.unwrap_or_default().point;
    let verified = read_back(&log, plan, &generated.ledgers, from, contents.as_mut(), observer)?;
    let history = contents.map(|contents| check_history(plan, &generated.ledgers, witness, contents));
    let Window { device, client_cpu, server_cpu, nodes: nodes_in_window } = window;
    Ok(Measured {
        generated,
        verified,
        history,
        trimmed,
        nodes_in_window,
        device,
        nodes,
        client_cpu,
        server_cpu,
        io_wq,
    })
}

/// What was used in the measured time.
struct Window {
    device: Option<DeviceCounters>,
    client_cpu: Duration,
    server_cpu: Option<Duration>,
    nodes: Option<NodeCounters>,
}

/// Generates on a thread of its own, asks and reads, or trims, on another if the plan says so, and samples from this one at both ends
/// of the measured time.
fn load(
    client: &Client,
    logs: Vec<Log>,
    target: &Target,
    plan: &Plan,
    io_wq: &mut IoWq,
    observer: &mut dyn Observer,
) -> Result<(Generated, Witness, Option<Trimmed>, Window), RunError> {
    let open = || client.open(&target.loglet, target.cluster);
    let watcher = plan.check_history.then(open);
    let trimmer = plan.trim_behind.map(|behind| (behind, open()));
    let progress = Mutex::new(Progress::default());
    let start = Instant::now();
    thread::scope(|scope| {
        let progress = &progress;
        let number = u32::try_from(logs.len()).expect("connections are counted in 32 bits");
        // Closed when the watcher and the trimmer shall end, whichever way this function does.
        let ((watch_until, watch_end), (trim_until, trim_end)) = (mpsc::channel(), mpsc::channel());
        let watcher = watcher.map(|log| scope.spawn(move || witness(&log, number, start, &watch_end)));
        let trimmer = trimmer.map(|(behind, log)| scope.spawn(move || trim(&log, behind, progress, &trim_end)));
        let generator = scope.spawn(move || generate_in_spans(plan, &plan.intervals(), logs, start, progress));
        let mut wait = |until: Duration| {
            while start.elapsed() < until && !generator.is_finished() {
                thread::sleep(TURN.min(until.saturating_sub(start.elapsed())));
                io_wq.observe();
                let acknowledged = progress.lock().unwrap_or_else(PoisonError::into_inner).acknowledged;
                if !observer.progress(Phase::Appending { elapsed: start.elapsed(), acknowledged }) {
                    progress.lock().unwrap_or_else(PoisonError::into_inner).abandoned = true;
                    return Err(RunError::Interrupted);
                }
            }
            Ok(())
        };
        wait(plan.warm_up)?;
        let sample = || Usage::sample(plan.trim_behind.map(|_| client), target);
        let from = sample()?;
        wait(plan.warm_up + plan.measured)?;
        let to = sample()?;
        wait(plan.warm_up + plan.measured + plan.drain)?;
        let generated = generator.join().expect("the generator does not panic");
        drop((watch_until, trim_until));
        let witness = watcher.map(|watcher| watcher.join().expect("the watcher does not panic"));
        let witness = witness.transpose().map_err(RunError::Watch)?.unwrap_or_default();
        let trimmed = trimmer.map(|trimmer| trimmer.join().expect("the trimmer does not panic"));
        let trimmed = trimmed.transpose().map_err(RunError::Trim)?;
        let window = Window {
            device: to.device.zip(from.device).map(|(to, from)| to.since(from)),
            client_cpu: to.own.saturating_sub(from.own),
            server_cpu: target.server_pids.first().map(|_| to.servers.saturating_sub(from.servers)),
            nodes: to.nodes.zip(from.nodes).map(|(to, from)| to.since(from)),
        };
        Ok((generated, witness, trimmed, window))
    })
}

struct Usage {
    device: Option<DeviceCounters>,
    own: Duration,
    servers: Duration,
    nodes: Option<NodeCounters>,
}

impl Usage {
    /// The nodes are asked by `client`, if there is one.
    fn sample(client: Option<&Client>, target: &Target) -> Result<Self, RunError> {
        Ok(Self {
            nodes: client.map(|client| status(client, target)).transpose()?,
            device: target.device.as_ref().and_then(|device| DeviceCounters::sample(device).ok()),
            own: processes_time(&[std::process::id()]).map_err(RunError::Cpu)?,
            servers: processes_time(&target.server_pids).map_err(RunError::Cpu)?,
        })
    }
}

fn status(client: &Client, target: &Target) -> Result<NodeCounters, RunError> {
    let document = |&node: &SocketAddr| client.status(node).map_err(|error| RunError::Status { node, error });
    Ok(NodeCounters::of(&target.nodes.iter().map(document).collect::<Result<Vec<Value>, _>>()?))
}

/// Reads from an offset, the first that is left, to the tail and compares with the ledgers; what is read is added to `contents`.
fn read_back(
    log: &Log,
    plan: &Plan,
    ledgers: &[Ledger],
    from: Offset,
    mut contents: Option<&mut Vec<HistoryValue>>,
    observer: &mut dyn Observer,
) -> Result<Verified, RunError> {
    let checker = Checker::trimmed(plan.seed, plan.record_bytes, ledgers, from);
    let tail = log.check_tail().map_err(RunError::Tail)?.tail;
    logs::read_back(log.subscribe(from), tail, checker, observer, |delivery| {
        if let Some(contents) = &mut contents {
            contents.extend(delivery.values().map(HistoryValue::at));
        }
    })
}
