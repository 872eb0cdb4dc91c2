//! Which driver a process uses: io_uring, or epoll where io_uring is refused.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::OnceLock;

use super::Driver;
use super::uring::{self, UringDriver};
use crate::base::Instant;

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring, or epoll where the kernel refuses it.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll, also where io_uring would be allowed.
    Epoll,
}

/// A driver of real sockets and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverKind {
    /// [`uring::UringDriver`].
    Uring,
    /// [`super::epoll::EpollDriver`].
    Epoll,
}

/// Why there is no driver.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// io_uring was asked for by name, and is refused.
    #[error("the driver `uring` was asked for, and io_uring is refused here ({error}): {}", advice(error))]
    Refused {
        /// What the kernel says.
        error: io::Error,
    },
    /// The process may not lock the memory that io_uring's queues need: the kernel counts it, before 5.12 all of it.
    #[error(
        "io_uring may not lock the memory that it needs; raise the limit with `ulimit -l`, or LimitMEMLOCK= in a systemd unit"
    )]
    LockedMemory(#[source] io::Error),
    /// io_uring is not refused, and failed all the same: a descriptor or memory is missing.
    #[error("io_uring cannot be set up")]
    Failed(#[source] io::Error),
}

impl DriverError {
    /// What it means that io_uring, which is not refused, could not be set up.
    pub fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::OutOfMemory => Self::LockedMemory(error),
            _ => Self::Failed(error),
        }
    }
}

impl DriverChoice {
    /// Every choice, by its name.
    pub const NAMES: [&'static str; 3] = ["auto", "uring", "epoll"];

    /// Decides. Without a driver named this is done once for each process, so that all its threads have the same one; the
    /// fall-back to epoll is logged then, as a warning.
    ///
    /// # Errors
    /// io_uring was named and is refused, or it cannot be tried.
    pub fn resolve(self) -> Result<DriverKind, DriverError> {
        static DECIDED: OnceLock<DriverKind> = OnceLock::new();
        match self {
            Self::Epoll => return Ok(DriverKind::Epoll),
            Self::Uring => {
                return match try_uring() {
                    Ok(()) => Ok(DriverKind::Uring),
                    Err(error) if is_refusal(&error) => Err(DriverError::Refused { error }),
                    Err(error) => Err(DriverError::of(error)),
                };
            }
            Self::Auto => {}
        }
        if let Some(&decided) = DECIDED.get() {
            return Ok(decided);
        }
        let (kind, refusal) = match try_uring() {
            Ok(()) => (DriverKind::Uring, None),
            Err(error) if is_refusal(&error) => (DriverKind::Epoll, Some(error)),
            Err(error) => return Err(DriverError::of(error)),
        };
        if DECIDED.set(kind).is_ok()
            && let Some(error) = refusal
        {
            let advice = advice(&error);
            tracing::warn!("io_uring is refused ({error}): epoll is used, which is slower; {advice}");
        }
        Ok(*DECIDED.get().expect("set by this thread or another one"))
    }
}

impl FromStr for DriverChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(format!("`{name}` is no driver; there are {}", Self::NAMES.join(", "))),
        }
    }
}

impl fmt::Display for DriverChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        })
    }
}

impl DriverKind {
    /// Its name in status and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Sets up a small ring and enters it: a filter may refuse either.
fn try_uring() -> io::Result<()> {
    let options = uring::Options {
        submission_entries: 4,
        completion_entries: 8,
        receive_buffers: 1,
        receive_buffer_bytes: 4096,
        fixed_buffers: 0,
        fixed_files: 1,
    };
    UringDriver::new(options)?.wait(Some(Instant::ORIGIN), &mut Vec::new())
}

/// Whether the kernel, or a filter before it, does not let this process use io_uring, or not all of it that is needed.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL))
        || error.kind() == io::ErrorKind::Unsupported
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "the kernel was built without it, or a seccomp profile hides it: let the profile allow io_uring_setup, \
             io_uring_enter and io_uring_register"
        }
        Some(libc::EPERM) => {
            "let the container's seccomp profile allow io_uring_setup, io_uring_enter and io_uring_register, and the \
             sysctl kernel.io_uring_disabled be 0"
        }
        _ => "the kernel is too old: io_uring is used from Linux 6.1 on",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_a_choice() {
        for name in DriverChoice::NAMES {
            assert_eq!(name.parse::<DriverChoice>().unwrap().to_string(), name);
        }
        assert!("kqueue".parse::<DriverChoice>().unwrap_err().contains("epoll"));
    }

    #[test]
    fn refusals_are_told_from_failures() {
        for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
            assert!(is_refusal(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        for errno in [libc::ENOMEM, libc::EMFILE] {
            assert!(!is_refusal(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
    }

    #[test]
    fn a_named_driver_is_not_replaced() {
        assert_eq!(DriverChoice::Epoll.resolve().unwrap(), DriverKind::Epoll);
    }
}
