//! Messages of every kind from a fuzzer's choices.

use super::input::Input;
use crate::base::{ClusterId, Incarnation, LogletId, NodeId, Offset};
use crate::wire::{
    Batch, BatchBuilder, FrameHeader, HEADER_BYTES, Hello, LogletConfig, Member, Message, RejectCode, Role, Sequencer,
};

pub(super) const CLUSTER: ClusterId = ClusterId(0x51);
pub(super) const NODE: NodeId = NodeId(0xA0);
pub(super) const INCARNATION: Incarnation = Incarnation(0x1F);
/// Where the node under test listens.
pub(super) const ADDRESS: ([u8; 4], u16) = ([10, 0, 0, 1], 7_000);
/// Where nobody does.
const NOBODY: ([u8; 4], u16) = ([10, 0, 0, 9], 7_000);

pub(super) fn loglet(input: &mut Input<'_>) -> LogletId {
    LogletId { log: 1 + u64::from(input.byte() % 3), version: 1, nonce: 7 }
}

/// A batch's count and bytes.
fn batch(input: &mut Input<'_>) -> (u32, Vec<u8>) {
    let mut builder = BatchBuilder::default();
    for _ in 0..=input.below(4) {
        let bytes = match input.byte() {
            byte @ ..=250 => usize::from(byte) % 40,
            255 => {
                builder.push_no_op();
                continue;
            }
            byte => usize::from(byte - 250) * 700,
        };
        builder.push(&vec![input.byte(); bytes]);
    }
    let mut bytes = Vec::new();
    builder.write_to(&mut bytes);
    (builder.count(), bytes)
}

fn config(input: &mut Input<'_>) -> LogletConfig {
    let id = loglet(input);
    let odd = input.byte();
    let incarnation = if odd & 1 == 0 { INCARNATION } else { Incarnation(5) };
    let here = Member { node: NODE, address: ADDRESS.into() };
    let there = Member { node: NodeId(0xA9), address: NOBODY.into() };
    let log_servers = match odd >> 1 & 3 {
        0 | 1 => vec![here],
        2 => vec![here, there],
        _ => vec![there],
    };
    let sequencer = if odd & 8 == 0 { here } else { there };
    LogletConfig {
        id,
        sequencer: Sequencer { node: sequencer.node, incarnation, address: sequencer.address },
        log_servers,
    }
}

fn hello(input: &mut Input<'_>) -> Hello {
    let cluster = match input.byte() {
        255 => ClusterId(9),
        254 => ClusterId(0),
        _ => CLUSTER,
    };
    let role = [Role::Client, Role::Sequencer, Role::LogServer][input.below(3)];
    let route = if input.bool() { loglet(input) } else { LogletId::default() };
    let node = NodeId(u128::from(input.number()));
    Hello { cluster, node, incarnation: Incarnation(1), to: NodeId(0), role, route }
}

/// Appends the frame of a message to `out`; the number of its request.
pub(super) fn frame(input: &mut Input<'_>, out: &mut Vec<u8>) -> u64 {
    let kind = input.byte() % 33;
    let request = input.number();
    if kind == 0 {
        Message::Hello(hello(input)).encode(out);
        return 0;
    }
    if let 1 | 2 = kind {
        let config = config(input);
        let message =
            if kind == 1 { Message::Create { request, config } } else { Message::Activate { request, config } };
        message.encode(out);
        return request;
    }
    let loglet = loglet(input);
    let (first, known_tail) = (Offset(input.number()), Offset(input.number()));
    let limit = Offset(input.number());
    let (count, bytes) = if matches!(kind, 3..=6) { batch(input) } else { (1, vec![0; 8]) };
    let batch = Batch::new(count, &bytes).expect("well formed");
    let (tail, trim_point) = (first, limit);
    match kind {
        3 => Message::Append { request, loglet, batch },
        4 => Message::Store { loglet, first, known_tail, batch },
        5 => Message::Repair { request, loglet, first, batch },
        6 => Message::Records { request, loglet, first, known_tail, batch },
        7 => Message::KnownTail { loglet, known_tail },
        8 => Message::Seal { request, loglet },
        9 => Message::CheckTail { request, loglet, known_tail },
        10 => Message::AwaitTail { request, loglet, at_least: first },
        11 => Message::Read {
            request,
            loglet,
            min: first,
            max: known_tail,
            limit,
            bytes_max: 16 * u32::from(input.byte()),
        },
        12 => Message::Subscribe { request, loglet, from: first, limit, credit: 16 * u32::from(input.byte()) },
        13 => Message::Credit { request, loglet, limit, bytes: 16 * u32::from(input.byte()) },
        14 => Message::Trim { request, loglet, point: first, committed: limit },
        15 => Message::Delete {
            request,
            loglet,
            chain_version: first.0,
            live: vec![loglet; usize::from(request.is_multiple_of(3))],
        },
        16 if request % 4 == 3 => Message::Ping { request },
        16 => Message::Status { request },
        17 => Message::Reject { request, code: RejectCode::Limit, detail: "no" },
        18 => Message::Done { request, loglet },
        19 => Message::Stored { loglet, tail, followed: request.is_multiple_of(2) },
        20 => Message::Tail { request, loglet, tail, known_tail, trim_point },
        21 => Message::Sealed { request, loglet, tail, known_tail, trim_point },
        22 => Message::Behind { request, loglet, tail, known_tail },
        23 => Message::Conflict { request, loglet, at: first },
        24 => Message::Gone { request, loglet },
        25 => Message::Gap { request, loglet, from: first, to: limit },
        26 => Message::Trimmed { request, loglet, trim_point },
        27 => Message::Appended { request, loglet, first, count: 1, known_tail, residence: None },
        28 if request % 4 == 3 => Message::Filled { request, loglet, placed: limit.0, known_tail },
        28 => Message::AppendSealed { request, loglet, first, count: 1 },
        29 => Message::SequencerLost { request, loglet },
        30 if request % 4 == 3 => Message::Pong { request },
        30 => Message::StatusReport { request, left: limit.0, json: b"{}" },
        31 => Message::Unavailable { request, loglet, reason: "full" },
        _ if request % 4 == 3 => Message::FillTo { request, loglet, offset: first },
        _ => Message::Seal { request: 0, loglet },
    }
    .encode(out);
    request
}

/// Makes the frame that begins at `start` sound again after its bytes were changed: magic, version, length and both checksums.
pub(super) fn reseal(frame: &mut [u8]) {
    let body_bytes = (frame.len() - HEADER_BYTES) as u32;
    let body_checksum = crate::base::checksum::crc32c(&frame[HEADER_BYTES..]);
    let template = {
        let mut sound = Vec::new();
        Message::Status { request: 0 }.encode(&mut sound);
        sound
    };
    frame[..3].copy_from_slice(&template[..3]);
    frame[8..12].copy_from_slice(&body_bytes.to_le_bytes());
    frame[12..16].copy_from_slice(&body_checksum.to_le_bytes());
    let checksum = crate::base::checksum::crc32c(&frame[..HEADER_BYTES - 4]);
    frame[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// What a decoder made of a frame, in a form that can be kept and compared.
pub(super) fn said(header: &FrameHeader, message: &Message<'_>) -> Vec<u8> {
    let mut again = Vec::new();
    message.encode(&mut again);
    let copy = FrameHeader::decode(&again, u32::MAX).expect("what was understood can be said again");
    assert_eq!(copy.opcode(), header.opcode());
    let back = Message::decode(&copy, &again[HEADER_BYTES..]).expect("what was understood can be said again");
    assert_eq!(&back, message, "said again, it means the same");
    again
}
