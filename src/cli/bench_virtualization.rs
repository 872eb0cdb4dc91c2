//! `naxos bench virtualization`: what an append costs more on a virtual log than on a bare loglet of the same nodes.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::args::{Global, VirtualizationLoad};
use super::bench_rig::Rig;
use super::exit;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use crate::base::{Incarnation, LogletId};
use crate::loadgen::blocks::{Appender, Block, Subject};
use crate::loadgen::live::RECORD_BYTES_MIN;
use crate::loadgen::paired::Paired;
use crate::wire::LogletConfig;

const BLOCK: Duration = Duration::from_millis(100);
/// Before anything counts, on each of the two.
const WARM_UP: Duration = Duration::from_millis(500);
const LOG: &str = "bench";
/// A log number that the cluster does not give.
const BARE_LOG: u64 = u64::MAX;

pub(super) fn run(global: &Global, options: &VirtualizationLoad) -> anyhow::Result<()> {
    if options.record_bytes < RECORD_BYTES_MIN {
        return Err(exit::coded(exit::USAGE, format!("records have at least {RECORD_BYTES_MIN} bytes, their number")));
    }
    let interrupt = Interrupt::install()?;
    // Latency and throughput, each with both kinds of block for every pair.
    let expected = 4 * WARM_UP + 4 * BLOCK * u32::from(options.pairs);
    let progress = Progress::new(&interrupt, expected);
    let load = Load {
        record_bytes: options.record_bytes,
        inflight: options.inflight,
        prepare_bytes: options.prepare_bytes,
        ..Load::plain(expected.as_secs_f64(), options.site.clone())
    };
    // Half of the time goes into appends one at a time, which write a block each.
    let bytes = |floor: &crate::loadgen::floor::Floor| {
        (floor.disk_copy_bytes_per_s * expected.as_secs_f64() / 2.0 / f64::from(options.site.nodes)) as u64
    };
    let rig = Rig::start(&load, bytes, &progress, &interrupt)?;
    let report = measure(&rig, options, &progress, &interrupt);
    let report = rig.conclude(global, &progress, report, |report| {
        format!(
            "{} pairs of blocks of {} ms, one append at a time: p50 {} us on the bare loglet\n\
             {:<27}p50 {} us {}   p99 {} us {}\n\
             with {} in flight          {} of the bare loglet's {} appends/s {}\n\
             {} acknowledged records, {} missing",
            report["pairs"],
            report["block_ms"],
            report["bare_p50_us"],
            if options.null { "added by another loglet" } else { "added by the virtual log" },
            report["p50_added_us"],
            report["p50_added_us_ci95"],
            report["p99_added_us"],
            report["p99_added_us_ci95"],
            report["inflight"],
            report["throughput_ratio"],
            report["bare_appends_per_s"],
            report["throughput_ratio_ci95"],
            report["verified"]["acked"],
            report["verified"]["missing"]
        )
    })?;
    exit::verdict(report["valid"] == true)
}

/// The two that are compared, on the same nodes and behind the same sequencer.
struct Pair {
    bare: Appender,
    log: Appender,
}

impl Pair {
    /// With `null` the place of the log is taken by another bare loglet.
    fn create(rig: &Rig<'_>, bytes: usize, null: bool) -> anyhow::Result<Self> {
        let log = rig.create_virtual_log(LOG)?;
        let under = log.chain().context("the log's chain")?.last().loglet.first().clone();
        let loglet = || {
            let id = LogletId { log: BARE_LOG, version: 1, nonce: Incarnation::random().0 as u64 };
            Ok::<_, anyhow::Error>(Subject::Loglet(rig.open_loglet(&LogletConfig { id, ..under.clone() })?))
        };
        let compared = if null { loglet()? } else { Subject::Log(log) };
        Ok(Self { bare: Appender::new(loglet()?, bytes), log: Appender::new(compared, bytes) })
    }

    /// Blocks in the order bare, log, log, bare, and so on, after a warm-up: a drift of the machine falls on both alike.
    fn blocks(
        &mut self,
        pairs: u16,
        inflight: usize,
        interrupt: &Interrupt,
        mut step: impl FnMut(u16),
    ) -> anyhow::Result<Vec<(Block, Block)>> {
        self.bare.block(inflight, WARM_UP)?;
        self.log.block(inflight, WARM_UP)?;
        let mut blocks = Vec::new();
        for pair in 0..pairs {
            interrupt.check()?;
            step(pair);
            let both = match pair % 2 {
                0 => {
                    let bare = self.bare.block(inflight, BLOCK)?;
                    (bare, self.log.block(inflight, BLOCK)?)
                }
                _ => {
                    let log = self.log.block(inflight, BLOCK)?;
                    (self.bare.block(inflight, BLOCK)?, log)
                }
            };
            blocks.push(both);
        }
        Ok(blocks)
    }
}

fn measure(
    rig: &Rig<'_>,
    options: &VirtualizationLoad,
    progress: &Progress<'_>,
    interrupt: &Interrupt,
) -> anyhow::Result<Value> {
    let mut pair = Pair::create(rig, options.record_bytes, options.null)?;
    let mut blocks = |name: &'static str, inflight: usize| {
        pair.blocks(options.pairs, inflight, interrupt, |done| {
            let text = format!("pair {done} of {}", options.pairs);
            progress.step(name, f64::from(done) / f64::from(options.pairs), text);
        })
    };
    let single = blocks("latency", 1)?;
    let many = blocks("throughput", options.inflight as usize)?;
    progress.step("verifying", 0.0, "reading everything back");
    let acked = pair.bare.acked() + pair.log.acked();
    let read_back = pair.bare.verify()? + pair.log.verify()?;
    let paired = |blocks: &[(Block, Block)], of: fn(&Block, &Block) -> f64| {
        let pairs: Vec<f64> = blocks.iter().map(|(bare, log)| of(bare, log)).collect();
        Paired::of(&pairs).expect("there is at least one pair").rounded()
    };
    let p50 = paired(&single, |bare, log| log.p50_us - bare.p50_us);
    let p99 = paired(&single, |bare, log| log.p99_us - bare.p99_us);
    let throughput = paired(&many, |bare, log| log.per_s / bare.per_s);
    Ok(json!({
        "schema": 1,
        "bench": "virtualization",
        "null": options.null,
        "p50_added_us": p50.median,
        "p50_added_us_ci95": p50.ci95,
        "p99_added_us": p99.median,
        "p99_added_us_ci95": p99.ci95,
        "throughput_ratio": throughput.median,
        "throughput_ratio_ci95": throughput.ci95,
        "bare_p50_us": paired(&single, |bare, _| bare.p50_us).median,
        "bare_p99_us": paired(&single, |bare, _| bare.p99_us).median,
        "bare_appends_per_s": paired(&many, |bare, _| bare.per_s).median.round(),
        "pairs": options.pairs,
        "block_ms": BLOCK.as_millis(),
        "order": "ABBA",
        "inflight": options.inflight,
        "record_bytes": options.record_bytes,
        "verified": { "acked": acked, "read_back": read_back, "missing": acked - read_back },
        "valid": read_back == acked,
        "nodes": options.site.nodes,
        "processes": rig.setup.processes,
        "driver": rig.setup.driver,
        "durability": rig.setup.durability,
        "floor_us": rig.floor.rounded(),
        "machine": rig.machine,
        "commit": rig.setup.commit,
    }))
}
