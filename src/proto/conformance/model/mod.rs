//! Every execution within bounds, over the production cores joined in memory: what a seed draws at random elsewhere is tried in every
//! order here (`stateright`). `docs/TESTING.md` says what the bounds are and why equal digests mean equal futures.

mod checker;
mod history;
mod mutants;
mod scenario;
mod search;
mod state;
