//! Clients of bare loglets, and a chain of the simulator's own in the place of the MetaStore: one value, always available. Each rule
//! of loglets shows here without another one in front of it.
//!
//! - `workload`: how the log begins, and what is told of it.
//! - `chain`: which loglet follows which.
//! - `client`: what the clients do.
//! - `ending`: what has to come about after the healing.

mod chain;
mod client;
mod ending;
mod workload;

pub(super) use workload::Loglets;
