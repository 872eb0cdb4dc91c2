//! The journal on a disk in memory.

mod anchor;
mod crashes;
mod damage;
mod faults;
mod lives;
mod random;
mod reading;
mod space;
