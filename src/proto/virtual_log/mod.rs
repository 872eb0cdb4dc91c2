//! The VirtualLog: a chain of loglets, shown as one log (Delos OSDI'20, section 3).
//!
//! - `chain`: the chain as a value, and the changes it allows.
//! - `intent`: a change that somebody has begun.
//! - `extend`: one attempt to end the last loglet and put another behind it.

mod chain;
mod extend;
mod intent;
#[cfg(test)]
mod tests;

pub use chain::{Chain, ChainSegment, InvalidChain, Place, Refusal, Settled};
pub use extend::{Extend, Host, Outcome, Step, Wish, Written};
pub use intent::{Intent, Wanted};
