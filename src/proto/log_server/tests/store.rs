use super::*;
use crate::proto::log_server::Refused;
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
