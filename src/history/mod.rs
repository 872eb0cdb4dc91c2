//! What clients asked of a log, when, and what they got; and the rules that every such history obeys.

mod chains;
mod invariants;
mod ops;

pub use chains::{ChainPart, ChainVersion, Intended, Servers};
pub use invariants::{ALL, Invariant, Violation, check};
pub use ops::{Append, AppendOutcome, History, Moment, Read, Seal, Segment, TailCheck, Trim, Value};
