//! `naxos bench paper`: the smallest form of each experiment, what it writes, and that nothing is left of one that does not end.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::disk::TinyDisk;
use support::process::program;
use tempfile::TempDir;

const USAGE: i32 = 2;
const INTERRUPTED: i32 = 130;
const PATIENCE: Duration = Duration::from_secs(120);

/// On the disk that holds the build, where direct I/O works.
fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn paper(place: &Path, options: &[&str]) -> Command {
    let mut command = program();
    command.args(["--json", "bench", "paper", "--warm-up", "0.1", "--prepare-bytes", "1", "--clients", "2", "--dir"]);
    command.arg(place).args(options).stdin(Stdio::null());
    command
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number: {value}"))
}

/// What is the same in every experiment: the setting, the difference to the publication, and the verification of each row.
fn check(report: &Value, name: &str, rows: usize) {
    assert_eq!(
        (&report["schema"], &report["bench"], &report["experiment"]),
        (&1.into(), &"paper".into(), &name.into())
    );
    for field in ["publication", "claim", "driver", "durability", "floor_us", "machine", "processes", "seed"] {
        assert!(!report[field].is_null(), "{field}: {report}");
    }
    let differs: Vec<&str> = report["differs"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
    for word in ["One machine", "One disk", "Durability", "Records of 1024 B"] {
        assert!(differs.iter().any(|note| note.contains(word)), "{word}: {differs:?}");
    }
    assert!(report["quorum"].is_null(), "each row has one of its own");
    assert_eq!(report["rows"].as_array().unwrap().len(), rows, "{report}");
    for row in report["rows"].as_array().unwrap() {
        let verified = &row["verified"];
        assert!(number(&verified["acked"]) > 0.0 && row["failed"] == 0, "{row}");
        assert_eq!((&verified["read_back"], &verified["missing"]), (&verified["acked"], &0.into()), "{row}");
        let rounds = row["appends_per_s_rounds"].as_array().unwrap();
        assert_eq!(rounds.len() as u64, report["rounds"].as_u64().unwrap());
        assert!(number(&row["appends_per_s"]) > 0.0 && row["valid"] == true, "{row}");
        assert!(number(&row["latency_us"]["p50"]) <= number(&row["latency_us"]["p99"]));
    }
    assert_eq!(report["valid"], true);
}

/// Runs to the end, and gives the object and the files.
fn run(name: &str, options: &[&str]) -> Value {
    let (place, results) = (directory(), directory());
    let out = results.path().join("figures");
    let Output { status, stdout, stderr } =
        paper(place.path(), &[&[name, "--out", out.to_str().unwrap()], options].concat()).output().unwrap();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{errors}");
    let text = String::from_utf8(stdout).unwrap();
    assert_eq!(text.lines().count(), 1);
    let mut report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["schema"], &report["bench"], &report["valid"]), (&1.into(), &"paper".into(), &true.into()));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left");
    let file_name = |file: std::io::Result<fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
    let mut files: Vec<String> = fs::read_dir(&out).unwrap().map(file_name).collect();
    files.sort();
    assert_eq!(files, [format!("paper-{name}.json"), format!("paper-{name}.svg")]);
    let report = report[name].take();
    let written: Value = serde_json::from_slice(&fs::read(out.join(format!("paper-{name}.json"))).unwrap()).unwrap();
    assert_eq!(written, report);
    let svg = fs::read_to_string(out.join(format!("paper-{name}.svg"))).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("what differs"), "{svg}");
    assert!(!svg.contains("NaN") && !svg.contains("href"), "{svg}");
    report
}

/// Rows by name, in order.
fn names(report: &Value) -> Vec<&str> {
    report["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn stripes_are_compared_with_one_and_with_what_was_published() {
    let report = run("stripes", &["--seconds", "0.3", "--rounds", "2", "--nodes-max", "6"]);
    check(&report, "stripes", 5);
    assert_eq!(names(&report), ["one", "sharded-2", "rotating-2", "rotating-4", "rotating-8"]);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!((&rows[0]["ratio_to_one"], &rows[0]["published_appends_per_s"]), (&1.0.into(), &35_000.0.into()));
    assert_eq!((&rows[1]["nodes"], &rows[1]["quorum"], &rows[1]["stripes"]), (&6.into(), &2.into(), &2.into()));
    for row in &rows[1..] {
        assert!(number(&row["ratio_to_one"]) > 0.0 && row["published_appends_per_s"].is_null(), "{row}");
        assert!((0.0..1.0).contains(&number(&row["filler_share"])), "{row}");
    }
    let published: Vec<_> = report["published"].as_array().unwrap().iter().map(|point| &point["stripes"]).collect();
    assert_eq!(published, [1, 10, 20, 30, 40]);
}

#[test]
fn rotating_sequencers_share_what_one_has_to_send() {
    let report = run("rotating", &["--seconds", "0.3", "--rounds", "1", "--nodes-max", "5"]);
    check(&report, "rotating", 2);
    assert_eq!(names(&report), ["one-on-5", "rotating-on-5"]);
    let [one, rotating] = [0, 1].map(|row| &report["rows"][row]);
    assert_eq!((&one["quorum"], &one["failure_threshold"]), (&3.into(), &2.into()));
    assert_eq!((&rotating["quorum"], &rotating["stripes"]), (&3.into(), &5.into()));
    // Each record goes to four others once, whoever sends it.
    let sent = |row: &Value| row["sent_bytes_per_append"].as_array().unwrap().iter().map(number).collect::<Vec<_>>();
    let (alone, shared) = (sent(one), sent(rotating));
    assert_eq!((alone.len(), shared.len()), (1, 5));
    assert!(alone[0] > 3.9 * 1024.0 && alone[0] < 5.0 * 1024.0, "{report}");
    assert!(shared.iter().all(|&each| each < alone[0] / 2.0), "{report}");
    assert!(shared.iter().sum::<f64>() > 3.9 * 1024.0, "{report}");
    assert!(report["published"].is_null(), "there is no number to be quoted");
}

#[test]
fn converged_clients_save_the_network_what_their_node_has() {
    let report = run("converged", &["--seconds", "0.3", "--rounds", "1", "--inflight", "16"]);
    let [converged, apart] = [0, 1].map(|row| &report["rows"][row]);
    assert_eq!((&converged["name"], &apart["name"]), (&"converged".into(), &"disaggregated".into()));
    assert_eq!((&converged["processes"], &apart["processes"]), (&1.into(), &4.into()));
    for row in [converged, apart] {
        let verified = &row["verified"];
        assert!(number(&verified["acked"]) > 0.0 && row["valid"] == true && row["failed"] == 0, "{row}");
        assert_eq!(
            (&verified["delivered"], &verified["missing"], &verified["wrong"]),
            (&verified["acked"], &0.into(), &0.into())
        );
        assert!(number(&row["append_us"]["p50"]) > 0.0 && number(&row["after_append_us"]["p99"]) > 0.0, "{row}");
        assert!(number(&row["cpu_ns_per_append"]) > 0.0, "{row}");
    }
    // Two copies go to other nodes either way; the append and the read besides, unless the client is at its node.
    let [within, outside] = [converged, apart].map(|row| number(&row["network_bytes_per_append"]));
    assert!((1.9 * 1024.0..3.0 * 1024.0).contains(&within), "{report}");
    assert!(outside > 3.9 * 1024.0, "{report}");
    assert!(number(&report["appends_ratio"]) > 0.0 && report["published"].is_null(), "{report}");
}

fn refused(options: &[&str], words: &[&str]) {
    let place = directory();
    let output = paper(place.path(), options).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{options:?}: {errors}");
    for word in words {
        assert!(errors.contains(word), "{options:?} should mention `{word}`: {errors}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn wrong_usage_is_refused_before_anything_starts() {
    refused(&["figures"], &["figures", "stripes", "rotating"]);
    refused(&["stripes", "--nodes-max", "2"], &["--nodes-max"]);
    refused(&["rotating", "--nodes-max", "4"], &["--nodes-max 4", "rotating", "5"]);
    // All of them, of which one is impossible.
    refused(&["--nodes-max", "4"], &["--nodes-max 4", "rotating"]);
    refused(&["rotating", "--link-mbit", "0"], &["--link-mbit"]);
    refused(&["converged", "--link-mbit", "1000"], &["--link-mbit", "stripes", "rotating"]);
    refused(&["--link-mbit", "1000"], &["--link-mbit", "converged"]);
    refused(&["--record-bytes", "23"], &["--record-bytes 23", "24"]);
    refused(&["--rounds", "0"], &["--rounds"]);
    refused(&["--seconds", "0"], &["--seconds"]);
    let results = directory();
    let file = results.path().join("file");
    fs::write(&file, "x").unwrap();
    refused(&["--out", file.to_str().unwrap()], &["file"]);
    refused(&["--out", results.path().join("no/parent").to_str().unwrap()], &["no/parent"]);
    assert_eq!(fs::read_dir(results.path()).unwrap().count(), 1);
}

#[test]
fn what_has_no_room_is_refused() {
    let disk = match TinyDisk::mount(420 << 20) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: no file system can be mounted here: {why}"),
    };
    let mut command = program();
    command.args(["bench", "paper", "stripes", "--nodes-max", "3", "--dir"]).arg(&disk.mounted);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{errors}");
    assert!(errors.contains("free") && errors.contains("--dir") && errors.contains("--seconds"), "{errors}");
}

#[test]
fn an_interrupted_experiment_leaves_nothing() {
    let (place, results) = (directory(), directory());
    let out = results.path().join("figures");
    let options = ["stripes", "--seconds", "600", "--nodes-max", "3", "--out", out.to_str().unwrap()];
    let mut command = paper(place.path(), &options);
    let mut bench = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    let nodes =
        || fs::read_dir(place.path()).unwrap().filter_map(Result::ok).any(|made| made.path().join("node-1").exists());
    while !nodes() && begin.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
    }
    let (started, made) = (nodes(), out.is_dir());
    kill_process(Pid::from_child(&bench), Signal::INT).unwrap();
    assert_eq!(bench.wait().unwrap().code(), Some(INTERRUPTED));
    assert!(started && made);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(results.path()).unwrap().count(), 0, "the directory for the results was made for them");
}
