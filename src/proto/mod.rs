//! Protocols as plain state machines: no sockets, no files, no clock, no threads.

pub mod log_server;
pub mod loglet;
pub mod peer;
#[cfg(test)]
pub mod testing;
