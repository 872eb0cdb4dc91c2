//! One run of a sweep: a row of `results.csv`.

use serde::{Deserialize, Serialize};

use super::matrix::{Offer, Point};
use crate::base::Stage;
use crate::client::AppendProfile;
use crate::loadgen::report::Report;

/// Field meanings are those of [`Report`] where the names are; a field that is empty is unknown or not applicable. Fields may be added
/// at the end, none changes its meaning.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// In the order of time, from 1.
    pub run: u32,
    /// From 1.
    pub repeat: u32,
    /// [`Point::name`].
    pub point: String,
    /// When the run began, its floor included, since the start of the sweep.
    pub started_s: f64,
    /// How long it took, with everything around the load.
    pub took_s: f64,
    /// Nodes of the cluster.
    pub nodes: i64,
    /// Shards of each.
    pub shards: i64,
    /// I/O driver that was asked for.
    pub driver: String,
    /// I/O driver that the nodes report.
    pub driver_used: String,
    /// Of every record.
    pub record_bytes: i64,
    /// Connections.
    pub clients: i64,
    /// Appends in flight on each connection, of a closed loop.
    pub inflight: Option<i64>,
    /// Of an open loop, as the matrix says it.
    pub rate: String,
    /// Of an open loop, appends a second.
    pub offered_per_s: Option<f64>,
    /// Whether the numbers mean anything.
    pub valid: bool,
    /// Why they do not, or why there are none.
    pub error: String,
    /// Acknowledged in the measured time.
    pub appends_per_s: Option<f64>,
    /// Payload bytes of these.
    pub bytes_per_s: Option<f64>,
    /// Latency of an append.
    pub p50_us: Option<f64>,
    /// Likewise.
    pub p90_us: Option<f64>,
    /// Likewise.
    pub p99_us: Option<f64>,
    /// Likewise.
    pub p999_us: Option<f64>,
    /// Likewise.
    pub max_us: Option<f64>,
    /// Samples, which are those of the run's interval in the point's log.
    pub samples: Option<u64>,
    /// The floor that was measured just before.
    pub floor_append_p50_us: Option<f64>,
    /// Likewise.
    pub floor_append_p99_us: Option<f64>,
    /// Likewise.
    pub floor_dsync_p50_us: Option<f64>,
    /// Likewise.
    pub floor_rtt_p50_us: Option<f64>,
    /// Likewise.
    pub disk_3copy_bytes_per_s: Option<f64>,
    /// `p50_us / floor_append_p50_us`.
    pub p50_over_floor: Option<f64>,
    /// `bytes_per_s / disk_3copy_bytes_per_s`.
    pub disk_share: Option<f64>,
    /// Of an open loop: how late the generator was, 99th percentile.
    pub generator_lag_us: Option<f64>,
    /// Records in one append frame.
    pub records_per_frame_mean: Option<f64>,
    /// Bytes of one durable write of a journal.
    pub unit_bytes_mean: Option<f64>,
    /// Processor time.
    pub client_ns_per_append: Option<f64>,
    /// Likewise.
    pub server_ns_per_append: Option<f64>,
    /// Times that a journal waited for prepared space.
    pub ran_out_of_prepared: Option<u64>,
    /// Appends acknowledged, warm-up included.
    pub acked: Option<u64>,
    /// Records read back and compared.
    pub read_back: Option<u64>,
    /// Acknowledged appends that were not there.
    pub missing: Option<u64>,
    /// Records that nobody has appended so.
    pub corrupt: Option<u64>,
    /// Appends that failed.
    pub failed: Option<u64>,
    /// Load average of the machine before the run.
    pub load_before: Option<f64>,
    /// After it.
    pub load_after: Option<f64>,
    /// Share of the processors' time during the run that the hypervisor gave to others.
    pub steal_share: Option<f64>,
    /// Batches of the measured time of which it is known where the time went: each is one append, its oldest record.
    pub batches: Option<u64>,
    /// Mean of a stage of these, which add up to the whole.
    pub client_queue_us: Option<f64>,
    /// Likewise.
    pub network_in_us: Option<f64>,
    /// Likewise.
    pub sequencing_us: Option<f64>,
    /// Likewise.
    pub batch_wait_us: Option<f64>,
    /// Likewise.
    pub submit_us: Option<f64>,
    /// Likewise.
    pub device_us: Option<f64>,
    /// Likewise.
    pub quorum_wait_us: Option<f64>,
    /// Likewise.
    pub release_us: Option<f64>,
    /// Likewise.
    pub network_out_us: Option<f64>,
}

impl Row {
    /// What is known of a run before it has begun.
    pub fn of(point: &Point) -> Self {
        Self {
            point: point.name(),
            nodes: point.nodes,
            shards: point.shards,
            driver: point.driver.clone(),
            record_bytes: point.record_bytes,
            clients: point.clients,
            inflight: match point.offer {
                Offer::Inflight(inflight) => Some(inflight),
                Offer::Rate(_) => None,
            },
            rate: match point.offer {
                Offer::Inflight(_) => String::new(),
                Offer::Rate(rate) => rate.to_string(),
            },
            ..Self::default()
        }
    }

    /// With what the run has come to.
    pub fn with(self, report: &Report, profile: &AppendProfile) -> Self {
        let (latency, floor, verified) = (&report.latency_us, &report.floor_us, &report.verified);
        Self {
            driver_used: report.driver.clone(),
            offered_per_s: report.offered_per_s,
            valid: report.valid,
            error: fault(report).unwrap_or_default(),
            appends_per_s: Some(report.appends_per_s),
            bytes_per_s: Some(report.bytes_per_s),
            p50_us: Some(latency.p50),
            p90_us: Some(latency.p90),
            p99_us: Some(latency.p99),
            p999_us: Some(latency.p999),
            max_us: Some(latency.max),
            samples: Some(latency.n),
            floor_append_p50_us: Some(floor.append_p50),
            floor_append_p99_us: Some(floor.append_p99),
            floor_dsync_p50_us: Some(floor.dsync_p50),
            floor_rtt_p50_us: Some(floor.rtt_p50),
            disk_3copy_bytes_per_s: Some(report.disk_3copy_bytes_per_s),
            p50_over_floor: Some(report.p50_over_floor),
            disk_share: Some(report.disk_share),
            generator_lag_us: report.generator_lag_us,
            records_per_frame_mean: report.records_per_frame_mean,
            unit_bytes_mean: report.unit_bytes_mean,
            client_ns_per_append: report.cpu.client_ns_per_append,
            server_ns_per_append: report.cpu.server_ns_per_append,
            ran_out_of_prepared: report.ran_out_of_prepared,
            acked: Some(verified.acked),
            read_back: Some(verified.read_back),
            missing: Some(verified.missing),
            corrupt: Some(verified.corrupt),
            failed: Some(report.failed),
            ..self.with_stages(profile)
        }
    }

    fn with_stages(self, profile: &AppendProfile) -> Self {
        let batches = profile.whole().len();
        if batches == 0 {
            return self;
        }
        let mean = |stage| Some((profile.stage(stage).mean() / 10.0).round() / 100.0);
        Self {
            batches: Some(batches),
            client_queue_us: mean(Stage::ClientQueue),
            network_in_us: mean(Stage::NetworkIn),
            sequencing_us: mean(Stage::Sequencing),
            batch_wait_us: mean(Stage::BatchWait),
            submit_us: mean(Stage::Submit),
            device_us: mean(Stage::Device),
            quorum_wait_us: mean(Stage::QuorumWait),
            release_us: mean(Stage::Release),
            network_out_us: mean(Stage::NetworkOut),
            ..self
        }
    }

    /// The means of all stages in microseconds, in their order, if they are known.
    pub fn stages(&self) -> Option<[f64; Stage::ALL.len()]> {
        Some([
            self.client_queue_us?,
            self.network_in_us?,
            self.sequencing_us?,
            self.batch_wait_us?,
            self.submit_us?,
            self.device_us?,
            self.quorum_wait_us?,
            self.release_us?,
            self.network_out_us?,
        ])
    }
}

/// Why a report is not valid.
fn fault(report: &Report) -> Option<String> {
    if report.valid {
        None
    } else if let Some(error) = &report.first_error {
        Some(format!("{} appends failed; the first: {error}", report.failed))
    } else if !report.verified.holds() {
        Some(format!("the verification failed: {:?}", report.verified))
    } else if report.latency_us.n == 0 {
        Some("nothing was acknowledged in the measured time".to_owned())
    } else {
        let lag = report.generator_lag_us.unwrap_or(0.0);
        Some(format!("the generator fell behind its own timetable (p99 {lag} us late)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::profile_of;

    #[test]
    fn a_run_that_was_profiled_has_all_stages_and_another_none() {
        assert_eq!(Row::default().with_stages(&AppendProfile::default()).stages(), None);
        let row = Row::default().with_stages(&profile_of(&[1_000_000, 3_000_000]));
        let stages = row.stages().unwrap();
        assert_eq!(row.batches, Some(2));
        for stage in Stage::ALL {
            let expected = if stage == Stage::Device { 2_000.0 } else { 0.0 };
            assert!((stages[stage as usize] - expected).abs() <= expected / 500.0, "{}", stage.name());
        }
        assert_eq!(row.device_us, Some(stages[Stage::Device as usize]));
    }
}
