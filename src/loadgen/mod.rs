//! Load for a cluster, and what the hardware under it could do.
//!
//! One generator thread keeps many clients busy ([`generator`]); [`verify`] reads everything back; [`report`] says how far
//! the result is from the [`floor`] of the same disk and loopback.

pub mod bars;
pub mod blocks;
pub mod busy;
pub mod catch_up;
pub mod cores;
pub mod counters;
pub mod cpu;
pub mod date;
pub mod device;
mod drawing;
pub mod explain;
pub mod floor;
pub mod generator;
pub mod interval_log;
pub mod io_wq;
pub mod live;
mod logs;
pub mod machine;
pub mod network;
pub mod numbered;
mod pace;
pub mod paired;
pub mod payload;
mod prewritten;
pub mod read_floor;
pub mod read_report;
mod ready;
pub mod realtime;
pub mod report;
pub mod run;
pub mod shell;
pub mod spread;
pub mod stages;
pub mod stall;
mod stretches;
pub mod sweep;
pub mod tail;
pub mod tails;
pub mod trimmer;
pub mod verify;
pub mod waterfall;
pub mod witness;
