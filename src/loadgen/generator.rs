//! One thread that keeps many clients' appends going and takes the latency of each.
//!
//! Clocks are read before a group of appends is issued and after a group has completed, never in between, so that sharing a
//! reading can only make latencies longer. A client's appends are looked at in order of issue: acknowledgements come in
//! order of offsets, and one that overtook would be booked later than it was, not earlier.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub use super::pace::Pace;
use super::pace::Timetable;
use super::payload::RecordKey;
use super::ready::ReadyQueue;
use super::realtime;
use super::trimmer::TrimBehind;
use super::verify::Ledger;
use crate::base::Offset;

/// What appends go to: a client's connection, or a stand-in in tests.
pub trait Appender {
    /// The end of one append.
    type Append: Future<Output = Result<Offset, String>> + Unpin;

    /// Starts an append; `None` when the window is full, and then room will come with a completion.
    fn try_append(&self, record: &[u8]) -> Option<Self::Append>;
}

/// What a generator shall do.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// How load is offered.
    pub pace: Pace,
    /// Of every record.
    pub record_bytes: usize,
    /// Of the payloads.
    pub seed: u64,
    /// Load before the measurement.
    pub warm_up: Duration,
    /// Load that is measured.
    pub measured: Duration,
    /// How long appends in flight at the end are waited for.
    pub drain: Duration,
    /// Whether to keep when each append began and ended, and where it went, and to check that history: some 110 bytes of memory for
    /// each append.
    pub check_history: bool,
    /// Whether the generator's thread has real-time priority, which has to be permitted.
    pub realtime: bool,
    /// What is kept of the log while it is appended to; everything if nothing is said.
    pub trim_behind: Option<TrimBehind>,
}

/// Intervals of which the latencies are kept apart, at most: each takes 230 KiB.
const INTERVALS_MAX: u32 = 60;

impl Plan {
    /// The ends, from the start of the load, of the intervals of which latencies are kept apart: a second each, or a sixtieth of the measured
    /// time where that is longer.
    pub fn intervals(&self) -> Vec<Duration> {
        let length = (self.measured / INTERVALS_MAX).max(Duration::from_secs(1));
        let count = self.measured.as_nanos().div_ceil(length.as_nanos()) as u32;
        (1..=count).map(|number| self.warm_up + (length * number).min(self.measured)).collect()
    }
}

/// What a generator has done. Counts and latencies are of the measured time only: of completions in it for a closed
/// loop, of due times in it for an open one.
pub struct Generated {
    /// In nanoseconds.
    pub latency: Histogram<u64>,
    /// The same for each span that was asked for, by the time from which an append's latency counts. The first has what began before it.
    pub spans: Vec<Histogram<u64>>,
    /// Acknowledgements in the measured time.
    pub appended: u64,
    /// How long after its due time an append was taken up, in nanoseconds; of an open loop only.
    pub lag: Option<Histogram<u64>>,
    /// Every append, for the verification: one ledger for each client.
    pub ledgers: Vec<Ledger>,
    /// Appends that failed or were given up, warm-up included.
    pub failed: u64,
    /// Why the first of them failed.
    pub first_error: Option<String>,
    /// Times that a client's window was full when it had an append to make.
    pub window_full: u64,
}

/// Lateness from which an append of an open loop counts as late.
const LATE_NANOS: u64 = 1_000_000;
/// Share of late appends beyond which the generator, not the system, has set the pace.
const LATE_SHARE_MAX: f64 = 0.01;
/// Appends of an open loop that are due within this time are taken up together, by the one that is due last: a wake-up for each would take
/// the processor from what is measured. The lag has it, and so has the latency.
const TICK_NANOS: u64 = 50_000;
/// Appends that share one reading of the clock.
const GROUP: usize = 32;
const PROGRESS_NANOS: u64 = 100_000_000;

impl Generated {
    /// Whether the generator kept its timetable: at most 1 % of the appends were taken up more than 1 ms late. Time during
    /// which a client's window was full is the system's, and is in the latencies.
    pub fn kept_up(&self) -> bool {
        let Some(lag) = &self.lag else { return true };
        let late = lag.len() - lag.count_between(0, LATE_NANOS);
        late as f64 <= lag.len() as f64 * LATE_SHARE_MAX
    }

    /// The 99th percentile of how late appends were taken up, to tenths of microseconds; none of a closed loop.
    pub fn lag_us(&self) -> Option<f64> {
        self.lag.as_ref().map(|lag| (lag.value_at_quantile(0.99) as f64 / 100.0).round() / 10.0)
    }
}

/// A histogram in nanoseconds, three significant digits, up to two minutes.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("the bounds are valid")
}

/// What a generator and whoever watches it tell each other, ten times a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Acknowledgements so far.
    pub acknowledged: u64,
    /// Set by who trims: what lies below need not be remembered.
    pub trim_point: Offset,
    /// Set by the watcher: nobody wants the result any more.
    pub abandoned: bool,
}

/// Carries out a plan on the calling thread, one client for each appender, starting at `start`.
pub fn generate<A: Appender>(plan: &Plan, appenders: Vec<A>, start: Instant, progress: &Mutex<Progress>) -> Generated {
    generate_in_spans(plan, &[], appenders, start, progress)
}

/// As [`generate`], and keeps the latencies of the parts of the measured time apart: these are their ends, in order, from the start.
pub fn generate_in_spans<A: Appender>(
    plan: &Plan,
    ends: &[Duration],
    appenders: Vec<A>,
    start: Instant,
    progress: &Mutex<Progress>,
) -> Generated {
    assert!(ends.is_sorted(), "a span ends after the one before");
    assert!(!appenders.is_empty(), "load needs a client");
    // The kernel rounds sleeps up by 50 us by default. Without it, the lag says so.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    if plan.realtime {
        realtime::enter().expect("it was looked at whether it is permitted");
    }
    let queue = ReadyQueue::new(appenders.len());
    let timetable = match plan.pace {
        Pace::Closed { .. } => None,
        Pace::Open { appends_per_s } => Some(Timetable { clients: appenders.len() as u64, appends_per_s }),
    };
    let lanes = appenders.into_iter().enumerate().map(|(index, appender)| Lane {
        waker: queue.waker(index),
        appender,
        in_flight: VecDeque::new(),
        ledger: match plan.trim_behind {
            Some(behind) => Ledger::of_trimmed(behind.stretch()),
            None if plan.check_history => Ledger::recording(),
            None => Ledger::default(),
        },
        stopped: false,
    });
    let generator = Generator {
        lanes: lanes.collect(),
        queue,
        timetable,
        start,
        measure_from: plan.warm_up.as_nanos() as u64,
        end: (plan.warm_up + plan.measured).as_nanos() as u64,
        taken_up: 0,
        scratch: Vec::new(),
        acknowledged: 0,
        span_ends: ends.iter().map(|end| end.as_nanos() as u64).collect(),
        out: Generated {
            latency: histogram(),
            spans: ends.iter().map(|_| histogram()).collect(),
            appended: 0,
            lag: timetable.map(|_| histogram()),
            ledgers: Vec::new(),
            failed: 0,
            first_error: None,
            window_full: 0,
        },
        plan,
    };
    generator.run(progress)
}

struct Lane<A: Appender> {
    appender: A,
    waker: Waker,
    in_flight: VecDeque<InFlight<A::Append>>,
    ledger: Ledger,
    /// After a failure: the loglet is sealed or lost, and more appends would only fail too.
    stopped: bool,
}

struct InFlight<F> {
    append: F,
    sequence: u64,
    since: u64,
}

struct Generator<'a, A: Appender> {
    plan: &'a Plan,
    lanes: Vec<Lane<A>>,
    queue: Arc<ReadyQueue>,
    timetable: Option<Timetable>,
    start: Instant,
    // In nanoseconds from the start.
    measure_from: u64,
    end: u64,
    /// Appends of the timetable that have been looked at.
    taken_up: u64,
    scratch: Vec<u8>,
    acknowledged: u64,
    /// In nanoseconds from the start.
    span_ends: Vec<u64>,
    out: Generated,
}

impl<A: Appender> Generator<'_, A> {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn run(mut self, progress: &Mutex<Progress>) -> Generated {
        let mut ready = Vec::new();
        let mut progress_at = 0;
        let give_up = self.end + self.plan.drain.as_nanos() as u64;
        for lane in 0..self.lanes.len() {
            self.queue.push(lane);
        }
        loop {
            self.queue.take(&mut ready);
            for &lane in &ready {
                self.complete(lane);
                self.refill(lane);
            }
            self.take_up_due();
            let now = self.now();
            if now >= progress_at {
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.acknowledged = self.acknowledged;
                if progress.abandoned {
                    return self.finish();
                }
                progress_at = now + PROGRESS_NANOS;
                let trim_point = progress.trim_point;
                drop(progress);
                self.lanes.iter_mut().for_each(|lane| lane.ledger.forget_below(trim_point));
            }
            let over = self.lanes.iter().all(|lane| lane.stopped) || now >= self.end;
            if over && (now >= give_up || (0..self.lanes.len()).all(|lane| self.is_idle(lane))) {
                return self.finish();
            }
            if ready.is_empty() {
                let next = match self.timetable {
                    Some(timetable) if now < self.end => {
                        timetable.due(self.taken_up).max(now + TICK_NANOS).min(self.end)
                    }
                    _ if now < self.end => self.end,
                    _ => give_up,
                };
                self.queue.park(Duration::from_nanos(next.min(progress_at).saturating_sub(now)));
            }
        }
    }

    /// Whether a lane has nothing in flight and nothing to catch up with.
    fn is_idle(&self, lane: usize) -> bool {
        self.lanes[lane].in_flight.is_empty() && (self.lanes[lane].stopped || !self.is_behind(lane))
    }

    /// Whether an open loop's lane has appends that were taken up while its window was full.
    fn is_behind(&self, lane: usize) -> bool {
        let Some(timetable) = self.timetable else { return false };
        timetable.number(lane, self.lanes[lane].ledger.issued()) < self.taken_up
    }

    /// Books what has completed, from the oldest on. What is due meanwhile is taken up in between: after a stall thousands complete at
    /// once.
    fn complete(&mut self, index: usize) {
        while self.complete_group(index) {
            self.take_up_due();
        }
    }

    /// Books at most a group; false when it was not a whole one.
    fn complete_group(&mut self, index: usize) -> bool {
        let lane = &mut self.lanes[index];
        let mut context = Context::from_waker(&lane.waker);
        let mut done = [(0, Offset::ZERO, 0); GROUP];
        let mut count = 0;
        while count < GROUP {
            let Some(head) = lane.in_flight.front_mut() else { break };
            let Poll::Ready(result) = Pin::new(&mut head.append).poll(&mut context) else { break };
            match result {
                Ok(offset) => {
                    done[count] = (head.sequence, offset, head.since);
                    count += 1;
                }
                Err(error) => {
                    lane.ledger.fail(head.sequence);
                    lane.stopped = true;
                    self.out.failed += 1;
                    self.out.first_error.get_or_insert(error);
                }
            }
            lane.in_flight.pop_front();
        }
        if count == 0 {
            return false;
        }
        let now = self.start.elapsed().as_nanos() as u64;
        self.acknowledged += count as u64;
        let in_window = (self.measure_from..self.end).contains(&now);
        self.out.appended += if in_window { count as u64 } else { 0 };
        for &(sequence, offset, since) in &done[..count] {
            lane.ledger.acknowledge(sequence, offset, now);
            let counts = match self.timetable {
                Some(_) => (self.measure_from..self.end).contains(&since),
                None => in_window,
            };
            if counts {
                let took = now.saturating_sub(since).max(1);
                let span = self.span_ends.partition_point(|end| *end <= since);
                self.out.spans.get_mut(span).unwrap_or(&mut self.out.latency).saturating_record(took);
            }
        }
        count == GROUP
    }

    /// Issues what a lane may: up to its appends in flight, or what an open loop owes.
    fn refill(&mut self, index: usize) {
        match (self.plan.pace, self.timetable) {
            (Pace::Closed { inflight }, _) => {
                let mut since = self.now();
                let mut issued = 0;
                while self.lanes[index].in_flight.len() < inflight && since < self.end {
                    if !self.issue(index, since) {
                        break;
                    }
                    issued += 1;
                    if issued % GROUP == 0 {
                        since = self.now();
                    }
                }
            }
            (_, Some(timetable)) => {
                while self.is_behind(index) {
                    let due = timetable.due(timetable.number(index, self.lanes[index].ledger.issued()));
                    if !self.issue(index, due) {
                        break;
                    }
                }
            }
            (_, None) => unreachable!("an open loop has a timetable"),
        }
    }

    /// Goes through the appends of the timetable that are due by now.
    fn take_up_due(&mut self) {
        let Some(timetable) = self.timetable else { return };
        loop {
            let (now, due) = (self.now(), timetable.due(self.taken_up));
            if due > now || due >= self.end {
                return;
            }
            let lag = self.out.lag.as_mut().expect("an open loop has a lag");
            if due >= self.measure_from {
                lag.saturating_record((now - due).max(1));
            }
            let lane = timetable.client(self.taken_up);
            let blocked = self.is_behind(lane);
            self.taken_up += 1;
            if !blocked {
                self.issue(lane, due);
            }
        }
    }

    /// Starts one append; false when the lane has stopped or its window is full.
    fn issue(&mut self, index: usize, since: u64) -> bool {
        let lane = &mut self.lanes[index];
        if lane.stopped {
            return false;
        }
        let sequence = lane.ledger.issued();
        let key = RecordKey { seed: self.plan.seed, client: index as u64, sequence };
        key.write(self.plan.record_bytes, &mut self.scratch);
        let Some(append) = lane.appender.try_append(&self.scratch) else {
            self.out.window_full += 1;
            if lane.in_flight.is_empty() {
                self.queue.push(index);
            }
            return false;
        };
        lane.ledger.issue(since);
        if lane.in_flight.is_empty() {
            // The head of the line has not been polled yet: the next turn does, and so leaves it the waker.
            self.queue.push(index);
        }
        lane.in_flight.push_back(InFlight { append, sequence, since });
        true
    }

    fn finish(mut self) -> Generated {
        for lane in &mut self.lanes {
            for abandoned in lane.in_flight.drain(..) {
                lane.ledger.fail(abandoned.sequence);
                self.out.failed += 1;
                self.out.first_error.get_or_insert_with(|| "no answer before the run was given up".to_owned());
            }
        }
        for span in &self.out.spans {
            self.out.latency.add(span).expect("all have the same bounds");
        }
        self.out.ledgers = self.lanes.into_iter().map(|lane| lane.ledger).collect();
        self.out
    }
}

#[cfg(test)]
#[path = "generator_tests.rs"]
mod tests;
