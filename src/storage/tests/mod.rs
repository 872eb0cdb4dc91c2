//! The journal on a disk in memory.

mod crashes;
mod lives;
mod space;
