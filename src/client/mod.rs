//! The client: a [`Client`] is one I/O thread, a [`Log`] is one log opened on it.
//!
//! Appends are pipelined and batched by nature: while frames are on the way, records collect in the next one. Nothing here
//! depends on an async runtime: an [`Append`] is a plain future, and can be waited for on any thread.

mod append;
mod bootstrap;
mod cluster;
mod deduplicate;
mod deletion;
mod division;
mod errand;
mod error;
mod filing;
mod gather;
mod genesis;
mod handle;
mod inbox;
mod keepers;
mod log;
mod loglet;
mod membership;
mod metastore;
mod native;
mod nodes;
mod operation;
mod profile;
mod reactor;
mod registers;
mod session;
mod striped;
mod submission;
mod subscription;
mod token;
mod virtual_log;
mod work;

/// What a log and a cluster are made of.
pub use crate::proto::virtual_log::{
    Chain, ChainSegment, GivenUp, Intent, LogRecord, LogletSpec, NodeRecord, NodeState, Root, RootRefusal, Seat,
    StripeRange, StripedConfig, Stripes, Wanted, WantedStripe, rotate, shown_name,
};
pub use append::Append;
pub use cluster::{Cluster, ClusterError};
pub use deduplicate::{Deduplicate, Seen};
pub use deletion::DeletedLog;
pub use error::{AppendError, Full, OpError, StopConflict};
pub use genesis::GenesisError;
pub use handle::{Client, ClientOptions, Collocated, NodeInfo};
pub use log::{Delivery, Filled, Log, ReadResult, Tail};
pub use membership::{Drained, NodeUse};
pub use metastore::{EmbeddedMetaStore, FileMetaStore, FileMetaStoreError, MetaStore, RegisterFiles};
pub use operation::Operation;
#[cfg(test)]
pub(crate) use profile::testing;
pub use profile::{AppendProfile, SlowAppend};
pub use reactor::Reactor;
pub use subscription::{Event, Subscription};
pub use token::{AppendToken, Tokened, Tokens, UnknownEnvelope};
pub use virtual_log::{Extended, LogAppend, LogAppendError, VirtualLog};
