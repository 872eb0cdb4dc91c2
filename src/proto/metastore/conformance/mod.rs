//! Conformance: what every MetaStore has to do (`suite`), acceptors and proposers joined in memory (`world`), the suite on them
//! (`joined`), what operations may return (`history`), the executions that the rules are there for (`rules`), random faults
//! (`random`), every execution within bounds (`model`), and the rules broken on purpose (`mutants`).

mod genesis;
mod history;
mod joined;
mod model;
mod mutants;
mod random;
mod rules;
mod suite;
mod world;
