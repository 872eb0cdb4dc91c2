use super::*;
use crate::proto::log_server::Refused;
use crate::wire::RejectCode;

#[test]
fn a_seal_is_answered_when_it_is_durable() {
    let mut server = with_records(2);
    seal(&mut server, 5);
    assert_eq!(server.answers(), []);
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, sealed(5, 2, 0)), (SEQUENCER, sealed(0, 2, 0))]);
    seal(&mut server, 6);
    assert_eq!(server.answers(), [(CLIENT, sealed(6, 2, 0))], "idempotent");
}

#[test]
fn nothing_says_sealed_before_the_seal_is_durable() {
    // P2, step 3: record 0 in flight, seal in memory; every question is held, and after a crash the server is open.
    let mut server = open();
    store(&mut server, 0, 1, 0);
    let record = server.disk.last();
    seal(&mut server, 5);
    check_tail(&mut server, 6, 0);
    server.send(OTHER_CLIENT, Message::AwaitTail { request: 7, loglet: ID, at_least: Offset(1) });
    store(&mut server, 0, 1, 0);
    server.send(CLIENT, Message::Create { request: 8, config: config(ID, &[1, 2, 3]) });
    server.durable(record);
    assert_eq!(server.answers(), [], "neither success nor open nor sealed");
    let mut crashed = server;
    crashed.restart();
    assert_eq!(tail_of(&mut crashed), Offset(1));
    store(&mut crashed, 0, 1, 0);
    crashed.serve_reads();
    assert_eq!(crashed.answers(), [(SEQUENCER, stored(1))], "nobody was told of a seal");
}

#[test]
fn held_answers_say_sealed_with_the_durable_tail() {
    let mut server = open();
    store(&mut server, 0, 1, 0);
    seal(&mut server, 5);
    check_tail(&mut server, 6, 0);
    server.send(OTHER_CLIENT, Message::AwaitTail { request: 7, loglet: ID, at_least: Offset(40) });
    server.send(CLIENT, Message::Create { request: 8, config: config(ID, &[1, 2, 3]) });
    server.flush();
    let expected = [
        (CLIENT, sealed(5, 1, 0)),
        (CLIENT, sealed(6, 1, 0)),
        (OTHER_CLIENT, sealed(7, 1, 0)),
        (CLIENT, sealed(8, 1, 0)),
    ];
    let answers = server.answers();
    assert_eq!(answers[..4], expected);
    assert_eq!(answers[4..], [(SEQUENCER, sealed(0, 1, 0))]);
}

#[test]
fn a_success_that_was_owed_is_none_any_more_after_the_seal() {
    // Durable, owed, not yet sent when the seal comes.
    let mut server = open();
    store(&mut server, 0, 1, 0);
    server.flush();
    seal(&mut server, 5);
    assert_eq!(server.answers(), []);
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, sealed(5, 1, 0)), (SEQUENCER, sealed(0, 1, 0))]);
}

#[test]
fn sealed_server_acknowledges_nothing_in_flight() {
    let mut server = with_records(1);
    store(&mut server, 1, 2, 0);
    let record = server.disk.last();
    seal(&mut server, 5);
    server.durable(record);
    assert_eq!(server.answers(), []);
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, sealed(5, 2, 0)), (SEQUENCER, sealed(0, 2, 0))], "the zombie is evidence");
}

#[test]
fn a_sealed_server_takes_no_store_and_keeps_its_seal_over_a_restart() {
    let mut server = with_records(1);
    seal(&mut server, 5);
    server.flush();
    server.answers();
    for _ in 0..2 {
        let writes = server.disk.writes();
        store(&mut server, 1, 2, 0);
        store(&mut server, 2, 3, 0);
        server.flush();
        assert_eq!(server.answers(), [(SEQUENCER, sealed(0, 1, 0))]);
        assert_eq!(server.disk.writes(), writes);
        assert_eq!(server.core.loglets().next().unwrap().early_bytes, 0);
        server.restart();
    }
}

#[test]
fn early_arrivals_never_enter_the_journal_after_the_seal() {
    let mut server = with_records(1);
    store(&mut server, 2, 3, 0);
    seal(&mut server, 5);
    assert_eq!(server.core.loglets().next().unwrap().early_bytes, 0);
    store(&mut server, 1, 2, 0);
    server.flush();
    server.answers();
    assert_eq!(tail_of(&mut server), Offset(1));
}

#[test]
fn a_seal_that_the_journal_refuses_for_now_is_written_later() {
    for refused in [Refused::Busy, Refused::Space] {
        let mut server = with_records(1);
        server.disk.refuse = Some(refused);
        seal(&mut server, 5);
        check_tail(&mut server, 6, 0);
        assert_eq!(server.answers(), []);
        assert_eq!(server.core.poll_timeout().unwrap().1, "the journal refused a write");
        server.disk.refuse = None;
        server.advance(server.limits.reconnect_delay);
        server.flush();
        assert_eq!(server.answers()[..2], [(CLIENT, sealed(5, 1, 0)), (CLIENT, sealed(6, 1, 0))]);
    }
}

#[test]
fn the_tail_of_a_sealed_loglet_counts_durable_records_only() {
    // P1, steps 1-5: sealed and answered (0, sealed) while record 0 is in flight; then it becomes durable.
    let mut server = open();
    seal(&mut server, 1);
    let seal_write = server.disk.last();
    server.durable(seal_write);
    assert_eq!(server.answers(), [(CLIENT, sealed(1, 0, 0))]);
    let mut server = open();
    store(&mut server, 0, 1, 0);
    let record = server.disk.last();
    seal(&mut server, 1);
    check_tail(&mut server, 2, 0);
    assert_eq!(server.answers(), []);
    server.durable(record);
    server.flush();
    server.answers();
    check_tail(&mut server, 3, 0);
    assert_eq!(server.answers().last(), Some(&(CLIENT, sealed(3, 1, 0))));
}

#[test]
fn a_repair_never_raises_the_known_tail() {
    // P1, steps 6-9: S2 is repaired to 1, and neither a reader nor the sequencer may conclude from that that 0 is committed.
    let mut server = open();
    seal(&mut server, 1);
    server.flush();
    server.answers();
    let records = Owned::of(&[name(0)]);
    let repair = Message::Repair { request: 2, loglet: ID, first: Offset(0), batch: records.batch() };
    server.send(CLIENT, repair);
    assert_eq!(server.answers(), [], "not durable");
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, sealed(2, 1, 0))]);
    let read =
        Message::Read { request: 3, loglet: ID, min: Offset(0), max: Offset(9), limit: Offset(0), bytes_max: 99 };
    server.send(CLIENT, read);
    assert_eq!(server.answers(), [(CLIENT, behind(3, 1, 0))], "9a: not readable");
    assert_eq!(server.disk.reads_waiting(), 0);
    store(&mut server, 0, 1, 0);
    assert_eq!(server.answers(), [(SEQUENCER, sealed(0, 1, 0))], "9b: no known tail in the answer");
}

#[test]
fn an_unsealed_server_refuses_a_repair() {
    let mut server = with_records(1);
    let records = Owned::of(&[name(1)]);
    for begin_seal in [false, true] {
        if begin_seal {
            seal(&mut server, 9);
        }
        let repair = Message::Repair { request: 2, loglet: ID, first: Offset(1), batch: records.batch() };
        let writes = server.disk.writes();
        server.send(CLIENT, repair);
        let answers = server.answers();
        assert!(matches!(answers[..], [(CLIENT, Message::Reject { request: 2, code: RejectCode::Malformed, .. })]));
        assert_eq!(server.disk.writes(), writes);
    }
}

#[test]
fn a_repair_obeys_the_order_rule() {
    let mut server = with_records(1);
    seal(&mut server, 1);
    server.flush();
    server.answers();
    let records = Owned::of(&[name(2)]);
    let message = Message::Repair { request: 2, loglet: ID, first: Offset(2), batch: records.batch() };
    server.send(CLIENT, message);
    assert_eq!(server.answers(), [(CLIENT, behind(2, 1, 0))]);
    let records = Owned::of(&[name(0), name(1), name(2)]);
    let message = Message::Repair { request: 3, loglet: ID, first: Offset(0), batch: records.batch() };
    server.send(CLIENT, message.clone());
    server.send(OTHER_CLIENT, message);
    assert_eq!(server.answers(), []);
    let writes = server.disk.writes();
    server.flush();
    assert_eq!(server.answers(), [(CLIENT, sealed(3, 3, 0)), (OTHER_CLIENT, sealed(3, 3, 0))], "racing repairs agree");
    assert_eq!(server.disk.writes(), writes, "present records are not written again");
}
