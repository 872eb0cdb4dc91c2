//! The VirtualLog: a chain of loglets, shown as one log (Delos OSDI'20, section 3).
//!
//! - `chain`: the chain as a value, and the changes it allows.
//! - `intent`: a change that somebody has begun.
//! - `spec`: what kind of loglet serves a segment; `rotation`: who sequences which of its stripes.
//! - `extend`: one attempt to end the last loglet and put another behind it.
//! - `contract`: what a virtual log does, as data.
//! - `log`: the client of one log.
//! - `stored`: the chain as a register holds it.
//! - `genesis`: how a cluster begins.
//! - `root`: which nodes and logs a cluster has; `membership`: how the nodes change; `placement`: on which of them something is kept.

mod chain;
#[cfg(test)]
mod conformance;
pub mod contract;
mod extend;
mod genesis;
mod intent;
mod log;
mod membership;
mod placement;
mod range;
mod root;
mod rotation;
mod spec;
mod stored;
#[cfg(test)]
mod tests;

pub use chain::{Chain, ChainSegment, InvalidChain, Place, Refusal, Settled};
pub use extend::{Extend, Host, Outcome, Step, Wish, Written};
pub use genesis::{Genesis, Held, OtherGenesis};
pub use intent::{GivenUp, Intent, Wanted, WantedStripe};
pub use log::{Trouble, VirtualLog};
pub use range::StripeRange;
pub use root::{LogRecord, NodeRecord, NodeState, Root, RootRefusal, Stripes, shown_name};
pub use rotation::{Seat, rotate};
pub use spec::{LogletSpec, StripedConfig};
