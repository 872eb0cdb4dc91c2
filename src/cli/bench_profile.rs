//! `naxos bench profile`: where the time of an append goes, stage by stage.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;

use super::args::Global;
use super::bench_plan::{journal_bytes, plan};
use super::bench_rig::Rig;
use super::bench_sampler::{Sampler, total};
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use super::result_file::ResultFile;
use super::status_table::Table;
use super::{exit, output};
use crate::base::Stage;
use crate::loadgen::explain::{Explained, counted, micros};
use crate::loadgen::interval_log;
use crate::loadgen::stages::{StageReport, StageTimes};
use crate::loadgen::waterfall;

/// How often the profile is taken during the load.
const INTERVAL: Duration = Duration::from_secs(1);
/// Rows of one table.
const ROWS_MAX: usize = 40;

/// Options of `naxos bench profile`.
#[derive(Debug, Clone, Args)]
pub(super) struct ProfileLoad {
    #[command(flatten)]
    pub(super) load: Load,
    /// Also draw the stages, as a waterfall, and the slowest appends into this file
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// Also write the histograms of every stage, for each second, to this file, in HdrHistogram's text format
    #[arg(long, value_name = "FILE")]
    pub(super) hlog: Option<PathBuf>,
}

pub(super) fn run(global: &Global, options: &ProfileLoad) -> anyhow::Result<()> {
    let load = &options.load;
    if load.no_profile {
        return Err(exit::coded(exit::USAGE, "--no-profile leaves nothing to show: use it with `bench append`"));
    }
    let plan = plan(load)?;
    let prepare = |path: &Option<PathBuf>| path.as_deref().map(ResultFile::prepare).transpose();
    let (svg, hlog) = (prepare(&options.svg)?, prepare(&options.hlog)?);
    let interrupt = Interrupt::install()?;
    let mut progress = Progress::new(&interrupt, plan.warm_up + plan.measured);
    let rig = Rig::start(load, |floor| journal_bytes(&plan, load.clients, floor), &progress, &interrupt)?;
    let target = rig.create_log(1)?;
    let start = SystemTime::now();
    let mut sampler = Sampler::new(&mut progress, &rig.client, &plan, Some(INTERVAL));
    let measured = rig.load(&target, &plan, load.clients, &mut sampler)?;
    let intervals = sampler.finish();
    let report = rig.report(&plan, load.clients, &measured);
    let stages = StageReport::new(&total(&intervals), &rig.statuses()?);
    progress.clear();
    rig.stop()?;
    let title = format!(
        "{}, {} B records, {}, {:.0} appends/s",
        counted(report.nodes, "node"),
        report.record_bytes,
        counted(report.clients, "client"),
        report.appends_per_s
    );
    if let Some(file) = svg {
        file.write(|out| out.write_all(waterfall::svg(&stages, &title).as_bytes()))?;
    }
    if let Some(file) = hlog {
        file.write(|out| interval_log::write(out, start, &format!("naxos bench profile: {title}"), &intervals))?;
    }
    if global.json {
        let mut object = serde_json::to_value(&report)?;
        object["profile"] = json!(stages);
        output::json(&object)?;
    } else {
        output::text(Explained(&report).to_string().trim_end())?;
        output::text(render(&stages))?;
    }
    exit::verdict(report.valid && stages.holds())
}

fn render(report: &StageReport) -> String {
    let mut parts = vec![format!(
        "where the time of an append goes: the oldest record of each of {} batches, {:.1} records each",
        report.batches,
        report.records as f64 / report.batches.max(1) as f64
    )];
    parts.push(stages(report).to_string());
    parts.push(format!("the stages make up {:.1} % of the whole", report.stages_over_whole * 100.0));
    for table in [slowest(report), nodes(report)] {
        if !table.is_empty() {
            parts.push(table.to_string());
        }
    }
    if !report.holds() {
        parts.push("INVALID: nothing was measured, or the stages do not add up to the whole".to_owned());
    }
    parts.join("\n\n")
}

fn stages(report: &StageReport) -> Table {
    let heading = ["STAGE", "APPENDS", "MEAN", "p50", "p99", "p99.9", "MAX", "SHARE"];
    let mut table = Table::new(&heading, ROWS_MAX);
    let row = |times: &StageTimes| {
        let rest = [times.mean, times.p50, times.p99, times.p999, times.max].map(fine);
        let start = [times.stage.to_owned(), times.n.to_string()];
        [start.to_vec(), rest.to_vec(), vec![format!("{:.1} %", times.share * 100.0)]].concat()
    };
    report.stages.iter().chain([&report.whole]).for_each(|times| table.row(row(times)));
    table
}

/// Short times with a digit more: some stages take less than a microsecond.
fn fine(value: f64) -> String {
    if value < 100.0 { format!("{value:.1} us") } else { micros(value) }
}

fn slowest(report: &StageReport) -> Table {
    let mut heading = vec!["SLOWEST AT", "RECORDS", "TOTAL"];
    heading.extend(Stage::ALL.map(Stage::name));
    heading.push("LAST ANSWER");
    let mut table = Table::new(&heading, ROWS_MAX);
    for slow in &report.slowest {
        let start = [slow.first.to_string(), slow.records.to_string(), micros(slow.total_us)];
        let stages = Stage::ALL.map(|stage| micros(slow.stage_us(stage)));
        let last = slow.last_node.map_or("-".to_owned(), |node| node.to_string().chars().take(8).collect());
        table.row([start.to_vec(), stages.to_vec(), vec![last]].concat());
    }
    table
}

fn nodes(report: &StageReport) -> Table {
    let heading = ["NODE", "PART", "n", "MEAN", "p50 <=", "p99 <=", "MAX"];
    let mut table = Table::new(&heading, ROWS_MAX);
    for node in &report.nodes {
        let answer = node.answer.iter().map(|times| ("answers the sequencer in", times));
        let store = node.store.iter().map(|(part, times)| (part.as_str(), times));
        for (part, times) in store.chain(answer) {
            let name: String = node.node.chars().take(8).collect();
            let value = |key: &str| times[key].as_f64().map_or("-".to_owned(), fine);
            let values = ["mean", "p50", "p99", "max"].map(value);
            table.row([vec![name, part.to_owned(), times["n"].to_string()], values.to_vec()].concat());
        }
    }
    table
}
