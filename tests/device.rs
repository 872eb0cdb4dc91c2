//! A node whose journals are on a block device: killed under load on either driver, filled up, and what is refused.
//!
//! The devices are loop devices; where those cannot be made, the tests say so and are skipped.

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use naxos::base::{ClusterId, Limits, Offset};
use naxos::client::{AppendError, Client, ClientOptions, Log, ReadResult};
use naxos::io::device::DeviceReason;
use naxos::node::{DataDir, DataDirError, DeviceOptions, Node, NodeConfig};
use serde_json::Value;
use support::loop_device::LoopDevice;
use support::process::{NodeProcess, loglet_over, program};
use support::scratch;

const CLUSTER: ClusterId = ClusterId(0xDE);
const USAGE: i32 = 2;
const DAMAGED: i32 = 7;
/// How long anything may take before the test calls it stuck.
const PATIENCE: Duration = Duration::from_secs(120);
const CONFIG: &str = "[limits]\nsegment_bytes = \"8 MiB\"\nsegments_prepared = 2\n";
const MIB: u64 = 1 << 20;
/// Room for two shards with seven segments each.
const DEVICE_BYTES: u64 = 3 * MIB + 14 * (8 * MIB + 8192);

/// A loop device, or the reason why the test is skipped.
macro_rules! loop_device {
    ($($argument:expr),*) => {
        match LoopDevice::with($($argument),*) {
            Ok(device) => device,
            Err(why) => return eprintln!("skipped: there are no loop devices here: {why}"),
        }
    };
}

/// Serves a node that has its journals on `device`.
fn serve(directory: &Path, device: Option<&Path>, more: &[&str]) -> Command {
    let config = directory.with_extension("toml");
    fs::write(&config, CONFIG).unwrap();
    let mut command = program();
    command.env_remove("NAXOS_CLUSTER").args(["--json", "serve", "--no-pin", "--exit-with-parent", "--no-control"]);
    command.args(["--cluster-id", &CLUSTER.to_string(), "--dir"]).arg(directory).arg("--config").arg(&config);
    if !more.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    if let Some(device) = device {
        command.arg("--device").arg(device);
    }
    command.args(more);
    command
}

/// What a start says that has to fail.
fn refusal(mut command: Command) -> String {
    let started = Instant::now();
    let output = command.stdin(Stdio::piped()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(USAGE), "{errors}");
    assert!(output.stdout.is_empty() && started.elapsed() < PATIENCE);
    errors
}

fn record(index: u64) -> Vec<u8> {
    let mut record = index.to_le_bytes().to_vec();
    record.resize(8 + (index as usize).wrapping_mul(131) % 3_000, index as u8);
    record
}

/// Appends until the log ends, and returns the index of the record at each acknowledged offset.
fn append_until_lost(log: &Log) -> Vec<(Offset, u64)> {
    let mut acknowledged = Vec::new();
    for first in (0..).step_by(100) {
        let appends: Vec<_> = (first..first + 100).map(|index| log.append(&record(index))).collect();
        for (index, append) in (first..).zip(appends) {
            match append.wait() {
                Ok(offset) => acknowledged.push((offset, index)),
                Err(AppendError::SequencerLost { .. } | AppendError::Sealed { .. }) => return acknowledged,
                Err(error) => panic!("append {index}: {error}"),
            }
        }
    }
    unreachable!("somebody ends the log")
}

fn verify(log: &Log, from: Offset, tail: Offset, acknowledged: &[(Offset, u64)]) {
    let mut records = Vec::new();
    let mut next = from;
    while next < tail {
        match log.read(next, tail, 256 << 10).unwrap() {
            ReadResult::Records(delivery) => {
                assert_eq!(delivery.first(), next, "no gap");
                records.extend(delivery.records().map(<[u8]>::to_vec));
                next = delivery.end();
            }
            other => panic!("offset {next} of {tail}: {other:?}"),
        }
    }
    for (offset, index) in acknowledged.iter().filter(|(offset, _)| *offset >= from) {
        assert_eq!(records.get((offset.0 - from.0) as usize), Some(&record(*index)), "acknowledged at {offset}");
    }
}

/// Which drivers this machine has.
fn drivers() -> Vec<&'static str> {
    ["uring", "epoll"]
        .into_iter()
        .filter(|driver| driver.parse::<naxos::io::DriverChoice>().unwrap().resolve().is_ok())
        .collect()
}

#[test]
fn what_a_killed_node_has_acknowledged_is_on_its_device() {
    let scratch = scratch();
    for driver in drivers() {
        let device = loop_device!(scratch.path(), DEVICE_BYTES, &[]);
        let directory = scratch.path().join(driver);
        let start = |more: &[&str]| {
            NodeProcess::start(serve(&directory, Some(&device.path), &[&["--driver", driver], more].concat()))
        };
        let client = Client::start(ClientOptions::default()).unwrap();
        let mut node = start(&["--shards", "2"]);
        let (mut logs, mut all) = (Vec::new(), 0);
        for round in 0..4 {
            // Several loglets, so that both shards have some.
            let mut appending = Vec::new();
            for nonce in 0..3 {
                let config = loglet_over(&[&node], 0, 10 * round + nonce);
                client.create(&config, CLUSTER).unwrap();
                let log = client.open(&config, CLUSTER);
                appending.push((log.clone(), std::thread::spawn(move || append_until_lost(&log))));
            }
            std::thread::sleep(Duration::from_millis(100 + 150 * round));
            node.kill();
            let written: Vec<_> = appending.into_iter().map(|(log, thread)| (log, thread.join().unwrap())).collect();
            all += written.iter().map(|(_, acknowledged)| acknowledged.len()).sum::<usize>();
            logs.extend(written);
            // At once: the ring of the process that was killed may still have writes under way.
            let address = node.address.to_string();
            node = start(&["--listen", &address]);
            for (log, acknowledged) in &logs {
                log.seal().unwrap();
                let tail = log.check_tail().unwrap();
                log.set_stop(tail.tail).unwrap();
                verify(log, Offset::ZERO, tail.tail, acknowledged);
            }
            // The device would be full otherwise.
            for (log, _) in logs.drain(..) {
                let tail = log.check_tail().unwrap().tail;
                log.trim(tail).unwrap();
            }
        }
        assert!(all > 1_000, "{driver}: {all} records");
        let segments = |name: &str| {
            let entries = fs::read_dir(directory.join(name)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        for journal in ["journal-0", "journal-1"] {
            assert_eq!(segments(journal), ["anchor"], "the segments are on the device");
        }
        println!("{driver}: {all} acknowledged in four lives");
    }
}

#[test]
fn a_full_device_refuses_records_until_a_trim() {
    let scratch = scratch();
    // Six segments.
    let device = loop_device!(scratch.path(), 3 * MIB + 6 * (8 * MIB + 8192), &[]);
    let directory = scratch.path().join("node");
    let mut node = NodeProcess::start(serve(&directory, Some(&device.path), &["--shards", "1"]));
    let client = Client::start(ClientOptions::default()).unwrap();
    let config = loglet_over(&[&node], 0, 1);
    client.create(&config, CLUSTER).unwrap();
    let log = client.open(&config, CLUSTER);
    let payload = vec![7; 100_000];
    let mut acknowledged = 0_u64;
    let append = || log.append(&payload).wait();
    loop {
        assert!(acknowledged < 1_000, "it is never full");
        match append() {
            Ok(_) => acknowledged += 1,
            Err(AppendError::NoSpace { .. }) => break,
            Err(error) => panic!("append {acknowledged}: {error}"),
        }
    }
    // Two of the six segments are held in reserve.
    assert!(acknowledged > 4 * 8 * MIB / 100_000 / 2, "{acknowledged}");
    log.trim(Offset(acknowledged)).unwrap();
    let started = Instant::now();
    while let Err(AppendError::NoSpace { .. }) = append() {
        assert!(started.elapsed() < PATIENCE, "there is no space after a trim");
        std::thread::sleep(Duration::from_millis(20));
    }
    // A device has no segments to make: what is full starts again all the same.
    node.kill();
    let again = NodeProcess::start(serve(&directory, Some(&device.path), &[]));
    assert_eq!(again.node, node.node);
    let refused = serve(&scratch.path().join("other"), Some(&device.path), &[]);
    assert!(refusal(refused).contains("it is in use"));
    drop(again);
    let error = refusal(serve(&directory, Some(&device.path), &["--prepare-bytes", "999999999"]));
    assert!(error.contains("has room for 50331648"), "{error}");
}

#[test]
fn a_device_that_carries_anything_is_refused_and_left_as_it_is() {
    let scratch = scratch();
    let device = loop_device!(scratch.path(), DEVICE_BYTES, &[]);
    let fresh = |name: &str| scratch.path().join(name);
    let path = Some(device.path.as_path());
    let bytes = || fs::read(device.file()).unwrap();

    let formatted = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&device.path).output();
    if formatted.is_ok_and(|output| output.status.success()) {
        let before = bytes();
        let error = refusal(serve(&fresh("ext4"), path, &[]));
        assert!(error.contains("ext4") && error.contains("--destroy"), "{error}");
        assert!(bytes() == before, "nothing has been changed");
        assert!(!fresh("ext4").join("node.json").exists());
        let mounted = fresh("mounted");
        fs::create_dir(&mounted).unwrap();
        if Command::new("mount").args([&device.path, &mounted]).status().is_ok_and(|status| status.success()) {
            let error = refusal(serve(&fresh("ext4"), path, &["--destroy"]));
            let unmounted = Command::new("umount").arg(&mounted).status().unwrap();
            assert!(error.contains("it is mounted on") && error.contains("mounted"), "{error}");
            assert!(unmounted.success());
        }
    }
    let first = NodeProcess::start(serve(&fresh("first"), path, &["--destroy", "--shards", "1"])).node;
    let before = bytes();
    let error = refusal(serve(&fresh("second"), path, &["--shards", "1"]));
    assert!(error.contains(&format!("the journals of node {first}")), "{error}");
    let error = refusal(serve(&fresh("first"), None, &[]));
    assert!(error.contains("has its journals on device") && error.contains("--device"), "{error}");
    assert!(bytes() == before, "nothing has been changed");
    // Its own device is never destroyed, also when that is asked for.
    assert_eq!(NodeProcess::start(serve(&fresh("first"), path, &["--destroy"])).node, first);
    let second = NodeProcess::start(serve(&fresh("second"), path, &["--destroy", "--shards", "1"])).node;
    assert_ne!(first, second);
    let error = refusal(serve(&fresh("first"), path, &["--destroy"]));
    assert!(error.contains("name the right one") && error.contains(&second.to_string()), "{error}");
    let files = NodeProcess::start(serve(&fresh("files"), None, &["--shards", "1"]));
    drop(files);
    let error = refusal(serve(&fresh("files"), path, &["--destroy"]));
    assert!(error.contains("created with its journals in files"), "{error}");
    assert_eq!(NodeProcess::start(serve(&fresh("second"), path, &[])).node, second);
}

#[test]
fn a_birth_that_was_cut_short_is_begun_again_on_the_same_device() {
    let scratch = scratch();
    let device = loop_device!(scratch.path(), DEVICE_BYTES, &[]);
    let options = DeviceOptions { path: device.path.clone(), destroy: false };
    let limits = Limits { segment_bytes: 8 << 20, segments_prepared: 2, ..Limits::default() };
    let open = |name: &str, limits: &Limits| {
        DataDir::open_with(&scratch.path().join(name), CLUSTER, Some(2), false, Some((&options, limits)))
    };
    let first = open("node", &limits).unwrap().node();
    assert_eq!(open("node", &limits).unwrap().node(), first);
    // The identity is what is written last.
    fs::remove_file(scratch.path().join("node/node.json")).unwrap();
    let second = open("node", &limits).unwrap().node();
    assert_ne!(second, first);
    // Nobody has ever written to a slot, so another one may have the device.
    let third = open("other", &limits).unwrap().node();
    let Err(DataDirError::Device(error)) = open("node", &limits) else { panic!() };
    assert!(matches!(&error.reason, DeviceReason::NotThisOne { found, .. } if found.contains(&third.to_string())));

    let more = Limits { segments_prepared: 5, ..limits.clone() };
    let node = |limits: Limits| {
        let config = NodeConfig {
            limits,
            device: Some(options.clone()),
            control: None,
            ..NodeConfig::new(scratch.path().join("other"), "127.0.0.1:0".parse().unwrap(), CLUSTER)
        };
        Node::start(config)
    };
    let error = node(more).unwrap_err().to_string();
    assert!(error.contains("2 shards with 8 segments"), "{error}");
    let error = node(Limits { segment_bytes: 16 << 20, ..limits.clone() }).unwrap_err().to_string();
    assert!(error.contains("it was formatted for segments of 8388608 bytes"), "{error}");
    node(limits).unwrap().stop();
    assert!(matches!(open("third", &Limits::default()), Err(DataDirError::Device(error)) if error.reason.is_usage()));
}

#[test]
fn what_can_be_no_device_is_refused() {
    let scratch = scratch();
    let directory = scratch.path().join("node");
    let file = scratch.path().join("file");
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    for (path, why) in [
        (file.as_path(), "it is no block device"),
        (scratch.path(), "it is no block device"),
        (Path::new("/dev/null"), "it is no block device"),
        (Path::new("/dev/none-such"), "No such file"),
    ] {
        let error = refusal(serve(&directory, Some(path), &[]));
        assert!(error.contains(why) && error.contains(path.to_str().unwrap()), "{error}");
    }
    let error = refusal(serve(&directory, None, &["--destroy"]));
    assert!(error.contains("--device"), "{error}");
    assert!(!directory.join("node.json").exists());

    let device = loop_device!(scratch.path(), DEVICE_BYTES, &["--read-only"]);
    assert!(refusal(serve(&directory, Some(&device.path), &[])).contains("it is read-only"));
    let device = loop_device!(scratch.path(), 40 * MIB, &[]);
    let error = refusal(serve(&directory, Some(&device.path), &["--shards", "1"]));
    assert!(error.contains("it has 41943040 bytes") && error.contains("need 45129728"), "{error}");
    if let Ok(in_memory) = tempfile::tempdir_in("/dev/shm") {
        let device = loop_device!(in_memory.path(), DEVICE_BYTES, &[]);
        let error = refusal(serve(&directory, Some(&device.path), &[]));
        assert!(error.contains("it is in memory"), "{error}");
    }
}

#[test]
fn a_device_is_looked_at_and_mended() {
    let scratch = scratch();
    let device = loop_device!(scratch.path(), DEVICE_BYTES, &[]);
    let directory = scratch.path().join("node");
    let mut node = NodeProcess::start(serve(&directory, Some(&device.path), &["--shards", "2"]));
    let client = Client::start(ClientOptions::default()).unwrap();
    let config = loglet_over(&[&node], 0, 1);
    client.create(&config, CLUSTER).unwrap();
    let log = client.open(&config, CLUSTER);
    for index in 0..500 {
        log.append(&record(index)).wait().unwrap();
    }
    node.kill();
    let inspect = |named: Option<&Path>, code: i32| {
        let mut command = program();
        command.args(["--json", "inspect"]).arg(&directory);
        if let Some(path) = named {
            command.arg("--device").arg(path);
        }
        command.stdin(Stdio::null());
        let started = Instant::now();
        let (output, errors) = loop {
            let output = command.output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            // The ring of the node that was killed may hold the lock for another moment.
            if !errors.contains("a node is running") || started.elapsed() > PATIENCE {
                break (output, errors);
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(output.status.code(), Some(code), "{errors}");
        (serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default(), errors)
    };
    let (_, error) = inspect(None, USAGE);
    assert!(error.contains("are on device") && error.contains("--device"), "{error}");
    let (report, _) = inspect(Some(&device.path), 0);
    let journals = report["journals"].as_array().unwrap();
    let live = |segment: &&Value| segment["role"] == "live";
    assert!(journals.len() == 2 && journals.iter().all(|journal| journal["segments"].as_array().unwrap().len() >= 3));
    assert!(journals.iter().any(|journal| journal["segments"].as_array().unwrap().iter().any(|one| live(&one))));
    assert_eq!(report["loglets"][0]["records"], 500);

    // A superblock, and the only copy that counts of the first entry of the table: the segment loses its name, and nothing else.
    let table = |byte: u64| {
        let mut bytes = [0; 4096];
        let file = fs::OpenOptions::new().read(true).write(true).open(&device.path).unwrap();
        file.read_exact_at(&mut bytes, byte).unwrap();
        bytes[60] ^= 1;
        file.write_all_at(&bytes, byte).unwrap();
        file.sync_all().unwrap();
    };
    table(0);
    table(MIB);
    let (report, _) = inspect(Some(&device.path), 0);
    let damaged = |report: &Value| {
        let findings = report["findings"].as_array().unwrap();
        findings.iter().filter(|finding| finding["class"] == "device_damaged").count()
    };
    assert_eq!((damaged(&report), &report["loglets"][0]["records"]), (2, &500.into()));
    assert_eq!(report["journals"][0]["segments"][0]["file"], "0000000000000000.seg");

    node = NodeProcess::start(serve(&directory, Some(&device.path), &["--listen", &node.address.to_string()]));
    let tail = log.check_tail();
    log.seal().unwrap();
    let tail = tail.unwrap_or_else(|_| log.check_tail().unwrap()).tail;
    log.set_stop(tail).unwrap();
    let all: Vec<_> = (0..500).map(|index| (Offset(index), index)).collect();
    verify(&log, Offset::ZERO, tail, &all);
    assert_eq!(tail, Offset(500));
    node.kill();
    let (report, _) = inspect(Some(&device.path), 0);
    assert_eq!((damaged(&report), &report["loglets"][0]["records"]), (0, &500.into()));

    // Without its anchors it is as a journal in files without its anchor: it cannot know whether its newest segment is there.
    fs::remove_file(directory.join("journal-0/anchor")).unwrap();
    fs::remove_file(directory.join("journal-1/anchor")).unwrap();
    let (report, _) = inspect(Some(&device.path), DAMAGED);
    let lost = |finding: &&Value| finding["class"] == "anchor_lost";
    assert_eq!(report["findings"].as_array().unwrap().iter().filter(lost).count(), 2);
    let node = NodeProcess::start(serve(&directory, Some(&device.path), &[]));
    let status = client.status(node.address).unwrap();
    let damage = |shard: usize| status["shards"][shard]["journal"]["damage"].as_array().map_or(0, Vec::len);
    assert_eq!((damage(0), damage(1)), (1, 1), "{status}");
}

#[test]
fn a_device_of_larger_blocks_is_used_in_its_blocks() {
    let scratch = scratch();
    let device = loop_device!(scratch.path(), DEVICE_BYTES, &["--sector-size", "4096"]);
    let directory = scratch.path().join("node");
    let node = NodeProcess::start(serve(&directory, Some(&device.path), &["--shards", "1"]));
    let client = Client::start(ClientOptions::default()).unwrap();
    let config = loglet_over(&[&node], 0, 1);
    client.create(&config, CLUSTER).unwrap();
    let log = client.open(&config, CLUSTER);
    let acknowledged: Vec<_> = (0..500).map(|index| (log.append(&record(index)).wait().unwrap(), index)).collect();
    verify(&log, Offset::ZERO, Offset(500), &acknowledged);
}
