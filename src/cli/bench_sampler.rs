//! Takes the client's latency profile while a load goes on.

use std::time::Duration;

use super::progress::Progress;
use crate::client::{AppendProfile, Client};
use crate::loadgen::generator::Plan;
use crate::loadgen::interval_log::Interval;
use crate::loadgen::run::{Observer, Phase};

/// All intervals together.
pub(super) fn total(intervals: &[Interval]) -> AppendProfile {
    let mut total = AppendProfile::default();
    intervals.iter().for_each(|interval| total.add(&interval.profile));
    total
}

/// Takes the client's profile at the ends of the measured time and, if that is wanted, from time to time between them.
pub(super) struct Sampler<'a, 'b> {
    inner: &'a mut Progress<'b>,
    client: &'a Client,
    warm_up: Duration,
    every: Option<Duration>,
    /// When the profile was taken last; none before the end of the warm-up.
    last: Option<Duration>,
    /// When the load was last seen.
    seen: Duration,
    intervals: Vec<Interval>,
}

impl<'a, 'b> Sampler<'a, 'b> {
    pub(super) fn new(inner: &'a mut Progress<'b>, client: &'a Client, plan: &Plan, every: Option<Duration>) -> Self {
        Self { inner, client, warm_up: plan.warm_up, every, last: None, seen: Duration::ZERO, intervals: Vec::new() }
    }

    fn take(&mut self, from: Duration, to: Duration) {
        // A client that has ended fails the load itself.
        if let Ok(profile) = self.client.take_append_profile() {
            self.intervals.push(Interval { from, to, profile });
        }
    }

    /// All intervals, with what has come since the last one: nothing is appended once the load is over.
    pub(super) fn finish(mut self) -> Vec<Interval> {
        if let Some(last) = self.last {
            self.take(last, self.seen);
        }
        self.intervals
    }
}

impl Observer for Sampler<'_, '_> {
    fn progress(&mut self, phase: Phase) -> bool {
        if let Phase::Appending { elapsed, .. } = phase {
            self.seen = elapsed;
        }
        match (phase, self.last) {
            (Phase::Appending { elapsed, .. }, None) if elapsed >= self.warm_up => {
                // What there is belongs to the warm-up.
                let _ = self.client.take_append_profile();
                self.last = Some(elapsed);
            }
            (Phase::Appending { elapsed, .. }, Some(last))
                if self.every.is_some_and(|every| elapsed >= last + every) =>
            {
                self.take(last, elapsed);
                self.last = Some(elapsed);
            }
            _ => {}
        }
        self.inner.progress(phase)
    }
}
