//! StripedLoglet: one loglet over several, by which its offsets go in turns (RULES P6, L10).
//!
//! `layout` converts offsets; `machine` is the loglet; `append` routes appends and withholds acknowledgements, `filler` asks stripes that
//! hold others up; `gather` asks all stripes one thing; `subscribe` and `merge` put their records in order.

mod append;
mod filler;
mod gather;
mod layout;
mod machine;
mod merge;
#[cfg(test)]
mod model;
mod subscribe;
#[cfg(test)]
mod tests;

pub use layout::Layout;
pub use machine::{Ask, Request, StripedLoglet};
