//! `naxos bench reconfigure`: live extends of a log under load.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use super::args::{Global, ReconfigureLoad};
use super::bench_rig::Rig;
use super::exit;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use crate::client::{Client, ClientOptions, Extended};
use crate::loadgen::live::{LiveLoad, Offer, RECORD_BYTES_MIN, verify};
use crate::loadgen::spread::Spread;

/// How long the peak is measured, and the load runs before the first extend.
const PEAK: Duration = Duration::from_secs(2);
const SETTLE: Duration = Duration::from_millis(300);
const PEAK_INFLIGHT: usize = 4096;
const LOG: &str = "bench";

pub(super) fn run(global: &Global, options: &ReconfigureLoad) -> anyhow::Result<()> {
    if options.record_bytes < RECORD_BYTES_MIN {
        return Err(exit::coded(exit::USAGE, format!("records have at least {RECORD_BYTES_MIN} bytes, their number")));
    }
    let interrupt = Interrupt::install()?;
    let pause = Duration::from_secs_f64(options.pause);
    let measured = (pause + Duration::from_millis(20)) * u32::from(options.rounds);
    let progress = Progress::new(&interrupt, PEAK + measured);
    let load = load_options(options);
    // As much as the peak could write all the time.
    let bytes = |floor: &crate::loadgen::floor::Floor| {
        (floor.disk_copy_bytes_per_s * (PEAK + measured).as_secs_f64() / f64::from(options.site.nodes)) as u64
    };
    let rig = Rig::start(&load, bytes, &progress, &interrupt)?;
    let bench = Bench { rig: &rig, options, pause, interrupt: &interrupt };
    let report = bench.run(&progress);
    let report = rig.conclude(global, &progress, report, |report| {
        let (extend, gap) = (&report["extend_ms"], &report["append_gap_ms"]);
        format!(
            "{} live extends at {} appends/s, {} of the peak\n\
             extend      p50 {} ms  p99 {} ms  max {} ms\n\
             append gap  p50 {} ms  p99 {} ms  max {} ms\n\
             without     p50 {} ms  p99 {} ms  max {} ms\n\
             {} acknowledged records, {} missing, {} twice",
            report["reconfigurations"],
            report["offered_per_s"],
            report["load_share"],
            extend["p50"],
            extend["p99"],
            extend["max"],
            gap["p50"],
            gap["p99"],
            gap["max"],
            report["append_gap_without_ms"]["p50"],
            report["append_gap_without_ms"]["p99"],
            report["append_gap_without_ms"]["max"],
            report["verified"]["acked"],
            report["verified"]["missing"],
            report["verified"]["twice"]
        )
    })?;
    exit::verdict(report["valid"] == true)
}

fn load_options(options: &ReconfigureLoad) -> Load {
    Load {
        record_bytes: options.record_bytes,
        inflight: PEAK_INFLIGHT as u32,
        prepare_bytes: options.prepare_bytes,
        ..Load::plain(PEAK.as_secs_f64(), options.site.clone())
    }
}

struct Bench<'a> {
    rig: &'a Rig<'a>,
    options: &'a ReconfigureLoad,
    pause: Duration,
    interrupt: &'a Interrupt,
}

impl Bench<'_> {
    fn run(&self, progress: &Progress<'_>) -> anyhow::Result<serde_json::Value> {
        let bytes = self.options.record_bytes;
        let log = self.rig.create_virtual_log(LOG)?;
        progress.step("peak", 0.0, "appends as fast as they go");
        let peak = LiveLoad::start(log.clone(), Offer::Closed { inflight: PEAK_INFLIGHT }, bytes, 0);
        self.interrupt.wait(PEAK);
        let (peak, next) = peak.end();
        let peak_per_s = peak.per_s();
        let offered = (peak_per_s * self.options.share).round();
        // The operator is somebody else, with connections of its own.
        let options = ClientOptions { driver: self.options.site.driver.driver, ..ClientOptions::default() };
        let operator = Client::start(options).context("cannot start the operator's client")?;
        let wished = operator.cluster(&self.rig.addresses())?.open_log(LOG)?;
        // As an operator does before: the connections of the first extend are not what is measured.
        wished.chain().context("the log's chain")?;
        let load = LiveLoad::start(log.clone(), Offer::Open { appends_per_s: offered }, bytes, next);
        thread::sleep(SETTLE);
        let (mut spans, mut quiet, mut lost_races) = (Vec::new(), Vec::new(), 0);
        let rounds = f64::from(self.options.rounds);
        for round in 0..self.options.rounds {
            self.interrupt.check()?;
            let text = format!("{round} of {}", self.options.rounds);
            progress.step("extending", f64::from(round) / rounds, text);
            let begin = Instant::now();
            match wished.extend(None, false).context("extend")? {
                Extended::Done(_) => spans.push((begin, Instant::now())),
                Extended::Overtaken(_) | Extended::Pending(_) => lost_races += 1,
            }
            let rest = Instant::now() + self.pause / 3;
            thread::sleep(self.pause);
            // As long as an extend, when there is none.
            quiet.push((rest, rest + begin.elapsed().saturating_sub(self.pause)));
        }
        let (live, _) = load.end();
        progress.step("verifying", 0.0, "reading everything back");
        let verified = verify(&log, &[&peak, &live], bytes).context("read the log back")?;
        let extends: Vec<_> = spans.iter().map(|(from, to)| to.duration_since(*from)).collect();
        let gaps =
            |spans: &[(Instant, Instant)]| spans.iter().map(|(from, to)| live.gap(*from, *to)).collect::<Vec<_>>();
        let live_per_s = live.per_s();
        let failed = peak.failed.len() + live.failed.len();
        let share = (live_per_s / peak_per_s * 1e3).round() / 1e3;
        let valid =
            verified.missing == 0 && failed == 0 && spans.len() == usize::from(self.options.rounds) && share >= 0.5;
        Ok(json!({
            "schema": 1,
            "bench": "reconfigure",
            "extend_ms": Spread::of(&extends),
            "append_gap_ms": Spread::of(&gaps(&spans)),
            "append_gap_without_ms": Spread::of(&gaps(&quiet)),
            "reconfigurations": spans.len(),
            "overtaken": lost_races,
            "load_share": share,
            "peak_appends_per_s": peak_per_s.round(),
            "offered_per_s": offered,
            "appends_per_s": live_per_s.round(),
            "record_bytes": bytes,
            "failed": failed,
            "first_error": live.failed.first().map(|(_, error)| error.to_string()),
            "verified": verified,
            "valid": valid,
            "nodes": self.options.site.nodes,
            "driver": self.rig.setup.driver,
            "durability": self.rig.setup.durability,
            "floor_us": self.rig.floor.rounded(),
            "machine": self.rig.machine,
            "commit": self.rig.setup.commit,
        }))
    }
}
