//! Where the appends of a load spent their time: the numbers of a latency profile.

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::base::{NodeId, Offset, Stage};
use crate::client::{AppendProfile, SlowAppend};

/// The slowest appends in a report.
const SLOWEST: usize = 10;

/// The object that `bench profile --json` adds to that of `bench append`. Times are microseconds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StageReport {
    /// Batches that were acknowledged in the measured time: each is one append here, its oldest record.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// From the client's queue to the way back.
    pub stages: Vec<StageTimes>,
    /// From the record's coming into a batch until whoever waits was told; measured by itself.
    pub whole: StageTimes,
    /// The means of all stages together, over that of the whole.
    pub stages_over_whole: f64,
    /// The slowest first.
    pub slowest: Vec<Slow>,
    /// What each node says of its own stores.
    pub nodes: Vec<NodeTimes>,
}

/// A distribution.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StageTimes {
    /// Of what.
    pub stage: &'static str,
    /// Samples.
    pub n: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
    /// Of the mean of the whole.
    pub share: f64,
}

/// One of the slowest appends.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Slow {
    /// The offset of its first record.
    pub first: Offset,
    /// Records in its batch.
    pub records: u32,
    /// All stages.
    pub total_us: f64,
    /// By name.
    pub stages_us: Map<String, Value>,
    /// The stage that took longest.
    pub longest: &'static str,
    /// The node whose answer completed the majority: the one that was late, where it is the quorum that was waited for.
    pub last_node: Option<NodeId>,
}

/// A node's own account, of its life: warm-up and whatever else there was included. Percentiles are upper bounds within a factor
/// of 1.5.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NodeTimes {
    /// Which.
    pub node: String,
    /// `batch_wait`, `submit` and `device` of a unit of its journal.
    pub store: Vec<(String, Value)>,
    /// How long the sequencer has waited for its answers.
    pub answer: Option<Value>,
}

fn round(micros: f64) -> f64 {
    (micros * 100.0).round() / 100.0
}

impl StageTimes {
    fn of(stage: &'static str, nanos: &Histogram<u64>, whole_mean: f64) -> Self {
        let at = |quantile| round(nanos.value_at_quantile(quantile) as f64 / 1e3);
        let share = if whole_mean > 0.0 { nanos.mean() / whole_mean } else { 0.0 };
        Self {
            stage,
            n: nanos.len(),
            mean: round(nanos.mean() / 1e3),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: round(nanos.max() as f64 / 1e3),
            share: (share * 1e4).round() / 1e4,
        }
    }
}

impl Slow {
    fn of(append: &SlowAppend) -> Self {
        let micros = |nanos: u64| round(nanos as f64 / 1e3);
        let stages = Stage::ALL.iter().zip(append.stages);
        let longest = Stage::ALL.iter().zip(append.stages).max_by_key(|(_, nanos)| *nanos);
        Self {
            first: append.first,
            records: append.records,
            total_us: micros(append.nanos()),
            stages_us: stages.map(|(stage, nanos)| (stage.name().to_owned(), json!(micros(nanos)))).collect(),
            longest: longest.map_or("", |(stage, _)| stage.name()),
            last_node: append.last,
        }
    }

    /// Microseconds of a stage.
    pub fn stage_us(&self, stage: Stage) -> f64 {
        self.stages_us[stage.name()].as_f64().unwrap_or(0.0)
    }
}

impl StageReport {
    /// Of a profile, and of what the nodes say.
    pub fn new(profile: &AppendProfile, statuses: &[Value]) -> Self {
        let mean = profile.whole().mean();
        let stages = Stage::ALL.map(|stage| StageTimes::of(stage.name(), profile.stage(stage), mean));
        let sum: f64 = Stage::ALL.iter().map(|stage| profile.stage(*stage).mean()).sum();
        Self {
            batches: profile.whole().len(),
            records: profile.records(),
            stages: stages.into(),
            whole: StageTimes::of("whole", profile.whole(), mean),
            stages_over_whole: if mean > 0.0 { (sum / mean * 1e4).round() / 1e4 } else { 0.0 },
            slowest: profile.slowest().take(SLOWEST).map(Slow::of).collect(),
            nodes: statuses.iter().map(|status| NodeTimes::of(status, statuses)).collect(),
        }
    }

    /// Whether anything was measured, and the stages make up the whole.
    pub fn holds(&self) -> bool {
        self.batches > 0 && (self.stages_over_whole - 1.0).abs() <= 0.05
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn short(latency: &Value) -> Value {
    let (events, sum) = (latency["events"].as_u64().unwrap_or(0), latency["sum_ns"].as_u64().unwrap_or(0));
    let mean = (events > 0).then(|| round(sum as f64 / events as f64 / 1e3));
    json!({ "n": events, "mean": mean, "p50": latency["p50_us"], "p99": latency["p99_us"], "max": latency["max_us"] })
}

impl NodeTimes {
    fn of(status: &Value, all: &[Value]) -> Self {
        let busiest = |latencies: Vec<&Value>| {
            let busiest = latencies.into_iter().max_by_key(|latency| latency["events"].as_u64());
            busiest.filter(|latency| latency["events"].as_u64() > Some(0)).map(short)
        };
        let store = ["batch_wait", "submit", "device"].into_iter().filter_map(|part| {
            let parts = items(&status["shards"]).map(|shard| &shard["latency_profile"]["store"][part]);
            Some((part.to_owned(), busiest(parts.collect())?))
        });
        let shards = all.iter().flat_map(|status| items(&status["shards"]));
        let servers = shards.flat_map(|shard| items(&shard["sequencers"])).flat_map(|it| items(&it["log_servers"]));
        let own = servers.filter(|server| server["node"] == status["node"]);
        Self {
            node: status["node"].as_str().unwrap_or("?").to_owned(),
            store: store.collect(),
            answer: busiest(own.map(|server| &server["answer_latency"]).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_is_nothing_valid() {
        let report = StageReport::new(&AppendProfile::default(), &[]);
        assert!(!report.holds());
        assert_eq!((report.batches, report.stages.len(), report.slowest.len()), (0, Stage::ALL.len(), 0));
        assert_eq!(report.whole.share, 0.0);
    }

    #[test]
    fn a_node_is_judged_by_its_busiest_shard_and_by_who_waits_for_it() {
        let latency = |events: u64| json!({ "events": events, "sum_ns": 2000 * events, "p50_us": 2.0 });
        let shard = |events| json!({ "latency_profile": { "store": { "device": latency(events) } } });
        let sequencer = json!({ "log_servers": [
            { "node": "a", "answer_latency": latency(5) }, { "node": "b", "answer_latency": latency(6) }
        ] });
        let first = json!({ "node": "a", "shards": [shard(3), shard(9)] });
        let second = json!({ "node": "b", "shards": [{ "sequencers": [sequencer] }] });
        let report = StageReport::new(&AppendProfile::default(), &[first, second]);
        let [a, b] = &report.nodes[..] else { panic!() };
        assert_eq!(a.store.len(), 1);
        assert_eq!((&a.store[0].1["n"], &a.store[0].1["mean"]), (&json!(9), &json!(2.0)));
        assert_eq!(a.answer.as_ref().unwrap()["n"], 5);
        assert_eq!((b.store.len(), &b.answer.as_ref().unwrap()["n"]), (0, &json!(6)));
    }
}
