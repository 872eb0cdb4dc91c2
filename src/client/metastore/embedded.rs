use std::collections::BTreeMap;

use super::super::Cluster;
use super::MetaStore;
use crate::base::RegisterId;
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult};
use crate::wire::Decision;

/// The MetaStore that a cluster's nodes keep themselves, by Paxos.
#[derive(Debug, Clone)]
pub struct EmbeddedMetaStore {
    cluster: Cluster,
    /// Any decided version of each register that may be asked for (P8 a).
    decided: BTreeMap<RegisterId, Decision>,
}

impl EmbeddedMetaStore {
    /// The store of this cluster, so far with its root register only.
    pub fn new(cluster: Cluster) -> Self {
        let decided = BTreeMap::from([(RegisterId::ROOT, cluster.known_root())]);
        Self { cluster, decided }
    }

    /// Opens a register, with any decided version of it: as a rule the one that it was born with, which the root register names.
    pub fn open(&mut self, register: RegisterId, decided: Decision) {
        self.decided.insert(register, decided);
    }
}

impl MetaStore for EmbeddedMetaStore {
    fn carry_out(&self, op: MetaStoreOp) -> MetaStoreResult {
        let Some(decided) = self.decided.get(&op.register()) else { return MetaStoreResult::UnknownRegister };
        let is_write = matches!(op, MetaStoreOp::Write { .. });
        match self.cluster.ask_metastore(decided.clone(), op) {
            Ok(result) => result,
            // What was on its way may still be decided.
            Err(_) if is_write => MetaStoreResult::Unknown,
            Err(error) => MetaStoreResult::Unavailable { reason: error.to_string() },
        }
    }
}
