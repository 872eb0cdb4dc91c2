use super::sequencing::Sequencing;
use crate::proto::log_server::LogServer;
use crate::proto::metastore::Acceptor;
use crate::storage::Journal;

/// What a shard's requests go to: the protocols, and the journal under them.
pub(super) struct Cores {
    pub(super) log_server: LogServer,
    pub(super) sequencing: Sequencing,
    /// Asked on the node's first shard only.
    pub(super) acceptor: Acceptor,
    pub(super) journal: Journal,
}
