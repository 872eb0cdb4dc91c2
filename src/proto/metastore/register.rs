use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::contract::{MetaStoreResult, Versioned};
use super::link::Shared;
use super::operation::{Kind, Operation, Phase};
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, NodeId, RegisterId, Version, quorum};
use crate::wire::{Ballot, Decision, RegisterMessage, Vote};

/// How long a proposer whose vote is under way is given before it is asked about again, once and then twice as long; all this before it is
/// stopped by a ballot of one's own.
const LOOK_PAUSE: Duration = Duration::from_millis(1);
const LOOKS_MAX: u32 = 2;

/// One register, as a proposer knows it.
#[derive(Clone, Hash, Debug)]
pub(super) struct Register {
    id: RegisterId,
    /// The highest decision known. Its members, and nobody else, vote in the instance after it (P8 c).
    pub(super) known: Decision,
    /// No ballot of this or a lower round is proposed with: the highest round heard of or used.
    round: u64,
    /// Whether there has ever been an operation.
    pub(super) used: bool,
    active: Option<Operation>,
    waiting: VecDeque<Operation>,
    /// A majority has promised this ballot in this instance, and had accepted nothing: whatever is proposed with it first is all that is.
    promised: Option<(Version, Ballot)>,
}

fn versioned(decision: &Decision) -> Versioned {
    let Decision { version, members, value, .. } = decision.clone();
    Versioned { version, members, value }
}

/// Whether both name the same nodes.
fn same_nodes(one: &Decision, other: &Decision) -> bool {
    one.members.len() == other.members.len() && one.members.iter().all(|member| other.names(member.node))
}

impl Register {
    pub(super) fn new(id: RegisterId, known: Decision) -> Self {
        Self { id, known, round: 0, used: false, active: None, waiting: VecDeque::new(), promised: None }
    }

    /// The operation is begun, when those before it have ended.
    pub(super) fn start(&mut self, operation: Operation, shared: &mut Shared) {
        self.used = true;
        self.waiting.push_back(operation);
        self.next(shared);
    }

    fn next(&mut self, shared: &mut Shared) {
        if self.active.is_none() {
            self.active = self.waiting.pop_front();
            self.go_on(shared);
        }
    }

    fn end(&mut self, result: MetaStoreResult, shared: &mut Shared) {
        let operation = self.active.take().expect("an operation is under way");
        shared.results.push_back((operation.id, result));
        self.next(shared);
    }

    /// A version is decided. A fact for ever, whoever tells it.
    pub(super) fn learn(&mut self, decision: Decision, shared: &mut Shared) {
        if decision.version > self.known.version {
            self.known = decision;
            self.go_on(shared);
        }
    }

    /// What the operation does next, from the decision now known on.
    fn go_on(&mut self, shared: &mut Shared) {
        let Some(operation) = &mut self.active else { return };
        (operation.prepare_at, operation.look_at, operation.looks) = (None, None, 0);
        let known = self.known.version;
        match &operation.kind {
            // Also after an instance was finished: there may be newer ones, with other members.
            Kind::Read => self.ask(shared),
            Kind::Prepare(instance) if known.next() == *instance => self.prepare(shared),
            Kind::Prepare(_) => self.end(MetaStoreResult::Prepared, shared),
            Kind::Write { own } if known.next() < own.version => self.ask(shared),
            Kind::Write { own } if known.next() == own.version => {
                operation.moves = !same_nodes(own, &self.known);
                let own = own.clone();
                // Taken out: a ballot is for one value.
                match self.promised.take().filter(|(instance, _)| *instance == own.version) {
                    Some((_, ballot)) => self.accept(ballot, own, shared),
                    None => self.prepare(shared),
                }
            }
            Kind::Write { own } if known == own.version => {
                let is_own = own.nonce == self.known.nonce || mutants::is(Mutant::WrittenWithoutNonce);
                match (is_own, operation.moves) {
                    (true, false) => {
                        self.end(MetaStoreResult::Written { version: known, handed_over: true }, shared);
                    }
                    (true, true) => self.hand_over(shared),
                    (false, _) => self.end(MetaStoreResult::Conflict(versioned(&self.known)), shared),
                }
            }
            Kind::Write { own } => {
                let result = match (&operation.phase, operation.maybe_accepted) {
                    // A majority of the new members has voted on the version after it.
                    (Phase::HandingOver { .. }, _) => {
                        MetaStoreResult::Written { version: own.version, handed_over: true }
                    }
                    // Whose value the version in between was, nobody can tell any more.
                    (_, true) => MetaStoreResult::Unknown,
                    (_, false) => MetaStoreResult::Conflict(versioned(&self.known)),
                };
                self.end(result, shared);
            }
        }
    }

    fn enter(&mut self, phase: Phase, shared: &mut Shared) {
        let operation = self.active.as_mut().expect("an operation is under way");
        operation.phase = phase;
        operation.taught.clear();
        let members: Vec<NodeId> = self.known.members.iter().map(|member| member.node).collect();
        members.into_iter().for_each(|node| self.ask_again(node, shared));
    }

    /// Asks a member what it has not answered.
    fn ask_again(&mut self, node: NodeId, shared: &mut Shared) {
        if !self.known.names(node) {
            return;
        }
        let Some((request, message)) = self.active.as_ref().and_then(|active| active.question(node, &self.known))
        else {
            return;
        };
        // Nobody has told the acceptors of a new register that it is there: so that this costs no round trip, with the question.
        if self.known.version == Version::BIRTH && !matches!(message, RegisterMessage::Learn { .. }) {
            self.teach(node, shared);
        }
        shared.send(node, request, self.id, message);
    }

    /// The connection is a new one, or a pause is over.
    pub(super) fn ask_afresh(&mut self, node: NodeId, shared: &mut Shared) {
        if let Some(operation) = &mut self.active {
            operation.taught.remove(&node);
        }
        self.ask_again(node, shared);
    }

    /// Tells an acceptor the decision before the instance, once in a phase and on a connection. Returns whether it was told now.
    fn teach(&mut self, node: NodeId, shared: &mut Shared) -> bool {
        let told = self.active.as_mut().is_some_and(|operation| operation.taught.insert(node));
        if told {
            shared.send(node, 0, self.id, RegisterMessage::Learn { decision: self.known.clone() });
        }
        told
    }

    fn ask(&mut self, shared: &mut Shared) {
        let request = shared.take_request();
        self.enter(Phase::Asking { request, answers: BTreeMap::new() }, shared);
    }

    fn prepare(&mut self, shared: &mut Shared) {
        self.round += 1;
        let ballot = Ballot { round: self.round, proposer: shared.id };
        let request = shared.take_request();
        self.enter(Phase::Preparing { request, ballot, promises: BTreeMap::new() }, shared);
    }

    fn accept(&mut self, ballot: Ballot, decision: Decision, shared: &mut Shared) {
        assert_eq!(decision.version, self.known.version.next(), "the instance is the one after the decision");
        let operation = self.active.as_mut().expect("an operation is under way");
        operation.prepare_at = None;
        operation.maybe_accepted |= operation.own(decision.version).is_some_and(|own| own.nonce == decision.nonce);
        let request = shared.take_request();
        self.enter(Phase::Accepting { request, ballot, decision, accepted: BTreeSet::new() }, shared);
    }

    fn hand_over(&mut self, shared: &mut Shared) {
        let request = shared.take_request();
        self.enter(Phase::HandingOver { request, learned: BTreeSet::new() }, shared);
    }

    /// What an acceptor has said.
    pub(super) fn heard(&mut self, from: NodeId, request: u64, message: RegisterMessage, shared: &mut Shared) {
        if let RegisterMessage::Decided { decision } = message {
            return self.learn(decision, shared);
        }
        self.note_round(&message);
        let asked = self.active.as_ref().and_then(Operation::request);
        // Votes count by node, among those that the decision before the instance names (P8 c, e).
        if asked != Some(request) || !self.known.names(from) {
            return;
        }
        if let Some(link) = shared.links.get_mut(&from) {
            link.refusal = None;
        }
        match message {
            RegisterMessage::Behind { .. } => match self.teach(from, shared) {
                true => self.ask_again(from, shared),
                // It has been told, and does not know: it cannot take it now.
                false => shared.pause(from, "it does not take the decision before the instance"),
            },
            RegisterMessage::Refused { .. } => self.refused(shared),
            _ => self.vote(from, message, shared),
        }
    }

    fn note_round(&mut self, message: &RegisterMessage) {
        let round = match message {
            RegisterMessage::Refused { promised, .. } => promised.round,
            RegisterMessage::State { accepted: Some(vote), .. }
            | RegisterMessage::Promised { accepted: Some(vote), .. } => vote.ballot.round,
            _ => 0,
        };
        self.round = self.round.max(round);
    }

    /// Another proposer has a higher ballot: it gets time to finish.
    fn refused(&mut self, shared: &mut Shared) {
        if self.active.as_ref().is_some_and(|operation| matches!(operation.kind, Kind::Prepare(_))) {
            return self.end(MetaStoreResult::Prepared, shared);
        }
        if let Some(operation) = self.active.as_mut().filter(|operation| operation.prepare_at.is_none()) {
            operation.prepare_at = Some(shared.now + shared.backoff(operation.attempts));
            operation.attempts += 1;
        }
    }

    fn vote(&mut self, from: NodeId, message: RegisterMessage, shared: &mut Shared) {
        let instance = self.known.version.next();
        let Some(operation) = &mut self.active else { return };
        match (&mut operation.phase, message) {
            (Phase::Asking { answers, .. }, RegisterMessage::State { instance: of, accepted }) if of == instance => {
                answers.insert(from, accepted.is_some());
                if let Some(vote) = accepted
                    && mutants::is(Mutant::MembersFromUndecided)
                {
                    return self.learn(vote.decision, shared);
                }
                self.count_answers(shared);
            }
            (
                Phase::Preparing { ballot, promises, .. },
                RegisterMessage::Promised { instance: of, ballot: promised, accepted },
            ) if of == instance && promised == *ballot => {
                promises.insert(from, accepted);
                self.count_promises(shared);
            }
            (Phase::Accepting { ballot, accepted, .. }, RegisterMessage::Accepted { instance: of, ballot: voted })
                if of == instance && voted == *ballot =>
            {
                accepted.insert(from);
                self.count_votes(shared);
            }
            (Phase::HandingOver { learned, .. }, RegisterMessage::Learned { version })
                if version >= self.known.version =>
            {
                learned.insert(from);
                if learned.len() >= quorum(self.known.members.len()) {
                    self.end(MetaStoreResult::Written { version: self.known.version, handed_over: true }, shared);
                }
            }
            _ => {}
        }
    }

    fn count_answers(&mut self, shared: &mut Shared) {
        let majority = quorum(self.known.members.len());
        let Some(Operation { phase: Phase::Asking { answers, .. }, .. }) = &self.active else { return };
        let nothing = answers.values().filter(|accepted| !**accepted).count();
        let enough = if mutants::is(Mutant::ReadWithoutQuorum) { 1 } else { majority };
        if nothing >= enough {
            self.is_newest(shared);
        } else if answers.len() >= majority {
            // Perhaps somebody is about to finish it, whom to prepare now would stop (P8 d).
            self.refused(shared);
            let operation = self.active.as_mut().expect("a question is asked for an operation that goes on");
            if operation.looks < LOOKS_MAX {
                operation.look_at = Some(shared.now + LOOK_PAUSE * (1 << operation.looks));
                operation.looks += 1;
            }
        }
    }

    /// No newer version had been decided when the question was asked.
    fn is_newest(&mut self, shared: &mut Shared) {
        let operation = self.active.as_ref().expect("an operation is under way");
        let newest = versioned(&self.known);
        let result = match operation.kind {
            Kind::Read => MetaStoreResult::Value(newest),
            Kind::Prepare(_) => MetaStoreResult::Prepared,
            Kind::Write { .. } => MetaStoreResult::Conflict(newest),
        };
        self.end(result, shared);
    }

    fn count_promises(&mut self, shared: &mut Shared) {
        let instance = self.known.version.next();
        let Some(operation) = &self.active else { return };
        let Phase::Preparing { ballot, promises, .. } = &operation.phase else { return };
        if promises.len() < quorum(self.known.members.len()) {
            return;
        }
        let ballot = *ballot;
        let accepted: Option<&Vote> = promises.values().flatten().max_by_key(|vote| vote.ballot);
        let accepted = accepted.map(|vote| &vote.decision).filter(|_| !mutants::is(Mutant::IgnoreAcceptedValue));
        if matches!(operation.kind, Kind::Prepare(_)) {
            // What somebody has proposed is for the write to finish, which begins with a ballot of its own.
            self.promised = accepted.is_none().then_some((instance, ballot));
            return self.end(MetaStoreResult::Prepared, shared);
        }
        match accepted.or(operation.own(instance)).cloned() {
            Some(decision) => self.accept(ballot, decision, shared),
            // Nothing can have been decided.
            None => self.is_newest(shared),
        }
    }

    fn count_votes(&mut self, shared: &mut Shared) {
        let Some(Operation { phase: Phase::Accepting { decision, accepted, .. }, .. }) = &self.active else { return };
        if accepted.len() < quorum(self.known.members.len()) {
            return;
        }
        let decision = decision.clone();
        let nodes = self.known.members.iter().chain(&decision.members).map(|member| member.node);
        for node in nodes.collect::<BTreeSet<_>>() {
            shared.send(node, 0, self.id, RegisterMessage::Learn { decision: decision.clone() });
        }
        if mutants::is(Mutant::ReadEndsAtFinished)
            && self.active.as_ref().is_some_and(|operation| matches!(operation.kind, Kind::Read))
        {
            self.known = decision;
            return self.is_newest(shared);
        }
        self.learn(decision, shared);
    }

    /// When [`Register::time_passed`] is due, and what for.
    pub(super) fn timeout(&self) -> Option<(Instant, &'static str)> {
        let prepare =
            self.active.as_ref().and_then(|operation| operation.look_at.into_iter().chain(operation.prepare_at).min());
        let prepare = prepare.map(|at| (at, "proposer: the next ballot"));
        let operations = self.active.iter().chain(&self.waiting);
        let deadline = operations.map(|operation| (operation.deadline, "proposer: an operation has taken too long"));
        deadline.chain(prepare).min_by_key(|(at, _)| *at)
    }

    pub(super) fn time_passed(&mut self, shared: &mut Shared) {
        let now = shared.now;
        let (over, waiting): (VecDeque<Operation>, _) =
            self.waiting.drain(..).partition(|operation| operation.deadline <= now);
        self.waiting = waiting;
        for operation in over {
            let reason = format!("an operation before it on {} has taken too long", self.id);
            shared.results.push_back((operation.id, MetaStoreResult::Unavailable { reason }));
        }
        let Some(operation) = &mut self.active else { return };
        if operation.deadline <= now {
            let result = match (&operation.phase, operation.maybe_accepted) {
                (Phase::HandingOver { .. }, _) => {
                    MetaStoreResult::Written { version: self.known.version, handed_over: false }
                }
                (_, true) => MetaStoreResult::Unknown,
                (_, false) => MetaStoreResult::Unavailable { reason: self.missing(shared) },
            };
            self.end(result, shared);
        } else if operation.prepare_at.take_if(|at| *at <= now).is_some() {
            operation.look_at = None;
            self.prepare(shared);
        } else if operation.look_at.take_if(|at| *at <= now).is_some() {
            self.ask(shared);
        }
    }

    /// For people: who has not answered, and why.
    fn missing(&self, shared: &Shared) -> String {
        let operation = self.active.as_ref().expect("an operation is under way");
        let trouble = |node: NodeId| match shared.links.get(&node) {
            Some(link) => format!("{node}: {}", link.trouble()),
            None => format!("{node}: not connected"),
        };
        let silent: Vec<String> = operation.silent(&self.known).map(trouble).collect();
        let members = self.known.members.len();
        format!(
            "{} of {members} members of {} have not answered ({}); {} are needed",
            silent.len(),
            self.id,
            silent.join(", "),
            quorum(members)
        )
    }
}
