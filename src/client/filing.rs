use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::metastore::RegisterFiles;
use crate::proto::loglet::OpId;
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult};
use crate::wire::Decision;

/// Operations on one register in files, one after the other on a thread of their own: the reactor waits for no disk. The thread ends
/// when this is dropped, after what it is doing.
#[derive(Debug)]
pub(super) struct Filing {
    jobs: Sender<(OpId, MetaStoreOp)>,
}

impl Filing {
    /// `decided` is any decided version of the register; `done` is told what has ended.
    pub(super) fn start(
        files: RegisterFiles,
        decided: Decision,
        done: impl Fn(OpId, MetaStoreResult) + Send + 'static,
    ) -> Self {
        let (jobs, waiting) = channel();
        let work = move || waiting.into_iter().for_each(|(id, op)| done(id, files.carry_out(&decided, op)));
        if let Err(error) = thread::Builder::new().name("naxos-registers".to_owned()).spawn(work) {
            tracing::error!(%error, "cannot start a thread for the registers in files");
        }
        Self { jobs }
    }

    /// Starts an operation. False: nobody carries it out, because no thread could be started.
    #[must_use]
    pub(super) fn op(&self, id: OpId, op: MetaStoreOp) -> bool {
        self.jobs.send((id, op)).is_ok()
    }
}
