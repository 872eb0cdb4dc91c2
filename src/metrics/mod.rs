//! Prometheus metrics, made from a node's status document by whoever asks, never by a shard.

mod encode;
mod table;

pub use encode::{LOGLETS_MAX, encode};
pub use table::{METRICS, Metric, MetricKind, Scope};
