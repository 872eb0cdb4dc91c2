//! Protocols as plain state machines: no sockets, no files, no clock, no threads.

pub mod loglet;
