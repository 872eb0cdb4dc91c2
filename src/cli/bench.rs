//! `naxos bench`: a cluster of its own, a load, and what it amounts to.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::args::{Bench, BenchCommand, FloorOptions, Global, Load};
use super::bench_plan::{journal_bytes, plan};
use super::bench_rig::Rig;
use super::directory::Scratch;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::{
    bench_chain, bench_failover, bench_profile, bench_read, bench_reconfigure, bench_virtualization, exit, output,
};
use crate::loadgen::explain::{Explained, bytes, micros};
use crate::loadgen::floor::measure;
use crate::loadgen::generator::{Pace, Plan};
use crate::loadgen::machine::Machine;
use crate::loadgen::report::Report;

/// Measured time of the one-at-a-time load that a bare `bench` adds.
const SINGLE: Duration = Duration::from_secs(1);
pub(super) fn run(global: &Global, options: &Bench) -> anyhow::Result<()> {
    match &options.command {
        None => append(global, &options.load, true),
        Some(BenchCommand::Append(load)) => append(global, load, false),
        Some(BenchCommand::Profile(options)) => bench_profile::run(global, options),
        Some(BenchCommand::Read(options)) => bench_read::run(global, options),
        Some(BenchCommand::Reconfigure(options)) => bench_reconfigure::run(global, options),
        Some(BenchCommand::Failover(options)) => bench_failover::run(global, options),
        Some(BenchCommand::Virtualization(options)) => bench_virtualization::run(global, options),
        Some(BenchCommand::Chain(options)) => bench_chain::run(global, options),
        Some(BenchCommand::Floor(options)) => floor(global, options),
    }
}

fn floor(global: &Global, options: &FloorOptions) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    let scratch = Scratch::create(&options.place)?;
    let floor = measure(scratch.path(), options.nodes.into()).context("measure the floor")?.rounded();
    interrupt.check()?;
    let machine = Machine::describe(scratch.path());
    if global.json {
        return output::json(&json!({
            "schema": 1, "nodes": options.nodes, "floor_us": floor,
            "disk_3copy_bytes_per_s": floor.disk_copy_bytes_per_s.round(), "machine": machine
        }));
    }
    output::text(format_args!(
        "{} cores, {}, disk {} (write cache: {})",
        machine.cores, machine.cpu, machine.disk, machine.write_cache
    ))?;
    output::text(format_args!(
        "durable 4 KiB write, quorum of {} at once   p50 {}  p99 {}\n\
         loopback round trip                         p50 {}  p99 {}\n\
         an append takes at least                    p50 {}  p99 {}   (the write and two round trips)\n\
         durable copies, {} written at once           {}/s each",
        options.nodes,
        micros(floor.dsync_p50),
        micros(floor.dsync_p99),
        micros(floor.rtt_p50),
        micros(floor.rtt_p99),
        micros(floor.append_p50),
        micros(floor.append_p99),
        options.nodes,
        bytes(floor.disk_copy_bytes_per_s)
    ))
}

/// The whole benchmark; `with_single` adds a short load of one append at a time on the same cluster.
fn append(global: &Global, options: &Load, with_single: bool) -> anyhow::Result<()> {
    let plan = plan(options)?;
    let single = Plan { pace: Pace::Closed { inflight: 1 }, warm_up: SINGLE / 4, measured: SINGLE, ..plan.clone() };
    let interrupt = Interrupt::install()?;
    let mut progress = Progress::new(&interrupt, plan.warm_up + plan.measured);
    let rig = Rig::start(
        options,
        |floor| {
            let single = if with_single { journal_bytes(&single, 1, floor) } else { 0 };
            journal_bytes(&plan, options.clients, floor) + single
        },
        &progress,
        &interrupt,
    )?;
    let mut load = |plan: &Plan, clients: u32, log: u64| -> anyhow::Result<Report> {
        let measured = rig.load(&rig.create_log(log)?, plan, clients, &mut progress)?;
        Ok(rig.report(plan, clients, &measured))
    };
    let report = load(&plan, options.clients, 1)?;
    let single = with_single.then(|| load(&single, 1, 2)).transpose()?;
    progress.clear();
    rig.stop()?;
    record(&options.history, &report)?;
    print(global, &report, single.as_ref())?;
    let valid = report.valid && single.is_none_or(|single| single.valid);
    exit::verdict(valid)
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

fn record(history: &Path, report: &Report) -> anyhow::Result<()> {
    if history == Path::new("no") {
        return Ok(());
    }
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(history)
        .and_then(|mut file| file.write_all(&line))
        .with_context(|| format!("cannot write the result to {}", history.display()))
}
