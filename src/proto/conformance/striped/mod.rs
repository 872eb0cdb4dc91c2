//! Striped loglets: the production core over natives joined in memory, and over striped loglets over these.
//!
//! `loglet` joins them, `joined` runs the suite, `random` has faults.

mod joined;
mod loglet;
mod random;
