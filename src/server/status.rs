use serde_json::{Value, json};

use super::{NodeIdentity, sequencing};
use crate::base::Instant;
use crate::proto::log_server::LogServer;
use crate::proto::sequencer::Sequencer;
use crate::storage::{Damage, Journal};

/// What a shard says of itself, as a JSON object.
pub(super) fn report(
    shard: usize,
    journal: &Journal,
    damage: &[Damage],
    log_server: &LogServer,
    sequencers: Vec<Value>,
    appends: sequencing::Counters,
    connections: usize,
    memory: Value,
) -> Value {
    let counters = journal.counters();
    json!({
        "shard": shard,
        "connections": connections,
        "memory": memory,
        "journal": {
            "failure": journal.failure().map(ToString::to_string),
            "damage": damage,
            "prepared_bytes": journal.prepared_bytes(),
            "counters": counters,
        },
        "loglets": log_server.loglets().map(|loglet| json!(loglet)).collect::<Vec<_>>(),
        "sequencers": sequencers,
        "appends": appends,
    })
}

/// What a sequencer says of itself.
pub(super) fn sequencer(sequencer: &Sequencer, now: Instant) -> Value {
    let status = sequencer.status();
    let servers = status.servers().map(|server| {
        json!({
            "connected": server.connected,
            "acked": server.acked,
            "queued_bytes": server.queued_bytes,
            "sealed": server.sealed,
        })
    });
    json!({
        "loglet": sequencer.loglet(),
        "state": format!("{:?}", status.state()),
        "tail": status.tail(),
        "known_tail": status.known_tail(),
        "outstanding_appends": status.outstanding(),
        "blocked_ms": status.blocked_since().map(|since| now.since(since).as_millis() as u64),
        "log_servers": servers.collect::<Vec<_>>(),
    })
}

/// The whole node's report, from its shards'.
pub(super) fn node_report(identity: &NodeIdentity, driver: &str, durability: &str, mut shards: Vec<Value>) -> Value {
    shards.sort_by_key(|shard| shard["shard"].as_u64());
    json!({
        "schema": 1,
        "cluster": identity.cluster,
        "node": identity.node,
        "incarnation": identity.incarnation,
        "driver": driver,
        "durability": durability,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "shards": shards,
    })
}
