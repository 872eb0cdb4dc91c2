//! `naxos-tools peers` as it is used: what is missing, what does not start, and what is left behind.
#![cfg(feature = "peers")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A directory for data, and one for the programs that are found.
struct Place {
    data: TempDir,
    programs: TempDir,
}

/// File-system type without a disk, from the kernel's `include/uapi/linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;

impl Place {
    /// None, with the reason, where only memory is to be had: the tool refuses that.
    fn new() -> Option<Self> {
        let directory = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let place = Self { data: directory(), programs: directory() };
        let in_memory = rustix::fs::statfs(place.data.path()).unwrap().f_type as u64 == TMPFS_MAGIC;
        if in_memory {
            eprintln!("skipped: {} is in memory", place.data.path().display());
        }
        (!in_memory).then_some(place)
    }

    /// Puts a shell script in the place of a program. It finds its own directory in `$HERE`.
    fn script(&self, name: &str, body: &str) {
        let path = self.programs.path().join(name);
        let here = self.programs.path().display();
        fs::write(&path, format!("#!/bin/sh\nHERE={here}\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn start(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_naxos-tools"))
            .arg("peers")
            .args(arguments)
            .arg("--dir")
            .arg(self.data.path())
            .env("PATH", self.programs.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.start(arguments).wait_with_output().unwrap();
        self.assert_empty();
        output
    }

    fn assert_empty(&self) {
        let left: Vec<_> = fs::read_dir(self.data.path()).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn missing_packages_are_named() {
    let Some(place) = Place::new() else { return };
    let output = place.run(&["--systems", "etcd,redis"]);
    assert!(!output.status.success(), "nothing was measured");
    for package in ["apt-get install etcd-server", "apt-get install redis-server"] {
        assert!(error(&output).contains(package), "{}", error(&output));
    }
}

#[test]
fn a_missing_naxos_is_said_with_what_helps() {
    let Some(place) = Place::new() else { return };
    let output = place.run(&["--systems", "naxos", "--naxos", "/nowhere/naxos"]);
    assert!(!output.status.success());
    let error = error(&output);
    assert!(error.contains("/nowhere/naxos was not found") && error.contains("cargo build"), "{error}");
}

#[test]
fn a_system_that_does_not_start_is_quoted() {
    let Some(place) = Place::new() else { return };
    place.script("redis-server", "echo no disk today; exit 3");
    let output = place.run(&["--systems", "redis", "--shapes", "single"]);
    assert!(!output.status.success());
    let error = error(&output);
    assert!(error.contains("exit status: 3") && error.contains("no disk today"), "{error}");
}

#[test]
fn an_interrupted_run_leaves_no_process_and_no_data() {
    let Some(place) = Place::new() else { return };
    place.script("redis-server", "echo $$ > $HERE/new\n/bin/mv $HERE/new $HERE/pid\nexec /bin/sleep 1000");
    let mut tool = place.start(&["--systems", "redis", "--shapes", "single"]);
    let pid = loop {
        if let Ok(pid) = fs::read_to_string(place.programs.path().join("pid")) {
            break pid.trim().to_owned();
        }
        assert!(tool.try_wait().unwrap().is_none(), "the tool waits for its server");
        thread::yield_now();
    };
    assert!(Path::new("/proc").join(&pid).exists());
    kill_process(Pid::from_child(&tool), Signal::TERM).unwrap();
    let output = tool.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(error(&output).contains("interrupted"), "{}", error(&output));
    assert!(!Path::new("/proc").join(&pid).exists(), "the server still runs");
    place.assert_empty();
}

#[test]
fn wrong_usage_is_refused_before_anything_starts() {
    let Some(place) = Place::new() else { return };
    for (arguments, hint) in [
        (["--systems", "kafka"], "zookeeper"),
        (["--shapes", "burst"], "many-clients"),
        (["--record-bytes", "8"], "from 24"),
        (["--seconds", "never"], "seconds"),
    ] {
        let output = place.run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(error(&output).contains(hint), "{}", error(&output));
    }
}

#[test]
fn what_is_there_is_measured_beside_what_is_missing() {
    let Some(place) = Place::new() else { return };
    let redis = Path::new("/usr/bin/redis-server");
    if !redis.exists() {
        eprintln!("skipped: {} is not installed", redis.display());
        return;
    }
    symlink(redis, place.programs.path().join("redis-server")).unwrap();
    let arguments = ["--systems", "etcd,redis", "--shapes", "single,batched", "--rounds", "2", "--json"];
    let output = place.run(&[&arguments[..], &["--seconds", "0.5", "--warm-up", "0.1"]].concat());
    assert!(error(&output).contains("apt-get install etcd-server"), "{}", error(&output));
    let rows = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shapes: Vec<_> = rows.iter().map(|row| row["shape"].as_str().unwrap()).collect();
    assert_eq!(shapes, ["single", "batched"], "{}", error(&output));
    for row in rows {
        assert_eq!((&row["system"], &row["copies"]), (&Value::from("redis"), &Value::from(1)));
        assert_eq!(row["rounds"].as_array().unwrap().len(), 2);
        assert_eq!(row["verified"]["acked"], row["verified"]["read_back"]);
        assert!(row["verified"]["acked"].as_u64() > Some(0));
    }
}
