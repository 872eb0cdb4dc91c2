//! Processor time of processes, from /proc/PID/stat.

use std::fs;
use std::io;
use std::time::Duration;

/// User and system time of all threads of a process since its start. Its resolution is a clock tick, usually 10 ms.
///
/// # Errors
/// The process has ended, or /proc is not readable.
pub fn process_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Duration::from_nanos(ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))))
}

/// The sum over several processes.
///
/// # Errors
/// As [`process_time`], for any of them.
pub fn processes_time(pids: &[u32]) -> io::Result<Duration> {
    pids.iter().map(|&pid| process_time(pid)).sum()
}

/// `utime + stime`. The name in parentheses may itself have spaces and parentheses, so fields are counted behind the last.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        assert_eq!(ticks("42 (a) b) (c) S 1 42 42 0 -1 4194560 9 0 0 0 120 34 0 0 20 0"), Some(154));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn this_process_has_used_time_or_none_yet() {
        process_time(std::process::id()).unwrap();
        assert!(process_time(u32::MAX).is_err());
    }
}
