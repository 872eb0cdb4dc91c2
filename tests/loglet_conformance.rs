//! The loglet conformance suite over real nodes in one process, through the client library.

mod support;

/// The suite names what it tests as the library does.
use naxos::{base, proto, wire};
#[path = "../src/proto/conformance/suite/mod.rs"]
mod suite;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use base::Offset;
use naxos::client::{AppendError, Delivery, Event, Filled, Log, OpError, ReadResult};
use proto::loglet::{FillFailure, LogletOp, LogletResult, OpId, Records};
use suite::{Checked, Fault, LogletUnderTest, Skipped, check, loglet_conformance};
use support::Cluster;
use wire::Batch;

/// How long an operation under way may take before the test calls it stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// Without an operation under way, how long a subscription may be silent before it is taken for quiet.
const QUIET: Duration = Duration::from_millis(400);

/// Each operation blocks a thread of its own, but appends are submitted in the order in which they are asked for.
struct Nodes {
    cluster: Cluster,
    logs: [Log; 2],
    results: Receiver<(OpId, LogletResult)>,
    sender: Sender<(OpId, LogletResult)>,
    threads: Vec<JoinHandle<()>>,
    /// Operations that will have a result for certain.
    owed: usize,
    subscriptions: Vec<OpId>,
    addresses: [Option<SocketAddr>; 3],
    /// The first sealed tail that the behaviour was told stands for the stop in a chain: others may be found to be higher.
    stop: Arc<OnceLock<Offset>>,
}

impl Nodes {
    fn new() -> Self {
        let cluster = Cluster::start(3, 1);
        let logs = [cluster.log(), cluster.log()];
        let (sender, results) = channel();
        let (threads, subscriptions, stop) = Default::default();
        Self { cluster, logs, results, sender, threads, owed: 0, subscriptions, addresses: [None; 3], stop }
    }

    fn spawn(&mut self, id: OpId, work: impl FnOnce() -> LogletResult + Send + 'static) {
        let sender = self.sender.clone();
        self.owed += 1;
        // Nobody listens any more when the behaviour has failed.
        self.threads.push(std::thread::spawn(move || drop(sender.send((id, work())))));
    }

    fn append(&mut self, client: usize, id: OpId, records: Records) {
        let batch = Batch::new(records.count, &records.bytes).unwrap();
        let appends: Vec<_> = batch.records().map(|(payload, _)| self.logs[client].append(payload)).collect();
        self.spawn(id, move || {
            let outcomes: Vec<_> = appends.into_iter().map(naxos::client::Append::wait).collect();
            match outcomes[0].clone() {
                Ok(first) => {
                    let offsets = (first.0..).map(Offset);
                    assert!(outcomes.iter().zip(offsets).all(|(outcome, offset)| *outcome == Ok(offset)));
                    LogletResult::Appended { first, stride: 1, records }
                }
                Err(AppendError::Sealed { record_at: first }) => {
                    LogletResult::AppendSealed { first, stride: 1, records }
                }
                Err(AppendError::NoSpace { record_at: first }) => {
                    LogletResult::AppendNoSpace { first, stride: 1, records }
                }
                Err(AppendError::SequencerLost { maybe_stored }) => {
                    LogletResult::SequencerLost { maybe_stored, records }
                }
                Err(AppendError::Gone) => LogletResult::Gone,
                Err(other) => panic!("an append: {other}"),
            }
        });
    }

    fn subscribe(&mut self, client: usize, id: OpId, from: Offset) {
        let (mut subscription, sender) = (self.logs[client].subscribe(from), self.sender.clone());
        self.subscriptions.push(id);
        self.threads.push(std::thread::spawn(move || {
            loop {
                let (result, sealed) = match subscription.next() {
                    Ok(Event::Records(delivery)) => {
                        (Some(LogletResult::Records { first: delivery.first(), records: covered(&delivery) }), None)
                    }
                    Ok(Event::Trimmed(trim_point)) => (Some(LogletResult::Trimmed { trim_point }), Some(false)),
                    Ok(Event::Sealed) => (None, Some(true)),
                    Err(OpError::Gone) => (Some(LogletResult::Gone), Some(false)),
                    Err(_) => return,
                };
                let ended = sealed.map(|sealed| LogletResult::SubscriptionEnded { sealed });
                let over = ended.is_some();
                if result.into_iter().chain(ended).any(|result| sender.send((id, result)).is_err()) || over {
                    return;
                }
            }
        }));
    }
}

/// What a delivery covers: the library hands out the records alone, and where they are.
fn covered(delivery: &Delivery) -> Records {
    let mut payloads = vec![suite::NO_OP; delivery.end().since(delivery.first()) as usize];
    for (offset, record) in delivery.entries() {
        payloads[offset.since(delivery.first()) as usize] = record;
    }
    assert_eq!(payloads.iter().filter(|payload| **payload != suite::NO_OP).count(), delivery.records().count());
    suite::records(&payloads)
}

fn result_of<T>(outcome: Result<T, OpError>, of: impl FnOnce(T) -> LogletResult) -> LogletResult {
    match outcome {
        Ok(value) => of(value),
        Err(OpError::Gone) => LogletResult::Gone,
        Err(error) => LogletResult::Unavailable { reason: error.to_string() },
    }
}

impl LogletUnderTest for Nodes {
    fn start(&mut self, client: usize, id: OpId, op: LogletOp) {
        let (log, stop) = (self.logs[client].clone(), Arc::clone(&self.stop));
        match op {
            LogletOp::Append { records } => self.append(client, id, records),
            LogletOp::Subscribe { from, .. } => self.subscribe(client, id, from),
            LogletOp::CheckTail => self.spawn(id, move || {
                result_of(log.check_tail(), |tail| {
                    if tail.sealed {
                        stop.get_or_init(|| tail.tail);
                    }
                    LogletResult::Tail { tail: tail.tail, sealed: tail.sealed }
                })
            }),
            LogletOp::FillTo { offset } => self.spawn(id, move || match log.fill_to(offset) {
                Ok(Filled { known_tail, placed }) => LogletResult::Filled { known_tail, placed },
                Err(OpError::Sealed) => LogletResult::FillFailed(FillFailure::Sealed),
                Err(OpError::SequencerLost) => LogletResult::FillFailed(FillFailure::SequencerLost),
                Err(other) => panic!("a fill: {other}"),
            }),
            LogletOp::ReadNext { min, max, limit, bytes_max } => self.spawn(id, move || {
                // A log of the library knows by itself what is committed, if it has heard of it; its stop is the caller's to tell.
                drop(log.check_tail());
                if stop.get() == Some(&limit) {
                    log.set_stop(limit).unwrap();
                }
                result_of(log.read(min, max, bytes_max), |found| match found {
                    ReadResult::Records(delivery) => {
                        LogletResult::Records { first: delivery.first(), records: covered(&delivery) }
                    }
                    ReadResult::NothingYet => LogletResult::NothingYet,
                    ReadResult::Trimmed(trim_point) => LogletResult::Trimmed { trim_point },
                })
            }),
            LogletOp::Seal => self.spawn(id, move || result_of(log.seal(), |()| LogletResult::Sealed)),
            LogletOp::Trim { point, .. } => self.spawn(id, move || {
                result_of(log.trim(point), |trim_point| LogletResult::TrimDone { trim_point, servers: 0 })
            }),
            LogletOp::Credit { .. } | LogletOp::Unsubscribe => unreachable!("a subscriber grants its own credit"),
        }
    }

    fn next(&mut self) -> Option<(OpId, LogletResult)> {
        let patience = if self.owed > 0 { PATIENCE } else { QUIET };
        if self.owed == 0 && self.subscriptions.is_empty() {
            return None;
        }
        let (id, result) = self.results.recv_timeout(patience).ok()?;
        if !self.subscriptions.contains(&id) {
            self.owed -= 1;
        } else if matches!(result, LogletResult::SubscriptionEnded { .. }) {
            self.subscriptions.retain(|subscription| *subscription != id);
        }
        Some((id, result))
    }

    fn record_bytes_max(&self) -> usize {
        support::small_limits().record_bytes_max as usize
    }

    fn takes_credit(&self) -> bool {
        false
    }

    fn delete(&mut self) -> Checked {
        Err(Skipped("the client library does not delete yet"))
    }

    fn fault(&mut self, fault: Fault) -> Checked {
        match fault {
            // In one process there is only an orderly stop; `tests/crash.rs` kills processes.
            Fault::Crash(server) => self.addresses[server] = Some(self.cluster.stop(server)),
            Fault::Restart(server) => {
                let address = self.addresses[server].take().expect("it was stopped");
                self.cluster.restart(server, address);
            }
            _ => return Err(Skipped("real sockets and disks only fail as a whole here")),
        }
        Ok(())
    }
}

macro_rules! on_nodes {
    ($behaviour:path) => {
        super::check(super::Nodes::new(), |bench| $behaviour(bench))
    };
}
use on_nodes;

loglet_conformance!(on_nodes);
