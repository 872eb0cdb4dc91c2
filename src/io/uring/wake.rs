//! Ends a wait from another thread, through an eventfd.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Wake;

use rustix::event::EventfdFlags;

use crate::ring::WakeFlag;

/// Shared by the driver and its wakers; the descriptor stays open as long as one of them is alive.
pub(super) struct WakeUp {
    pub(super) flag: WakeFlag,
    event: OwnedFd,
}

impl WakeUp {
    pub(super) fn new() -> io::Result<Self> {
        // Blocking: a read of a non-blocking descriptor on the ring would fail at once instead of waiting.
        Ok(Self { flag: WakeFlag::new(), event: rustix::event::eventfd(0, EventfdFlags::CLOEXEC)? })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.flag.notify() {
            // It fails only for bad arguments, and blocks only after 2^64 unread wakes.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}
