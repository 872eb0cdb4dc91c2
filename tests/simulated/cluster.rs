//! The cluster of the simulator, by hand.

pub use naxos::sim::{Cluster, NODES, addresses, node_address, small_limits};

use naxos::base::Limits;

/// A chain has a segment for each extend, and nobody trims in most tests.
pub fn limits_of_long_chains() -> Limits {
    Limits {
        register_bytes_max: 64 << 10,
        frame_body_bytes_max: 96 << 10,
        unit_bytes_max: 96 << 10,
        segment_bytes: 1 << 20,
        client_window_bytes: 128 << 10,
        early_window_bytes: 128 << 10,
        sequencer_window_bytes: 128 << 10,
        store_window_bytes: 128 << 10,
        outbound_bytes_max: 128 << 10,
        ..small_limits()
    }
}
