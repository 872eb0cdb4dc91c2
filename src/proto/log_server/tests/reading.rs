use super::*;
use crate::proto::testing::Delivery;
use crate::wire::RejectCode;

fn read(server: &mut TestServer, min: u64, max: u64, limit: u64, bytes_max: u32) {
    let (min, max, limit) = (Offset(min), Offset(max), Offset(limit));
    server.send(CLIENT, Message::Read { request: 8, loglet: ID, min, max, limit, bytes_max });
}

fn subscribe(server: &mut TestServer, request: u64, from: u64, limit: u64, credit: u32) {
    let (from, limit) = (Offset(from), Offset(limit));
    server.send(CLIENT, Message::Subscribe { request, loglet: ID, from, limit, credit });
}

fn delivery(request: u64, from: u64, to: u64) -> Delivery {
    Delivery { peer: CLIENT, request, first: Offset(from), payloads: (from..to).map(name).collect() }
}

fn gap(request: u64, from: u64, to: u64) -> Message<'static> {
    Message::Gap { request, loglet: ID, from: Offset(from), to: Offset(to) }
}

#[test]
fn a_read_ends_below_limit_and_known_tail() {
    // P1: what is stored and not known to be committed is not shown.
    let mut server = with_records(6);
    read(&mut server, 0, 9, 2, 99);
    assert_eq!(server.serve_reads(), [delivery(8, 0, 2)]);
    read(&mut server, 2, 9, 2, 99);
    assert_eq!(server.answers(), [(CLIENT, behind(8, 6, 0))]);
    check_tail(&mut server, 1, 4);
    server.answers();
    read(&mut server, 2, 9, 2, 99);
    assert_eq!(server.serve_reads(), [delivery(8, 2, 4)]);
    read(&mut server, 1, 3, 99, 99);
    assert_eq!(server.serve_reads(), [delivery(8, 1, 3)], "and below the reader's own end");
}

#[test]
fn a_record_in_flight_is_not_shown() {
    let mut server = with_records(2);
    store(&mut server, 2, 3, 0);
    read(&mut server, 2, 9, 9, 99);
    assert_eq!(server.disk.reads_waiting(), 0);
    assert_eq!(server.answers(), [(CLIENT, behind(8, 2, 0))]);
}

#[test]
fn a_read_never_goes_over_a_gap() {
    // P17.
    let mut server = with_records(2);
    store(&mut server, 5, 7, 5);
    server.flush();
    server.answers();
    read(&mut server, 0, 9, 7, 99);
    assert_eq!(server.serve_reads(), [delivery(8, 0, 2)]);
    read(&mut server, 3, 9, 7, 99);
    assert_eq!(server.answers(), [(CLIENT, gap(8, 3, 5))]);
    read(&mut server, 5, 9, 7, 99);
    assert_eq!(server.serve_reads(), [delivery(8, 5, 7)]);
    read(&mut server, 7, 9, 9, 99);
    assert_eq!(server.answers(), [(CLIENT, behind(8, 7, 5))]);
}

#[test]
fn a_read_below_the_trim_point_says_so() {
    let mut server = with_records(4);
    server.send(CLIENT, Message::Trim { request: 1, loglet: ID, point: Offset(3), committed: Offset(4) });
    server.flush();
    server.answers();
    read(&mut server, 2, 9, 4, 99);
    assert_eq!(server.answers(), [(CLIENT, Message::Trimmed { request: 8, loglet: ID, trim_point: Offset(3) })]);
}

#[test]
fn a_subscription_follows_the_known_tail() {
    let mut server = open();
    subscribe(&mut server, 5, 0, 0, 10_000);
    store(&mut server, 0, 1, 0);
    store(&mut server, 1, 2, 0);
    server.flush();
    assert_eq!(server.serve_reads(), [], "stored, not committed");
    server.send(SEQUENCER, Message::KnownTail { loglet: ID, known_tail: Offset(1) });
    assert_eq!(server.serve_reads(), [delivery(5, 0, 1)]);
    server.send(SEQUENCER, Message::KnownTail { loglet: ID, known_tail: Offset(3) });
    assert_eq!(server.serve_reads(), [delivery(5, 1, 2)]);
    store(&mut server, 2, 3, 3);
    assert_eq!(server.serve_reads(), [], "in flight here, though committed elsewhere: that is no gap");
    server.flush();
    assert_eq!(server.serve_reads(), [delivery(5, 2, 3)]);
    assert!(!server.answers().iter().any(|(_, answer)| matches!(answer, Message::Gap { .. })));
}

#[test]
fn a_subscription_stops_when_its_credit_is_used() {
    let mut server = with_records(6);
    subscribe(&mut server, 5, 0, 6, 1);
    assert_eq!(server.serve_reads(), [delivery(5, 0, 1)], "one record is always sent");
    server.send(CLIENT, Message::Credit { request: 5, loglet: ID, limit: Offset(6), bytes: 10 });
    assert_eq!(server.serve_reads(), [], "the debt comes first");
    server.send(CLIENT, Message::Credit { request: 5, loglet: ID, limit: Offset(3), bytes: 40 });
    assert_eq!(server.serve_reads(), [delivery(5, 1, 3), delivery(5, 3, 4)], "a limit is never taken back");
}

#[test]
fn a_subscription_reads_one_thing_at_a_time() {
    let mut server = with_records(20);
    subscribe(&mut server, 5, 0, 20, 100_000);
    assert_eq!(server.disk.reads_waiting(), 1);
    server.send(SEQUENCER, Message::KnownTail { loglet: ID, known_tail: Offset(20) });
    assert_eq!(server.disk.reads_waiting(), 1);
    let deliveries = server.serve_reads();
    assert!(deliveries.len() > 2, "read_bytes_max is small here");
    let payloads: Vec<_> = deliveries.into_iter().flat_map(|delivery| delivery.payloads).collect();
    assert_eq!(payloads, (0..20).map(name).collect::<Vec<_>>());
}

#[test]
fn a_subscription_ends_with_the_seal_after_all_that_may_be_read() {
    // L5.
    let mut server = with_records(4);
    subscribe(&mut server, 5, 0, 3, 10_000);
    assert_eq!(server.serve_reads(), [delivery(5, 0, 3)]);
    seal(&mut server, 1);
    assert_eq!(server.answers(), [], "P2 holds for subscriptions too");
    server.flush();
    let answers = server.answers();
    assert!(answers.contains(&(CLIENT, sealed(5, 4, 0))), "{answers:?}");
    subscribe(&mut server, 6, 3, 4, 10_000);
    assert_eq!(server.serve_reads(), [delivery(6, 3, 4)], "the client goes on with limit = stop");
    assert_eq!(server.answers(), [(CLIENT, sealed(6, 4, 0))]);
}

#[test]
fn a_subscription_ends_at_a_gap_at_a_trim_and_with_the_deletion() {
    let mut server = with_records(2);
    store(&mut server, 5, 6, 5);
    server.flush();
    server.answers();
    subscribe(&mut server, 5, 0, 2, 10_000);
    assert_eq!(server.serve_reads(), [delivery(5, 0, 2)]);
    assert_eq!(server.answers(), [(CLIENT, gap(5, 2, 5))]);
    subscribe(&mut server, 6, 6, 6, 10_000);
    server.send(CLIENT, Message::Delete { request: 1, loglet: ID, chain_version: 9, live: Vec::new() });
    server.flush();
    let answers = server.answers();
    assert!(answers.contains(&(CLIENT, Message::Gone { request: 6, loglet: ID })), "{answers:?}");
}

#[test]
fn nothing_is_read_for_a_peer_that_does_not_take_what_it_is_sent() {
    let mut server = with_records(6);
    server.core.pause_peer(CLIENT);
    subscribe(&mut server, 5, 0, 6, 100_000);
    assert_eq!(server.disk.reads_waiting(), 0);
    server.core.resume_peer(CLIENT, server.now, &mut server.disk);
    let delivered: usize = server.serve_reads().iter().map(|delivery| delivery.payloads.len()).sum();
    assert_eq!(delivered, 6);
}

#[test]
fn subscriptions_take_turns_where_reads_are_bounded() {
    let mut server = with_records(6);
    let reads_max = server.limits.reads_per_connection_max as usize;
    let subscriptions = 3 * reads_max;
    (0..subscriptions as u64).for_each(|request| subscribe(&mut server, request, 0, 6, 100_000));
    assert_eq!(server.disk.reads_waiting(), reads_max);
    let mut delivered = vec![0; subscriptions];
    for delivery in server.serve_reads() {
        delivered[delivery.request as usize] += delivery.payloads.len();
    }
    assert_eq!(delivered, vec![6; subscriptions]);
}

#[test]
fn a_client_ends_its_subscription() {
    let mut server = with_records(2);
    subscribe(&mut server, 5, 0, 2, 10_000);
    subscribe(&mut server, 5, 0, 0, 0);
    assert_eq!(server.serve_reads(), [], "a read that was under way is not delivered");
    assert_eq!(server.core.loglets().next().unwrap().subscriptions, 0);
}

#[test]
fn subscriptions_of_a_connection_are_bounded() {
    let mut server = with_records(2);
    for request in 0..256 {
        subscribe(&mut server, request, 2, 2, 1);
    }
    subscribe(&mut server, 256, 2, 2, 1);
    let answers = server.answers();
    assert!(matches!(answers[..], [(CLIENT, Message::Reject { request: 256, code: RejectCode::Limit, .. })]));
    subscribe(&mut server, 7, 0, 0, 0);
    subscribe(&mut server, 256, 2, 2, 1);
    assert_eq!(server.answers(), []);
}

#[test]
fn damaged_records_are_a_gap_and_never_served() {
    let mut server = with_records(6);
    server.disk.damaged.push((ID, Offset(2), Offset(4)));
    read(&mut server, 2, 9, 6, 99);
    assert_eq!(server.serve_reads(), []);
    assert_eq!(server.answers(), [(CLIENT, gap(8, 2, 4))]);
    server.disk.damaged.push((ID, Offset(4), Offset(6)));
    read(&mut server, 4, 9, 6, 99);
    assert_eq!(server.serve_reads(), []);
    assert_eq!(server.answers(), [(CLIENT, gap(8, 4, 6))]);
    assert_eq!(tail_of(&mut server), Offset(6), "tails stand (P10)");
}

/// L3: the sequencer is told whether somebody waits here for the known tail.
#[test]
fn an_answer_to_stores_says_whether_somebody_follows() {
    let mut server = with_records(1);
    subscribe(&mut server, 5, 0, 0, 4096);
    store(&mut server, 1, 2, 0);
    server.flush();
    let followed = Message::Stored { loglet: ID, tail: Offset(2), followed: true };
    assert_eq!(server.answers(), [(SEQUENCER, followed)]);
    subscribe(&mut server, 5, 0, 0, 0);
    store(&mut server, 2, 3, 0);
    server.flush();
    assert_eq!(server.answers(), [(SEQUENCER, stored(3))], "the subscription has ended");
}
