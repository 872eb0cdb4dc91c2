//! What only drivers of real sockets and threads do.

use super::sockets::LARGE;
use super::{Harness, Rig};
use crate::io::Driver;
use crate::io::op::{Op, Outcome};

pub(in crate::io) fn a_connection_goes_from_one_driver_to_another_without_loss<R: Rig>(mut test: Harness<R>) {
    let mut other = Harness::new(test.rig.another());
    let (near, far) = test.pair();
    let receive = test.submit(Op::Receive { conn: far });
    assert!(matches!(test.run(Op::Send { conn: near, data: vec![1] }), Outcome::Sent { result: Ok(()), .. }));
    assert_eq!(test.receive_bytes(receive, 1), [1]);
    let Outcome::Detached { conn, socket } = test.run(Op::Detach { conn: far }) else { panic!() };
    assert_eq!(conn, far);
    assert!(matches!(test.run(Op::Receive { conn: far }), Outcome::Failed(_)));
    assert!(matches!(test.run(Op::Send { conn: near, data: vec![2] }), Outcome::Sent { result: Ok(()), .. }));
    let moved = other.rig.driver().attach(socket);
    let receive = other.submit(Op::Receive { conn: moved });
    assert_eq!(other.receive_bytes(receive, 1), [2]);
    assert!(matches!(other.run(Op::Send { conn: moved, data: vec![3] }), Outcome::Sent { result: Ok(()), .. }));
    let receive = test.submit(Op::Receive { conn: near });
    assert_eq!(test.receive_bytes(receive, 1), [3]);
}

pub(in crate::io) fn a_send_in_flight_completes_before_its_connection_leaves<R: Rig>(mut test: Harness<R>) {
    let (near, far) = test.pair();
    let send = test.submit(Op::Send { conn: near, data: vec![7; LARGE] });
    let detach = test.submit(Op::Detach { conn: near });
    let receive = test.submit(Op::Receive { conn: far });
    test.receive_bytes(receive, LARGE);
    let Outcome::Detached { conn, .. } = test.outcome(detach) else { panic!() };
    assert_eq!(conn, near);
    assert!(test.has_arrived(send));
    assert!(matches!(test.outcome(send), Outcome::Sent { result: Ok(()), .. }));
}

pub(in crate::io) fn a_waker_ends_a_wait_from_another_thread_and_is_remembered_before_it<R: Rig>(mut test: Harness<R>) {
    let waker = test.rig.driver().waker();
    waker.wake_by_ref();
    let mut completions = Vec::new();
    test.rig.driver().wait(None, &mut completions).unwrap();
    for _ in 0..100 {
        let waker = waker.clone();
        let thread = std::thread::spawn(move || waker.wake());
        test.rig.driver().wait(None, &mut completions).unwrap();
        thread.join().unwrap();
    }
    assert!(completions.is_empty());
    drop(test);
    waker.wake();
}
