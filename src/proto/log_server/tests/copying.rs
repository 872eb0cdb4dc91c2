use std::time::Duration;

use super::*;
use crate::base::{CellKey, RegisterId};
use crate::proto::log_server::{LOGLET_CELL, LogServer, RecoveredLoglet, Refused};
use crate::wire::RejectCode;

fn delay(server: &mut TestServer) {
    server.advance(server.limits.reconnect_delay);
    server.answers();
}

/// Takes the request made last of a member, and its number.
fn asked(server: &mut TestServer) -> Option<(u128, Message<'static>)> {
    server.answers();
    server.asked.pop_front().map(|(member, message)| (member.node.0, message))
}

fn asked_read(server: &mut TestServer) -> (u128, u64, u64, u64) {
    match asked(server) {
        Some((node, Message::Read { request, min, max, limit, .. })) => {
            assert_eq!(limit, max, "the end of the gap is the limit");
            (node, request, min.0, max.0)
        }
        other => panic!("not a read: {other:?}"),
    }
}

fn give(server: &mut TestServer, node: u128, request: u64, from: u64, to: u64) {
    let records = Owned::of(&(from..to).map(name).collect::<Vec<_>>());
    let (first, known_tail) = (Offset(from), Offset(0));
    let message = Message::Records { request, loglet: ID, first, known_tail, batch: records.batch() };
    server.core.handle_member(NodeId(node), message, server.now, &mut server.disk);
}

fn tell(server: &mut TestServer, node: u128, message: Message<'_>) {
    server.core.handle_member(NodeId(node), message, server.now, &mut server.disk);
}

/// Records 0, 1 and 5 here; 2..5 missing.
fn with_gap() -> TestServer {
    let mut server = with_records(2);
    store(&mut server, 5, 6, 5);
    server.flush();
    server.answers();
    server
}

#[test]
fn a_gap_is_filled_from_other_members_in_turn() {
    let mut server = with_gap();
    assert_eq!(asked(&mut server), None, "late records get a moment");
    delay(&mut server);
    let (node, request, from, to) = asked_read(&mut server);
    assert_eq!((node, from, to), (2, 2, 5));
    assert_eq!(asked(&mut server), None, "one at a time");
    tell(&mut server, 2, Message::Gap { request, loglet: ID, from: Offset(2), to: Offset(5) });
    delay(&mut server);
    let (node, request, from, _) = asked_read(&mut server);
    assert_eq!((node, from), (3, 2));
    give(&mut server, 3, request, 2, 4);
    delay(&mut server);
    assert_eq!(asked(&mut server), None, "not before the copy is durable");
    server.flush();
    delay(&mut server);
    let (node, request, from, to) = asked_read(&mut server);
    assert_eq!((from, to), (4, 5), "the rest");
    give(&mut server, node, request, 4, 5);
    server.flush();
    assert_eq!(server.core.loglets().next().unwrap().missing, 0);
    assert_eq!(server.core.poll_timeout(), None);
    for offset in 0..6 {
        assert_eq!(server.disk.record(ID, Offset(offset)), Some(name(offset)));
    }
}

#[test]
fn filling_never_changes_the_tail() {
    let mut server = with_gap();
    delay(&mut server);
    let (node, request, ..) = asked_read(&mut server);
    give(&mut server, node, request, 2, 9);
    server.flush();
    assert_eq!(server.answers(), [], "nothing is owed to anybody for it");
    assert_eq!(tail_of(&mut server), Offset(6));
    assert_eq!(server.disk.record(ID, Offset(6)), None, "what was not asked for is not taken");
}

#[test]
fn an_idle_sequencers_known_tail_makes_a_gap_that_is_filled() {
    // L3: nothing more is sent for this server.
    let mut server = with_records(2);
    server.send(SEQUENCER, Message::KnownTail { loglet: ID, known_tail: Offset(4) });
    delay(&mut server);
    let (node, request, from, to) = asked_read(&mut server);
    assert_eq!((from, to), (2, 4));
    give(&mut server, node, request, 2, 9);
    server.flush();
    server.answers();
    assert_eq!(tail_of(&mut server), Offset(4), "no more than was asked for");
    store(&mut server, 4, 5, 4);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(5))]);
}

#[test]
fn a_silent_or_lost_member_is_passed_over() {
    let mut server = with_gap();
    delay(&mut server);
    assert_eq!(asked_read(&mut server).0, 2);
    server.advance(server.limits.stall);
    let (node, late, ..) = asked_read(&mut server);
    assert_eq!(node, 3);
    server.core.handle_member_disconnected(NodeId(3), server.now);
    delay(&mut server);
    assert_eq!(asked(&mut server), None, "all have been asked: a pause");
    server.advance(Duration::from_secs(1));
    assert_eq!(asked_read(&mut server).0, 2);
    let writes = server.disk.writes();
    give(&mut server, 3, late, 2, 5);
    assert_eq!(server.disk.writes(), writes, "an answer that nobody waits for is dropped");
}

#[test]
fn what_is_trimmed_elsewhere_is_trimmed_here() {
    let mut server = with_gap();
    delay(&mut server);
    let (node, request, ..) = asked_read(&mut server);
    tell(&mut server, node, Message::Trimmed { request, loglet: ID, trim_point: Offset(4) });
    server.flush();
    delay(&mut server);
    let (_, _, from, to) = asked_read(&mut server);
    assert_eq!((from, to), (4, 5));
}

#[test]
fn damaged_records_are_fetched_again_and_served() {
    let mut server = with_records(6);
    server.disk.damaged.push((ID, Offset(2), Offset(4)));
    let read =
        Message::Read { request: 8, loglet: ID, min: Offset(2), max: Offset(4), limit: Offset(6), bytes_max: 99 };
    server.send(CLIENT, read.clone());
    server.serve_reads();
    delay(&mut server);
    let (node, request, from, to) = asked_read(&mut server);
    assert_eq!((from, to), (2, 4));
    give(&mut server, node, request, 2, 4);
    server.flush();
    server.disk.damaged.clear();
    server.send(CLIENT, read);
    assert_eq!(server.serve_reads()[0].payloads, [name(2), name(3)]);
}

#[test]
fn copied_records_with_a_wrong_checksum_are_not_taken() {
    let mut server = with_gap();
    delay(&mut server);
    let (node, request, ..) = asked_read(&mut server);
    let mut records = Owned::of(&[name(2)]);
    *records.bytes.last_mut().unwrap() ^= 1;
    let (first, known_tail) = (Offset(2), Offset(0));
    let message = Message::Records { request, loglet: ID, first, known_tail, batch: records.batch() };
    let writes = server.disk.writes();
    tell(&mut server, node, message);
    assert_eq!(server.disk.writes(), writes);
}

/// P10: record 5 of 0..6 and the seal that was on its way are lost with a unit and its table.
fn with_lost_table() -> TestServer {
    let mut server = with_records(6);
    server.disk.lose_records(ID, Offset(5));
    server.restart_with(true);
    server
}

fn told(request: u64, tail: u64) -> Message<'static> {
    Message::Sealed { request, loglet: ID, tail: Offset(tail), known_tail: Offset(0), trim_point: Offset(0) }
}

/// Answers the questions for tails, and returns how many there were.
fn tell_tails(server: &mut TestServer, tails: &[(u128, u64)]) -> usize {
    server.answers();
    let questions: Vec<_> = server.asked.drain(..).collect();
    for (member, message) in &questions {
        let Message::CheckTail { request, .. } = message else { panic!("not a question for a tail: {message:?}") };
        if let Some((_, tail)) = tails.iter().find(|told| told.0 == member.node.0) {
            tell(server, member.node.0, told(*request, *tail));
        }
    }
    questions.len()
}

#[test]
fn a_server_that_lost_its_table_seals_itself_and_holds_its_tail() {
    let mut server = with_lost_table();
    check_tail(&mut server, 1, 0);
    seal(&mut server, 2);
    store(&mut server, 5, 6, 0);
    server.send(CLIENT, Message::Create { request: 3, config: config(ID, &[1, 2, 3]) });
    server.flush();
    assert_eq!(server.answers(), [], "it might have promised anything");
    delay(&mut server);
    assert_eq!(tell_tails(&mut server, &[(2, 6)]), 2, "f+1 others");
    server.advance(server.limits.stall);
    server.flush();
    assert_eq!(server.answers(), [], "one of them is not enough");
    assert_eq!(tell_tails(&mut server, &[(3, 4)]), 1, "the other one is asked again");
    server.advance(Duration::ZERO);
    let (node, request, from, to) = asked_read(&mut server);
    assert_eq!((from, to), (5, 6), "the largest tail is copied up to");
    give(&mut server, node, request, 5, 6);
    server.flush();
    assert_eq!(server.answers(), [], "the copy is durable, the end of the catching up is not");
    delay(&mut server);
    server.flush();
    let answers = server.answers();
    let expected =
        [(CLIENT, sealed(1, 6, 0)), (CLIENT, sealed(2, 6, 0)), (CLIENT, sealed(3, 6, 0)), (SEQUENCER, sealed(0, 6, 0))];
    assert_eq!(answers, expected);
    server.restart();
    check_tail(&mut server, 4, 0);
    assert_eq!(server.answers(), [(CLIENT, sealed(4, 6, 0))]);
}

#[test]
fn a_lost_table_is_remembered_over_restarts() {
    let mut server = with_lost_table();
    server.flush();
    server.restart();
    check_tail(&mut server, 1, 0);
    store(&mut server, 5, 6, 0);
    server.flush();
    assert_eq!(server.answers(), []);
    assert!(server.core.loglets().next().unwrap().catching_up);
    let unknown = LogletId { version: 4, ..ID };
    server.send(CLIENT, Message::Create { request: 2, config: config(unknown, &[1, 2, 3]) });
    server.send(CLIENT, Message::Seal { request: 3, loglet: unknown });
    server.flush();
    let answers = server.answers();
    assert!(matches!(answers[..], [(CLIENT, Message::Unavailable { request: 2, .. })]), "{answers:?}");
}

#[test]
fn a_server_that_catches_up_goes_on_answering_reads() {
    let mut server = with_lost_table();
    let read = |min| Message::Read {
        request: 8,
        loglet: ID,
        min: Offset(min),
        max: Offset(9),
        limit: Offset(6),
        bytes_max: 99,
    };
    server.send(CLIENT, read(3));
    assert_eq!(server.serve_reads()[0].payloads, [name(3), name(4)]);
    server.send(CLIENT, read(5));
    let answers = server.answers();
    assert!(matches!(answers[..], [(CLIENT, Message::Unavailable { request: 8, .. })]), "no tail: {answers:?}");
}

#[test]
fn records_without_their_cell_are_an_affected_loglet() {
    let mut server = with_records(3);
    server.disk.lose_cell(crate::base::CellKey { loglet: ID, kind: LOGLET_CELL });
    server.restart();
    check_tail(&mut server, 1, 0);
    server.flush();
    assert_eq!(server.answers(), []);
    let status = server.core.loglets().next().unwrap();
    assert!(status.sealed && status.catching_up);
}

#[test]
fn a_repair_is_not_answered_while_catching_up() {
    let mut server = with_lost_table();
    server.flush();
    let records = Owned::of(&[name(5)]);
    server.send(CLIENT, Message::Repair { request: 2, loglet: ID, first: Offset(5), batch: records.batch() });
    server.flush();
    assert_eq!(server.answers(), [], "its answer would tell a tail");
    assert_eq!(server.disk.record(ID, Offset(5)), Some(name(5)));
}

#[test]
fn a_poisoned_journal_answers_reads_and_no_vote() {
    // P10.
    let mut server = with_records(3);
    server.send(CLIENT, Message::AwaitTail { request: 1, loglet: ID, at_least: Offset(4) });
    store(&mut server, 3, 4, 0);
    server.flush();
    server.send(OTHER_CLIENT, Message::AwaitTail { request: 2, loglet: ID, at_least: Offset(9) });
    server.core.handle_disk_failed();
    let answers = server.answers();
    assert!(matches!(answers[..], [(OTHER_CLIENT, Message::Unavailable { request: 2, .. })]), "{answers:?}");
    check_tail(&mut server, 3, 0);
    seal(&mut server, 4);
    store(&mut server, 4, 5, 0);
    server.send(CLIENT, Message::Delete { request: 5, loglet: ID, chain_version: 9, live: Vec::new() });
    server.send(CLIENT, Message::Create { request: 6, config: config(ID, &[1, 2, 3]) });
    server.send(CLIENT, Message::Trim { request: 7, loglet: ID, point: Offset(1), committed: Offset(1) });
    let answers = server.answers();
    assert_eq!(answers.len(), 6);
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Message::Unavailable { .. })), "{answers:?}");
    let read =
        Message::Read { request: 8, loglet: ID, min: Offset(0), max: Offset(9), limit: Offset(4), bytes_max: 99 };
    server.send(CLIENT, read);
    assert_eq!(server.serve_reads()[0].payloads.len(), 4);
}

#[test]
fn a_write_that_fails_poisons_at_once() {
    let mut server = with_records(3);
    store(&mut server, 3, 4, 0);
    server.disk.refuse = Some(Refused::Failed);
    store(&mut server, 4, 5, 0);
    server.disk.refuse = None;
    server.flush();
    assert_eq!(server.answers(), [], "no success for what was in flight either");
    check_tail(&mut server, 3, 0);
    assert!(matches!(server.answers()[..], [(CLIENT, Message::Unavailable { request: 3, .. })]));
}

#[test]
fn a_request_of_another_role_is_refused() {
    let mut server = with_records(3);
    server.send(CLIENT, Message::Status { request: 1 });
    assert!(matches!(server.answers()[..], [(CLIENT, Message::Reject { code: RejectCode::Malformed, .. })]));
}

/// The journal names whatever has a cell, also a register of the acceptor beside this server.
#[test]
fn another_layers_cell_is_no_loglet() {
    let mut server = with_records(2);
    let id = RegisterId(1).key();
    server.core = LogServer::new(NodeId(1), Incarnation(9), &server.limits);
    let cell = (CellKey { kind: 4, loglet: id }, b"its own".to_vec());
    let named = RecoveredLoglet { id, stored: Vec::new() };
    server.core.recover(vec![cell], vec![named], false, &mut server.disk);
    assert_eq!(server.core.loglets().count(), 0);
}
