//! The sequencer in the process of the writer: a node that stores nothing, reached through memory.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use naxos::base::{LogPos, LogletId, Offset};
use naxos::client::{Client, ClientOptions, Event, Extended, OpError, VirtualLog};
use naxos::io::DriverChoice;
use naxos::node::{Health, Node, NodeConfig, SequencerConfig, SequencerNode};
use naxos::wire::{LogletConfig, Member, Sequencer};
use serde_json::Value;
use support::{CLUSTER, node_config, scratch, small_limits};

const PATIENCE: Duration = Duration::from_secs(30);

fn start(driver: DriverChoice, listen: Option<SocketAddr>) -> SequencerNode {
    let limits = small_limits();
    SequencerNode::start(SequencerConfig { driver, listen, limits, ..SequencerConfig::new(CLUSTER) }).unwrap()
}

fn any_port() -> Option<SocketAddr> {
    Some(([127, 0, 0, 1], 0).into())
}

fn nodes(driver: DriverChoice, count: usize) -> (tempfile::TempDir, Vec<Node>) {
    let directory = scratch();
    let start = |number: usize| {
        let config = node_config(&directory.path().join(number.to_string()));
        Node::start(NodeConfig { driver, ..config }).unwrap()
    };
    let nodes = (0..count).map(start).collect();
    (directory, nodes)
}

fn client(driver: DriverChoice, beside: Option<&SequencerNode>) -> Client {
    let collocated = beside.map(SequencerNode::collocated);
    Client::start(ClientOptions { limits: small_limits(), driver, collocated, ..ClientOptions::default() }).unwrap()
}

fn members(nodes: &[Node]) -> Vec<Member> {
    nodes.iter().map(|node| Member { node: node.node(), address: node.address() }).collect()
}

fn loglet(sequencer: Sequencer, nodes: &[Node], nonce: u64) -> LogletConfig {
    LogletConfig { id: LogletId { log: 1, version: 1, nonce }, sequencer, log_servers: members(nodes) }
}

fn report(sequencer: &SequencerNode) -> Value {
    sequencer.reporter().report(PATIENCE)
}

fn record(number: u64) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

/// Everything below `end`, in order.
fn read(log: &VirtualLog, end: LogPos) -> Vec<Vec<u8>> {
    let (mut subscription, mut records) = (log.subscribe(LogPos::ZERO), Vec::new());
    while (records.len() as u64) < end.0 {
        match subscription.next_timeout(PATIENCE).unwrap() {
            Some(Event::Records(delivery)) => records.extend(delivery.records().map(<[u8]>::to_vec)),
            other => panic!("after {}: {other:?}", records.len()),
        }
    }
    records
}

fn start_with_client(driver: DriverChoice, listen: Option<SocketAddr>) -> (SequencerNode, Client) {
    let limits = small_limits();
    let options = ClientOptions { limits: limits.clone(), ..ClientOptions::default() };
    let config = SequencerConfig { driver, listen, limits, ..SequencerConfig::new(CLUSTER) };
    SequencerNode::start_with_client(config, options).unwrap()
}

fn appends_through_memory(driver: DriverChoice, shares_a_thread: bool) {
    let (_directory, nodes) = nodes(driver, 3);
    let (sequencer, writer) = if shares_a_thread {
        start_with_client(driver, None)
    } else {
        let sequencer = start(driver, None);
        let writer = client(driver, Some(&sequencer));
        (sequencer, writer)
    };
    assert_eq!(sequencer.address(), None);
    let config = loglet(sequencer.sequencer(), &nodes, 1);
    writer.create(&config, CLUSTER).unwrap();
    let log = writer.open(&config, CLUSTER);
    for number in 0..50 {
        assert_eq!(log.append(&record(number)).wait().unwrap(), Offset(number));
    }
    // More than the window takes, so that appends wait unread at the sequencer.
    let appends: Vec<_> = (50..20_000).map(|number| log.append(&record(number))).collect();
    for (append, number) in appends.into_iter().zip(50..) {
        assert_eq!(append.wait().unwrap(), Offset(number));
    }
    let status = report(&sequencer);
    let shard = &status["shards"][0];
    assert_eq!((&status["role"], Health::of(&status)), (&Value::from("sequencer"), Health::Ready));
    assert_eq!(shard["connections"], shard["local_connections"], "nobody has come over the network: {status}");
    assert_eq!(shard["appends"]["append_records"], 20_000, "{status}");
    for node in &nodes {
        let status = node.reporter().report(PATIENCE);
        assert_eq!(status["shards"][0]["sequencers"], Value::Array(Vec::new()), "nobody else sequences");
    }
    // Whoever reads needs no sequencer.
    let reader = client(driver, None);
    let tail = reader.open(&config, CLUSTER).check_tail().unwrap();
    assert_eq!((tail.tail, tail.sealed), (Offset(20_000), false));
    drop(log);
    sequencer.stop();
}

#[test]
fn appends_need_no_network_to_the_sequencer() {
    for (driver, shares_a_thread) in [
        (DriverChoice::Auto, false),
        (DriverChoice::Auto, true),
        (DriverChoice::Epoll, false),
        (DriverChoice::Epoll, true),
    ] {
        appends_through_memory(driver, shares_a_thread);
    }
}

/// Either of the two may go first; whoever is left does what it can alone. Others append through it as well, if it listens.
#[test]
fn a_sequencer_on_a_clients_thread_ends_with_either() {
    let (_directory, nodes) = nodes(DriverChoice::Auto, 3);
    let elsewhere = client(DriverChoice::Auto, None);
    let append = |client: &Client, sequencer: &SequencerNode, nonce| {
        let config = loglet(sequencer.sequencer(), &nodes, nonce);
        client.create(&config, CLUSTER).unwrap();
        let log = client.open(&config, CLUSTER);
        assert_eq!(log.append(b"in the process").wait().unwrap(), Offset(0));
        assert_eq!(elsewhere.open(&config, CLUSTER).append(b"over the network").wait().unwrap(), Offset(1));
        log
    };
    let (sequencer, writer) = start_with_client(DriverChoice::Auto, any_port());
    let log = append(&writer, &sequencer, 1);
    sequencer.stop();
    assert!(log.append(b"nobody sequences").wait().is_err());
    assert_eq!(log.check_tail().unwrap().tail, Offset(2), "the client is there");
    let (sequencer, writer) = start_with_client(DriverChoice::Auto, any_port());
    let log = append(&writer, &sequencer, 2);
    drop((log, writer));
    let config = loglet(sequencer.sequencer(), &nodes, 2);
    assert!(elsewhere.open(&config, CLUSTER).append(b"nobody sequences").wait().is_err());
    let taken = SequencerConfig { listen: Some(nodes[0].address()), ..SequencerConfig::new(CLUSTER) };
    let refused = SequencerNode::start_with_client(taken, ClientOptions::default()).unwrap_err().to_string();
    assert!(refused.contains(&nodes[0].address().to_string()), "{refused}");
}

/// P4: a sequencer is one life of one process, and another one has another identity; whoever finds it gone goes on without it.
#[test]
fn another_life_never_goes_on_where_one_has_ended() {
    let (_directory, nodes) = nodes(DriverChoice::Auto, 3);
    let listening = start(DriverChoice::Auto, any_port());
    let address = listening.address().unwrap();
    let config = loglet(listening.sequencer(), &nodes, 1);
    let elsewhere = client(DriverChoice::Auto, None);
    elsewhere.create(&config, CLUSTER).unwrap();
    let log = elsewhere.open(&config, CLUSTER);
    assert_eq!(log.append(b"over the network").wait().unwrap(), Offset(0));
    let (node, life) = (listening.node(), listening.sequencer().incarnation);
    listening.stop();
    let next = start(DriverChoice::Auto, Some(address));
    assert!(next.node() != node && next.sequencer().incarnation != life);
    assert!(log.append(b"to somebody else").wait().is_err());
    let again = loglet(Sequencer { incarnation: life, ..next.sequencer() }, &nodes, 2);
    let refused = elsewhere.create(&again, CLUSTER).unwrap_err();
    assert_eq!(refused, OpError::SequencerLost, "the configuration names another life");
    log.seal().unwrap();
    let tail = log.check_tail().unwrap();
    assert_eq!((tail.tail, tail.sealed), (Offset(1), true));
}

#[test]
fn what_it_does_not_do_is_refused_and_said() {
    let (_directory, nodes) = nodes(DriverChoice::Auto, 2);
    let sequencer = start(DriverChoice::Auto, any_port());
    let address = sequencer.address().unwrap();
    let client = client(DriverChoice::Auto, None);
    assert!(client.hello(address).unwrap().sequences_only && !client.hello(nodes[0].address()).unwrap().sequences_only);
    let only = "only sequences";
    // No keeper of registers, and no member.
    let began = client.begin_cluster(CLUSTER, &[nodes[0].address(), address]).unwrap_err().to_string();
    assert!(began.contains(only) && began.contains(&address.to_string()), "{began}");
    let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
    client.begin_cluster(CLUSTER, &addresses).unwrap();
    client.cluster(&addresses).unwrap().found().unwrap();
    let joined = client.join_cluster(&addresses, sequencer.member(), None).unwrap_err().to_string();
    assert!(joined.contains(only), "{joined}");
    let asked = client.cluster(&[address]).unwrap_err().to_string();
    assert!(asked.contains("keeps no registers"), "{asked}");
    // No LogServer.
    let mut config = loglet(sequencer.sequencer(), &nodes, 1);
    config.log_servers.push(sequencer.member());
    let quick = naxos::base::Limits { operation_timeout: Duration::from_secs(1), ..small_limits() };
    let quick = support::client_with(quick);
    let made = quick.create(&config, CLUSTER).unwrap_err().to_string();
    assert!(made.contains("cannot be a LogServer"), "{made}");
    config.log_servers = vec![sequencer.member()];
    let tail = quick.open(&config, CLUSTER).check_tail().unwrap_err().to_string();
    assert!(tail.contains("stores nothing"), "{tail}");
    let status = client.status(address).unwrap();
    assert_eq!(status["role"], "sequencer", "and says what it is");
}

fn founded(addresses: &[SocketAddr], client: &Client) -> VirtualLog {
    client.begin_cluster(CLUSTER, addresses).unwrap();
    let cluster = client.cluster(addresses).unwrap();
    cluster.found().unwrap();
    cluster.create_log("default", 3).unwrap()
}

/// A log moves to the sequencer of its writer's process without a record out of place, stays there, and goes on without it.
#[test]
fn a_virtual_log_is_taken_over_and_goes_on_when_its_writer_has_gone() {
    let (_directory, nodes) = nodes(DriverChoice::Auto, 3);
    let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
    let sequencer = start(DriverChoice::Auto, None);
    let writer = client(DriverChoice::Auto, Some(&sequencer));
    let log = founded(&addresses, &writer);
    (0..10).for_each(|number| assert_eq!(log.append(&record(number)).wait().unwrap(), LogPos(number)));
    let Extended::Done(chain) = sequencer.take_over(&log).unwrap() else { panic!("nobody else is there") };
    assert_eq!((chain.last().loglet.first().sequencer, chain.segments.len()), (sequencer.sequencer(), 2));
    let Extended::Done(again) = sequencer.take_over(&log).unwrap() else { panic!("nobody else is there") };
    assert_eq!(again, chain, "it is there already");
    let appends: Vec<_> = (10..500).map(|number| log.append(&record(number))).collect();
    appends.into_iter().zip(10..).for_each(|(append, number)| assert_eq!(append.wait().unwrap(), LogPos(number)));
    // Others read without it.
    let other = client(DriverChoice::Auto, None);
    let elsewhere = other.cluster(&addresses).unwrap().open_log("default").unwrap();
    assert_eq!(read(&elsewhere, LogPos(500)).len(), 500);
    assert_eq!(elsewhere.chain().unwrap().version, chain.version, "reading has changed nothing");
    sequencer.stop();
    let begun = Instant::now();
    assert_eq!(elsewhere.append(&record(500)).wait().unwrap(), LogPos(500));
    println!("an append waited {:?} for another sequencer", begun.elapsed());
    assert_eq!(log.append(&record(501)).wait().unwrap(), LogPos(501), "the writer itself goes on as well");
    let last = elsewhere.chain().unwrap().last().loglet.first().sequencer.node;
    assert!(nodes.iter().any(|node| node.node() == last), "a LogServer's node sequences now");
    let expected: Vec<_> = (0..502).map(record).collect();
    assert_eq!(read(&elsewhere, LogPos(502)), expected);
}

/// For the process that is killed: the nodes, as JSON, and whether it appends to a virtual log or to a bare loglet.
const NODES_VARIABLE: &str = "NAXOS_TEST_NODES";
const KIND_VARIABLE: &str = "NAXOS_TEST_KIND";

/// The offset or position of an append, once it is acknowledged.
type Wait = Box<dyn FnOnce() -> u64>;

/// Starts an append to one kind of log or the other.
type AppendTo = Box<dyn Fn(&[u8]) -> Wait>;

/// Appends through a sequencer of its own until it is killed, and says on its standard output what was acknowledged.
#[test]
#[ignore = "the process that another test starts and kills"]
fn writer_process() {
    let Ok(nodes) = std::env::var(NODES_VARIABLE) else { return };
    let log_servers: Vec<Member> = serde_json::from_str(&nodes).unwrap();
    let addresses: Vec<_> = log_servers.iter().map(|member| member.address).collect();
    let (sequencer, client) = start_with_client(DriverChoice::Auto, None);
    let (id, sequenced_by) = (LogletId { log: 9, version: 1, nonce: 9 }, sequencer.sequencer());
    let config = LogletConfig { id, sequencer: sequenced_by, log_servers };
    let append: AppendTo = if std::env::var(KIND_VARIABLE).unwrap() == "loglet" {
        client.create(&config, CLUSTER).unwrap();
        let log = client.open(&config, CLUSTER);
        Box::new(move |record| {
            let append = log.append(record);
            Box::new(move || append.wait().unwrap().0)
        })
    } else {
        let log = client.cluster(&addresses).unwrap().open_log("default").unwrap();
        sequencer.take_over(&log).unwrap();
        Box::new(move |record| {
            let append = log.append(record);
            Box::new(move || append.wait().unwrap().0)
        })
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nconfig {}", String::from_utf8(config.to_json()).unwrap()).unwrap();
    for round in 0.. {
        let appends: Vec<_> = (round * 32..(round + 1) * 32).map(|number| append(&record(number))).collect();
        for (number, wait) in (round * 32..).zip(appends) {
            assert_eq!(wait(), number);
            writeln!(out, "acknowledged {number}").unwrap();
        }
    }
}

/// Kills such a process in the middle of its load. Returns the configuration of its loglet, and how many appends it has seen acknowledged.
fn kill_a_writer(nodes: &[Node], kind: &str) -> (LogletConfig, u64) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "writer_process", "--ignored", "--nocapture"]).stdout(Stdio::piped());
    command.env(NODES_VARIABLE, serde_json::to_string(&members(nodes)).unwrap()).env(KIND_VARIABLE, kind);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let config =
        lines.find_map(|line| Some(LogletConfig::from_json(line.strip_prefix("config ")?.as_bytes()).unwrap()));
    let config = config.expect("it says what it appends to");
    let mut acknowledged = 0;
    let mut killed = false;
    // What it has said before it was killed is read to the end; a line that was cut in two says nothing.
    for line in lines {
        let Some(number) = line.strip_prefix("acknowledged ") else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        acknowledged = acknowledged.max(number + 1);
        if acknowledged > 1000 && !std::mem::replace(&mut killed, true) {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(killed, "it was appending, and ended by itself after {acknowledged}");
    (config, acknowledged)
}

/// Records in the order of their numbers, from 0 on, and among them all that were acknowledged.
fn assert_kept(records: &[Vec<u8>], acknowledged: u64) {
    assert!(records.len() as u64 >= acknowledged, "{} of {acknowledged}", records.len());
    records.iter().zip(0..).for_each(|(found, number)| assert_eq!(found, &record(number)));
}

#[test]
fn a_killed_writer_has_lost_nothing_and_others_seal_its_loglet() {
    let (_directory, nodes) = nodes(DriverChoice::Auto, 3);
    let (config, acknowledged) = kill_a_writer(&nodes, "loglet");
    let client = client(DriverChoice::Auto, None);
    let log = client.open(&config, CLUSTER);
    assert!(log.append(b"nobody sequences").wait().is_err());
    log.seal().unwrap();
    let tail = log.check_tail().unwrap();
    assert!(tail.sealed && tail.tail.0 >= acknowledged, "{tail:?} after {acknowledged}");
    log.set_stop(tail.tail).unwrap();
    let (mut subscription, mut records) = (log.subscribe(Offset::ZERO), Vec::new());
    while let Some(Event::Records(delivery)) = subscription.next_timeout(PATIENCE).unwrap() {
        records.extend(delivery.records().map(<[u8]>::to_vec));
    }
    assert_eq!(records.len() as u64, tail.tail.0);
    assert_kept(&records, acknowledged);
}

#[test]
fn a_killed_writers_log_is_extended_by_whoever_appends_next() {
    let (_directory, nodes) = nodes(DriverChoice::Auto, 3);
    let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
    let client = client(DriverChoice::Auto, None);
    let log = founded(&addresses, &client);
    let (config, acknowledged) = kill_a_writer(&nodes, "log");
    assert_eq!(log.chain().unwrap().last().loglet.first().sequencer, config.sequencer, "nobody has noticed yet");
    let at = log.append(b"from somebody else").wait().unwrap();
    assert!(at.0 >= acknowledged, "{at} after {acknowledged}");
    let chain = log.chain().unwrap();
    assert!(nodes.iter().any(|node| node.node() == chain.last().loglet.first().sequencer.node), "{chain:?}");
    let records = read(&log, at + 1);
    assert_eq!(records[at.0 as usize], b"from somebody else");
    assert_kept(&records[..at.0 as usize], acknowledged);
}

/// What `naxos bench` says of a short load through an embedded sequencer.
fn bench(command: &str, embedded: &str) -> Value {
    let place = scratch();
    let mut bench = support::process::program();
    bench.args(["--json", "bench", command, embedded, "--seconds", "0.5", "--warm-up", "0.2"]);
    bench.args(["--clients", "2", "--inflight", "4", "--prepare-bytes", "1", "--dir"]).arg(place.path());
    let output = bench.output().unwrap();
    let report = serde_json::from_slice(&output.stdout);
    report.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn its_load_is_verified_and_compared_with_one_round_trip() {
    let report = bench("append", "--embedded-sequencer");
    let number =
        |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {report}"));
    assert_eq!((&report["sequencer"], &report["valid"]), (&Value::from("embedded"), &Value::from(true)), "{report}");
    assert!(number("/verified/acked") > 0.0 && number("/verified/missing") == 0.0, "{report}");
    assert!(number("/records_per_frame_mean") >= 1.0, "the sequencer counts, and is asked: {report}");
    assert_eq!(number("/floor_us/round_trips"), 1.0);
    let floor = number("/floor_us/dsync_p50") + number("/floor_us/rtt_p50");
    assert!((number("/floor_us/append_p50") - floor).abs() < 0.2, "{report}");
    let ratio = number("/latency_us/p50") / floor;
    assert!((number("/p50_over_floor") / ratio - 1.0).abs() < 0.01, "{report}");
}

#[test]
fn its_profile_adds_up_on_either_thread() {
    let name = Value::from("embedded-own-thread");
    let profiled = |embedded| (bench("profile", embedded), embedded);
    for (report, embedded) in ["--embedded-sequencer=client", "--embedded-sequencer=own"].map(profiled) {
        assert_eq!(report["sequencer"] == name, embedded.ends_with("own"), "{report}");
        assert_adds_up(&report);
    }
}

fn assert_adds_up(report: &Value) {
    assert_eq!(report["valid"], true, "{report}");
    let profile = &report["profile"];
    assert!((profile["stages_over_whole"].as_f64().unwrap() - 1.0).abs() <= 0.05, "{report}");
    let nodes = profile["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().filter(|node| !node["answer"].is_null()).count(), 3, "all LogServers answer it: {report}");
    assert_eq!(
        nodes.iter().filter(|node| node["store"].as_array().unwrap().is_empty()).count(),
        1,
        "it stores nothing"
    );
}
