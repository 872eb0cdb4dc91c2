//! The journal of one shard: a sans-IO machine that emits [`crate::io::op::Op`]s and takes their completions.
//!
//! `docs/DATA_FILE.md` gives the format byte by byte; rule numbers (P9, P10, ..) are those of the protocol rules.
//!
//! - `format`, `unit`: bytes on disk, how a unit is built and how it is read back.
//! - `journal`: the public face; state and dispatch.
//! - `writer`, `head`, `index_block`, `segments`: units in flight, both ends of a segment, preparing and reclaiming files.
//! - `anchor`, `anchoring`: which segment is the newest, so that its loss is noticed.
//! - `carry`: indexes of former lives' last segments.
//! - `index`, `cache`, `reader`: from a loglet's offset to its records.
//! - `memory`: what all of it may hold in memory.
//! - `recovery`: what a start makes of the files it finds.
//! - `inspect`: the same without starting, for people.

mod anchor;
mod anchoring;
mod cache;
mod carry;
mod cells;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod head;
mod index;
mod index_block;
pub mod inspect;
mod journal;
mod memory;
mod reader;
mod recovery;
mod segments;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), expect(dead_code, reason = "fuzzing uses a part of it"))]
mod testing;
#[cfg(test)]
mod tests;
mod types;
mod unit;
mod windows;
mod writer;

pub use anchor::{ANCHOR_FILE, anchor_is_unused, first_anchor};
pub use journal::Journal;
pub use memory::MemoryBound;
pub use types::{
    Counters, Damage, DamageCause, Failure, Full, FullReason, JournalConfig, ReadOutcome, ReadRequest, Recovered,
    State, Work,
};
