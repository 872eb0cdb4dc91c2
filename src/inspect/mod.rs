//! A node's data directory, looked at without its node: what is in it, what the next start will make of it, and what is
//! damaged. Nothing is written.
//!
//! - `directory`: the whole of it.
//! - `mapped`: files in memory, without the risk that a bad disk block ends the process.
//! - `loglets`: what the LogServers will make of what the journals hold.
//! - `explain`: what each finding means for who runs the node.
//! - `report`: the answer, which is also the JSON that `docs/INSPECT.md` describes.

mod directory;
mod explain;
mod loglets;
mod mapped;
mod report;

pub use directory::{InspectError, Options, inspect};
pub use report::{Cell, Explained, Loglet, Report, SCHEMA};

pub use crate::storage::inspect::{JournalReport, Severity, Start};
