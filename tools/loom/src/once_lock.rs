//! [`std::sync::OnceLock`], as far as it is used, on loom's atomics: loom has none of its own.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU8, Ordering};

const EMPTY: u8 = 0;
const BUSY: u8 = 1;
const SET: u8 = 2;

/// A value that is set once.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written by whoever has moved the state from `EMPTY` to `BUSY`, which happens once, and read only after
// `SET` was seen, which is stored behind the writing. Loom checks that, too.
#[expect(unsafe_code, reason = "a cell that is shared between threads")]
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(None) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: nothing writes the value any more.
        #[expect(unsafe_code, reason = "see the implementation of Sync")]
        self.value.with(|value| unsafe { (*value).as_ref() })
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        if self.state.compare_exchange(EMPTY, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: nobody else writes, and nobody reads before the state is `SET`.
        #[expect(unsafe_code, reason = "see the implementation of Sync")]
        self.value.with_mut(|place| unsafe { *place = Some(value) });
        self.state.store(SET, Ordering::Release);
        Ok(())
    }
}
