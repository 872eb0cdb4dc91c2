//! Peers that err or mean ill, directories that cannot be used: typed errors or a bounded wait, and everybody else is served.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use naxos::base::{ClusterId, Incarnation, LogletId, NodeId, Offset};
use naxos::client::{Client, ClientOptions};
use naxos::node::{DataDirError, NodeConfig, ServeError, serve};
use naxos::wire::{FrameHeader, HEADER_BYTES, Hello, Message, RejectCode, Role};
use support::{CLUSTER, Cluster, node_config, record, scratch};

fn hello(cluster: ClusterId) -> Message<'static> {
    let (node, incarnation, route) = (NodeId(0), Incarnation(0), LogletId::default());
    Message::Hello(Hello { cluster, node, incarnation, role: Role::Client, route })
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

fn address(cluster: &Cluster) -> SocketAddr {
    cluster.nodes[0].as_ref().unwrap().address()
}

fn still_serves(cluster: &Cluster) {
    let log = cluster.log();
    let before = log.check_tail().unwrap().tail;
    assert_eq!(log.append(&record(9, 9)).wait().unwrap(), before);
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
    let introduction =
        Hello { cluster: CLUSTER, node: NodeId(0), incarnation: Incarnation(0), role: Role::Client, route };
    stream.write_all(&framed(&Message::Hello(introduction))).unwrap();
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
    let error = serve(node_config(&file.join("below"))).unwrap_err();
    assert!(matches!(error, ServeError::DataDir(DataDirError::Io { .. })), "{error}");
    assert!(error.to_string().contains("below"), "{error}");
}

#[test]
fn a_second_node_on_the_same_directory_is_refused() {
    let scratch = scratch();
    let first = serve(node_config(scratch.path())).unwrap();
    let error = serve(node_config(scratch.path())).unwrap_err();
    assert!(matches!(error, ServeError::DataDir(DataDirError::InUse(_))), "{error}");
    first.stop();
    serve(node_config(scratch.path())).unwrap().stop();
}

#[test]
fn an_address_in_use_is_named() {
    let scratch = scratch();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let error = serve(NodeConfig { listen, ..node_config(scratch.path()) }).unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }), "{error}");
}

#[test]
fn a_node_that_is_not_there_is_a_bounded_wait() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let limits = naxos::base::Limits { operation_timeout: Duration::from_millis(300), ..support::small_limits() };
    let client = Client::start(ClientOptions { limits, core: None }).unwrap();
    let error = client.hello(nobody).unwrap_err();
    assert!(error.to_string().contains(&nobody.to_string()), "{error}");
}
