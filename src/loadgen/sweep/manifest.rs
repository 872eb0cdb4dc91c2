//! What a sweep was made of, and what speaks against believing it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::host::Host;
use super::row::Row;
use super::summary::{PointRuns, Summary};
use crate::loadgen::machine::Machine;

/// Steal beyond which a run is said to have been disturbed.
const STEAL_MAX: f64 = 0.01;
/// Spread of the floor, and of a point, beyond which it is said.
const SPREAD_MAX: f64 = 0.2;

/// `manifest.json`. Fields may be added under the same schema number, with a default for the records without them; none changes its
/// meaning.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub schema: u32,
    /// `sweep`.
    pub bench: String,
    /// Of the checkout that the program was built in, or `unknown`.
    pub commit: String,
    /// `release`, or `debug`, whose numbers count for nothing.
    pub build: String,
    /// As it can be pasted into a shell.
    pub command: String,
    /// Whether every run of the matrix has been made.
    pub complete: bool,
    /// Why it is not, once it has ended.
    pub ended_by: Option<String>,
    /// First and last moment, in UTC; a sweep that goes on has no last.
    pub started: String,
    /// See `started`.
    pub ended: Option<String>,
    /// Runs of the matrix.
    pub runs: u32,
    /// Those in `results.csv`.
    pub runs_done: u32,
    /// Of those, how many have no numbers.
    pub runs_failed: u32,
    /// And how many have numbers that mean nothing.
    pub runs_invalid: u32,
    /// Processor, kernel, disk and file system.
    pub machine: Machine,
    /// Governor, memory, interrupts.
    pub host: Host,
    /// Cores of the load and of the nodes, where that was asked for.
    pub cores: Option<CoresUsed>,
    /// I/O drivers that the nodes of the runs have reported.
    pub drivers: Vec<String>,
    /// `quorum-dsync`, or `volatile` when the directory is in memory.
    pub durability: String,
    /// The matrix file, as it was.
    pub matrix: String,
    /// Points, in the order in which they are measured.
    pub points: Vec<PointEntry>,
    /// Load average and stolen time of the whole sweep.
    pub noise: NoiseSeen,
    /// The floor over the sweep, which says whether the machine stayed the same.
    pub drift: Vec<Drift>,
    /// What a reader should know before he believes it.
    pub warnings: Vec<String>,
}

/// See [`Manifest::cores`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CoresUsed {
    /// Of clients and generator.
    pub load: String,
    /// Of the nodes.
    pub nodes: String,
}

/// A point of the matrix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PointEntry {
    /// As in `results.csv`, and of its log, `NAME.hlog`.
    pub name: String,
    /// One run of it, as it can be pasted into a shell.
    pub command: String,
}

/// What else the machine did.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct NoiseSeen {
    /// Load average before the first run.
    pub load_before: Option<f64>,
    /// Largest share of stolen time of a run.
    pub steal_share_max: Option<f64>,
}

/// How the floor has moved. It is measured before every run; with more copies it is another one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Drift {
    /// Copies.
    pub nodes: i64,
    /// Measurements.
    pub measured: u32,
    /// Least, median and most of the least that an append takes.
    pub append_p50_us: [f64; 3],
    /// `(most - least) / median`.
    pub spread: f64,
    /// Median of the last quarter by that of the first: what is left when single outliers are not looked at.
    pub last_by_first: f64,
}

impl Manifest {
    /// Takes in the runs so far. `standing` are warnings that do not come from runs.
    pub fn count(&mut self, rows: &[Row], standing: &[String]) {
        self.runs_done = rows.len() as u32;
        self.runs_failed = rows.iter().filter(|row| row.appends_per_s.is_none()).count() as u32;
        self.runs_invalid = rows.iter().filter(|row| !row.valid).count() as u32 - self.runs_failed;
        self.complete = self.runs_done == self.runs;
        let drivers = rows.iter().map(|row| &row.driver_used).filter(|driver| !driver.is_empty());
        self.drivers = drivers.collect::<BTreeSet<_>>().into_iter().cloned().collect();
        self.noise.steal_share_max = rows.iter().filter_map(|row| row.steal_share).reduce(f64::max);
        self.drift = drift(rows);
        self.warnings = standing.to_vec();
        self.warnings.extend(self.warnings_of_runs(rows));
    }

    fn warnings_of_runs(&self, rows: &[Row]) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(load) = self.noise.load_before
            && load > 0.3 * self.machine.cores as f64
        {
            warnings.push(format!("the load average was {load} before the first run: something else was running"));
        }
        let stolen = rows.iter().filter(|row| row.steal_share.is_some_and(|share| share > STEAL_MAX)).count();
        if stolen > 0 {
            let most = self.noise.steal_share_max.unwrap_or_default() * 100.0;
            warnings.push(format!(
                "the hypervisor took more than 1 % of the processors in {stolen} runs, at most {most:.1} %"
            ));
        }
        for drift in self.drift.iter().filter(|drift| drift.spread > SPREAD_MAX) {
            warnings.push(format!(
                "the floor of {} copies was between {} and {} us: the machine was not the same all the time",
                drift.nodes, drift.append_p50_us[0], drift.append_p50_us[2]
            ));
        }
        if self.runs_failed + self.runs_invalid > 0 {
            warnings.push(format!(
                "{} runs have failed, and {} are not valid; results.csv says why",
                self.runs_failed, self.runs_invalid
            ));
        }
        let ran_out = rows.iter().filter(|row| row.ran_out_of_prepared.unwrap_or(0) > 0).count();
        if ran_out > 0 {
            warnings.push(format!("{ran_out} runs ran out of prepared space, and measure its preparation too"));
        }
        let points = PointRuns::group(rows);
        let wide = |point: &&PointRuns| {
            let spread = point.summary(|row| row.appends_per_s).map_or(0.0, |rates| rates.spread());
            spread > SPREAD_MAX
        };
        let wide: Vec<_> = points.iter().filter(wide).map(|point| point.first().point.as_str()).collect();
        if !wide.is_empty() {
            warnings.push(format!("the runs of a point are more than 20 % apart: {}", wide.join(", ")));
        }
        warnings
    }
}

fn drift(rows: &[Row]) -> Vec<Drift> {
    let mut nodes: Vec<i64> = rows.iter().map(|row| row.nodes).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let of = |nodes: i64| {
        let of_nodes = rows.iter().filter(|row| row.nodes == nodes);
        let floors: Vec<f64> = of_nodes.filter_map(|row| row.floor_append_p50_us).collect();
        let all = Summary::of(floors.iter().copied())?;
        let quarter = floors.len().div_ceil(4);
        let median = |part: &[f64]| Summary::of(part.iter().copied()).map_or(1.0, |part| part.median);
        let thousandths = |value: f64| (value * 1e3).round() / 1e3;
        Some(Drift {
            nodes,
            measured: floors.len() as u32,
            append_p50_us: [all.min, all.median, all.max],
            spread: thousandths(all.spread()),
            last_by_first: thousandths(median(&floors[floors.len() - quarter..]) / median(&floors[..quarter])),
        })
    };
    nodes.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(nodes: i64, floor: f64) -> Row {
        Row { nodes, floor_append_p50_us: Some(floor), ..Row::default() }
    }

    #[test]
    fn the_drift_is_that_of_each_number_of_copies() {
        let mut rows: Vec<Row> = [100.0, 100.0, 104.0, 100.0, 100.0, 120.0, 125.0, 125.0].map(|us| row(3, us)).into();
        rows.push(row(1, 50.0));
        // A run without a floor has failed before it.
        rows.push(Row { nodes: 3, ..Row::default() });
        let drift = drift(&rows);
        assert_eq!((drift[0].nodes, drift[0].measured, drift[0].spread), (1, 1, 0.0));
        assert_eq!(drift[1].append_p50_us, [100.0, 102.0, 125.0]);
        assert_eq!((drift[1].spread, drift[1].last_by_first), (0.245, 1.25));
    }
}
