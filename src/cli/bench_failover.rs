//! `naxos bench failover`: how long a log takes no appends when the node of its sequencer is lost, and that nobody is replaced while all
//! are well.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::args::{FailoverLoad, Fault, Global, Site};
use super::bench_rig::Rig;
use super::exit;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use crate::client::VirtualLog;
use crate::loadgen::busy::Busy;
use crate::loadgen::explain::counted;
use crate::loadgen::live::{LiveLoad, Offer, verify};
use crate::loadgen::network::Network;
use crate::loadgen::spread::Spread;

/// Before a fault, and after the node is back: everything is as it should be then.
const SETTLE: Duration = Duration::from_millis(700);
const RECORD_BYTES: usize = 100;
/// How often, and how long nothing happens, if nothing else is said.
const ROUNDS: u16 = 20;
const CALM: Duration = Duration::from_secs(600);
const LOG: &str = "bench";

impl Fault {
    /// How long the node is lost.
    fn lasts(self) -> Duration {
        match self {
            Self::Kill | Self::None => SETTLE,
            // Beyond what may be needed to notice it.
            Self::Stop | Self::Blackhole => Duration::from_secs(2),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Blackhole => "blackhole",
            Self::None => "none",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::Stop => "stopped",
            Self::Blackhole => "cut off",
            Self::None => "lost",
        }
    }
}

impl FailoverLoad {
    fn rounds(&self) -> u16 {
        self.rounds.unwrap_or(ROUNDS)
    }

    fn calm(&self) -> Duration {
        self.calm.map_or(CALM, Duration::from_secs_f64)
    }
}

/// Refuses what is about another fault than the one that is asked for.
fn check(options: &FailoverLoad) -> anyhow::Result<()> {
    let refusal = match (options.fault, options.rounds, options.calm, options.busy) {
        (Fault::None, Some(_), ..) => "--rounds means nothing with --fault none, which has no rounds: say --calm",
        (Fault::None, ..) | (_, _, None, None) => return Ok(()),
        (_, _, Some(_), _) => "--calm goes with --fault none: others last for --rounds",
        (_, _, None, Some(_)) => "--busy goes with --fault none",
    };
    Err(exit::coded(exit::USAGE, refusal))
}

pub(super) fn run(global: &Global, options: &FailoverLoad) -> anyhow::Result<()> {
    check(options)?;
    // Before any thread is started: they all belong to the network then.
    let network = (options.fault == Fault::Blackhole).then(|| Network::start(options.nodes)).transpose()?;
    let network = network.map(Arc::new);
    let interrupt = Interrupt::install()?;
    let expected = match options.fault {
        Fault::None => options.calm(),
        fault => (2 * SETTLE + fault.lasts()) * u32::from(options.rounds()),
    };
    let progress = Progress::new(&interrupt, expected);
    let site = Site { nodes: options.nodes, driver: options.driver, place: options.place.clone() };
    let plain = Load::plain(expected.as_secs_f64(), site);
    let load = Load { rate: Some(options.rate), record_bytes: RECORD_BYTES, ..plain };
    let bytes = (options.rate * expected.as_secs_f64()) as u64 * RECORD_BYTES as u64;
    let rig = Rig::start_on(network.clone(), &load, |_| bytes, &progress, &interrupt)?;
    let bench = Bench { rig: &rig, network, options, progress: &progress, interrupt: &interrupt };
    let report = bench.run();
    let report = rig.conclude(global, &progress, report, |report| text(report, options.fault))?;
    exit::verdict(report["valid"] == true)
}

fn text(report: &Value, fault: Fault) -> String {
    let (rounds, offered, unavailable) = (&report["rounds"], &report["offered_per_s"], &report["unavailable_ms"]);
    let (reconfigurations, verified) = (&report["false_reconfigurations"], &report["verified"]);
    let measured = match fault {
        Fault::None => format!(
            "nobody was lost in {}, with {}, under {offered} appends/s\n\
             longest time without an append  {} ms\n\
             reconfigurations all the same: {reconfigurations}",
            counted(report["seconds"].as_f64().unwrap_or(0.0), "second"),
            counted(&report["busy_threads"], "busy thread"),
            report["longest_gap_ms"],
        ),
        fault => format!(
            "{} the sequencer's node was {}, under {offered} appends/s\n\
             unavailable  p50 {} ms  p99 {} ms  max {} ms\n\
             reconfigurations beside those: {reconfigurations}",
            counted(rounds, "time"),
            fault.done(),
            unavailable["p50"],
            unavailable["p99"],
            unavailable["max"],
        ),
    };
    let acked = counted(&verified["acked"], "acknowledged record");
    format!("{measured}\n{acked}, {} missing, {} twice", verified["missing"], verified["twice"])
}

struct Bench<'a> {
    rig: &'a Rig<'a>,
    network: Option<Arc<Network>>,
    options: &'a FailoverLoad,
    progress: &'a Progress<'a>,
    interrupt: &'a Interrupt,
}

impl Bench<'_> {
    fn run(&self) -> anyhow::Result<Value> {
        let Self { rig, options, progress, .. } = self;
        let log = rig.create_striped_log(LOG, options.stripes.into())?;
        let offer = Offer::Open { appends_per_s: options.rate };
        let load = LiveLoad::start(log.clone(), offer, RECORD_BYTES, 0);
        let begun_at = Instant::now();
        let mut busy = 0;
        let mut faults = Vec::new();
        match options.fault {
            Fault::None => busy = self.stay_calm()?,
            _ => {
                let rounds = options.rounds();
                for round in 0..rounds {
                    let share = f64::from(round) / f64::from(rounds);
                    progress.step("failing over", share, format!("{round} of {rounds}"));
                    self.interrupt.check()?;
                    thread::sleep(SETTLE);
                    faults.push(self.lose_sequencer(&log)?);
                }
                thread::sleep(SETTLE);
            }
        }
        let seconds = begun_at.elapsed().as_secs_f64();
        let (load, _) = load.end();
        progress.step("verifying", 0.0, "reading everything back");
        let verified = verify(&log, &[&load], RECORD_BYTES).context("read the log back")?;
        let lasts = options.fault.lasts();
        let gaps: Vec<_> = faults.iter().map(|fault| load.gap(*fault, *fault + lasts)).collect();
        let longest = load.gap(begun_at, begun_at + Duration::from_secs_f64(seconds));
        let chain = log.chain().context("the log's chain")?;
        // Each fault needs one new segment, behind the first.
        let beside = chain.segments.len() as i64 - 1 - faults.len() as i64;
        let valid = verified.missing == 0 && load.failed.is_empty() && beside == 0;
        Ok(json!({
            "schema": 1,
            "bench": "failover",
            "fault": options.fault.name(),
            "stripes": options.stripes,
            "unavailable_ms": Spread::of(&gaps),
            "rounds": faults.len(),
            "false_reconfigurations": beside,
            "seconds": seconds.round(),
            "busy_threads": busy,
            "longest_gap_ms": (longest.as_secs_f64() * 1e5).round() / 1e2,
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

    /// Nothing happens, on busy processors. Returns how many threads have kept them so.
    fn stay_calm(&self) -> anyhow::Result<usize> {
        let busy = Busy::start(self.options.busy.map(usize::from));
        let (begin, calm) = (Instant::now(), self.options.calm());
        while begin.elapsed() < calm {
            let share = begin.elapsed().as_secs_f64() / calm.as_secs_f64();
            self.progress.step("calm", share, "all is well, and the processors are busy");
            if self.interrupt.wait(SETTLE.min(calm)) {
                return Err(exit::interrupted());
            }
        }
        Ok(busy.threads())
    }

    /// Takes the node of the log's sequencer away, and gives it back. Returns when it went.
    fn lose_sequencer(&self, log: &VirtualLog) -> anyhow::Result<Instant> {
        let cluster = self.rig.cluster();
        let sequencer = log.chain().context("the log's chain")?.last().loglet.first().sequencer.node;
        let mut nodes = cluster.ready().iter();
        let index = nodes.position(|node| node.node == sequencer).context("the sequencer is one of the nodes")?;
        let network = || self.network.as_ref().expect("there is one for this fault");
        let (fault, at) = (self.options.fault, Instant::now());
        match fault {
            Fault::Kill => cluster.kill(index)?,
            Fault::Stop => cluster.pause(index)?,
            Fault::Blackhole => network().cut(index)?,
            Fault::None => {}
        }
        thread::sleep(fault.lasts());
        match fault {
            Fault::Kill => cluster.restart(index, self.interrupt)?,
            Fault::Stop => cluster.resume(index)?,
            Fault::Blackhole => network().join(index)?,
            Fault::None => {}
        }
        thread::sleep(SETTLE);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_was_measured() {
        let report = |rounds: u16, unavailable: Option<Spread>| {
            json!({
                "rounds": rounds, "unavailable_ms": unavailable, "false_reconfigurations": 0, "seconds": 60.0, "busy_threads": 1,
                "longest_gap_ms": 3.5, "offered_per_s": 5000.0, "verified": { "acked": 9, "missing": 0, "twice": 0 },
            })
        };
        let calm = text(&report(0, None), Fault::None);
        assert!(
            calm.starts_with("nobody was lost in 60 seconds, with 1 busy thread, under 5000.0 appends/s\n"),
            "{calm}"
        );
        assert!(calm.contains("append  3.5 ms\nreconfigurations all the same: 0\n9 acknowledged records, 0"), "{calm}");
        assert!(!calm.contains("null"), "{calm}");
        let spread = Spread { p50: 20.0, p99: 25.0, max: 26.0 };
        let killed = text(&report(1, Some(spread)), Fault::Kill);
        assert!(killed.starts_with("1 time the sequencer's node was killed, under"), "{killed}");
        assert!(killed.contains("\nunavailable  p50 20.0 ms  p99 25.0 ms  max 26.0 ms\n"), "{killed}");
    }
}
