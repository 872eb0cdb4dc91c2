//! A sequencer with two lanes, each on a connection of its own.

use super::*;

const OTHER_LANE: PeerId = PeerId(5);

fn with_lanes() -> TestServer {
    let mut server = open();
    server.connect(OTHER_LANE, hello(Role::Sequencer, NodeId(100), Incarnation(7)));
    server
}

fn store_on(server: &mut TestServer, lane: PeerId, from: u64, to: u64, known_tail: u64) {
    let records = Owned::of(&(from..to).map(name).collect::<Vec<_>>());
    let (first, known_tail) = (Offset(from), Offset(known_tail));
    server.send(lane, Message::Store { loglet: ID, first, known_tail, batch: records.batch() });
}

#[test]
fn each_lane_is_answered_what_it_waits_for() {
    let mut server = with_lanes();
    store_on(&mut server, OTHER_LANE, 2, 4, 0);
    store_on(&mut server, SEQUENCER, 0, 2, 0);
    server.flush();
    assert_eq!(server.answers(), [(OTHER_LANE, stored(4)), (SEQUENCER, stored(4))]);
    store_on(&mut server, SEQUENCER, 4, 6, 0);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(6))], "the other one waits for nothing");
    store_on(&mut server, OTHER_LANE, 4, 6, 6);
    assert_eq!(server.answers(), [(OTHER_LANE, stored(6))], "what is there is a success at once (P14)");
}

/// The answer of a lane that is gone is nobody's.
#[test]
fn a_lane_that_is_gone_leaves_the_others_their_answers() {
    let mut server = with_lanes();
    store_on(&mut server, OTHER_LANE, 1, 2, 0);
    store_on(&mut server, SEQUENCER, 0, 1, 0);
    server.core.handle_disconnected(SEQUENCER);
    server.flush();
    assert_eq!(server.answers(), [(OTHER_LANE, stored(2))]);
}

/// A known tail that overtakes another lane's records, which are on their way, makes no gap of them.
#[test]
fn what_another_lane_still_sends_is_waited_for() {
    let mut server = with_lanes();
    store_on(&mut server, SEQUENCER, 0, 1, 0);
    store_on(&mut server, OTHER_LANE, 2, 3, 2);
    store_on(&mut server, SEQUENCER, 1, 2, 0);
    server.flush();
    let status = server.core.loglets().next().unwrap();
    assert_eq!((status.stored_records, status.gaps), (3, 0));
}

/// P11 c: what a lane has dropped for this server is a gap once every lane has gone on beyond it.
#[test]
fn what_every_lane_has_gone_beyond_is_a_gap_at_once() {
    let mut server = with_lanes();
    store_on(&mut server, SEQUENCER, 0, 1, 0);
    store_on(&mut server, OTHER_LANE, 1, 2, 0);
    store_on(&mut server, OTHER_LANE, 7, 8, 6);
    store_on(&mut server, SEQUENCER, 6, 7, 6);
    server.flush();
    let status = server.core.loglets().next().unwrap();
    assert_eq!((status.stored_records, status.missing, status.missing_below), (4, 4, Some(Offset(6))));
}

/// L6: what was dropped may be another lane's than the one whose store had no room.
#[test]
fn a_lane_whose_early_store_was_dropped_for_another_is_told_behind() {
    let mut server = with_lanes();
    for first in 20..30 {
        store_on(&mut server, SEQUENCER, first, first + 1, 0);
    }
    assert_eq!(server.answers(), [], "there is room for these");
    for first in 5..8 {
        store_on(&mut server, OTHER_LANE, first, first + 1, 0);
    }
    assert_eq!(server.answers(), [(SEQUENCER, behind(0, 0, 0)), (OTHER_LANE, behind(0, 0, 0))]);
}

/// L1: whatever a lane does, it hears of the seal.
#[test]
fn every_lane_hears_of_a_seal() {
    let mut server = with_lanes();
    store_on(&mut server, SEQUENCER, 0, 1, 0);
    store_on(&mut server, OTHER_LANE, 1, 2, 0);
    seal(&mut server, 9);
    server.flush();
    let answers = server.answers();
    assert!(answers.contains(&(SEQUENCER, sealed(0, 2, 0))) && answers.contains(&(OTHER_LANE, sealed(0, 2, 0))));
    assert!(answers.iter().all(|(_, message)| !matches!(message, Message::Stored { .. })), "{answers:?}");
}

#[test]
fn every_lane_hears_of_a_deletion() {
    let mut server = with_lanes();
    store_on(&mut server, SEQUENCER, 0, 1, 0);
    store_on(&mut server, OTHER_LANE, 1, 2, 0);
    server.flush();
    server.answers();
    server.send(CLIENT, Message::Delete { request: 4, loglet: ID, chain_version: 9, live: Vec::new() });
    server.flush();
    let answers = server.answers();
    for lane in [SEQUENCER, OTHER_LANE] {
        assert!(answers.contains(&(lane, Message::Gone { request: 0, loglet: ID })), "{answers:?}");
    }
}
