//! The program as it is used, and the records of this repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FIXTURE: &str = include_str!("fixtures/append.json");

fn tools(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_naxos-tools")).args(arguments).output().unwrap()
}

fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench-results")
}

#[test]
fn the_records_of_this_repository_hold() {
    let output = tools(&["records", "--check", results().to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_record_that_is_not_valid_is_named_with_its_field() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("2026-01-01-0123456789ab");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("good.json"), FIXTURE).unwrap();
    let place = directory.path().to_str().unwrap();
    assert!(tools(&["records", "--check", place]).status.success());
    fs::write(folder.join("lossy.json"), FIXTURE.replace("\"missing\": 0", "\"missing\": 2")).unwrap();
    let output = tools(&["records", "--check", place]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(error.contains("lossy.json") && error.contains("verified.missing"), "{error}");
}

#[test]
fn a_recorded_run_is_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let line: String = serde_json::from_str::<serde_json::Value>(FIXTURE).unwrap()["result"].to_string();
    let place = directory.path().to_str().unwrap();
    let arguments = ["record", "--name", "peak", "--best-of", "3", "--directory", place, "--", "echo", &line];
    let output = tools(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = String::from_utf8(output.stdout).unwrap();
    let record: serde_json::Value = serde_json::from_str(&fs::read_to_string(path.trim()).unwrap()).unwrap();
    assert_eq!(record["runs"].as_array().unwrap().len(), 3);
    assert_eq!(record["spread"]["appends_per_s"], 0.0);
    assert!(path.trim().ends_with("-0123456789ab/peak.json"), "{path}");
    assert!(tools(&["records", "--check", place]).status.success());
    assert!(!tools(&arguments).status.success(), "a record is not overwritten");
}

#[test]
fn a_comparison_is_a_record_of_ratios() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let (ours, theirs) = (directory.path().join("ours"), directory.path().join("theirs"));
    let result = serde_json::from_str::<serde_json::Value>(FIXTURE).unwrap()["result"].take();
    let print = |path: &Path, appends_per_s: f64| {
        let mut result = result.clone();
        result["appends_per_s"] = appends_per_s.into();
        fs::write(path, result.to_string()).unwrap();
        format!("cat {}", path.display())
    };
    let (ours, theirs) = (print(&ours, 90.0), print(&theirs, 120.0));
    let arguments = [
        "compare",
        "--name",
        "one-to-another",
        "--rounds",
        "3",
        "--directory",
        place,
        "--command",
        &ours,
        "--baseline",
    ];
    let output = tools(&[&arguments[..], &[&theirs]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = String::from_utf8(output.stdout).unwrap();
    let record: serde_json::Value = serde_json::from_str(&fs::read_to_string(path.trim()).unwrap()).unwrap();
    assert_eq!(record["result"]["ratio"], 0.75);
    assert_eq!(record["result"]["ratios"].as_array().unwrap().len(), 3);
    assert!(tools(&["records", "--check", place]).status.success());
    let table = String::from_utf8(tools(&["records", place]).stdout).unwrap();
    assert!(table.contains("one-to-another: appends_per_s x 0.75"), "{table}");
    let failing = tools(&[&arguments[..], &["false"]].concat());
    assert!(!failing.status.success() && String::from_utf8_lossy(&failing.stderr).contains("round 1: false"));
}
