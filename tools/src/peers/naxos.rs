//! Naxos itself, through `naxos bench append --json`: a cluster of its own for each load.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::load::Load;
use super::measure::{Bench, run};
use super::options::{Options, Shape};
use super::peer;
use super::process::{Missing, Process, command, make, version};
use super::row::{Row, Settings, hundredths};

/// A benchmark that is asked to end stops its nodes and removes their data.
const PATIENCE: Duration = Duration::from_secs(10);
/// Appends in flight that one connection of the batched shape has.
const BATCHED: Load = Load { connections: 4, inflight: 2500, records_per_request: 1 };

/// The program, and its version.
pub(super) struct Naxos {
    program: PathBuf,
    version: String,
}

impl Naxos {
    /// Looks for the program.
    pub(super) fn find(options: &Options) -> anyhow::Result<Self> {
        let beside = || Some(env::current_exe().ok()?.parent()?.join("naxos"));
        let program = options.naxos.clone().or_else(beside).context("this program does not know where it is")?;
        if !program.is_file() {
            let remedy =
                "build it there with `cargo build` (`--release` for numbers that count), or name it with --naxos";
            return Err(Missing::new(program.display().to_string(), remedy).into());
        }
        let program = program.canonicalize()?;
        Ok(Self { version: version(&program)?, program })
    }

    /// One load in a directory of its own.
    pub(super) async fn row(
        &self,
        bench: &Bench<'_>,
        directory: &Path,
        shape: Shape,
        rate: Option<f64>,
    ) -> anyhow::Result<Row> {
        let options = bench.options;
        let load = peer::load(shape, BATCHED);
        let mut start = command(&self.program);
        start.args(["bench", "append", "--json", "--dir"]).arg(make(directory, shape.name())?);
        let mut say = |name: &str, value: String| {
            start.args([name, &value]);
        };
        say("--seconds", options.seconds.as_secs_f64().to_string());
        say("--warm-up", options.warm_up.as_secs_f64().to_string());
        say("--record-bytes", options.record_bytes.to_string());
        say("--clients", load.connections.to_string());
        match rate {
            Some(rate) => say("--rate", rate.to_string()),
            None => say("--inflight", load.inflight.to_string()),
        }
        let process = Process::start(format!("naxos-{}", shape.name()), start, directory)?;
        let mut process = process.ends_on(Signal::TERM, PATIENCE);
        let status = process.ended().await?;
        let text = process.said()?;
        // A result that is not valid is printed all the same, and an error behind it.
        let is_report = |value: &Value| value.get("latency_us").is_some();
        let report = text.lines().rev().find_map(|line| serde_json::from_str(line).ok().filter(is_report));
        let Some(report) = report else { bail!("naxos bench has ended with {status}: {}", process.last_words()) };
        self.read(bench, &report, shape, load)
    }

    fn read(&self, bench: &Bench<'_>, report: &Value, shape: Shape, load: Load) -> anyhow::Result<Row> {
        let number = |path: &str| report.pointer(path).and_then(Value::as_f64).with_context(|| format!("no {path}"));
        let text = |path: &str| report.pointer(path).and_then(Value::as_str);
        ensure!(report["schema"] == 1, "the report of naxos bench has another schema");
        let count = |name: &str| report["verified"][name].as_u64();
        let faults = ["missing", "corrupt", "duplicate", "misplaced_clients"];
        let holds = faults.iter().all(|fault| count(fault) == Some(0)) && count("acked") == count("read_back");
        let row = Row {
            schema: 1,
            bench: "peers",
            system: "naxos",
            version: self.version.clone(),
            durability: text("/durability").context("no durability")?.to_owned(),
            copies: number("/nodes")? as usize,
            shape,
            record_bytes: number("/record_bytes")? as usize,
            appends_per_s: number("/appends_per_s")?,
            p50_us: number("/latency_us/p50")?,
            p99_us: number("/latency_us/p99")?,
            floor_us: report["floor_us"].clone(),
            valid: true,
            problem: None,
            verified: report["verified"].clone(),
            failed: number("/failed")? as u64,
            first_error: text("/first_error").map(str::to_owned),
            offered_per_s: report["offered_per_s"].as_f64(),
            client_lag_us: report["generator_lag_us"].as_f64(),
            seconds: number("/seconds")?,
            warm_up_seconds: bench.options.warm_up.as_secs_f64(),
            settings: Settings {
                connections: load.connections,
                inflight: report["inflight"].as_u64().map(|inflight| inflight as usize),
                records_per_request: load.records_per_request,
                server: format!("driver {}", text("/driver").unwrap_or("unknown")),
            },
            note: "a majority of three copies; the client library puts appends of one moment into one frame",
            client_cpus: number("/cpu/client_ns_per_append")
                .and_then(|nanos| Ok(hundredths(nanos * number("/appends_per_s")? / 1e9)))
                .ok(),
            rounds: Vec::new(),
            spread: None,
            machine: report["machine"].clone(),
            run: run(),
            commit: text("/commit").map(str::to_owned),
        };
        Ok(row.judged(holds))
    }
}
