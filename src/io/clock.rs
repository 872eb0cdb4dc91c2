//! The clock of the drivers that run in real time.

use std::time::Duration;

use super::driver::CoreTime;
use crate::base::Instant;

/// Time on the system's monotonic clock.
pub(super) fn now() -> Instant {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// What the calling thread has had of the cores since it began.
pub(super) fn core_time() -> CoreTime {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // Three numbers: nanoseconds on a core, nanoseconds of waiting for one, and how often it was given one.
    let delayed = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let delayed = delayed.and_then(|text| text.split_ascii_whitespace().nth(1)?.parse().ok());
    CoreTime {
        used: Duration::new(used.tv_sec as u64, used.tv_nsec as u32),
        delayed: delayed.map(Duration::from_nanos),
    }
}
