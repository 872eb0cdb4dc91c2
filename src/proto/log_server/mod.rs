//! The LogServers of one shard, one state machine for all of its loglets.
//!
//! `server` takes requests and hands them to a `loglet`; each group of transitions has its file:
//! birth and death of a loglet (`life`), stores (`store`, `early`, `conflict`), whom they are answered (`lanes`), `seal`, tails (`tail`), reading
//! (`read`, `subscribe`), `trim`, `repair`, and the background copying of what this server lacks (`fill`,
//! `catch_up`). What must survive a restart is in `cell`; `recover` takes it back. Answers that wait for durability are
//! `waiters`; what all this may take in `memory`. `Pn` and `Ln` in comments name the protocol rules.

mod catch_up;
mod cell;
mod conflict;
mod disk;
mod early;
mod fill;
mod lanes;
mod life;
mod loglet;
mod memory;
mod ranges;
mod read;
mod recover;
mod repair;
mod seal;
mod server;
mod shared;
mod store;
mod subscribe;
mod tail;
mod trim;
mod waiters;

pub use cell::{FLOOR_CELL, LOGLET_CELL, TABLE_LOST_CELL};
pub use disk::{Disk, ReadId, ReadOutcome, RecoveredLoglet, Refused};
pub use loglet::LogletStatus;
pub use memory::{LOGLET_BYTES_MAX, SUBSCRIPTIONS_BYTES_MAX, buffers_bytes_max};
pub use server::LogServer;
pub use shared::Output;

#[cfg(test)]
mod tests;
