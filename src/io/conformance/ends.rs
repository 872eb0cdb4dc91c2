//! Operations that end before their time: closes, resets, and drivers that go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sockets::LARGE;
use super::{Harness, Rig, pattern};
use crate::base::Buf;
use crate::io::op::{Op, Outcome};

const BLOCK: usize = 4096;

pub(in crate::io) fn closing_ends_what_is_in_flight_with_failures<R: Rig>(mut test: Harness<R>) {
    let (near, _far) = test.pair();
    let receive = test.submit(Op::Receive { conn: near });
    let send = test.submit(Op::Send { conn: near, data: vec![7; LARGE] });
    // A round trip on another connection starts both.
    test.pair();
    assert!(matches!(test.run(Op::CloseConn { conn: near }), Outcome::Done));
    assert!(test.has_arrived(receive) && test.has_arrived(send));
    assert!(matches!(test.outcome(receive), Outcome::Failed(_)));
    let Outcome::Sent { data, result, .. } = test.outcome(send) else { panic!() };
    assert!(result.is_err());
    assert_eq!(data.len(), LARGE);
}

pub(in crate::io) fn every_operation_ends_once_when_many_connections_close<R: Rig>(mut test: Harness<R>) {
    const CONNECTIONS: usize = 20;
    let mut tokens = BTreeMap::new();
    let mut closes = Vec::new();
    let pairs: Vec<_> = (0..CONNECTIONS).map(|_| test.pair()).collect();
    for &(near, _) in &pairs {
        tokens.insert(test.submit(Op::Receive { conn: near }), 0);
        tokens.insert(test.submit(Op::Send { conn: near, data: vec![1; LARGE / CONNECTIONS] }), 0);
    }
    for &(near, _) in &pairs {
        let close = test.submit(Op::CloseConn { conn: near });
        tokens.insert(close, 0);
        closes.push(close);
    }
    while closes.iter().any(|close| tokens[close] == 0) {
        let completion = test.next_where(|completion| tokens.contains_key(&completion.token));
        match completion.outcome {
            Outcome::Sent { data, .. } => assert_eq!(data.len(), LARGE / CONNECTIONS),
            Outcome::Failed(_) | Outcome::Done => {}
            outcome => panic!("unexpected {outcome:?}"),
        }
        *tokens.get_mut(&completion.token).unwrap() += 1;
    }
    // Nothing comes after the close.
    assert!(test.completions_within(Duration::from_millis(5)).is_empty());
    assert!(tokens.values().all(|&count| count == 1), "{tokens:?}");
}

pub(in crate::io) fn a_stopped_receive_says_nothing_more_and_the_close_still_comes<R: Rig>(mut test: Harness<R>) {
    let (near, far) = test.pair();
    let receive = test.submit(Op::Receive { conn: far });
    assert!(matches!(test.run(Op::Send { conn: near, data: vec![1] }), Outcome::Sent { result: Ok(()), .. }));
    assert_eq!(test.receive_bytes(receive, 1), [1]);
    test.submit(Op::StopReceive { conn: far });
    // Another one lets the stop take effect.
    test.pair();
    assert!(matches!(test.run(Op::Send { conn: near, data: vec![2] }), Outcome::Sent { result: Ok(()), .. }));
    assert!(test.completions_within(Duration::from_millis(5)).is_empty());
    assert!(matches!(test.run(Op::CloseConn { conn: far }), Outcome::Done));
    assert!(!test.has_arrived(receive));
}

pub(in crate::io) fn a_reset_ends_what_is_in_flight<R: Rig>(mut test: Harness<R>) {
    let (near, far) = test.pair();
    let receive = test.submit(Op::Receive { conn: near });
    let send = test.submit(Op::Send { conn: near, data: vec![7; LARGE] });
    // A round trip on another connection starts both.
    test.pair();
    // With bytes that nobody has received, a close is a reset.
    assert!(matches!(test.run(Op::CloseConn { conn: far }), Outcome::Done));
    let Outcome::Sent { data, result, .. } = test.outcome(send) else { panic!() };
    assert!(result.is_err());
    assert_eq!(data.len(), LARGE);
    match test.outcome(receive) {
        // Whoever meets the reset first takes it; the other one finds the stream ended.
        Outcome::Failed(_) => {}
        Outcome::Received { chunk, .. } => assert!(chunk.is_end()),
        outcome => panic!("unexpected {outcome:?}"),
    }
    assert!(matches!(test.run(Op::Send { conn: near, data: vec![1] }), Outcome::Sent { result: Err(_), .. }));
    assert!(matches!(test.run(Op::CloseConn { conn: near }), Outcome::Done));
}

pub(in crate::io) fn a_driver_may_go_with_operations_in_flight<R: Rig>(mut test: Harness<R>) {
    let file = test.prepared("a", 64 << 10);
    let (near, far) = test.pair();
    test.submit(Op::Receive { conn: near });
    test.submit(Op::Receive { conn: far });
    test.submit(Op::Send { conn: near, data: vec![7; LARGE] });
    test.pair();
    for _ in 0..8 {
        test.submit(Op::Write { file, offset: 0, buf: pattern(1, 64 << 10) });
    }
    let path = test.rig.directory().join("b");
    test.submit(Op::Prepare { path, bytes: 1 << 20 });
    test.rig.restart();
    // What it has left behind is in nobody's way.
    test.prepared("c", 64 << 10);
    test.pair();
}

pub(in crate::io) fn a_write_in_flight_when_its_driver_goes_has_landed_whole_or_not_at_all<R: Rig>(
    mut test: Harness<R>,
) {
    const WRITES: usize = 64;
    let file = test.prepared("a", (WRITES * BLOCK) as u64);
    for index in 0..WRITES {
        test.submit(Op::Write { file, offset: (index * BLOCK) as u64, buf: pattern(index as u8 + 1, BLOCK) });
        test.submit(Op::Read { file, offset: (index * BLOCK) as u64, buf: Buf::zeroed(BLOCK) });
    }
    // They are started, and only some of them are waited for.
    test.rig.wait(&mut Vec::new());
    test.rig.restart();
    // Memory that was given up too early would be one of these.
    let others: Vec<_> = (0..4 * WRITES).map(|_| pattern(0xEE, BLOCK)).collect();

    let path = test.rig.directory().join("a");
    let Outcome::Opened { file, .. } = test.run(Op::Open { path }) else { panic!() };
    let read = Op::Read { file, offset: 0, buf: Buf::zeroed(WRITES * BLOCK) };
    let Outcome::Read { buf, result } = test.run(read) else { panic!() };
    assert_eq!(result.unwrap(), WRITES * BLOCK);
    for (index, block) in buf.chunks(BLOCK).enumerate() {
        let landed = block == &pattern(index as u8 + 1, BLOCK)[..];
        assert!(landed || block.iter().all(|&byte| byte == 0), "block {index} is neither the old nor the new one");
    }
    assert!(others.iter().all(|other| other[..] == pattern(0xEE, BLOCK)[..]));
}
