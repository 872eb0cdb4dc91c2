//! The real cores of a NativeLoglet joined in memory: LogServers on disks of the test's, one sequencer and its process, clients,
//! and a network that keeps the order of each connection and nothing else. Which of the possible events happens next is drawn from a
//! seed, or decided by a test, which holds back connections and disks.

mod connection;
mod explore;
mod fault;
mod lanes;
mod part;
mod pump;
mod server;
mod step;
mod world;

pub(crate) use connection::{End, Pair};
pub(crate) use step::Event;
pub(crate) use world::{Cluster, LOGLET, read, records_of, tail, texts};
