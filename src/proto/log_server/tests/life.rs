use super::*;
use crate::proto::log_server::{FLOOR_CELL, LOGLET_CELL};
use crate::wire::RejectCode;

fn delete(server: &mut TestServer, request: u64, chain_version: u64) {
    server.send(CLIENT, Message::Delete { request, loglet: ID, chain_version, live: Vec::new() });
}

fn gone(request: u64) -> Message<'static> {
    Message::Gone { request, loglet: ID }
}

fn create_again(server: &mut TestServer, request: u64) -> Vec<(PeerId, Message<'static>)> {
    server.send(CLIENT, Message::Create { request, config: config(ID, &[1, 2, 3]) });
    server.flush();
    server.answers()
}

#[test]
fn a_creation_is_answered_when_it_is_durable_and_is_idempotent() {
    let mut server = blank();
    server.send(CLIENT, Message::Create { request: 1, config: config(ID, &[1, 2, 3]) });
    server.send(CLIENT, Message::Create { request: 2, config: config(ID, &[1, 2, 3]) });
    assert_eq!(server.answers(), []);
    server.flush();
    let done = |request| (CLIENT, Message::Done { request, loglet: ID });
    assert_eq!(server.answers(), [done(1), done(2)]);
    server.restart();
    assert_eq!(create_again(&mut server, 3), [done(3)]);
    let mut other = config(ID, &[1, 2, 3]);
    other.sequencer.incarnation = Incarnation(8);
    server.send(CLIENT, Message::Create { request: 4, config: other });
    assert!(matches!(server.answers()[..], [(CLIENT, Message::Reject { request: 4, code: RejectCode::Config, .. })]));
}

#[test]
fn an_unknown_loglet_is_never_an_empty_open_log() {
    // P5: "(0, open)" would go to a stale client as the log's tail.
    let mut server = blank();
    check_tail(&mut server, 1, 0);
    server.send(CLIENT, Message::AwaitTail { request: 2, loglet: ID, at_least: Offset(0) });
    store(&mut server, 0, 1, 0);
    server.flush();
    let answers = server.answers();
    assert_eq!(answers.len(), 3);
    for (_, answer) in answers {
        assert!(matches!(answer, Message::Reject { code: RejectCode::UnknownLoglet, .. }), "{answer:?}");
    }
    assert_eq!(server.core.loglets().count(), 0);
}

#[test]
fn a_seal_that_comes_before_the_creation_wins() {
    let mut server = blank();
    seal(&mut server, 1);
    assert_eq!(server.answers(), []);
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, sealed(1, 0, 0))]);
    server.restart();
    assert_eq!(create_again(&mut server, 2), [(CLIENT, sealed(2, 0, 0))]);
    store(&mut server, 0, 1, 0);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, sealed(0, 0, 0))]);
}

#[test]
fn a_deleted_seal_is_not_forgotten() {
    // P5: A is sealed, truncated off the chain and dropped; its sequencer wakes and resends.
    let mut server = with_records(3);
    seal(&mut server, 1);
    server.flush();
    server.answers();
    delete(&mut server, 2, 7);
    assert_eq!(server.answers(), [], "the floor comes first");
    server.flush();
    let answers = server.answers();
    assert_eq!(answers, [(CLIENT, gone(2)), (SEQUENCER, gone(0))]);
    assert_eq!(server.disk.removed, [ID]);
    for _ in 0..2 {
        store(&mut server, 3, 4, 3);
        assert_eq!(server.answers(), [(SEQUENCER, gone(0))]);
        assert_eq!(create_again(&mut server, 3), [(CLIENT, gone(3))]);
        seal(&mut server, 4);
        check_tail(&mut server, 5, 0);
        delete(&mut server, 6, 7);
        server.flush();
        assert_eq!(server.answers(), [(CLIENT, gone(4)), (CLIENT, gone(5)), (CLIENT, gone(6))]);
        assert_eq!(server.core.loglets().count(), 0, "its memory is free");
        server.restart();
    }
}

#[test]
fn the_floor_is_durable_before_anything_is_dropped() {
    let mut server = with_records(3);
    seal(&mut server, 1);
    server.flush();
    delete(&mut server, 2, 7);
    check_tail(&mut server, 3, 0);
    store(&mut server, 3, 4, 0);
    server.send(CLIENT, Message::Create { request: 4, config: config(ID, &[1, 2, 3]) });
    server.answers();
    // Between floor and removal.
    server.durable(crate::base::Write(server.disk.last().0 - 1));
    assert_eq!(server.answers(), []);
    assert!(server.disk.removed.is_empty());
    let mut crashed = blank();
    crashed.disk = server.disk.clone();
    crashed.restart();
    check_tail(&mut crashed, 9, 0);
    assert_eq!(crashed.answers(), [(CLIENT, sealed(9, 3, 0))], "nobody was told, and nothing is lost");
    server.flush();
    let answers = server.answers();
    assert_eq!(answers, [(CLIENT, gone(2)), (CLIENT, gone(3)), (CLIENT, gone(4)), (SEQUENCER, gone(0))]);
    let kinds: Vec<_> = server.disk.cells().iter().map(|cell| cell.0.kind).collect();
    assert!(kinds.contains(&FLOOR_CELL) && !kinds.contains(&LOGLET_CELL));
}

#[test]
fn a_deleted_loglet_says_neither_success_nor_open_any_more() {
    let mut server = with_records(1);
    store(&mut server, 1, 2, 0);
    delete(&mut server, 2, 7);
    check_tail(&mut server, 3, 0);
    server.durable(crate::base::Write(server.disk.last().0 - 2));
    assert_eq!(server.answers(), []);
}

#[test]
fn deleting_an_unknown_loglet_leaves_a_floor_too() {
    // The deletion may reach a server that never heard of the creation.
    let mut server = blank();
    delete(&mut server, 1, 7);
    assert_eq!(server.answers(), [], "not durable");
    assert_eq!(create_again(&mut server, 2), [(CLIENT, gone(1)), (CLIENT, gone(2))]);
    let newer = LogletId { version: 8, ..ID };
    server.send(CLIENT, Message::Create { request: 3, config: config(newer, &[1, 2, 3]) });
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, Message::Done { request: 3, loglet: newer })]);
}

/// An attempt that came to nothing leaves its loglet, and nobody may be left to delete it.
#[test]
fn a_deletion_takes_what_its_chain_does_not_name_either() {
    let mut server = with_records(2);
    let (left, newer) = (LogletId { version: 6, ..ID }, LogletId { version: 8, ..ID });
    for (request, loglet) in [(1, left), (2, newer)] {
        server.send(CLIENT, Message::Create { request, config: config(loglet, &[1, 2, 3]) });
    }
    server.flush();
    let older = LogletId { version: 2, ..ID };
    server.send(CLIENT, Message::Delete { request: 3, loglet: older, chain_version: 7, live: vec![ID] });
    server.durable(crate::base::Write(server.disk.last().0 - 1));
    assert_eq!(server.disk.removed, [], "the floor comes first");
    server.flush();
    assert_eq!(server.disk.removed, [left]);
    server.restart();
    server.answers();
    let here: Vec<_> = server.core.loglets().map(|loglet| loglet.id).collect();
    assert_eq!(here, [ID, newer], "what the chain names, and what is newer than it");
    assert_eq!(tail_of(&mut server), Offset(2));
    server.send(CLIENT, Message::Create { request: 4, config: config(left, &[1, 2, 3]) });
    assert_eq!(server.answers(), [(CLIENT, Message::Gone { request: 4, loglet: left })]);
}

#[test]
fn a_chain_older_than_the_loglet_deletes_nothing() {
    let mut server = with_records(1);
    delete(&mut server, 1, 2);
    server.flush();
    let answers = server.answers();
    assert!(matches!(answers[..], [(CLIENT, Message::Reject { request: 1, code: RejectCode::Config, .. })]));
    assert_eq!(tail_of(&mut server), Offset(1));
}

#[test]
fn a_loglet_of_other_servers_is_refused() {
    let mut server = blank();
    server.send(CLIENT, Message::Create { request: 1, config: config(ID, &[2, 3]) });
    assert!(matches!(server.answers()[..], [(CLIENT, Message::Reject { request: 1, code: RejectCode::Config, .. })]));
}

/// P5: "creates nothing of that log at or below it unless a chain at least that new names it". A server that was away when a loglet
/// was made would otherwise tell everybody that it is gone.
#[test]
fn what_the_deleting_chain_names_may_still_be_created() {
    let mut server = blank();
    let twin = LogletId { nonce: ID.nonce + 1, ..ID };
    server.send(CLIENT, Message::Delete { request: 1, loglet: twin, chain_version: ID.version, live: vec![ID] });
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, Message::Gone { request: 1, loglet: twin })]);
    server.restart();
    assert_eq!(create_again(&mut server, 2), [(CLIENT, Message::Done { request: 2, loglet: ID })]);
    server.send(CLIENT, Message::Create { request: 3, config: config(twin, &[1, 2, 3]) });
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, Message::Gone { request: 3, loglet: twin })]);
    // A newer chain names it no more.
    server.send(CLIENT, Message::Delete { request: 4, loglet: ID, chain_version: ID.version + 1, live: Vec::new() });
    server.flush();
    server.answers();
    assert_eq!(create_again(&mut server, 5), [(CLIENT, gone(5))]);
}

/// P7: a closed loglet may have moved to other nodes, where the chain goes on to name it.
#[test]
fn a_deletion_stays_one_when_a_later_chain_names_the_loglet() {
    let mut server = open();
    let other = LogletId { nonce: ID.nonce + 1, version: ID.version + 1, ..ID };
    server.send(CLIENT, Message::Delete { request: 1, loglet: ID, chain_version: ID.version + 2, live: vec![other] });
    server.flush();
    server.answers();
    server.send(CLIENT, Message::Delete { request: 2, loglet: other, chain_version: ID.version + 3, live: vec![ID] });
    server.flush();
    server.answers();
    server.restart();
    assert_eq!(create_again(&mut server, 3), [(CLIENT, gone(3))]);
}
