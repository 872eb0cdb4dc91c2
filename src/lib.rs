//! Naxos: a replicated, durable, totally ordered log for Linux.
//!
//! The layers, lowest first; imports run downwards only, which `tests/tidy.rs` enforces.
//! `docs/ARCHITECTURE.md` follows one append through them.

pub mod base;
pub mod cli;
pub mod client;
pub mod control;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod history;
pub mod inspect;
pub mod io;
pub mod loadgen;
pub mod metrics;
pub mod net;
pub mod node;
pub mod proto;
pub mod ring;
pub mod server;
pub mod sim;
pub mod storage;
pub mod wire;
