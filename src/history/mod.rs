//! What clients asked of a log, when, and what they got; and the rules that every such history obeys.

mod invariants;
mod ops;

pub use invariants::{ALL, Invariant, Violation, check};
pub use ops::{Append, AppendOutcome, History, Moment, Read, Seal, Segment, TailCheck, Trim, Value};
