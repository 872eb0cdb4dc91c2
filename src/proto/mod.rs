//! Protocols as plain state machines: no sockets, no files, no clock, no threads.

pub mod loglet;
pub mod native;
mod peer;
pub mod sequencer;
pub mod sequencers;

pub use peer::PeerId;
