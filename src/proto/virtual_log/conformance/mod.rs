//! Every execution of clients of one log within bounds: the production client over loglets and a register that do all that their
//! contracts allow.
//!
//! - `loglet`: a loglet by its contract.
//! - `world`: the register, the loglets, the clients, and what everybody was told.
//! - `rules`: what always holds.
//! - `model`: the search.

mod loglet;
mod model;
mod rules;
mod world;
