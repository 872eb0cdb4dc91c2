//! Rows of `naxos-tools peers --json`, for the page.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use super::plot::{Axis, Dot, Plot, Series, short, time};
use crate::check::{check_result, number, text};

/// One system in one shape.
pub(super) struct Row {
    pub(super) system: String,
    pub(super) version: String,
    pub(super) durability: String,
    pub(super) copies: f64,
    pub(super) shape: String,
    pub(super) appends_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// All rows of a file, each of which has to be sound.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<Row>> {
    let lines = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let row =
        |(index, line): (usize, &str)| parse(line).with_context(|| format!("{}, line {}", file.display(), index + 1));
    let rows = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(row);
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    if rows.is_empty() {
        bail!("{} has no rows", file.display());
    }
    Ok(rows)
}

fn parse(line: &str) -> anyhow::Result<Row> {
    let value: Value = serde_json::from_str(line)?;
    if text(&value, "bench")? != "peers" {
        bail!("it is no row of `naxos-tools peers --json`");
    }
    check_result(&value)?;
    Ok(Row {
        system: text(&value, "system")?.to_owned(),
        version: text(&value, "version")?.to_owned(),
        durability: text(&value, "durability")?.to_owned(),
        copies: number(&value, "copies")?,
        shape: text(&value, "shape")?.to_owned(),
        appends_per_s: number(&value, "appends_per_s")?,
        p50_us: number(&value, "p50_us")?,
        p99_us: number(&value, "p99_us")?,
    })
}

/// A colour for each system, a mark for each shape.
pub(super) fn plot(rows: &[Row]) -> Plot {
    let mut series: Vec<Series> = Vec::new();
    for row in rows {
        let name = format!("{} {} ({}, copies: {})", row.system, row.version, row.durability, row.copies);
        let dot = Dot { x: row.appends_per_s, y: row.p50_us, range: None, label: row.shape.clone() };
        match series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.chains.push(vec![dot]),
            None => series.push(Series { name, chains: vec![vec![dot]], marks: true }),
        }
    }
    Plot {
        title: "Beside other systems".to_owned(),
        x: Axis { label: "appends/s", logarithmic: true, format: short },
        y: Axis { label: "p50 of an append", logarithmic: true, format: time },
        series,
    }
}
