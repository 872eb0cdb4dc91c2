//! What threads share: the only place with atomics and locks of its own.

mod completion;
mod relay;
mod sync;
mod ticket;
mod wake_flag;
mod watermark;
mod work_queue;

pub use completion::{Completion, wait};
pub use relay::{Popped, Pushed, Relay};
pub use ticket::{RANGE_MAX, Ticket};
pub use wake_flag::WakeFlag;
pub use watermark::Watermark;
pub use work_queue::WorkQueue;
