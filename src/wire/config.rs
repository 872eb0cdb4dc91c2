use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::base::mutants::{self, Mutant};
use crate::base::{Incarnation, LogletId, NodeId, quorum};

/// A LogServer of a loglet. Identity is the node; the address only says where to look for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The data directory's identity.
    pub node: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The sequencer of a loglet: one life of one process (P4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequencer {
    /// The node.
    pub node: NodeId,
    /// The life of the node's process; another one never sequences this loglet.
    pub incarnation: Incarnation,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Sequencer {
    /// The address of one that does not listen: it takes appends from its own process. Nobody can be there.
    pub const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

    /// Whether it can be reached from another process.
    pub fn listens(&self) -> bool {
        self.address != Self::NOWHERE
    }

    /// The node, whatever the life of its process.
    pub fn member(&self) -> Member {
        Member { node: self.node, address: self.address }
    }
}

/// The static configuration of a NativeLoglet. Written as JSON, so that an operator can read it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogletConfig {
    /// The loglet.
    pub id: LogletId,
    /// Who gives out its offsets.
    pub sequencer: Sequencer,
    /// Who stores its records; the order is the loglet's numbering of them.
    pub log_servers: Vec<Member>,
}

/// Most LogServers of one loglet: their numbers, and the sequencer's link beside theirs, fit into a byte of a token.
const LOG_SERVERS_MAX: usize = 255;

impl LogletConfig {
    /// LogServers whose agreement decides.
    pub fn quorum(&self) -> usize {
        quorum(self.log_servers.len()) - usize::from(mutants::is(Mutant::QuorumMinusOne))
    }

    /// JSON, as in frames and cells.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a configuration is always serialisable")
    }

    /// The configuration in `json`, checked: some LogServers, none twice.
    ///
    /// # Errors
    /// Not JSON of this shape, or no valid membership.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        let config: Self = serde_json::from_slice(json)?;
        let mut nodes: Vec<_> = config.log_servers.iter().map(|member| member.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.is_empty() || nodes.len() != config.log_servers.len() {
            return Err(serde::de::Error::custom("a loglet needs LogServers, none of them twice"));
        }
        if nodes.len() > LOG_SERVERS_MAX {
            return Err(serde::de::Error::custom("a loglet has too many LogServers"));
        }
        Ok(config)
    }
}
