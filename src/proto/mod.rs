//! Protocols as plain state machines: no sockets, no files, no clock, no threads.

#[cfg(test)]
mod conformance;
pub mod log_server;
pub mod loglet;
pub mod metastore;
pub mod native;
pub mod peer;
pub mod sequencer;
pub mod sequencers;
pub mod striped;
#[cfg(test)]
pub mod testing;
pub mod virtual_log;

pub use peer::PeerId;
