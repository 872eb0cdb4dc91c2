//! A journal without space: said, survived, and over by itself.

use super::*;
use crate::proto::log_server::Refused;

/// A server with `count` records whose journal then takes no more.
fn full(count: u64) -> TestServer {
    let mut server = with_records(count);
    server.disk.refuse_records = true;
    server
}

fn no_space(request: u64) -> Message<'static> {
    Message::NoSpace { request, loglet: ID }
}

fn pause(server: &TestServer) -> std::time::Duration {
    server.limits.reconnect_delay * 5
}

#[test]
fn a_full_journal_says_so_once_and_asks_for_the_stores_when_it_has_space() {
    let mut server = full(1);
    store(&mut server, 1, 2, 0);
    store(&mut server, 2, 3, 0);
    assert_eq!(server.answers(), [(SEQUENCER, no_space(0))], "cumulative, like every answer to a store");
    assert!(server.core.is_full());
    server.advance(pause(&server));
    assert_eq!(server.answers(), [], "there is no space yet");
    server.disk.refuse_records = false;
    store(&mut server, 1, 2, 0);
    assert_eq!(server.answers(), [(SEQUENCER, no_space(0))], "not before all loglets are told");
    server.advance(pause(&server));
    assert!(!server.core.is_full());
    assert_eq!(server.answers(), [(SEQUENCER, behind(0, 1, 0))]);
    store(&mut server, 1, 3, 0);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(3))]);
}

#[test]
fn what_was_taken_before_is_a_success_and_what_waited_in_memory_is_given_up() {
    let mut server = with_records(1);
    store(&mut server, 1, 2, 0);
    store(&mut server, 3, 4, 0);
    server.disk.refuse_records = true;
    store(&mut server, 2, 3, 0);
    assert_eq!(server.answers(), [(SEQUENCER, no_space(0))]);
    assert_eq!(server.core.early_bytes(), 0);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(2))], "no space is no failure of what is in flight");
    store(&mut server, 0, 2, 0);
    assert_eq!(server.answers(), [(SEQUENCER, stored(2))], "and a resend of what is here is a success");
}

#[test]
fn a_full_journal_reads_tells_tails_seals_trims_and_deletes() {
    let mut server = full(3);
    store(&mut server, 3, 4, 2);
    server.answers();
    check_tail(&mut server, 1, 0);
    assert!(matches!(server.answers()[..], [(CLIENT, Message::Tail { tail: Offset(3), .. })]));
    server.send(CLIENT, Message::Trim { request: 2, loglet: ID, point: Offset(1), committed: Offset(3) });
    server.flush();
    assert!(matches!(server.answers()[..], [(CLIENT, Message::Trimmed { trim_point: Offset(1), .. })]));
    let (min, max, limit) = (Offset(1), Offset(3), Offset(3));
    server.send(CLIENT, Message::Read { request: 3, loglet: ID, min, max, limit, bytes_max: 1000 });
    let read = server.serve_reads();
    assert_eq!(read[0].payloads[0], name(1));
    server.send(CLIENT, Message::Seal { request: 4, loglet: ID });
    server.flush();
    let answers = server.answers();
    let sealed = |answer: &(PeerId, Message<'_>)| matches!(answer.1, Message::Sealed { tail: Offset(3), .. });
    assert!(answers.iter().any(|answer| answer.0 == CLIENT && sealed(answer)), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.0 == SEQUENCER && sealed(answer)), "{answers:?}");
    server.send(CLIENT, Message::Delete { request: 5, loglet: ID, chain_version: 9, live: Vec::new() });
    server.flush();
    server.flush();
    assert!(server.answers().contains(&(CLIENT, Message::Gone { request: 5, loglet: ID })));
    assert!(server.core.is_full());
    server.disk.refuse_records = false;
    server.advance(pause(&server));
    assert!(!server.core.is_full(), "there is nobody left to tell, and it ends all the same");
}

#[test]
fn a_tail_that_cannot_be_reached_is_not_waited_for() {
    let mut server = full(1);
    server.send(CLIENT, Message::AwaitTail { request: 1, loglet: ID, at_least: Offset(2) });
    assert_eq!(server.answers(), [], "it may come");
    store(&mut server, 1, 2, 0);
    let answers = server.answers();
    assert_eq!(answers, [(CLIENT, no_space(1)), (SEQUENCER, no_space(0))]);
    server.send(CLIENT, Message::AwaitTail { request: 2, loglet: ID, at_least: Offset(2) });
    server.send(CLIENT, Message::AwaitTail { request: 3, loglet: ID, at_least: Offset(1) });
    let answers = server.answers();
    assert!(matches!(answers[..], [(CLIENT, Message::NoSpace { request: 2, .. }), (CLIENT, Message::Tail { .. })]));
}

#[test]
fn a_sequencer_that_connects_again_is_told_again() {
    let mut server = full(1);
    store(&mut server, 1, 2, 0);
    server.answers();
    server.core.handle_disconnected(SEQUENCER);
    let again = PeerId(9);
    server.connect(again, hello(Role::Sequencer, NodeId(100), Incarnation(7)));
    server.send(again, Message::KnownTail { loglet: ID, known_tail: Offset(1) });
    let answers = server.answers();
    assert_eq!(answers, [(again, stored(1)), (again, no_space(0))]);
}

#[test]
fn a_repair_without_space_says_so_and_nothing_is_copied_from_others_meanwhile() {
    let mut server = full(1);
    server.send(CLIENT, Message::Seal { request: 1, loglet: ID });
    server.flush();
    server.answers();
    let records = Owned::of(&[name(1)]);
    let repair = Message::Repair { request: 2, loglet: ID, first: Offset(1), batch: records.batch() };
    server.send(CLIENT, repair.clone());
    assert_eq!(server.answers(), [(CLIENT, no_space(2))]);
    server.disk.refuse_records = false;
    server.send(CLIENT, repair);
    server.flush();
    assert!(matches!(server.answers()[..], [(CLIENT, Message::Sealed { request: 2, tail: Offset(2), .. })]));

    let mut server = full(1);
    store(&mut server, 1, 2, 0);
    server.send(SEQUENCER, Message::KnownTail { loglet: ID, known_tail: Offset(5) });
    for _ in 0..20 {
        server.advance(pause(&server));
        server.answers();
    }
    assert!(server.asked.is_empty(), "what cannot be written is not asked for: {:?}", server.asked);
    server.disk.refuse_records = false;
    for _ in 0..4 {
        server.advance(pause(&server));
        server.answers();
    }
    assert!(!server.asked.is_empty(), "it catches up");
}

#[test]
fn a_busy_journal_is_not_full() {
    let mut server = with_records(1);
    server.disk.refuse = Some(Refused::Busy);
    store(&mut server, 1, 2, 0);
    assert!(!server.core.is_full());
    assert_eq!(server.answers(), []);
}
