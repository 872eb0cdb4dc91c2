//! Results on standard output, and everything else on standard error.

use std::io::{self, IsTerminal, Write};

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
pub(super) fn text(text: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Says something to people beside the results, on a line of its own. Nothing follows from its being read by nobody, or from there being no
/// room for it, where `eprintln!` panics.
pub(super) fn note(text: impl std::fmt::Display) {
    let _ = io::stderr().lock().write_all(format!("naxos: {text}\n").as_bytes());
}

/// What happens beside results: damage found, a failed journal, a lost connection. A node also tells the course of its life, and what
/// goes wrong in a simulation is meant to.
pub(super) fn log_to_standard_error(level: LevelFilter) {
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_max_level(level).with_ansi(colours).with_writer(io::stderr).init();
}
