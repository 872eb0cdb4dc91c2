//! A thread of the load with real-time priority: one that shares its processors with the nodes keeps its timetable all the same.

use std::io;
use std::thread;

/// The lowest of the real-time priorities: above every thread that has none.
const PRIORITY: libc::c_int = 1;

/// Whether this process may do that.
///
/// # Errors
/// It may not: that needs `CAP_SYS_NICE`, or a limit (`RLIMIT_RTPRIO`).
pub fn permitted() -> io::Result<()> {
    thread::spawn(enter).join().expect("a thread that asks for a priority does not panic")
}

/// Gives the calling thread, and none that it starts, `SCHED_FIFO`.
pub(super) fn enter() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: `parameter` is read during the call, and 0 is the calling thread.
    #[expect(unsafe_code, reason = "system call")]
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameter) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the calling thread.
    fn policy() -> libc::c_int {
        // SAFETY: 0 is the calling thread.
        #[expect(unsafe_code, reason = "system call")]
        let policy = unsafe { libc::sched_getscheduler(0) };
        policy & !libc::SCHED_RESET_ON_FORK
    }

    #[test]
    fn only_the_thread_that_asks_has_the_priority() {
        if let Err(error) = permitted() {
            return eprintln!("skipped: no real-time priority: {error}");
        }
        assert_eq!(policy(), libc::SCHED_OTHER, "asking whether it is permitted changes nothing here");
        let (own, started) = thread::spawn(|| {
            enter().unwrap();
            (policy(), thread::spawn(policy).join().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((own, started), (libc::SCHED_FIFO, libc::SCHED_OTHER));
    }
}
