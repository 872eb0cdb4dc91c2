//! The clock of the drivers that run in real time.

use crate::base::Instant;

/// Time on the system's monotonic clock.
pub(super) fn now() -> Instant {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
