//! `naxos inspect` on directories that real nodes have left, whole and damaged.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use naxos::base::{LogletId, Offset};
use naxos::client::{Client, ClientOptions};
use serde_json::Value;
use support::process::{NodeProcess, loglet_over, program, serve};
use support::{CLUSTER, Cluster, record, scratch};

const USAGE: i32 = 2;
const DAMAGED: i32 = 7;

fn naxos(arguments: &[&str], directory: &Path) -> Output {
    let mut command = program();
    command.args(arguments).arg(directory).env_remove("NAXOS_CLUSTER").stdin(Stdio::null());
    command.output().unwrap()
}

/// The JSON report, which is one object on one line, after this exit code.
fn report(directory: &Path, code: i32, arguments: &[&str]) -> Value {
    let output = naxos(&[&["--json", "inspect"], arguments].concat(), directory);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "one line");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["schema"], "naxos-inspect-1");
    assert_eq!(report["intact"], code == 0);
    report
}

fn refused(directory: &Path, words: &[&str]) {
    let output = naxos(&["inspect"], directory);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{errors}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(errors.contains(word), "`{word}` in {errors}");
    }
}

fn append(cluster: &Cluster, from: u64, to: u64) {
    let log = cluster.log();
    let appends: Vec<_> = (from..to).map(|index| log.append(&record(0, index))).collect();
    for (index, append) in (from..to).zip(appends) {
        assert_eq!(append.wait().unwrap(), Offset(index));
    }
}

/// A node that was stopped in good order, with several lives and a trimmed log.
struct Stopped {
    cluster: Cluster,
    directory: PathBuf,
    loglet: LogletId,
}

const RECORDS: u64 = 20_000;
const TRIMMED: u64 = 300;

fn stopped() -> Stopped {
    let mut cluster = Cluster::start(1, 2);
    append(&cluster, 0, RECORDS);
    let log = cluster.log();
    // A trim reaches as far as is known to be committed.
    assert_eq!(log.check_tail().unwrap().tail, Offset(RECORDS));
    assert_eq!(log.trim(Offset(TRIMMED)).unwrap(), Offset(TRIMMED));
    log.seal().unwrap();
    let address = cluster.stop(0);
    cluster.restart(0, address);
    cluster.stop(0);
    let directory = cluster.node_directory(0);
    let loglet = cluster.config.id;
    Stopped { cluster, directory, loglet }
}

impl Stopped {
    /// A copy to be damaged.
    fn copy(&self) -> PathBuf {
        let to = self.cluster.directory.path().join("damaged");
        let _ = fs::remove_dir_all(&to);
        for (path, bytes) in contents(&self.directory) {
            let path = to.join(path.strip_prefix(&self.directory).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        to
    }
}

fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

fn changed(directory: &Path) -> Vec<(PathBuf, SystemTime)> {
    contents(directory)
        .into_keys()
        .map(|path| (path.clone(), fs::metadata(&path).unwrap().modified().unwrap()))
        .collect()
}

/// The journal, file name and row of the first unit with records that a later unit claims.
fn unit_with_records(report: &Value) -> (u64, String, u64, Value) {
    for journal in report["journals"].as_array().unwrap() {
        for segment in journal["segments"].as_array().unwrap() {
            for unit in segment["unit_rows"].as_array().into_iter().flatten() {
                if unit["state"] == "accepted" && unit["records"].as_u64() > Some(0) && segment["role"] == "live" {
                    let file = segment["file"].as_str().unwrap().to_owned();
                    let number = segment["segment"].as_u64().unwrap();
                    return (journal["journal"].as_u64().unwrap(), file, number, unit.clone());
                }
            }
        }
    }
    panic!("no unit with records in {report}");
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn finding<'a>(report: &'a Value, class: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["class"] == class);
    found.unwrap_or_else(|| panic!("no {class} in {findings:?}"))
}

#[test]
fn a_stopped_node_is_intact_told_as_it_is_and_left_as_it_was() {
    let node = stopped();
    let before = changed(&node.directory);
    let report = report(&node.directory, 0, &["--units"]);
    assert_eq!(changed(&node.directory), before, "nothing is written");
    assert_eq!((&report["live"], &report["node"]["shards"]), (&Value::from(false), &Value::from(2)));
    assert_eq!(report["node"]["cluster"], CLUSTER.to_string());
    let loglets = report["loglets"].as_array().unwrap();
    let loglet = loglets.iter().find(|loglet| loglet["id"]["nonce"] == node.loglet.nonce).unwrap();
    assert_eq!(loglet["local_tail"], RECORDS);
    assert_eq!((&loglet["sealed"], &loglet["trim_point"]), (&Value::from(true), &Value::from(TRIMMED)));
    assert_eq!((&loglet["records"], &loglet["first_stored"]), (&(RECORDS - TRIMMED).into(), &TRIMMED.into()));
    assert_eq!(loglet["holes"], Value::from(Vec::<u64>::new()));
    assert_eq!(loglet["config"]["log_servers"].as_array().unwrap().len(), 1);
    // Every row of the units adds up.
    let (mut records, mut units) = (0, 0);
    for journal in report["journals"].as_array().unwrap() {
        assert_eq!(journal["start"]["outcome"], "accepts");
        let roles =
            |role: &str| journal["segments"].as_array().unwrap().iter().filter(|one| one["role"] == role).count();
        assert_eq!(roles("reserve"), 2);
        for segment in journal["segments"].as_array().unwrap().iter().filter(|segment| segment["role"] == "live") {
            assert_eq!(segment["head"], "complete");
            for unit in segment["unit_rows"].as_array().unwrap() {
                assert!(
                    unit["table_holds"] == true && unit["payload_holds"] == true && unit["linked"] == true,
                    "{unit}"
                );
                records += unit["records"].as_u64().unwrap();
                units += 1;
            }
        }
    }
    let told: u64 = report["journals"].as_array().unwrap().iter().map(|one| one["units"].as_u64().unwrap()).sum();
    assert_eq!((records, units), (RECORDS, told));
    let text = naxos(&["inspect", "--segments", "--units", "--loglets", "--cells"], &node.directory);
    let text = String::from_utf8(text.stdout).unwrap();
    for words in ["Segments", "Units", "Loglets", "Cells", "reserve", "sealed", "Intact: nothing is damaged."] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_directory_in_use_is_refused_unless_asked_for_and_free_again_afterwards() {
    let mut cluster = Cluster::start(1, 1);
    append(&cluster, 0, 100);
    let directory = cluster.node_directory(0);
    refused(&directory, &["a node is running", "--live"]);
    let output = naxos(&["--json", "inspect", "--live"], &directory);
    assert!([Some(0), Some(DAMAGED)].contains(&output.status.code()));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["live"], true);
    let address = cluster.stop(0);
    report(&directory, 0, &["--live"]);
    cluster.restart(0, address);
}

#[test]
fn every_damage_is_named_with_its_place_and_a_start_agrees() {
    let node = stopped();
    let whole = report(&node.directory, 0, &["--units"]);
    let (journal, file, segment, unit) = unit_with_records(&whole);
    let position = unit["position"].as_u64().unwrap();
    let path = |directory: &Path| directory.join(format!("journal-{journal}")).join(&file);
    let at_unit = |found: &Value| {
        assert_eq!((&found["journal"], &found["file"]), (&journal.into(), &file.as_str().into()), "{found}");
        assert_eq!((&found["segment"], &found["position"]), (&segment.into(), &position.into()), "{found}");
        assert_eq!((&found["sequence"], &found["severity"]), (&unit["sequence"], &"damage".into()), "{found}");
        assert!(found["meaning"].as_str().unwrap().len() > 20);
    };
    let of_unit = |told: &Value| {
        let findings = told["findings"].as_array().unwrap();
        findings.iter().find(|found| found["position"] == position).unwrap_or_else(|| panic!("{findings:?}")).clone()
    };

    let payload = node.copy();
    flip(&path(&payload), position + 400);
    let told = report(&payload, DAMAGED, &[]);
    let found = of_unit(&told);
    at_unit(&found);
    assert_eq!(found["records"][0]["loglet"]["nonce"], node.loglet.nonce);
    restarted_agrees(&payload, &told);

    let header = node.copy();
    flip(&path(&header), position + 30);
    let told = report(&header, DAMAGED, &[]);
    at_unit(&of_unit(&told));
    restarted_agrees(&header, &told);

    let removed = node.copy();
    fs::remove_file(path(&removed)).unwrap();
    let told = report(&removed, DAMAGED, &[]);
    assert_eq!(finding(&told, "segment_missing")["segment"], segment);
    let loglet =
        &told["loglets"].as_array().unwrap().iter().find(|one| one["id"]["nonce"] == node.loglet.nonce).unwrap();
    assert_eq!(loglet["catching_up"], true);
    restarted_agrees(&removed, &told);

    let journal_gone = node.copy();
    fs::remove_dir_all(journal_gone.join("journal-1")).unwrap();
    let told = report(&journal_gone, DAMAGED, &[]);
    assert_eq!(finding(&told, "journal_missing")["journal"], 1);

    let nameless = node.copy();
    fs::write(nameless.join("node.json"), "{").unwrap();
    let told = report(&nameless, DAMAGED, &[]);
    assert!(finding(&told, "identity_damaged")["detail"].as_str().unwrap().contains("node.json"));
    assert_eq!(told["loglets"], whole["loglets"], "the journals are still told");

    let swapped = node.copy();
    let (one, other) = (swapped.join("journal-0"), swapped.join("journal-1"));
    fs::rename(&one, swapped.join("between")).unwrap();
    fs::rename(&other, &one).unwrap();
    fs::rename(swapped.join("between"), &other).unwrap();
    let told = report(&swapped, DAMAGED, &[]);
    assert!(finding(&told, "start_refuses")["detail"].as_str().unwrap().contains("belongs to node"));
}

/// Starts a node on the directory and compares the damage that it names.
fn restarted_agrees(directory: &Path, told: &Value) {
    let running = naxos::node::Node::start(support::node_config_of(directory)).unwrap();
    let client = Client::start(ClientOptions::default()).unwrap();
    let status = client.status(running.address()).unwrap();
    let mut damage = Vec::new();
    for shard in status["shards"].as_array().unwrap() {
        for one in shard["journal"]["damage"].as_array().unwrap() {
            damage.push((shard["shard"].clone(), one["segment"].clone(), one["position"].clone()));
        }
    }
    let classes = ["records_damaged", "cells_lost", "table_lost", "segment_missing"];
    let findings = told["findings"].as_array().unwrap().iter();
    let findings = findings.filter(|found| classes.contains(&found["class"].as_str().unwrap()));
    let place = |found: &Value| found["position"].as_u64().unwrap_or(0).into();
    let found: Vec<_> = findings.map(|one| (one["journal"].clone(), one["segment"].clone(), place(one))).collect();
    assert_eq!(found, damage);
    running.stop();
}

#[test]
fn a_node_killed_under_load_is_not_called_damaged() {
    let scratch = scratch();
    let directory = scratch.path().join("node");
    let any = "127.0.0.1:0".parse().unwrap();
    let mut node = NodeProcess::start(serve(program(), CLUSTER, &directory, any));
    let config = loglet_over(&[&node], 0, 1);
    let client = Client::start(ClientOptions::default()).unwrap();
    client.create(&config, CLUSTER).unwrap();
    let log = client.open(&config, CLUSTER);
    let acknowledged: Vec<_> = (0..500).map(|index| log.append(&record(0, index))).collect();
    let last = acknowledged.into_iter().map(|append| append.wait().unwrap()).max().unwrap();
    // What is on its way when the node dies.
    let unknown: Vec<_> = (500..5_000).map(|index| log.append(&record(0, index))).collect();
    node.kill();
    drop(unknown);
    // The lock lasts as long as the dead process's last write.
    let told = loop {
        let output = naxos(&["--json", "inspect"], &directory);
        if output.status.code() != Some(USAGE) {
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
            break serde_json::from_slice::<Value>(&output.stdout).unwrap();
        }
    };
    assert!(told["loglets"][0]["local_tail"].as_u64().unwrap() > last.0);
    assert_eq!(told["loglets"][0]["sealed"], false);
}

#[test]
fn what_is_no_data_directory_is_refused() {
    let scratch = scratch();
    refused(&scratch.path().join("nothing"), &["does not exist"]);
    refused(scratch.path(), &["neither node.json nor journals"]);
    let file = scratch.path().join("cluster.json");
    fs::write(&file, "{}").unwrap();
    refused(&file, &["no directory"]);
    refused(scratch.path(), &["node directories"]);
    let output = Command::new(env!("CARGO_BIN_EXE_naxos")).arg("inspect").output().unwrap();
    assert_eq!(output.status.code(), Some(USAGE));
    let output = naxos(&["inspect", "--segment", "1"], scratch.path());
    assert_eq!(output.status.code(), Some(USAGE), "--segment without --units");
}

#[test]
fn garbage_in_place_of_files_is_survived() {
    let scratch = scratch();
    let journal = scratch.path().join("journal-0");
    fs::create_dir_all(&journal).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for name in ["0.seg", "ffffffffffffffff.seg", "0000000100000000.seg.tmp", ".seg"] {
        let bytes: Vec<u8> = (0..random.usize(..100_000)).map(|_| random.u8(..)).collect();
        fs::write(journal.join(name), bytes).unwrap();
    }
    fs::write(scratch.path().join("node.json"), [0xff, 0, 1]).unwrap();
    let told = report(scratch.path(), DAMAGED, &["--units"]);
    assert_eq!(told["node"], Value::Null);
    finding(&told, "identity_damaged");
    finding(&told, "free_file_damaged");
    assert_eq!(told["journals"][0]["unfinished"][0], "0000000100000000.seg.tmp");
}
