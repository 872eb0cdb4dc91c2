//! `naxos bench tail`: how soon a subscriber has a record after its writer has the acknowledgement.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::args::{self, Global, Site};
use super::bench_plan::{journal_bytes, plan};
use super::bench_rig::{Ran, Rig};
use super::exit;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use crate::client::ClientOptions;
use crate::loadgen::catch_up::Reader;
use crate::loadgen::explain::{count, counted, micros};
use crate::loadgen::generator::{Pace, Plan};
use crate::loadgen::report::Latency;
use crate::loadgen::tail::{Delivered, Tailed, run as tail};

/// Between two appends of the load that leaves the log idle: far beyond what any part of the way remembers of the append before.
const IDLE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Args)]
pub(super) struct TailLoad {
    /// Measured time
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = args::seconds)]
    pub(super) seconds: f64,
    /// Load before the measured time
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = args::seconds)]
    pub(super) warm_up: f64,
    /// Size of every record; at least 24, which tell where it comes from
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(super) record_bytes: usize,
    /// Appends a second, whatever the cluster does [default: one after the other]
    #[arg(long, value_name = "APPENDS_PER_S", value_parser = args::rate)]
    pub(super) rate: Option<f64>,
    /// Then, how many appends to a log that has been idle for 100 ms before each of them; 0 for none
    #[arg(long, value_name = "APPENDS", default_value_t = 50, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub(super) idle: u16,
    /// Journal bytes of each node to prepare before the load [default: estimated from the floor]
    #[arg(long, value_name = "BYTES")]
    pub(super) prepare_bytes: Option<u64>,
    #[command(flatten)]
    pub(super) site: Site,
}

/// The object that `bench tail --json` prints; times are microseconds.
#[derive(Serialize)]
struct Report {
    schema: u32,
    bench: &'static str,
    #[serde(rename = "loop")]
    loop_: &'static str,
    offered_per_s: Option<f64>,
    record_bytes: usize,
    seconds: f64,
    /// From the beginning of an append to its acknowledgement.
    append_us: Latency,
    /// From there to the delivery; 0 where the delivery came first.
    after_ack_us: Latency,
    /// From the beginning to the delivery.
    after_append_us: Latency,
    /// Share of the records that were delivered before their acknowledgement.
    share_before_ack: f64,
    /// `after_ack_us.p50 / floor_us.rtt_p50`.
    p50_over_rtt: f64,
    /// The same of appends to an idle log; null if there were none.
    idle: Option<Idle>,
    verified: Delivered,
    valid: bool,
    /// 99th percentile of how late the generator took appends up; null in a closed loop.
    generator_lag_us: Option<f64>,
    failed: u64,
    first_error: Option<String>,
    #[serde(flatten)]
    ran: Ran,
}

#[derive(Serialize)]
struct Idle {
    /// Before each append.
    idle_ms: u64,
    append_us: Latency,
    after_ack_us: Latency,
    after_append_us: Latency,
    share_before_ack: f64,
    p50_over_rtt: f64,
    verified: Delivered,
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn share_before_ack(tailed: &Tailed) -> f64 {
    thousandths(tailed.before_ack as f64 / tailed.after_ack.len().max(1) as f64)
}

pub(super) fn run(global: &Global, options: &TailLoad) -> anyhow::Result<()> {
    let load = Load {
        warm_up: options.warm_up,
        record_bytes: options.record_bytes,
        rate: options.rate,
        prepare_bytes: options.prepare_bytes,
        ..Load::plain(options.seconds, options.site.clone())
    };
    let busy = plan(&load)?;
    let idle = (options.idle > 0).then(|| Plan {
        pace: Pace::Open { appends_per_s: 1.0 / IDLE.as_secs_f64() },
        // The first append finds connections and subscription new, which is another question.
        warm_up: IDLE / 2,
        measured: IDLE * u32::from(options.idle),
        ..busy.clone()
    });
    let plans = [Some(busy), idle].into_iter().flatten().collect::<Vec<_>>();
    let interrupt = Interrupt::install()?;
    let mut progress = Progress::new(&interrupt, plans.iter().map(|plan| plan.warm_up + plan.measured).sum());
    let bytes = |floor: &_| plans.iter().map(|plan| journal_bytes(plan, 1, floor)).sum();
    let rig = Rig::start(&load, bytes, &progress, &interrupt)?;
    let report = measure(&rig, &plans, &mut progress);
    let report = rig.conclude(global, &progress, report, |report| text(report).trim_end().to_owned())?;
    exit::verdict(report.valid)
}

fn measure(rig: &Rig<'_>, plans: &[Plan], progress: &mut Progress<'_>) -> anyhow::Result<Report> {
    let mut results = Vec::new();
    for (number, plan) in (1..).zip(plans) {
        let target = rig.create_log(number)?;
        // A thread and connections of its own: the two shall not meet in the client.
        let options = ClientOptions { driver: rig.driver(), ..ClientOptions::default() };
        let reader = Reader::start(&target, options).context("cannot start the subscriber")?;
        let appender = rig.client.open(&target.loglet, target.cluster);
        results.push(tail(appender, reader.log(), plan, progress)?);
    }
    let (plan, busy, floor) = (&plans[0], &results[0], rig.floor.rounded());
    let over_rtt = |tailed: &Tailed| thousandths(Latency::of(&tailed.after_ack).p50 / floor.rtt_p50);
    let (loop_, offered_per_s) = match plan.pace {
        Pace::Closed { .. } => ("closed", None),
        Pace::Open { appends_per_s } => ("open", Some(appends_per_s)),
    };
    let idle = results.get(1).map(|tailed| Idle {
        idle_ms: IDLE.as_millis() as u64,
        append_us: Latency::of(&tailed.append),
        after_ack_us: Latency::of(&tailed.after_ack),
        after_append_us: Latency::of(&tailed.after_append),
        share_before_ack: share_before_ack(tailed),
        p50_over_rtt: over_rtt(tailed),
        verified: tailed.verified,
    });
    Ok(Report {
        schema: 1,
        bench: "tail",
        loop_,
        offered_per_s,
        record_bytes: plan.record_bytes,
        seconds: plan.measured.as_secs_f64(),
        append_us: Latency::of(&busy.append),
        after_ack_us: Latency::of(&busy.after_ack),
        after_append_us: Latency::of(&busy.after_append),
        share_before_ack: share_before_ack(busy),
        p50_over_rtt: over_rtt(busy),
        idle,
        verified: busy.verified,
        // Between appends to an idle log a moment more or less makes no difference.
        valid: busy.kept_up && results.iter().all(Tailed::is_sound),
        generator_lag_us: busy.lag_us,
        failed: results.iter().map(|tailed| tailed.failed).sum(),
        first_error: results.iter().find_map(|tailed| tailed.first_error.clone()),
        ran: rig.ran(plan),
    })
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("a string takes everything");
    let load = match report.offered_per_s {
        Some(rate) => format!("{} appends/s offered", count(rate)),
        None => "one append after the other".to_owned(),
    };
    line(format!(
        "{}, quorum {}, {} B records, {load}, {} s, {}",
        counted(report.ran.nodes, "node"),
        report.ran.quorum,
        report.record_bytes,
        report.seconds,
        counted(report.after_ack_us.n, "record")
    ));
    let latency = |name: &str, latency: &Latency| {
        format!(
            "  {name:<24}p50 {}  p90 {}  p99 {}  max {}",
            micros(latency.p50),
            micros(latency.p90),
            micros(latency.p99),
            micros(latency.max)
        )
    };
    line(latency("acknowledged after", &report.append_us));
    line(latency("delivered after", &report.after_append_us));
    line(latency("  after acknowledgement", &report.after_ack_us));
    let times = |share: f64, over_rtt: f64| {
        format!(
            "{:26}p50 is {over_rtt} round trips of {}; {:.1} % were there before their acknowledgement",
            "",
            micros(report.ran.floor_us.rtt_p50),
            share * 100.0
        )
    };
    line(times(report.share_before_ack, report.p50_over_rtt));
    if let Some(idle) = &report.idle {
        line(format!("{} appends, each after {} ms in which nothing happened", idle.after_ack_us.n, idle.idle_ms));
        line(latency("acknowledged after", &idle.append_us));
        line(latency("delivered after", &idle.after_append_us));
        line(latency("  after acknowledgement", &idle.after_ack_us));
        line(times(idle.share_before_ack, idle.p50_over_rtt));
    }
    for verified in [Some(report.verified), report.idle.as_ref().map(|idle| idle.verified)].into_iter().flatten() {
        line(if verified.holds() {
            format!("  verified    all {} acknowledged records were delivered once, in order and equal", verified.acked)
        } else {
            format!(
                "  VERIFICATION FAILED: {} acknowledged, {} delivered, {} missing, {} not what or where they should be",
                verified.acked, verified.delivered, verified.missing, verified.wrong
            )
        });
    }
    if let Some(error) = &report.first_error {
        line(format!("  {} failed; the first: {error}", counted(report.failed, "append")));
    }
    if !report.valid {
        line("  INVALID: appends failed, records did not come, or the generator fell behind its timetable".to_owned());
    }
    out
}
