//! Exit codes, and how an error ends the program.

use std::fmt;
use std::process::ExitCode;

use super::output;
use crate::client::{AppendError, ClusterError, GenesisError, LogAppendError, OpError};
use crate::io::DriverError;
use crate::loadgen::run::RunError;
use crate::node::{DataDirError, ServeError};

pub(super) const SUCCESS: u8 = 0;
pub(super) const FAILURE: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const SEALED: u8 = 3;
pub(super) const UNAVAILABLE: u8 = 4;
pub(super) const TRIMMED: u8 = 5;
pub(super) const INVALID: u8 = 6;
pub(super) const DAMAGED: u8 = 7;
pub(super) const NO_SPACE: u8 = 8;
pub(super) const VIOLATED: u8 = 9;
pub(super) const BLOCKED: u8 = 10;
pub(super) const INTERRUPTED: u8 = 130;

/// The table that `--help` shows.
pub(super) const HELP: &str = "\
Exit codes:
    0  done
    1  failed; the message says at what
    2  wrong usage: an argument, a file or a directory that was named is not usable
    3  a loglet is sealed; only the benchmarks use one without a chain
    4  a node, a majority or the sequencer cannot be reached
    5  the records asked for have been trimmed
    6  a benchmark ran and its result is not valid
    7  a data directory that was inspected is damaged; the report says where
    8  no majority of LogServers has disk space left: trim the log or make room, then try again
    9  a simulation violated an invariant; the report gives the command that repeats it; or left out branches that it had to take
   10  something blocks the appends or the reads of a log: `naxos why` says what
  130  interrupted";

/// An error whose exit code is decided where it is made.
#[derive(Debug)]
pub(super) struct Coded {
    code: u8,
    message: String,
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Coded {}

/// An error with this exit code.
pub(super) fn coded(code: u8, message: impl Into<String>) -> anyhow::Error {
    Coded { code, message: message.into() }.into()
}

/// Whether a benchmark that has run has a result.
pub(super) fn verdict(valid: bool) -> anyhow::Result<()> {
    if valid { Ok(()) } else { Err(coded(INVALID, "the result is not valid")) }
}

/// The error of being asked to end.
pub(super) fn interrupted() -> anyhow::Error {
    coded(INTERRUPTED, "interrupted")
}

/// Prints the error, as one JSON object where results are JSON, and gives its exit code.
pub(super) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let code = code(error);
    if is_closed_pipe(error) {
        // Whoever read our output has what it wanted (`naxos read | head`).
        return ExitCode::from(SUCCESS);
    }
    if json {
        let object = serde_json::json!({ "error": format!("{error:#}"), "exit_code": code });
        output::aside(format_args!("{object}\n"));
    } else {
        output::note(format_args!("{error:#}"));
    }
    ExitCode::from(code)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of_cause).unwrap_or(FAILURE)
}

fn code_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(coded) = cause.downcast_ref::<Coded>() {
        return Some(coded.code);
    }
    if let Some(error) = cause.downcast_ref::<AppendError>() {
        return Some(match error {
            AppendError::Sealed { .. } => SEALED,
            AppendError::NoSpace { .. } => NO_SPACE,
            AppendError::SequencerLost { .. } => UNAVAILABLE,
            _ => FAILURE,
        });
    }
    if let Some(error) = cause.downcast_ref::<LogAppendError>() {
        return Some(match error {
            LogAppendError::NoSpace { .. } => NO_SPACE,
            LogAppendError::Unavailable { .. } => UNAVAILABLE,
            LogAppendError::Deleted { .. } | LogAppendError::TooLarge { .. } | LogAppendError::Closed => FAILURE,
        });
    }
    // Transparent ones do not show what they are made of.
    match cause.downcast_ref::<ClusterError>() {
        Some(ClusterError::Op(error)) => return Some(code_of_operation(error)),
        Some(ClusterError::Refused(_)) => return Some(USAGE),
        Some(ClusterError::Unknown) => return Some(UNAVAILABLE),
        Some(ClusterError::Node(error)) => return Some(code_of_genesis(error)),
        Some(
            ClusterError::InvalidMembers(_)
            | ClusterError::Files(_)
            | ClusterError::KeptInFiles(_)
            | ClusterError::KeptByNodes,
        ) => return Some(USAGE),
        Some(
            ClusterError::NoRoot(_) | ClusterError::NoChain(_) | ClusterError::Unfinished(_) | ClusterError::Contended,
        ) => return Some(FAILURE),
        None => {}
    }
    if let Some(error) = cause.downcast_ref::<GenesisError>() {
        return Some(code_of_genesis(error));
    }
    if let Some(error) = cause.downcast_ref::<OpError>() {
        return Some(code_of_operation(error));
    }
    if let Some(ServeError::DataDir(error)) = cause.downcast_ref::<ServeError>() {
        match error {
            DataDirError::Device(error) if error.reason.is_usage() => return Some(USAGE),
            DataDirError::NoSpace { .. } | DataDirError::DeviceMissing { .. } | DataDirError::NotOnDevice(_) => {
                return Some(USAGE);
            }
            _ => {}
        }
    }
    let driver = cause.downcast_ref::<DriverError>().or_else(|| match cause.downcast_ref::<ServeError>() {
        Some(ServeError::Driver(error)) => Some(error),
        _ => None,
    });
    if let Some(DriverError::Refused { .. }) = driver {
        return Some(USAGE);
    }
    match cause.downcast_ref::<RunError>()? {
        RunError::Interrupted => Some(INTERRUPTED),
        RunError::TooShort { .. } => Some(USAGE),
        RunError::Status { error, .. } | RunError::Read { error, .. } | RunError::Tail(error) => {
            Some(code_of_operation(error))
        }
        _ => None,
    }
}

fn code_of_genesis(error: &GenesisError) -> u8 {
    match error {
        GenesisError::Unreached(error) => code_of_operation(error),
        GenesisError::Twice(..) | GenesisError::Count => USAGE,
        _ => FAILURE,
    }
}

fn code_of_operation(error: &OpError) -> u8 {
    match error {
        OpError::Unavailable { .. } => UNAVAILABLE,
        _ => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_code_is_that_of_the_deepest_known_cause() {
        let error = Err::<(), _>(AppendError::Sealed { record_at: None }).context("append").unwrap_err();
        assert_eq!(code(&error), SEALED);
        let error = Err::<(), _>(AppendError::NoSpace { record_at: None }).context("append").unwrap_err();
        assert_eq!(code(&error), NO_SPACE);
        assert_eq!(code(&interrupted().context("bench")), INTERRUPTED);
        assert_eq!(code(&anyhow::anyhow!("something")), FAILURE);
    }
}
