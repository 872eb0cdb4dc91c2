//! The client of a NativeLoglet: executes the operations of the Loglet contract as messages to a sequencer and LogServers.

mod append;
mod check_tail;
mod choice;
mod create;
mod delete;
mod fill;
#[cfg(test)]
mod joint;
mod link;
mod machine;
mod read;
mod repair;
mod restore;
mod round;
mod seal;
mod step;
mod subscribe;
#[cfg(test)]
mod testing;
mod trim;

pub use append::Went;
pub use machine::{NativeLoglet, Target};
