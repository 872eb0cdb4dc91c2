//! The program as a command that ends by itself.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::process::program;

/// Exit codes.
pub const FAILURE: i32 = 1;
pub const USAGE: i32 = 2;

pub fn naxos(arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).env_remove("NAXOS_CLUSTER").stdin(Stdio::null());
    command
}

/// What a command that succeeds prints with `--json`.
pub fn json(arguments: &[&str]) -> Value {
    let output = run(&[&["--json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn run(arguments: &[&str]) -> Output {
    naxos(arguments).output().unwrap()
}

/// Runs, and expects this exit code and these words on standard error.
pub fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?} should mention `{word}`: {text}");
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
