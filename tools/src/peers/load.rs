//! A load on any system: which records are due, which are in flight, and what became of them.
//!
//! All connections are served by one thread. A connection asks its [`Lane`] for requests and tells it the answers; how the
//! bytes travel is the connection's business.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use naxos::base::Offset;
use naxos::loadgen::payload::RecordKey;
use naxos::loadgen::verify::Ledger;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long appends in flight at the end are waited for.
const DRAIN: Duration = Duration::from_secs(15);

/// What is kept in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Connections, each with its own client number.
    pub(super) connections: usize,
    /// Requests in flight on each connection, at most.
    pub(super) inflight: usize,
    /// Records of one request: of every one in a closed loop, at most in an open one.
    pub(super) records_per_request: usize,
}

/// A load for some time.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) load: Load,
    /// Appends a second over all connections; a closed loop without.
    pub(super) rate: Option<f64>,
    pub(super) record_bytes: usize,
    /// Of the payloads.
    pub(super) seed: u64,
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
}

impl Plan {
    fn nanos(&self, time: Duration) -> u64 {
        u64::try_from(time.as_nanos()).expect("a load takes less than centuries")
    }

    fn end(&self) -> u64 {
        self.nanos(self.warm_up + self.measured)
    }
}

/// Records that travel together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// The sequence of its first record. It names the request.
    pub(super) first: u64,
    pub(super) records: u64,
    /// When it was asked for, in nanoseconds from the start; of a closed loop.
    since: u64,
}

/// Where the records of a request have gone: the first to `offset`, each next one by `step` further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) offset: u64,
    pub(super) step: u64,
}

/// A connection that is ready for load.
pub(super) trait Connection {
    /// Carries out what the lane asks for, until it is over.
    async fn run(self, lane: Rc<Lane>) -> anyhow::Result<()>;
}

/// What a load has done. Counts and latencies are of the measured time: of answers in it for a closed loop, of due times in
/// it for an open one.
pub(super) struct Driven {
    /// In nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// Acknowledged in the measured time.
    pub(super) appended: u64,
    /// Every append, for the verification: one ledger for each connection.
    pub(super) ledgers: Vec<Ledger>,
    pub(super) failed: u64,
    pub(super) first_error: Option<String>,
    /// How long after its due time an append was noticed, in nanoseconds; of an open loop only. It is part of the latency.
    pub(super) lag: Option<Histogram<u64>>,
}

/// What all lanes of a load share.
struct Run {
    plan: Plan,
    start: Instant,
    latency: RefCell<Histogram<u64>>,
    appended: Cell<u64>,
    failed: Cell<u64>,
    first_error: RefCell<Option<String>>,
    lag: RefCell<Histogram<u64>>,
}

/// In nanoseconds, three significant digits, up to two minutes.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("the bounds are valid")
}

impl Run {
    fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            start: Instant::now(),
            latency: RefCell::new(histogram()),
            appended: Cell::default(),
            failed: Cell::default(),
            first_error: RefCell::default(),
            lag: RefCell::new(histogram()),
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// One connection's part of a load.
pub(super) struct Lane {
    run: Rc<Run>,
    client: u64,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    /// In order of issue.
    in_flight: VecDeque<Request>,
    /// Appends of the timetable that were looked at when they were due.
    seen: u64,
    /// After a failure: what follows would hide it.
    stopped: bool,
    scratch: Vec<u8>,
}

impl Lane {
    fn new(run: &Rc<Run>, client: usize) -> Self {
        Self { run: run.clone(), client: client as u64, state: RefCell::default() }
    }

    /// Bytes of every record.
    pub(super) fn record_bytes(&self) -> usize {
        self.run.plan.record_bytes
    }

    /// When a record is due, in nanoseconds from the start; connections take turns.
    fn due(&self, rate: f64, sequence: u64) -> u64 {
        let number = sequence * self.run.plan.load.connections as u64 + self.client;
        (number as f64 * (1e9 / rate)) as u64
    }

    /// Begins a request, whose records are put into `records` one after the other; nothing when nothing is due, or when
    /// enough is in flight.
    pub(super) fn take(&self, records: &mut Vec<u8>) -> Option<Request> {
        let (plan, state) = (&self.run.plan, &mut *self.state.borrow_mut());
        let now = self.run.now();
        let count = match plan.rate {
            None if now >= plan.end() => 0,
            None => plan.load.records_per_request as u64,
            Some(rate) => {
                self.look(state, rate, now);
                (state.seen - state.ledger.issued()).min(plan.load.records_per_request as u64)
            }
        };
        if count == 0 || state.stopped || state.in_flight.len() >= plan.load.inflight {
            return None;
        }
        let request = Request { first: state.ledger.issued(), records: count, since: now };
        records.clear();
        for sequence in request.first..request.first + count {
            let key = RecordKey { seed: plan.seed, client: self.client, sequence };
            key.write(plan.record_bytes, &mut state.scratch);
            records.extend_from_slice(&state.scratch);
            state.ledger.issue(now);
        }
        state.in_flight.push_back(request);
        Some(request)
    }

    /// Goes through the timetable as far as now.
    fn look(&self, state: &mut State, rate: f64, now: u64) {
        let (plan, run) = (&self.run.plan, &self.run);
        loop {
            let due = self.due(rate, state.seen);
            if due > now || due >= plan.end() {
                return;
            }
            state.seen += 1;
            if due >= plan.nanos(plan.warm_up) {
                run.lag.borrow_mut().saturating_record((now - due).max(1));
            }
        }
    }

    /// How long until the next record of an open loop is due; nothing when none will be.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let due = self.due(self.run.plan.rate?, self.state.borrow().seen);
        (due < self.run.plan.end()).then(|| Duration::from_nanos(due.saturating_sub(self.run.now())))
    }

    /// Whether an open loop still has a timetable to keep.
    pub(super) fn is_open(&self) -> bool {
        self.run.plan.rate.is_some()
    }

    /// Whether everything has been asked for and answered.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state.borrow();
        let ended = match self.run.plan.rate {
            None => self.run.now() >= self.run.plan.end(),
            Some(rate) => state.ledger.issued() == state.seen && self.due(rate, state.seen) >= self.run.plan.end(),
        };
        state.in_flight.is_empty() && (ended || state.stopped)
    }

    /// Books the answer to the request that begins with this sequence.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn acknowledge(&self, first: u64, place: Acknowledged) -> anyhow::Result<()> {
        let (run, state) = (&*self.run, &mut *self.state.borrow_mut());
        let request = state.remove(first)?;
        let (now, begin, end) = (run.now(), run.plan.nanos(run.plan.warm_up), run.plan.end());
        let in_window = (begin..end).contains(&now);
        let mut latency = run.latency.borrow_mut();
        for index in 0..request.records {
            let sequence = first + index;
            state.ledger.acknowledge(sequence, Offset(place.offset + index * place.step), now);
            let since = run.plan.rate.map_or(request.since, |rate| self.due(rate, sequence));
            let counts = if run.plan.rate.is_some() { (begin..end).contains(&since) } else { in_window };
            if counts {
                latency.saturating_record(now.saturating_sub(since).max(1));
            }
        }
        run.appended.set(run.appended.get() + if in_window { request.records } else { 0 });
        Ok(())
    }

    /// Books that a request was refused. The lane asks for nothing more.
    ///
    /// # Errors
    /// There is no such request.
    pub(super) fn refuse(&self, first: u64, reason: String) -> anyhow::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let request = state.remove(first)?;
        self.fail(state, request, reason);
        Ok(())
    }

    fn fail(&self, state: &mut State, request: Request, reason: String) {
        state.stopped = true;
        (request.first..request.first + request.records).for_each(|sequence| state.ledger.fail(sequence));
        self.run.failed.set(self.run.failed.get() + request.records);
        self.run.first_error.borrow_mut().get_or_insert(reason);
    }

    /// Books what has not been answered.
    fn abandon(&self, reason: &str) {
        let state = &mut *self.state.borrow_mut();
        for request in std::mem::take(&mut state.in_flight) {
            self.fail(state, request, reason.to_owned());
        }
        self.run.first_error.borrow_mut().get_or_insert_with(|| reason.to_owned());
    }
}

impl State {
    fn remove(&mut self, first: u64) -> anyhow::Result<Request> {
        // Answers come in order, but for a few.
        let at = self.in_flight.iter().position(|request| request.first == first);
        at.and_then(|at| self.in_flight.remove(at))
            .ok_or_else(|| anyhow::anyhow!("an answer to request {first}, which is not in flight"))
    }
}

/// Carries out a plan on connections that are ready for it.
pub(super) async fn drive<C: Connection + 'static>(plan: &Plan, connections: Vec<C>) -> Driven {
    assert_eq!(connections.len(), plan.load.connections, "a lane for each connection");
    let run = Rc::new(Run::new(plan));
    let lanes: Vec<_> = (0..connections.len()).map(|client| Rc::new(Lane::new(&run, client))).collect();
    let mut tasks = JoinSet::new();
    for (connection, lane) in connections.into_iter().zip(&lanes) {
        let (lane, limit) = (lane.clone(), plan.warm_up + plan.measured + DRAIN);
        tasks.spawn_local(async move {
            match timeout(limit, connection.run(lane.clone())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => lane.abandon(&format!("{error:#}")),
                Err(_) => lane.abandon("no answer before the load was given up"),
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a connection does not panic");
    }
    let ledgers = lanes.iter().map(|lane| std::mem::take(&mut lane.state.borrow_mut().ledger)).collect();
    Driven {
        latency: run.latency.borrow().clone(),
        appended: run.appended.get(),
        ledgers,
        failed: run.failed.get(),
        first_error: run.first_error.borrow_mut().take(),
        lag: plan.rate.map(|_| run.lag.borrow().clone()),
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
