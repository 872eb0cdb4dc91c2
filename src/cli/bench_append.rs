//! `naxos bench append`, and `naxos bench` alone: appends under load, every one of which is read back.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::args::Global;
use super::bench_plan::{journal_bytes, plan};
use super::bench_rig::Rig;
use super::bench_sampler::{Sampler, total};
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use super::result_file::HistoryFile;
use super::{exit, output};
use crate::client::AppendProfile;
use crate::loadgen::explain::Explained;
use crate::loadgen::generator::{Pace, Plan};
use crate::loadgen::report::Report;

/// Measured time of the one-at-a-time load that a bare `bench` adds.
const SINGLE: Duration = Duration::from_secs(1);

/// A load, and the connections that it comes over.
pub(super) type Part = (Plan, u32);

/// What a load has come to.
pub(super) struct Outcome {
    pub(super) report: Report,
    /// When the load began.
    pub(super) start: SystemTime,
    /// In nanoseconds, of each of the plan's intervals.
    pub(super) intervals: Vec<Histogram<u64>>,
    /// Of the measured time.
    pub(super) profile: AppendProfile,
}

/// The whole benchmark; `with_single` adds a short load of one append at a time on the same cluster.
pub(super) fn run(global: &Global, options: &Load, with_single: bool) -> anyhow::Result<()> {
    let plan = plan(options)?;
    let single = Plan {
        pace: Pace::Closed { inflight: 1 },
        warm_up: SINGLE / 4,
        measured: SINGLE,
        realtime: false,
        // It would fill no segment.
        trim_behind: None,
        ..plan.clone()
    };
    let history = Some(&options.history).filter(|path| *path != Path::new("no"));
    let history = history.map(|path| HistoryFile::prepare(path)).transpose()?;
    let interrupt = Interrupt::install()?;
    let mut progress = Progress::new(&interrupt, plan.warm_up + plan.measured);
    let mut parts = vec![(plan, options.clients)];
    if with_single {
        parts.push((single, 1));
    }
    let outcomes = measure(options, &parts, &mut progress, &interrupt)?;
    let mut reports = outcomes.into_iter().map(|outcome| outcome.report);
    let report = reports.next().expect("one report for each load");
    let single = reports.next();
    // Whatever becomes of the one, there is the other.
    let recorded = history.map_or(Ok(()), |history| record(history, &report));
    print(global, &report, single.as_ref())?;
    recorded?;
    let valid = report.valid && single.is_none_or(|single| single.valid);
    exit::verdict(valid)
}

/// Loads one after another, each on a log of its own, on a cluster that is started for them and stopped behind them.
pub(super) fn measure(
    options: &Load,
    parts: &[Part],
    progress: &mut Progress<'_>,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Outcome>> {
    let rig = Rig::start(
        options,
        |floor| parts.iter().map(|(plan, clients)| journal_bytes(plan, *clients, floor)).sum(),
        progress,
        interrupt,
    )?;
    let mut outcomes = Vec::new();
    for ((plan, clients), log) in parts.iter().zip(1..) {
        let target = rig.create_log(log)?;
        let start = SystemTime::now();
        let mut sampler = Sampler::new(progress, &rig.client, plan, None);
        let measured = rig.load(&target, plan, *clients, &mut sampler)?;
        let profile = total(&sampler.finish());
        let report = rig.report(plan, *clients, &measured);
        outcomes.push(Outcome { report, start, intervals: measured.generated.spans, profile });
    }
    progress.clear();
    rig.stop()?;
    Ok(outcomes)
}

fn print(global: &Global, report: &Report, single: Option<&Report>) -> anyhow::Result<()> {
    if global.json {
        let mut object = serde_json::to_value(report)?;
        if let Some(single) = single {
            object["one_at_a_time"] = serde_json::to_value(single)?;
            return output::json(&object);
        }
        return output::json(report);
    }
    output::text(Explained(report).to_string().trim_end())?;
    match single {
        None => Ok(()),
        Some(single) => output::text(format!("one append at a time: {}", Explained(single)).trim_end()),
    }
}

fn record(history: HistoryFile, report: &Report) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    history.append(&line)
}
