//! Every bound of the system, in one value, so that tests and the simulator can draw small ones.

use std::time::Duration;

/// The bounds of a node and its clients. [`Limits::check`] says which relations hold between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Largest record. A record is never split over units (P14), so this bounds the largest unit too.
    pub record_bytes_max: u32,
    /// Largest batch of records in one frame and one journal entry. Eight of them are about a megabyte of window: large enough
    /// to amortise a frame, small enough that one client does not hold up the others.
    pub batch_bytes_max: u32,
    /// Most records in one batch.
    pub batch_records_max: u32,
    /// Largest frame body that a decoder accepts: a batch, or one record of the largest size, with their tables.
    pub frame_body_bytes_max: u32,
    /// Usual bound of one journal unit (one durable write); only a unit with one larger entry exceeds it.
    pub unit_bytes_max: u32,
    /// Journal units in flight at once on one journal: 1, 2 or 4.
    pub unit_depth: u32,
    /// Closed units that wait for a place in flight; beyond it the journal answers `Full`.
    pub unit_queue_max: u32,
    /// Size of one preallocated journal segment.
    pub segment_bytes: u64,
    /// Prepared segments kept ready on each journal. Two are the reserve of the next life (P9).
    pub segments_prepared: u32,
    /// Most segments of one journal, in use and prepared: what the log may take of the disk.
    pub segments_max: u32,
    /// How long a journal is idle before it claims what it wrote last (P9): longer than a writer that waits for each
    /// acknowledgement needs for its next record.
    pub claim_delay: Duration,
    /// An index point is kept for about this many journal bytes of each loglet: bounds the index by the size of the disk.
    pub index_granularity_bytes: u32,
    /// Out-of-order stores that a LogServer holds in memory for one loglet, in bytes (L6).
    pub early_window_bytes: u32,
    /// Shards of its sequencer's node on which appends of one loglet may enter; [`Limits::LANES_ALL`] for all of them. Each beyond the first
    /// costs the node a connection to every LogServer for each loglet.
    pub lanes: u32,
    /// Batches that one lane of a loglet's sequencer holds, in bytes: unacknowledged ones and those a slow LogServer lacks.
    pub sequencer_window_bytes: u32,
    /// Bytes sent to one LogServer and not yet answered.
    pub store_window_bytes: u32,
    /// Bytes queued for sending on one connection before its peer's requests are no longer read.
    pub outbound_bytes_max: u32,
    /// Most connections of one shard.
    pub connections_max: u32,
    /// Memory for what the inbound connections of a shard have received in part and not sent yet. From half of it on, each of them
    /// is held to a small share; beyond it, whichever holds most is closed.
    pub connection_pool_bytes: u32,
    /// Memory for the batches that all sequencers of a shard hold; when it is used up, appends wait.
    pub sequencer_pool_bytes: u32,
    /// Memory for the out-of-order stores that all loglets of a shard hold.
    pub early_pool_bytes: u32,
    /// Most loglets of one shard, and most sequencers.
    pub loglets_max: u32,
    /// Largest answer to one read, in payload bytes.
    pub read_bytes_max: u32,
    /// Largest value of a register of the MetaStore. A chain of a hundred segments is some tens of kilobytes of JSON.
    pub register_bytes_max: u32,
    /// Bytes of unacknowledged appends that one client handle holds before `append` waits.
    pub client_window_bytes: u32,
    /// Reads of one connection under way at once; further requests on it wait unread. With `read_bytes_max` it bounds what a
    /// peer that asks and never reads can make a node hold.
    pub reads_per_connection_max: u32,
    /// Reads for all connections of a shard under way at once: their answers exist before anybody has taken them.
    pub reads_max: u32,
    /// How long a watermark, or an open checkTail, may stand still before it is given up (L4).
    pub stall: Duration,
    /// How long a peer that owes an answer may say nothing before it is asked whether it is there; after five times this without a word
    /// it is taken for stopped, or cut off. Far above what a busy machine makes a process wait for its turn, far below what people notice.
    pub silence: Duration,
    /// How long a known tail that has moved waits for a store to go with, before the sequencer sends it by itself (L3). LogServers at which
    /// somebody waits for it are told at once.
    pub known_tail_delay: Duration,
    /// The longest that a sequencer with records on their way waits for more of them, before it places no-ops for those who need its loglet
    /// to be further (P6). How long it does wait follows how long appends take.
    pub fill_patience_max: Duration,
    /// Pause before a lost connection is tried again; doubles up to 16 times this.
    pub reconnect_delay: Duration,
    /// How long a peer may be silent on the network, not answering probes or not taking what is sent, before its connection is
    /// ended: a host that vanishes sends no end of its streams. Much longer than `stall`, so that a congested network is given
    /// up by the protocols before it is by TCP.
    pub peer_timeout: Duration,
    /// How long an operation of the client may take altogether before it fails with a timeout.
    pub operation_timeout: Duration,
    /// Whether it is measured where appends spend their time.
    pub profile: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: 1 << 20,
            // With their headers and entries two full batches fit a unit: at 128 KiB one does, and half of every unit stays empty.
            batch_bytes_max: 124 << 10,
            batch_records_max: 16 << 10,
            // One maximal record and its table entry, or a full batch and its table, with room to spare.
            frame_body_bytes_max: (1 << 20) + (64 << 10),
            unit_bytes_max: 256 << 10,
            unit_depth: 2,
            unit_queue_max: 16,
            segment_bytes: 64 << 20,
            segments_prepared: 4,
            segments_max: 512,
            claim_delay: Duration::from_millis(5),
            index_granularity_bytes: 64 << 10,
            early_window_bytes: 4 << 20,
            lanes: 1,
            sequencer_window_bytes: 8 << 20,
            store_window_bytes: 4 << 20,
            outbound_bytes_max: 4 << 20,
            connections_max: 16 << 10,
            connection_pool_bytes: 128 << 20,
            sequencer_pool_bytes: 128 << 20,
            early_pool_bytes: 32 << 20,
            loglets_max: 1024,
            read_bytes_max: 128 << 10,
            register_bytes_max: 112 << 10,
            reads_per_connection_max: 4,
            reads_max: 32,
            client_window_bytes: 4 << 20,
            stall: Duration::from_secs(2),
            silence: Duration::from_millis(110),
            known_tail_delay: Duration::from_millis(1),
            fill_patience_max: Duration::from_millis(20),
            reconnect_delay: Duration::from_millis(20),
            peer_timeout: Duration::from_secs(20),
            operation_timeout: Duration::from_secs(30),
            profile: true,
        }
    }
}

/// Two limits that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limits contradict each other: {0}")]
pub struct InvalidLimits(&'static str);

impl Limits {
    /// Bytes that a batch needs beside its payload for each record.
    pub const RECORD_OVERHEAD: u32 = 8;

    /// Lanes on all shards, however many there are.
    pub const LANES_ALL: u32 = u32::MAX;

    /// What a head of a segment takes that names all others and repeats no cell, on a disk of 4096-byte blocks.
    fn head_bytes(&self) -> u64 {
        const BLOCK: u64 = 4096;
        const HEADER: u64 = 128;
        // A list of 40 bytes for each segment behind 32 of its own, and two table entries of 64.
        let content = 32 + 40 * u64::from(self.segments_max) + 2 * 64;
        let unit = u64::from(self.unit_bytes_max).saturating_sub(HEADER).max(1);
        if content <= unit {
            return (content + HEADER).next_multiple_of(BLOCK);
        }
        // Two units that follow one another are more than one full one together.
        content + (2 * content.div_ceil(unit) + 3) * (HEADER + BLOCK)
    }

    /// Checks the relations between the limits, once, at construction of whoever uses them.
    pub fn check(&self) -> Result<(), InvalidLimits> {
        let rules = [
            (
                self.frame_body_bytes_max >= self.record_bytes_max.saturating_add(4096),
                "frame_body_bytes_max holds a maximal record",
            ),
            (
                self.frame_body_bytes_max >= self.batch_bytes_max.saturating_add(4096),
                "frame_body_bytes_max holds a maximal batch",
            ),
            (
                self.frame_body_bytes_max >= self.register_bytes_max.saturating_add(4096),
                "frame_body_bytes_max holds a register's maximal value and its members",
            ),
            (self.unit_bytes_max >= 8192 && self.unit_bytes_max.is_multiple_of(4096), "unit_bytes_max is whole blocks"),
            (matches!(self.unit_depth, 1 | 2 | 4), "unit_depth is 1, 2 or 4"),
            (self.segment_bytes.is_multiple_of(4096), "segment_bytes is whole blocks"),
            (
                self.segment_bytes
                    >= 4 * u64::from(self.unit_bytes_max.max(self.frame_body_bytes_max.saturating_add(8192))),
                "segment_bytes holds a head, a unit of each kind and an index block",
            ),
            (self.segments_prepared >= 2, "segments_prepared holds the reserve of the next life"),
            (
                self.segment_bytes / 4 >= self.head_bytes(),
                "segment_bytes holds, in a quarter, a head that names segments_max segments: fewer or larger segments",
            ),
            (self.segments_max > self.segments_prepared.saturating_add(2), "segments_max leaves room to write"),
            (self.sequencer_window_bytes >= self.frame_body_bytes_max, "sequencer_window_bytes holds a maximal frame"),
            (self.store_window_bytes >= self.frame_body_bytes_max, "store_window_bytes holds a maximal frame"),
            (self.early_window_bytes >= self.frame_body_bytes_max, "early_window_bytes holds a maximal frame"),
            (self.client_window_bytes >= self.frame_body_bytes_max, "client_window_bytes holds a maximal frame"),
            (
                self.connection_pool_bytes / 8 >= self.frame_body_bytes_max,
                "connection_pool_bytes holds several maximal frames",
            ),
            (self.sequencer_pool_bytes >= self.frame_body_bytes_max, "sequencer_pool_bytes holds a maximal frame"),
            (self.early_pool_bytes >= self.frame_body_bytes_max, "early_pool_bytes holds a maximal frame"),
            (self.lanes >= 1, "lanes is at least one"),
            (self.reads_max >= 1 && self.reads_per_connection_max >= 1, "one read may be under way"),
            (self.outbound_bytes_max >= self.frame_body_bytes_max, "outbound_bytes_max holds a maximal frame"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(InvalidLimits(rule)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn default_limits_agree_with_each_other() {
        Limits::default().check().unwrap();
    }

    #[test]
    fn a_contradiction_is_named() {
        let limits = Limits { unit_depth: 3, ..Limits::default() };
        assert!(limits.check().unwrap_err().to_string().contains("unit_depth"));
    }

    #[test]
    fn so_many_segments_that_none_could_name_them_are_refused() {
        let limits = Limits { segment_bytes: 8 << 20, segments_max: 40_000, ..Limits::default() };
        limits.check().unwrap();
        let limits = Limits { segments_max: 60_000, ..limits };
        assert!(limits.check().unwrap_err().to_string().contains("segments_max"));
    }

    #[test]
    fn limits_at_the_end_of_their_range_are_refused_without_overflow() {
        for limits in [
            Limits { record_bytes_max: u32::MAX, frame_body_bytes_max: u32::MAX - 1, ..Limits::default() },
            Limits { segments_prepared: u32::MAX, ..Limits::default() },
            Limits { segments_max: u32::MAX, ..Limits::default() },
        ] {
            assert!(limits.check().is_err());
        }
    }
}
