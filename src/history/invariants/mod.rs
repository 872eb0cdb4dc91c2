//! What holds in every history, one file each. A check draws nothing at random and takes O(n log n).

mod acknowledged_lost;
mod append_order;
mod blank_vote;
mod boundary;
mod contents;
mod convergence;
mod false_damage;
mod intent;
mod known_tail;
mod one_chain;
mod one_value;
mod open_tail;
mod order_of_appends_after_tails;
mod order_of_records;
mod read_limit;
mod registry;
mod seal;
mod sealed_outcome;
mod stable_values;
mod tail_covers;
#[cfg(test)]
mod tests;
mod trim;

pub use registry::{ALL, Invariant, Violation, check};
