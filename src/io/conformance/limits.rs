//! Bounds: more than the buffers, the queues or a turn can hold.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Harness, ReceiveBuffers, Rig, pattern};
use crate::base::Buf;
use crate::io::Driver;
use crate::io::op::{Chunk, Completion, Op, Outcome};

const BLOCK: usize = 4096;

pub(in crate::io) fn a_receive_without_a_free_buffer_goes_on_after_a_release<R: Rig>(mut test: Harness<R>) {
    let buffers = test.rig.receive_buffers();
    let ReceiveBuffers { count, bytes } = buffers.unwrap_or(ReceiveBuffers { count: usize::MAX, bytes: 1 << 20 });
    let total = bytes * 3 * if buffers.is_some() { count } else { 1 };
    let (near, far) = test.pair();
    let (other_near, other_far) = test.pair();
    let receive = test.submit(Op::Receive { conn: far });
    let other = test.submit(Op::Receive { conn: other_far });
    let data = pattern(4, total).to_vec();
    test.submit(Op::Send { conn: near, data: data.clone() });

    // Chunks are held until there is nothing left to receive into. The harness would give them back at once.
    let mut received = Received { held: Vec::new(), bytes: Vec::new(), other: Vec::new() };
    while received.held.len() < count && received.bytes.len() < total {
        let mut completions = Vec::new();
        test.rig.wait(&mut completions);
        received.take(&mut test, completions, receive, other);
    }
    test.submit(Op::Send { conn: other_near, data: vec![9] });
    if buffers.is_some() {
        assert_eq!(received.held.len(), count);
        for _ in 0..3 {
            let completions = test.completions_within(Duration::from_millis(2));
            received.take(&mut test, completions, receive, other);
        }
        assert_eq!(received.held.len(), count, "nothing is received without a buffer");
    }

    // From now on they are given back, the oldest first, and everything comes.
    while received.bytes.len() < total || received.other.is_empty() {
        received.give_back(&mut test);
        let mut completions = Vec::new();
        test.rig.wait(&mut completions);
        received.take(&mut test, completions, receive, other);
    }
    received.give_back(&mut test);
    assert!(received.bytes == data);
    assert_eq!(received.other, [9]);
}

struct Received {
    /// Chunks, each with what was in it when it came.
    held: Vec<(Chunk, Vec<u8>)>,
    bytes: Vec<u8>,
    other: Vec<u8>,
}

impl Received {
    fn take<R: Rig>(
        &mut self,
        test: &mut Harness<R>,
        completions: Vec<Completion>,
        receive: crate::io::op::Token,
        other: crate::io::op::Token,
    ) {
        for Completion { token, outcome } in completions {
            match outcome {
                Outcome::Received { chunk, .. } => {
                    let bytes = test.rig.driver().chunk(&chunk).to_vec();
                    assert!(token == receive || token == other);
                    let stream = if token == receive { &mut self.bytes } else { &mut self.other };
                    stream.extend_from_slice(&bytes);
                    self.held.push((chunk, bytes));
                }
                Outcome::Sent { result, .. } => result.unwrap(),
                outcome => panic!("unexpected {outcome:?}"),
            }
        }
    }

    fn give_back<R: Rig>(&mut self, test: &mut Harness<R>) {
        for (chunk, bytes) in self.held.drain(..) {
            assert!(test.rig.driver().chunk(&chunk) == bytes, "a chunk stays as it is while it is held");
            test.rig.driver().release(chunk);
        }
    }
}

pub(in crate::io) fn more_completions_than_a_queue_holds_all_arrive<R: Rig>(mut test: Harness<R>) {
    const CONNECTIONS: usize = 30;
    const TRANSFERS: u64 = 150;
    let file = test.prepared("a", TRANSFERS * BLOCK as u64);
    let (_, address, accept) = test.listen();
    let mut ends = Vec::new();
    for _ in 0..CONNECTIONS {
        let Outcome::Connected { conn: near } = test.run(Op::Connect { address }) else { panic!() };
        let Outcome::Accepted { conn: far, .. } = test.outcome(accept) else { panic!() };
        ends.extend([near, far]);
    }
    for round in 0..3 {
        let mut once = BTreeMap::new();
        let mut receives = BTreeMap::new();
        for (index, &conn) in ends.iter().enumerate() {
            receives.insert(test.submit(Op::Receive { conn }), Vec::new());
            once.insert(test.submit(Op::Send { conn, data: vec![index as u8; 10] }), 0);
        }
        for index in 0..TRANSFERS {
            let offset = index * BLOCK as u64;
            once.insert(test.submit(Op::Write { file, offset, buf: pattern(round, BLOCK) }), 0);
            once.insert(test.submit(Op::Read { file, offset, buf: Buf::zeroed(BLOCK) }), 0);
        }
        while once.values().any(|&count| count == 0) || receives.values().any(|bytes: &Vec<u8>| bytes.len() < 10) {
            let Completion { token, outcome } = test.next_where(|_| true);
            match outcome {
                Outcome::Received { chunk, .. } => {
                    let bytes = test.bytes(&chunk);
                    receives.get_mut(&token).unwrap().extend(bytes);
                    continue;
                }
                Outcome::Sent { result, .. } => result.unwrap(),
                Outcome::Written { result, .. } | Outcome::Read { result, .. } => assert_eq!(result.unwrap(), BLOCK),
                outcome => panic!("unexpected {outcome:?}"),
            }
            *once.get_mut(&token).unwrap() += 1;
        }
        assert!(once.values().all(|&count| count == 1));
        assert!(receives.values().all(|bytes| bytes.len() == 10 && bytes.iter().all(|&byte| byte == bytes[0])));
    }
}

pub(in crate::io) fn a_busy_connection_does_not_starve_a_quiet_one<R: Rig>(mut test: Harness<R>) {
    let (busy_near, busy_far) = test.pair();
    let (quiet_near, quiet_far) = test.pair();
    let busy = test.submit(Op::Receive { conn: busy_far });
    let quiet = test.submit(Op::Receive { conn: quiet_far });
    let mut data = vec![1; 4 << 20];
    for _ in 0..5 {
        let send = test.submit(Op::Send { conn: busy_near, data });
        test.receive_bytes(busy, 1);
        // It arrives although the other stream has not ended.
        test.submit(Op::Send { conn: quiet_near, data: vec![2] });
        assert_eq!(test.receive_bytes(quiet, 1), [2]);
        let Outcome::Sent { data: memory, result, .. } = test.outcome(send) else { panic!() };
        result.unwrap();
        data = memory;
    }
}
