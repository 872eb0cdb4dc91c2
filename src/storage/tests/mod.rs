//! The journal on a disk in memory.

mod anchor;
pub(super) mod codecs;
mod crashes;
mod damage;
mod faults;
mod lives;
mod random;
mod reading;
mod space;
