//! `naxos bench stall`: what an append takes while one of the LogServers is stopped, and how long that one needs to catch up.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::args::{self, Driver, Global, Place, Site};
use super::bench_cluster::BenchCluster;
use super::bench_plan::{check_realtime, journal_bytes, plan};
use super::bench_rig::{Ran, Rig};
use super::exit;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use crate::base::{LogletId, NodeId, Offset};
use crate::client::VirtualLog;
use crate::loadgen::explain::{count, counted, micros, verification};
use crate::loadgen::generator::{Pace, Plan};
use crate::loadgen::report::Latency;
use crate::loadgen::stall::{Running, read_back, run as load};
use crate::loadgen::verify::Verified;

/// The closed loop from which the offered rate follows.
const PEAK: Duration = Duration::from_secs(1);
const PEAK_WARM_UP: Duration = Duration::from_millis(500);
/// Between two looks at how far the node has come.
const POLL: Duration = Duration::from_millis(20);
/// How long it may need.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);
const LOG: &str = "bench";

#[derive(Debug, Clone, Args)]
pub(super) struct StallLoad {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(3..=15))]
    pub(super) nodes: u16,
    /// Load before the node is stopped, and again from when it goes on
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = args::seconds)]
    pub(super) seconds: f64,
    /// How long it is stopped
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = args::seconds)]
    pub(super) stop: f64,
    /// Load before all that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = args::seconds)]
    pub(super) warm_up: f64,
    /// Appends a second over all connections [default: a share of a peak that is measured first]
    #[arg(long, value_name = "APPENDS_PER_S", value_parser = args::rate)]
    pub(super) rate: Option<f64>,
    /// Give the thread that makes the appends real-time priority, so that it is not late where it shares processors with the nodes: needs root,
    /// CAP_SYS_NICE or `ulimit -r`
    #[arg(long)]
    pub(super) realtime: bool,
    /// Share of the peak that is offered
    #[arg(long, value_name = "SHARE", default_value = "0.5", conflicts_with = "rate", value_parser = args::share)]
    pub(super) share: f64,
    /// Size of every record; at least 24, which tell where it comes from
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(super) record_bytes: usize,
    /// Connections
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(super) clients: u32,
    /// Of the peak: appends in flight on each connection
    #[arg(long, default_value_t = 2500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) inflight: u32,
    /// Journal bytes of each node to prepare before the load [default: estimated from the floor]
    #[arg(long, value_name = "BYTES")]
    pub(super) prepare_bytes: Option<u64>,
    #[command(flatten)]
    pub(super) driver: Driver,
    #[command(flatten)]
    pub(super) place: Place,
}

/// The object that `bench stall --json` prints.
#[derive(Serialize)]
struct Report {
    schema: u32,
    bench: &'static str,
    clients: u32,
    record_bytes: usize,
    /// Before the stop, and after it.
    seconds: f64,
    stop_s: f64,
    /// Null if the rate was given.
    peak_appends_per_s: Option<f64>,
    load_share: Option<f64>,
    offered_per_s: f64,
    /// Whether the load's thread had real-time priority.
    realtime: bool,
    /// Appends that were due in each span.
    before_us: Latency,
    stopped_us: Latency,
    after_us: Latency,
    /// `stopped_us.p99 / before_us.p99`.
    p99_ratio: f64,
    /// The LogServer that was stopped.
    stopped_node: NodeId,
    /// Records that it had not answered for when it went on.
    behind_records: u64,
    /// From when it went on until it answered stores at the tail again; null if it did not.
    caught_up_ms: Option<f64>,
    /// Of these, records of which it has no copy then: what the sequencer no longer kept for it.
    not_copied_records: Option<u64>,
    /// Changes of the log's chain.
    reconfigurations: u64,
    failed: u64,
    first_error: Option<String>,
    /// 99th percentile of how late the generator took appends up.
    generator_lag_us: f64,
    verified: Verified,
    valid: bool,
    #[serde(flatten)]
    ran: Ran,
}

pub(super) fn run(global: &Global, options: &StallLoad) -> anyhow::Result<()> {
    let site = Site { nodes: options.nodes, driver: options.driver, place: options.place.clone() };
    let options_of_load = Load {
        warm_up: options.warm_up,
        record_bytes: options.record_bytes,
        clients: options.clients,
        inflight: options.inflight,
        prepare_bytes: options.prepare_bytes,
        ..Load::plain(2.0 * options.seconds + options.stop, site)
    };
    // With the pace of the peak, which the offered one follows from.
    let closed = plan(&options_of_load)?;
    check_realtime(options.realtime)?;
    let interrupt = Interrupt::install()?;
    let mut progress = Progress::new(&interrupt, closed.warm_up + closed.measured);
    // On a cluster of its own: only its result says how much space the load itself needs.
    let peak = match options.rate {
        Some(_) => None,
        None => {
            let plan = Plan { warm_up: PEAK_WARM_UP, measured: PEAK, ..closed.clone() };
            let bytes = |floor: &_| journal_bytes(&plan, options.clients, floor);
            let rig = Rig::start(&options_of_load, bytes, &progress, &interrupt)?;
            let peak = Bench { rig: &rig, options }.peak(&plan, &mut progress).map_err(|error| rig.explain(error))?;
            rig.stop()?;
            Some(peak)
        }
    };
    let share_of_peak = peak.as_ref().map(|peak| (peak.appends_per_s * options.share).round());
    let appends_per_s = options.rate.or(share_of_peak).expect("a peak is measured where no rate is given");
    let plan = Plan { pace: Pace::Open { appends_per_s }, realtime: options.realtime, ..closed };
    let bytes = |floor: &_| journal_bytes(&plan, options.clients, floor);
    let rig = Rig::start(&options_of_load, bytes, &progress, &interrupt)?;
    let report = Bench { rig: &rig, options }.run(peak, appends_per_s, &plan, &mut progress);
    let report = rig.conclude(global, &progress, report, |report| text(report).trim_end().to_owned())?;
    exit::verdict(report.valid)
}

/// A node that does not run; it goes on when this goes, however that comes about.
struct Stopped<'a> {
    cluster: &'a BenchCluster,
    index: usize,
}

impl<'a> Stopped<'a> {
    fn stop(cluster: &'a BenchCluster, index: usize) -> anyhow::Result<Self> {
        cluster.pause(index)?;
        Ok(Self { cluster, index })
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // Nodes that cannot be resumed could not be stopped.
        let _ = self.cluster.resume(self.index);
    }
}

/// What the closed loop has come to.
struct Peak {
    appends_per_s: f64,
    verified: Verified,
}

/// What became of the node.
struct Recovery {
    behind_records: u64,
    caught_up: Option<Duration>,
    not_copied_records: Option<u64>,
}

struct Bench<'a> {
    rig: &'a Rig<'a>,
    options: &'a StallLoad,
}

impl Bench<'_> {
    fn run(
        &self,
        peak: Option<Peak>,
        offered: f64,
        plan: &Plan,
        progress: &mut Progress<'_>,
    ) -> anyhow::Result<Report> {
        let Self { rig, options } = self;
        let (before, stop) = (Duration::from_secs_f64(options.seconds), Duration::from_secs_f64(options.stop));
        let log = rig.create_virtual_log(LOG)?;
        let chain = log.chain().context("the log's chain")?;
        let sequencer = chain.last().loglet.first().sequencer.node;
        let nodes = rig.cluster().ready();
        let index = nodes.iter().position(|node| node.node != sequencer).context("there is another node")?;
        let stalled = Stalled { rig, loglet: chain.last().loglet.id(), sequencer, node: nodes[index].node, index };
        let ends = [plan.warm_up + before, plan.warm_up + before + stop, plan.warm_up + plan.measured];
        let logs = self.handles()?;
        let (generated, recovery) =
            load(logs, plan, &ends, progress, |running: &mut Running<'_>| stalled.watch(running, &ends))?;
        let verified = read_back(&log, plan, &generated.ledgers, progress)?;
        let reconfigurations = log.chain().context("the log's chain")?.version - chain.version;
        let [before_us, stopped_us, after_us] = [0, 1, 2].map(|span: usize| Latency::of(&generated.spans[span]));
        let peak_is_sound = peak.as_ref().is_none_or(|peak| peak.verified.holds());
        Ok(Report {
            schema: 1,
            bench: "stall",
            clients: options.clients,
            record_bytes: plan.record_bytes,
            seconds: options.seconds,
            stop_s: options.stop,
            peak_appends_per_s: peak.map(|peak| peak.appends_per_s.round()),
            load_share: options.rate.is_none().then_some(options.share),
            offered_per_s: offered,
            realtime: plan.realtime,
            before_us,
            stopped_us,
            after_us,
            p99_ratio: (stopped_us.p99 / before_us.p99 * 1e3).round() / 1e3,
            stopped_node: stalled.node,
            behind_records: recovery.behind_records,
            caught_up_ms: recovery.caught_up.map(|time| (time.as_secs_f64() * 1e4).round() / 10.0),
            not_copied_records: recovery.not_copied_records,
            reconfigurations,
            failed: generated.failed,
            first_error: generated.first_error.clone(),
            generator_lag_us: generated.lag_us().unwrap_or_default(),
            verified,
            valid: generated.kept_up()
                && generated.failed == 0
                && generated.spans.iter().all(|span| !span.is_empty())
                && verified.holds()
                && peak_is_sound
                && reconfigurations == 0
                && recovery.caught_up.is_some(),
            ran: rig.ran(plan),
        })
    }

    /// Of each client its own, with connections of its own.
    fn handles(&self) -> anyhow::Result<Vec<VirtualLog>> {
        let cluster = self.rig.client.cluster(&self.rig.addresses()).context("cannot find the cluster")?;
        let open = |_| cluster.open_log(LOG).context("cannot open the log");
        (0..self.options.clients).map(open).collect()
    }

    /// Appends a second of a closed loop, read back like everything else.
    fn peak(&self, plan: &Plan, progress: &mut Progress<'_>) -> anyhow::Result<Peak> {
        let all = plan.warm_up + plan.measured;
        let log = self.rig.create_virtual_log(LOG)?;
        let logs = self.handles()?;
        let (generated, ()) = load(logs, plan, &[], progress, |running: &mut Running<'_>| running.wait_until(all))?;
        if let Some(error) = &generated.first_error {
            anyhow::bail!("an append of the closed loop that measures the peak has failed: {error}");
        }
        let verified = read_back(&log, plan, &generated.ledgers, progress)?;
        anyhow::ensure!(generated.appended > 0, "nothing was acknowledged while the peak was measured");
        Ok(Peak { appends_per_s: generated.appended as f64 / plan.measured.as_secs_f64(), verified })
    }
}

/// The node that is stopped, and the one that sequences.
struct Stalled<'a> {
    rig: &'a Rig<'a>,
    loglet: LogletId,
    sequencer: NodeId,
    node: NodeId,
    index: usize,
}

/// What the sequencer says of the LogServer.
struct Standing {
    known_tail: Offset,
    acked: Offset,
    behind_records: u64,
}

impl Stalled<'_> {
    /// Stops the node from the end of the first span to the end of the second, and waits until it has caught up.
    fn watch(&self, running: &mut Running<'_>, ends: &[Duration; 3]) -> anyhow::Result<Recovery> {
        running.wait_until(ends[0])?;
        let stopped = Stopped::stop(self.rig.cluster(), self.index)?;
        running.wait_until(ends[1])?;
        let mut before = self.standing()?;
        let behind_records = before.behind_records;
        drop(stopped);
        let resumed = Instant::now();
        let caught_up = loop {
            let now = self.standing()?;
            // At the tail is who has answered for what was known a moment ago: stores are always on the way.
            if now.acked >= before.known_tail {
                break Some(resumed.elapsed());
            }
            if resumed.elapsed() > CATCH_UP_MAX {
                break None;
            }
            before = now;
            running.wait_until(running.elapsed() + POLL)?;
        };
        running.wait_until(ends[2])?;
        Ok(Recovery { behind_records, caught_up, not_copied_records: self.not_copied()? })
    }

    /// Of the shards of this node, what each has of this kind.
    fn shards(&self, node: NodeId, of: &str) -> anyhow::Result<Vec<Value>> {
        let ready =
            self.rig.cluster().ready().iter().find(|ready| ready.node == node).context("it is one of the nodes")?;
        let status = self.rig.client.status(ready.address);
        let mut status = status.with_context(|| format!("node {node} does not report its status"))?;
        let shards = status["shards"].as_array_mut().context("a status has shards")?;
        Ok(shards.iter_mut().filter_map(|shard| shard[of].as_array().cloned()).flatten().collect())
    }

    fn standing(&self) -> anyhow::Result<Standing> {
        let (node, loglet) = (serde_json::to_value(self.node)?, serde_json::to_value(self.loglet)?);
        let sequencers = self.shards(self.sequencer, "sequencers")?;
        let sequencer = sequencers.iter().find(|sequencer| sequencer["loglet"] == loglet);
        let sequencer = sequencer.context("the sequencer's node says nothing of its sequencer")?;
        let number = |value: &Value| value.as_u64().with_context(|| format!("a number, and not {value}"));
        let servers = sequencer["log_servers"].as_array().context("a sequencer has LogServers")?;
        let server = servers.iter().find(|server| server["node"] == node).context("the LogServer is one of its own")?;
        Ok(Standing {
            known_tail: Offset(number(&sequencer["known_tail"])?),
            acked: Offset(number(&server["acked"])?),
            behind_records: number(&server["behind"])?,
        })
    }

    /// Records below its tail of which the node has no copy.
    fn not_copied(&self) -> anyhow::Result<Option<u64>> {
        let id = serde_json::to_value(self.loglet)?;
        let loglets = self.shards(self.node, "loglets")?;
        Ok(loglets.iter().find(|loglet| loglet["id"] == id).and_then(|loglet| loglet["missing"].as_u64()))
    }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("a string takes everything");
    let peak = match report.peak_appends_per_s {
        Some(peak) => format!(", {} of {} appends/s in a closed loop", report.load_share.unwrap_or(1.0), count(peak)),
        None => String::new(),
    };
    line(format!(
        "{}, quorum {}, {} B records, {}, {} appends/s offered{peak}",
        counted(report.ran.nodes, "node"),
        report.ran.quorum,
        report.record_bytes,
        counted(report.clients, "connection"),
        count(report.offered_per_s)
    ));
    let spans = [
        ("before", report.seconds, &report.before_us),
        ("one node stopped", report.stop_s, &report.stopped_us),
        ("after", report.seconds, &report.after_us),
    ];
    for (name, seconds, latency) in spans {
        line(format!(
            "  {name:<18}{seconds:>4} s  p50 {}  p99 {}  max {}",
            micros(latency.p50),
            micros(latency.p99),
            micros(latency.max)
        ));
    }
    line(format!("  p99 while one node was stopped is {} of that before", report.p99_ratio));
    let behind = counted(count(report.behind_records as f64), "record");
    line(match report.caught_up_ms {
        Some(ms) => {
            format!("  node {} was {behind} behind, and at the tail after {ms} ms", report.stopped_node)
        }
        None => format!("  node {} was {behind} behind, and HAS NOT CAUGHT UP", report.stopped_node),
    });
    if let Some(missing @ 1..) = report.not_copied_records {
        line(format!("  of {} records it has no copy; the others are a majority for them", count(missing as f64)));
    }
    line(format!("  reconfigurations: {}", report.reconfigurations));
    line(verification(&report.verified));
    if let Some(error) = &report.first_error {
        line(format!("  {} failed; the first: {error}", counted(report.failed, "append")));
    }
    if !report.valid {
        line(format!(
            "  INVALID: appends failed, records are not as they should be, the log was reconfigured, the node has not caught up, \
             or the generator fell behind its timetable (p99 {} late)",
            micros(report.generator_lag_us)
        ));
    }
    out
}
