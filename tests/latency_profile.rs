//! Where appends spend their time, on real nodes: the parts make up the whole.

mod support;

use std::pin::pin;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use naxos::base::{Limits, Stage};
use naxos::client::{Client, ClientOptions, Reactor};
use naxos::io::{DriverChoice, SystemDriver};
use naxos::node::{Node, NodeConfig};
use serde_json::Value;
use support::{CLUSTER, Cluster, loglet_over, node_config, scratch, small_limits};

const APPENDS: u64 = 400;

/// One after the other: they measure.
static ALONE: Mutex<()> = Mutex::new(());

const SERVER_STAGES: [&str; 6] = ["sequencing", "batch_wait", "submit", "device", "quorum_wait", "release"];

fn shard(cluster: &Cluster, node: usize) -> Value {
    let address = cluster.nodes[node].as_ref().unwrap().address();
    cluster.client.status(address).unwrap()["shards"][0].take()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number: {value}"))
}

#[test]
fn the_stages_of_the_sequencers_node_add_up_to_an_appends_time_there() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    let begin = Instant::now();
    for _ in 0..APPENDS {
        log.append(&[1; 100]).wait().unwrap();
    }
    let elapsed = begin.elapsed().as_nanos() as u64;
    let sequencing = shard(&cluster, 0);
    let profile = &sequencing["latency_profile"];
    let residence = &profile["residence"];
    assert_eq!(number(&residence["events"]), APPENDS);
    let stages: Vec<u64> = SERVER_STAGES.iter().map(|stage| number(&profile["stages"][stage]["sum_ns"])).collect();
    assert_eq!(stages.iter().sum::<u64>(), number(&residence["sum_ns"]));
    assert!(number(&residence["sum_ns"]) < elapsed, "{residence} of {elapsed}");
    // A durable write takes most of it, whichever node's was waited for.
    assert!(stages[3] + stages[4] > elapsed / 10, "{stages:?} of {elapsed}");
    for slow in profile["slowest"].as_array().unwrap() {
        let parts: f64 = SERVER_STAGES.iter().map(|stage| slow["stages_us"][stage].as_f64().unwrap()).sum();
        let total = slow["total_us"].as_f64().unwrap();
        assert!((parts - total).abs() < 0.01 * total, "{slow}");
        let last = slow["last_node"].as_str().unwrap().parse().unwrap();
        assert!(cluster.config.log_servers.iter().any(|member| member.node == last), "{slow}");
    }
    let servers = sequencing["sequencers"][0]["log_servers"].as_array().unwrap();
    assert_eq!(servers.len(), 3);
    // The slowest of them may still owe its last answers.
    for server in servers {
        assert!(number(&server["answer_latency"]["events"]) > APPENDS / 2, "{server}");
    }
    for node in 0..3 {
        let store = &shard(&cluster, node)["latency_profile"]["store"];
        for part in ["batch_wait", "submit", "device"] {
            assert!(number(&store[part]["events"]) >= APPENDS / 2, "node {node}: {store}");
        }
    }
}

/// How far two times of the same append may be apart.
const TOLERANCE: f64 = 0.05;

/// The test's own clock, around appends that it carries out by hand: no thread has to be woken between it and the client's loop.
#[test]
fn the_stages_of_an_append_add_up_to_what_the_caller_sees() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Cluster::start(3, 1);
    let driver = SystemDriver::open(DriverChoice::Auto.resolve().unwrap()).unwrap();
    let mut reactor = Reactor::new(driver, small_limits());
    let log = reactor.open(&cluster.config, CLUSTER);
    let append = |reactor: &mut Reactor<SystemDriver>| {
        let begin = Instant::now();
        let mut append = pin!(log.append(&[1; 100]));
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(offset) = append.as_mut().poll(&mut context) {
                return (offset.unwrap().0, begin.elapsed().as_nanos() as f64);
            }
            assert!(reactor.turn(true).unwrap());
        }
    };
    // The first ones wait for connections and for memory.
    for _ in 0..50 {
        append(&mut reactor);
    }
    reactor.take_append_profile();
    let seen: Vec<(u64, f64)> = (0..APPENDS).map(|_| append(&mut reactor)).collect();
    let profile = reactor.take_append_profile();
    assert_eq!((profile.whole().len(), profile.records()), (APPENDS, APPENDS));
    let mean = seen.iter().map(|(_, nanos)| nanos).sum::<f64>() / APPENDS as f64;
    let parts: f64 = Stage::ALL.iter().map(|stage| profile.stage(*stage).mean()).sum();
    assert!((parts - mean).abs() < TOLERANCE * mean, "{parts} ns of {mean}: {:?}", means(&profile));
    assert!((parts - profile.whole().mean()).abs() < 0.01 * mean, "{parts} ns of {}", profile.whole().mean());
    // This thread may be stopped between its own clock's reading and the client's.
    let off = |slow: &&naxos::client::SlowAppend| {
        let (_, nanos) = seen.iter().find(|(offset, _)| *offset == slow.first.0).unwrap();
        (slow.nanos() as f64 - nanos).abs() > TOLERANCE * nanos
    };
    let slowest: Vec<_> = profile.slowest().collect();
    assert_eq!(slowest.len(), 20);
    let off: Vec<_> = slowest.iter().copied().filter(off).collect();
    assert!(off.len() <= 2, "{off:?}");
    assert!(slowest.iter().all(|slow| cluster.config.log_servers.iter().any(|member| Some(member.node) == slow.last)));
}

fn means(profile: &naxos::client::AppendProfile) -> Vec<(&'static str, f64)> {
    Stage::ALL.map(|stage| (stage.name(), profile.stage(stage).mean())).to_vec()
}

#[test]
fn batches_have_the_stages_of_their_oldest_record() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    const RECORDS: u64 = 20_000;
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    log.append(&[1; 100]).wait().unwrap();
    cluster.client.take_append_profile().unwrap();
    let appends: Vec<_> = (0..RECORDS).map(|_| log.append(&[1; 100])).collect();
    for append in appends {
        append.wait().unwrap();
    }
    let profile = cluster.client.take_append_profile().unwrap();
    assert_eq!(profile.records(), RECORDS);
    let batches = profile.whole().len();
    assert!(batches < RECORDS / 2, "{batches} batches");
    let parts: f64 = Stage::ALL.iter().map(|stage| profile.stage(*stage).mean()).sum();
    let whole = profile.whole().mean();
    assert!((parts - whole).abs() < 0.01 * whole, "{parts} ns of {whole}: {:?}", means(&profile));
    for slow in profile.slowest() {
        assert!(slow.nanos() as f64 <= 1.01 * profile.whole().max() as f64);
    }
    assert_eq!(cluster.client.take_append_profile().unwrap().whole().len(), 0, "it was taken");
}

/// Also across a reconfiguration, after which the sequencer may be on another node with another clock.
#[test]
fn a_virtual_logs_appends_have_their_stages_too() {
    const EACH: u64 = 30;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let nodes = Cluster::start(3, 1);
    let client = support::client();
    client.begin_cluster(CLUSTER, &nodes.addresses()).unwrap();
    let cluster = client.cluster(&nodes.addresses()).unwrap();
    cluster.found().unwrap();
    let log = cluster.create_log("profiled", 3).unwrap();
    let append = |count: u64| (0..count).for_each(|_| assert!(log.append(&[1; 100]).wait().is_ok()));
    append(EACH);
    log.extend(None, false).unwrap();
    append(EACH);
    let profile = client.take_append_profile().unwrap();
    assert_eq!((profile.whole().len(), profile.records()), (2 * EACH, 2 * EACH));
    let parts: f64 = Stage::ALL.iter().map(|stage| profile.stage(*stage).mean()).sum();
    let whole = profile.whole().mean();
    assert!((parts - whole).abs() < 0.01 * whole, "{parts} ns of {whole}: {:?}", means(&profile));
    assert!(profile.stage(Stage::Device).mean() + profile.stage(Stage::QuorumWait).mean() > whole / 10.0);
    let loglets: std::collections::BTreeSet<_> = profile.slowest().map(|slow| slow.loglet).collect();
    assert!((1..=2).contains(&loglets.len()), "{loglets:?}");
}

/// With the profile off, on either side, appends are what they were.
#[test]
fn nothing_is_measured_where_that_is_off() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let off = Limits { profile: false, ..small_limits() };
    let directory = scratch();
    for (server, client) in [(off.clone(), small_limits()), (small_limits(), off)] {
        let measures = server.profile;
        let config = NodeConfig { limits: server, ..node_config(&directory.path().join(measures.to_string())) };
        let node = Node::start(config).unwrap();
        let client = Client::start(ClientOptions { limits: client, ..ClientOptions::default() }).unwrap();
        let loglet = loglet_over(std::slice::from_ref(&node), 1);
        client.create(&loglet, CLUSTER).unwrap();
        let log = client.open(&loglet, CLUSTER);
        (0..5).for_each(|offset| assert_eq!(log.append(b"x").wait().unwrap().0, offset));
        assert_eq!(client.take_append_profile().unwrap().whole().len(), 0);
        let status = client.status(node.address()).unwrap();
        assert_eq!(status["shards"][0]["latency_profile"].is_object(), measures);
        node.stop();
    }
}

#[test]
fn status_shows_where_the_time_goes_on_a_running_cluster() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    let append = |count: u64| (0..count).for_each(|_| assert!(log.append(&[1; 100]).wait().is_ok()));
    append(20);
    let entry = |node: &Node| serde_json::json!({ "node": node.node(), "address": node.address() });
    let nodes: Vec<_> = cluster.nodes.iter().flatten().map(entry).collect();
    let file = cluster.directory.path().join("cluster.json");
    let content = serde_json::json!({ "cluster": CLUSTER, "default_log": "none", "nodes": nodes });
    std::fs::write(&file, content.to_string()).unwrap();
    let status = |options: &[&str]| {
        let mut command = support::process::program();
        command.args(["--cluster", file.to_str().unwrap()]).args(options).args(["status", "--latency"]);
        command
    };
    let output = status(&[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for words in ["SEQUENCED BY", "STORED BY", "ANSWER OF", "SLOWEST ON", "quorum_wait", "100 %"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    // Of an interval: what was appended before it does not count.
    let mut interval = status(&["--json"]).args(["--seconds", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut appends = 20;
    while interval.try_wait().unwrap().is_none() {
        append(1);
        appends += 1;
    }
    let report: Value = serde_json::from_slice(&interval.wait_with_output().unwrap().stdout).unwrap();
    let shards = report["shards"].as_array().unwrap();
    let mut counted: Vec<u64> = shards.iter().map(|shard| number(&shard["residence"]["events"])).collect();
    counted.sort_unstable();
    assert_eq!(counted[..2], [0, 0], "{report}");
    assert!((1..=appends - 20).contains(&counted[2]), "{} of {appends}: {report}", counted[2]);
}

fn bench(options: &[&str]) -> (i32, Value) {
    let directory = scratch();
    let mut command = support::process::program();
    command.args(["--json", "bench"]).args(options).args([
        "--seconds",
        "1",
        "--warm-up",
        "0.5",
        "--prepare-bytes",
        "1",
    ]);
    let output = command.arg("--dir").arg(directory.path()).output().unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), report)
}

#[test]
fn a_benchmark_says_where_the_time_of_an_append_goes() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let files = scratch();
    let [svg, hlog] = ["stages.svg", "stages.hlog"].map(|name| files.path().join(name));
    let names = [&svg, &hlog].map(|path| path.to_str().unwrap());
    // What was there goes when something takes its place, and not before.
    std::fs::write(&svg, "earlier").unwrap();
    let (code, _) = bench(&["profile", "--svg", names[0], "--hlog", "/nowhere/at/all"]);
    assert_eq!((code, std::fs::read_to_string(&svg).unwrap().as_str()), (2, "earlier"));
    let options = ["--clients", "2", "--inflight", "1", "--svg", names[0], "--hlog", names[1]];
    let (code, report) = bench(&[&["profile"], &options[..]].concat());
    assert_eq!((code, &report["valid"]), (0, &Value::Bool(true)), "{report}");
    let (svg, hlog) = (std::fs::read_to_string(svg).unwrap(), std::fs::read_to_string(hlog).unwrap());
    assert!(svg.starts_with("<svg ") && Stage::ALL.iter().all(|stage| svg.contains(stage.name())), "{svg}");
    assert!(hlog.contains("Tag=quorum_wait,") && hlog.contains("Tag=whole,"), "{hlog}");
    let profile = &report["profile"];
    let names: Vec<_> = profile["stages"].as_array().unwrap().iter().map(|it| it["stage"].as_str().unwrap()).collect();
    assert_eq!(names, Stage::ALL.map(Stage::name));
    // What was acknowledged in the measured time, but for what was on the way at its ends, which are seen twenty times a second.
    let (records, appends) = (number(&profile["records"]) as f64, report["appends_per_s"].as_f64().unwrap());
    assert!((records - appends).abs() < 0.4 * appends, "{records} of {appends}");
    let share: f64 = profile["stages"].as_array().unwrap().iter().map(|it| it["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 0.05 && (profile["stages_over_whole"].as_f64().unwrap() - share).abs() < 0.01);
    for slow in profile["slowest"].as_array().unwrap() {
        let parts: f64 = slow["stages_us"].as_object().unwrap().values().map(|it| it.as_f64().unwrap()).sum();
        let total = slow["total_us"].as_f64().unwrap();
        assert!((parts - total).abs() < 0.05 * total, "{slow}");
        assert!(profile["nodes"].as_array().unwrap().iter().any(|node| node["node"] == slow["last_node"]), "{slow}");
    }
    assert!(profile["nodes"].as_array().unwrap().iter().all(|node| number(&node["answer"]["n"]) > 0));
}

#[test]
fn a_benchmark_without_a_profile_is_as_any_other() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (code, report) = bench(&["append", "--clients", "1", "--inflight", "1", "--no-profile"]);
    assert_eq!((code, &report["valid"]), (0, &Value::Bool(true)), "{report}");
    assert_eq!(bench(&["profile", "--no-profile"]).0, 2, "nothing to show is a wrong usage");
}
