//! The end of a log.

use super::OpError;
use super::cluster::{Cluster, ClusterError};
use super::keepers::Kept;
use crate::base::{LogletId, Version};
use crate::proto::virtual_log::{Chain, LogRecord};

/// What has become of a deleted log.
#[derive(Debug)]
pub struct DeletedLog {
    /// Its loglets, each stripe for itself, which are gone on a majority of their LogServers.
    pub loglets: Vec<LogletId>,
    /// Those that are not: they take nothing, and their space does not come back.
    pub failures: Vec<(LogletId, OpError)>,
}

impl Cluster {
    /// Deletes a log and all its records, for ever. Its name can be used again, for a log that has nothing to do with it. Doing it again,
    /// also after it was cut short, goes on.
    ///
    /// # Errors
    /// There is no such log, or no majority of its register's members, or of the root's, answers in time.
    pub fn delete_log(&self, name: &str) -> Result<DeletedLog, ClusterError> {
        let root = self.root()?;
        let record = root.log(name)?;
        // First the version that names no loglet, without which none may be deleted (P5); whoever appends can put none behind it. The
        // name is the last to go: as long as it is there, what was cut short can be found.
        let (version, chain) = self.end_chain(record)?;
        let mut deleted = DeletedLog { loglets: Vec::new(), failures: Vec::new() };
        let segments = chain.iter().flat_map(|chain| &chain.segments);
        for stripe in segments.flat_map(|segment| segment.loglet.stripes()) {
            let loglet = self.client().open(stripe, self.id());
            match loglet.start_delete(version.0).wait() {
                Ok(()) | Err(OpError::Gone) => deleted.loglets.push(stripe.id),
                Err(error) => deleted.failures.push((stripe.id, error)),
            }
        }
        if deleted.failures.is_empty() {
            self.forget_chain(record);
        }
        self.edit_root(|root| match root.log(name) {
            Ok(found) if found.log == record.log => root.without_log(name),
            // Somebody else has finished it.
            _ => Ok(root.clone()),
        })?;
        Ok(deleted)
    }

    /// Takes the chain out of the register of a deleted log, whose loglets are gone: that it is deleted has to be known for ever, since
    /// acceptors never forget what they have decided (P8 b), but nobody asks any more what it was. If it cannot be done it stays longer.
    fn forget_chain(&self, record: &LogRecord) {
        let written = self.read_log(record).and_then(|(newest, kept)| match kept {
            Kept::Deleted(Some(_)) => {
                let (register, decided) = (record.register(), self.known_version(record));
                self.write_after(register, decided, &newest, Chain::deleted(None), &newest.members).map(drop)
            }
            // Somebody else deletes it as well, and is further.
            _ => Ok(()),
        });
        if let Err(error) = written {
            tracing::debug!(log = record.log, %error, "the chain of a deleted log stays in its register");
        }
    }

    /// Writes the last version of a log's register that names its loglets; returns it, with the chain before it.
    fn end_chain(&self, record: &LogRecord) -> Result<(Version, Option<Chain>), ClusterError> {
        for () in self.tries() {
            let (newest, kept) = self.read_log(record)?;
            let chain = match kept {
                Kept::Deleted(chain) => return Ok((newest.version, chain)),
                Kept::Chain(chain) => Some(chain),
                Kept::Nothing => None,
            };
            let (register, decided) = (record.register(), self.known_version(record));
            let value = Chain::deleted(chain.as_ref());
            if let Some(version) = self.write_after(register, decided, &newest, value, &newest.members)? {
                return Ok((version, chain));
            }
        }
        Err(ClusterError::Contended)
    }
}
