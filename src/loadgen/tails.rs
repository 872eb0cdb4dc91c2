//! Several logs at once, each appended to and followed by a client of its own.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::generator::Plan;
use super::run::{Observer, Phase, RunError};
use super::tail::{self, Tailed};
use crate::client::Log;

/// Between two looks at an interruption.
const TURN: Duration = Duration::from_millis(50);

/// What the loads, each on a thread, and whoever watches them tell each other.
struct Together {
    /// Of each load.
    acknowledged: Vec<u64>,
    abandoned: bool,
}

/// The place of one load there.
struct Part<'a> {
    together: &'a Mutex<Together>,
    index: usize,
}

impl Observer for Part<'_> {
    fn progress(&mut self, phase: Phase) -> bool {
        let mut together = self.together.lock().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Appending { acknowledged, .. } = phase {
            together.acknowledged[self.index] = acknowledged;
        }
        !together.abandoned
    }
}

/// Appends by `plan` to each log, which is still empty, through its first handle, while the second one subscribes to it. Records of
/// different logs differ.
///
/// # Errors
/// Those of [`tail::run`]; the first of any log.
pub fn run(logs: Vec<(Log, Log)>, plan: &Plan, observer: &mut dyn Observer) -> Result<Vec<Tailed>, RunError> {
    let together = &Mutex::new(Together { acknowledged: vec![0; logs.len()], abandoned: false });
    let start = Instant::now();
    thread::scope(|scope| {
        let load = |(index, (appender, reader)): (usize, (Log, Log))| {
            let plan = Plan { seed: plan.seed.wrapping_add(index as u64), ..plan.clone() };
            scope.spawn(move || tail::run(appender, &reader, &plan, &mut Part { together, index }))
        };
        let loads: Vec<_> = logs.into_iter().enumerate().map(load).collect();
        while loads.iter().any(|load| !load.is_finished()) {
            thread::sleep(TURN);
            let mut now = together.lock().unwrap_or_else(PoisonError::into_inner);
            let acknowledged = now.acknowledged.iter().sum();
            now.abandoned |= !observer.progress(Phase::Appending { elapsed: start.elapsed(), acknowledged });
        }
        loads.into_iter().map(|load| load.join().expect("a load does not panic")).collect()
    })
}
