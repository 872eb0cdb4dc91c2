//! The clock of the drivers that run in real time.

use std::time::Duration;

use crate::base::Instant;

/// Time on the system's monotonic clock.
pub(super) fn now() -> Instant {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// How long the calling thread has been on a core since it began, in the kernel as well.
pub(super) fn used() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}
