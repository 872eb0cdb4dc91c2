//! `naxos sim`: the simulator of [`crate::sim`].

use std::io::{IsTerminal, stderr};
use std::num::NonZero;
use std::panic;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{Global, Sim};
use super::interrupt::Interrupt;
use super::{exit, output};
use crate::sim::{self, Coverage, Options, Progress, Summary, run_seeds};

/// Violations that are shown in words; JSON has all.
const VIOLATIONS_SHOWN: usize = 20;
/// How much of a violation is shown in words.
const DETAIL_SHOWN: usize = 600;

pub(super) fn run(global: &Global, arguments: &Sim) -> anyhow::Result<()> {
    let options = Options {
        profile: arguments.profile,
        ops: arguments.ops,
        nodes: arguments.nodes.into(),
        trace: arguments.trace,
        #[cfg(feature = "mutants")]
        mutant: arguments.mutant,
        #[cfg(not(feature = "mutants"))]
        mutant: None,
    };
    // What goes wrong inside a run is its result, and told once.
    panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let (summary, interrupted) = match (arguments.seed, arguments.seeds) {
        (None, Some(count)) => run_many(count, &options)?,
        (seed, _) => {
            let seed = seed.unwrap_or_else(random_seed);
            let mut outcome = sim::run(seed, &options);
            if let Some(trace) = outcome.trace.take() {
                output::text(trace.trim_end())?;
            }
            let mut summary = Summary::new(options.profile);
            summary.add(seed, &outcome);
            if !global.json && !arguments.trace {
                output::text(format_args!("seed {seed}"))?;
            }
            (summary, false)
        }
    };
    let _ = panic::take_hook();
    if global.json {
        output::json(&summary.to_json(began.elapsed()))?;
    } else if !arguments.trace {
        output::text(describe(&summary, began.elapsed()))?;
    }
    if let Some(violation) = summary.violations.first() {
        let rest = if summary.violations.len() > 1 {
            format!(" and {} more", summary.violations.len() - 1)
        } else {
            String::new()
        };
        return Err(exit::coded(
            exit::VIOLATED,
            format!(
                "seed {} violates {}{rest}; {}",
                violation.seed,
                violation.invariant,
                again(&options, violation.seed)
            ),
        ));
    }
    if interrupted {
        return Err(exit::interrupted());
    }
    let missing = summary.coverage.missing();
    if arguments.all_branches && !missing.is_empty() {
        return Err(exit::coded(exit::VIOLATED, format!("never taken: {}", missing.join(", "))));
    }
    Ok(())
}

fn random_seed() -> u64 {
    // Short enough to be typed.
    u64::from(fastrand::u32(..))
}

/// The command that repeats a seed.
fn again(options: &Options, seed: u64) -> String {
    let mutant = options.mutant.map_or_else(String::new, |mutant| format!(" --mutant {}", mutant.name()));
    format!(
        "to repeat it: naxos sim --seed {seed} --profile {} --ops {} --nodes {}{mutant} --trace",
        options.profile, options.ops, options.nodes
    )
}

fn run_many(count: u64, options: &Options) -> anyhow::Result<(Summary, bool)> {
    let interrupt = Interrupt::install()?;
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr_with_hz(5));
    if !stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos} of {len} seeds  {msg}  {eta}").expect("it is valid"));
    let threads = available_parallelism().map_or(1, NonZero::get);
    let summary = run_seeds(0, count, options, threads, |Progress { done, violated }| {
        bar.set_position(done);
        bar.set_message(format!("{violated} violated"));
        !interrupt.requested()
    });
    bar.finish_and_clear();
    Ok((summary, interrupt.requested()))
}

fn describe(summary: &Summary, elapsed: Duration) -> String {
    let Summary { profile, runs, ops, acked, .. } = summary;
    let missing = summary.coverage.missing();
    let (total, reached) = (Coverage::total(), Coverage::total() - missing.len());
    let mut lines = vec![format!(
        "{profile}: {runs} runs, {ops} operations, {acked} appends acknowledged, in {:.1} s for {:.1} simulated",
        elapsed.as_secs_f64(),
        summary.virtual_time.as_secs_f64()
    )];
    let faults: Vec<_> =
        summary.faults.iter().map(|(kind, count)| format!("{} {count}", kind.replace('_', " "))).collect();
    lines.push(format!("faults: {}", if faults.is_empty() { "none".to_owned() } else { faults.join(", ") }));
    lines.push(format!("branches: {reached} of {total} taken"));
    if !missing.is_empty() {
        lines.push(format!("never taken: {}", missing.join(", ")));
    }
    for violation in summary.violations.iter().take(VIOLATIONS_SHOWN) {
        let detail: String = violation.detail.chars().take(DETAIL_SHOWN).collect();
        lines.push(format!("VIOLATION seed {}: {}: {detail}", violation.seed, violation.invariant));
    }
    if summary.violations.is_empty() {
        lines.push("No invariant was violated.".to_owned());
    }
    lines.join("\n")
}
