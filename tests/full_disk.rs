//! The program on a file system that is really full: typed errors, everything but records still taken, and no restart needed.

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use naxos::base::ClusterId;
use naxos::client::{Client, ClientOptions};
use serde_json::{Value, json};
use support::disk::TinyDisk;
use support::process::{NodeProcess, program, serve};

const CLUSTER: ClusterId = ClusterId(0xF0);
const USAGE: i32 = 2;
const NO_SPACE: i32 = 8;
/// How long anything may take before the test calls it stuck.
const PATIENCE: Duration = Duration::from_secs(120);
/// Room for three journals of a few segments each, and for no more.
const DISK_BYTES: u64 = 144 << 20;
const CONFIG: &str = "[limits]\nsegment_bytes = 8388608\nsegments_prepared = 3\n";
/// In one `naxos append`: less than what repairs have room for.
const RECORDS: usize = 1_000;

fn start(disk: &Path, number: usize) -> NodeProcess {
    let config = disk.join("node.toml");
    // A node that starts again finds its configuration, on a disk that may be full.
    if !config.exists() {
        fs::write(&config, CONFIG).unwrap();
    }
    let any = "127.0.0.1:0".parse().unwrap();
    let mut command = serve(naxos(&[]), CLUSTER, &disk.join(format!("node-{number}")), any);
    command.arg("--config").arg(&config).stderr(Stdio::null());
    NodeProcess::start(command)
}

fn naxos(arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).env_remove("NAXOS_CLUSTER");
    command
}

/// Creates a log over the nodes, and writes the cluster file for it.
fn create(nodes: &[NodeProcess], directory: &Path) -> PathBuf {
    let client = Client::start(ClientOptions::default()).unwrap();
    let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    client.begin_cluster(CLUSTER, &addresses).unwrap();
    let cluster = client.cluster(&addresses).unwrap();
    cluster.found().unwrap();
    cluster.create_log("default", nodes.len()).unwrap();
    let entries: Vec<_> = nodes.iter().map(|node| json!({ "node": node.node, "address": node.address })).collect();
    let file = json!({ "cluster": CLUSTER, "default_log": "default", "nodes": entries });
    let path = directory.join("cluster.json");
    fs::write(&path, file.to_string()).unwrap();
    path
}

struct Log {
    cluster: PathBuf,
    /// Every record that was acknowledged, by its offset.
    acknowledged: Vec<(u64, String)>,
    appended: usize,
}

impl Log {
    fn run(&self, arguments: &[&str]) -> Output {
        naxos(&["--cluster", self.cluster.to_str().unwrap()]).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Appends `count` new records and returns the exit code.
    fn append(&mut self, count: usize) -> i32 {
        let records: Vec<String> = (0..count).map(|n| format!("{:0>1000}", self.appended + n)).collect();
        self.appended += count;
        let mut child = naxos(&["--cluster", self.cluster.to_str().unwrap(), "append"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, text) = (child.stdin.take().unwrap(), records.join("\n"));
        // It stops reading at the first error.
        let feeder = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        let offsets = String::from_utf8(output.stdout).unwrap();
        let offsets = offsets.lines().map(|line| line.parse::<u64>().expect("an offset on each line"));
        self.acknowledged.extend(offsets.zip(records));
        let code = output.status.code().expect("it ends by itself");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            code == NO_SPACE,
            errors.contains("no majority of LogServers has disk space left"),
            "{code}: {errors}"
        );
        assert!(code == 0 || code == NO_SPACE, "{code}: {errors}");
        code
    }

    fn end(&self) -> u64 {
        self.acknowledged.last().map_or(0, |(offset, _)| offset + 1)
    }

    /// Reads `from..to` and compares what was acknowledged there.
    fn check(&self, from: u64, to: u64) {
        let count = (to - from).to_string();
        let output = self.run(&["read", "--from", &from.to_string(), "--count", &count]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let records: Vec<&str> = text.lines().collect();
        assert_eq!(records.len() as u64, to - from);
        for (offset, record) in self.acknowledged.iter().filter(|(offset, _)| (from..to).contains(offset)) {
            assert_eq!(records[(offset - from) as usize], record, "the record at {offset}");
        }
    }

    fn problems(&self) -> String {
        let output = self.run(&["--json", "status"]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["problems"].to_string()
    }
}

#[test]
fn a_full_file_system_is_said_survived_and_over_after_a_trim() {
    let disk = match TinyDisk::mount(DISK_BYTES) {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("skipped: a file system cannot be made and mounted here: {reason}"),
    };
    let nodes: Vec<NodeProcess> = (0..3).map(|number| start(&disk.mounted, number)).collect();
    let cluster = create(&nodes, disk.mounted.parent().unwrap());
    let mut log = Log { cluster, acknowledged: Vec::new(), appended: 0 };

    for round in 0.. {
        assert!(round < 100, "the disk is never full");
        if log.append(RECORDS) == NO_SPACE {
            break;
        }
    }
    let full_at = log.end();
    assert!(full_at >= RECORDS as u64, "{full_at}");
    let started = Instant::now();
    assert_eq!(log.append(1), NO_SPACE);
    assert!(started.elapsed() < PATIENCE, "a refusal is no wait");
    let problems = log.problems();
    assert!(problems.contains("records are refused") && problems.contains("no majority has disk space"), "{problems}");
    log.check(0, full_at);

    let refused = naxos(&["serve", "--listen", "127.0.0.1:0", "--cluster-id", &CLUSTER.to_string(), "--prepare-bytes"])
        .args([(1u64 << 40).to_string(), "--dir".to_owned()])
        .arg(disk.mounted.join("another"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && errors.contains("--prepare-bytes"), "{errors}");

    let trimmed = log.run(&["trim", &full_at.to_string()]);
    assert!(trimmed.status.success(), "{}", String::from_utf8_lossy(&trimmed.stderr));
    let started = Instant::now();
    while log.append(1) == NO_SPACE {
        assert!(started.elapsed() < PATIENCE, "there is no space after a trim: {}", log.problems());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(log.append(RECORDS), 0);
    log.check(full_at, log.end());
    assert!(!log.problems().contains("refused"), "{}", log.problems());

    // Full once more, for a seal, which needs no space, and for a start.
    while log.append(RECORDS) == 0 {}
    let sealed = log.run(&["log", "seal"]);
    assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
    log.check(full_at, log.end());
    drop(nodes);
    let again: Vec<NodeProcess> = (0..3).map(|number| start(&disk.mounted, number)).collect();
    assert_eq!(again.len(), 3, "a start needs no space either");
}

#[test]
fn preparing_more_than_the_disk_has_is_refused_at_the_start() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = naxos(&["serve", "--listen", "127.0.0.1:0", "--cluster-id", &CLUSTER.to_string()])
        .args(["--prepare-bytes", &(1u64 << 60).to_string(), "--dir"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{errors}");
    assert!(errors.contains("--prepare-bytes") && errors.contains("free"), "{errors}");
}
