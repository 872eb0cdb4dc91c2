//! The executions that the protocol's rules are there for, step by step, on the real cores. Each fails when its rule is broken.
//!
//! Steps are numbered as the rules number them; the LogServers S1..S3 of the rules are 0..2 here. Where connections are not held by
//! a test, their order is drawn from a seed, so each execution runs in many.

mod check_tail_table;
mod damage;
mod known_tail;
mod life;
mod reach;
mod seal;
mod sequencer;
mod store;
mod trim;

use reach::{client_reaches, over_seeds, reaches, sequencer_reaches, silence};
