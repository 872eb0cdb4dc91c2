//! Lock-free pieces.

mod wake_flag;

pub use wake_flag::WakeFlag;
