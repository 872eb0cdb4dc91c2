use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde_json::Value;

use super::table::{METRICS, Metric, MetricKind, Scope};

/// Loglets of one shard that are exported; of more, the rest is only counted (`naxos_loglets`). Each is about twenty series,
/// and a monitoring system suffers from too many before the node does.
pub const LOGLETS_MAX: usize = 256;

/// A node's status document as Prometheus text (OpenMetrics 1.0).
pub fn encode(status: &Value) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Document(Arc::new(status.clone()))));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("writing to memory does not fail");
    out
}

#[derive(Debug)]
struct Document(Arc<Value>);

impl Collector for Document {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = &*self.0;
        let info = ["version", "node", "cluster", "incarnation", "driver", "durability"];
        let labels = info.map(|name| (name, status[name].as_str().unwrap_or_default().to_owned()));
        let mut node = encoder.encode_descriptor("naxos_node", "The node, in its labels", None, MetricType::Info)?;
        node.encode_info(&Labels(labels.into()))?;
        for metric in METRICS {
            let series = series(status, metric.scope);
            let kind = match metric.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
                MetricKind::Histogram => MetricType::Histogram,
            };
            let mut samples = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            for (labels, part) in &series {
                let found = metric.path.iter().try_fold(*part, |value, name| value.get(name));
                let Some(value) = found else { continue };
                if labels.0.is_empty() {
                    sample(metric, value, &mut samples)?;
                } else {
                    sample(metric, value, &mut samples.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

fn sample(metric: &Metric, value: &Value, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    match metric.kind {
        MetricKind::Counter => encoder.encode_counter::<NoLabelSet, u64, u64>(&number(value), None),
        // The status document counts this one in milliseconds; Prometheus wants base units.
        MetricKind::Gauge if metric.name.ends_with("_seconds") => encoder.encode_gauge(&(number(value) as f64 / 1e3)),
        MetricKind::Gauge => encoder.encode_gauge(&number(value)),
        MetricKind::Histogram => {
            let seconds = |nanos: u64| nanos as f64 / 1e9;
            let bucket = |bucket: &Value| (bucket[0].as_u64().map_or(f64::MAX, seconds), number(&bucket[1]));
            let buckets: Vec<_> = value["buckets_ns"].as_array().into_iter().flatten().map(bucket).collect();
            let (sum, events) = (seconds(number(&value["sum_ns"])), number(&value["events"]));
            encoder.encode_histogram::<NoLabelSet>(sum, events, &buckets, None)
        }
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::Bool(holds) => u64::from(*holds),
        Value::Array(items) => items.len() as u64,
        Value::Null => 0,
        Value::String(_) | Value::Object(_) => 1,
    }
}

/// The parts of the document that a scope is about, with their labels.
fn series(status: &Value, scope: Scope) -> Vec<(Labels, &Value)> {
    if scope == Scope::Node {
        return vec![(Labels::default(), status)];
    }
    let mut all = Vec::new();
    for shard in status["shards"].as_array().into_iter().flatten() {
        let labels = Labels::default().with("shard", shard["shard"].to_string());
        let part = |name: &str| shard[name].as_array().into_iter().flatten().take(LOGLETS_MAX);
        match scope {
            Scope::Node => {}
            Scope::Shard => all.push((labels, shard)),
            Scope::Loglet => {
                all.extend(part("loglets").map(|loglet| (labels.with("loglet", loglet_name(&loglet["id"])), loglet)));
            }
            Scope::Sequencer | Scope::Server => {
                for sequencer in part("sequencers") {
                    let labels = labels.with("loglet", loglet_name(&sequencer["loglet"]));
                    if scope == Scope::Sequencer {
                        all.push((labels, sequencer));
                        continue;
                    }
                    for server in sequencer["log_servers"].as_array().into_iter().flatten() {
                        all.push((labels.with("server", server["node"].as_str().unwrap_or_default()), server));
                    }
                }
            }
        }
    }
    all
}

/// As identities of loglets are written everywhere else.
fn loglet_name(id: &Value) -> String {
    let part = |name: &str| id[name].as_u64().unwrap_or(0);
    format!("{:x}-{}-{:x}", part("log"), part("version"), part("nonce"))
}

#[derive(Debug, Clone, Default)]
struct Labels(Vec<(&'static str, String)>);

impl Labels {
    fn with(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut labels = self.clone();
        labels.0.push((name, value.into()));
        labels
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| (*name, value.as_str()).encode(encoder.encode_label()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_get_the_labels_of_their_place_and_the_suffix_of_their_kind() {
        let latency = json!({ "events": 3, "sum_ns": 2_000_000_000u64, "buckets_ns": [[1024, 1], [1_000_000_000, 1], [null, 1]] });
        let text = encode(&json!({
            "version": "1", "shards": [{
                "shard": 0, "connections": 7, "journal": { "failure": "bad \"disk\"", "counters": { "units": 5 } },
                "sequencers": [{
                    "loglet": { "log": 1, "version": 2, "nonce": 255 }, "blocked_ms": 1500, "append_latency": latency,
                    "log_servers": [{ "node": "0a", "connected": true, "behind": 4 }]
                }]
            }]
        }));
        for line in [
            "naxos_shards 1",
            "naxos_connections{shard=\"0\"} 7",
            "naxos_journal_poisoned{shard=\"0\"} 1",
            "naxos_journal_units_total{shard=\"0\"} 5",
            "naxos_sequencer_blocked_seconds{shard=\"0\",loglet=\"1-2-ff\"} 1.5",
            "naxos_sequencer_append_seconds_count{shard=\"0\",loglet=\"1-2-ff\"} 3",
            "naxos_sequencer_append_seconds_bucket{le=\"1.0\",shard=\"0\",loglet=\"1-2-ff\"} 2",
            "naxos_sequencer_append_seconds_bucket{le=\"+Inf\",shard=\"0\",loglet=\"1-2-ff\"} 3",
            "naxos_sequencer_server_behind_records{shard=\"0\",loglet=\"1-2-ff\",server=\"0a\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn loglets_beyond_the_bound_are_only_counted() {
        let loglets: Vec<_> = (0..LOGLETS_MAX + 10).map(|log| json!({ "id": { "log": log }, "missing": 0 })).collect();
        let text = encode(&json!({ "shards": [{ "shard": 0, "loglets": loglets }] }));
        assert_eq!(text.lines().filter(|line| line.starts_with("naxos_loglet_missing_records{")).count(), LOGLETS_MAX);
        assert!(text.contains(&format!("naxos_loglets{{shard=\"0\"}} {}", LOGLETS_MAX + 10)));
    }
}
