use crate::base::{ClusterId, Incarnation, LogletId, NodeId};
use crate::wire::{Hello, RejectCode, Role};

/// Who a node is, in this life of its process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeIdentity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its data directory's, or of this process alone where there is none.
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

    /// Why somebody who introduces himself so is not let in, if he is not.
    pub(super) fn refusal(&self, hello: &Hello) -> Option<(RejectCode, String)> {
        // A client that only wants to know who this is does not know the cluster yet.
        let asks_only = hello.role == Role::Client && hello.cluster.0 == 0;
        if hello.cluster != self.cluster && !asks_only {
            let detail = format!("this node belongs to cluster {}, the peer to {}", self.cluster, hello.cluster);
            return Some((RejectCode::Cluster, detail));
        }
        let is_other = hello.to != NodeId(0) && hello.to != self.node;
        is_other.then(|| (RejectCode::Node, format!("this is node {}, not {}", self.node, hello.to)))
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
