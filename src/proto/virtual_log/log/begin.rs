use super::super::chain::Chain;
use super::super::contract::LogResult;
use super::super::spec::LogletSpec;
use super::machine::{Kind, Purpose, VirtualLog};
use crate::proto::loglet::{LogletResult, OpId};
use crate::proto::metastore::contract::MetaStoreResult;

/// How a log begins: its first loglet is made, and then its chain is written, on the condition that there is none.
impl VirtualLog {
    fn first_loglet(&self, id: OpId) -> LogletSpec {
        match self.operations.get(&id).map(|operation| &operation.kind) {
            Some(Kind::Begin(loglet)) => (**loglet).clone(),
            other => unreachable!("a log that begins, not {other:?}"),
        }
    }

    /// The register has no chain: whoever waits for that goes on.
    pub(super) fn make_first_loglets(&mut self) {
        let waiting = self.operations.iter().filter(|(_, operation)| !operation.busy);
        let waiting = waiting.filter(|(_, operation)| matches!(operation.kind, Kind::Begin(_)));
        let waiting: Vec<OpId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            let loglet = self.first_loglet(id);
            self.create_loglet(&loglet, Purpose::Operation(id, Some(loglet.id())));
            self.mark_busy(id);
        }
    }

    pub(super) fn first_loglet_made(&mut self, id: OpId, result: LogletResult) {
        match result {
            LogletResult::Done => {
                let chain = Chain::begin(self.first_loglet(id));
                self.ask_metastore(Purpose::Operation(id, None), Some(&chain));
                self.mark_busy(id);
            }
            LogletResult::Unavailable { reason } => self.end(id, LogResult::Unavailable { reason }),
            other => {
                let reason = format!("the first loglet could not be made: {other:?}");
                self.end(id, LogResult::Unavailable { reason });
            }
        }
    }

    pub(super) fn first_chain_written(&mut self, id: OpId, result: MetaStoreResult) {
        match result {
            MetaStoreResult::Written { .. } => {
                let chain = Chain::begin(self.first_loglet(id));
                self.end(id, LogResult::Chain(Box::new(chain.clone())));
                self.adopt(chain);
            }
            // The register tells whose chain it is.
            other => self.chain_not_written(id, other),
        }
    }

    /// There is a chain: perhaps one's own, whose write had an unknown end.
    pub(super) fn begun_by_another(&mut self, id: OpId) {
        let chain = self.chain.clone().expect("asked only once there is a chain");
        let is_own = chain.segment_of(self.first_loglet(id).id()).is_some();
        let chain = Box::new(chain);
        self.end(id, if is_own { LogResult::Chain(chain) } else { LogResult::Overtaken(chain) });
    }
}
