//! The MetaStore: versioned registers with conditional writes, one for each virtual log and the root register (P8).
//!
//! `contract` is what every MetaStore does, as data. The rest is the one that is embedded in the nodes: `acceptor` votes, on nodes, and
//! keeps its `cell`s in the journal (`cells`); `proposer` runs in clients, with an `operation` under way for each `register` and a `link`
//! to each acceptor. `docs/PROTOCOL.md` describes the messages.

mod acceptor;
mod cell;
mod cells;
pub mod contract;
mod link;
mod operation;
mod proposer;
mod register;

pub use acceptor::Acceptor;
pub use cell::{REGISTER_CELL, RETIRED_CELL};
pub use cells::Cells;
pub use proposer::Proposer;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
