use super::super::contract::LogResult;
use super::super::intent::GivenUp;
use super::machine::{Kind, Purpose, VirtualLog};
use crate::proto::loglet::OpId;
use crate::proto::metastore::contract::MetaStoreResult;

/// Gives up an intent that cannot be carried out (P15).
impl VirtualLog {
    fn intent_to_drop(&self, id: OpId) -> GivenUp {
        match self.operations.get(&id).map(|operation| &operation.kind) {
            Some(Kind::DropIntent(intent)) => intent.clone(),
            other => unreachable!("an intent that is given up, not {other:?}"),
        }
    }

    pub(super) fn drop_intent(&mut self, id: OpId) {
        let chain = self.chain.clone().expect("asked only once there is a chain");
        match chain.without_intent(self.intent_to_drop(id)) {
            Some(next) => {
                self.ask_metastore(Purpose::Operation(id, None), Some(&next));
                self.mark_busy(id);
            }
            None => self.end(id, LogResult::Chain(Box::new(chain))),
        }
    }

    pub(super) fn intent_dropped(&mut self, id: OpId, result: MetaStoreResult) {
        match result {
            // The chain tells whether it is gone, and asks again if not.
            MetaStoreResult::Written { .. } => self.read_chain(),
            other => self.chain_not_written(id, other),
        }
    }
}
