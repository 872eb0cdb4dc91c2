//! Input and output: one vocabulary of operations, one trait, one folder for each implementation.

mod choice;
mod clock;
#[cfg(test)]
mod conformance;
pub mod device;
mod driver;
pub mod epoll;
mod files;
mod local;
mod lodger;
pub mod mem;
pub mod op;
mod peer_timeout;
mod pipe;
mod slab;
mod sockets;
mod system;
pub mod uring;
mod worker;

pub use choice::{DriverChoice, DriverError, DriverKind};
pub use driver::{CoreTime, Driver};
pub use local::LocalListener;
pub use lodger::{LODGERS, Lodger};
pub use pipe::PipeEnd;
pub use system::SystemDriver;
