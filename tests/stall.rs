//! `naxos bench stall`: short loads during which a real LogServer is stopped, and that none stays so.

mod support;

use std::fs;
use std::process::{Child, Command, Stdio};
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

fn stall(directory: &TempDir, options: &[&str]) -> Command {
    let mut command = program();
    command
        .args(["--json", "bench", "stall", "--warm-up", "0.2", "--prepare-bytes", "1", "--dir"])
        .arg(directory.path());
    command.args(options).stdin(Stdio::null());
    command
}

fn report(options: &[&str]) -> Value {
    let directory = directory();
    let output = stall(&directory, options).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 1);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    let report: Value = serde_json::from_str(&text).unwrap();
    // A machine with other work may take appends up late, which is no result then; everything else holds all the same.
    let is_late = report["generator_lag_us"].as_f64().unwrap() > 1000.0;
    assert!(report["valid"] == true || is_late, "{report}");
    assert_eq!(output.status.success(), report["valid"] == true);
    report
}

#[test]
fn a_stopped_log_server_falls_behind_and_catches_up_while_the_log_goes_on() {
    let report = report(&["--seconds", "1", "--stop", "0.5", "--rate", "200", "--clients", "2"]);
    assert_eq!((&report["schema"], &report["bench"], &report["nodes"]), (&1.into(), &"stall".into(), &3.into()));
    assert_eq!(report["failed"], 0, "{report}");
    // What was due in each span, 200 a second.
    for (span, due) in [("before_us", 200), ("stopped_us", 100), ("after_us", 200)] {
        assert_eq!(report[span]["n"], due, "{span}: {report}");
    }
    let behind = report["behind_records"].as_u64().unwrap();
    // Of the hundred that were appended meanwhile; the signal goes out when the machine lets it.
    assert!((20..=300).contains(&behind), "{report}");
    assert!(report["caught_up_ms"].is_number() && report["p99_ratio"].is_number(), "{report}");
    assert_eq!((&report["reconfigurations"], &report["not_copied_records"]), (&0.into(), &0.into()), "{report}");
    let verified = &report["verified"];
    // The warm-up's as well.
    assert_eq!(
        (&verified["acked"], &verified["read_back"], &verified["missing"]),
        (&540.into(), &540.into(), &0.into())
    );
    assert!(report["peak_appends_per_s"].is_null());
}

#[test]
fn without_a_rate_it_offers_a_share_of_the_peak() {
    let report = report(&["--seconds", "0.3", "--stop", "0.3", "--share", "0.1", "--clients", "1", "--inflight", "4"]);
    let [peak, offered] = ["peak_appends_per_s", "offered_per_s"].map(|name| report[name].as_f64().unwrap());
    assert!((offered - peak * 0.1).abs() <= 1.0, "{offered} of {peak}");
    assert_eq!((&report["load_share"], &report["verified"]["missing"]), (&0.1.into(), &0.into()));
}

#[test]
fn a_load_that_has_no_room_is_refused_before_anything_starts() {
    let disk = match TinyDisk::mount(420 << 20) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: no file system can be mounted here: {why}"),
    };
    let mut command = program();
    command.args(["bench", "stall", "--rate", "200000", "--dir"]).arg(&disk.mounted);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{errors}");
    assert!(errors.contains("free") && errors.contains("--dir") && errors.contains("--seconds"), "{errors}");
}

/// A program that ends with its test, which its nodes follow.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The state of a process, and its parent; none if there is no such process.
fn process(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The children that this process has.
fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| process(pid).is_some_and(|(_, of)| of == parent)).collect()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a load that stops a node for long, and gives its nodes once one of them is stopped.
fn with_a_stopped_node(directory: &TempDir) -> (Running, Vec<u32>) {
    let mut command = stall(directory, &["--seconds", "0.3", "--stop", "600", "--rate", "100"]);
    let bench = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let mut nodes = Vec::new();
    eventually("a node is stopped", || {
        nodes = children(bench.0.id());
        nodes.iter().any(|&node| process(node).is_some_and(|(state, _)| state == 'T'))
    });
    assert_eq!(nodes.len(), 3);
    (bench, nodes)
}

fn have_ended(nodes: &[u32]) -> bool {
    nodes.iter().all(|&node| process(node).is_none_or(|(state, _)| state == 'Z'))
}

#[test]
fn an_interrupted_load_leaves_no_stopped_node() {
    let directory = directory();
    let (mut bench, nodes) = with_a_stopped_node(&directory);
    kill_process(Pid::from_child(&bench.0), Signal::INT).unwrap();
    assert_eq!(bench.0.wait().unwrap().code(), Some(INTERRUPTED));
    assert!(have_ended(&nodes));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_killed_load_leaves_no_stopped_node() {
    let directory = directory();
    let (mut bench, nodes) = with_a_stopped_node(&directory);
    bench.0.kill().unwrap();
    bench.0.wait().unwrap();
    eventually("the nodes follow", || have_ended(&nodes));
}
