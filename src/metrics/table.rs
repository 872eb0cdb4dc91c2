use MetricKind::{Counter, Gauge, Histogram};
use Scope::{Loglet, Node, Sequencer, Server, Shard};

/// What one series of a metric is about; decides its labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The node. No labels.
    Node,
    /// One shard: label `shard`.
    Shard,
    /// A loglet on its LogServer: labels `shard`, `loglet`.
    Loglet,
    /// A loglet's sequencer: labels `shard`, `loglet`.
    Sequencer,
    /// One LogServer as a sequencer sees it: labels `shard`, `loglet`, `server`.
    Server,
}

/// How a metric behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    /// Only rises while the process lives; its exported name ends in `_total`.
    Counter,
    /// Rises and falls. A boolean is 0 or 1.
    Gauge,
    /// Durations; exported as `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// One metric, and where its value is in the status document.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name without the suffixes that its kind adds.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// What its series are about.
    pub scope: Scope,
    /// Path in the part of the status document that the scope names. A string there stands for 1, a list for its length and
    /// nothing for 0.
    pub path: &'static [&'static str],
    /// What it counts; said again by `# HELP`.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    scope: Scope,
    path: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, scope, path, help }
}

/// Every metric of a node. `naxos_node_info` is beside the table, since it has no number.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric("naxos_shards", Gauge, Node, &["shards"], "Shards of the node"),
    metric("naxos_shard_responsive", Gauge, Shard, &["responsive"], "Whether the shard has answered within the time of the scrape"),
    metric("naxos_connections", Gauge, Shard, &["connections"], "Connections that others have opened to the shard"),
    metric("naxos_connections_limit", Gauge, Shard, &["connections_max"], "Connections beyond which the shard refuses more"),
    metric("naxos_connections_held", Gauge, Shard, &["held_connections"], "Connections whose next request waits for room"),
    metric("naxos_turns", Counter, Shard, &["loop", "turns"], "Turns of the shard's loop"),
    metric("naxos_completions", Counter, Shard, &["loop", "completions"], "Completions that the shard's loop has taken in"),
    metric("naxos_received_bytes", Counter, Shard, &["network", "accepted", "received_bytes"], "Bytes received over connections that others have opened"),
    metric("naxos_received_frames", Counter, Shard, &["network", "accepted", "received_frames"], "Frames received over connections that others have opened"),
    metric("naxos_sent_bytes", Counter, Shard, &["network", "accepted", "sent_bytes"], "Bytes sent over connections that others have opened"),
    metric("naxos_sent_frames", Counter, Shard, &["network", "accepted", "sent_frames"], "Frames sent over connections that others have opened"),
    metric("naxos_link_received_bytes", Counter, Shard, &["network", "opened", "received_bytes"], "Bytes received from LogServers on other nodes"),
    metric("naxos_link_received_frames", Counter, Shard, &["network", "opened", "received_frames"], "Frames received from LogServers on other nodes"),
    metric("naxos_link_sent_bytes", Counter, Shard, &["network", "opened", "sent_bytes"], "Bytes sent to LogServers on other nodes"),
    metric("naxos_link_sent_frames", Counter, Shard, &["network", "opened", "sent_frames"], "Frames sent to LogServers on other nodes"),
    metric("naxos_append_frames", Counter, Shard, &["appends", "append_frames"], "Append requests that sequencers of the shard have taken in"),
    metric("naxos_append_records", Counter, Shard, &["appends", "append_records"], "Records in these requests"),
    metric("naxos_appends_refused_for_space", Counter, Shard, &["appends", "refused_for_space"], "Append requests that sequencers of the shard have refused because no majority has space"),
    metric("naxos_append_sequencing_seconds", Histogram, Shard, &["latency_profile", "stages", "sequencing"], "Stage of an append, from its request's arrival until it was handed to the LogServers"),
    metric("naxos_append_batch_wait_seconds", Histogram, Shard, &["latency_profile", "stages", "batch_wait"], "Stage of an append, then until the journal of the sequencer's node began to submit its unit"),
    metric("naxos_append_submit_seconds", Histogram, Shard, &["latency_profile", "stages", "submit"], "Stage of an append, then until the driver had the unit"),
    metric("naxos_append_device_seconds", Histogram, Shard, &["latency_profile", "stages", "device"], "Stage of an append, then until the unit, and all before it, was durable"),
    metric("naxos_append_quorum_wait_seconds", Histogram, Shard, &["latency_profile", "stages", "quorum_wait"], "Stage of an append, then until a majority had it"),
    metric("naxos_append_release_seconds", Histogram, Shard, &["latency_profile", "stages", "release"], "Stage of an append, then until the answer was handed to the client's connection"),
    metric("naxos_store_batch_wait_seconds", Histogram, Shard, &["latency_profile", "store", "batch_wait"], "Part of a durable unit of the journal, from its first entry until it was submitted"),
    metric("naxos_store_submit_seconds", Histogram, Shard, &["latency_profile", "store", "submit"], "Part of a durable unit, then until the driver had it"),
    metric("naxos_store_device_seconds", Histogram, Shard, &["latency_profile", "store", "device"], "Part of a durable unit, then until it, and all before it, was durable"),
    metric("naxos_journal_poisoned", Gauge, Shard, &["journal", "failure"], "Whether the journal has failed: nothing more is acknowledged through it"),
    metric("naxos_journal_damage", Gauge, Shard, &["journal", "damage"], "Damaged places that the last start has found in the journal"),
    metric("naxos_journal_units", Counter, Shard, &["journal", "counters", "units"], "Durable units of the journal with entries in them"),
    metric("naxos_journal_unit_bytes", Counter, Shard, &["journal", "counters", "unit_bytes"], "Bytes of durable units, padding included"),
    metric("naxos_journal_entries", Counter, Shard, &["journal", "counters", "entries"], "Entries in durable units"),
    metric("naxos_journal_claims", Counter, Shard, &["journal", "counters", "claims"], "Units written only to claim earlier ones as durable"),
    metric("naxos_journal_write_seconds", Histogram, Shard, &["journal", "write_latency"], "Time of one durable write of the journal, from its submission to its completion"),
    metric("naxos_journal_writes_in_flight", Gauge, Shard, &["journal", "writes_in_flight"], "Journal writes submitted and not completed"),
    metric("naxos_journal_unit_depth", Gauge, Shard, &["journal", "unit_depth"], "Units that may be in flight at once"),
    metric("naxos_journal_prepared_bytes", Gauge, Shard, &["journal", "prepared_bytes"], "Bytes of segments ready to be written"),
    metric("naxos_journal_segment_bytes", Gauge, Shard, &["journal", "segment_bytes"], "Size of one segment"),
    metric("naxos_journal_segments_in_use", Gauge, Shard, &["journal", "counters", "segments_in_use"], "Segments that hold live data"),
    metric("naxos_journal_segments_limit", Gauge, Shard, &["journal", "segments_max"], "Segments that the journal may have"),
    metric("naxos_journal_segments_prepared", Counter, Shard, &["journal", "counters", "segments_prepared"], "Segments prepared since the start"),
    metric("naxos_journal_segments_recycled", Counter, Shard, &["journal", "counters", "segments_recycled"], "Segments freed for another use since the start"),
    metric("naxos_journal_prepare_failures", Counter, Shard, &["journal", "counters", "prepare_failures"], "Segments that could not be prepared, usually because the disk is full"),
    metric("naxos_journal_writes_refused_for_space", Counter, Shard, &["journal", "counters", "ran_out_of_prepared"], "Writes refused because no prepared segment was left"),
    metric("naxos_journal_no_space", Gauge, Shard, &["journal", "no_space"], "Whether the LogServers of the shard refuse records because the journal has no space for them"),
    metric("naxos_journal_reads", Counter, Shard, &["journal", "counters", "reads"], "Reads of records"),
    metric("naxos_journal_reads_from_memory", Counter, Shard, &["journal", "counters", "reads_from_memory"], "Reads answered from memory alone"),
    metric("naxos_journal_read_bytes", Counter, Shard, &["journal", "counters", "read_bytes"], "Bytes read from the disk for reads"),
    metric("naxos_journal_reads_damaged", Counter, Shard, &["journal", "counters", "reads_damaged"], "Reads that have met damage"),
    metric("naxos_loglets", Gauge, Shard, &["loglets"], "Loglets on the shard's LogServer"),
    metric("naxos_loglet_tail_records", Gauge, Loglet, &["local_tail"], "Local tail: offset after the last durable record here, or what is known to be beyond"),
    metric("naxos_loglet_known_tail_records", Gauge, Loglet, &["known_tail"], "Lower bound of the global tail, as known here"),
    metric("naxos_loglet_trim_point_records", Gauge, Loglet, &["trim_point"], "First offset that may still be read"),
    metric("naxos_loglet_sealed", Gauge, Loglet, &["sealed"], "Whether the loglet is sealed here"),
    metric("naxos_loglet_catching_up", Gauge, Loglet, &["catching_up"], "Whether the loglet is being copied from other LogServers after damage, and gives no tail"),
    metric("naxos_loglet_missing_records", Gauge, Loglet, &["missing"], "Records below the tail that are not here"),
    metric("naxos_loglet_gaps", Gauge, Loglet, &["gaps"], "Runs of such records"),
    metric("naxos_loglet_stored_records", Gauge, Loglet, &["stored_records"], "Durable records here"),
    metric("naxos_loglet_stored_bytes", Gauge, Loglet, &["stored_bytes"], "Journal bytes of the units that hold records of the loglet; a shared unit counts for each"),
    metric("naxos_loglet_early_bytes", Gauge, Loglet, &["early_bytes"], "Bytes that came before what precedes them, held in memory"),
    metric("naxos_loglet_held_answers", Gauge, Loglet, &["held_answers"], "Answers that wait for durability or for a tail"),
    metric("naxos_loglet_subscribers", Gauge, Loglet, &["subscriptions"], "Streams being served"),
    metric("naxos_sequencer_tail_records", Gauge, Sequencer, &["tail"], "Next offset to be given out"),
    metric("naxos_sequencer_watermark_records", Gauge, Sequencer, &["known_tail"], "Everything below it is durable on a majority"),
    metric("naxos_sequencer_running", Gauge, Sequencer, &["running"], "Whether the sequencer gives out offsets: neither sealed nor lost"),
    metric("naxos_sequencer_lost", Gauge, Sequencer, &["lost_because"], "Whether the sequencer has given up"),
    metric("naxos_sequencer_outstanding_appends", Gauge, Sequencer, &["outstanding_appends"], "Appends that wait for their answer"),
    metric("naxos_sequencer_queue_bytes", Gauge, Sequencer, &["queue_bytes"], "Bytes held for LogServers"),
    metric("naxos_sequencer_queue_full", Gauge, Sequencer, &["queue_full"], "Whether appends wait unread because the window is full"),
    metric("naxos_sequencer_no_space", Gauge, Sequencer, &["no_space"], "Whether appends are refused because no majority of the LogServers has space"),
    metric("naxos_sequencer_blocked_seconds", Gauge, Sequencer, &["blocked_ms"], "Since when the watermark has stood still with records outstanding; 0 when it does not"),
    metric("naxos_sequencer_append_bytes", Counter, Sequencer, &["append_bytes"], "Bytes of the appended records that the sequencer has given offsets, their tables included"),
    metric("naxos_sequencer_no_op_records", Counter, Sequencer, &["no_ops"], "No-ops that the sequencer has placed for those who waited for its offsets"),
    metric("naxos_sequencer_no_op_bytes", Counter, Sequencer, &["no_op_bytes"], "Bytes of these no-ops, which are their tables alone"),
    metric("naxos_sequencer_append_seconds", Histogram, Sequencer, &["append_latency"], "Time of one append at the sequencer, from its request to its acknowledgement"),
    metric("naxos_sequencer_server_connected", Gauge, Server, &["connected"], "Whether the sequencer is connected to the LogServer"),
    metric("naxos_sequencer_server_paused", Gauge, Server, &["paused"], "Whether stores are held back for a moment because the LogServer could not take one"),
    metric("naxos_sequencer_server_no_space", Gauge, Server, &["no_space"], "Whether the LogServer has said that it has no space for records"),
    metric("naxos_sequencer_server_behind_records", Gauge, Server, &["behind"], "Records that the LogServer has not acknowledged"),
    metric("naxos_sequencer_server_queued_bytes", Gauge, Server, &["queued_bytes"], "Bytes held for the LogServer"),
];

impl Metric {
    /// The names of its samples, as Prometheus stores them.
    pub fn sample_names(&self) -> Vec<String> {
        let name = self.name;
        match self.kind {
            Counter => vec![format!("{name}_total")],
            Gauge => vec![name.to_owned()],
            Histogram => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_their_unit_last() {
        let mut names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|left, right| left < right), "{names:?}");
        for metric in METRICS {
            let text = metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(metric.name.starts_with("naxos_") && text, "{}", metric.name);
            assert!(metric.kind != Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
            assert!(!metric.name.ends_with("_total"), "{}: the encoder adds it", metric.name);
        }
    }
}
