//! Who keeps the registers of a cluster (L8).

use std::net::SocketAddr;
use std::sync::mpsc::Receiver;

use super::cluster::{Cluster, ClusterError, not_finished};
use super::gather::gather;
use super::{GenesisError, OpError};
use crate::base::{NodeId, RegisterId, Version};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, Versioned};
use crate::proto::virtual_log::{Chain, InvalidChain, LogRecord, NodeRecord, Root};
use crate::wire::{Decision, Member, RegisterMessage};

/// What a log's register holds.
pub(super) enum Kept {
    /// Nothing: the log's creation has not been finished.
    Nothing,
    /// The log's chain.
    Chain(Chain),
    /// That the log is deleted, and its last chain, if it had one.
    Deleted(Option<Chain>),
}

impl Cluster {
    /// The newest version of a register that any of these nodes knows, all asked at once.
    fn version_at(&self, nodes: &[Member], register: RegisterId) -> Option<Decision> {
        let query = || RegisterMessage::Query { instance: Version::BIRTH };
        let ask = |node: &Member| ((), self.client().ask_register(node.address, self.id(), register, query()));
        let known = gather(nodes.iter().map(ask).collect()).into_iter().filter_map(|((), answer)| match answer {
            RegisterMessage::Decided { decision } => Some(decision),
            _ => None,
        });
        known.max_by_key(|decision| decision.version)
    }

    /// A decided version of a log's register: what it was born with, or, once it has been handed over, what its keepers know.
    pub(super) fn known_version(&self, record: &LogRecord) -> Decision {
        let known = match record.keepers[..] {
            [] => None,
            ref keepers => self.version_at(keepers, record.register()),
        };
        known.unwrap_or_else(|| record.birth())
    }

    /// Reads the register of a log.
    pub(super) fn read_log(&self, record: &LogRecord) -> Result<(Versioned, Kept), ClusterError> {
        let newest = match self.op(self.known_version(record), MetaStoreOp::Read { register: record.register() })? {
            MetaStoreResult::Value(newest) => newest,
            other => return Err(ClusterError::NoChain(format!("{other:?}"))),
        };
        let kept = match Chain::from_json(&newest.value) {
            _ if newest.version == Version::BIRTH => Kept::Nothing,
            Ok(chain) => Kept::Chain(chain),
            Err(InvalidChain::Deleted { last }) => Kept::Deleted(last.map(|last| *last)),
            Err(error) => return Err(ClusterError::NoChain(error.to_string())),
        };
        Ok((newest, kept))
    }

    /// Writes the version after `newest`. None if somebody else was faster, or nobody knows: look again.
    pub(super) fn write_after(
        &self,
        register: RegisterId,
        decided: Decision,
        newest: &Versioned,
        value: Vec<u8>,
        members: &[Member],
    ) -> Result<Option<Version>, ClusterError> {
        let op = MetaStoreOp::Write { register, expected: newest.version, value, members: members.to_vec() };
        match self.op(decided, op)? {
            MetaStoreResult::Written { version, .. } => Ok(Some(version)),
            MetaStoreResult::Conflict(_) | MetaStoreResult::Unknown => Ok(None),
            MetaStoreResult::InvalidMembers => Err(ClusterError::InvalidMembers(members.len())),
            other => Err(ClusterError::NoChain(format!("{other:?}"))),
        }
    }

    /// Gives a register to other members, which decide its versions from then on: the register of this log, or the root register.
    /// Its value stays, as a new version; the same members again change nothing. When this returns, a majority of the new members
    /// has the register, and the old ones are not needed any more.
    ///
    /// # Errors
    /// There is no such log, or its creation is not finished; or no majority of the old members, or of the new ones, answers in time:
    /// then do it again, before a member of old is taken away.
    pub fn rewrite_members(&self, log: Option<&str>, members: &[Member]) -> Result<(), ClusterError> {
        match log {
            None => self.rewrite_root(members),
            Some(name) => self.rewrite_log(name, members),
        }
    }

    fn rewrite_root(&self, members: &[Member]) -> Result<(), ClusterError> {
        let mut written = false;
        for () in self.tries() {
            // A read is answered by a majority of those who decide the next version: it finishes what a write before has begun.
            let (newest, root) = self.read_root()?;
            let root = root.ok_or_else(not_finished)?;
            if newest.members == members {
                return if written { self.spread_root(&root) } else { Ok(()) };
            }
            let (register, value) = (RegisterId::ROOT, newest.value.clone());
            self.write_after(register, self.known_root(), &newest, value, members)?;
            written = true;
        }
        Err(ClusterError::Contended)
    }

    fn rewrite_log(&self, name: &str, members: &[Member]) -> Result<(), ClusterError> {
        for () in self.tries() {
            let root = self.root()?;
            let record = root.log(name)?;
            let (newest, kept) = self.read_log(record)?;
            if newest.members == members {
                return self.edit_root(|root| Ok(root.with_keepers(record.log, members))).map(drop);
            }
            let value = match kept {
                Kept::Chain(chain) => chain.kept_by_others().to_json(),
                Kept::Deleted(_) => newest.value.clone(),
                Kept::Nothing => return Err(ClusterError::Unfinished(name.to_owned())),
            };
            self.write_after(record.register(), self.known_version(record), &newest, value, members)?;
        }
        Err(ClusterError::Contended)
    }

    /// Gives every register to nodes that are active and not lost, as many as before and at least three where there are so many, the root
    /// register first. Returns what could not be done, by log, or by none for the root register.
    ///
    /// # Errors
    /// The root register cannot be read.
    pub fn tend_registers(&self, lost: &[NodeId]) -> Result<Vec<(Option<String>, ClusterError)>, ClusterError> {
        let (newest, root) = self.read_root()?;
        let root = root.ok_or_else(not_finished)?;
        let mut failures = Vec::new();
        if let Err(error) = self.tend(None, (0, lost), &root, &newest) {
            failures.push((None, error));
        }
        for (name, record) in &root.logs {
            let tended = match self.read_log(record) {
                Ok((_, Kept::Nothing)) => Ok(()),
                Ok((newest, _)) => self.tend(Some(name), (record.log, lost), &root, &newest),
                Err(error) => Err(error),
            };
            if let Err(error) = tended {
                failures.push((Some(name.clone()), error));
            }
        }
        Ok(failures)
    }

    fn tend(
        &self,
        log: Option<&str>,
        (turn, lost): (u64, &[NodeId]),
        root: &Root,
        newest: &Versioned,
    ) -> Result<(), ClusterError> {
        let wanted = root.keepers_without(lost, turn, &newest.members);
        let record = log.and_then(|name| root.logs.get(name));
        if wanted == newest.members && record.is_none_or(|record| record.keepers() == wanted) {
            return Ok(());
        }
        self.rewrite_members(log, &wanted)
    }

    /// The newest version of the root register, as far as those who decide the next one tell.
    fn newest_root(&self) -> Result<Decision, ClusterError> {
        let (newest, _) = self.read_root()?;
        Ok(self.version_at(&newest.members, RegisterId::ROOT).unwrap_or_else(|| self.known_root()))
    }

    fn tell_root(&self, address: SocketAddr, decision: Decision) -> Receiver<Result<RegisterMessage, OpError>> {
        self.client().ask_register(address, self.id(), RegisterId::ROOT, RegisterMessage::Learn { decision })
    }

    /// Tells the node at this address the newest version of the root register: from then on the cluster can be found by it, and it can
    /// begin no other one (P8 f).
    ///
    /// # Errors
    /// It, or everybody who knows the root register, does not answer, or it belongs to another cluster.
    pub(super) fn teach_root(&self, address: SocketAddr) -> Result<(), ClusterError> {
        match self.tell_root(address, self.newest_root()?).recv().map_err(|_| OpError::Closed)?? {
            RegisterMessage::Learned { .. } => Ok(()),
            other => Err(GenesisError::Unexpected(address, format!("{other:?}")).into()),
        }
    }

    /// Tells all nodes who decides the next version of the root register, as far as they answer: the cluster is found by any of them.
    fn spread_root(&self, root: &Root) -> Result<(), ClusterError> {
        let decision = self.newest_root()?;
        let tell = |node: &NodeRecord| ((), self.tell_root(node.member.address, decision.clone()));
        drop(gather(root.nodes.iter().map(tell).collect()));
        Ok(())
    }
}
