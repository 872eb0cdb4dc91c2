//! The acceptor alone, on a journal whose writes land when the test says so.

use crate::base::{Instant, Limits, NodeId, ProposerId, RegisterId, Version};
use crate::proto::log_server::Refused;
use crate::proto::metastore::testing::{MemoryCells, decision, members};
use crate::proto::metastore::{Acceptor, RETIRED_CELL};
use crate::proto::peer::PeerId;
use crate::wire::{Ballot, Decision, Message, RegisterMessage, RejectCode, Vote};

const ONE: PeerId = PeerId(1);
const LOG: RegisterId = RegisterId(7);
const NOW: Instant = Instant::ORIGIN;

fn ballot(round: u64) -> Ballot {
    Ballot { round, proposer: ProposerId(1) }
}

fn birth() -> Decision {
    decision(0, 0, &members(&[1, 2, 3]), b"")
}

fn value(version: u64, nonce: u128) -> Decision {
    decision(version, nonce, &members(&[1, 2, 3]), &nonce.to_le_bytes())
}

struct Rig {
    acceptor: Acceptor,
    cells: MemoryCells,
}

impl Rig {
    fn blank() -> Self {
        Self { acceptor: Acceptor::new(NodeId(1), &Limits::default()), cells: MemoryCells::default() }
    }

    /// Knows the register's birth.
    fn new() -> Self {
        let mut rig = Self::blank();
        let told = rig.ask(RegisterMessage::Learn { decision: birth() });
        assert_eq!(told, [RegisterMessage::Learned { version: Version(0) }]);
        rig
    }

    fn send(&mut self, message: RegisterMessage) {
        let message = Message::Register { request: 5, register: LOG, message: Box::new(message) };
        self.acceptor.handle(ONE, message, NOW, &mut self.cells);
    }

    fn answers(&mut self) -> Vec<Message<'static>> {
        std::iter::from_fn(|| self.acceptor.poll_output()).map(|(_, message)| message).collect()
    }

    /// What is said about the register.
    fn said(&mut self) -> Vec<RegisterMessage> {
        let of = |message| match message {
            Message::Register { request: 5, register: LOG, message } => *message,
            other => panic!("{other:?}"),
        };
        self.answers().into_iter().map(of).collect()
    }

    fn land(&mut self) {
        while let Some(write) = self.cells.land() {
            self.acceptor.handle_durable(write, NOW, &mut self.cells);
        }
    }

    fn ask(&mut self, message: RegisterMessage) -> Vec<RegisterMessage> {
        self.send(message);
        self.land();
        self.said()
    }

    fn restart(&mut self, survive: usize, lost: bool) {
        self.cells.lose_power(survive);
        self.acceptor = Acceptor::new(NodeId(1), &Limits::default());
        self.acceptor.recover(&self.cells.found(), lost, NOW, &mut self.cells);
    }

    fn is_silent(&mut self, message: RegisterMessage) -> bool {
        self.send(message);
        matches!(self.answers()[..], [Message::Unavailable { .. }])
    }
}

fn query(instance: u64) -> RegisterMessage {
    RegisterMessage::Query { instance: Version(instance) }
}

fn prepare(instance: u64, round: u64) -> RegisterMessage {
    RegisterMessage::Prepare { instance: Version(instance), ballot: ballot(round) }
}

fn accept(round: u64, decision: Decision) -> RegisterMessage {
    RegisterMessage::Accept { ballot: ballot(round), decision }
}

fn promised(instance: u64, round: u64, accepted: Option<Vote>) -> RegisterMessage {
    RegisterMessage::Promised { instance: Version(instance), ballot: ballot(round), accepted }
}

fn refused(instance: u64, round: u64) -> RegisterMessage {
    RegisterMessage::Refused { instance: Version(instance), promised: ballot(round) }
}

#[test]
fn a_promise_keeps_lower_ballots_out_and_tells_what_was_accepted() {
    let mut rig = Rig::new();
    assert_eq!(rig.ask(query(1)), [RegisterMessage::State { instance: Version(1), accepted: None }]);
    assert_eq!(rig.ask(prepare(1, 2)), [promised(1, 2, None)]);
    assert_eq!(rig.ask(prepare(1, 1)), [refused(1, 2)]);
    assert_eq!(rig.ask(accept(1, value(1, 10))), [refused(1, 2)]);
    let voted = RegisterMessage::Accepted { instance: Version(1), ballot: ballot(2) };
    assert_eq!(rig.ask(accept(2, value(1, 20))), std::slice::from_ref(&voted));
    assert_eq!(rig.ask(accept(2, value(1, 20))), [voted], "sent once more after a lost connection");
    let vote = Some(Vote { ballot: ballot(2), decision: value(1, 20) });
    assert_eq!(rig.ask(query(1)), [RegisterMessage::State { instance: Version(1), accepted: vote.clone() }]);
    assert_eq!(rig.ask(prepare(1, 3)), [promised(1, 3, vote)]);
}

#[test]
fn nothing_is_answered_before_the_cell_is_durable() {
    let mut rig = Rig::new();
    for message in [prepare(1, 1), accept(1, value(1, 10)), query(1)] {
        rig.send(message);
    }
    rig.acceptor.handle(ONE, Message::Status { request: 0 }, NOW, &mut rig.cells);
    let rejected = rig.answers();
    assert!(rejected.iter().all(|message| matches!(message, Message::Reject { .. })), "{rejected:?}");
    rig.cells.land().unwrap();
    assert_eq!(rig.said(), []);
    rig.acceptor.handle_durable(crate::base::Write(2), NOW, &mut rig.cells);
    assert_eq!(rig.said(), [promised(1, 1, None)], "what the first write covers");
    rig.land();
    assert_eq!(rig.said().len(), 2, "the vote, and the state with it");
}

#[test]
fn promises_and_votes_survive_a_restart() {
    let mut rig = Rig::new();
    rig.ask(prepare(1, 4));
    rig.restart(0, false);
    assert_eq!(rig.ask(prepare(1, 3)), [refused(1, 4)]);
    rig.ask(accept(4, value(1, 10)));
    rig.restart(0, false);
    let vote = Vote { ballot: ballot(4), decision: value(1, 10) };
    assert_eq!(rig.ask(prepare(1, 5)), [promised(1, 5, Some(vote))]);
}

/// P8: an acceptor drops instance i only once it holds a decided value j >= i, and answers with that from then on.
#[test]
fn p8_b_instances_up_to_the_decision_are_answered_with_it() {
    let mut rig = Rig::new();
    rig.ask(prepare(1, 9));
    rig.ask(accept(9, value(1, 10)));
    assert_eq!(
        rig.ask(RegisterMessage::Learn { decision: value(20, 30) }),
        [RegisterMessage::Learned { version: Version(20) }]
    );
    rig.restart(0, false);
    for message in [query(1), prepare(11, 99), accept(99, value(11, 40)), query(20), query(0)] {
        assert_eq!(rig.ask(message), [RegisterMessage::Decided { decision: value(20, 30) }]);
    }
    assert_eq!(rig.ask(query(21)), [RegisterMessage::State { instance: Version(21), accepted: None }]);
    let older = RegisterMessage::Learn { decision: value(12, 50) };
    assert_eq!(rig.ask(older), [RegisterMessage::Learned { version: Version(20) }], "it never goes back");
}

#[test]
fn p8_b_the_floor_stays_after_the_node_has_left() {
    let mut rig = Rig::new();
    let moved = decision(3, 30, &members(&[4, 5, 6]), b"moved");
    rig.ask(RegisterMessage::Learn { decision: moved.clone() });
    rig.restart(0, false);
    assert_eq!(rig.ask(prepare(2, 99)), [RegisterMessage::Decided { decision: moved }]);
    rig.send(prepare(4, 99));
    assert!(matches!(rig.answers()[..], [Message::Reject { code: RejectCode::Config, .. }]), "others decide version 4");
}

#[test]
fn an_instance_too_far_is_answered_behind() {
    let mut rig = Rig::new();
    for message in [query(3), prepare(3, 1), accept(1, value(3, 10))] {
        let behind = RegisterMessage::Behind { instance: Version(3), next: Version(1) };
        assert_eq!(rig.ask(message), [behind]);
    }
    rig.ask(RegisterMessage::Learn { decision: value(2, 20) });
    assert_eq!(rig.ask(prepare(3, 1)), [promised(3, 1, None)]);
}

/// A register begins by the decision of the root register, and never by a vote (P8 a).
#[test]
fn p8_a_an_unknown_register_is_voted_on_by_nobody() {
    let mut rig = Rig::blank();
    for message in [query(1), prepare(1, 1), accept(1, value(1, 10))] {
        let behind = RegisterMessage::Behind { instance: Version(1), next: Version(0) };
        assert_eq!(rig.ask(message), [behind]);
    }
    assert!(rig.cells.durable.is_empty());
}

#[test]
fn p8_a_a_second_birth_is_refused() {
    let mut rig = Rig::new();
    rig.send(RegisterMessage::Learn { decision: decision(0, 0, &members(&[4, 5, 6]), b"") });
    assert!(matches!(rig.answers()[..], [Message::Reject { code: RejectCode::Config, .. }]));
    assert_eq!(rig.acceptor.decided(LOG), Some(&birth()));
}

#[test]
fn two_values_of_one_ballot_are_refused() {
    let mut rig = Rig::new();
    rig.ask(accept(1, value(1, 10)));
    rig.send(accept(1, value(1, 20)));
    assert!(matches!(rig.answers()[..], [Message::Reject { code: RejectCode::Config, .. }]));
}

#[test]
fn a_value_beyond_the_limit_is_refused() {
    let mut rig = Rig::new();
    let large = Decision { value: vec![0; Limits::default().register_bytes_max as usize + 1], ..value(1, 10) };
    for message in [accept(1, large.clone()), RegisterMessage::Learn { decision: large.clone() }] {
        rig.send(message);
        assert!(matches!(rig.answers()[..], [Message::Reject { code: RejectCode::Limit, .. }]));
    }
}

#[test]
fn a_refused_write_is_offered_again_and_answers_wait_for_it() {
    let mut rig = Rig::new();
    rig.cells.refuse = Some(Refused::Busy);
    rig.send(prepare(1, 1));
    rig.send(accept(1, value(1, 10)));
    let (at, _) = rig.acceptor.poll_timeout().unwrap();
    rig.cells.refuse = None;
    rig.acceptor.handle_timeout(at, &mut rig.cells);
    assert_eq!(rig.said(), []);
    assert_eq!(rig.cells.in_flight.len(), 1, "one write for both");
    rig.land();
    assert_eq!(rig.said().len(), 2);
    assert_eq!(rig.acceptor.poll_timeout(), None);
}

#[test]
fn a_failed_journal_votes_no_more() {
    let mut rig = Rig::new();
    rig.ask(RegisterMessage::Learn { decision: value(1, 10) });
    rig.send(query(2));
    rig.send(prepare(2, 1));
    rig.acceptor.handle_disk_failed();
    let answers = rig.answers();
    assert!(matches!(answers[..], [Message::Unavailable { request: 5, .. }]), "held and given out: {answers:?}");
    rig.acceptor.handle_durable(crate::base::Write(99), NOW, &mut rig.cells);
    assert_eq!(rig.answers(), []);
    for message in [query(2), prepare(2, 2), accept(2, value(2, 20)), RegisterMessage::Learn { decision: value(2, 20) }]
    {
        assert!(rig.is_silent(message));
    }
    assert_eq!(rig.ask(query(1)), [RegisterMessage::Decided { decision: value(1, 10) }], "a decision is a fact");
}

/// P10: promises cannot be brought back.
#[test]
fn p10_an_acceptor_that_lost_cells_never_votes_again() {
    let mut rig = Rig::new();
    rig.ask(prepare(1, 3));
    rig.restart(0, true);
    assert!(rig.acceptor.is_retired());
    for message in [query(1), prepare(1, 4), accept(4, value(1, 10)), RegisterMessage::Learn { decision: birth() }] {
        assert!(rig.is_silent(message));
    }
    rig.land();
    assert!(rig.cells.durable.keys().any(|key| key.kind == RETIRED_CELL));
    rig.restart(0, false);
    assert!(rig.acceptor.is_retired(), "also in later lives");
    assert!(rig.is_silent(query(1)));
}

#[test]
fn p10_a_cell_that_cannot_be_read_is_lost() {
    let mut rig = Rig::new();
    rig.cells.durable.values_mut().for_each(|value| value.truncate(20));
    rig.restart(0, false);
    assert!(rig.acceptor.is_retired());
}

#[test]
fn a_closed_connection_is_sent_nothing() {
    let mut rig = Rig::new();
    rig.send(prepare(1, 1));
    rig.acceptor.handle_disconnected(ONE);
    rig.land();
    assert_eq!(rig.answers(), []);
}
