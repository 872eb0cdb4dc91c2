use super::super::contract::LogResult;
use super::machine::VirtualLog;
use crate::proto::loglet::OpId;

/// What everybody is told.
pub(super) const DELETED: &str = "the log has been deleted";

impl VirtualLog {
    /// The register says that the log is deleted, and will never say anything else: whatever waits for it ends.
    pub(super) fn deleted(&mut self) {
        self.deleted = true;
        // Nothing comes behind the last loglet any more.
        self.trouble = None;
        self.look_at = None;
        let operations: Vec<OpId> = self.operations.keys().copied().collect();
        operations.into_iter().for_each(|id| self.end(id, LogResult::Unavailable { reason: DELETED.to_owned() }));
        self.fail_attempt(DELETED.to_owned());
        self.settle_appends();
        let subscriptions: Vec<OpId> = self.subscriptions.keys().copied().collect();
        for id in subscriptions {
            self.unsubscribe(id);
            self.give(id, LogResult::Unavailable { reason: DELETED.to_owned() });
        }
    }
}
