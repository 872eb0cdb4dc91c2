//! Many seeds, on all cores.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::report::Summary;
use super::run::{Options, Outcome, run};

/// How far many runs have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Seeds that have been run.
    pub done: u64,
    /// Of them, with violations.
    pub violated: u64,
}

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// Runs the seeds `first..first + count` on so many threads, each seed for itself, and adds up what they came to. `go_on` is asked now
/// and then; when it says no, what is under way is finished and nothing more begun.
pub fn run_seeds(
    first: u64,
    count: u64,
    options: &Options,
    threads: usize,
    mut go_on: impl FnMut(Progress) -> bool,
) -> Summary {
    let mut summary = Summary::new(options.profile);
    // Each thread asks for its next seed by its last outcome.
    let (outcomes, results): (Sender<(u64, Outcome, usize)>, Receiver<_>) = channel();
    thread::scope(|scope| {
        let mut next = first;
        let end = first.saturating_add(count);
        let mut seeds: Vec<Option<Sender<u64>>> = Vec::new();
        let mut running = 0_usize;
        for number in 0..threads.max(1) {
            let (sender, wanted) = channel();
            let (outcomes, options) = (outcomes.clone(), options.clone());
            scope.spawn(move || {
                for seed in wanted {
                    if outcomes.send((seed, run(seed, &options), number)).is_err() {
                        return;
                    }
                }
            });
            seeds.push(Some(sender));
        }
        let mut give = |slot: &mut Option<Sender<u64>>, stop: bool| {
            if stop || next >= end {
                *slot = None;
                return false;
            }
            next += 1;
            slot.as_ref().is_some_and(|sender| sender.send(next - 1).is_ok())
        };
        for slot in &mut seeds {
            running += usize::from(give(slot, false));
        }
        let mut stop = false;
        let mut violated = 0;
        while running > 0 {
            if let Ok((seed, outcome, number)) = results.recv_timeout(TOLD_EVERY) {
                violated += u64::from(!outcome.violations.is_empty());
                summary.add(seed, &outcome);
                running -= 1;
                running += usize::from(give(&mut seeds[number], stop));
            }
            stop = stop || !go_on(Progress { done: summary.runs, violated });
        }
    });
    summary.violations.sort_by_key(|violation| violation.seed);
    summary
}
