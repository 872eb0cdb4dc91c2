//! `naxos bench sweep`: one `bench append` after another, for every point of a matrix, and the directory that keeps the results.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::Context;
use clap::{Args, Parser};
use hdrhistogram::Histogram;
use serde_json::json;

use super::args::{Arguments, Bench, BenchCommand, Command, Global, Place};
use super::bench_append::{Outcome, measure};
use super::bench_plan::plan;
use super::directory::Scratch;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use super::{exit, output};
use crate::loadgen::cores::Cores;
use crate::loadgen::date;
use crate::loadgen::explain::{count, micros};
use crate::loadgen::generator::Plan;
use crate::loadgen::machine::{Machine, commit};
use crate::loadgen::shell::quoted;
use crate::loadgen::sweep::hlog::Interval;
use crate::loadgen::sweep::host::Host;
use crate::loadgen::sweep::manifest::{CoresUsed, Manifest, NoiseSeen, PointEntry};
use crate::loadgen::sweep::matrix::{Matrix, Offer, Point, Rate};
use crate::loadgen::sweep::noise::Noise;
use crate::loadgen::sweep::record::Recorder;
use crate::loadgen::sweep::row::Row;
use crate::loadgen::sweep::summary::PointRuns;

/// Where results go, below the current directory.
const RESULTS: &str = "bench-results";

#[derive(Debug, Clone, Args)]
pub(super) struct SweepOptions {
    /// The matrix: a TOML file of the loads that are measured, and how often
    #[arg(value_name = "MATRIX")]
    matrix: PathBuf,
    /// Directory for the results, made if need be; one that has something in it is refused [default:
    /// bench-results/MACHINE/DATE-COMMIT]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What this machine is called there [default: after its processor and the number of its cores]
    #[arg(long, value_name = "NAME", conflicts_with = "out", value_parser = machine_name)]
    machine: Option<String>,
    /// Directory to make the temporary directories in [default: $TMPDIR or /tmp if it is on a disk, else the current one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Allow a directory in memory; the results say that they are not durable
    #[arg(long)]
    allow_volatile: bool,
    /// Cores of the load and of the nodes, such as 0-1:2-7, or one list for both [default: all, shared]
    #[arg(long, value_name = "LOAD:NODES")]
    cores: Option<Cores>,
    /// Only check the matrix, and say which runs it asks for
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(global: &Global, options: &SweepOptions) -> anyhow::Result<()> {
    let text = fs::read_to_string(&options.matrix)
        .map_err(|error| usage(format!("cannot read {}: {error}", options.matrix.display())))?;
    let matrix = Matrix::parse(&text).map_err(|error| usage(format!("{}: {error}", options.matrix.display())))?;
    for point in &matrix.points {
        check(options, &matrix, point).map_err(|error| {
            exit::coded(exit::USAGE, format!("{}: {}: {error:#}", options.matrix.display(), point.name()))
        })?;
    }
    if options.dry_run {
        return show_plan(global, &matrix);
    }
    let interrupt = Interrupt::install()?;
    let mut sweep = Sweep::prepare(options, &matrix, text, &interrupt)?;
    let ended = sweep.run_all();
    sweep.finish(global, ended)
}

fn usage(message: String) -> anyhow::Error {
    exit::coded(exit::USAGE, message)
}

/// A name that can be a directory's.
fn machine_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && !text.starts_with(['.', '-']) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a name has letters, digits, `-`, `_` and `.`, and begins with none of `-` and `.`".to_owned())
    }
}

/// What can be known to be impossible before anything starts.
fn check(options: &SweepOptions, matrix: &Matrix, point: &Point) -> anyhow::Result<()> {
    let load = load(&arguments(options, matrix, point, None))?;
    plan(&load)?;
    load.site.driver.driver.resolve()?;
    Ok(())
}

/// What follows `bench append` for one run of a point.
fn arguments(options: &SweepOptions, matrix: &Matrix, point: &Point, offered: Option<f64>) -> Vec<String> {
    let mut arguments = point.arguments(matrix, offered);
    if let Some(dir) = &options.dir {
        arguments.push(format!("--dir={}", dir.display()));
    }
    if options.allow_volatile {
        arguments.push("--allow-volatile".to_owned());
    }
    if let Some(cores) = &options.cores {
        arguments.push(format!("--cores={cores}"));
    }
    arguments
}

/// The load that `bench append` makes of its arguments: a sweep allows what that does, and nothing else.
fn load(arguments: &[String]) -> anyhow::Result<Load> {
    let line = ["naxos", "bench", "append"].into_iter().map(str::to_owned).chain(arguments.iter().cloned());
    let parsed = Arguments::try_parse_from(line).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        anyhow::anyhow!("{}", first.strip_prefix("error: ").unwrap_or(first))
    })?;
    match parsed.command {
        Command::Bench(Bench { command: Some(BenchCommand::Append(load)), .. }) => Ok(load),
        other => anyhow::bail!("{other:?} is no load"),
    }
}

fn show_plan(global: &Global, matrix: &Matrix) -> anyhow::Result<()> {
    let names: Vec<_> = matrix.points.iter().map(Point::name).collect();
    if global.json {
        let (runs, repeats) = (matrix.runs(), matrix.repeats);
        let seconds = matrix.load_seconds();
        return output::json(&json!({ "points": names, "repeats": repeats, "runs": runs, "load_seconds": seconds }));
    }
    output::text(names.join("\n"))?;
    output::text(format_args!(
        "{} points, {} times: {} runs, {:.0} s of load; each run also measures the floor, prepares space and reads back",
        names.len(),
        matrix.repeats,
        matrix.runs(),
        matrix.load_seconds()
    ))
}

/// A sweep under way.
struct Sweep<'a> {
    options: &'a SweepOptions,
    matrix: &'a Matrix,
    interrupt: &'a Interrupt,
    recorder: Recorder,
    manifest: Manifest,
    /// What was known before the first run.
    standing: Vec<String>,
    begin: Instant,
    /// Most appends a second of the closed loops of a group, and in which repeat: the first that had any.
    peaks: BTreeMap<(i64, i64, &'a str, i64), (u32, f64)>,
}

impl<'a> Sweep<'a> {
    fn prepare(
        options: &'a SweepOptions,
        matrix: &'a Matrix,
        text: String,
        interrupt: &'a Interrupt,
    ) -> anyhow::Result<Self> {
        let place = Place { dir: options.dir.clone(), keep: false, allow_volatile: options.allow_volatile };
        let scratch = Scratch::create(&place)?;
        let (machine, host) = (Machine::describe(scratch.path()), Host::describe(scratch.path()));
        let commit = commit().unwrap_or_else(|| "unknown".to_owned());
        let recorder = match &options.out {
            Some(out) => {
                Recorder::create(out).map_err(|error| usage(format!("cannot use {}: {error}", out.display())))?
            }
            None => {
                let name = options.machine.clone().unwrap_or_else(|| nickname(&machine));
                let parent = Path::new(RESULTS).join(name);
                Recorder::create_beside(&parent, &format!("{}-{commit}", date::day(SystemTime::now())))
                    .map_err(|error| usage(format!("cannot make a directory in {}: {error}", parent.display())))?
            }
        };
        let standing = standing_warnings(options, matrix, &machine, &host, &commit, scratch.volatile);
        let point = |point: &Point| PointEntry {
            name: point.name(),
            command: command(&arguments(options, matrix, point, None)),
        };
        let mut manifest = Manifest {
            schema: 1,
            bench: "sweep".to_owned(),
            commit,
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            command: quoted(&std::env::args().collect::<Vec<_>>()),
            complete: false,
            ended_by: None,
            started: date::timestamp(SystemTime::now()),
            ended: None,
            runs: matrix.runs() as u32,
            runs_done: 0,
            runs_failed: 0,
            runs_invalid: 0,
            machine,
            host,
            cores: options
                .cores
                .as_ref()
                .map(|cores| CoresUsed { load: cores.load.to_string(), nodes: cores.nodes.to_string() }),
            drivers: Vec::new(),
            durability: if scratch.volatile { "volatile" } else { "quorum-dsync" }.to_owned(),
            matrix: text,
            points: matrix.points.iter().map(point).collect(),
            noise: NoiseSeen { load_before: Noise::sample().load, ..NoiseSeen::default() },
            drift: Vec::new(),
            warnings: Vec::new(),
        };
        manifest.count(&[], &standing);
        recorder.describe(&manifest).with_context(|| format!("cannot write to {}", recorder.directory().display()))?;
        Ok(Self {
            options,
            matrix,
            interrupt,
            recorder,
            manifest,
            standing,
            begin: Instant::now(),
            peaks: BTreeMap::new(),
        })
    }

    /// All points once, then all again, so that a drift of the machine falls on all of them.
    fn run_all(&mut self) -> anyhow::Result<()> {
        for repeat in 1..=self.matrix.repeats {
            for (index, point) in self.matrix.points.iter().enumerate() {
                self.interrupt.check()?;
                self.run_one(repeat, index, point)?;
            }
        }
        Ok(())
    }

    /// One run. What goes wrong with it is its result; only an interruption, and results that cannot be written, end the sweep.
    fn run_one(&mut self, repeat: u32, index: usize, point: &'a Point) -> anyhow::Result<()> {
        let (begin, noise) = (Instant::now(), Noise::sample());
        let run = self.recorder.rows().len() as u32 + 1;
        let outcome = self.measure(run, index, point);
        if let (true, Err(error)) = (self.interrupt.requested(), &outcome) {
            tracing::debug!("the run that was interrupted: {error:#}");
            return Err(exit::interrupted());
        }
        let after = Noise::sample();
        let row = Row {
            run,
            repeat,
            started_s: hundredths(begin.duration_since(self.begin).as_secs_f64()),
            took_s: hundredths(begin.elapsed().as_secs_f64()),
            load_before: noise.load,
            load_after: after.load,
            steal_share: after.steal_since(&noise).map(|share| (share * 1e4).round() / 1e4),
            ..Row::of(point)
        };
        let (row, intervals) = match outcome {
            Ok((plan, outcome)) => (
                row.with(&outcome.report, &outcome.profile),
                intervals(repeat, &plan, outcome.start, outcome.intervals),
            ),
            Err(error) => (Row { error: format!("{error:#}"), ..row }, Vec::new()),
        };
        self.note_peak(repeat, point, &row);
        self.show(&row);
        self.recorder.push(row, &intervals).with_context(|| self.cannot_write())?;
        self.describe()
    }

    fn measure(&mut self, run: u32, index: usize, point: &Point) -> anyhow::Result<(Plan, Outcome)> {
        let offered = match point.offer {
            Offer::Rate(Rate::OfPeak(share)) => {
                let (_, peak) = self.peaks.get(&point.group()).context(
                    "no closed loop of the same nodes, shards, driver and record size has a valid result: there is no peak",
                )?;
                Some((peak * share).round().max(1.0))
            }
            _ => None,
        };
        let arguments = arguments(self.options, self.matrix, point, offered);
        self.manifest.points[index].command = command(&arguments);
        let load = load(&arguments)?;
        let plan = plan(&load)?;
        // The point's name would leave no room for what happens; the line behind the run has it.
        let title = format!("{run}/{}", self.manifest.runs);
        let mut progress = Progress::titled(self.interrupt, plan.warm_up + plan.measured, title);
        let outcomes = measure(&load, &[(plan.clone(), load.clients)], &mut progress, self.interrupt);
        progress.clear();
        Ok((plan, outcomes?.pop().expect("one result for one load")))
    }

    fn note_peak(&mut self, repeat: u32, point: &'a Point, row: &Row) {
        let (Offer::Inflight(_), true, Some(rate)) = (point.offer, row.valid, row.appends_per_s) else { return };
        let (first, peak) = self.peaks.entry(point.group()).or_insert((repeat, rate));
        // The same rate in every repeat, or they could not be compared.
        if *first == repeat {
            *peak = peak.max(rate);
        }
    }

    /// A line for each run, where somebody watches.
    fn show(&self, row: &Row) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let numbers = match (row.appends_per_s, row.p50_us, row.p99_us) {
            (Some(rate), Some(p50), Some(p99)) => {
                format!("{} appends/s, p50 {}, p99 {}", count(rate), micros(p50), micros(p99))
            }
            _ => String::new(),
        };
        let error = if row.valid { String::new() } else { format!(" NOT VALID: {}", row.error) };
        output::aside(format_args!("{}/{} {}: {numbers}{error}\n", row.run, self.manifest.runs, row.point));
    }

    fn describe(&mut self) -> anyhow::Result<()> {
        self.manifest.count(self.recorder.rows(), &self.standing);
        self.recorder.describe(&self.manifest).with_context(|| self.cannot_write())
    }

    fn cannot_write(&self) -> String {
        format!("cannot write to {}; the runs before this one are there", self.recorder.directory().display())
    }

    fn finish(mut self, global: &Global, ended: anyhow::Result<()>) -> anyhow::Result<()> {
        let directory = self.recorder.directory().to_owned();
        if let Err(error) = ended {
            if self.recorder.rows().is_empty() {
                self.recorder.abandon().with_context(|| format!("cannot remove {}", directory.display()))?;
                return Err(error);
            }
            self.manifest.ended_by = Some(format!("{error:#}"));
            self.manifest.ended = Some(date::timestamp(SystemTime::now()));
            // The first error is the one that matters: where results cannot be written, this cannot either.
            let _ = self.describe();
            let (done, runs) = (self.manifest.runs_done, self.manifest.runs);
            let place = directory.display();
            output::note(format_args!("{done} of {runs} runs are in {place}, which says that it is incomplete"));
            return Err(error);
        }
        self.manifest.ended = Some(date::timestamp(SystemTime::now()));
        self.describe()?;
        if global.json {
            let mut object = serde_json::to_value(&self.manifest)?;
            object["directory"] = json!(directory);
            output::json(&object)?;
        } else {
            output::text(self.explained(&directory).trim_end())?;
        }
        let (failed, invalid) = (self.manifest.runs_failed, self.manifest.runs_invalid);
        if failed + invalid == 0 {
            return Ok(());
        }
        let message = format!("of {} runs {failed} have failed, and {invalid} are not valid", self.manifest.runs);
        Err(exit::coded(exit::INVALID, message))
    }

    /// The medians for people.
    fn explained(&self, directory: &Path) -> String {
        let mut text = String::new();
        let mut add = |line: String| writeln!(text, "{line}").expect("memory takes it");
        for point in PointRuns::group(self.recorder.rows()) {
            let all = point.rows.len();
            let valid = point.valid().count();
            let name = &point.first().point;
            let median = |number: fn(&Row) -> Option<f64>| point.median(number).unwrap_or(0.0);
            match point.summary(|row| row.appends_per_s) {
                Some(rate) => add(format!(
                    "{name}: {} appends/s ({} to {}), p50 {}, p99 {}; {valid} of {all} runs valid",
                    count(rate.median),
                    count(rate.min),
                    count(rate.max),
                    micros(median(|row| row.p50_us)),
                    micros(median(|row| row.p99_us)),
                )),
                None => add(format!("{name}: no valid run; {}", point.first().error)),
            }
        }
        for drift in &self.manifest.drift {
            let [least, median, most] = drift.append_p50_us;
            add(format!("floor of {} copies: {least} to {most} us, median {median} us", drift.nodes));
        }
        self.manifest.warnings.iter().for_each(|warning| add(format!("warning: {warning}")));
        add(format!("results are in {}", directory.display()));
        text
    }
}

/// The latencies of a load that began at `start`, one interval of its plan after the other.
fn intervals(repeat: u32, plan: &Plan, start: SystemTime, latencies: Vec<Histogram<u64>>) -> Vec<Interval> {
    let ends = plan.intervals();
    let begins = std::iter::once(plan.warm_up).chain(ends.clone());
    let times = begins.zip(ends).map(|(begin, end)| (start + begin, end - begin));
    times.zip(latencies).map(|((start, duration), latency)| Interval { repeat, start, duration, latency }).collect()
}

fn command(arguments: &[String]) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "naxos".to_owned());
    let words = [program, "bench".to_owned(), "append".to_owned()];
    quoted(&words.into_iter().chain(arguments.iter().cloned()).collect::<Vec<_>>())
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A directory's name for a machine: the words of its processor that tell it apart, and its cores.
fn nickname(machine: &Machine) -> String {
    let mut plain = String::new();
    let mut depth = 0_u32;
    for c in machine.cpu.split('@').next().unwrap_or_default().to_ascii_lowercase().chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            c if c.is_ascii_alphanumeric() => plain.push(c),
            _ => plain.push(' '),
        }
    }
    let words = plain.split_whitespace().filter(|word| !["cpu", "processor"].contains(word));
    let cores = if machine.cores == 1 { "1-core".to_owned() } else { format!("{}-cores", machine.cores) };
    words.map(str::to_owned).chain([cores]).collect::<Vec<_>>().join("-")
}

fn standing_warnings(
    options: &SweepOptions,
    matrix: &Matrix,
    machine: &Machine,
    host: &Host,
    commit: &str,
    volatile: bool,
) -> Vec<String> {
    let mut warnings = host.hints(options.cores.as_ref());
    let mut warn = |holds: bool, what: String| {
        if holds {
            warnings.push(what);
        }
    };
    warn(cfg!(debug_assertions), "this is a debug build: its numbers count for nothing".to_owned());
    warn(commit == "unknown", "the commit is not known: the program lies in no checkout".to_owned());
    warn(commit.ends_with("-dirty"), "the checkout differs from its commit".to_owned());
    warn(volatile, "the directory is in memory: nothing is durable".to_owned());
    let threads = matrix.points.iter().map(|point| point.nodes * point.shards).max().unwrap_or(0);
    warn(
        options.cores.is_none() && threads + 1 > machine.cores as i64,
        format!("{threads} shards and the load share {} cores", machine.cores),
    );
    warn(
        matrix.repeats < 4,
        format!("repeats = {}: with fewer than 4 a difference cannot be told from chance", matrix.repeats),
    );
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> SweepOptions {
        SweepOptions {
            matrix: "m.toml".into(),
            out: None,
            machine: None,
            dir: Some("/some where".into()),
            allow_volatile: false,
            cores: None,
            dry_run: false,
        }
    }

    fn error(text: &str) -> String {
        let matrix = Matrix::parse(text).unwrap();
        format!("{:#}", check(&options(), &matrix, &matrix.points[0]).unwrap_err())
    }

    #[test]
    fn a_point_is_the_load_of_bench_append() {
        let matrix =
            Matrix::parse("seconds = 2\n[[load]]\nnodes = [5]\nrates = [2500.5]\ndrivers = [\"epoll\"]").unwrap();
        check(&options(), &matrix, &matrix.points[0]).unwrap();
        let load = load(&arguments(&options(), &matrix, &matrix.points[0], None)).unwrap();
        assert_eq!((load.site.nodes, load.rate, load.seconds, load.warm_up), (5, Some(2500.5), 2.0, 1.0));
        assert_eq!(load.site.place.dir, Some("/some where".into()));
    }

    #[test]
    fn what_bench_append_refuses_is_refused_before_anything_starts() {
        for (text, words) in [
            ("[[load]]\nclients = [0]", "--clients"),
            ("[[load]]\nclients = [-1]", "--clients"),
            ("[[load]]\nnodes = [16]", "16 is not in 1..=15"),
            ("[[load]]\nshards = [1000]", "--shards"),
            ("[[load]]\ninflight = [2000000]", "--inflight"),
            ("[[load]]\nrates = [0]", "above 0"),
            ("[[load]]\nrecord_bytes = [8]", "--record-bytes 8"),
            ("[[load]]\nrecord_bytes = [100000000]", "none may be larger"),
            ("[[load]]\ndrivers = [\"dpdk\"]", "dpdk"),
        ] {
            let error = error(text);
            assert!(error.contains(words) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn a_machine_has_a_name_that_can_be_a_directory() {
        let machine = |cpu: &str| Machine { cpu: cpu.to_owned(), cores: 16, ..Machine::describe(Path::new("/")) };
        assert_eq!(nickname(&machine("Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz")), "intel-xeon-e5-2686-v4-16-cores");
        assert_eq!(nickname(&machine("implementer 0x41 part 0xd0c")), "implementer-0x41-part-0xd0c-16-cores");
        assert!(machine_name(&nickname(&machine("../.. etc"))).is_ok());
        assert!(machine_name("../x").is_err() && machine_name("").is_err() && machine_name("..").is_err());
    }
}
