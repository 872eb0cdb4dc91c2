//! Peers that err or mean ill, directories that cannot be used: typed errors or a bounded wait, and everybody else is served.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use naxos::base::{ClusterId, Incarnation, LogletId, NodeId, Offset};
use naxos::client::{Client, ClientOptions, OpError};
use naxos::node::{DataDirError, Node, NodeConfig, ServeError};
use naxos::server::home_shard;
use naxos::wire::{FrameHeader, HEADER_BYTES, Hello, Message, RejectCode, Role};
use support::{CLUSTER, Cluster, node_config, record, scratch};

fn hello(cluster: ClusterId) -> Message<'static> {
    let (node, incarnation, route) = (NodeId(0), Incarnation(0), LogletId::default());
    Message::Hello(Hello { cluster, node, incarnation, to: NodeId(0), role: Role::Client, route })
}

fn routed_hello(route: LogletId) -> Message<'static> {
    let (node, incarnation) = (NodeId(0), Incarnation(0));
    Message::Hello(Hello { cluster: CLUSTER, node, incarnation, to: NodeId(0), role: Role::Client, route })
}

fn framed(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Everything that the node says until it closes the connection.
fn last_words(mut stream: TcpStream) -> Vec<u8> {
    let mut words = Vec::new();
    match stream.read_to_end(&mut words) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the node neither answers nor closes: {error}"),
    }
    words
}

/// The code of the `Reject` that ends these bytes.
fn reject_code(words: &[u8]) -> RejectCode {
    let mut rest = words;
    while rest.len() >= HEADER_BYTES {
        let header = FrameHeader::decode(rest, 1 << 20).unwrap();
        let (body, next) = rest[HEADER_BYTES..].split_at(header.body_bytes.get() as usize);
        if let Message::Reject { code, .. } = Message::decode(&header, body).unwrap() {
            return code;
        }
        rest = next;
    }
    panic!("no reject in {} bytes", words.len());
}

/// The header and body of the next frame.
fn next_frame(stream: &mut TcpStream) -> (FrameHeader, Vec<u8>) {
    let mut bytes = [0; HEADER_BYTES];
    stream.read_exact(&mut bytes).unwrap();
    let header = FrameHeader::decode(&bytes, 2 << 20).unwrap();
    let mut body = vec![0; header.body_bytes.get() as usize];
    stream.read_exact(&mut body).unwrap();
    (header, body)
}

/// Fails if `action` takes longer than any of these tests may.
fn in_time<T: Send + 'static>(what: &str, action: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = channel();
    thread::spawn(move || sender.send(action()));
    done.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what} hangs"))
}

fn address(cluster: &Cluster) -> SocketAddr {
    cluster.nodes[0].as_ref().unwrap().address()
}

fn still_serves(cluster: &Cluster) {
    let log = cluster.log();
    let before = log.check_tail().unwrap().tail;
    assert_eq!(log.append(&record(9, 9)).wait().unwrap(), before);
}

/// Who connects need not wait for the answer to its hello: what it sends behind goes with the connection to the loglet's shard, whole or in
/// pieces that arrive while it is on its way there.
#[test]
fn requests_behind_a_hello_are_answered_by_the_shard_that_it_names() {
    let cluster = Cluster::start(1, 3);
    let address = cluster.nodes[0].as_ref().unwrap().address();
    let homes: std::collections::BTreeSet<usize> = (0..12)
        .map(|nonce| {
            let loglet = LogletId { log: 9, version: 1, nonce };
            let mut bytes = framed(&routed_hello(loglet));
            (1..=20).for_each(|request| bytes.extend(framed(&Message::Seal { request, loglet })));
            let mut stream = connect(address);
            stream.set_nodelay(true).unwrap();
            let piece = if nonce % 3 == 0 { bytes.len() } else { 61 + 40 * nonce as usize };
            bytes.chunks(piece).for_each(|piece| stream.write_all(piece).unwrap());
            assert!(matches!(next_frame(&mut stream), (header, body)
                if matches!(Message::decode(&header, &body), Ok(Message::Hello(_)))));
            for expected in 1..=20 {
                let (header, body) = next_frame(&mut stream);
                let message = Message::decode(&header, &body).unwrap();
                assert!(matches!(message, Message::Sealed { request, .. } if request == expected), "{message:?}");
            }
            home_shard(loglet, 3)
        })
        .collect();
    assert_eq!(homes.len(), 3, "some are handed over, and some are not");
}

#[test]
fn garbage_is_answered_with_a_reject_and_the_end() {
    let cluster = Cluster::start(1, 1);
    let mut stream = connect(address(&cluster));
    stream.write_all(&[0x47; 4096]).unwrap();
    assert_eq!(reject_code(&last_words(stream)), RejectCode::Malformed);
    still_serves(&cluster);
}

#[test]
fn another_protocol_version_is_named() {
    let cluster = Cluster::start(1, 1);
    let mut stream = connect(address(&cluster));
    let mut frame = framed(&hello(CLUSTER));
    frame[2] = 77;
    stream.write_all(&frame).unwrap();
    assert_eq!(reject_code(&last_words(stream)), RejectCode::Version);
    still_serves(&cluster);
}

#[test]
fn a_frame_cut_short_harms_nobody() {
    let cluster = Cluster::start(1, 1);
    for cut in [1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 10] {
        let mut stream = connect(address(&cluster));
        stream.write_all(&framed(&hello(CLUSTER))[..cut]).unwrap();
        drop(stream);
    }
    still_serves(&cluster);
}

#[test]
fn a_damaged_body_ends_the_connection() {
    let cluster = Cluster::start(1, 1);
    let mut stream = connect(address(&cluster));
    let mut frame = framed(&hello(CLUSTER));
    *frame.last_mut().unwrap() ^= 1;
    stream.write_all(&frame).unwrap();
    assert_eq!(reject_code(&last_words(stream)), RejectCode::Malformed);
    still_serves(&cluster);
}

/// A node that has begun anew at the address of another votes for nobody's promises (P10).
#[test]
fn a_peer_that_means_another_node_is_refused_and_nothing_behind_its_hello_is_taken_in() {
    let cluster = Cluster::start(1, 1);
    let loglet = LogletId { log: 9, version: 1, nonce: 1 };
    let Message::Hello(hello) = routed_hello(loglet) else { unreachable!() };
    let mut bytes = framed(&Message::Hello(Hello { to: NodeId(77), ..hello }));
    bytes.extend(framed(&Message::Seal { request: 1, loglet }));
    let mut stream = connect(address(&cluster));
    stream.write_all(&bytes).unwrap();
    let words = last_words(stream);
    assert_eq!(reject_code(&words), RejectCode::Node);
    let first = FrameHeader::decode(&words, 1 << 20).unwrap();
    assert_eq!(words.len(), HEADER_BYTES + first.body_bytes.get() as usize, "and nothing else");
    still_serves(&cluster);
}

#[test]
fn a_peer_of_another_cluster_is_refused_with_the_reason() {
    let cluster = Cluster::start(1, 1);
    let mut stream = connect(address(&cluster));
    stream.write_all(&framed(&hello(ClusterId(99)))).unwrap();
    assert_eq!(reject_code(&last_words(stream)), RejectCode::Cluster);
    still_serves(&cluster);
}

#[test]
fn requests_before_a_hello_are_refused() {
    let cluster = Cluster::start(1, 1);
    let mut stream = connect(address(&cluster));
    stream.write_all(&framed(&Message::Status { request: 1 })).unwrap();
    assert_eq!(reject_code(&last_words(stream)), RejectCode::Malformed);
    still_serves(&cluster);
}

#[test]
fn a_peer_that_asks_and_never_reads_is_not_read_from() {
    let cluster = Cluster::start(1, 1);
    let log = cluster.log();
    let big = vec![1; 100_000];
    for _ in 0..20 {
        log.append(&big).wait().unwrap();
    }
    let mut stream = connect(address(&cluster));
    stream.set_nonblocking(false).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let route = cluster.config.id;
    stream.write_all(&framed(&routed_hello(route))).unwrap();
    let read = Message::Read {
        request: 1,
        loglet: route,
        min: Offset(0),
        max: Offset(20),
        limit: Offset(20),
        bytes_max: 512 << 10,
    };
    // Three hundred thousand such answers would be 150 GB: the node must stop reading long before.
    let requests = framed(&read).repeat(300_000);
    let error = stream.write_all(&requests).expect_err("the node stops reading");
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
    still_serves(&cluster);
}

#[test]
fn an_unwritable_directory_is_named() {
    let scratch = scratch();
    let file = scratch.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Node::start(node_config(&file.join("below"))).unwrap_err();
    assert!(matches!(error, ServeError::DataDir(DataDirError::Io { .. })), "{error}");
    assert!(error.to_string().contains("below"), "{error}");
}

#[test]
fn a_second_node_on_the_same_directory_is_refused() {
    let scratch = scratch();
    let first = Node::start(node_config(scratch.path())).unwrap();
    let error = Node::start(node_config(scratch.path())).unwrap_err();
    assert!(matches!(error, ServeError::DataDir(DataDirError::InUse(_))), "{error}");
    first.stop();
    Node::start(node_config(scratch.path())).unwrap().stop();
}

#[test]
fn an_address_in_use_is_named() {
    let scratch = scratch();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let error = Node::start(NodeConfig { listen, ..node_config(scratch.path()) }).unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }), "{error}");
}

#[test]
fn a_node_that_is_not_there_is_a_bounded_wait() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let limits = naxos::base::Limits { operation_timeout: Duration::from_millis(300), ..support::small_limits() };
    let client = Client::start(ClientOptions { limits, ..ClientOptions::default() }).unwrap();
    let error = client.hello(nobody).unwrap_err();
    assert!(error.to_string().contains(&nobody.to_string()), "{error}");
}

/// P13: a loglet stored on a shard that is not its home would be looked for elsewhere, and is a contradiction at the next start.
#[test]
fn a_loglet_is_not_created_on_a_foreign_shard() {
    let scratch = scratch();
    let node = Node::start(NodeConfig { shards: Some(2), ..node_config(scratch.path()) }).unwrap();
    let mut config = support::loglet_over(std::slice::from_ref(&node), 1);
    let nonce = (1..).find(|&nonce| home_shard(LogletId { nonce, ..config.id }, 2) == 1).unwrap();
    config.id.nonce = nonce;
    for request in [
        Message::Create { request: 1, config: config.clone() },
        Message::Activate { request: 1, config: config.clone() },
        Message::Seal { request: 1, loglet: config.id },
    ] {
        // A hello without a route stays on the first shard.
        let mut stream = connect(node.address());
        stream.write_all(&framed(&hello(CLUSTER))).unwrap();
        stream.write_all(&framed(&request)).unwrap();
        assert_eq!(reject_code(&last_words(stream)), RejectCode::UnknownLoglet);
    }
    node.stop();
    in_time("the restart", move || {
        Node::start(NodeConfig { shards: None, ..node_config(scratch.path()) }).unwrap().stop();
    });
}

#[test]
fn an_answer_to_what_was_held_back_waits_for_nothing_else() {
    let cluster = Cluster::start(1, 1);
    let log = cluster.log();
    let big = vec![1; 500_000];
    log.append(&big).wait().unwrap();
    let loglet = cluster.config.id;
    // Where the last request meets a full connection depends on which reads end together, so several lengths are tried.
    for reads in 5..16 {
        let mut stream = connect(address(&cluster));
        stream.write_all(&framed(&routed_hello(loglet))).unwrap();
        let read = |request, min| {
            let (max, limit) = (Offset(1), Offset(1));
            framed(&Message::Read { request, loglet, min: Offset(min), max, limit, bytes_max: 512 << 10 })
        };
        (0..reads).for_each(|request| stream.write_all(&read(request, 0)).unwrap());
        // Beyond the tail: answered without a read of the disk, whose end would wake the shard.
        stream.write_all(&read(999, 1)).unwrap();
        thread::sleep(Duration::from_millis(100));
        while next_frame(&mut stream).0.request.get() != 999 {}
    }
}

#[test]
fn a_peer_that_never_reads_does_not_keep_a_node_from_stopping() {
    let mut cluster = Cluster::start(1, 1);
    cluster.log().append(&vec![1; 500_000]).wait().unwrap();
    let loglet = cluster.config.id;
    let mut stream = connect(address(&cluster));
    stream.write_all(&framed(&routed_hello(loglet))).unwrap();
    let (min, max, limit) = (Offset(0), Offset(1), Offset(1));
    let read = framed(&Message::Read { request: 1, loglet, min, max, limit, bytes_max: 512 << 10 });
    stream.write_all(&read.repeat(100)).unwrap();
    thread::sleep(Duration::from_millis(300));
    in_time("the stop", move || cluster.stop(0));
    drop(stream);
}

#[test]
fn peers_that_come_during_the_stop_do_not_keep_a_node_from_stopping() {
    let mut cluster = Cluster::start(1, 1);
    let address = address(&cluster);
    let stopped = std::sync::Arc::new(AtomicBool::new(false));
    let comers = {
        let stopped = stopped.clone();
        thread::spawn(move || {
            let mut streams = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                streams.extend(TcpStream::connect_timeout(&address, Duration::from_millis(100)));
                thread::sleep(Duration::from_millis(1));
            }
        })
    };
    thread::sleep(Duration::from_millis(50));
    in_time("the stop", move || cluster.stop(0));
    stopped.store(true, Ordering::Relaxed);
    comers.join().unwrap();
}

#[test]
fn a_log_that_outlives_its_client_finds_it_closed() {
    let cluster = Cluster::start(1, 1);
    let log = cluster.log();
    log.check_tail().unwrap();
    let mut subscription = log.subscribe(Offset(0));
    drop(cluster);
    in_time("a closed client's log", move || {
        assert_eq!(log.check_tail().unwrap_err(), OpError::Closed);
        assert_eq!(log.append(b"late").wait().unwrap_err(), naxos::client::AppendError::Closed);
        assert_eq!(subscription.next().unwrap_err(), OpError::Closed);
        assert_eq!(log.subscribe(Offset(0)).next().unwrap_err(), OpError::Closed);
    });
}
