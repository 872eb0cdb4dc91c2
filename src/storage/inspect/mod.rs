//! What a journal's files hold, and what the next start will make of them, for people and without changing anything.
//!
//! - `report`: the answer.
//! - `start`: the production recovery, run over bytes in memory.
//! - `walk`: every unit of one file, whatever the recovery makes of it.
//! - `findings`: what is wrong, and where.
//! - `inspect`: all of it, together.

mod findings;
#[expect(clippy::module_inception, reason = "the folder's subject")]
mod inspect;
mod report;
mod start;
#[cfg(test)]
mod tests;
mod walk;

pub use inspect::{InspectConfig, JournalFile, inspect};
pub use report::{
    Class, FileRole, Finding, HeadState, IndexState, JournalReport, LogletRecords, RecordRange, Segment, Severity,
    Start, Unit, UnitState,
};
