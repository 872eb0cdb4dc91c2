//! The proposer alone, its acceptors scripted.

use std::time::Duration;

use crate::base::{Instant, Limits, NodeId, Nonce, ProposerId, RegisterId, Version};
use crate::proto::metastore::Proposer;
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, OpId, Versioned};
use crate::proto::metastore::testing::{decision, members};
use crate::wire::{Ballot, Decision, Message, RegisterMessage, Vote};

const LOG: RegisterId = RegisterId(7);
const OP: OpId = OpId(1);
const DEADLINE: Duration = Duration::from_secs(10);

struct Rig {
    proposer: Proposer,
    now: Instant,
}

fn birth() -> Decision {
    decision(0, 0, &members(&[1, 2, 3]), b"")
}

/// What another proposer writes.
fn others(version: u64, nodes: &[u128]) -> Decision {
    decision(version, 99, &members(nodes), b"others")
}

fn own(version: u64) -> Decision {
    decision(version, 11, &members(&[1, 2, 3]), b"own")
}

fn current(decision: &Decision) -> Versioned {
    let Decision { version, members, value, .. } = decision.clone();
    Versioned { version, members, value }
}

impl Rig {
    fn new() -> Self {
        let mut rig = Self { proposer: Proposer::new(ProposerId(5), 1, &Limits::default()), now: Instant::ORIGIN };
        rig.proposer.open(LOG, birth(), rig.now);
        (1..=6).for_each(|node| rig.proposer.handle_connected(NodeId(node), rig.now));
        rig
    }

    fn start(&mut self, id: u64, op: MetaStoreOp) {
        self.proposer.handle_op(OpId(id), op, Nonce(11), self.now + DEADLINE, self.now);
    }

    fn read(&mut self) {
        self.start(1, MetaStoreOp::Read { register: LOG });
    }

    fn write(&mut self, expected: u64) {
        let op = MetaStoreOp::Write {
            register: LOG,
            expected: Version(expected),
            value: b"own".to_vec(),
            members: members(&[1, 2, 3]),
        };
        self.start(1, op);
    }

    /// What this acceptor is sent, with the number of the last question.
    fn sent(&mut self, node: u128) -> (u64, Vec<RegisterMessage>) {
        let mut last = 0;
        let messages = std::iter::from_fn(|| self.proposer.poll_send(NodeId(node))).map(|message| match message {
            Message::Register { request, register: LOG, message } => {
                last = last.max(request);
                *message
            }
            other => panic!("{other:?}"),
        });
        let messages = messages.collect();
        (last, messages)
    }

    fn answer(&mut self, node: u128, request: u64, message: RegisterMessage) {
        let message = Message::Register { request, register: LOG, message: Box::new(message) };
        self.proposer.handle(NodeId(node), message, self.now);
    }

    /// These acceptors are asked something, and answer.
    fn answers(&mut self, nodes: &[u128], message: impl Fn(&RegisterMessage) -> RegisterMessage) {
        for node in nodes {
            let (request, asked) = self.sent(*node);
            let asked = asked.last().unwrap_or_else(|| panic!("{node} is asked"));
            let answer = message(asked);
            self.answer(*node, request, answer);
        }
    }

    fn result(&mut self) -> Option<MetaStoreResult> {
        self.proposer.poll_result().map(|(_, result)| result)
    }

    fn wait(&mut self) {
        self.now = self.proposer.poll_timeout().expect("something is due").0;
        self.proposer.handle_timeout(self.now);
    }
}

/// An acceptor that has accepted `vote`, or nothing, and has promised nothing else.
fn votes(vote: Option<Vote>) -> impl Fn(&RegisterMessage) -> RegisterMessage {
    move |asked| match asked.clone() {
        RegisterMessage::Query { instance } => RegisterMessage::State { instance, accepted: vote.clone() },
        RegisterMessage::Prepare { instance, ballot } => {
            RegisterMessage::Promised { instance, ballot, accepted: vote.clone() }
        }
        RegisterMessage::Accept { ballot, decision } => {
            RegisterMessage::Accepted { instance: decision.version, ballot }
        }
        RegisterMessage::Learn { decision } => RegisterMessage::Learned { version: decision.version },
        other => panic!("{other:?}"),
    }
}

fn vote(round: u64, decision: Decision) -> Option<Vote> {
    Some(Vote { ballot: Ballot { round, proposer: ProposerId(9) }, decision })
}

#[test]
fn a_write_takes_two_round_trips_and_tells_everybody() {
    let mut rig = Rig::new();
    rig.write(0);
    rig.answers(&[1, 2], votes(None));
    rig.answers(&[1, 2], votes(None));
    assert_eq!(rig.result(), Some(MetaStoreResult::Written { version: Version(1), handed_over: true }));
    for node in [1, 2, 3] {
        assert_eq!(rig.sent(node).1.last(), Some(&RegisterMessage::Learn { decision: own(1) }));
    }
}

#[test]
fn the_first_question_of_a_register_brings_its_birth() {
    let mut rig = Rig::new();
    rig.read();
    let (_, asked) = rig.sent(1);
    assert_eq!(asked, [RegisterMessage::Learn { decision: birth() }, RegisterMessage::Query { instance: Version(1) }]);
}

/// P8: nothing accepted by a majority, and the version is the answer. P8 (d): without preparing.
#[test]
fn p8_d_a_read_of_a_quiet_register_prepares_nothing() {
    let mut rig = Rig::new();
    rig.proposer.open(LOG, others(4, &[1, 2, 3]), rig.now);
    rig.read();
    for node in [1, 2, 3] {
        let (request, asked) = rig.sent(node);
        assert_eq!(asked, [RegisterMessage::Query { instance: Version(5) }]);
        if node < 3 {
            assert_eq!(rig.result(), None, "before a majority has answered");
            rig.answer(node, request, RegisterMessage::State { instance: Version(5), accepted: None });
        }
    }
    assert_eq!(rig.result(), Some(MetaStoreResult::Value(current(&others(4, &[1, 2, 3])))));
}

/// P8: from the highest decided version that anyone tells.
#[test]
fn a_read_goes_on_from_the_highest_decision_told() {
    let mut rig = Rig::new();
    rig.read();
    let newer = others(20, &[4, 5, 6]);
    let (request, _) = rig.sent(3);
    rig.answer(3, request, RegisterMessage::Decided { decision: newer.clone() });
    assert!(rig.proposer.wanted().keys().eq(&[NodeId(4), NodeId(5), NodeId(6)]));
    rig.answers(&[4, 6], votes(None));
    assert_eq!(rig.result(), Some(MetaStoreResult::Value(current(&newer))));
}

/// P8: something accepted: the instance is finished by full Paxos, and the read goes on from there.
#[test]
fn p8_d_a_read_finishes_what_is_accepted_and_goes_on() {
    let mut rig = Rig::new();
    rig.read();
    let accepted = others(1, &[4, 5, 6]);
    rig.answers(&[1], votes(vote(1, accepted.clone())));
    rig.answers(&[2], votes(None));
    assert_eq!(rig.sent(1).1, [], "whoever is writing gets time to finish");
    for _ in 0..2 {
        rig.wait();
        rig.answers(&[1], |asked| {
            assert!(matches!(asked, RegisterMessage::Query { .. }), "is looked at again");
            votes(vote(1, accepted.clone()))(asked)
        });
        rig.answers(&[2], votes(None));
    }
    rig.wait();
    rig.answers(&[1], votes(vote(1, accepted.clone())));
    rig.answers(&[2], votes(None));
    let (request, asked) = rig.sent(3);
    assert!(matches!(asked[..], [.., RegisterMessage::Accept { ref decision, .. }] if *decision == accepted));
    let RegisterMessage::Accept { ballot, .. } = asked[asked.len() - 1].clone() else { unreachable!() };
    rig.answer(3, request, RegisterMessage::Accepted { instance: Version(1), ballot });
    rig.answers(&[1], votes(None));
    assert_eq!(rig.result(), None, "members of version 1 may have decided more");
    rig.answers(&[4, 5], votes(None));
    assert_eq!(rig.result(), Some(MetaStoreResult::Value(current(&accepted))));
}

/// P8: who is about to finish is not stopped by a ballot, and the read ends as soon as he has.
#[test]
fn p8_d_a_read_sees_that_a_vote_under_way_has_been_finished() {
    let mut rig = Rig::new();
    rig.read();
    let accepted = others(1, &[1, 2, 3]);
    rig.answers(&[1, 2], votes(vote(1, accepted.clone())));
    let begun = rig.now;
    rig.wait();
    assert_eq!(rig.now.since(begun), Duration::from_millis(1));
    let (request, _) = rig.sent(2);
    rig.answer(2, request, RegisterMessage::Decided { decision: accepted.clone() });
    rig.answers(&[1, 3], votes(None));
    assert_eq!(rig.result(), Some(MetaStoreResult::Value(current(&accepted))));
}

#[test]
fn p8_d_what_only_a_minority_has_accepted_needs_no_paxos() {
    let mut rig = Rig::new();
    rig.read();
    rig.answers(&[1], votes(vote(1, others(1, &[1, 2, 3]))));
    rig.answers(&[2, 3], votes(None));
    assert_eq!(rig.result(), Some(MetaStoreResult::Value(current(&birth()))));
}

/// P8 (c): members are those that the decided version names, whatever has been accepted.
#[test]
fn p8_c_members_of_an_undecided_value_have_no_vote() {
    let mut rig = Rig::new();
    rig.write(0);
    let accepted = others(1, &[4, 5, 6]);
    rig.answers(&[1, 2], votes(vote(1, accepted)));
    for node in [4, 5, 6] {
        assert_eq!(rig.sent(node).1, []);
        let (request, asked) = rig.sent(3);
        if let Some(RegisterMessage::Accept { ballot, .. }) = asked.last() {
            (4..=6).for_each(|node| {
                rig.answer(node, request, RegisterMessage::Accepted { instance: Version(1), ballot: *ballot });
            });
        }
    }
    assert_eq!(rig.proposer.known(LOG), Some(&birth()));
}

/// P8 (e): a blank disk at an old address has another node's name, and no vote.
#[test]
fn p8_e_votes_count_by_node_not_by_address() {
    let mut rig = Rig::new();
    rig.write(0);
    rig.answers(&[1], votes(None));
    let (request, asked) = rig.sent(2);
    let RegisterMessage::Prepare { instance, ballot } = asked[asked.len() - 1].clone() else { panic!("{asked:?}") };
    for stranger in [8, 9] {
        rig.answer(stranger, request, RegisterMessage::Promised { instance, ballot, accepted: None });
    }
    rig.answer(1, request, RegisterMessage::Promised { instance, ballot, accepted: None });
    assert_eq!(rig.sent(3).1.len(), 2, "phase 1 goes on: its birth and the question");
    rig.answer(2, request, RegisterMessage::Promised { instance, ballot, accepted: None });
    assert!(matches!(rig.sent(3).1[..], [.., RegisterMessage::Accept { .. }]));
}

#[test]
fn the_vote_in_the_highest_ballot_is_proposed() {
    let mut rig = Rig::new();
    rig.write(0);
    let newer = decision(1, 98, &members(&[1, 2, 3]), b"newer");
    rig.answers(&[1], votes(vote(3, newer.clone())));
    rig.answers(&[2], votes(vote(2, others(1, &[1, 2, 3]))));
    rig.answers(&[1, 2], votes(None));
    assert_eq!(rig.result(), Some(MetaStoreResult::Conflict(current(&newer))), "it is not the own one");
}

#[test]
fn a_value_decided_by_somebody_else_for_oneself_is_written() {
    let mut rig = Rig::new();
    rig.write(0);
    rig.answers(&[1, 2], votes(None));
    let (request, _) = rig.sent(3);
    rig.answer(3, request, RegisterMessage::Decided { decision: own(1) });
    assert_eq!(rig.result(), Some(MetaStoreResult::Written { version: Version(1), handed_over: true }));
}

#[test]
fn a_write_on_an_old_version_is_a_conflict_and_proposes_nothing() {
    let mut rig = Rig::new();
    rig.proposer.open(LOG, others(4, &[1, 2, 3]), rig.now);
    rig.write(2);
    assert_eq!(rig.result(), Some(MetaStoreResult::Conflict(current(&others(4, &[1, 2, 3])))));
    assert_eq!(rig.sent(1).1, []);
}

#[test]
fn a_write_on_a_version_that_is_not_there_yet_is_a_conflict() {
    let mut rig = Rig::new();
    rig.write(3);
    rig.answers(&[1, 2], votes(None));
    assert_eq!(rig.result(), Some(MetaStoreResult::Conflict(current(&birth()))));
}

#[test]
fn an_outcome_that_nobody_can_tell_any_more_is_unknown() {
    let mut rig = Rig::new();
    rig.write(0);
    rig.answers(&[1, 2], votes(None));
    let (request, _) = rig.sent(1);
    rig.answer(1, request, RegisterMessage::Decided { decision: others(2, &[1, 2, 3]) });
    assert_eq!(rig.result(), Some(MetaStoreResult::Unknown));
}

#[test]
fn at_the_deadline_a_write_is_unknown_only_if_it_may_have_been_accepted() {
    let mut rig = Rig::new();
    rig.write(0);
    rig.answers(&[1], votes(None));
    rig.wait();
    let Some(MetaStoreResult::Unavailable { reason }) = rig.result() else { panic!("nothing was proposed") };
    assert!(reason.contains("2 of 3 members"), "{reason}");
    rig.write(0);
    rig.answers(&[2, 3], votes(None));
    rig.wait();
    assert_eq!(rig.result(), Some(MetaStoreResult::Unknown));
}

#[test]
fn refused_ballots_are_followed_by_higher_ones_after_growing_pauses() {
    let mut rig = Rig::new();
    rig.write(0);
    let mut pauses = Vec::new();
    let mut last = 0;
    for attempt in 0..12 {
        let promised = Ballot { round: 100 * (attempt + 1), proposer: ProposerId(9) };
        rig.answers(&[1], |asked| {
            let RegisterMessage::Prepare { instance, ballot } = *asked else { panic!("{asked:?}") };
            assert!(ballot.round > last, "a round is never used again");
            RegisterMessage::Refused { instance, promised }
        });
        last = promised.round;
        let begin = rig.now;
        rig.wait();
        pauses.push(rig.now - begin);
    }
    let base = Limits::default().reconnect_delay;
    assert!(pauses[0] <= base && pauses.iter().all(|pause| *pause <= 64 * base));
    assert!(pauses[7..].iter().any(|pause| *pause > 16 * base), "{pauses:?}");
}

#[test]
fn a_member_without_the_decision_before_is_told_and_asked_again() {
    let mut rig = Rig::new();
    rig.proposer.open(LOG, others(4, &[1, 2, 3]), rig.now);
    rig.read();
    let (request, _) = rig.sent(1);
    rig.answer(1, request, RegisterMessage::Behind { instance: Version(5), next: Version(2) });
    let expected =
        [RegisterMessage::Learn { decision: others(4, &[1, 2, 3]) }, RegisterMessage::Query { instance: Version(5) }];
    assert_eq!(rig.sent(1).1, expected);
    // One that does not learn is not told for ever.
    rig.answer(1, request, RegisterMessage::Behind { instance: Version(5), next: Version(2) });
    assert_eq!(rig.sent(1).1, []);
    rig.wait();
    assert_eq!(rig.sent(1).1, [RegisterMessage::Query { instance: Version(5) }]);
}

#[test]
fn a_lost_connection_and_a_refusal_are_asked_again() {
    let mut rig = Rig::new();
    rig.write(0);
    let before = rig.sent(1);
    rig.proposer.handle_disconnected(NodeId(1), rig.now);
    assert_eq!(rig.sent(1).1, []);
    rig.proposer.handle_connected(NodeId(1), rig.now);
    assert_eq!(rig.sent(1), before);
    let refusal = Message::Unavailable { request: before.0, loglet: LOG.key(), reason: "busy" };
    rig.proposer.handle(NodeId(1), refusal, rig.now);
    rig.wait();
    assert_eq!(rig.sent(1), before);
    // Who has answered is not asked again.
    rig.answers(&[2], votes(None));
    rig.proposer.handle_connected(NodeId(2), rig.now);
    assert_eq!(rig.sent(2).1, []);
}

/// The members of the version before may go as soon as a majority of the new ones knows of it, and no sooner.
#[test]
fn a_write_that_moves_the_register_ends_when_its_members_know() {
    let mut rig = Rig::new();
    let op = MetaStoreOp::Write {
        register: LOG,
        expected: Version(0),
        value: b"own".to_vec(),
        members: members(&[4, 5, 6]),
    };
    rig.start(1, op.clone());
    rig.answers(&[1, 2], votes(None));
    rig.answers(&[1, 2], votes(None));
    rig.answers(&[4], votes(None));
    assert_eq!(rig.result(), None);
    rig.answers(&[6], votes(None));
    assert_eq!(rig.result(), Some(MetaStoreResult::Written { version: Version(1), handed_over: true }));
    let mut rig = Rig::new();
    rig.start(1, op);
    rig.answers(&[1, 2], votes(None));
    rig.answers(&[1, 2], votes(None));
    rig.wait();
    assert_eq!(rig.result(), Some(MetaStoreResult::Written { version: Version(1), handed_over: false }));
}

#[test]
fn operations_on_a_register_run_one_after_another_and_their_deadlines_run_at_once() {
    let mut rig = Rig::new();
    rig.read();
    rig.start(2, MetaStoreOp::Read { register: LOG });
    rig.answers(&[1, 2], votes(None));
    assert!(matches!(rig.proposer.poll_result(), Some((OP, MetaStoreResult::Value(_)))));
    assert_eq!(rig.result(), None);
    rig.start(3, MetaStoreOp::Read { register: LOG });
    rig.wait();
    let ended: Vec<_> = std::iter::from_fn(|| rig.proposer.poll_result()).collect();
    assert!(matches!(
        ended[..],
        [(OpId(3), MetaStoreResult::Unavailable { .. }), (OpId(2), MetaStoreResult::Unavailable { .. })]
    ));
}

#[test]
fn what_no_register_can_hold_is_refused_at_once() {
    let mut rig = Rig::new();
    let write = |value: Vec<u8>, nodes: &[u128]| MetaStoreOp::Write {
        register: LOG,
        expected: Version(0),
        value,
        members: members(nodes),
    };
    let limit = Limits::default().register_bytes_max;
    let large = vec![7; limit as usize + 1];
    rig.start(1, write(large.clone(), &[1]));
    let refused = MetaStoreResult::TooLarge { limit, value: large };
    assert_eq!(rig.result(), Some(refused));
    for nodes in [&[][..], &[1, 1]] {
        rig.start(1, write(vec![], nodes));
        assert_eq!(rig.result(), Some(MetaStoreResult::InvalidMembers));
    }
    rig.start(1, MetaStoreOp::Read { register: RegisterId(8) });
    assert_eq!(rig.result(), Some(MetaStoreResult::UnknownRegister));
}

fn prepare(rig: &mut Rig, id: u64, expected: u64) {
    rig.start(id, MetaStoreOp::Prepare { register: LOG, expected: Version(expected) });
}

/// What a write asks first: phase 2 at once, or phase 1.
fn begins_with_accept(rig: &mut Rig) -> bool {
    let (_, asked) = rig.sent(1);
    matches!(asked.last(), Some(RegisterMessage::Accept { .. }))
}

#[test]
fn a_prepared_write_takes_one_round_trip() {
    let mut rig = Rig::new();
    prepare(&mut rig, 9, 0);
    rig.answers(&[1, 2], votes(None));
    assert_eq!(rig.result(), Some(MetaStoreResult::Prepared));
    rig.write(0);
    assert!(begins_with_accept(&mut rig));
}

/// A ballot is for one value: what was promised for one write is nothing for the next.
#[test]
fn a_promise_serves_one_write_of_one_instance() {
    let mut rig = Rig::new();
    prepare(&mut rig, 9, 0);
    rig.answers(&[1, 2], votes(None));
    rig.result();
    rig.write(0);
    rig.answers(&[1, 2], votes(None));
    assert!(matches!(rig.result(), Some(MetaStoreResult::Written { .. })));
    rig.write(1);
    assert!(!begins_with_accept(&mut rig));
    let mut rig = Rig::new();
    prepare(&mut rig, 9, 0);
    rig.answers(&[1, 2], votes(None));
    rig.result();
    rig.answer(1, 0, RegisterMessage::Decided { decision: others(1, &[1, 2, 3]) });
    rig.write(1);
    assert!(!begins_with_accept(&mut rig), "the promise was for another instance");
}

/// What somebody has had accepted must not be overwritten: the write looks at it again.
#[test]
fn a_write_behind_an_accepted_value_is_not_taken_for_prepared() {
    let mut rig = Rig::new();
    let vote = Vote { ballot: Ballot { round: 1, proposer: ProposerId(4) }, decision: others(1, &[1, 2, 3]) };
    prepare(&mut rig, 9, 0);
    rig.answers(&[1, 2], votes(Some(vote)));
    assert_eq!(rig.result(), Some(MetaStoreResult::Prepared));
    rig.write(0);
    assert!(!begins_with_accept(&mut rig));
}

#[test]
fn a_refused_promise_is_left_to_the_write() {
    let mut rig = Rig::new();
    prepare(&mut rig, 9, 0);
    let promised = Ballot { round: 8, proposer: ProposerId(4) };
    rig.answers(&[1], |_| RegisterMessage::Refused { instance: Version(1), promised });
    assert_eq!(rig.result(), Some(MetaStoreResult::Prepared));
    rig.write(0);
    assert!(!begins_with_accept(&mut rig));
}
