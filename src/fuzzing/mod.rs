//! The bodies of the fuzz targets in `fuzz/`: each takes any bytes, and panics when the code under it breaks a promise.
//!
//! They are compiled with the feature `fuzzing`, and into unit tests, which replay the committed corpora. Those of the journal are in
//! `storage::fuzzing`, next to the formats that they need.

mod connection;
mod frames;
pub(crate) mod input;
mod messages;
mod shard;
#[cfg(test)]
mod tests;

pub use crate::storage::fuzzing::{journal_recovery, unit_decoding};
pub use connection::connection_state_machine;
pub use frames::frame_decoding;
