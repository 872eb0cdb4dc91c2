use super::*;
use crate::proto::log_server::Refused;
use crate::proto::testing::NO_OP;
use crate::wire::RejectCode;

#[test]
fn records_are_answered_when_they_are_durable_and_not_before() {
    let mut server = open();
    store(&mut server, 0, 3, 0);
    store(&mut server, 3, 4, 0);
    assert_eq!(server.answers(), []);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(4))], "one answer for both, cumulative");
}

#[test]
fn each_durable_prefix_is_answered() {
    let mut server = open();
    store(&mut server, 0, 1, 0);
    let first = server.disk.last();
    store(&mut server, 1, 2, 0);
    server.durable(first);
    assert_eq!(server.answers(), [(SEQUENCER, stored(1))]);
    assert_eq!(tail_of(&mut server), Offset(1), "what is in flight does not count (P14 c)");
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(2))]);
}

#[test]
fn a_resent_record_in_flight_is_no_success() {
    // P14 a.
    let mut server = with_records(7);
    store(&mut server, 7, 8, 0);
    store(&mut server, 7, 8, 0);
    assert_eq!(server.answers(), []);
    let writes = server.disk.writes();
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(8))]);
    store(&mut server, 7, 8, 0);
    assert_eq!(server.answers(), [(SEQUENCER, stored(8))], "present and durable: a success at once");
    assert_eq!(server.disk.writes(), writes, "written once");
}

#[test]
fn a_record_in_flight_is_lost_with_the_power_and_was_never_counted() {
    let mut server = with_records(7);
    store(&mut server, 7, 8, 0);
    store(&mut server, 7, 8, 0);
    server.restart();
    assert_eq!(server.answers(), []);
    assert_eq!(tail_of(&mut server), Offset(7));
}

#[test]
fn a_store_that_is_partly_present_gives_its_rest() {
    let mut server = with_records(3);
    store(&mut server, 1, 6, 0);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(6))]);
    for offset in 0..6 {
        assert_eq!(server.disk.record(ID, Offset(offset)), Some(name(offset)));
    }
}

#[test]
fn another_record_at_a_stored_offset_is_a_conflict() {
    let mut server = with_records(3);
    let writes = server.disk.writes();
    let other = Owned::of(&[name(1), b"something else".to_vec()]);
    let message = Message::Store { loglet: ID, first: Offset(1), known_tail: Offset(0), batch: other.batch() };
    server.send(SEQUENCER, message);
    assert_eq!(server.answers(), [(SEQUENCER, Message::Conflict { request: 0, loglet: ID, at: Offset(2) })]);
    assert_eq!(server.disk.writes(), writes);
}

#[test]
fn a_conflict_is_found_on_disk_when_memory_has_forgotten_the_record() {
    let mut server = with_records(3);
    server.restart();
    for (payload, conflicts) in [(name(2), false), (b"something else".to_vec(), true)] {
        let records = Owned::of(&[name(1), payload]);
        let message = Message::Store { loglet: ID, first: Offset(1), known_tail: Offset(0), batch: records.batch() };
        server.send(SEQUENCER, message);
        assert_eq!(server.answers(), [], "the disk is asked first");
        assert_eq!(server.serve_reads(), []);
        let expected = if conflicts { Message::Conflict { request: 0, loglet: ID, at: Offset(2) } } else { stored(3) };
        assert_eq!(server.answers(), [(SEQUENCER, expected)]);
    }
}

/// P17: a no-op is a stored record. It and an empty record have the same checksum, and are not taken for one another.
#[test]
fn a_no_op_is_stored_and_an_empty_record_in_its_place_is_a_conflict() {
    let send = |server: &mut TestServer, payload: &[u8]| {
        let records = Owned::of(&[name(1), payload.to_vec()]);
        let message = Message::Store { loglet: ID, first: Offset(1), known_tail: Offset(0), batch: records.batch() };
        server.send(SEQUENCER, message);
        server.serve_reads();
        server.answers()
    };
    let conflict = Message::Conflict { request: 0, loglet: ID, at: Offset(2) };
    for (there, other) in [(NO_OP, &b""[..]), (b"", NO_OP)] {
        let mut server = with_records(1);
        send(&mut server, there);
        server.flush();
        assert_eq!(server.answers(), [(SEQUENCER, stored(3))]);
        assert_eq!(server.disk.record(ID, Offset(2)).as_deref(), Some(there));
        for _ in 0..2 {
            assert_eq!(send(&mut server, there), [(SEQUENCER, stored(3))]);
            assert_eq!(send(&mut server, other), [(SEQUENCER, conflict.clone())]);
            server.restart();
        }
    }
}

#[test]
fn a_record_in_a_gap_or_trimmed_is_a_success_and_writes_nothing() {
    // P14: below the local tail there is nothing to compare and nothing to store.
    let mut server = with_records(2);
    store(&mut server, 5, 6, 5);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(6))]);
    let writes = server.disk.writes();
    store(&mut server, 3, 4, 5);
    assert_eq!(server.answers(), [(SEQUENCER, stored(6))]);
    assert_eq!(server.disk.writes(), writes);
    server.send(CLIENT, Message::Trim { request: 5, loglet: ID, point: Offset(2), committed: Offset(5) });
    server.flush();
    server.answers();
    let writes = server.disk.writes();
    store(&mut server, 0, 1, 5);
    assert_eq!(server.answers(), [(SEQUENCER, stored(6))]);
    assert_eq!(server.disk.writes(), writes);
}

#[test]
fn a_known_tail_lets_the_server_go_on_behind_a_gap() {
    let mut server = with_records(2);
    store(&mut server, 10, 12, 10);
    assert_eq!(server.answers(), [(SEQUENCER, stored(10))], "committed below; in flight beyond");
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(12))]);
    assert_eq!(server.core.loglets().next().unwrap().missing, 8);
}

#[test]
fn a_record_below_the_known_tail_that_is_still_on_its_way_is_stored() {
    // The other two were faster: that is no reason to have a gap.
    let mut server = with_records(2);
    store(&mut server, 2, 3, 4);
    store(&mut server, 3, 4, 4);
    server.flush();
    assert_eq!(server.disk.record(ID, Offset(2)), Some(name(2)));
    assert_eq!(server.disk.record(ID, Offset(3)), Some(name(3)));
    assert_eq!(server.core.loglets().next().unwrap().gaps, 0);
}

#[test]
fn a_slow_server_whose_stream_moves_skips_nothing() {
    let mut server = with_records(2);
    store(&mut server, 2, 3, 40);
    for offset in 3..12 {
        store(&mut server, offset, offset + 1, 40);
        server.flush();
        server.advance(server.limits.reconnect_delay);
    }
    assert_eq!(server.core.loglets().next().unwrap().gaps, 1, "only what lies ahead");
    server.advance(server.limits.reconnect_delay);
    server.advance(server.limits.reconnect_delay);
    assert_eq!(server.disk.record(ID, Offset(11)), Some(name(11)));
    server.answers();
    let asked = server.asked.pop_front().unwrap().1;
    assert!(matches!(asked, Message::Read { min: Offset(12), max: Offset(40), .. }), "{asked:?}");
}

#[test]
fn early_arrivals_wait_in_memory_for_their_predecessor() {
    let mut server = with_records(1);
    store(&mut server, 2, 3, 0);
    store(&mut server, 3, 4, 0);
    server.flush();
    assert_eq!(server.answers(), []);
    assert_eq!(tail_of(&mut server), Offset(1), "a stored record is evidence for all below it");
    assert_eq!(server.disk.record(ID, Offset(2)), None);
    store(&mut server, 1, 2, 0);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(4))]);
    assert_eq!(server.core.loglets().next().unwrap().early_bytes, 0);
}

#[test]
fn a_full_window_drops_its_highest_and_always_takes_the_next_record() {
    // L6; the window of these tests holds 200 bytes.
    let mut server = with_records(1);
    for offset in (2..40).rev() {
        store(&mut server, offset, offset + 1, 0);
    }
    let status = server.core.loglets().next().unwrap();
    assert!(status.early_bytes <= 200 && status.early_bytes > 150, "{}", status.early_bytes);
    assert_eq!(server.answers(), [(SEQUENCER, behind(0, 1, 0))], "once for all");
    store(&mut server, 1, 2, 0);
    server.flush();
    let answers = server.answers();
    assert!(matches!(answers[..], [(SEQUENCER, Message::Stored { tail: Offset(12..), .. })]), "{answers:?}");
    for offset in 1..12 {
        assert_eq!(server.disk.record(ID, Offset(offset)), Some(name(offset)), "the lowest were kept");
    }
}

#[test]
fn what_a_busy_journal_refused_is_taken_when_it_moves() {
    let mut server = with_records(1);
    server.disk.refuse = Some(Refused::Busy);
    store(&mut server, 1, 2, 0);
    assert_eq!(server.answers(), [], "it is held, and need not be sent again");
    server.disk.refuse = None;
    server.advance(server.limits.reconnect_delay);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(2))]);
}

#[test]
fn a_loglet_with_much_to_write_leaves_room_for_another() {
    let mut server = with_records(1);
    let other = LogletId { nonce: 10, ..ID };
    server.send(CLIENT, Message::Create { request: 2, config: config(other, &[1, 2, 3]) });
    server.flush();
    server.answers();
    server.disk.room = Some(0);
    (1..9).for_each(|offset| store(&mut server, offset, offset + 1, 0));
    let records = Owned::of(&[name(0)]);
    let (first, known_tail) = (Offset(0), Offset(0));
    server.send(SEQUENCER, Message::Store { loglet: other, first, known_tail, batch: records.batch() });
    // Each time there is room for one write, and two loglets want it.
    for _ in 0..2 {
        server.disk.room = Some(1);
        server.advance(server.limits.reconnect_delay);
    }
    server.flush();
    assert_eq!(server.disk.record(other, Offset(0)), Some(name(0)), "the one with a single record had its turn");
    assert_eq!(server.disk.record(ID, Offset(1)), Some(name(1)), "and so had the one with many");
}

#[test]
fn early_arrivals_that_a_busy_journal_refused_are_taken_when_it_moves() {
    let mut server = with_records(1);
    store(&mut server, 2, 3, 0);
    store(&mut server, 1, 2, 0);
    server.flush();
    server.answers();
    store(&mut server, 4, 5, 0);
    server.disk.refuse = Some(Refused::Busy);
    check_tail(&mut server, 1, 4);
    server.answers();
    server.advance(server.limits.reconnect_delay);
    assert!(server.core.loglets().next().unwrap().early_bytes > 0);
    server.disk.refuse = None;
    server.advance(server.limits.reconnect_delay);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(5))]);
}

#[test]
fn only_the_configured_incarnation_stores() {
    // P4, step 3: a process that was restarted cannot go on.
    let mut server = open();
    let records = Owned::of(&[name(0)]);
    let message = Message::Store { loglet: ID, first: Offset(0), known_tail: Offset(9), batch: records.batch() };
    server.send(STALE_SEQUENCER, message.clone());
    assert_eq!(server.answers(), [(STALE_SEQUENCER, Message::SequencerLost { request: 0, loglet: ID })]);
    server.send(CLIENT, message);
    let answers = server.answers();
    assert!(matches!(answers[..], [(CLIENT, Message::Reject { code: RejectCode::Malformed, .. })]), "{answers:?}");
    server.flush();
    assert_eq!(tail_of(&mut server), Offset(0), "nothing stored, and its known tail is not believed");
}

#[test]
fn a_sequencer_that_connects_learns_where_the_server_stands() {
    let mut server = with_records(3);
    server.restart();
    server.send(SEQUENCER, Message::KnownTail { loglet: ID, known_tail: Offset(2) });
    assert_eq!(server.answers(), [(SEQUENCER, stored(3))]);
    server.send(SEQUENCER, Message::KnownTail { loglet: ID, known_tail: Offset(3) });
    assert_eq!(server.answers(), [], "nothing new");
    server.send(SEQUENCER, Message::KnownTail { loglet: ID, known_tail: Offset(4) });
    assert_eq!(server.answers(), [(SEQUENCER, stored(4))]);
}

#[test]
fn an_absurd_offset_is_refused() {
    let mut server = open();
    check_tail(&mut server, 4, u64::MAX);
    let answers = server.answers();
    assert!(matches!(answers[..], [(CLIENT, Message::Reject { request: 4, .. })]), "{answers:?}");
    assert_eq!(tail_of(&mut server), Offset(0));
}

#[test]
fn stores_do_not_outlive_a_connection_that_is_gone() {
    let mut server = open();
    store(&mut server, 0, 1, 0);
    server.core.handle_disconnected(SEQUENCER);
    server.flush();
    assert_eq!(server.answers(), []);
    assert_eq!(tail_of(&mut server), Offset(1));
}
