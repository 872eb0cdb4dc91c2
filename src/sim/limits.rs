//! Limits at which everything happens often.

use std::time::Duration;

use crate::base::{Limits, Rng};

/// Small limits: segments hold few batches, windows are filled, and a stall is short.
pub fn small_limits() -> Limits {
    let limits = Limits {
        record_bytes_max: 4 << 10,
        batch_bytes_max: 4 << 10,
        batch_records_max: 16,
        frame_body_bytes_max: 8 << 10,
        register_bytes_max: 4 << 10,
        unit_bytes_max: 8 << 10,
        segment_bytes: 96 << 10,
        segments_max: 96,
        segments_prepared: 3,
        index_granularity_bytes: 4 << 10,
        early_window_bytes: 16 << 10,
        sequencer_window_bytes: 64 << 10,
        store_window_bytes: 16 << 10,
        outbound_bytes_max: 16 << 10,
        read_bytes_max: 8 << 10,
        client_window_bytes: 32 << 10,
        stall: Duration::from_millis(500),
        reconnect_delay: Duration::from_millis(5),
        operation_timeout: Duration::from_secs(4),
        ..Limits::default()
    };
    limits.check().expect("the limits agree");
    limits
}

/// What one loglet takes of a head: twice its cell, since new loglets leave half of the room to the others' later values.
const CELLS_BYTES: u64 = 1000;
/// What each unit of a head may take beside its cells, with its padding.
const UNIT_BYTES: u64 = 4096 + 128;

/// How many loglets there may be on a node. Where clients use loglets without a chain nobody deletes any, and the head of every segment repeats the cells of all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Loglets that a run may create.
    pub(super) loglets: u64,
    /// Loglets of others.
    pub(super) crowd: u64,
}

impl Room {
    /// Small segments with few loglets; some; or as many as make heads of several units.
    fn draw(rng: &mut Rng, operations: u64) -> Self {
        let more = (operations / 100).min(200);
        match rng.u8(..4) {
            0 => Self { loglets: 12 + more, crowd: 0 },
            1 => Self { loglets: 20 + more, crowd: 16 },
            _ => Self { loglets: 20 + more, crowd: 0 },
        }
    }
}

/// The size of a head that names so many segments and repeats the cells of so many loglets.
fn head_bytes(segments: u32, loglets: u64) -> u64 {
    let content = 256 + 40 * u64::from(segments) + CELLS_BYTES * loglets;
    content + (2 * content.div_ceil(7 << 10) + 3) * UNIT_BYTES
}

/// Small limits, other ones for each seed.
pub(super) fn drawn_limits(rng: &mut Rng, operations: u64) -> (Limits, Room) {
    let room = Room::draw(rng, operations);
    let of = |rng: &mut Rng, values: &[u32]| *rng.choice(values).expect("some values");
    let stall = Duration::from_millis(rng.u64(40..400));
    let limits = Limits {
        batch_records_max: of(rng, &[1, 4, 16, 64]),
        unit_bytes_max: of(rng, &[8 << 10, 12 << 10, 16 << 10]),
        unit_depth: of(rng, &[1, 2, 4]),
        unit_queue_max: of(rng, &[1, 2, 8, 16]),
        segment_bytes: u64::from(of(rng, &[64 << 10, 96 << 10, 160 << 10])),
        // Trims are few: all that a long run writes has to find room.
        segments_max: 48 + (operations / 8).min(400) as u32,
        segments_prepared: of(rng, &[2, 3, 4]),
        early_window_bytes: of(rng, &[8 << 10, 16 << 10, 64 << 10]),
        sequencer_window_bytes: of(rng, &[8 << 10, 16 << 10, 64 << 10]),
        store_window_bytes: of(rng, &[8 << 10, 16 << 10, 32 << 10]),
        outbound_bytes_max: of(rng, &[8 << 10, 16 << 10, 64 << 10]),
        read_bytes_max: of(rng, &[1 << 10, 4 << 10, 8 << 10]),
        client_window_bytes: of(rng, &[8 << 10, 16 << 10, 32 << 10]),
        reads_max: of(rng, &[1, 4, 32]),
        reads_per_connection_max: of(rng, &[1, 4]),
        claim_delay: Duration::from_micros(rng.u64(100..8_000)),
        known_tail_delay: Duration::from_micros(rng.u64(..1_000)),
        fill_patience_max: Duration::from_micros(rng.u64(..3_000)),
        reconnect_delay: Duration::from_micros(rng.u64(500..20_000)),
        operation_timeout: stall * rng.u32(1..12),
        stall,
        ..small_limits()
    };
    let head = head_bytes(limits.segments_max, room.crowd + room.loglets);
    let limits = Limits { segment_bytes: limits.segment_bytes.max(4 * head.next_multiple_of(4096)), ..limits };
    limits.check().expect("drawn limits agree");
    (limits, room)
}

/// The size of a chain that its clients let grow: some dozens of segments.
const CHAIN_BYTES: u32 = 12 << 10;
/// Loglets that there may be on a node at once: those of the chain, and those that somebody has made in vain and not deleted.
const CHAIN_LOGLETS: u64 = 80;

/// Limits that leave room for a chain in a register.
pub(super) fn with_chain(limits: Limits, operations: u64) -> Limits {
    let frame = CHAIN_BYTES + (4 << 10);
    let loglets = CHAIN_LOGLETS + operations / 20;
    // An acceptor holds a decision, and what it has accepted after it.
    let head = head_bytes(limits.segments_max, loglets + 2 * 2 * u64::from(CHAIN_BYTES) / CELLS_BYTES);
    let limits = Limits {
        register_bytes_max: CHAIN_BYTES,
        frame_body_bytes_max: frame,
        unit_bytes_max: limits.unit_bytes_max.max(frame),
        segment_bytes: limits.segment_bytes.max(4 * head.next_multiple_of(4096)),
        early_window_bytes: limits.early_window_bytes.max(frame),
        sequencer_window_bytes: limits.sequencer_window_bytes.max(frame),
        store_window_bytes: limits.store_window_bytes.max(frame),
        outbound_bytes_max: limits.outbound_bytes_max.max(frame),
        client_window_bytes: limits.client_window_bytes.max(frame),
        ..limits
    };
    limits.check().expect("drawn limits agree");
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_limits_agree_and_differ() {
        let limits: Vec<_> = (0..500).map(|seed| drawn_limits(&mut Rng::with_seed(seed), 200).0).collect();
        assert!(limits.iter().all(|limits| limits.check().is_ok()));
        assert!(limits[1..].iter().any(|other| *other != limits[0]));
        drawn_limits(&mut Rng::with_seed(1), 20_000).0.check().unwrap();
        for limits in limits {
            with_chain(limits, 200);
        }
    }
}
