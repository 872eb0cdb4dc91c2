//! The rules that concern a LogServer, execution by execution. One file for each group.

mod copying;
mod lanes;
mod life;
mod random;
mod reading;
mod seal;
mod space;
mod store;
mod tail;

use crate::base::{Incarnation, Limits, LogletId, NodeId, Offset};
use crate::proto::peer::PeerId;
use crate::proto::testing::{Owned, TestServer, config, hello};
use crate::wire::{Message, Role};

const ID: LogletId = LogletId { log: 1, version: 3, nonce: 9 };
const CLIENT: PeerId = PeerId(1);
const OTHER_CLIENT: PeerId = PeerId(2);
const SEQUENCER: PeerId = PeerId(3);
const STALE_SEQUENCER: PeerId = PeerId(4);

/// A server with a client, a second one, the configured sequencer and an earlier incarnation of it.
fn blank() -> TestServer {
    blank_with(Limits { early_window_bytes: 200, read_bytes_max: 100, ..Limits::default() })
}

fn blank_with(limits: Limits) -> TestServer {
    let mut server = TestServer::new(NodeId(1), limits);
    server.connect(CLIENT, hello(Role::Client, NodeId(0), Incarnation(50)));
    server.connect(OTHER_CLIENT, hello(Role::Client, NodeId(0), Incarnation(51)));
    server.connect(SEQUENCER, hello(Role::Sequencer, NodeId(100), Incarnation(7)));
    server.connect(STALE_SEQUENCER, hello(Role::Sequencer, NodeId(100), Incarnation(6)));
    server
}

/// A server with the loglet, durably.
fn open() -> TestServer {
    let mut server = blank();
    create(&mut server);
    server
}

fn create(server: &mut TestServer) {
    server.send(CLIENT, Message::Create { request: 1, config: config(ID, &[1, 2, 3]) });
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, Message::Done { request: 1, loglet: ID })]);
}

fn name(offset: u64) -> Vec<u8> {
    format!("record {offset}").into_bytes()
}

/// A store of records `from..to`, named by their offsets.
fn store(server: &mut TestServer, from: u64, to: u64, known_tail: u64) {
    let records = Owned::of(&(from..to).map(name).collect::<Vec<_>>());
    let (first, known_tail) = (Offset(from), Offset(known_tail));
    server.send(SEQUENCER, Message::Store { loglet: ID, first, known_tail, batch: records.batch() });
}

/// A server with records `0..count` durable and answered.
fn with_records(count: u64) -> TestServer {
    let mut server = open();
    for offset in 0..count {
        store(&mut server, offset, offset + 1, 0);
    }
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(count))]);
    server
}

fn stored(tail: u64) -> Message<'static> {
    Message::Stored { loglet: ID, tail: Offset(tail), followed: false }
}

fn behind(request: u64, tail: u64, known_tail: u64) -> Message<'static> {
    Message::Behind { request, loglet: ID, tail: Offset(tail), known_tail: Offset(known_tail) }
}

fn tail(request: u64, tail: u64, known_tail: u64) -> Message<'static> {
    Message::Tail { request, loglet: ID, tail: Offset(tail), known_tail: Offset(known_tail), trim_point: Offset(0) }
}

fn sealed(request: u64, tail: u64, known_tail: u64) -> Message<'static> {
    Message::Sealed { request, loglet: ID, tail: Offset(tail), known_tail: Offset(known_tail), trim_point: Offset(0) }
}

fn check_tail(server: &mut TestServer, request: u64, known_tail: u64) {
    server.send(CLIENT, Message::CheckTail { request, loglet: ID, known_tail: Offset(known_tail) });
}

fn seal(server: &mut TestServer, request: u64) {
    server.send(CLIENT, Message::Seal { request, loglet: ID });
}

/// Asks for the tail of a server that answers at once.
fn tail_of(server: &mut TestServer) -> Offset {
    server.answers();
    check_tail(server, 999, 0);
    match server.answers().as_slice() {
        [(CLIENT, Message::Tail { tail, .. } | Message::Sealed { tail, .. })] => *tail,
        other => panic!("not a tail: {other:?}"),
    }
}
