//! The root register's value: which nodes and which logs a cluster has (P8 a).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{NodeId, Nonce, RegisterId, Version};
use crate::wire::{Decision, Member};

/// Most bytes of a log's name.
const NAME_BYTES_MAX: usize = 64;

/// A node of the cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Who it is, and where to look for it.
    #[serde(flatten)]
    pub member: Member,
}

/// A log of the cluster: its register begins in no other way (P8 a).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRecord {
    /// The log's number, and its register's.
    pub log: u64,
    /// On how many nodes each record is stored; the number of LogServers never falls below it (P12).
    pub replicas: usize,
    /// Names the birth of the register.
    pub nonce: Nonce,
    /// The register's first members.
    pub members: Vec<Member>,
}

impl LogRecord {
    /// The register that holds the log's chain.
    pub fn register(&self) -> RegisterId {
        RegisterId(self.log)
    }

    /// What the register is born with, the same for everybody.
    pub fn birth(&self) -> Decision {
        Decision { version: Version::BIRTH, nonce: self.nonce, members: self.members.clone(), value: Vec::new() }
    }
}

/// What a cluster consists of. Written as JSON, so that an operator can read it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// The nodes.
    pub nodes: Vec<NodeRecord>,
    /// The logs, by their names.
    pub logs: BTreeMap<String, LogRecord>,
    /// The number of the next log; none is used twice.
    pub next_log: u64,
}

/// A change that the cluster does not allow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RootRefusal {
    /// There is such a log.
    #[error("there is a log `{0}` already")]
    NameTaken(String),
    /// There is no such log.
    #[error("there is no log `{name}`; the cluster has: {}", known.join(", "))]
    NoSuchLog {
        /// The name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Not a name.
    #[error("`{0}` is no name of a log: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`")]
    BadName(String),
    /// Fewer nodes than copies.
    #[error("{wanted} replicas need {wanted} nodes, and the cluster has {there}")]
    TooFewNodes {
        /// Copies asked for.
        wanted: usize,
        /// Nodes there are.
        there: usize,
    },
    /// No copy at all.
    #[error("a log needs at least one replica")]
    NoReplicas,
}

impl Root {
    /// The first version: these nodes and no logs.
    pub fn begin(members: &[Member]) -> Self {
        let nodes = members.iter().map(|member| NodeRecord { member: *member }).collect();
        Self { nodes, logs: BTreeMap::new(), next_log: 1 }
    }

    /// As it is stored.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a root is always serialisable")
    }

    /// A stored root.
    ///
    /// # Errors
    /// Not JSON of this shape.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The record of a log.
    ///
    /// # Errors
    /// There is no such log.
    pub fn log(&self, name: &str) -> Result<&LogRecord, RootRefusal> {
        let known = || self.logs.keys().cloned().collect();
        self.logs.get(name).ok_or_else(|| RootRefusal::NoSuchLog { name: name.to_owned(), known: known() })
    }

    /// With another log, whose register begins with these members.
    ///
    /// # Errors
    /// The name is taken or none, or there are not nodes enough.
    pub fn with_log(
        &self,
        name: &str,
        replicas: usize,
        nonce: Nonce,
        members: Vec<Member>,
    ) -> Result<Self, RootRefusal> {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_fine) {
            return Err(RootRefusal::BadName(name.to_owned()));
        }
        if self.logs.contains_key(name) {
            return Err(RootRefusal::NameTaken(name.to_owned()));
        }
        if replicas == 0 {
            return Err(RootRefusal::NoReplicas);
        }
        if replicas > self.nodes.len() {
            return Err(RootRefusal::TooFewNodes { wanted: replicas, there: self.nodes.len() });
        }
        let mut next = self.clone();
        next.logs.insert(name.to_owned(), LogRecord { log: self.next_log, replicas, nonce, members });
        next.next_log += 1;
        Ok(next)
    }

    /// Where a log's records may be stored: as many nodes as it has replicas, beginning with another one for each log, so that
    /// logs spread over the nodes.
    pub fn place(&self, log: &LogRecord) -> Vec<Member> {
        let first = log.log as usize % self.nodes.len().max(1);
        let turned = self.nodes.iter().cycle().skip(first);
        turned.take(log.replicas.min(self.nodes.len())).map(|node| node.member).collect()
    }

    /// Where to look for a node.
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.iter().find(|record| record.member.node == node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u128) -> Vec<Member> {
        let member = |node: u128| Member { node: NodeId(node), address: ([10, 0, 0, node as u8], 7000).into() };
        (1..=count).map(member).collect()
    }

    #[test]
    fn logs_have_names_and_numbers_of_their_own_and_spread() {
        let root = Root::begin(&members(3));
        let one = root.with_log("one", 2, Nonce(1), members(3)).unwrap();
        let two = one.with_log("two", 2, Nonce(2), members(3)).unwrap();
        assert_eq!((two.log("one").unwrap().log, two.log("two").unwrap().log), (1, 2));
        assert_ne!(two.place(&two.logs["one"])[0], two.place(&two.logs["two"])[0]);
        assert_eq!(Root::from_json(&two.to_json()).unwrap(), two);
        assert_eq!(two.with_log("one", 1, Nonce(3), members(3)), Err(RootRefusal::NameTaken("one".to_owned())));
        let missing = two.log("three").unwrap_err();
        assert_eq!(missing.to_string(), "there is no log `three`; the cluster has: one, two");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let root = Root::begin(&members(3));
        let with = |name: &str, replicas| root.with_log(name, replicas, Nonce(1), members(3)).unwrap_err();
        assert_eq!(with("x", 4), RootRefusal::TooFewNodes { wanted: 4, there: 3 });
        assert_eq!(with("x", 0), RootRefusal::NoReplicas);
        for name in ["", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(with(name, 1), RootRefusal::BadName(name.to_owned()));
        }
    }
}
