//! Results on standard output.

use std::io::{self, Write};

use serde::Serialize;

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
