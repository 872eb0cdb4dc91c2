//! Rounds: every system in turn is started, measured in all shapes, and stopped.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use naxos::loadgen::cpu::process_time;
use naxos::loadgen::floor::{self, Floor};
use naxos::loadgen::machine::{Machine, commit};
use naxos::loadgen::verify::{Checker, Verified};
use serde_json::{Value, json};

use super::load::{Driven, Load, Plan, drive};
use super::options::{Options, Shape, System};
use super::peer::Peer;
use super::row::{Row, Settings, hundredths, tenths};

/// Records of one request: below what every system takes by default, which is 1 MiB at least.
const REQUEST_BYTES_MAX: usize = 512 << 10;

/// What all measurements share.
pub(super) struct Bench<'a> {
    pub(super) options: &'a Options,
    machine: Value,
    commit: Option<String>,
    /// What each system did in the batched shape of the first round, in appends a second.
    peaks: BTreeMap<System, f64>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(options: &'a Options, scratch: &'a Path) -> anyhow::Result<Self> {
        let machine = serde_json::to_value(Machine::describe(scratch))?;
        Ok(Self { options, machine, commit: commit(), peaks: BTreeMap::new() })
    }

    /// The rate of the open loop for a system, if it is known by now.
    pub(super) fn rate(&self, system: System) -> Option<f64> {
        self.options.rate.or_else(|| Some((self.peaks.get(&system)? / 2.0).round().max(1.0)))
    }

    /// Keeps what a system did in the batched shape, the first time.
    pub(super) fn peak(&mut self, system: System, appends_per_s: f64) {
        self.peaks.entry(system).or_insert(appends_per_s);
    }

    /// One round of a system. Rows are handed over as they come, so that an error loses none.
    pub(super) async fn round<P: Peer>(
        &mut self,
        system: System,
        directory: &Path,
        rows: &mut Vec<Row>,
    ) -> anyhow::Result<()> {
        P::installed()?;
        let floor = measure_floor(directory, P::ABOUT.copies).await?;
        let servers = super::process::make(directory, "servers")?;
        let mut peer = P::start(&servers).await?;
        // A cold virtual machine, empty caches and first allocations would be the first shape's.
        let settle = self.plan(P::load(Shape::Batched), None, Duration::ZERO, self.options.warm_up);
        load(&mut peer, "settle", &settle).await.context("the load before the first shape")?;
        for &shape in &self.options.shapes {
            let mut rate = None;
            if shape == Shape::OpenLoop {
                if self.rate(system).is_none() {
                    let plan = self.plan(P::load(Shape::Batched), None, Duration::ZERO, self.options.seconds);
                    let driven = load(&mut peer, "peak", &plan).await?;
                    self.peak(system, driven.appended as f64 / plan.measured.as_secs_f64());
                }
                rate = self.rate(system);
            }
            let plan = self.plan(P::load(shape), rate, self.options.warm_up, self.options.seconds);
            let (begin, before) = (Instant::now(), process_time(std::process::id())?);
            let driven = load(&mut peer, shape.name(), &plan).await.with_context(|| shape.name())?;
            let used = process_time(std::process::id())? - before;
            let client_cpus = used.as_secs_f64() / begin.elapsed().as_secs_f64();
            let verified = verify(&peer, shape.name(), &plan, &driven).await;
            let verified = verified.with_context(|| format!("{}: reading back", shape.name()))?;
            let row = self.row(system, &peer, shape, (&plan, &driven, &verified), &floor, client_cpus);
            if shape == Shape::Batched {
                self.peak(system, row.appends_per_s);
            }
            rows.push(row);
        }
        drop(peer);
        fs::remove_dir_all(&servers).with_context(|| format!("cannot remove {}", servers.display()))
    }

    fn plan(&self, load: Load, rate: Option<f64>, warm_up: Duration, measured: Duration) -> Plan {
        let fit = (REQUEST_BYTES_MAX / self.options.record_bytes).max(1);
        let load = Load { records_per_request: load.records_per_request.min(fit), ..load };
        let seed = std::hash::RandomState::new().build_hasher().finish();
        Plan { load, rate, record_bytes: self.options.record_bytes, seed, warm_up, measured }
    }

    fn row<P: Peer>(
        &self,
        system: System,
        peer: &P,
        shape: Shape,
        (plan, driven, verified): (&Plan, &Driven, &Verified),
        floor: &Floor,
        client_cpus: f64,
    ) -> Row {
        let at = |quantile| tenths(driven.latency.value_at_quantile(quantile) as f64 / 1e3);
        let row = Row {
            schema: 1,
            bench: "peers",
            system: system.name(),
            version: peer.version().to_owned(),
            durability: P::ABOUT.durability.to_owned(),
            copies: P::ABOUT.copies,
            shape,
            record_bytes: plan.record_bytes,
            appends_per_s: tenths(driven.appended as f64 / plan.measured.as_secs_f64()),
            p50_us: at(0.5),
            p99_us: at(0.99),
            floor_us: json!(floor),
            valid: true,
            problem: None,
            verified: json!(verified),
            failed: driven.failed,
            first_error: driven.first_error.clone(),
            offered_per_s: plan.rate,
            client_lag_us: driven.lag.as_ref().map(|lag| tenths(lag.value_at_quantile(0.99) as f64 / 1e3)),
            seconds: plan.measured.as_secs_f64(),
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            settings: Settings {
                connections: plan.load.connections,
                inflight: Some(plan.load.inflight),
                records_per_request: plan.load.records_per_request,
                server: P::ABOUT.settings.to_owned(),
            },
            note: P::ABOUT.note,
            client_cpus: Some(hundredths(client_cpus)),
            rounds: Vec::new(),
            spread: None,
            machine: self.machine.clone(),
            run: run(),
            commit: self.commit.clone(),
        };
        row.judged(verified.holds())
    }
}

/// A load on a new log.
async fn load<P: Peer>(peer: &mut P, log: &str, plan: &Plan) -> anyhow::Result<Driven> {
    peer.create(log).await.context("cannot make a log")?;
    let mut connections = Vec::with_capacity(plan.load.connections);
    for number in 0..plan.load.connections {
        connections.push(peer.connect(log, number).await?);
    }
    Ok(drive(plan, connections).await)
}

/// Reads everything back and compares it in full.
async fn verify<P: Peer>(peer: &P, log: &str, plan: &Plan, driven: &Driven) -> anyhow::Result<Verified> {
    let mut checker = Checker::new(plan.seed, plan.record_bytes, &driven.ledgers);
    peer.read(log, &mut |offset, record| checker.record_at(offset, record)).await?;
    Ok(checker.finish())
}

async fn measure_floor(directory: &Path, copies: usize) -> anyhow::Result<Floor> {
    let directory = directory.to_owned();
    let floor = tokio::task::spawn_blocking(move || floor::measure(&directory, copies)).await?;
    Ok(floor.context("cannot measure the floor")?.rounded())
}

/// The command that this is.
pub(super) fn run() -> String {
    let arguments = std::env::args().skip(1).map(|argument| format!(" {argument}"));
    format!("naxos-tools{}", arguments.collect::<String>())
}
