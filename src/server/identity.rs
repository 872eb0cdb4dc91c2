use crate::base::{ClusterId, Incarnation, LogletId, NodeId};
use crate::wire::{Hello, Role};

/// Who a node is, in this life of its process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeIdentity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its data directory.
    pub node: NodeId,
    /// The life of its process (P4).
    pub incarnation: Incarnation,
}

impl NodeIdentity {
    /// How the node introduces itself.
    pub fn hello(&self, role: Role, route: LogletId) -> Hello {
        let Self { cluster, node, incarnation } = *self;
        Hello { cluster, node, incarnation, to: NodeId(0), role, route }
    }
}

/// The shard that is a loglet's home. A function of the loglet and of the number of journals, which the data directory fixes
/// at birth, so that a loglet is looked for where it was stored whatever the number of cores (P13).
///
/// No chain installs a loglet as version 0: such an id stands for a register of the MetaStore, and those live on the first shard.
pub fn home_shard(loglet: LogletId, shards: usize) -> usize {
    if loglet.version == 0 {
        return 0;
    }
    // SplitMix64's finaliser over each word: neighbouring ids spread, and the function stays fixed for ever.
    let mixed = [loglet.log, loglet.version, loglet.nonce].into_iter().fold(0u64, |state, word| {
        let mut mixed = (state ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    });
    (mixed % shards as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::RegisterId;

    #[test]
    fn a_loglets_home_never_moves() {
        // Changing this function would lose every loglet of a node with several journals.
        let homes: Vec<_> = (0..8).map(|nonce| home_shard(LogletId { log: 1, version: 1, nonce }, 4)).collect();
        assert_eq!(homes, HOMES);
    }

    #[test]
    fn registers_live_on_the_first_shard() {
        for register in [RegisterId::ROOT, RegisterId(7)] {
            assert_eq!(home_shard(register.key(), 4), 0);
        }
        assert_eq!(home_shard(RegisterId::ROUTE, 4), 0);
        assert_ne!(RegisterId::ROUTE, LogletId::default(), "a hello without a route may end up on any shard");
    }

    const HOMES: [usize; 8] = [1, 0, 1, 2, 0, 1, 2, 2];
}
