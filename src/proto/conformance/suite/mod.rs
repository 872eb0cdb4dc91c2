//! The contract of [`crate::proto::loglet`] as a test suite: one function for each behaviour, for any [`LogletUnderTest`].

pub(crate) mod append;
mod bench;
pub(crate) mod deletion;
pub(crate) mod durability;
pub(crate) mod fill;
mod list;
pub(crate) mod reading;
pub(crate) mod seal;
pub(crate) mod subscription;
pub(crate) mod tail;
pub(crate) mod trim;
mod under_test;

pub(crate) use bench::{Bench, NO_OP, check, records};
pub(crate) use list::loglet_conformance;
pub(crate) use under_test::{Checked, Fault, LogletUnderTest, Skipped};
