//! Ends a wait from another thread, through an eventfd.

use std::io;
use std::sync::Arc;
use std::task::Wake;

use crate::ring::WakeFlag;

/// Shared by the driver, its threads and its wakers; the descriptor stays open as long as one of them is alive.
pub(super) struct WakeUp {
    pub(super) flag: WakeFlag,
    event: mio::Waker,
}

impl WakeUp {
    /// Wakes with an event of this token.
    pub(super) fn new(registry: &mio::Registry, token: mio::Token) -> io::Result<Self> {
        Ok(Self { flag: WakeFlag::new(), event: mio::Waker::new(registry, token)? })
    }
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.flag.notify() {
            // It fails only for bad arguments.
            let _ = self.event.wake();
        }
    }
}
