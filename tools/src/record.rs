//! Makes records: runs a benchmark, keeps the best run whole and the headline numbers of all.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::ValueEnum;
use naxos::loadgen::date;
use naxos::loadgen::shell::quoted;
use serde_json::{Map, Value, json};

use crate::check::{check_result, find, number};

/// The numbers of every run that are kept, where a benchmark has them.
const HEADLINES: [&str; 11] = [
    "appends_per_s",
    "latency_us.p50",
    "latency_us.p99",
    "p50_over_floor",
    "floor_us.append_p50",
    "median_ms",
    "catch_up.bytes_per_s",
    "catch_up.share_of_floor",
    "p99_beside_catch_up_ratio",
    "p99_beside_slow_ratio",
    "p99_alone_spread",
];

/// What makes a run the best.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum By {
    /// The most appends a second
    AppendsPerS,
    /// The lowest median latency of an append
    P50,
    /// The lowest median time, of benches that have one
    MedianMs,
    /// The fastest reader, of `bench read`
    CatchUp,
}

impl By {
    fn field(self) -> &'static str {
        match self {
            Self::AppendsPerS => "appends_per_s",
            Self::P50 => "latency_us.p50",
            Self::MedianMs => "median_ms",
            Self::CatchUp => "catch_up.bytes_per_s",
        }
    }

    /// The value by which a run is chosen: the largest wins.
    fn merit(self, result: &Value) -> anyhow::Result<f64> {
        let value = number(result, self.field())?;
        Ok(if matches!(self, Self::AppendsPerS | Self::CatchUp) { value } else { -value })
    }
}

/// A name that can be a file's.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a name has small letters, digits and hyphens".to_owned())
    }
}

/// Runs the command and writes its record, whose path it returns. Every run has to be valid: the best of some invalid ones
/// would say nothing.
pub(crate) fn record(
    name: &str,
    best_of: u32,
    by: By,
    directory: &Path,
    command: &[String],
) -> anyhow::Result<PathBuf> {
    let results = (1..=best_of)
        .map(|run| run_once(command).with_context(|| format!("run {run} of {best_of}")))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let best = best(&results, by)?;
    let object = json!({
        "command": quoted(command),
        "best_of": best_of,
        "by": by.field(),
        "runs": results.iter().map(headlines).collect::<Vec<_>>(),
        "spread": spread(&results),
        "result": results[best],
    });
    let commit = find(&results[best], "commit").and_then(Value::as_str).context("commit: it is no text")?;
    Place { directory, commit, name }.write(&object)
}

/// Where a record goes.
pub(crate) struct Place<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) commit: &'a str,
    pub(crate) name: &'a str,
}

impl Place<'_> {
    /// Writes it there. A record is never overwritten: it may be what a document names.
    pub(crate) fn write(&self, record: &Value) -> anyhow::Result<PathBuf> {
        let folder = self.directory.join(format!("{}-{}", date::day(SystemTime::now()), self.commit));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(format!("{}.json", self.name));
        let mut text = serde_json::to_string_pretty(record)?;
        text.push('\n');
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Runs a command and returns its result, which must be a sound one.
pub(crate) fn run_once(command: &[String]) -> anyhow::Result<Value> {
    let output = Command::new(&command[0])
        .args(&command[1..])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", command[0]))?;
    if !output.status.success() {
        bail!("{} ended with {}", command[0], output.status);
    }
    let result = last_object(&String::from_utf8_lossy(&output.stdout)).context("it printed no JSON object")?;
    check_result(&result)?;
    Ok(result)
}

/// The last line that is a JSON object: `cargo bench` may say other things before it.
fn last_object(text: &str) -> Option<Value> {
    text.lines().rev().find_map(|line| serde_json::from_str(line).ok().filter(Value::is_object))
}

fn best(results: &[Value], by: By) -> anyhow::Result<usize> {
    if results.len() == 1 {
        return Ok(0);
    }
    let merits = results.iter().map(|result| by.merit(result)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok((0..merits.len()).max_by(|a, b| merits[*a].total_cmp(&merits[*b])).expect("there is a run"))
}

fn headlines(result: &Value) -> Value {
    let known = HEADLINES.iter().filter_map(|field| Some(((*field).to_owned(), find(result, field)?.clone())));
    Value::Object(known.collect())
}

/// For each headline number, `(largest - smallest) / smallest` over the runs.
fn spread(results: &[Value]) -> Value {
    let mut spreads = Map::new();
    for field in HEADLINES {
        let values: Option<Vec<f64>> = results.iter().map(|result| find(result, field)?.as_f64()).collect();
        let Some(values) = values else { continue };
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        if least > 0.0 {
            spreads.insert(field.to_owned(), (((most / least - 1.0) * 1e3).round() / 1e3).into());
        }
    }
    Value::Object(spreads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Vec<Value> {
        [(100.0, 9.0), (300.0, 12.0), (200.0, 6.0)]
            .map(|(rate, p50)| json!({ "appends_per_s": rate, "latency_us": { "p50": p50 } }))
            .into()
    }

    #[test]
    fn the_best_run_is_chosen_by_what_was_asked() {
        assert_eq!(best(&results(), By::AppendsPerS).unwrap(), 1);
        assert_eq!(best(&results(), By::P50).unwrap(), 2);
        assert!(best(&results(), By::MedianMs).unwrap_err().to_string().starts_with("median_ms"));
        assert_eq!(spread(&results()), json!({ "appends_per_s": 2.0, "latency_us.p50": 1.0 }));
    }

    #[test]
    fn the_object_is_the_last_one_printed() {
        assert_eq!(last_object("{}\nrunning 1 bench\n{\"a\":1}\ndone\n"), Some(json!({ "a": 1 })));
        assert_eq!(last_object("nothing\n"), None);
    }
}
