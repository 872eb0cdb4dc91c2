use serde::Serialize;
use serde_json::{Value, json};

use crate::base::{Histogram, Instant};
use crate::io::op::{ConnId, Op, Token};
use crate::net::Traffic;

/// Plain counts of a shard's own work since its start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct TurnCounters {
    /// Turns of the loop.
    pub(super) turns: u64,
    /// Completions taken in.
    pub(super) completions: u64,
    /// Commands of other threads carried out.
    pub(super) commands: u64,
}

/// Bytes and frames since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct NetworkCounters {
    /// Over connections that others have opened.
    pub(super) accepted: Traffic,
    /// Of these, over those from within the node's process: through memory, and over no network.
    pub(super) local: Traffic,
    /// Over connections that this shard has opened to LogServers.
    pub(super) opened: Traffic,
}

impl NetworkCounters {
    /// Counts what has gone over a connection that somebody else has opened.
    pub(super) fn add_accepted(&mut self, conn: ConnId, traffic: Traffic) {
        self.accepted.add(traffic);
        if conn.is_local() {
            self.local.add(traffic);
        }
    }
}

/// Times the journal's writes, from the turn that submits one to the turn that sees it durable. The journal itself has no
/// clock.
#[derive(Debug, Default)]
pub(super) struct WriteTimes {
    /// A handful: the units in flight and an index block.
    in_flight: Vec<(Token, Instant)>,
    pub(super) latency: Histogram,
}

impl WriteTimes {
    pub(super) fn submitted(&mut self, token: Token, op: &Op, now: Instant) {
        if matches!(op, Op::Write { .. }) {
            self.in_flight.push((token, now));
        }
    }

    pub(super) fn completed(&mut self, token: Token, now: Instant) {
        if let Some(index) = self.in_flight.iter().position(|(known, _)| *known == token) {
            let (_, since) = self.in_flight.swap_remove(index);
            self.latency.record(now.since(since));
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

/// A histogram for people and for metrics. Each bucket is its upper bound in nanoseconds, none for the last, and its events.
pub(super) fn histogram(histogram: &Histogram) -> Value {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    let quantile = |quantile| histogram.quantile_nanos(quantile).map(micros);
    let buckets = histogram.buckets().map(|(bound, events)| json!([(bound < u64::MAX).then_some(bound), events]));
    json!({
        "events": histogram.count(),
        "sum_ns": histogram.sum_nanos(),
        "p50_us": quantile(0.5),
        "p99_us": quantile(0.99),
        "max_us": micros(histogram.max_nanos()),
        "buckets_ns": buckets.collect::<Vec<_>>(),
    })
}
