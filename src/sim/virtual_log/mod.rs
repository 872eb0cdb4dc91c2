//! Clients of a virtual log, whose chain is in the nodes' own MetaStore: everything between the clients and the disks is what runs in
//! production.
//!
//! - `workload`: how the log begins, and what is told of it.
//! - `client`: what the clients do.
//! - `ended`: what comes of it.
//! - `ending`: what has to come about after the healing.
//! - `chains`: what everybody has held for the chain, as history.

mod chains;
mod client;
mod ended;
mod ending;
mod workload;

pub(super) use workload::VirtualLogs;
