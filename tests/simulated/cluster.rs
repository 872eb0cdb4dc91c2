//! The cluster of the simulator, by hand.

pub use naxos::sim::{Cluster, NODES, addresses, node_address, small_limits};
