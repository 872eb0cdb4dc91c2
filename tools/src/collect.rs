//! Finds records on disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use naxos::loadgen::sweep::record::MANIFEST;
use serde_json::Value;

/// The bench of a manifest.
pub(crate) const SWEEP: &str = "sweep";

/// One result, where it was found, and how it was made if that is known.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) file: PathBuf,
    /// The file's name without its extension.
    pub(crate) name: String,
    pub(crate) command: Option<String>,
    pub(crate) result: Value,
}

/// All records under a directory, in order of path. A `.json` file is one object; a `.jsonl` file has one on each line. An
/// object is either a result or a wrapper of one with its command. A sweep is one record, by its manifest.
pub(crate) fn collect(directory: &Path) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for file in files(directory)? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = if file.extension().is_some_and(|extension| extension == "jsonl") {
            text.lines().filter(|line| !line.trim().is_empty()).collect()
        } else {
            vec![text.as_str()]
        };
        for line in lines {
            let object = serde_json::from_str(line).with_context(|| format!("{} is not JSON", file.display()))?;
            records.push(unwrap(&file, object)?);
        }
    }
    Ok(records)
}

fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether this is the manifest of a sweep, whose record is the directory that it is in.
fn is_sweep(file: &Path, object: &Value) -> bool {
    file.file_name().is_some_and(|name| name == MANIFEST) && object.get("bench").is_some_and(|bench| bench == SWEEP)
}

fn unwrap(file: &Path, mut object: Value) -> anyhow::Result<Record> {
    if is_sweep(file, &object) {
        let directory = file.parent().context("a file is in a directory")?;
        // The folder above is the machine: sweeps of two machines have the same day and commit.
        let named = [directory.parent(), Some(directory)].into_iter().flatten().filter_map(Path::file_name);
        let name = named.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        let command = object.get("command").and_then(Value::as_str).map(str::to_owned);
        return Ok(Record { file: file.to_owned(), name, command, result: object });
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if !object.is_object() {
        bail!("{}: a record is an object", file.display());
    }
    let command = object.get("command").map(|command| {
        let command = command.as_str().with_context(|| format!("{}: command is not text", file.display()))?;
        anyhow::Ok(command.to_owned())
    });
    let command = command.transpose()?;
    if command.is_some() && object.get("result").is_none() {
        bail!("{}: result is missing", file.display());
    }
    let result = match object.get_mut("result") {
        Some(result) => result.take(),
        None => object,
    };
    Ok(Record { file: file.to_owned(), name, command, result })
}
