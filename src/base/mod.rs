//! What every layer shares and nothing else: identities, limits, time, randomness, buffers, checksums.

mod buf;
pub mod checksum;
mod histogram;
mod id;
mod limits;
pub mod mutants;
mod quorum;
mod slowest;
mod stage;
mod time;

pub use buf::Buf;
pub(crate) use buf::Registration;
pub use histogram::Histogram;
pub use id::{
    CellKey, ClusterId, DeviceId, Incarnation, IntentId, InvalidId, LogPos, LogletId, NodeId, Nonce, Offset,
    ProposerId, RegisterId, Version, Write, WriterId,
};
pub use limits::{InvalidLimits, Limits};
pub use quorum::quorum;
pub use slowest::Slowest;
pub use stage::Stage;
pub use time::Instant;

/// A deterministic random stream. Each user draws from a stream of its own, forked from a seed.
pub type Rng = fastrand::Rng;
