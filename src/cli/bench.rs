//! `naxos bench`: a cluster of its own, a load, and what it amounts to.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::args::{Bench, BenchCommand, FloorOptions, Global, Load};
use super::bench_cluster::BenchCluster;
use super::bench_plan::{journal_bytes, plan};
use super::directory::Scratch;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::{dev, exit, output};
use crate::base::{Limits, quorum};
use crate::client::{Client, ClientOptions};
use crate::loadgen::counters::sum;
use crate::loadgen::explain::{Explained, bytes, micros};
use crate::loadgen::floor::{Floor, measure};
use crate::loadgen::generator::{Pace, Plan};
use crate::loadgen::machine::{BlockDevice, Machine};
use crate::loadgen::report::{Report, Setup};
use crate::loadgen::run::{Target, run as run_load};

/// How long preparing may take for each gibibyte, on a slow disk.
const PREPARE_PER_GIB: Duration = Duration::from_secs(30);
/// Measured time of the one-at-a-time load that a bare `bench` adds.
const SINGLE: Duration = Duration::from_secs(1);
/// Share of the free space that a benchmark may fill.
const FREE_SHARE_MAX: f64 = 0.8;

pub(super) fn run(global: &Global, options: &Bench) -> anyhow::Result<()> {
    match &options.command {
        None => append(global, &options.load, true),
        Some(BenchCommand::Append(load)) => append(global, load, false),
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
    options.driver.driver.resolve()?;
    let interrupt = Interrupt::install()?;
    let mut progress = Progress::new(&interrupt, plan.warm_up + plan.measured);
    let scratch = Scratch::create(&options.place)?;
    progress.step("floor", 0.0, "measuring the disk and the loopback");
    let floor = measure(scratch.path(), options.nodes.into())
        .with_context(|| format!("measure the floor in {}", scratch.path().display()))?;
    interrupt.check()?;

    let single = Plan { pace: Pace::Closed { inflight: 1 }, warm_up: SINGLE / 4, measured: SINGLE, ..plan.clone() };
    let prepare_bytes = space(options, &plan, with_single.then_some(&single), &floor, &scratch)?;
    let cluster = BenchCluster::start(options, &scratch, prepare_bytes, &interrupt)?;
    let client = Client::start(ClientOptions { driver: options.driver.driver, ..ClientOptions::default() })
        .context("cannot start the client")?;
    let statuses = await_prepared(&client, &cluster, prepare_bytes, &progress, &interrupt)?;
    let setup = Setup {
        driver: text(&statuses, "driver").context("no node says in its status which driver it uses")?,
        durability: if scratch.volatile { "volatile" } else { "quorum-dsync" },
        processes: 1 + cluster.pids().len(),
        nodes: options.nodes.into(),
        quorum: quorum(options.nodes.into()),
        clients: options.clients as usize,
        prepared_bytes: prepared(&statuses),
        commit: commit(),
    };
    let machine = Machine::describe(scratch.path());
    let mut load = |plan: &Plan, clients: u32, log: u64| -> anyhow::Result<Report> {
        let config = dev::loglet(cluster.ready(), log);
        client.create(&config, cluster.id()).context("cannot create the log")?;
        let target = Target {
            config,
            cluster: cluster.id(),
            nodes: cluster.addresses(),
            server_pids: cluster.pids(),
            device: BlockDevice::of(scratch.path()).ok(),
        };
        let measured = run_load(&client, &target, plan, clients as usize, &mut progress);
        // A node that has ended explains more than the client's error does.
        let measured = measured.map_err(|error| cluster.explain(error.into()))?;
        Ok(Report::new(&Setup { clients: clients as usize, ..setup.clone() }, plan, &measured, floor, machine.clone()))
    };
    let report = load(&plan, options.clients, 1)?;
    let single = with_single.then(|| load(&single, 1, 2)).transpose()?;
    progress.clear();
    cluster.stop()?;
    if options.place.keep {
        eprintln!("naxos: the data is kept in {}", scratch.path().display());
    }
    record(&options.history, &report)?;
    print(global, &report, single.as_ref())?;
    let valid = report.valid && single.is_none_or(|single| single.valid);
    if valid { Ok(()) } else { Err(exit::coded(exit::INVALID, "the result is not valid")) }
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

/// Journal bytes to prepare on each node; fails when the disk has no room for all of them.
fn space(options: &Load, plan: &Plan, single: Option<&Plan>, floor: &Floor, scratch: &Scratch) -> anyhow::Result<u64> {
    let cores = available_parallelism().map_or(1, usize::from);
    let estimate = journal_bytes(plan, options.clients, floor, cores)
        + single.map_or(0, |single| journal_bytes(single, 1, floor, cores));
    let wanted = options.prepare_bytes.unwrap_or(estimate);
    let limits = Limits::default();
    let segments = wanted.div_ceil(limits.segment_bytes);
    // One segment is in use, and the next life needs a reserve of its own: the rest is the most that can be prepared.
    let most = u64::from(limits.segments_max - limits.segments_prepared - 1);
    let wanted = limits.segment_bytes * segments.clamp(limits.segments_prepared.into(), most);
    let (all, free) = (wanted * u64::from(options.nodes), scratch.free_bytes()?);
    if all as f64 > free as f64 * FREE_SHARE_MAX {
        return Err(exit::coded(
            exit::USAGE,
            format!(
                "{} has {} free, and the load wants to prepare {}; name another directory with --dir, or less with \
                 --prepare-bytes or --seconds",
                scratch.path().display(),
                bytes(free as f64),
                bytes(all as f64)
            ),
        ));
    }
    Ok(wanted)
}

/// Bytes that the nodes have prepared; zero when none says.
fn prepared(statuses: &[Value]) -> u64 {
    statuses.iter().filter_map(|status| sum(status, "prepared_bytes")).sum()
}

/// Waits until every node has prepared what it was told, and gives their status.
fn await_prepared(
    client: &Client,
    cluster: &BenchCluster,
    prepare_bytes: u64,
    progress: &Progress<'_>,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Value>> {
    let nodes = cluster.addresses();
    let all = prepare_bytes * nodes.len() as u64;
    let deadline = Instant::now() + PREPARE_PER_GIB * (1 + (all >> 30) as u32);
    loop {
        let statuses = nodes
            .iter()
            .map(|&node| client.status(node).with_context(|| format!("node {node} does not report its status")))
            .collect::<anyhow::Result<Vec<_>>>()
            .map_err(|error| cluster.explain(error))?;
        if statuses.iter().any(|status| sum(status, "prepared_bytes").is_none()) {
            anyhow::bail!("a node does not say in its status how much it has prepared (`prepared_bytes`)");
        }
        let ready = prepared(&statuses);
        // A journal's segment in use was prepared too, and is not counted any more.
        if ready + Limits::default().segment_bytes * nodes.len() as u64 >= all {
            return Ok(statuses);
        }
        if Instant::now() > deadline {
            anyhow::bail!("the nodes have prepared only {} of {} in time", bytes(ready as f64), bytes(all as f64));
        }
        progress.step(
            "preparing",
            ready as f64 / all as f64,
            format!("{} of {}", bytes(ready as f64), bytes(all as f64)),
        );
        if interrupt.wait(Duration::from_millis(50)) {
            return Err(exit::interrupted());
        }
    }
}

/// The first text of this name at the top of the nodes' status.
fn text(statuses: &[Value], name: &str) -> Option<String> {
    statuses.iter().find_map(|status| Some(status.get(name)?.as_str()?.to_owned()))
}

/// The commit of the checkout that the program lies in, marked when the checkout differs from it.
fn commit() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let git = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--match="])
        .current_dir(program.parent()?)
        .output()
        .ok()?;
    let text = String::from_utf8(git.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| git.status.success() && !text.is_empty())
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
