//! `naxos bench`: a cluster of its own, a load, and what it amounts to.

use anyhow::Context;
use serde_json::json;

use super::args::{Bench, BenchCommand, FloorOptions, Global};
use super::directory::Scratch;
use super::interrupt::Interrupt;
use super::{
    bench_append, bench_chain, bench_failover, bench_paper, bench_profile, bench_read, bench_reconfigure, bench_stall,
    bench_sweep, bench_tail, bench_virtualization, output,
};
use crate::loadgen::explain::{bytes, micros};
use crate::loadgen::floor::measure;
use crate::loadgen::machine::Machine;

pub(super) fn run(global: &Global, options: &Bench) -> anyhow::Result<()> {
    match &options.command {
        None => bench_append::run(global, &options.load, true),
        Some(BenchCommand::Append(load)) => bench_append::run(global, load, false),
        Some(BenchCommand::Profile(options)) => bench_profile::run(global, options),
        Some(BenchCommand::Sweep(options)) => bench_sweep::run(global, options),
        Some(BenchCommand::Read(options)) => bench_read::run(global, options),
        Some(BenchCommand::Tail(options)) => bench_tail::run(global, options),
        Some(BenchCommand::Reconfigure(options)) => bench_reconfigure::run(global, options),
        Some(BenchCommand::Failover(options)) => bench_failover::run(global, options),
        Some(BenchCommand::Stall(options)) => bench_stall::run(global, options),
        Some(BenchCommand::Virtualization(options)) => bench_virtualization::run(global, options),
        Some(BenchCommand::Chain(options)) => bench_chain::run(global, options),
        Some(BenchCommand::Paper(options)) => bench_paper::run(global, options),
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
