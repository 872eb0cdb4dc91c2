//! A node: one data directory, one listening port, and its shards, one thread each.

mod data_dir;
mod facts;
mod running;

pub use data_dir::{DataDir, DataDirError, Durability};
pub use facts::{NodeFacts, SharedLock, journal_directory};
pub use running::{NodeConfig, Running, ServeError, serve};
