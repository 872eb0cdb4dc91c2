//! Progress on a terminal, and silence elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::interrupt::Interrupt;
use crate::loadgen::explain::count;
use crate::loadgen::run::{Observer, Phase};

/// A line at the bottom of the terminal, on standard error.
pub(super) struct Progress<'a> {
    bar: ProgressBar,
    interrupt: &'a Interrupt,
    load: Duration,
    /// Before every message.
    title: String,
}

impl<'a> Progress<'a> {
    /// Of a load that takes `load`.
    pub(super) fn new(interrupt: &'a Interrupt, load: Duration) -> Self {
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr_with_hz(10));
        if !stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.set_style(
            ProgressStyle::with_template("{prefix:>10} {bar:40} {percent:>3} %  {msg}").expect("the template is valid"),
        );
        Self { bar, interrupt, load, title: String::new() }
    }

    /// Of one load of several, which is called `title`.
    pub(super) fn titled(interrupt: &'a Interrupt, load: Duration, title: String) -> Self {
        Self { title: title + ": ", ..Self::new(interrupt, load) }
    }

    /// Shows how much of a step is done.
    pub(super) fn step(&self, name: &'static str, share: f64, message: impl Into<String>) {
        self.bar.set_prefix(name);
        self.bar.set_message(format!("{}{}", self.title, message.into()));
        self.bar.set_position((share.clamp(0.0, 1.0) * 100.0) as u64);
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress<'_> {
    fn progress(&mut self, phase: Phase) -> bool {
        match phase {
            Phase::Appending { elapsed, acknowledged } => {
                let rate = acknowledged as f64 / elapsed.as_secs_f64().max(0.001);
                let share = elapsed.as_secs_f64() / self.load.as_secs_f64();
                self.step("appending", share, format!("{} appends/s", count(rate)));
            }
            Phase::Verifying { read, total } => {
                let share = read as f64 / total.max(1) as f64;
                self.step("verifying", share, format!("{} of {} records", count(read as f64), count(total as f64)));
            }
        }
        !self.interrupt.requested()
    }
}
