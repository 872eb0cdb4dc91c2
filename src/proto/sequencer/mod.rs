//! The sequencer of one loglet: gives out offsets, stores on every LogServer, acknowledges what a majority has stored.

mod append;
mod fill;
mod lanes;
mod machine;
mod patience;
mod queue;
mod seal;
mod space;
mod stages;
mod status;
mod store;
#[cfg(test)]
pub(crate) mod testing;
mod watermark;

pub use fill::Given;
pub use machine::{Lost, Sequencer, State};
pub use stages::StoreTimes;
pub use status::{ServerStatus, Status};
