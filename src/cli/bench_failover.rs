//! `naxos bench failover`: how long a log takes no appends when the node of its sequencer is lost.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::args::{FailoverLoad, Global, Load};
use super::bench_rig::Rig;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::{exit, output};
use crate::loadgen::live::{LiveLoad, Offer, verify};
use crate::loadgen::spread::Spread;

/// Before a fault, and after the node is back: everything is as it should be then.
const SETTLE: Duration = Duration::from_millis(700);
const RECORD_BYTES: usize = 100;
const LOG: &str = "bench";

pub(super) fn run(global: &Global, options: &FailoverLoad) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    let expected = (3 * SETTLE) * u32::from(options.rounds);
    let progress = Progress::new(&interrupt, expected);
    let plain = Load::plain(options.nodes, expected.as_secs_f64(), options.driver, options.place.clone());
    let load = Load { rate: Some(options.rate), record_bytes: RECORD_BYTES, ..plain };
    let bytes = (options.rate * expected.as_secs_f64()) as u64 * RECORD_BYTES as u64;
    let rig = Rig::start(&load, |_| bytes, &progress, &interrupt)?;
    let report = measure(&rig, options, &progress, &interrupt).map_err(|error| rig.explain(error));
    progress.clear();
    let report = report?;
    rig.stop()?;
    if global.json {
        output::json(&report)?;
    } else {
        let unavailable = &report["unavailable_ms"];
        output::text(format_args!(
            "{} times the sequencer's node was killed, under {} appends/s\n\
             unavailable  p50 {} ms  p99 {} ms  max {} ms\n\
             reconfigurations beside those: {}\n\
             {} acknowledged records, {} missing, {} twice",
            report["rounds"],
            report["offered_per_s"],
            unavailable["p50"],
            unavailable["p99"],
            unavailable["max"],
            report["false_reconfigurations"],
            report["verified"]["acked"],
            report["verified"]["missing"],
            report["verified"]["twice"]
        ))?;
    }
    if report["valid"] == true { Ok(()) } else { Err(exit::coded(exit::INVALID, "the result is not valid")) }
}

fn measure(
    rig: &Rig<'_>,
    options: &FailoverLoad,
    progress: &Progress<'_>,
    interrupt: &Interrupt,
) -> anyhow::Result<Value> {
    let log = rig.create_virtual_log(LOG)?;
    let offer = Offer::Open { appends_per_s: options.rate };
    let load = LiveLoad::start(log.clone(), offer, RECORD_BYTES, 0);
    let mut faults = Vec::new();
    for round in 0..options.rounds {
        progress.step(
            "failing over",
            f64::from(round) / f64::from(options.rounds),
            format!("{round} of {}", options.rounds),
        );
        interrupt.check()?;
        thread::sleep(SETTLE);
        let sequencer = log.chain().context("the log's chain")?.last().loglet.sequencer.node;
        let ready = rig.cluster().ready();
        let index =
            ready.iter().position(|node| node.node == sequencer).context("the sequencer is one of the nodes")?;
        faults.push(Instant::now());
        rig.cluster().kill(index)?;
        thread::sleep(SETTLE);
        rig.cluster().restart(index, interrupt)?;
    }
    thread::sleep(SETTLE);
    let (load, _) = load.end();
    progress.step("verifying", 0.0, "reading everything back");
    let verified = verify(&log, &[&load], RECORD_BYTES).context("read the log back")?;
    let gaps: Vec<_> = faults.iter().map(|fault| load.gap(*fault, *fault + SETTLE)).collect();
    let chain = log.chain().context("the log's chain")?;
    // Each fault needs one new segment, behind the first.
    let beside = chain.segments.len() as i64 - 1 - faults.len() as i64;
    let valid = verified.missing == 0 && load.failed.is_empty() && beside == 0;
    Ok(json!({
        "schema": 1,
        "bench": "failover",
        "fault": "kill",
        "unavailable_ms": Spread::of(&gaps),
        "rounds": faults.len(),
        "false_reconfigurations": beside,
        "offered_per_s": options.rate,
        "failed": load.failed.len(),
        "first_error": load.failed.first().map(|(_, error)| error.to_string()),
        "verified": verified,
        "valid": valid,
        "nodes": options.nodes,
        "record_bytes": RECORD_BYTES,
        "driver": rig.setup.driver,
        "durability": rig.setup.durability,
        "floor_us": rig.floor.rounded(),
        "machine": rig.machine,
        "commit": rig.setup.commit,
    }))
}
