use std::collections::{BTreeMap, BTreeSet};

use super::contract::OpId;
use crate::base::{Instant, NodeId, Version};
use crate::wire::{Ballot, Decision, RegisterMessage, Vote};

/// What an operation is for.
#[derive(Clone, Hash, Debug)]
pub(super) enum Kind {
    Read,
    /// Phase 1 of this instance, for a write that is to come.
    Prepare(Version),
    Write {
        /// What is to be decided: the version after the expected one.
        own: Decision,
    },
}

/// One operation on a register.
#[derive(Clone, Hash, Debug)]
pub(super) struct Operation {
    pub(super) id: OpId,
    pub(super) kind: Kind,
    pub(super) deadline: Instant,
    /// An acceptor may have heard of the own value.
    pub(super) maybe_accepted: bool,
    /// The own value has other members than the version before, who do not know of it unless they are told.
    pub(super) moves: bool,
    /// Ballots that have been refused, and pauses made.
    pub(super) attempts: u32,
    pub(super) phase: Phase,
    /// When phase 1 begins, once more or at all.
    pub(super) prepare_at: Option<Instant>,
    /// When the same is asked once more, for somebody may have finished what was accepted; and how often it has been.
    pub(super) look_at: Option<Instant>,
    pub(super) looks: u32,
    /// Members that have been told the decision before the instance, in this phase.
    pub(super) taught: BTreeSet<NodeId>,
}

/// What is being asked, of the members named by the highest decision known, about the instance after it. The number names the
/// questions of this phase; an answer with another one is to an earlier phase.
#[derive(Clone, Hash, Debug)]
pub(super) enum Phase {
    /// Another operation is under way.
    Waiting,
    /// For the state, without preparing (P8 d); whether something was accepted.
    Asking { request: u64, answers: BTreeMap<NodeId, bool> },
    /// Phase 1.
    Preparing { request: u64, ballot: Ballot, promises: BTreeMap<NodeId, Option<Vote>> },
    /// Phase 2.
    Accepting { request: u64, ballot: Ballot, decision: Decision, accepted: BTreeSet<NodeId> },
    /// The own value is decided: its members are told, a majority of them before the write ends.
    HandingOver { request: u64, learned: BTreeSet<NodeId> },
}

impl Operation {
    pub(super) fn new(id: OpId, kind: Kind, deadline: Instant) -> Self {
        Self {
            id,
            kind,
            deadline,
            maybe_accepted: false,
            moves: false,
            attempts: 0,
            phase: Phase::Waiting,
            prepare_at: None,
            look_at: None,
            looks: 0,
            taught: BTreeSet::new(),
        }
    }

    /// The value to be decided in this instance, if it is the operation's own.
    pub(super) fn own(&self, instance: Version) -> Option<&Decision> {
        match &self.kind {
            Kind::Write { own } if own.version == instance => Some(own),
            _ => None,
        }
    }

    /// What this node is to be asked now, with the number of the question; none when it has answered.
    pub(super) fn question(&self, node: NodeId, known: &Decision) -> Option<(u64, RegisterMessage)> {
        let instance = known.version.next();
        let (request, answered, message) = match &self.phase {
            Phase::Waiting => return None,
            Phase::Asking { request, answers } => {
                (*request, answers.contains_key(&node), RegisterMessage::Query { instance })
            }
            Phase::Preparing { request, ballot, promises } => {
                (*request, promises.contains_key(&node), RegisterMessage::Prepare { instance, ballot: *ballot })
            }
            Phase::Accepting { request, ballot, decision, accepted } => {
                let message = RegisterMessage::Accept { ballot: *ballot, decision: decision.clone() };
                (*request, accepted.contains(&node), message)
            }
            Phase::HandingOver { request, learned } => {
                (*request, learned.contains(&node), RegisterMessage::Learn { decision: known.clone() })
            }
        };
        (!answered).then_some((request, message))
    }

    /// The number of the questions now asked.
    pub(super) fn request(&self) -> Option<u64> {
        match &self.phase {
            Phase::Waiting => None,
            Phase::Asking { request, .. }
            | Phase::Preparing { request, .. }
            | Phase::Accepting { request, .. }
            | Phase::HandingOver { request, .. } => Some(*request),
        }
    }

    /// Whether this node has answered the question now asked.
    fn has_answered(&self, node: NodeId) -> bool {
        match &self.phase {
            Phase::Waiting => false,
            Phase::Asking { answers, .. } => answers.contains_key(&node),
            Phase::Preparing { promises, .. } => promises.contains_key(&node),
            Phase::Accepting { accepted, .. } => accepted.contains(&node),
            Phase::HandingOver { learned, .. } => learned.contains(&node),
        }
    }

    /// The members that have not answered.
    pub(super) fn silent<'a>(&'a self, known: &'a Decision) -> impl Iterator<Item = NodeId> + 'a {
        known.members.iter().map(|member| member.node).filter(|node| !self.has_answered(*node))
    }
}
