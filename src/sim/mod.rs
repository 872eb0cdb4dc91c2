//! Whole clusters in one thread, in virtual time: production shards and clients over the simulated driver, under faults drawn from
//! a seed.
//!
//! - `cluster`, `limits`: nodes, clients, and the loop that lets each of them run when it has something to do.
//! - `workload`: what clients do; `loglets`: on bare loglets; `virtual_log`: on a log with its chain in the nodes.
//! - `recording`, `stream`: how it comes into the history.
//! - `profile`, `plan`, `faults`: what goes wrong, and what never does, so that the cluster can recover.
//! - `observer`, `branches`: what is seen on the network, and which branches of the protocol were taken.
//! - `run`: one seed; `batch`: many; `report`: what comes out.

mod batch;
mod branches;
mod cluster;
mod faults;
mod limits;
mod loglets;
#[cfg(test)]
mod mutants;
mod observer;
mod plan;
mod profile;
mod recording;
mod report;
mod reports;
mod run;
mod stream;
mod virtual_log;
mod workload;

pub use batch::{Progress, run_seeds};
pub use branches::{Branch, Coverage};
pub use cluster::{Cluster, NODES, addresses, node_address};
pub use limits::small_limits;
pub use profile::{Profile, UnknownProfile};
pub use report::{SeedViolation, Summary};
pub use run::{Options, Outcome, run};
