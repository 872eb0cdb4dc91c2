//! Results on standard output, and everything else on standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;
use tracing_subscriber::filter::LevelFilter;

/// Prints one object on one line.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    io::stdout().lock().write_all(&line)?;
    Ok(())
}

/// Prints text for people, and does not panic when nobody reads it, which `println!` does.
pub(super) fn text(text: impl Display) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Of an answer that could not be printed: what it was to tell of has been done all the same.
pub(super) fn after(done: impl Display, printed: anyhow::Result<()>) -> anyhow::Result<()> {
    printed.with_context(|| format!("{done}, and only the answer could not be written"))
}

/// Says something to people beside the results, on a line of its own. What was given as an argument, or comes from a node, cannot tell the
/// terminal to do anything.
pub(super) fn note(text: impl Display) {
    let escaped = |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    let text: String = text.to_string().chars().map(escaped).collect();
    aside(format_args!("naxos: {text}\n"));
}

/// Writes this to standard error. Nothing follows from its being read by nobody, or from there being no room for it, where `eprintln!` panics:
/// what the program does and its exit code are worth more than what it says beside.
pub(super) fn aside(text: impl Display) {
    // In one piece, or that of another process may stand in the middle.
    let _ = io::stderr().lock().write_all(text.to_string().as_bytes());
}

/// What happens beside results: damage found, a failed journal, a lost connection. A node also tells the course of its life, and what
/// goes wrong in a simulation is meant to.
pub(super) fn log_to_standard_error(level: LevelFilter) {
    let colours = io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(colours).with_writer(io::stderr);
    // It would tell of its own failure to write with `eprintln!`.
    subscriber.log_internal_errors(false).init();
}
