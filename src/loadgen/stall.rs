//! A load on a virtual log during which something is done to the nodes: latencies of the spans before, meanwhile and after, and
//! everything read back.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::generator::{Generated, Plan, Progress, generate_in_spans};
use super::logs::{self, Position};
use super::run::{Observer, Phase, RunError};
use super::verify::{Checker, Ledger, Verified};
use crate::base::LogPos;
use crate::client::VirtualLog;

/// Between two looks at an interruption.
const TURN: Duration = Duration::from_millis(50);

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
        let generator = scope.spawn(move || generate_in_spans(plan, ends, logs, start, progress));
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
    let checker = Checker::new(plan.seed, plan.record_bytes, ledgers);
    let tail = log.check_tail().map_err(RunError::Tail)?.offset();
    logs::read_back(log.subscribe(LogPos::ZERO), tail, checker, observer, |_| {})
}
