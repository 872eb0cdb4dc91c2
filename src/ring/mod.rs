//! What threads share: the only place with atomics and locks of its own.

mod completion;

pub use completion::{Completion, wait};
