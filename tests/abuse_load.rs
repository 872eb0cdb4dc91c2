//! Load that means ill, on a node in a process of its own: it stays responsive, and within the memory that its status prints.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use naxos::base::{ClusterId, Incarnation, Limits, LogletId, NodeId, Offset};
use naxos::client::{Append, AppendError, Client, ClientOptions, Log};
use naxos::wire::{Batch, BatchBuilder, FrameHeader, HEADER_BYTES, Hello, LogletConfig, Message, RejectCode, Role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use support::process::{NodeProcess, loglet_over, serve};

const CLUSTER: ClusterId = ClusterId(0xAB);
/// How long anything may take before a test calls it stuck.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// A node as a child process, with what it logs.
struct Node {
    process: NodeProcess,
    directory: tempfile::TempDir,
}

/// `naxos serve` in a shell that has set limits.
fn command(directory: &Path, limits: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limits} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_naxos")]);
    serve(shell, CLUSTER, &directory.join("data"), "127.0.0.1:0".parse().unwrap())
}

impl Node {
    fn start(limits: &str) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = command(directory.path(), limits);
        command.stderr(log);
        Self { process: NodeProcess::start(command), directory }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// A loglet on this node alone.
    fn loglet(&self, nonce: u64) -> LogletConfig {
        loglet_over(&[&self.process], 0, nonce)
    }

    fn memory(&self, client: &Client) -> Value {
        client.status(self.process.address).unwrap()["shards"][0]["memory"].clone()
    }

    /// Fails if the node holds more than it says that it may.
    fn assert_within_bound(&self, client: &Client) {
        let memory = self.memory(client);
        let (bound, resident) = (memory["bound_bytes"].as_u64().unwrap(), self.resident_bytes());
        println!("resident {} MiB, bound {} MiB, {}", resident / MIB, bound / MIB, memory["in_use"]);
        assert!(resident < bound, "{resident} bytes resident, the bound is {bound}");
        let frames = memory["in_use"]["connection_frames"].as_u64().unwrap();
        assert!(frames <= memory["terms"]["connection_frames"].as_u64().unwrap(), "{memory}");
    }
}

fn client() -> Client {
    Client::start(ClientOptions::default()).unwrap()
}

fn create(client: &Client, config: &LogletConfig) -> Log {
    client.create(config, CLUSTER).unwrap();
    client.open(config, CLUSTER)
}

fn acknowledged(append: Append) {
    append.wait().unwrap();
}

fn framed(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn hello(route: LogletId) -> Vec<u8> {
    let (node, incarnation) = (NodeId(0), Incarnation(0));
    framed(&Message::Hello(Hello { cluster: CLUSTER, node, incarnation, to: node, role: Role::Client, route }))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    stream
}

/// A connection whose hello has been answered.
fn greeted(address: SocketAddr, route: LogletId) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(&hello(route)).unwrap();
    let answer = next_frame(&mut stream).expect("the hello is answered");
    assert_eq!(answer.1.len(), hello(route).len() - HEADER_BYTES);
    stream
}

fn next_frame(stream: &mut TcpStream) -> Option<(FrameHeader, Vec<u8>)> {
    let mut bytes = [0; HEADER_BYTES];
    stream.read_exact(&mut bytes).ok()?;
    let header = FrameHeader::decode(&bytes, 2 << 20).unwrap();
    let mut body = vec![0; header.body_bytes.get() as usize];
    stream.read_exact(&mut body).ok()?;
    Some((header, body))
}

/// Writes until the node does not take any more for a while, or everything has gone. Returns whether everything has.
fn write_what_is_taken(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Descriptors that this process may have.
fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    limit.maximum.map_or(1 << 20, |maximum| maximum as usize)
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_disturb_nobody() {
    let count = (raise_descriptors() - 500).min(10_000);
    let node = Node::start("");
    let client = client();
    let config = node.loglet(1);
    let log = create(&client, &config);
    log.append(b"before").wait().unwrap();
    let before = node.resident_bytes();
    println!("idle node: {} MiB resident", before / MIB);
    assert!(before < 64 * MIB, "an idle node of one shard has {before} bytes resident");
    let idle: Vec<_> = (0..count).map(|_| greeted(node.process.address, LogletId::default())).collect();
    // What was used for the hellos is given up after a while.
    let limit =
        node.memory(&client)["terms"]["connections"].as_u64().unwrap() / u64::from(Limits::default().connections_max);
    until("an idle connection's cost", || node.resident_bytes().saturating_sub(before) / count as u64 <= limit);
    let status = client.status(node.process.address).unwrap();
    assert!(status["shards"][0]["connections"].as_u64().unwrap() >= count as u64);
    for offset in 1..200 {
        assert_eq!(log.append(b"beside ten thousand").wait().unwrap(), Offset(offset));
    }
    println!("{count} connections, {} bytes each", (node.resident_bytes() - before) / count as u64);
    node.assert_within_bound(&client);
    drop(idle);
    until("the end of all connections", || {
        client.status(node.process.address).unwrap()["shards"][0]["connections"].as_u64().unwrap() < 10
    });
}

#[test]
fn stalled_subscribers_and_readers_are_bounded_and_disturb_nobody() {
    let node = Node::start("");
    let client = client();
    let config = node.loglet(1);
    let log = create(&client, &config);
    let record = vec![7; 1 << 20];
    let appends: Vec<_> = (0..48).map(|_| log.append(&record)).collect();
    appends.into_iter().for_each(acknowledged);
    let limit = log.check_tail().unwrap().tail;
    // Together they have credit for far more than the node may hold: 64 times 48 MiB.
    let stalled: Vec<_> = (0..64)
        .map(|number| {
            let mut stream = greeted(node.process.address, config.id);
            let (request, loglet, from, credit) = (number, config.id, Offset(0), u32::MAX / 2);
            stream.write_all(&framed(&Message::Subscribe { request, loglet, from, limit, credit })).unwrap();
            let read = Message::Read { request: 99, loglet, min: Offset(0), max: limit, limit, bytes_max: 512 << 10 };
            write_what_is_taken(&mut stream, &framed(&read).repeat(100));
            stream
        })
        .collect();
    for _ in 0..100 {
        log.append(b"beside them").wait().unwrap();
    }
    node.assert_within_bound(&client);
    assert!(node.resident_bytes() < 700 * MIB, "far below 3 GiB: {}", node.resident_bytes());
    // A reader that reads gets everything nevertheless.
    let mut subscription = log.subscribe(Offset(0));
    let mut next = Offset(0);
    while next < limit {
        let naxos::client::Event::Records(delivery) = subscription.next().unwrap() else { panic!("records") };
        next = delivery.end();
    }
    drop(stalled);
    assert!(log.append(b"after them").wait().is_ok());
}

#[test]
fn peers_that_send_byte_by_byte_are_served_at_their_pace_and_disturb_nobody() {
    let node = Node::start("");
    let client = client();
    let config = node.loglet(1);
    let log = create(&client, &config);
    let mut slow: Vec<_> = (0..32).map(|_| connect(node.process.address)).collect();
    for byte in hello(config.id) {
        slow.iter_mut().for_each(|stream| stream.write_all(&[byte]).unwrap());
        log.append(b"between two bytes").wait().unwrap();
    }
    for stream in &mut slow {
        assert!(next_frame(stream).is_some(), "a slow hello is a hello");
    }
}

#[test]
fn a_flood_of_tiny_frames_is_held_back_and_answered() {
    let node = Node::start("");
    let client = client();
    let config = node.loglet(1);
    let log = create(&client, &config);
    let questions = [
        Message::Status { request: 1 },
        Message::CheckTail { request: 1, loglet: config.id, known_tail: Offset(0) },
        Message::AwaitTail { request: 1, loglet: config.id, at_least: Offset(1 << 40) },
    ];
    // Nobody reads the answers.
    let floods: Vec<_> = questions
        .iter()
        .map(|question| {
            let mut stream = greeted(node.process.address, config.id);
            write_what_is_taken(&mut stream, &framed(question).repeat(200_000));
            stream
        })
        .collect();
    (0..100).for_each(|_| acknowledged(log.append(b"beside the flood")));
    node.assert_within_bound(&client);
    drop(floods);
    // Somebody does.
    let mut stream = greeted(node.process.address, config.id);
    let check = framed(&Message::CheckTail { request: 5, loglet: config.id, known_tail: Offset(0) });
    stream.write_all(&check.repeat(1_000)).unwrap();
    (0..1_000).for_each(|_| assert_eq!(next_frame(&mut stream).unwrap().0.request.get(), 5));
}

#[test]
fn frames_of_the_largest_size_are_taken_and_unfinished_ones_are_bounded() {
    let node = Node::start("");
    let client = client();
    let config = node.loglet(1);
    let log = create(&client, &config);
    let (mut builder, mut bytes) = (BatchBuilder::default(), Vec::new());
    builder.push(&vec![1; Limits::default().record_bytes_max as usize]);
    builder.write_to(&mut bytes);
    let batch = Batch::new(1, &bytes).unwrap();
    let append = framed(&Message::Append { request: 1, loglet: config.id, batch });
    // All but the last byte: 256 MiB that the node would have to keep.
    let unfinished: Vec<_> = (0..256)
        .map(|_| {
            let mut stream = greeted(node.process.address, config.id);
            write_what_is_taken(&mut stream, &append[..append.len() - 1]);
            stream
        })
        .collect();
    node.assert_within_bound(&client);
    let frames = node.memory(&client)["in_use"]["connection_frames"].as_u64().unwrap();
    assert!(frames <= u64::from(Limits::default().connection_pool_bytes), "{frames} bytes of unfinished frames");
    assert_eq!(log.append(&vec![2; 1 << 20]).wait().unwrap(), Offset(0));
    drop(unfinished);
    let mut stream = greeted(node.process.address, config.id);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&append).unwrap();
    let (header, body) = next_frame(&mut stream).unwrap();
    assert!(matches!(Message::decode(&header, &body).unwrap(), Message::Appended { first: Offset(1), .. }));
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    let node = Node::start("");
    let client = client();
    let config = node.loglet(1);
    let log = create(&client, &config);
    let connections = || client.status(node.process.address).unwrap()["shards"][0]["connections"].as_u64().unwrap();
    for round in 0..3_000 {
        let mut stream = connect(node.process.address);
        match round % 4 {
            0 => {}
            1 => stream.write_all(&hello(config.id)).unwrap(),
            2 => {
                // Unread bytes at the close are a reset.
                stream.write_all(&[hello(config.id), framed(&Message::Status { request: 1 })].concat()).unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
            }
            _ => {
                stream.shutdown(Shutdown::Write).unwrap();
                assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0, "a half-open connection is closed");
            }
        }
    }
    until("the end of all connections", || connections() < 10);
    log.append(b"after all").wait().unwrap();
    node.assert_within_bound(&client);
}

#[test]
fn one_log_that_floods_its_shard_does_not_starve_another() {
    let node = Node::start("");
    let limits = Limits { client_window_bytes: 64 << 20, ..Limits::default() };
    let flooder = Client::start(ClientOptions { limits, ..ClientOptions::default() }).unwrap();
    let flood = create(&flooder, &node.loglet(1));
    let client = client();
    let single = create(&client, &node.loglet(2));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let record = vec![3; 64 << 10];
            let (mut waiting, mut count) = (std::collections::VecDeque::new(), 0);
            while !stop.load(relaxed) {
                waiting.push_back(flood.append(&record));
                if waiting.len() > 1_000 {
                    waiting.pop_front().unwrap().wait().unwrap();
                    count += 1;
                }
            }
            waiting.into_iter().for_each(acknowledged);
            count
        });
        let tail = || client.open(node.loglet(1), CLUSTER).check_tail().unwrap().tail;
        until("the flood", || tail() > Offset(1_000));
        let before = tail();
        (0..50).for_each(|offset| assert_eq!(single.append(b"one at a time").wait().unwrap(), Offset(offset)));
        assert!(tail() > before, "the flood goes on as well");
        stop.store(true, relaxed);
        assert!(flooding.join().unwrap() > 0);
    });
    node.assert_within_bound(&client);
}

#[test]
fn a_sequencer_with_nothing_left_to_do_is_freed_and_its_loglet_stays_sealed() {
    let node = Node::start("");
    let client = client();
    let config = node.loglet(1);
    let log = create(&client, &config);
    log.append(b"one").wait().unwrap();
    log.seal().unwrap();
    // The sequencer hears of the seal with the next append.
    assert!(matches!(log.append(b"late").wait(), Err(AppendError::Sealed { .. })));
    until("the end of the sequencer", || {
        let status = client.status(node.process.address).unwrap();
        status["shards"][0]["sequencers"].as_array().unwrap().is_empty()
    });
    assert_eq!(node.memory(&client)["in_use"]["ended_loglets"], 1);
    assert!(matches!(log.append(b"later").wait(), Err(AppendError::Sealed { record_at: None })));
    // An ended loglet is never sequenced again (P4).
    let mut stream = greeted(node.process.address, config.id);
    stream.write_all(&framed(&Message::Activate { request: 7, config })).unwrap();
    let (header, body) = next_frame(&mut stream).unwrap();
    assert!(matches!(Message::decode(&header, &body).unwrap(), Message::SequencerLost { request: 7, .. }));
}

#[test]
fn few_descriptors_mean_few_connections_and_the_log_says_how_to_have_more() {
    let node = Node::start("ulimit -n 100;");
    assert!(node.log().contains("ulimit -n") && node.log().contains("LimitNOFILE="), "{}", node.log());
    let client = client();
    let log = create(&client, &node.loglet(1));
    log.append(b"who is in").wait().unwrap();
    let mut streams: Vec<_> = (0..150).map(|_| connect(node.process.address)).collect();
    for stream in &mut streams {
        // Whoever was refused before may have closed already.
        let _ = stream.write_all(&hello(LogletId::default()));
    }
    let refused = streams.iter_mut().filter_map(|stream| match next_frame(stream) {
        Some((header, body)) => {
            let message = Message::decode(&header, &body).unwrap();
            matches!(message, Message::Reject { code: RejectCode::Limit, .. }).then_some(())
        }
        None => Some(()),
    });
    assert!(refused.count() > 50);
    log.append(b"is served").wait().unwrap();
    drop(streams);
    until("a free place", || client.hello(node.process.address).is_ok());
}

#[test]
fn too_few_descriptors_are_refused_with_the_setting_to_change() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = command(directory.path(), "ulimit -n 24;").stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("ulimit -n") && errors.contains("LimitNOFILE="), "{errors}");
}

/// Who may lock as much memory as it likes is not counted, so that capability goes first.
fn lockable(kilobytes: u32) -> String {
    format!("ulimit -l {kilobytes}; exec setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock \"$0\" \"$@\";")
}

#[test]
fn no_lockable_memory_at_all_is_refused_with_the_setting_to_change() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = command(directory.path(), &lockable(4)).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("ulimit -l") && errors.contains("LimitMEMLOCK="), "{errors}");
}

#[test]
fn little_lockable_memory_means_fewer_registrations_or_the_setting_to_change() {
    let node = Node::start(&lockable(64));
    let client = client();
    let log = create(&client, &node.loglet(1));
    let appends: Vec<_> = (0..2_000).map(|_| log.append(&[5; 4096])).collect();
    appends.into_iter().for_each(acknowledged);
    let log = node.log();
    assert!(log.contains("ulimit -l") && log.contains("LimitMEMLOCK="), "{log}");
}
