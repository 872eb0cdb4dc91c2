//! The MetaStore as a program uses it: one trait, and the stores that keep its contract.

mod directory;
mod embedded;
mod file;

pub use directory::RegisterFiles;
pub use embedded::EmbeddedMetaStore;
pub use file::{FileMetaStore, FileMetaStoreError};

use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult};

/// Versioned registers with conditional writes, by the contract of [`crate::proto::metastore::contract`]. Any number of threads, and as far
/// as the store reaches processes, may use it at once.
pub trait MetaStore: Send + Sync {
    /// Carries out an operation, and blocks until it is over.
    fn carry_out(&self, op: MetaStoreOp) -> MetaStoreResult;
}
