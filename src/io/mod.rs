//! Input and output: one vocabulary of operations, one trait, one folder for each implementation.

#[cfg(test)]
mod conformance;
mod driver;
mod files;
pub mod mem;
pub mod op;
mod peer_timeout;
mod slab;
pub mod uring;
mod worker;

pub use driver::Driver;
