//! Conformance: what every loglet has to do (`suite`), the real cores of a NativeLoglet joined in memory (`cluster`), the suite on
//! them (`joined`), the executions that the protocol's rules are there for (`rules`), random faults (`random`),
//! every execution within bounds (`model`), and the suite and random faults on striped loglets over such clusters (`striped`).
//!
//! `suite` is also compiled into `tests/loglet_conformance.rs`, which runs it over real nodes.

mod cluster;
mod joined;
mod model;
mod random;
mod rules;
mod striped;
mod suite;
