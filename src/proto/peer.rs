//! Whom a core talks to.

/// A connection, or another core in the same shard, as the host numbers them. Numbers are never used twice, so that a late
/// answer cannot reach a stranger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerId(pub u64);
