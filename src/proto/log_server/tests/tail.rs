use super::*;
use crate::proto::log_server::waiters::WAITERS_MAX;
use crate::wire::RejectCode;

fn trim(server: &mut TestServer, request: u64, point: u64, committed: u64) {
    let (point, committed) = (Offset(point), Offset(committed));
    server.send(CLIENT, Message::Trim { request, loglet: ID, point, committed });
}

fn trimmed(request: u64, trim_point: u64) -> Message<'static> {
    Message::Trimmed { request, loglet: ID, trim_point: Offset(trim_point) }
}

#[test]
fn a_check_tail_brings_the_clients_known_tail() {
    // L3: S3 has a gap, the sequencer is idle; the question itself tells where the tail is.
    let mut server = with_records(2);
    check_tail(&mut server, 1, 10);
    // A store below it that is on its way has its answer by this: nothing else would tell the sequencer.
    assert_eq!(server.answers(), [(CLIENT, tail(1, 10, 10)), (SEQUENCER, stored(10))]);
    server.restart();
    assert_eq!(tail_of(&mut server), Offset(2), "volatile, and safe to forget");
}

#[test]
fn awaiting_a_tail_is_answered_when_the_local_tail_is_there() {
    let mut server = open();
    server.send(CLIENT, Message::AwaitTail { request: 1, loglet: ID, at_least: Offset(2) });
    server.send(OTHER_CLIENT, Message::AwaitTail { request: 2, loglet: ID, at_least: Offset(1) });
    store(&mut server, 0, 1, 0);
    store(&mut server, 1, 2, 0);
    assert_eq!(server.answers(), []);
    server.durable(crate::base::Write(server.disk.last().0 - 1));
    assert_eq!(server.answers(), [(OTHER_CLIENT, tail(2, 1, 0)), (SEQUENCER, stored(1))]);
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, tail(1, 2, 0)), (SEQUENCER, stored(2))]);
}

#[test]
fn a_bare_known_tail_wakes_those_who_wait_for_it() {
    let mut server = open();
    server.send(CLIENT, Message::AwaitTail { request: 1, loglet: ID, at_least: Offset(5) });
    server.send(SEQUENCER, Message::KnownTail { loglet: ID, known_tail: Offset(5) });
    assert_eq!(server.answers(), [(CLIENT, tail(1, 5, 5)), (SEQUENCER, stored(5))]);
}

#[test]
fn held_answers_are_bounded_and_go_with_their_connection() {
    let mut server = open();
    let wait = |request| Message::AwaitTail { request, loglet: ID, at_least: Offset(5) };
    for request in 0..WAITERS_MAX as u64 {
        server.send(CLIENT, wait(request));
    }
    server.send(OTHER_CLIENT, wait(1));
    let answers = server.answers();
    assert!(matches!(answers[..], [(OTHER_CLIENT, Message::Reject { request: 1, code: RejectCode::Limit, .. })]));
    server.core.handle_disconnected(CLIENT);
    assert_eq!(server.core.loglets().next().unwrap().held_answers, 0);
}

#[test]
fn a_trim_does_not_forget_the_tail() {
    // P3, first hole: everything trimmed and recycled, then a restart.
    let mut server = with_records(100);
    trim(&mut server, 1, 100, 100);
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, trimmed(1, 100))]);
    assert!(server.disk.loglets().is_empty(), "the records are gone");
    server.restart();
    assert_eq!(tail_of(&mut server), Offset(100));
    store(&mut server, 0, 1, 0);
    assert_eq!(server.answers(), [(SEQUENCER, stored(100))], "position 0 is not given out again");
    assert_eq!(server.disk.record(ID, Offset(0)), None);
    store(&mut server, 100, 101, 100);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(101))]);
}

#[test]
fn a_trim_is_clipped_to_what_is_committed() {
    // P3, second hole: a trim beyond the tail would trim future appends at birth.
    let mut server = with_records(4);
    trim(&mut server, 1, 50, 2);
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, trimmed(1, 2))]);
    check_tail(&mut server, 2, 3);
    trim(&mut server, 3, 50, 2);
    server.flush();
    assert_eq!(server.answers().last(), Some(&(CLIENT, trimmed(3, 3))), "its own known tail counts too");
    assert_eq!(tail_of(&mut server), Offset(4));
    server.send(CLIENT, Message::Trim { request: 4, loglet: ID, point: Offset(50), committed: Offset::MAX });
    assert!(
        matches!(server.answers()[..], [(CLIENT, Message::Reject { request: 4, .. })]),
        "a limit that limits nothing"
    );
}

#[test]
fn a_trim_drops_nothing_before_it_is_durable() {
    let mut server = with_records(4);
    trim(&mut server, 1, 3, 4);
    assert_eq!(server.answers(), []);
    assert_eq!(server.disk.record(ID, Offset(0)), Some(name(0)));
    let read =
        Message::Read { request: 2, loglet: ID, min: Offset(0), max: Offset(1), limit: Offset(4), bytes_max: 99 };
    server.send(CLIENT, read);
    assert_eq!(server.serve_reads().len(), 1);
    let mut crashed = blank();
    crashed.disk = server.disk.clone();
    crashed.restart();
    assert_eq!(crashed.core.loglets().next().unwrap().trim_point, Offset(0));
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, trimmed(1, 3))]);
    assert_eq!(server.disk.record(ID, Offset(2)), None);
    assert_eq!(server.disk.record(ID, Offset(3)), Some(name(3)));
}

#[test]
fn a_lower_trim_changes_nothing() {
    let mut server = with_records(4);
    trim(&mut server, 1, 3, 4);
    server.flush();
    server.answers();
    let writes = server.disk.writes();
    trim(&mut server, 2, 1, 4);
    assert_eq!(server.answers(), [(CLIENT, trimmed(2, 3))]);
    assert_eq!(server.disk.writes(), writes);
}

#[test]
fn a_trim_lifts_a_lower_server_for_a_repair() {
    // P3, third hole: the higher server has trimmed what this one lacks.
    let mut server = with_records(1);
    seal(&mut server, 1);
    server.flush();
    trim(&mut server, 2, 5, 5);
    server.flush();
    server.answers();
    let records = Owned::of(&[name(5)]);
    server.send(CLIENT, Message::Repair { request: 3, loglet: ID, first: Offset(5), batch: records.batch() });
    server.flush();
    let answers = server.answers();
    assert!(matches!(answers[..], [(CLIENT, Message::Sealed { request: 3, tail: Offset(6), .. })]), "{answers:?}");
}
