//! `naxos bench chain`: a log of many chain segments, against one with the same records in a single segment.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::args::{ChainLoad, Global};
use super::bench_rig::Rig;
use super::cluster_file::{ClusterFile, FILE_NAME, NodeEntry};
use super::exit;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use crate::base::LogPos;
use crate::client::{Client, ClientOptions, Cluster, Extended, VirtualLog};
use crate::loadgen::live::RECORD_BYTES_MIN;
use crate::loadgen::numbered::{fill, read_through};
use crate::loadgen::paired::Paired;
use crate::loadgen::spread::Spread;

const LONG: &str = "long";
const SHORT: &str = "short";
/// What a segment takes to make, and each record to write, for the progress.
const EXTEND: Duration = Duration::from_millis(10);

pub(super) fn run(global: &Global, options: &ChainLoad) -> anyhow::Result<()> {
    if options.record_bytes < RECORD_BYTES_MIN {
        return Err(exit::coded(exit::USAGE, format!("records have at least {RECORD_BYTES_MIN} bytes, their number")));
    }
    let interrupt = Interrupt::install()?;
    let expected = EXTEND * u32::from(options.segments);
    let progress = Progress::new(&interrupt, expected);
    let plain = Load::plain(expected.as_secs_f64(), options.site.clone());
    let load = Load { record_bytes: options.record_bytes, prepare_bytes: options.prepare_bytes, ..plain };
    let records = u64::from(options.segments) * u64::from(options.records);
    let rig = Rig::start(&load, |_| 2 * records * options.record_bytes as u64, &progress, &interrupt)?;
    let bench = Bench { rig: &rig, options, interrupt: &interrupt, progress: &progress };
    let report = bench.run(records);
    let report = rig.conclude(global, &progress, report, |report| {
        let (open, show) = (&report["open_ms"], &report["show_ms"]);
        format!(
            "{} segments of {} records of {} bytes, made in {} s\n\
             open and first chain   p50 {} ms  max {} ms\n\
             naxos log show         p50 {} ms  max {} ms\n\
             full read              {} bytes/s, {} of a single segment's {} bytes/s\n\
             trimmed in the middle  {} segments left, in {} ms; up to the tail {}",
            report["segments"],
            report["records_per_segment"],
            report["record_bytes"],
            report["build_s"],
            open["p50"],
            open["max"],
            show["p50"],
            show["max"],
            report["read_bytes_per_s"],
            report["read_ratio"],
            report["read_one_segment_bytes_per_s"],
            report["segments_after_half"],
            report["trim_half_ms"],
            report["segments_after_all"]
        )
    })?;
    exit::verdict(report["valid"] == true)
}

struct Bench<'a> {
    rig: &'a Rig<'a>,
    options: &'a ChainLoad,
    interrupt: &'a Interrupt,
    progress: &'a Progress<'a>,
}

/// A client of its own, so that nothing is known or connected from before.
struct Fresh {
    cluster: Cluster,
    _client: Client,
}

impl Bench<'_> {
    fn fresh(&self) -> anyhow::Result<Fresh> {
        let options = ClientOptions { driver: self.options.site.driver.driver, ..ClientOptions::default() };
        let client = Client::start(options).context("cannot start a client")?;
        Ok(Fresh { cluster: client.cluster(&self.rig.addresses())?, _client: client })
    }

    fn step(&self, name: &'static str, done: u16, of: u16) -> anyhow::Result<()> {
        self.interrupt.check()?;
        self.progress.step(name, f64::from(done) / f64::from(of), format!("{done} of {of}"));
        Ok(())
    }

    fn run(&self, records: u64) -> anyhow::Result<Value> {
        let ChainLoad { segments, records: per_segment, record_bytes, rounds, .. } = *self.options;
        let (per_segment, rounds) = (u64::from(per_segment), rounds);
        let long = self.rig.create_virtual_log(LONG)?;
        let short = self.fresh()?;
        let short = (short.cluster.create_log(SHORT, usize::from(self.options.site.nodes))?, short);
        let begin = Instant::now();
        for segment in 0..segments {
            self.step("extending", segment, segments)?;
            let first = u64::from(segment) * per_segment;
            fill(&long, first..first + per_segment, record_bytes)?;
            fill(&short.0, first..first + per_segment, record_bytes)?;
            // The last one stays open.
            if segment + 1 < segments && !matches!(long.extend(None, false).context("extend")?, Extended::Done(_)) {
                bail!("somebody else has extended the log");
            }
        }
        let build = begin.elapsed();
        let (open, chain_segments) = self.open(rounds)?;
        let show = self.show(rounds)?;
        let (read, one_segment, wrong) = self.read(rounds, LogPos(records))?;
        let ratios: Vec<f64> = read.iter().zip(&one_segment).map(|(long, short)| long / short).collect();
        let ratio = Paired::of(&ratios).context("at least one round")?.rounded();
        let typical = |rates: &[f64]| Paired::of(rates).map(|paired| paired.median.round());
        let half = self.trim(&long, LogPos(records / 2))?;
        let all = self.trim(&long, LogPos(records))?;
        // Half of the segments are wholly below the middle; the last one stays for ever.
        let is_bounded = half.0 <= usize::from(segments) / 2 + 1 && all.0 == 1;
        let millis = |duration: Duration| (duration.as_secs_f64() * 1e5).round() / 1e2;
        Ok(json!({
            "schema": 1,
            "bench": "chain",
            "segments": chain_segments,
            "records_per_segment": per_segment,
            "record_bytes": record_bytes,
            "build_s": (build.as_secs_f64() * 1e2).round() / 1e2,
            "open_ms": Spread::of(&open),
            "show_ms": Spread::of(&show),
            "read_bytes_per_s": typical(&read),
            "read_one_segment_bytes_per_s": typical(&one_segment),
            "read_ratio": ratio.median,
            "read_ratio_ci95": ratio.ci95,
            "rounds": rounds,
            "segments_after_half": half.0,
            "trim_half_ms": millis(half.1),
            "segments_after_all": all.0,
            "trim_all_ms": millis(all.1),
            "verified": { "acked": 2 * records, "wrong": wrong },
            "valid": wrong == 0 && is_bounded && chain_segments == usize::from(segments),
            "nodes": self.options.site.nodes,
            "processes": self.rig.setup.processes,
            "driver": self.rig.setup.driver,
            "durability": self.rig.setup.durability,
            "floor_us": self.rig.floor.rounded(),
            "machine": self.rig.machine,
            "commit": self.rig.setup.commit,
        }))
    }

    /// How long a new client of the cluster takes to open the log and to have its chain, and the segments of that.
    fn open(&self, rounds: u16) -> anyhow::Result<(Vec<Duration>, usize)> {
        let (mut times, mut segments) = (Vec::new(), 0);
        for round in 0..rounds {
            self.step("opening", round, rounds)?;
            let fresh = self.fresh()?;
            let begin = Instant::now();
            segments = fresh.cluster.open_log(LONG)?.chain()?.segments.len();
            times.push(begin.elapsed());
        }
        Ok((times, segments))
    }

    /// How long `naxos log show` takes, as a process.
    fn show(&self, rounds: u16) -> anyhow::Result<Vec<Duration>> {
        let ready = self.rig.cluster().ready();
        let entry = |ready: &super::serve::Ready| NodeEntry { node: ready.node, address: ready.address, pid: None };
        let (cluster, nodes) = (ready[0].cluster, ready.iter().map(entry).collect());
        let path = self.rig.directory().join(FILE_NAME);
        ClusterFile { cluster, default_log: LONG.to_owned(), nodes }.save(&path)?;
        let program = std::env::current_exe().context("where this program is")?;
        let mut times = Vec::new();
        for round in 0..rounds {
            self.step("showing", round, rounds)?;
            let mut command = Command::new(&program);
            command.arg("--cluster").arg(&path).args(["log", "show"]).stdout(Stdio::null());
            let begin = Instant::now();
            let status = command.status().context("cannot run `naxos log show`")?;
            times.push(begin.elapsed());
            if !status.success() {
                bail!("`naxos log show` has failed: {status}");
            }
        }
        Ok(times)
    }

    /// Bytes a second of each full read of both logs, in turn, after one that does not count; and how many records were wrong.
    fn read(&self, rounds: u16, tail: LogPos) -> anyhow::Result<(Vec<f64>, Vec<f64>, u64)> {
        let (mut long, mut short, mut wrong) = (Vec::new(), Vec::new(), 0);
        for round in 0..=rounds {
            self.step("reading", round, rounds + 1)?;
            for (name, rates) in [(LONG, &mut long), (SHORT, &mut short)] {
                let fresh = self.fresh()?;
                let log = fresh.cluster.open_log(name)?;
                // What is measured is the reading, not the opening.
                log.check_tail()?;
                let (pass, found_wrong) = read_through(&log, tail, self.options.record_bytes)?;
                wrong += found_wrong + tail.0.abs_diff(pass.records);
                if round > 0 {
                    rates.push(pass.bytes_per_s());
                }
            }
        }
        Ok((long, short, wrong))
    }

    /// Trims, and says how many segments the chain has then, as everybody reads it, and how long it took.
    fn trim(&self, log: &VirtualLog, point: LogPos) -> anyhow::Result<(usize, Duration)> {
        let begin = Instant::now();
        let trimmed = log.trim(point).context("trim")?;
        let elapsed = begin.elapsed();
        if trimmed != point {
            bail!("a trim up to {point} has reached {trimmed}");
        }
        Ok((self.fresh()?.cluster.open_log(LONG)?.chain()?.segments.len(), elapsed))
    }
}
