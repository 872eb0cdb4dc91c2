//! The whole of a data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::explain::explain;
use super::loglets;
use super::mapped::Mapped;
use super::report::{Cell, Report, SCHEMA};
use crate::base::{DeviceId, NodeId};
use crate::node::{DataDirError, DeviceView, FileOnDevice, NodeFacts, SharedLock, device_of, journal_directory};
use crate::proto::log_server::{FLOOR_CELL, LOGLET_CELL, TABLE_LOST_CELL};
use crate::storage::ANCHOR_FILE;
use crate::storage::inspect::{Class, Finding, InspectConfig, JournalFile, JournalReport, Severity};

/// No segment is larger: they are 64 to 256 MiB. A larger file is none, and could take more memory than there is.
const FILE_BYTES_MAX: u64 = 4 << 30;
/// Most rows of units in one report: some hundred megabytes.
const UNIT_ROWS_MAX: usize = 1_000_000;

/// What to look at, and how closely.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Look even though a node runs on the directory.
    pub live: bool,
    /// Give a row for every unit.
    pub units: bool,
    /// Of this segment alone.
    pub segment: Option<u64>,
    /// The device that the journals are on, if they are on one.
    pub device: Option<PathBuf>,
}

/// Why a directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is nothing of a node in it.
    #[error("{path} is not a node's data directory: {reason}")]
    NotADataDirectory {
        /// What was named.
        path: PathBuf,
        /// Why it is none.
        reason: String,
    },
    /// A node runs on it.
    #[error(
        "a node is running on {0}: stop it first, or pass --live to look at files that change (the ends of journals may then \
         look torn, or damaged)"
    )]
    Running(PathBuf),
    /// Its journals are on a device.
    #[error("the journals of {path} are on device {device}: name it with --device")]
    DeviceNotNamed {
        /// The directory.
        path: PathBuf,
        /// The name that was drawn for the device.
        device: DeviceId,
    },
    /// The device that was named is none of this directory.
    #[error(transparent)]
    Device(DataDirError),
    /// The lock cannot be looked at.
    #[error(transparent)]
    Lock(DataDirError),
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
}

/// Looks at a data directory. Nothing is written; a shared lock keeps nodes away meanwhile, unless `live`.
///
/// # Errors
/// It is no data directory, a node runs on it, or the system does not let its files be read.
pub fn inspect(path: &Path, options: &Options) -> Result<Report, InspectError> {
    let journals = find_journals(path)?;
    let (lock, live) = match SharedLock::take(path) {
        Ok(lock) => (Some(lock), false),
        Err(DataDirError::InUse(_)) if options.live => (None, true),
        Err(DataDirError::InUse(path)) => return Err(InspectError::Running(path)),
        Err(error) => return Err(InspectError::Lock(error)),
    };
    let mut findings = Vec::new();
    let facts = match NodeFacts::read(path) {
        Ok(Some(facts)) => Some(facts),
        Ok(None) => {
            findings.push(Finding::new(Class::IdentityDamaged, Severity::Fatal, "node.json is missing"));
            None
        }
        Err(error) => {
            findings.push(Finding::new(Class::IdentityDamaged, Severity::Fatal, error.to_string()));
            None
        }
    };
    findings.extend(missing_journals(path, facts.as_ref(), &journals));
    let mut device = match (facts.as_ref(), &options.device) {
        (None, _) | (Some(NodeFacts { device: None, .. }), None) => None,
        (Some(facts), Some(named)) => Some(device_of(path, facts, named).map_err(InspectError::Device)?),
        (Some(NodeFacts { device: Some(device), .. }), None) => {
            return Err(InspectError::DeviceNotNamed { path: path.to_owned(), device: *device });
        }
    };
    let block_bytes = SharedLock::block_bytes(path).map_err(InspectError::Lock)?;
    let block_bytes = block_bytes.max(device.as_ref().map_or(0, DeviceView::block_bytes));
    let config = InspectConfig {
        node: facts.map(|facts| facts.node),
        journal: 0,
        block_bytes,
        unit_rows_max: 0,
        unit_rows_of: options.segment,
    };
    let mut rows_left = if options.units { UNIT_ROWS_MAX } else { 0 };
    let mut reports = Vec::new();
    for journal in journals {
        let config = InspectConfig { journal, unit_rows_max: rows_left, ..config.clone() };
        let shards = facts.as_ref().map_or(0, |facts| facts.shards);
        let device = device.as_mut().filter(|_| (journal as usize) < shards);
        let report = one_journal(&journal_directory(path, journal as usize), &config, device)?;
        rows_left -= report.segments.iter().map(|segment| segment.unit_rows.len()).sum::<usize>();
        reports.push(report);
    }
    drop(lock);
    for place in device.iter().flat_map(DeviceView::damaged) {
        findings.push(Finding::new(Class::DeviceDamaged, Severity::Notice, format!("{place} is not whole")));
    }
    let mut loglets = Vec::new();
    for report in &mut reports {
        let node = facts.map_or(NodeId(0), |facts| facts.node);
        match loglets::of_journal(node, report) {
            Some(found) => loglets.extend(found),
            None => {
                let mut finding =
                    Finding::new(Class::StartAborts, Severity::Fatal, "an assertion of a LogServer fails");
                finding.journal = Some(report.journal);
                findings.push(finding);
            }
        }
        findings.append(&mut report.findings);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(Report {
        schema: SCHEMA,
        directory: path.display().to_string(),
        live,
        intact: findings.iter().all(|finding| finding.severity == Severity::Notice),
        node: facts,
        cells: reports.iter().flat_map(cells).collect(),
        journals: reports,
        loglets,
        findings: findings.into_iter().map(explain).collect(),
    })
}

/// The numbers of the journals that are there, in order.
fn find_journals(path: &Path) -> Result<Vec<u32>, InspectError> {
    let none = |reason: String| InspectError::NotADataDirectory { path: path.to_owned(), reason };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(none("it is no directory".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none("it does not exist".to_owned())),
        Err(error) => return Err(InspectError::Read { path: path.to_owned(), error }),
    }
    let read_error = |error| InspectError::Read { path: path.to_owned(), error };
    let mut journals = Vec::new();
    for entry in fs::read_dir(path).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("journal-")).and_then(|text| text.parse().ok());
        // `+1` and `01` are numbers too, but no journal's name.
        if let Some(number) = number.filter(|number: &u32| name.to_str() == Some(&format!("journal-{number}")))
            && entry.path().is_dir()
        {
            journals.push(number);
        }
    }
    if journals.is_empty() && !path.join("node.json").exists() {
        let reason = match fs::exists(path.join("cluster.json")) {
            Ok(true) => "it has neither node.json nor journals; name one of the node directories in it",
            _ => "it has neither node.json nor journals",
        };
        return Err(none(reason.to_owned()));
    }
    journals.sort_unstable();
    Ok(journals)
}

fn missing_journals(path: &Path, facts: Option<&NodeFacts>, journals: &[u32]) -> Vec<Finding> {
    let Some(facts) = facts else { return Vec::new() };
    // The number of shards comes from a file, so it is not counted up to.
    let expected = |journal: &u32| (*journal as usize) < facts.shards;
    let there = journals.iter().filter(|journal| expected(journal)).count();
    let mut findings = Vec::new();
    if there < facts.shards {
        let lowest = (0..).find(|number| !journals.contains(number)).expect("there are fewer journals than numbers");
        let missing = facts.shards - there;
        let name = journal_directory(path, lowest as usize);
        let detail = format!("{missing} of {} journals missing, the first is {}", facts.shards, name.display());
        let mut finding = Finding::new(Class::JournalMissing, Severity::Fatal, detail);
        finding.journal = Some(lowest);
        findings.push(finding);
    }
    for journal in journals.iter().filter(|journal| !expected(journal)) {
        let detail = format!("the node has {} journals and this is none of them", facts.shards);
        let mut finding = Finding::new(Class::Unexpected, Severity::Notice, detail);
        finding.journal = Some(*journal);
        finding.seen_by_start = false;
        findings.push(finding);
    }
    findings
}

fn one_journal(
    directory: &Path,
    config: &InspectConfig,
    device: Option<&mut DeviceView>,
) -> Result<JournalReport, InspectError> {
    let at = |path: &Path, error| InspectError::Read { path: path.to_owned(), error };
    let (mut mapped, mut unfinished) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory).map_err(|error| at(directory, error))? {
        let entry = entry.map_err(|error| at(directory, error))?;
        let is_file = entry.file_type().map_err(|error| at(&entry.path(), error))?.is_file();
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_file && name.ends_with(".tmp") {
            // Unfinished; only its name matters.
            unfinished.push(name);
        } else if is_file && (name == ANCHOR_FILE || (name.ends_with(".seg") && device.is_none())) {
            let file = Mapped::open(&entry.path(), name, FILE_BYTES_MAX);
            mapped.push(file.map_err(|error| at(&entry.path(), error))?);
        }
    }
    if let Some(device) = device {
        for FileOnDevice { name, offset, bytes } in device.files(config.journal) {
            let file = Mapped::of(device.file(), name.clone(), offset, bytes, FILE_BYTES_MAX);
            mapped.push(file.map_err(|error| at(&directory.join(name), error))?);
        }
    }
    let empty = |name| JournalFile { name, bytes: Default::default(), unreadable: Vec::new() };
    let files: Vec<JournalFile<'_>> =
        mapped.iter().map(Mapped::as_file).chain(unfinished.into_iter().map(empty)).collect();
    Ok(crate::storage::inspect::inspect(config, &files))
}

fn cells(report: &JournalReport) -> impl Iterator<Item = Cell> {
    report.cells.iter().map(|(key, value)| Cell {
        journal: report.journal,
        loglet: key.loglet,
        kind: key.kind,
        name: match key.kind {
            LOGLET_CELL => "loglet",
            FLOOR_CELL => "floor",
            TABLE_LOST_CELL => "table_lost",
            _ => "other",
        },
        bytes: value.len(),
        value: std::str::from_utf8(value).ok().map(str::to_owned),
    })
}
