//! What a start makes of the files it finds (P9).
//!
//! - `fetch`: many reads in flight, into memory.
//! - `anchor`: what the anchor says, and what is lost for good.
//! - `facts`: what the bytes say, before anything is believed.
//! - `judge`: torn, discarded or damaged.
//! - `replay`: from accepted units to state.
//! - `machine`: the order of it all.
//! - `inspect`: single steps of it, for who looks at files without starting on them.

mod anchor;
mod facts;
mod fetch;
mod inspect;
mod judge;
mod machine;
mod replay;
#[cfg(test)]
mod tests;

pub(super) use inspect::{UnitContent, content, index_end, judge_closed, newest_use};
pub(super) use machine::{Recovery, Restored};
