//! Many loads in turn, and the directory that keeps what they amount to.
//!
//! A [`matrix`] says which points are measured. Each run is a [`row`] of `results.csv` and an interval of its point's [`hlog`];
//! the [`manifest`] says on what, how, and beside what [`noise`]. [`record`] is the directory of all three, and [`summary`] takes
//! the runs of each point together.

pub mod hlog;
pub mod host;
pub mod manifest;
pub mod matrix;
pub mod noise;
pub mod record;
pub mod row;
pub mod summary;
