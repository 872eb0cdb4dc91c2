//! The journal on a disk in memory.

mod crashes;
mod faults;
mod lives;
mod random;
mod reading;
mod space;
