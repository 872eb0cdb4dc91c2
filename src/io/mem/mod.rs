//! The simulated driver: disks, a network and time that exist only in memory, with faults.
//!
//! A [`World`] holds everything; a [`MemDriver`] is one shard's view of it. The same seed and the same calls give the same
//! events, byte for byte ([`World::trace`]).

mod disk;
mod driver;
mod net;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use disk::DiskFault;
pub use driver::MemDriver;
pub use state::{Counts, DriverId};
pub use store::DiskFaults;
pub use trace::Trace;
pub use world::{Config, DiskSeen, DiskStep, Link, NetworkFaults, Seen, Sent, World};
