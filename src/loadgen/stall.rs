//! A load on a virtual log during which something is done to the nodes: latencies of the spans before, meanwhile and after, and
//! everything read back.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use super::generator::{Appender, Generated, Plan, Progress, generate_in_spans};
use super::run::{Observer, Phase, RunError};
use super::verify::{Checker, Ledger, Verified};
use crate::base::{LogPos, Offset};
use crate::client::{Event, LogAppend, VirtualLog};

/// Between two looks at an interruption.
const TURN: Duration = Duration::from_millis(50);
/// How long reading back may stand still before it is given up.
const READ_STALL: Duration = Duration::from_secs(30);

/// A load that is under way, for whoever does something meanwhile.
pub struct Running<'a> {
    start: Instant,
    progress: &'a Mutex<Progress>,
    observer: &'a mut dyn Observer,
}

impl Running<'_> {
    /// Since the load's start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits until so long after the load's start.
    ///
    /// # Errors
    /// [`RunError::Interrupted`] if the observer says so.
    pub fn wait_until(&mut self, at: Duration) -> Result<(), RunError> {
        loop {
            let left = at.saturating_sub(self.start.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(TURN.min(left));
            self.look()?;
        }
    }

    fn look(&mut self) -> Result<(), RunError> {
        let acknowledged = self.progress.lock().unwrap_or_else(PoisonError::into_inner).acknowledged;
        let phase = Phase::Appending { elapsed: self.start.elapsed(), acknowledged };
        if self.observer.progress(phase) { Ok(()) } else { Err(RunError::Interrupted) }
    }
}

/// Appends by `plan`, one client for each of these handles of one log, while `meanwhile` runs on the calling thread. The latencies of the
/// spans that end at `ends` are kept apart.
///
/// # Errors
/// Those of `meanwhile`, which end the load at once, and an interruption. A load in which appends failed is a result, not an error.
pub fn run<T, E: From<RunError>>(
    logs: Vec<VirtualLog>,
    plan: &Plan,
    ends: &[Duration],
    observer: &mut dyn Observer,
    meanwhile: impl FnOnce(&mut Running<'_>) -> Result<T, E>,
) -> Result<(Generated, T), E> {
    let progress = &Mutex::new(Progress::default());
    let start = Instant::now();
    thread::scope(|scope| {
        let appenders = logs.into_iter().map(Connection).collect();
        let generator = scope.spawn(move || generate_in_spans(plan, ends, appenders, start, progress));
        let mut running = Running { start, progress, observer };
        let outcome = meanwhile(&mut running).and_then(|outcome| {
            while !generator.is_finished() {
                running.wait_until(running.elapsed() + TURN)?;
            }
            Ok(outcome)
        });
        if outcome.is_err() {
            progress.lock().unwrap_or_else(PoisonError::into_inner).abandoned = true;
        }
        let generated = generator.join().expect("the generator does not panic");
        Ok((generated, outcome?))
    })
}

/// Reads from the log's beginning to its tail and compares with the ledgers.
///
/// # Errors
/// The log cannot be read, or not in order; or an interruption.
pub fn read_back(
    log: &VirtualLog,
    plan: &Plan,
    ledgers: &[Ledger],
    observer: &mut dyn Observer,
) -> Result<Verified, RunError> {
    let mut checker = Checker::new(plan.seed, plan.record_bytes, ledgers);
    let tail = Offset(log.check_tail().map_err(RunError::Tail)?.0);
    let mut subscription = log.subscribe(LogPos::ZERO);
    let mut moved = Instant::now();
    while checker.next() < tail {
        let at = checker.next();
        match subscription.next_timeout(TURN).map_err(|error| RunError::Read { at, tail, error })? {
            Some(Event::Records(delivery)) => {
                let got = Offset(delivery.first().0);
                if got != at {
                    return Err(RunError::OutOfOrder { expected: at, got });
                }
                delivery.values().for_each(|place| checker.place(place));
                moved = Instant::now();
            }
            // What is not there is missing, and is counted.
            Some(Event::Trimmed(_) | Event::Sealed) => break,
            None if moved.elapsed() > READ_STALL => return Err(RunError::ReadStalled { at, tail }),
            None => {}
        }
        if !observer.progress(Phase::Verifying { read: checker.next().0, total: tail.0 }) {
            return Err(RunError::Interrupted);
        }
    }
    Ok(checker.finish())
}

/// One client of the load. Positions are taken for offsets: the log's first loglet begins at 0, and so does what is read back.
struct Connection(VirtualLog);

struct Pending(LogAppend);

impl Appender for Connection {
    type Append = Pending;
    fn try_append(&self, record: &[u8]) -> Option<Pending> {
        self.0.try_append(record).ok().map(Pending)
    }
}

impl Future for Pending {
    type Output = Result<Offset, String>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_ok(|position| Offset(position.0)).map_err(|error| error.to_string())
    }
}
