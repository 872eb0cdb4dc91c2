//! Every execution of clients of one striped loglet within bounds: the production core over stripes that do all that their contract
//! allows.
//!
//! - `stripe`: a stripe by its contract.
//! - `world`: the stripes, the clients, and what is on its way between them.
//! - `history`: what everybody was told, and what always holds.
//! - `search`: the search, and its bounds.
//! - `executions`: those that the rule is there for, one by one.

mod executions;
mod history;
mod search;
mod stripe;
mod world;
