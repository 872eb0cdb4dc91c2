//! Sockets, and waiting.

use std::time::Duration;

use super::{Harness, Rig, pattern};
use crate::io::Driver;
use crate::io::op::{ConnId, Op, Outcome};

/// More than the buffers of a connection hold, so that a send of it waits for its reader.
pub(super) const LARGE: usize = 32 << 20;

pub(in crate::io) fn large_data_is_echoed_both_ways<R: Rig>(mut test: Harness<R>) {
    const BYTES: usize = 3 << 20;
    let (near, far) = test.pair();
    let data = pattern(5, BYTES).to_vec();
    let (near_receive, far_receive) = (test.submit(Op::Receive { conn: near }), test.submit(Op::Receive { conn: far }));
    let send = test.submit(Op::Send { conn: near, data: data.clone() });
    let echo = test.receive_bytes(far_receive, BYTES);
    assert!(echo == data);
    let Outcome::Sent { data: memory, result, .. } = test.outcome(send) else { panic!() };
    result.unwrap();
    assert!(memory == data);

    // Both directions at once.
    let there = test.submit(Op::Send { conn: near, data: memory });
    let back = test.submit(Op::Send { conn: far, data: echo });
    assert!(test.receive_bytes(near_receive, BYTES) == data);
    assert!(test.receive_bytes(far_receive, BYTES) == data);
    for send in [there, back] {
        assert!(matches!(test.outcome(send), Outcome::Sent { result: Ok(()), .. }));
    }
}

pub(in crate::io) fn a_reader_that_stops_holds_up_the_sender<R: Rig>(mut test: Harness<R>) {
    let (near, far) = test.pair();
    let receive = test.submit(Op::Receive { conn: far });
    let send = test.submit(Op::Send { conn: near, data: vec![7; LARGE] });
    let mut received = test.receive_bytes(receive, 1).len();
    test.submit(Op::StopReceive { conn: far });

    // Something else makes progress meanwhile; the send does not end.
    let (other_near, other_far) = test.pair();
    let other = test.submit(Op::Receive { conn: other_far });
    for _ in 0..20 {
        let beat = test.submit(Op::Send { conn: other_near, data: vec![1] });
        test.receive_bytes(other, 1);
        assert!(matches!(test.outcome(beat), Outcome::Sent { result: Ok(()), .. }));
    }
    assert!(!test.has_arrived(send));

    // Those that were on their way when it stopped.
    while test.has_arrived(receive) {
        received += test.receive_bytes(receive, 1).len();
    }
    let again = test.submit(Op::Receive { conn: far });
    assert_eq!(received + test.receive_bytes(again, LARGE - received).len(), LARGE);
    assert!(matches!(test.outcome(send), Outcome::Sent { result: Ok(()), .. }));
}

pub(in crate::io) fn a_receive_stopped_and_armed_again_loses_nothing<R: Rig>(mut test: Harness<R>) {
    const BYTES: usize = 4 << 20;
    let (near, far) = test.pair();
    let data = pattern(8, BYTES).to_vec();
    let send = test.submit(Op::Send { conn: near, data: data.clone() });
    let mut received = Vec::new();
    let mut receives = vec![test.submit(Op::Receive { conn: far })];
    while received.len() < BYTES {
        let completion = test.next_where(|completion| receives.contains(&completion.token));
        let Outcome::Received { chunk, .. } = completion.outcome else { panic!() };
        received.extend(test.bytes(&chunk));
        test.submit(Op::StopReceive { conn: far });
        receives.push(test.submit(Op::Receive { conn: far }));
    }
    assert!(received == data);
    assert!(matches!(test.outcome(send), Outcome::Sent { result: Ok(()), .. }));
}

pub(in crate::io) fn a_peer_that_closes_ends_the_stream<R: Rig>(mut test: Harness<R>) {
    let (near, far) = test.pair();
    let receive = test.submit(Op::Receive { conn: far });
    assert!(matches!(test.run(Op::Send { conn: near, data: vec![1, 2, 3] }), Outcome::Sent { result: Ok(()), .. }));
    assert!(matches!(test.run(Op::CloseConn { conn: near }), Outcome::Done));
    assert_eq!(test.receive_bytes(receive, 3), [1, 2, 3]);
    let Outcome::Received { chunk, conn } = test.outcome(receive) else { panic!() };
    assert!(chunk.is_end());
    assert_eq!(conn, far);
    assert_eq!(test.bytes(&chunk), b"");
    assert!(matches!(test.run(Op::CloseConn { conn: far }), Outcome::Done));
}

pub(in crate::io) fn nobody_listening_refuses_the_connection<R: Rig>(mut test: Harness<R>) {
    // An address of a connection's own end is taken, and nobody listens on it.
    let (_, address, accept) = test.listen();
    let Outcome::Connected { .. } = test.run(Op::Connect { address }) else { panic!() };
    let Outcome::Accepted { peer, .. } = test.outcome(accept) else { panic!() };
    let Outcome::Failed(error) = test.run(Op::Connect { address: peer }) else { panic!() };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

pub(in crate::io) fn a_send_to_a_closed_peer_fails_and_returns_its_memory<R: Rig>(mut test: Harness<R>) {
    let (near, far) = test.pair();
    assert!(matches!(test.run(Op::CloseConn { conn: far }), Outcome::Done));
    let mut data = vec![3; 1000];
    loop {
        let Outcome::Sent { data: memory, result, conn } = test.run(Op::Send { conn: near, data }) else { panic!() };
        assert_eq!((memory.len(), conn), (1000, near));
        data = memory;
        if result.is_err() {
            break;
        }
    }
}

pub(in crate::io) fn a_closed_connection_takes_nothing_more<R: Rig>(mut test: Harness<R>) {
    let (near, _far) = test.pair();
    assert!(matches!(test.run(Op::CloseConn { conn: near }), Outcome::Done));
    assert!(matches!(test.run(Op::Receive { conn: near }), Outcome::Failed(_)));
    assert!(matches!(test.run(Op::Send { conn: near, data: vec![1] }), Outcome::Sent { result: Err(_), .. }));
    let (newer, _) = test.pair();
    assert_ne!(newer, near, "ids are not used again");
}

pub(in crate::io) fn a_listener_accepts_many_connections<R: Rig>(mut test: Harness<R>) {
    let (_, address, accept) = test.listen();
    let mut accepted: Vec<ConnId> = Vec::new();
    for _ in 0..50 {
        assert!(matches!(test.run(Op::Connect { address }), Outcome::Connected { .. }));
        let Outcome::Accepted { conn, .. } = test.outcome(accept) else { panic!() };
        assert!(!accepted.contains(&conn));
        accepted.push(conn);
    }
}

pub(in crate::io) fn a_deadline_ends_a_wait<R: Rig>(mut test: Harness<R>) {
    test.pair();
    for delay in [Duration::ZERO, Duration::from_millis(3)] {
        let deadline = test.rig.driver().now() + delay;
        let mut completions = Vec::new();
        while test.rig.driver().now() < deadline || delay.is_zero() {
            test.rig.driver().wait(Some(deadline), &mut completions).unwrap();
            if delay.is_zero() {
                break;
            }
            test.rig.advance_to(deadline);
        }
        assert!(completions.is_empty());
        assert!(test.rig.driver().now() >= deadline);
    }
}

pub(in crate::io) fn sends_of_every_size_arrive_whole_and_in_order<R: Rig>(mut test: Harness<R>) {
    let (near, far) = test.pair();
    let receive = test.submit(Op::Receive { conn: far });
    let mut data = Vec::new();
    for (seed, bytes) in [1, 2, 1023, 1024, 1025, 4096, 65_535, 65_536, 65_537, 1 << 20, 3, 1].into_iter().enumerate() {
        data.clear();
        data.extend_from_slice(&pattern(seed as u8, bytes));
        let expected = data.clone();
        let send = test.submit(Op::Send { conn: near, data });
        assert!(test.receive_bytes(receive, bytes) == expected, "{bytes} bytes");
        let Outcome::Sent { data: memory, result, .. } = test.outcome(send) else { panic!() };
        result.unwrap();
        data = memory;
    }
    // Many small ones without any wait for their arrival.
    for value in 0..200 {
        assert!(matches!(test.run(Op::Send { conn: near, data: vec![value] }), Outcome::Sent { result: Ok(()), .. }));
    }
    assert_eq!(test.receive_bytes(receive, 200), (0..200).collect::<Vec<u8>>());
}

pub(in crate::io) fn a_large_send_reaches_a_reader_that_keeps_stopping<R: Rig>(mut test: Harness<R>) {
    const BYTES: usize = 12 << 20;
    // Between two receives more than a connection's buffers hold is still to come: the send goes on in pieces.
    const STEP: usize = 2 << 20;
    let (near, far) = test.pair();
    let (other_near, other_far) = test.pair();
    let other = test.submit(Op::Receive { conn: other_far });
    let data = pattern(6, BYTES).to_vec();
    let address = data.as_ptr();
    let send = test.submit(Op::Send { conn: near, data });
    let mut received = Vec::new();
    while received.len() < BYTES {
        let receive = test.submit(Op::Receive { conn: far });
        let wanted = STEP.min(BYTES - received.len());
        received.extend(test.receive_bytes(receive, wanted));
        test.submit(Op::StopReceive { conn: far });
        // A round trip elsewhere, so that the sender meets full buffers.
        test.submit(Op::Send { conn: other_near, data: vec![1] });
        test.receive_bytes(other, 1);
        while test.has_arrived(receive) {
            received.extend(test.receive_bytes(receive, 1));
        }
    }
    assert!(received == pattern(6, BYTES)[..]);
    let Outcome::Sent { data, result, .. } = test.outcome(send) else { panic!() };
    result.unwrap();
    assert_eq!((data.as_ptr(), data.len()), (address, BYTES), "the same memory");
}
