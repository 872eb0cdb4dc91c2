//! Whole clusters in one thread, in virtual time: production shards and clients over the simulated driver, under faults drawn from
//! a seed.
//!
//! - `cluster`, `limits`: nodes, clients, and the loop that lets each of them run when it has something to do.
//! - `chain`, `client`: what the clients do, and which loglet follows which.
//! - `profile`, `plan`, `faults`: what goes wrong, and what never does, so that the cluster can recover.
//! - `observer`, `branches`: what is seen on the network, and which branches of the protocol were taken.
//! - `run`, `ending`: one seed; `batch`: many; `report`: what comes out.

mod batch;
mod branches;
mod chain;
mod client;
mod cluster;
mod ending;
mod faults;
mod limits;
#[cfg(test)]
mod mutants;
mod observer;
mod plan;
mod profile;
mod report;
mod reports;
mod run;

pub use batch::{Progress, run_seeds};
pub use branches::{Branch, Coverage};
pub use cluster::{Cluster, NODES, addresses, node_address};
pub use limits::small_limits;
pub use profile::{Profile, UnknownProfile};
pub use report::{SeedViolation, Summary};
pub use run::{Options, Outcome, run};
