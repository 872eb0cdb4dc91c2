//! The driver on io_uring: one ring for network and disk, one thread.
//!
//! Sockets: multishot accept and receive with one ring of provided buffers. Files: direct I/O from registered buffers, each
//! write durable by itself (`RWF_DSYNC`). File operations that block run on a background thread, never on the kernel's
//! worker threads.

mod buffers;
mod connections;
mod disk;
mod driver;
mod flight;
mod net;
mod options;
mod receive;
mod ring;
mod sys;
#[cfg(test)]
mod tests;
mod wake;

pub use driver::UringDriver;
pub use options::{Capabilities, Counters, Options};
