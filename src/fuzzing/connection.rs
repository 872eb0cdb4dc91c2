//! One connection under any order of events, and a shard under any peers.

use std::io;

use super::input::Input;
use super::messages::{frame, said};
use super::shard::shard_under_peers;
use crate::base::{Limits, LogletId};
use crate::io::op::{ConnId, Op};
use crate::net::{Closed, Connection, Flow, FrameReader};
use crate::wire::{FrameHeader, Message, Opcode, RejectCode};

const EVENTS_MAX: usize = 400;
const LIMIT: u32 = 16 << 10;

/// Any bytes as events: on one connection, or on a shard with several peers.
///
/// # Panics
/// When an operation is submitted out of turn, a message is lost, doubled or out of order, a connection does not come to its end, or a
/// shard sends something that is no frame, answers what was not asked, or does not come to rest.
pub fn connection_state_machine(data: &[u8]) {
    let mut input = Input::new(data);
    if input.bool() {
        shard_under_peers(&mut input);
    } else {
        alone(&mut input);
    }
}

/// The driver's side of a connection, as `io::op` promises it.
#[derive(Default)]
struct Line {
    receiving: bool,
    sending: Option<Vec<u8>>,
    /// Everything that was sent.
    sent: Vec<u8>,
    /// Closed, or handed over: nothing more is asked of the driver.
    over: bool,
}

impl Line {
    /// Carries out what the connection wants.
    fn poll(&mut self, connection: &mut Connection) {
        while let Some(op) = connection.poll_op() {
            assert!(!self.over, "nothing comes after the end: {op:?}");
            match op {
                Op::Receive { .. } => assert!(!std::mem::replace(&mut self.receiving, true), "armed twice"),
                Op::StopReceive { .. } => assert!(std::mem::replace(&mut self.receiving, false), "stopped twice"),
                Op::Send { data, .. } => {
                    assert!(!data.is_empty() && self.sending.is_none(), "one send at a time, of something");
                    self.sent.extend_from_slice(&data);
                    self.sending = Some(data);
                }
                Op::Detach { .. } | Op::CloseConn { .. } => (self.over, self.receiving) = (true, false),
                op => panic!("a connection has no use for {op:?}"),
            }
        }
    }
}

fn alone(input: &mut Input<'_>) {
    let limits = Limits { frame_body_bytes_max: LIMIT, outbound_bytes_max: 300, ..Limits::default() };
    let mut connection = Connection::new(ConnId(1), &limits);
    let mut line = Line::default();
    // What the peer says, how much of it has come, and what was heard of it.
    let (mut said_by_peer, mut arrived, mut heard) = (Vec::new(), 0, Vec::new());
    // All bytes that came while the connection listened, garbage among them.
    let mut received = Vec::new();
    let mut queued = Vec::new();
    let mut holds = 0_u32;
    for _ in 0..EVENTS_MAX {
        if input.is_empty() {
            break;
        }
        let listens = !connection.is_closing();
        let mut on_message = |header: &FrameHeader, message: Message<'_>| {
            if holds > 0 {
                holds -= 1;
                return Flow::Hold;
            }
            heard.push(said(header, &message));
            Flow::Continue
        };
        match input.byte() % 16 {
            0..=2 => drop(frame(input, &mut said_by_peer)),
            3..=5 if line.receiving => {
                let count = (said_by_peer.len() - arrived).min(1 + input.below(400));
                if count > 0 {
                    let bytes = &said_by_peer[arrived..arrived + count];
                    arrived += count;
                    received.extend_from_slice(if listens { bytes } else { &[] });
                    connection.handle_received(bytes, &mut on_message);
                }
            }
            6 if line.receiving => {
                let count = 1 + input.below(100);
                let bytes = input.take(count);
                if !bytes.is_empty() {
                    received.extend_from_slice(if listens { bytes } else { &[] });
                    connection.handle_received(bytes, &mut on_message);
                }
            }
            7 if line.receiving && input.byte() < 32 => {
                line.receiving = false;
                connection.handle_received(&[], &mut on_message);
            }
            8 if line.receiving && input.byte() < 32 => {
                line.receiving = false;
                connection.handle_receive_failed(io::ErrorKind::ConnectionReset.into());
            }
            9 => {
                let message = Message::Seal { request: queued.len() as u64, loglet: LogletId::default() };
                if listens {
                    message.encode(&mut queued);
                }
                connection.send(&message);
            }
            10 | 11 => {
                if let Some(data) = line.sending.take() {
                    let fails = input.byte() > 240;
                    connection.handle_sent(data, if fails { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) });
                }
            }
            12 => match input.byte() {
                0..=3 => connection.close(Closed::Here("the end")),
                4..=5 => connection.abandon(Closed::Here("the end")),
                6..=7 => connection.reject(RejectCode::Limit, "no more"),
                8 if !connection.is_closing() => connection.detach(),
                9..=64 => connection.release_memory(),
                bytes => connection.set_outbound_max(usize::from(bytes) * 4),
            },
            13 => holds = u32::from(input.byte() % 4),
            14 => {
                if connection.is_paused() {
                    connection.resume(&mut on_message);
                }
            }
            _ => line.poll(&mut connection),
        }
        let in_flight = line.sending.as_ref().map_or(0, Vec::len);
        assert!(connection.outbound_bytes() >= in_flight, "what is in flight has not left");
    }
    check_heard(&connection, &received, &heard);
    check_sent(&line.sent, &queued);
    come_to_an_end(connection, line);
}

/// The messages of a stream, as far as it has any, and whether all of it is sound.
fn messages(stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut messages = Vec::new();
    let result = FrameReader::new(LIMIT).feed(stream, |header, message| {
        messages.push(said(header, &message));
        Flow::Continue
    });
    (messages, result.is_ok())
}

/// What was heard is what came, each message once, and garbage ends the connection with its reason.
fn check_heard(connection: &Connection, received: &[u8], heard: &[Vec<u8>]) {
    let (expected, sound) = messages(received);
    assert!(expected.starts_with(heard), "messages were lost, doubled or exchanged");
    match connection.closed_because() {
        Some(Closed::Frame(_)) => assert!(!sound && heard == expected, "what is refused is no frame"),
        None if !connection.is_paused() => assert!(sound && heard == expected, "all of it was taken in"),
        _ => {}
    }
}

/// What was sent is what was queued, in order, and at the end possibly a reason for the end.
fn check_sent(sent: &[u8], queued: &[u8]) {
    let ((mut sent, sent_sound), (queued, queued_sound)) = (messages(sent), messages(queued));
    assert!(sent_sound && queued_sound, "what is sent are frames");
    let is_refusal = |message: &mut Vec<u8>| {
        FrameHeader::decode(message, LIMIT).is_ok_and(|header| header.opcode() == Opcode::Reject)
    };
    sent.pop_if(is_refusal);
    assert!(queued.starts_with(&sent), "messages were lost, doubled or exchanged");
}

/// Whatever has happened, a connection that is to end does.
fn come_to_an_end(mut connection: Connection, mut line: Line) {
    connection.close(Closed::Here("the end"));
    for _ in 0..4 {
        line.poll(&mut connection);
        if let Some(data) = line.sending.take() {
            connection.handle_sent(data, Ok(()));
        }
    }
    assert!(line.over, "a closing connection whose sends have left closes");
}
