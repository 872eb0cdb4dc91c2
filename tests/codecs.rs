//! Messages of every kind with any content: what was sent is what is heard, and whatever is cut off or changed is refused.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use naxos::base::{ClusterId, Incarnation, LogletId, NodeId, Nonce, Offset, ProposerId, RegisterId, Version};
use naxos::wire::{
    Ballot, Batch, BatchBuilder, Decision, FrameError, FrameHeader, HEADER_BYTES, Hello, LogletConfig, Member, Message,
    RegisterMessage, RejectCode, Residence, Role, Sequencer, Vote,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const LIMIT: u32 = 1 << 20;
/// Records are given offsets below this.
const OFFSETS: u64 = 1 << 62;
const KINDS: u8 = 39;
const APPEND: u8 = 15;

/// What messages are made of.
#[derive(Debug, Clone)]
struct Parts {
    request: u64,
    loglet: LogletId,
    /// Of records.
    first: Offset,
    a: Offset,
    b: Offset,
    c: Offset,
    count: u32,
    records: Vec<Vec<u8>>,
    text: String,
    bytes: Vec<u8>,
    config: LogletConfig,
    hello: Hello,
    code: RejectCode,
    register: RegisterMessage,
}

fn loglet() -> impl Strategy<Value = LogletId> {
    any::<(u64, u64, u64)>().prop_map(|(log, version, nonce)| LogletId { log, version, nonce })
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<(u32, u16)>().prop_map(|(ip, port)| (Ipv4Addr::from(ip), port).into()),
        any::<(u128, u16)>().prop_map(|(ip, port)| (Ipv6Addr::from(ip), port).into()),
    ]
}

fn config(id: LogletId) -> impl Strategy<Value = LogletConfig> {
    let sequencer = (any::<u128>(), any::<u128>(), address());
    (sequencer, btree_map(any::<u128>(), address(), 1..6)).prop_map(move |((node, incarnation, address), members)| {
        let member = |(node, address)| Member { node: NodeId(node), address };
        LogletConfig {
            id,
            sequencer: Sequencer { node: NodeId(node), incarnation: Incarnation(incarnation), address },
            log_servers: members.into_iter().map(member).collect(),
        }
    })
}

fn register() -> impl Strategy<Value = RegisterMessage> {
    let version = || (0..OFFSETS).prop_map(Version);
    let ballot =
        || (0..OFFSETS, any::<u128>()).prop_map(|(round, proposer)| Ballot { round, proposer: ProposerId(proposer) });
    let members = btree_map(any::<u128>(), address(), 1..=Decision::MEMBERS_MAX);
    let decision =
        (version(), any::<u128>(), members, vec(any::<u8>(), 0..100)).prop_map(|(version, nonce, members, value)| {
            let member = |(node, address)| Member { node: NodeId(node), address };
            Decision { version, nonce: Nonce(nonce), members: members.into_iter().map(member).collect(), value }
        });
    (0..11_u8, version(), version(), ballot(), ballot(), decision, any::<bool>()).prop_map(
        |(kind, instance, next, ballot, promised, decision, has_accepted)| {
            let accepted = has_accepted.then(|| Vote { ballot: promised, decision: decision.clone() });
            match kind {
                0 => RegisterMessage::Query { instance },
                1 => RegisterMessage::Prepare { instance, ballot },
                2 => RegisterMessage::Accept { ballot, decision },
                3 => RegisterMessage::Learn { decision },
                4 => RegisterMessage::State { instance, accepted },
                5 => RegisterMessage::Promised { instance, ballot, accepted },
                6 => RegisterMessage::Accepted { instance, ballot },
                7 => RegisterMessage::Refused { instance, promised },
                8 => RegisterMessage::Decided { decision },
                9 => RegisterMessage::Behind { instance, next },
                _ => RegisterMessage::Learned { version: instance },
            }
        },
    )
}

fn parts() -> impl Strategy<Value = Parts> {
    let role = prop::sample::select(&[Role::Client, Role::Sequencer, Role::LogServer]);
    let code = prop::sample::select(&[
        RejectCode::Version,
        RejectCode::Cluster,
        RejectCode::Node,
        RejectCode::Malformed,
        RejectCode::UnknownLoglet,
        RejectCode::Limit,
        RejectCode::Config,
        RejectCode::Role,
    ]);
    let hello = (any::<(u128, u128, u128, u128)>(), role, loglet()).prop_map(
        |((cluster, node, incarnation, to), role, route)| Hello {
            cluster: ClusterId(cluster),
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            to: NodeId(to),
            role,
            route,
        },
    );
    let hello = hello.boxed();
    let numbers = (any::<u64>(), 0..OFFSETS, any::<(u64, u64, u64)>(), 0..1_u32 << 31);
    let bodies = (vec(vec(any::<u8>(), 0..50), 1..6), any::<String>(), vec(any::<u8>(), 0..100));
    let register = register().boxed();
    loglet().prop_flat_map(move |loglet| {
        (numbers.clone(), bodies.clone(), config(loglet), hello.clone(), code.clone(), register.clone()).prop_map(
            move |((request, first, (a, b, c), count), (records, text, bytes), config, hello, code, register)| Parts {
                request,
                loglet,
                first: Offset(first),
                a: Offset(a),
                b: Offset(b),
                c: Offset(c),
                count,
                records,
                text,
                bytes,
                config,
                hello,
                code,
                register,
            },
        )
    })
}

/// The message of a kind. A new kind of message does not compile here before it has a number of its own.
fn message<'a>(kind: u8, parts: &'a Parts, batch: Batch<'a>) -> Message<'a> {
    let Parts { request, loglet, first, a, b, c, count, .. } = *parts;
    let message = match kind {
        0 => Message::Hello(parts.hello),
        1 => Message::Reject { request, code: parts.code, detail: &parts.text },
        2 => Message::Create { request, config: parts.config.clone() },
        3 => Message::Activate { request, config: parts.config.clone() },
        4 => Message::Store { loglet, first, known_tail: a, batch },
        5 => Message::KnownTail { loglet, known_tail: a },
        6 => Message::Seal { request, loglet },
        7 => Message::CheckTail { request, loglet, known_tail: a },
        8 => Message::AwaitTail { request, loglet, at_least: a },
        9 => Message::Read { request, loglet, min: a, max: b, limit: c, bytes_max: count },
        10 => Message::Subscribe { request, loglet, from: a, limit: b, credit: count },
        11 => Message::Credit { request, loglet, limit: a, bytes: count },
        12 => Message::Trim { request, loglet, point: a, committed: b },
        13 => Message::Repair { request, loglet, first, batch },
        14 => Message::Delete { request, loglet, chain_version: a.0, live: vec![loglet; count as usize % 3] },
        APPEND => Message::Append { request, loglet, batch },
        16 => Message::Status { request },
        17 => Message::Done { request, loglet },
        18 => Message::Stored { loglet, tail: a, followed: b.0 % 2 == 1 },
        19 => Message::Tail { request, loglet, tail: a, known_tail: b, trim_point: c },
        20 => Message::Sealed { request, loglet, tail: a, known_tail: b, trim_point: c },
        21 => Message::Behind { request, loglet, tail: a, known_tail: b },
        22 => Message::Conflict { request, loglet, at: a },
        23 => Message::Gone { request, loglet },
        24 => Message::Records { request, loglet, first, known_tail: a, batch },
        25 => Message::Gap { request, loglet, from: a, to: b },
        26 => Message::Trimmed { request, loglet, trim_point: a },
        27 => {
            let stage = |at: usize| (b.0 >> at) as u32;
            let residence = Residence { arrived: c.0, stages: std::array::from_fn(stage), last: c.0 as u8 };
            let residence = (c.0 % 2 == 0).then_some(residence);
            Message::Appended { request, loglet, first, count, known_tail: a, residence }
        }
        28 => Message::AppendSealed { request, loglet, first, count },
        29 => Message::SequencerLost { request, loglet },
        30 => Message::StatusReport { request, left: c.0, json: &parts.bytes },
        31 => Message::NoSpace { request, loglet },
        32 => Message::AppendNoSpace { request, loglet, first, count },
        33 => {
            Message::Register { request, register: RegisterId(loglet.log), message: Box::new(parts.register.clone()) }
        }
        34 => Message::Ping { request },
        35 => Message::Pong { request },
        36 => Message::FillTo { request, loglet, offset: first },
        37 => Message::Filled { request, loglet, placed: b.0, known_tail: a },
        _ => Message::Unavailable { request, loglet, reason: &parts.text },
    };
    let number = match message {
        Message::Hello(_) => 0,
        Message::Reject { .. } => 1,
        Message::Create { .. } => 2,
        Message::Activate { .. } => 3,
        Message::Store { .. } => 4,
        Message::KnownTail { .. } => 5,
        Message::Seal { .. } => 6,
        Message::CheckTail { .. } => 7,
        Message::AwaitTail { .. } => 8,
        Message::Read { .. } => 9,
        Message::Subscribe { .. } => 10,
        Message::Credit { .. } => 11,
        Message::Trim { .. } => 12,
        Message::Repair { .. } => 13,
        Message::Delete { .. } => 14,
        Message::Append { .. } => APPEND,
        Message::Status { .. } => 16,
        Message::Done { .. } => 17,
        Message::Stored { .. } => 18,
        Message::Tail { .. } => 19,
        Message::Sealed { .. } => 20,
        Message::Behind { .. } => 21,
        Message::Conflict { .. } => 22,
        Message::Gone { .. } => 23,
        Message::Records { .. } => 24,
        Message::Gap { .. } => 25,
        Message::Trimmed { .. } => 26,
        Message::Appended { .. } => 27,
        Message::AppendSealed { .. } => 28,
        Message::SequencerLost { .. } => 29,
        Message::StatusReport { .. } => 30,
        Message::NoSpace { .. } => 31,
        Message::AppendNoSpace { .. } => 32,
        Message::Register { .. } => 33,
        Message::Ping { .. } => 34,
        Message::Pong { .. } => 35,
        Message::FillTo { .. } => 36,
        Message::Filled { .. } => 37,
        Message::Unavailable { .. } => 38,
    };
    assert_eq!(number, kind % KINDS, "every kind is drawn");
    message
}

/// The batch of a message of this kind: with no-ops among the records, where it may have some.
fn batch_of(kind: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for record in records {
        match kind != APPEND && record.len().is_multiple_of(5) {
            true => builder.push_no_op(),
            false => builder.push(record),
        }
    }
    let mut bytes = Vec::new();
    builder.write_to(&mut bytes);
    bytes
}

fn framed(message: &Message<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode(&mut frame);
    frame
}

/// A frame as its receiver reads it; none where bytes are still to come.
fn read(frame: &[u8]) -> Result<Option<Message<'_>>, FrameError> {
    if frame.len() < HEADER_BYTES {
        return Ok(None);
    }
    let header = FrameHeader::decode(frame, LIMIT)?;
    match frame[HEADER_BYTES..].get(..header.body_bytes.get() as usize) {
        Some(body) => Message::decode(&header, body).map(Some),
        None => Ok(None),
    }
}

proptest! {
    #[test]
    fn every_message_survives_its_frame(parts in parts()) {
        for kind in 0..KINDS {
            let bytes = batch_of(kind, &parts.records);
            let batch = Batch::new(parts.records.len() as u32, &bytes).unwrap();
            let message = message(kind, &parts, batch);
            let frame = framed(&message);
            prop_assert_eq!(read(&frame).unwrap(), Some(message));
        }
    }

    #[test]
    fn a_frame_that_is_cut_short_says_nothing(kind in 0..KINDS, parts in parts(), cut in any::<prop::sample::Index>()) {
        let bytes = batch_of(kind, &parts.records);
        let message = message(kind, &parts, Batch::new(parts.records.len() as u32, &bytes).unwrap());
        let frame = framed(&message);
        prop_assert_eq!(read(&frame[..cut.index(frame.len())]).unwrap(), None);
        // A body that was cut off is no other message either.
        let header = FrameHeader::decode(&frame, LIMIT).unwrap();
        let body = &frame[HEADER_BYTES..];
        if !body.is_empty() {
            let short = &body[..cut.index(body.len())];
            let mut shorter = header;
            shorter.body_bytes = (short.len() as u32).into();
            prop_assert!(Message::decode(&shorter, short).is_err());
        }
    }

    #[test]
    fn a_frame_with_a_changed_byte_is_refused(
        kind in 0..KINDS,
        parts in parts(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let bytes = batch_of(kind, &parts.records);
        let mut frame = framed(&message(kind, &parts, Batch::new(parts.records.len() as u32, &bytes).unwrap()));
        let at = at.index(frame.len());
        frame[at] ^= flip;
        let refused = match read(&frame) {
            // The frame's checksum covers the table alone; who takes the records verifies each of them.
            Ok(Some(Message::Records { batch, .. })) => batch.verify().is_err(),
            other => other.is_err(),
        };
        prop_assert!(refused, "byte {} was changed", at);
    }

    #[test]
    fn offsets_out_of_range_are_refused(parts in parts(), beyond in OFFSETS.., count in 1_u32 << 31..) {
        let bytes = batch_of(APPEND, &parts.records);
        let batch = Batch::new(parts.records.len() as u32, &bytes).unwrap();
        for parts in [Parts { first: Offset(beyond), ..parts.clone() }, Parts { count, ..parts.clone() }] {
            for kind in [4, 13, 24, 27, 28, 36] {
                let of_records = matches!(kind, 4 | 13 | 24);
                let without_count = of_records || kind == 36;
                if !(without_count && parts.first.0 < OFFSETS) {
                    prop_assert!(read(&framed(&message(kind, &parts, batch))).is_err(), "kind {}", kind);
                }
            }
        }
    }
}
