//! How much memory a shard may take, term by term, and how much of it is in use.

use serde_json::{Map, Value, json};

use super::ShardConfig;
use super::answers::AnswerTimes;
use super::cores::Cores;
use super::inbound::InboundTable;
use super::sequencing::Sequencing;
use crate::base::Limits;
use crate::proto::log_server;
use crate::proto::sequencers::ENDED_MAX;
use crate::storage;

/// Receive buffers (64 of 64 KiB), the ring's queues, and the file worker's block of zeros.
const DRIVER_BYTES: u64 = 8 << 20;
/// The program, its threads' stacks as far as used, and what the allocator keeps.
const PROCESS_BYTES: u64 = 32 << 20;
/// What a connection costs that holds nothing: its state in the shard, in the driver and in the LogServers' table of peers.
/// `tests/abuse_load.rs` measures it.
const IDLE_CONNECTION_BYTES: u64 = 4 << 10;
/// A loglet's state, and its configuration, without its windows.
const LOGLET_BYTES: u64 = 4 << 10;
/// LogServers of a loglet beside the one of its sequencer's node, unless one that runs here has more.
const USUAL_REMOTE: u64 = 2;
/// A loglet that this process has ended, in two ordered sets.
const ENDED_BYTES: u64 = 128;

/// The terms of the bound, with their names.
pub(super) fn terms(limits: &Limits, block_bytes: u32, remote_log_servers: u64) -> Vec<(&'static str, u64)> {
    let frame = u64::from(limits.frame_body_bytes_max);
    let answer = u64::from(limits.read_bytes_max.max(limits.frame_body_bytes_max));
    let connections = u64::from(limits.connections_max);
    let loglets = u64::from(limits.loglets_max);
    let journal = storage::MemoryBound::of(limits, block_bytes);
    vec![
        ("process", PROCESS_BYTES),
        ("driver", DRIVER_BYTES),
        ("connections", connections * IDLE_CONNECTION_BYTES),
        // The pool; what one turn may add before the bound is enforced, which is every read under way and the answers to all
        // receive buffers; and the doubling of one queue.
        (
            "connection_frames",
            u64::from(limits.connection_pool_bytes)
                + u64::from(limits.reads_max) * answer
                + 2 * DRIVER_BYTES
                + 2 * u64::from(limits.outbound_bytes_max),
        ),
        // The pool, and one queue that doubles: its old memory and its new one.
        (
            "sequencer_windows",
            u64::from(limits.sequencer_pool_bytes) + 3 * (u64::from(limits.sequencer_window_bytes) + frame),
        ),
        // The pool, one arrival before the bound is enforced, and memory kept for the next ones.
        ("early_arrivals", u64::from(limits.early_pool_bytes) + frame + log_server::buffers_bytes_max(limits)),
        ("loglets", loglets * (LOGLET_BYTES + log_server::LOGLET_BYTES_MAX as u64)),
        ("latency_profile", loglets * AnswerTimes::bytes_max(1 + remote_log_servers)),
        ("subscriptions", log_server::SUBSCRIPTIONS_BYTES_MAX as u64),
        ("ended_loglets", ENDED_MAX as u64 * ENDED_BYTES),
        // What sequencers hold is copied once for each LogServer on another node.
        ("links", u64::from(limits.sequencer_pool_bytes) * remote_log_servers),
        ("journal_units", journal.units),
        ("journal_cells", journal.cells),
        ("journal_index", journal.index),
        ("journal_reads", journal.reads),
    ]
}

/// The terms of the bound of a shard that only sequences.
fn sequencer_terms(limits: &Limits, log_servers: u64) -> Vec<(&'static str, u64)> {
    let without =
        ["early_arrivals", "subscriptions", "journal_units", "journal_cells", "journal_index", "journal_reads"];
    let limits = Limits { reads_max: 0, ..limits.clone() };
    let all = terms(&limits, 4096, log_servers);
    all.into_iter().filter(|(name, _)| !without.contains(name)).collect()
}

/// As [`report`], of a shard that only sequences.
pub(super) fn report_sequencer(limits: &Limits, sequencing: &Sequencing, inbound: &InboundTable) -> Value {
    let servers = sequencing.iter().map(|sequencer| sequencer.config().log_servers.len() as u64).max();
    let terms = sequencer_terms(limits, servers.unwrap_or(0).max(USUAL_REMOTE + 1));
    let in_use = json!({
        "connection_frames": inbound.memory_bytes(),
        "sequencer_windows": sequencing.memory_bytes(),
        "ended_loglets": sequencing.ended(),
    });
    with_bound(terms, in_use)
}

/// The bound of the shard's memory, its terms, and what is in use of those that are counted.
pub(super) fn report(config: &ShardConfig, cores: &Cores, inbound: &InboundTable) -> Value {
    // A lane reaches the LogServer of its own node, on another shard, like those of others.
    let remote = cores.sequencing.iter().map(|sequencer| {
        let is_alone = cores.sequencing.lanes(sequencer.loglet()) == 1;
        sequencer.config().log_servers.len() as u64 - u64::from(is_alone)
    });
    let terms = terms(&config.limits, config.block_bytes, remote.max().unwrap_or(0).max(USUAL_REMOTE));
    let in_use = json!({
        "connection_frames": inbound.memory_bytes(),
        "sequencer_windows": cores.sequencing.memory_bytes(),
        "early_arrivals": cores.log_server.early_bytes(),
        "reads_under_way": cores.log_server.reads_under_way(),
        "ended_loglets": cores.sequencing.ended(),
    });
    with_bound(terms, in_use)
}

fn with_bound(terms: Vec<(&'static str, u64)>, in_use: Value) -> Value {
    let bound: u64 = terms.iter().map(|(_, bytes)| bytes).sum();
    let terms: Map<_, _> = terms.into_iter().map(|(name, bytes)| (name.to_owned(), json!(bytes))).collect();
    json!({
        "bound_bytes": bound,
        "terms": terms,
        "in_use": in_use,
        "process_resident_bytes": resident_bytes(),
    })
}

/// Bytes of the process's memory that are in main memory, over all its shards; none where the kernel does not tell.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(limits: &Limits) -> u64 {
        terms(limits, 4096, USUAL_REMOTE).iter().map(|(_, bytes)| bytes).sum()
    }

    #[test]
    fn the_bound_of_the_default_limits_fits_a_small_machine() {
        let bound = bound(&Limits::default());
        println!("{} MiB: {:?}", bound >> 20, terms(&Limits::default(), 4096, USUAL_REMOTE));
        assert!(bound < 2 << 30, "{} MiB for each shard", bound >> 20);
    }

    #[test]
    fn who_only_sequences_needs_a_fraction() {
        let limits = Limits::default();
        let terms = sequencer_terms(&limits, 3);
        let sum: u64 = terms.iter().map(|(_, bytes)| bytes).sum();
        assert!(terms.iter().all(|(name, _)| !name.starts_with("journal")), "{terms:?}");
        assert!(sum < bound(&limits), "{sum}");
    }

    #[test]
    fn every_large_limit_moves_the_bound() {
        let usual = Limits::default();
        for larger in [
            Limits { connections_max: 2 * usual.connections_max, ..usual.clone() },
            Limits { connection_pool_bytes: 2 * usual.connection_pool_bytes, ..usual.clone() },
            Limits { sequencer_pool_bytes: 2 * usual.sequencer_pool_bytes, ..usual.clone() },
            Limits { early_pool_bytes: 2 * usual.early_pool_bytes, ..usual.clone() },
            Limits { loglets_max: 2 * usual.loglets_max, ..usual.clone() },
            Limits { reads_max: 2 * usual.reads_max, ..usual.clone() },
            Limits { unit_queue_max: 2 * usual.unit_queue_max, ..usual.clone() },
            Limits { segments_max: 2 * usual.segments_max, ..usual.clone() },
        ] {
            assert!(bound(&larger) > bound(&usual), "{larger:?}");
        }
    }
}
