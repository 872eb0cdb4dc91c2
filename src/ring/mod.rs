//! What threads share: the only place with atomics and locks of its own.

mod completion;
mod sync;
mod wake_flag;
mod work_queue;

pub use completion::{Completion, wait};
pub use wake_flag::WakeFlag;
pub use work_queue::WorkQueue;
