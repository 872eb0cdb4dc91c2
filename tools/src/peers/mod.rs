//! The same load on Naxos and on other systems, each from its Debian package, on this machine.
//!
//! [`run()`] takes the systems in turn; [`measure`] starts one, offers the load ([`load`]) in every shape, and reads
//! everything back. A system has a file that says how it is started and spoken to.

mod alarm;
mod etcd;
mod grpc;
mod jute;
mod load;
mod measure;
mod nats;
mod nats_protocol;
mod naxos;
mod options;
mod peer;
mod process;
mod protobuf;
mod redis;
mod row;
mod run;
mod wire;
mod zookeeper;

pub(crate) use options::Options;
pub(crate) use run::run;
