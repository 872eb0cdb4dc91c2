//! Makes records of ratios: two commands in turn, so that whatever else the machine does meets both.

use std::path::{Path, PathBuf};

use anyhow::Context;
use naxos::loadgen::shell::quoted;
use serde_json::{Value, json};

use crate::check::{find, number};
use crate::record::{Place, run_once};

/// What is compared.
pub(crate) struct Comparison<'a> {
    /// A number of each command's result, by its path.
    pub(crate) field: &'a str,
    pub(crate) rounds: u32,
    pub(crate) command: &'a str,
    pub(crate) baseline: &'a str,
}

/// Runs both commands so many times and writes the record, whose path it returns.
pub(crate) fn compare(name: &str, directory: &Path, comparison: &Comparison<'_>) -> anyhow::Result<PathBuf> {
    let Comparison { field, rounds, command, baseline } = *comparison;
    let run = |round: u32, line: &str| {
        run_once(&["sh".into(), "-c".into(), line.into()]).with_context(|| format!("round {round}: {line}"))
    };
    let mut pairs = Vec::new();
    for round in 1..=rounds {
        pairs.push((run(round, command)?, run(round, baseline)?));
    }
    let values = |pick: fn(&(Value, Value)) -> &Value| -> anyhow::Result<Vec<f64>> {
        pairs.iter().map(|pair| number(pick(pair), field)).collect()
    };
    let (ours, theirs) = (values(|pair| &pair.0)?, values(|pair| &pair.1)?);
    let last = &pairs.last().context("there are no rounds")?.0;
    let commit = find(last, "commit").and_then(Value::as_str).context("commit: it is no text")?;
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| thousandths(ours / theirs)).collect();
    let arguments = ["naxos-tools", "compare", "--name", name, "--field", field, "--rounds", &rounds.to_string()];
    let arguments = [&arguments[..], &["--baseline", baseline, "--command", command]].concat();
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let object = json!({
        "command": quoted(&arguments),
        "result": {
            "schema": 1,
            "bench": "compare",
            "commit": commit,
            "field": field,
            "ratio": median(&ratios),
            "ratios": ratios,
            "of": ours,
            "baseline": theirs,
            "machine": last.get("machine"),
        },
    });
    Place { directory, commit, name }.write(&object)
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The middle value; of two in the middle, the upper.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
