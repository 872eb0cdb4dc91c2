//! What the code here synchronises with. `tools/loom` puts loom's in this place, and goes through the interleavings of the rest.

pub(super) use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
pub(super) use std::thread::{Thread, current, park};
