//! What a shard and a node say of themselves. The names are the public schema of `naxos status --json`: metrics and
//! benchmarks read them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::sequencing::{self, Sequencing};
use super::timing::{NetworkCounters, TurnCounters, WriteTimes, histogram};
use super::{NodeIdentity, ShardConfig};
use crate::base::{Instant, Limits, NodeId};
use crate::io::CoreTime;
use crate::proto::log_server::{LogServer, LogletStatus};
use crate::proto::metastore::Acceptor;
use crate::proto::sequencer::{Sequencer, ServerStatus, State};
use crate::storage::{Damage, Journal};
use crate::wire::Message;

/// Version of the status document; raised when a name changes its meaning or goes.
const STATUS_SCHEMA: u64 = 2;

/// What a shard's report is made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a ShardConfig,
    pub(super) recovered: bool,
    pub(super) journal: &'a Journal,
    pub(super) damage: &'a [Damage],
    pub(super) write_times: &'a WriteTimes,
    pub(super) latency_profile: Value,
    pub(super) log_server: &'a LogServer,
    pub(super) sequencers: Vec<Value>,
    pub(super) metastore: Value,
    pub(super) appends: sequencing::Counters,
    pub(super) connections: usize,
    pub(super) local_connections: usize,
    pub(super) held_connections: usize,
    pub(super) memory: Value,
    pub(super) turns: TurnCounters,
    pub(super) network: NetworkCounters,
    /// The nodes that this node's control misses.
    pub(super) misses: &'a [NodeId],
    /// What it has decided about the stripes of logs.
    pub(super) scaling: &'a BTreeMap<String, String>,
    /// How much of the cores the shard has used, if its driver knows.
    pub(super) processor: Option<Value>,
}

/// What a shard says of itself, as a JSON object.
pub(super) fn report(parts: &Parts<'_>) -> Value {
    let journal = parts.journal;
    json!({
        "shard": parts.config.shard,
        "responsive": true,
        "driver": parts.config.driver,
        "memory": parts.memory,
        "connections": parts.connections,
        "local_connections": parts.local_connections,
        "connections_max": parts.config.limits.connections_max,
        "held_connections": parts.held_connections,
        "loop": parts.turns,
        "network": parts.network,
        "journal": {
            "state": match journal.failure() {
                Some(_) => "poisoned",
                None if parts.recovered => "open",
                None => "opening",
            },
            "failure": journal.failure().map(ToString::to_string),
            "damage": parts.damage,
            "prepared_bytes": journal.prepared_bytes(),
            "no_space": parts.log_server.is_full(),
            "segment_bytes": parts.config.limits.segment_bytes,
            "segments_max": parts.config.limits.segments_max,
            "unit_depth": parts.config.limits.unit_depth,
            "writes_in_flight": parts.write_times.in_flight(),
            "write_latency": histogram(&parts.write_times.latency),
            "counters": journal.counters(),
        },
        "loglets": parts.log_server.loglets().map(|status| loglet(&status, journal)).collect::<Vec<_>>(),
        "sequencers": parts.sequencers,
        "metastore": parts.metastore,
        "appends": parts.appends,
        "latency_profile": parts.latency_profile,
        "misses": parts.misses,
        "scaling": parts.scaling,
        "processor": parts.processor,
    })
}

/// Sums since the start, and when they were taken, so that two of them say how busy the shard was in between.
pub(super) fn processor(cores: usize, had: CoreTime, now: Instant) -> Value {
    let [used, delayed] = [Some(had.used), had.delayed].map(|time| time.map(|time| time.as_nanos() as u64));
    json!({ "cores": cores, "used_ns": used, "delayed_ns": delayed, "at_ns": now.as_nanos() })
}

/// What an acceptor says of itself; nothing when no register has come to it.
pub(super) fn metastore(acceptor: &Acceptor) -> Value {
    let registers: Vec<_> = acceptor
        .registers()
        .map(|(id, decided)| {
            let members: Vec<_> = decided.members.iter().map(|member| member.node).collect();
            json!({ "register": id, "version": decided.version, "members": members, "bytes": decided.value.len() })
        })
        .collect();
    match (registers.is_empty(), acceptor.is_retired()) {
        (true, false) => Value::Null,
        (_, retired) => json!({ "retired": retired, "registers": registers }),
    }
}

fn loglet(status: &LogletStatus<'_>, journal: &Journal) -> Value {
    let mut object = json!(status);
    object["stored_bytes"] = json!(journal.stored_bytes(status.id));
    object["work"] = json!(journal.work(status.id));
    object
}

/// What a sequencer says of itself.
pub(super) fn sequencer(sequencer: &Sequencer, sequencing: &Sequencing, now: Instant) -> Value {
    let status = sequencer.status();
    let members = &sequencer.config().log_servers;
    let answers = sequencing.answer_times(sequencer.loglet());
    let servers = status.servers().zip(members).zip(answers).map(|((server, member), answers)| {
        json!({
            "node": member.node,
            "address": member.address,
            "connected": server.connected,
            "paused": server.paused,
            "no_space": server.no_space,
            "acked": server.acked,
            "behind": status.end().0.saturating_sub(server.acked.0),
            "queued_bytes": server.queued_bytes,
            "sealed": server.sealed,
            "answer_latency": histogram(answers),
        })
    });
    let (state, lost) = match status.state() {
        State::Running => ("running", None),
        State::Sealing => ("sealing", None),
        State::Sealed => ("sealed", None),
        State::Lost(reason) => ("lost", Some(reason.to_string())),
    };
    json!({
        "loglet": sequencer.loglet(),
        "state": state,
        "running": status.state() == State::Running,
        "lost_because": lost,
        "lanes": sequencing.lanes(sequencer.loglet()),
        "tail": status.tail(),
        "known_tail": status.known_tail(),
        "outstanding_appends": status.outstanding(),
        "queue_bytes": status.queued_bytes(),
        "queue_full": status.is_full(),
        "no_space": status.lacks_space(),
        "blocked_ms": status.blocked_since().map(|since| now.since(since).as_millis() as u64),
        "blocked_because": status.blocked_since().map(|_| why_blocked(sequencer)),
        "append_bytes": status.given().append_bytes,
        "no_ops": status.given().no_ops,
        "no_op_bytes": status.given().no_op_bytes,
        "append_latency": histogram(status.append_latency()),
        "log_servers": servers.collect::<Vec<_>>(),
    })
}

/// Why the watermark stands still: whom a majority lacks, and what each of them is doing.
fn why_blocked(sequencer: &Sequencer) -> String {
    let status = sequencer.status();
    let (config, known_tail) = (sequencer.config(), status.known_tail());
    let lacking = |server: &ServerStatus| server.acked <= known_tail;
    let have = status.servers().filter(|server| !lacking(server)).count();
    let reasons =
        status.servers().zip(&config.log_servers).filter(|(server, _)| lacking(server)).map(|(server, member)| {
            let doing = match server {
                ServerStatus { connected: false, .. } => "is not connected",
                ServerStatus { no_space: true, .. } => "has no disk space left",
                ServerStatus { paused: true, .. } => "cannot take stores now",
                _ => "has not answered yet",
            };
            format!("node {} at {} {doing}", member.node, member.address)
        });
    format!(
        "record {known_tail} is on {have} of the {} LogServers needed: {}",
        config.quorum(),
        reasons.collect::<Vec<_>>().join("; ")
    )
}

/// Bytes of a status in one frame, at most: whoever asks takes frames of this size, whatever a record's may be.
const PART_BYTES: usize = 64 << 10;

/// The answer to a status request, in as many frames as it takes.
pub(super) fn messages<'a>(
    request: u64,
    json: &'a [u8],
    limits: &Limits,
) -> impl Iterator<Item = Message<'a>> + use<'a> {
    let part_bytes = PART_BYTES.min(limits.frame_body_bytes_max as usize);
    let parts = json.chunks(part_bytes).enumerate();
    parts.map(move |(at, part)| {
        let left = (json.len() - at * part_bytes - part.len()) as u64;
        Message::StatusReport { request, left, json: part }
    })
}

/// The whole node's report, from its shards'.
pub fn node_report(identity: &NodeIdentity, durability: &str, mut shards: Vec<Value>) -> Value {
    shards.sort_by_key(|shard| shard["shard"].as_u64());
    let driver = shards.iter().find_map(|shard| shard["driver"].as_str()).unwrap_or("unknown").to_owned();
    json!({
        "schema": STATUS_SCHEMA,
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

/// The report of a node that only sequences. What it acknowledges is as durable as the LogServers have made it.
pub fn sequencer_report(identity: &NodeIdentity, shards: Vec<Value>) -> Value {
    let mut report = node_report(identity, "log-servers", shards);
    report["role"] = json!("sequencer");
    report
}
