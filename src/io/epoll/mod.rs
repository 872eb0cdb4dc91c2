//! The driver on epoll, for where io_uring is refused: readiness for the sockets, threads for the files.
//!
//! Sockets: edge-triggered readiness through mio, so that a connection costs no system call but its sends and receives; a
//! send is tried when it is submitted. Files: direct I/O by `pwritev2(RWF_DSYNC)` and `pread` on threads of their own, each
//! write as durable as on a ring.

mod connection;
mod disk;
mod driver;
mod net;
mod options;
mod pool;
mod receive;
#[cfg(test)]
mod tests;
mod wake;

pub use driver::EpollDriver;
pub use options::{Counters, Options};
