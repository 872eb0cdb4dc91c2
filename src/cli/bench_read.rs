//! `naxos bench read`: a log is filled, then read from the disk, alone and beside appends.

use std::fs;
use std::time::Duration;

use anyhow::Context;

use super::args::{Global, ReadLoad};
use super::bench_plan::{journal_bytes, plan};
use super::bench_rig::Rig;
use super::exit;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use crate::client::ClientOptions;
use crate::loadgen::catch_up::{Beside, Pass, Reader, read_through};
use crate::loadgen::counters::sum;
use crate::loadgen::cpu::processes_time;
use crate::loadgen::generator::{Pace, Plan};
use crate::loadgen::read_floor;
use crate::loadgen::read_report::{CatchUp, ReadReport, Round, fault, median};
use crate::loadgen::report::Report;
use crate::loadgen::run::{Measured, Observer, Phase, Target};

/// Appends in flight on each connection while the log is filled.
const FILL_INFLIGHT: u32 = 4096;
const WARM_UP: f64 = 0.5;
/// Of the peak, what is offered beside readers.
const OFFERED_SHARE: f64 = 0.25;
/// Loads of each round.
const LOADS: f64 = 3.0;

fn load_options(options: &ReadLoad) -> Load {
    Load {
        warm_up: WARM_UP,
        record_bytes: options.record_bytes,
        clients: options.clients,
        inflight: FILL_INFLIGHT,
        prepare_bytes: options.prepare_bytes,
        ..Load::plain(options.fill, options.site.clone())
    }
}

pub(super) fn run(global: &Global, options: &ReadLoad) -> anyhow::Result<()> {
    let load = load_options(options);
    let fill = plan(&load)?;
    let interrupt = Interrupt::install()?;
    let mut progress = Progress::new(&interrupt, fill.warm_up + fill.measured);
    // What the loads beside readers write is trimmed after each, so that three of them are the most there is at a time.
    let share = 1.0 + LOADS * OFFERED_SHARE * (options.seconds + WARM_UP) / (options.fill + WARM_UP);
    let bytes = |floor: &_| (journal_bytes(&fill, options.clients, floor) as f64 * share) as u64;
    let rig = Rig::start(&load, bytes, &progress, &interrupt)?;
    let bench = Bench { rig: &rig, options, fill };
    let report = bench.run(&mut progress);
    let report = rig.conclude(global, &progress, report, |report| report.to_string().trim_end().to_owned())?;
    exit::verdict(report.valid)
}

struct Bench<'a> {
    rig: &'a Rig<'a>,
    options: &'a ReadLoad,
    fill: Plan,
}

impl Bench<'_> {
    fn run(&self, progress: &mut Progress<'_>) -> anyhow::Result<ReadReport> {
        let log = self.rig.create_log(1)?;
        let filled = self.rig.load(&log, &self.fill, self.options.clients, progress)?;
        let filled = self.rig.report(&self.fill, self.options.clients, &filled);
        let (catch_up, records) = self.catch_up(&log, progress)?;
        let offered = self.options.rate.unwrap_or((filled.appends_per_s * OFFERED_SHARE).round());
        let beside = Plan {
            pace: Pace::Open { appends_per_s: offered },
            measured: Duration::from_secs_f64(self.options.seconds),
            ..self.fill.clone()
        };
        let rounds = (0..u64::from(self.options.rounds))
            .map(|round| self.round(2 + 3 * round, &log, &beside, progress))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut report = ReadReport {
            schema: 1,
            bench: "read",
            driver: filled.driver.clone(),
            durability: filled.durability,
            nodes: filled.nodes,
            record_bytes: filled.record_bytes,
            log_records: records,
            log_bytes: records * filled.record_bytes as u64,
            catch_up,
            peak_appends_per_s: filled.appends_per_s,
            offered_per_s: offered,
            alone: Vec::new(),
            beside_catch_up: Vec::new(),
            catch_up_beside_appends_bytes_per_s: Vec::new(),
            beside_slow: Vec::new(),
            slow_subscribers: self.options.subscribers,
            p99_beside_catch_up_ratio: 0.0,
            p99_beside_slow_ratio: 0.0,
            p99_alone_spread: 0.0,
            node_memory_peak_bytes: log.server_pids.iter().filter_map(|&pid| memory_peak(pid)).max(),
            valid: true,
            invalid: fault(&filled).map(|fault| format!("filling the log: {fault}")).into_iter().collect(),
            machine: filled.machine.clone(),
            commit: filled.commit.clone(),
        };
        report.set_rounds(&rounds);
        Ok(report)
    }

    /// Reads the log with nothing beside, and tells how many records it has.
    fn catch_up(&self, log: &Target, progress: &mut Progress<'_>) -> anyhow::Result<(CatchUp, u64)> {
        progress.step("floor", 0.0, "reading the journals' files");
        let floor = read_floor::measure(self.rig.directory()).context("measure what the disk gives readers")?;
        let disk_reads = || -> anyhow::Result<Option<u64>> {
            Ok(self.rig.statuses()?.iter().filter_map(|status| sum(status, "read_bytes")).reduce(|a, b| a + b))
        };
        let cpu = || -> std::io::Result<(Duration, Duration)> {
            Ok((processes_time(&[std::process::id()])?, processes_time(&log.server_pids)?))
        };
        let (read_before, cpu_before) = (disk_reads()?, cpu()?);
        let mut passes = Vec::new();
        for _ in 0..self.options.rounds {
            let reader = self.reader(log)?;
            let tail = reader.log().check_tail().context("cannot find the tail of the log")?.tail;
            let pass =
                read_through(reader.log(), tail, |read| progress.progress(Phase::Verifying { read, total: tail.0 }))?;
            if pass.records < tail.0 {
                return Err(exit::interrupted());
            }
            passes.push(pass);
        }
        let (read_after, cpu_after) = (disk_reads()?, cpu()?);
        let kibibytes = passes.iter().map(|pass| pass.bytes).sum::<u64>() as f64 / 1024.0;
        let per_kib = |spent: Duration| (spent.as_nanos() as f64 / kibibytes * 10.0).round() / 10.0;
        let rate = median(passes.iter().map(Pass::bytes_per_s)).round();
        let catch_up = CatchUp {
            bytes_per_s: rate,
            passes: passes.iter().map(|pass| pass.bytes_per_s().round()).collect(),
            disk_read_bytes: read_after.zip(read_before).map(|(after, before)| after - before),
            floor_bytes_per_s: floor.round(),
            share_of_floor: (rate / floor * 1e3).round() / 1e3,
            client_ns_per_kib: per_kib(cpu_after.0.saturating_sub(cpu_before.0)),
            server_ns_per_kib: (!log.server_pids.is_empty()).then(|| per_kib(cpu_after.1.saturating_sub(cpu_before.1))),
        };
        Ok((catch_up, passes[0].records))
    }

    fn reader(&self, log: &Target) -> anyhow::Result<Reader> {
        let options = ClientOptions { driver: self.options.site.driver.driver, ..ClientOptions::default() };
        Reader::start(log, options).context("cannot start a reader")
    }

    /// One load of each kind, on the logs `first..first + 3`.
    fn round(&self, first: u64, log: &Target, plan: &Plan, progress: &mut Progress<'_>) -> anyhow::Result<Round> {
        let (alone, _) = self.beside(first, plan, |_| Ok(None), progress)?;
        let catch_up = |_: &Target| {
            let reader = self.reader(log)?;
            let tail = reader.log().check_tail().context("cannot find the tail of the log")?.tail;
            Ok(Some(Beside::catch_up(reader, tail)))
        };
        let (beside_catch_up, pass) = self.beside(first + 1, plan, catch_up, progress)?;
        let slow = |target: &Target| {
            let readers = (0..self.options.subscribers).map(|_| self.reader(target));
            Ok(Some(Beside::slow(readers.collect::<anyhow::Result<_>>()?)))
        };
        let (beside_slow, _) = self.beside(first + 2, plan, slow, progress)?;
        Ok(Round { alone, beside_catch_up, catch_up: pass, beside_slow })
    }

    /// A load on a new log, beside what `readers` starts; the readers end when the load does, before it is verified.
    fn beside(
        &self,
        number: u64,
        plan: &Plan,
        readers: impl FnOnce(&Target) -> anyhow::Result<Option<Beside>>,
        progress: &mut Progress<'_>,
    ) -> anyhow::Result<(Report, Pass)> {
        let target = self.rig.create_log(number)?;
        let mut observer = Until { inner: progress, readers: readers(&target)?, pass: Ok(Pass::default()) };
        let measured: Measured = self.rig.load(&target, plan, self.options.clients, &mut observer)?;
        // A load that is verified within a moment shows nobody that it is.
        observer.end_readers();
        let pass = observer.pass?;
        let end = self.reader(&target)?;
        let tail = end.log().check_tail().context("cannot find the tail of the log")?.tail;
        end.log().trim(tail).context("cannot give the log up after its load")?;
        Ok((self.rig.report(plan, self.options.clients, &measured), pass))
    }
}

/// Ends the readers as soon as the load is verified.
struct Until<'a, 'b> {
    inner: &'a mut Progress<'b>,
    readers: Option<Beside>,
    pass: Result<Pass, crate::loadgen::run::RunError>,
}

impl Until<'_, '_> {
    fn end_readers(&mut self) {
        if let Some(readers) = self.readers.take() {
            self.pass = readers.stop();
        }
    }
}

impl Observer for Until<'_, '_> {
    fn progress(&mut self, phase: Phase) -> bool {
        if let Phase::Verifying { .. } = phase {
            self.end_readers();
        }
        self.inner.progress(phase)
    }
}

/// The most memory that a process had resident, from /proc/PID/status.
fn memory_peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
