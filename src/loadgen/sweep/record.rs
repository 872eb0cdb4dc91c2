//! The directory of a sweep: `manifest.json`, `results.csv`, and a `.hlog` for each point.
//!
//! Runs are written as they end, and the manifest is replaced as a whole, so that what a sweep leaves when it is cut short can be read
//! like any other.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::hlog::{self, HlogError, Interval};
use super::manifest::Manifest;
use super::row::Row;
use super::summary::PointRuns;

/// Sweeps of one machine, commit and day.
const SAME_DAY_MAX: u32 = 1_000;

/// Name of the manifest, by which a directory is known to be a sweep's.
pub const MANIFEST: &str = "manifest.json";
const RESULTS: &str = "results.csv";

/// A directory that is written.
#[derive(Debug)]
pub struct Recorder {
    directory: PathBuf,
    rows: Vec<Row>,
}

impl Recorder {
    /// Makes this directory, which may be there when it is empty.
    ///
    /// # Errors
    /// It cannot be made, or has something in it: earlier results are never touched.
    pub fn create(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        if fs::read_dir(directory)?.next().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it has something in it, which is never overwritten",
            ));
        }
        Self::begin(directory.to_owned())
    }

    /// Makes a directory that was not there: `name`, or `name-2` and so on.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create_beside(parent: &Path, name: &str) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        for count in 1..=SAME_DAY_MAX {
            let directory = parent.join(if count == 1 { name.to_owned() } else { format!("{name}-{count}") });
            match fs::create_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.and_then(|()| Self::begin(directory)),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "there are too many of the same day"))
    }

    fn begin(directory: PathBuf) -> io::Result<Self> {
        // What cannot be written shall be known before the first run.
        OpenOptions::new().write(true).create_new(true).open(directory.join(RESULTS))?;
        Ok(Self { directory, rows: Vec::new() })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The runs so far.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Adds a run, and the latencies of one that has any, in the intervals of its measured time.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn push(&mut self, row: Row, intervals: &[Interval]) -> io::Result<()> {
        hlog::append(&hlog_path(&self.directory, &row.point), &row.point, intervals)?;
        let mut writer = csv::WriterBuilder::new().has_headers(self.rows.is_empty()).from_writer(Vec::new());
        writer.serialize(&row).map_err(io::Error::other)?;
        let text = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        append_whole(&self.directory.join(RESULTS), &text)?;
        self.rows.push(row);
        Ok(())
    }

    /// Replaces the manifest.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn describe(&self, manifest: &Manifest) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(manifest)?;
        text.push('\n');
        let new = self.directory.join(format!("{MANIFEST}.new"));
        fs::write(&new, text)?;
        fs::rename(new, self.directory.join(MANIFEST))
    }

    /// Removes a directory that has come to nothing: no run has ended.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn abandon(self) -> io::Result<()> {
        assert!(self.rows.is_empty(), "there are results");
        for name in [RESULTS, MANIFEST] {
            match fs::remove_file(self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_dir(&self.directory)
    }
}

/// Adds text to the end of a file, all of it or, when that fails, none: a disk that is full cuts no record in two.
pub(super) fn append_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    file.write_all(text).inspect_err(|_| {
        // What was full has room to give back; if it has not, the first error says enough.
        let _ = file.set_len(before);
    })
}

fn hlog_path(directory: &Path, point: &str) -> PathBuf {
    directory.join(format!("{point}.hlog"))
}

/// A directory that is read.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Where it is.
    pub directory: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// All runs, in the order of time.
    pub rows: Vec<Row>,
    /// Latencies of each point that has any.
    pub intervals: BTreeMap<String, Vec<Interval>>,
}

/// Why a directory is no record of a sweep, or none that can be believed.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The manifest is not one.
    #[error("{MANIFEST}: {error}")]
    Manifest {
        /// Why.
        error: serde_json::Error,
    },
    /// The table is not one.
    #[error("{RESULTS}: {error}")]
    Results {
        /// Why.
        error: csv::Error,
    },
    /// A log is not one.
    #[error("{point}.hlog: {error}")]
    Hlog {
        /// Of which point.
        point: String,
        /// Why.
        error: HlogError,
    },
    /// The files do not agree.
    #[error("{0}")]
    Contradiction(String),
}

impl Sweep {
    /// Reads everything, and checks that it fits together.
    ///
    /// # Errors
    /// See [`SweepError`].
    pub fn read(directory: &Path) -> Result<Self, SweepError> {
        let path = directory.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(|error| SweepError::Io { path, error })?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| SweepError::Manifest { error })?;
        let rows = csv::Reader::from_path(directory.join(RESULTS));
        let rows = rows.and_then(|mut reader| reader.deserialize().collect::<Result<Vec<Row>, _>>());
        let rows = rows.map_err(|error| SweepError::Results { error })?;
        let mut intervals = BTreeMap::new();
        for group in PointRuns::group(&rows) {
            let point = group.first().point.clone();
            if group.rows.iter().any(|row| row.samples.is_some()) {
                let read = hlog::read(&hlog_path(directory, &point));
                let read = read.map_err(|error| SweepError::Hlog { point: point.clone(), error })?;
                intervals.insert(point, read);
            }
        }
        let sweep = Self { directory: directory.to_owned(), manifest, rows, intervals };
        sweep.check().map_err(SweepError::Contradiction)?;
        Ok(sweep)
    }

    /// The runs of each point.
    pub fn points(&self) -> Vec<PointRuns> {
        PointRuns::group(&self.rows)
    }

    fn check(&self) -> Result<(), String> {
        let manifest = &self.manifest;
        if (manifest.schema, manifest.bench.as_str()) != (1, "sweep") {
            return Err(format!("schema: {} of {} is not known", manifest.schema, manifest.bench));
        }
        let rows = self.rows.len() as u32;
        if manifest.runs_done != rows {
            return Err(format!("runs_done: {}, and {RESULTS} has {rows} rows", manifest.runs_done));
        }
        if manifest.complete != (rows == manifest.runs) {
            return Err(format!("complete: {}, with {rows} of {} runs", manifest.complete, manifest.runs));
        }
        for row in &self.rows {
            self.check_row(row).map_err(|why| format!("run {}: {why}", row.run))?;
        }
        Ok(())
    }

    fn check_row(&self, row: &Row) -> Result<(), String> {
        if !self.manifest.points.iter().any(|point| point.name == row.point) {
            return Err(format!("point: {MANIFEST} has no {}", row.point));
        }
        if row.valid != row.error.is_empty() {
            return Err(format!("valid: {}, with the error `{}`", row.valid, row.error));
        }
        let lost = row.missing.unwrap_or(0) + row.corrupt.unwrap_or(0);
        if row.valid && (lost > 0 || row.acked != row.read_back || row.acked.is_none()) {
            return Err("valid: true, and not everything that was acknowledged was read back".to_owned());
        }
        let Some(samples) = row.samples else { return Ok(()) };
        let of_point = self.intervals.get(&row.point).into_iter().flatten();
        let of_run = of_point.filter(|interval| interval.repeat == row.repeat).map(|interval| interval.latency.len());
        match of_run.reduce(|sum, more| sum + more) {
            Some(sum) if sum == samples => Ok(()),
            Some(sum) => Err(format!("samples: {samples}, and {}.hlog has {sum} of repeat {}", row.point, row.repeat)),
            None => Err(format!("{}.hlog has no repeat {}", row.point, row.repeat)),
        }
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
