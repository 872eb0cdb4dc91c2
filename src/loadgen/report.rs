//! The result of a load: one JSON object on one line, or the same for people ([`super::explain`]).

use serde::Serialize;

use super::counters::{NodeCounters, mean};
use super::floor::Floor;
use super::generator::{Pace, Plan};
use super::machine::Machine;
use super::run::Measured;
use super::verify::Verified;
use super::witness::Checked;
use crate::base::Limits;

/// What is known about a load beside its measurement.
#[derive(Clone, Debug)]
pub struct Setup {
    /// I/O driver of the nodes, as they report it.
    pub driver: String,
    /// See [`Report::sequencer`].
    pub sequencer: &'static str,
    /// `quorum-dsync`, or `volatile` when the directory loses its content with the power.
    pub durability: &'static str,
    /// Processes that took part, the client's included.
    pub processes: usize,
    /// LogServers.
    pub nodes: usize,
    /// Of those of one stripe, how many make an append durable.
    pub quorum: usize,
    /// Stripes of the log.
    pub stripes: usize,
    /// See [`Report::idle_stripes`].
    pub idle_stripes: usize,
    /// Connections of the load.
    pub clients: usize,
    /// Journal bytes that were prepared before the load, over all nodes.
    pub prepared_bytes: u64,
    /// Of the checkout that the program was built in.
    pub commit: Option<String>,
}

/// The object that `bench append --json` prints. Field meanings are those of the printed names; times are microseconds,
/// `null` is unknown or not applicable. Fields may be added under the same schema number, none changes its meaning.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// 1.
    pub schema: u32,
    /// I/O driver of the nodes.
    pub driver: String,
    /// See [`Setup::durability`].
    pub durability: &'static str,
    /// `tcp`.
    pub transport: &'static str,
    /// `node`; or in the client's process, and reached through memory: `embedded`, on the client's thread, or `embedded-own-thread`.
    pub sequencer: &'static str,
    /// Processes that took part.
    pub processes: usize,
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub loop_: &'static str,
    /// LogServers.
    pub nodes: usize,
    /// Of them, how many make an append durable.
    pub quorum: usize,
    /// Loglets that the log is divided into.
    pub stripes: usize,
    /// Of them, how many nobody appended to.
    pub idle_stripes: usize,
    /// What kept these level; null with one.
    pub fillers: Option<Fillers>,
    /// Of every record.
    pub record_bytes: usize,
    /// Connections.
    pub clients: usize,
    /// Appends in flight on each connection; null in an open loop.
    pub inflight: Option<usize>,
    /// Measured time.
    pub seconds: f64,
    /// Acknowledged in the measured time.
    pub appends_per_s: f64,
    /// Payload bytes of these.
    pub bytes_per_s: f64,
    /// The rate asked for; null in a closed loop.
    pub offered_per_s: Option<f64>,
    /// Whether the thread that makes the appends has had real-time priority.
    pub realtime: bool,
    /// 99th percentile of how late the generator took appends up; null in a closed loop.
    pub generator_lag_us: Option<f64>,
    /// False when appends failed, the verification did, the generator fell behind, or a log that is trimmed was not in its steady state:
    /// then the numbers mean nothing.
    pub valid: bool,
    /// Records in one append frame.
    pub records_per_frame_mean: Option<f64>,
    /// Bytes of one durable write of a journal.
    pub unit_bytes_mean: Option<f64>,
    /// Journal bytes prepared before the load, over all nodes.
    pub prepared_bytes: u64,
    /// Of appends.
    pub latency_us: Latency,
    /// Of this machine.
    pub floor_us: Floor,
    /// `latency_us.p50 / floor_us.append_p50`.
    pub p50_over_floor: f64,
    /// Durable sequential bytes per second of each copy, all copies written at once.
    pub disk_3copy_bytes_per_s: f64,
    /// `bytes_per_s / disk_3copy_bytes_per_s`.
    pub disk_share: f64,
    /// Work of the disk in the measured time, of everything on the machine; null without a block device.
    pub device: Option<super::device::DeviceCounters>,
    /// Processor time for each append.
    pub cpu: Cpu,
    /// Of everything appended, warm-up included.
    pub verified: Verified,
    /// The verdict on its history; null unless asked for.
    pub history: Option<Checked>,
    /// What trims behind the load have given back; null unless asked for.
    pub trim: Option<Trim>,
    /// See [`super::io_wq`].
    pub io_wq_ops: u64,
    /// `tracefs` or `threads`.
    pub io_wq_method: &'static str,
    /// Where it ran.
    pub machine: Machine,
    /// Of the checkout that the program was built in.
    pub commit: Option<String>,
    /// Appends that failed.
    pub failed: u64,
    /// Why the first of them did.
    pub first_error: Option<String>,
    /// Times that a journal waited for prepared space during the load; not zero means it was measured as well.
    pub ran_out_of_prepared: Option<u64>,
    /// Times that a client's window was full when it had an append to make.
    pub window_full: u64,
    /// Of the payloads.
    pub seed: u64,
}

/// A log that is trimmed while it is appended to. Segments are those of the measured time, over all nodes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Trim {
    /// Payload bytes that were kept, at least.
    pub behind_bytes: u64,
    /// The first offset that is left.
    pub trim_point: u64,
    /// How many trims there were, warm-up included.
    pub trims: u64,
    /// Freed by them for another use.
    pub segments_recycled: Option<u64>,
    /// Bytes of these.
    pub recycled_bytes: Option<u64>,
    /// Prepared: space that was not there before.
    pub segments_prepared: Option<u64>,
    /// Bytes of these.
    pub prepared_bytes: Option<u64>,
}

impl Trim {
    fn new(plan: &Plan, measured: &Measured) -> Option<Self> {
        let (behind, trimmed) = plan.trim_behind.zip(measured.trimmed)?;
        let nodes = measured.nodes_in_window.unwrap_or_default();
        let bytes = |segments: Option<u64>| Some(segments? * Limits::default().segment_bytes);
        Some(Self {
            behind_bytes: behind.records * plan.record_bytes as u64,
            trim_point: trimmed.point.0,
            trims: trimmed.trims,
            segments_recycled: nodes.segments_recycled,
            recycled_bytes: bytes(nodes.segments_recycled),
            segments_prepared: nodes.segments_prepared,
            prepared_bytes: bytes(nodes.segments_prepared),
        })
    }

    /// Whether the load has lived on what its trims gave back, and on nothing else.
    pub fn is_steady(&self) -> bool {
        self.segments_recycled.is_some_and(|segments| segments > 0) && self.segments_prepared == Some(0)
    }
}

/// No-ops that sequencers have placed because another stripe was ahead, warm-up included.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Fillers {
    /// How many.
    pub records: u64,
    /// Of all that was stored for each copy, records with their lengths and checksums.
    pub share_of_bytes: f64,
}

impl Fillers {
    fn new(setup: &Setup, nodes: &NodeCounters, record_bytes: usize) -> Option<Self> {
        let (records, bytes, appended) = (nodes.no_ops?, nodes.no_op_bytes?, nodes.append_records?);
        let all = bytes + appended * (record_bytes as u64 + u64::from(Limits::RECORD_OVERHEAD));
        (setup.stripes > 1).then(|| Self { records, share_of_bytes: bytes as f64 / all.max(1) as f64 })
    }
}

/// A distribution, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Latency {
    /// Samples.
    pub n: u64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

impl Latency {
    /// Of a histogram in nanoseconds.
    pub fn of(nanos: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |quantile| tenths(nanos.value_at_quantile(quantile) as f64 / 1e3);
        Self {
            n: nanos.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: tenths(nanos.max() as f64 / 1e3),
        }
    }
}

/// Processor time, in nanoseconds for each append of the measured time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Cpu {
    /// Of the generator and the client library; of the nodes as well when they run in the same process.
    pub client_ns_per_append: Option<f64>,
    /// Of all nodes; null when they run in the client's process.
    pub server_ns_per_append: Option<f64>,
}

/// More digits than the measurement has would only pretend.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl Report {
    /// Puts a result together.
    pub fn new(setup: &Setup, plan: &Plan, measured: &Measured, floor: Floor, machine: Machine) -> Self {
        let generated = &measured.generated;
        let seconds = plan.measured.as_secs_f64();
        let appends_per_s = generated.appended as f64 / seconds;
        let bytes_per_s = appends_per_s * plan.record_bytes as f64;
        let latency = Latency::of(&generated.latency);
        let per_append =
            |time: std::time::Duration| Some(tenths(time.as_nanos() as f64 / generated.appended.max(1) as f64));
        let (loop_, inflight, offered) = match plan.pace {
            Pace::Closed { inflight } => ("closed", Some(inflight), None),
            Pace::Open { appends_per_s } => ("open", None, Some(appends_per_s)),
        };
        let nodes = measured.nodes;
        let trim = Trim::new(plan, measured);
        Self {
            schema: 1,
            driver: setup.driver.clone(),
            durability: setup.durability,
            transport: "tcp",
            sequencer: setup.sequencer,
            processes: setup.processes,
            loop_,
            nodes: setup.nodes,
            quorum: setup.quorum,
            stripes: setup.stripes,
            idle_stripes: setup.idle_stripes,
            fillers: Fillers::new(setup, &nodes, plan.record_bytes),
            record_bytes: plan.record_bytes,
            clients: setup.clients,
            inflight,
            seconds,
            appends_per_s: tenths(appends_per_s),
            bytes_per_s: tenths(bytes_per_s),
            offered_per_s: offered,
            realtime: plan.realtime,
            generator_lag_us: generated.lag_us(),
            valid: generated.kept_up()
                && generated.failed == 0
                && generated.appended > 0
                && measured.verified.holds()
                && measured.history.as_ref().is_none_or(|history| history.violations.is_empty())
                && trim.is_none_or(|trim| trim.is_steady()),
            records_per_frame_mean: mean(nodes.append_records, nodes.append_frames).map(tenths),
            unit_bytes_mean: mean(nodes.unit_bytes, nodes.units).map(tenths),
            prepared_bytes: setup.prepared_bytes,
            latency_us: latency,
            floor_us: floor.rounded(),
            p50_over_floor: thousandths(latency.p50 / floor.append_p50),
            disk_3copy_bytes_per_s: floor.disk_copy_bytes_per_s.round(),
            disk_share: thousandths(bytes_per_s / floor.disk_copy_bytes_per_s),
            device: measured.device,
            cpu: Cpu {
                client_ns_per_append: per_append(measured.client_cpu),
                server_ns_per_append: measured.server_cpu.and_then(per_append),
            },
            verified: measured.verified,
            history: measured.history.clone(),
            trim,
            io_wq_ops: measured.io_wq.operations,
            io_wq_method: measured.io_wq.method,
            machine,
            commit: setup.commit.clone(),
            failed: generated.failed,
            first_error: generated.first_error.clone(),
            ran_out_of_prepared: nodes.ran_out_of_prepared,
            window_full: generated.window_full,
            seed: plan.seed,
        }
    }
}

impl Floor {
    /// To tenths of microseconds.
    pub fn rounded(self) -> Self {
        Self {
            dsync_p50: tenths(self.dsync_p50),
            dsync_p99: tenths(self.dsync_p99),
            rtt_p50: tenths(self.rtt_p50),
            rtt_p99: tenths(self.rtt_p99),
            round_trips: self.round_trips,
            append_p50: tenths(self.append_p50),
            append_p99: tenths(self.append_p99),
            disk_copy_bytes_per_s: self.disk_copy_bytes_per_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_state_recycles_and_prepares_nothing() {
        let trim = |segments_recycled, segments_prepared| Trim {
            behind_bytes: 1 << 30,
            trim_point: 9,
            trims: 3,
            segments_recycled,
            recycled_bytes: None,
            segments_prepared,
            prepared_bytes: None,
        };
        assert!(trim(Some(1), Some(0)).is_steady());
        for (recycled, prepared) in [(Some(0), Some(0)), (Some(5), Some(1)), (None, Some(0)), (Some(5), None)] {
            assert!(!trim(recycled, prepared).is_steady(), "{recycled:?} {prepared:?}");
        }
    }
}
