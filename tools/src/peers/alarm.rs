//! A clock that wakes a task to the microsecond, which an open loop needs: the runtime's own timers count milliseconds.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Rings once after it was set.
pub(super) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    #[expect(deprecated, reason = "sound here: an OwnedFd keeps its descriptor for as long as it lives")]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
    }

    /// Rings after this time, or not at all.
    pub(super) fn set(&mut self, after: Option<Duration>) -> io::Result<()> {
        // Zero would mean never.
        let after = after.map_or(Duration::ZERO, |after| after.max(Duration::from_nanos(1)));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: after.as_secs() as i64, tv_nsec: after.subsec_nanos().into() },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Whether it has rung since it was set.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        while let Poll::Ready(ready) = self.0.poll_read_ready(context) {
            let mut ready = ready?;
            match rustix::io::read(&self.0, &mut [0; 8]) {
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Waits until it rings.
    pub(super) async fn rung(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| match self.poll(context) {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }
}
