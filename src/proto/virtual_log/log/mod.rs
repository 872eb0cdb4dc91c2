//! The client of one virtual log, without sockets or clock.
//!
//! - `machine`: what goes in and out.
//! - `begin`: the first loglet.
//! - `append`: appends in their order, and what becomes of them when the loglet under them ends.
//! - `reading`: tails, and reads across segments.
//! - `following`: subscriptions across segments, which read ahead in those that are closed.
//! - `trim`: giving up the beginning.
//! - `deleted`: the end of the log.
//! - `deletions`: loglets that have left the chain.
//! - `trouble`: a loglet that takes no appends: who finds out, and when somebody acts.
//! - `attempt`: an extend on its way.
//! - `loglets`: which loglets the host has clients of.

mod append;
mod attempt;
mod begin;
mod deleted;
mod deletions;
mod following;
mod intent;
mod loglets;
mod machine;
mod modify;
mod reading;
mod trim;
mod trouble;

pub use machine::VirtualLog;
pub use trouble::Trouble;
