use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::contract::{MetaStoreOp, MetaStoreResult, OpId};
use super::link::{Link, Shared};
use super::operation::{Kind, Operation};
use super::register::Register;
use crate::base::{Instant, Limits, NodeId, Nonce, ProposerId, RegisterId};
use crate::wire::{Decision, Message};

/// The client of the MetaStore that is embedded in the nodes, for any number of registers: it reads and proposes (P8; "Paxos Made Simple",
/// section 2). Without a leader, and without pipelining: the operations on one register run one after another.
///
/// The host keeps a connection to every acceptor that [`Proposer::wanted`] names, tells of each that came up or went down, by the
/// *node that its hello named*, feeds messages and operations, and afterwards drains [`Proposer::poll_send`] for each node and
/// [`Proposer::poll_result`], and asks [`Proposer::poll_timeout`] when to come back.
#[derive(Clone, Hash, Debug)]
pub struct Proposer {
    shared: Shared,
    registers: BTreeMap<RegisterId, Register>,
}

impl Proposer {
    /// A proposer that knows no register yet. No other one, of any process at any time, has the same `id`: two proposers with one name
    /// could decide two values. `seed` is for the pauses between ballots.
    pub fn new(id: ProposerId, seed: u64, limits: &Limits) -> Self {
        Self { shared: Shared::new(id, seed, limits), registers: BTreeMap::new() }
    }

    /// Opens a register with any *decided* version of it: the one it is born with, which is the same for everybody (the genesis for the
    /// root register; for a log's register its first members, which the root register names; P8 a), or a newer one.
    pub fn open(&mut self, register: RegisterId, decided: Decision, now: Instant) {
        self.shared.now = now;
        match self.registers.get_mut(&register) {
            Some(known) => known.learn(decided, &mut self.shared),
            None => drop(self.registers.insert(register, Register::new(register, decided))),
        }
    }

    /// The highest decision known of a register, which others may have gone beyond.
    pub fn known(&self, register: RegisterId) -> Option<&Decision> {
        self.registers.get(&register).map(|register| &register.known)
    }

    /// Starts an operation, which ends by `deadline`; `id` names no other one in progress. `nonce` is random, for the value of a write.
    pub fn handle_op(&mut self, id: OpId, op: MetaStoreOp, nonce: Nonce, deadline: Instant, now: Instant) {
        self.shared.now = now;
        let limit = self.shared.limits.register_bytes_max;
        let Some(register) = self.registers.get_mut(&op.register()) else {
            return self.shared.results.push_back((id, MetaStoreResult::UnknownRegister));
        };
        let kind = match op {
            MetaStoreOp::Read { .. } => Kind::Read,
            MetaStoreOp::Prepare { expected, .. } => Kind::Prepare(expected.next()),
            MetaStoreOp::Write { value, .. } if value.len() > limit as usize => {
                return self.shared.results.push_back((id, MetaStoreResult::TooLarge { limit, value }));
            }
            MetaStoreOp::Write { members, .. } if !Decision::are_members(&members) => {
                return self.shared.results.push_back((id, MetaStoreResult::InvalidMembers));
            }
            MetaStoreOp::Write { expected, value, members, .. } => {
                Kind::Write { own: Decision { version: expected.next(), nonce, members, value } }
            }
        };
        register.start(Operation::new(id, kind, deadline), &mut self.shared);
    }

    /// The acceptors to be connected with, and where to look for them.
    pub fn wanted(&self) -> BTreeMap<NodeId, SocketAddr> {
        let members = self.registers.values().filter(|register| register.used).flat_map(|known| &known.known.members);
        members.map(|member| (member.node, member.address)).collect()
    }

    /// A connection to this acceptor is up.
    pub fn handle_connected(&mut self, node: NodeId, now: Instant) {
        self.shared.now = now;
        self.shared.reset_link(node, true);
        self.ask_afresh(node);
    }

    /// The connection to this acceptor is down, or could not be made.
    pub fn handle_disconnected(&mut self, node: NodeId, now: Instant) {
        self.shared.now = now;
        self.shared.reset_link(node, false);
    }

    fn ask_afresh(&mut self, node: NodeId) {
        self.registers.values_mut().for_each(|register| register.ask_afresh(node, &mut self.shared));
    }

    /// A message from the acceptor whose hello named this node.
    pub fn handle(&mut self, from: NodeId, message: Message<'_>, now: Instant) {
        self.shared.now = now;
        match message {
            Message::Register { request, register, message } => {
                if let Some(register) = self.registers.get_mut(&register) {
                    register.heard(from, request, *message, &mut self.shared);
                }
            }
            Message::Reject { detail: reason, .. } | Message::Unavailable { reason, .. } => {
                self.shared.pause(from, reason);
            }
            _ => {}
        }
    }

    /// The next message for this acceptor.
    pub fn poll_send(&mut self, node: NodeId) -> Option<Message<'static>> {
        self.shared.links.get_mut(&node).and_then(Link::poll_send)
    }

    /// The next result.
    pub fn poll_result(&mut self) -> Option<(OpId, MetaStoreResult)> {
        self.shared.results.pop_front()
    }

    /// When to call [`Proposer::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let resume = self.shared.next_resume().map(|at| (at, "proposer: an acceptor refused something"));
        self.registers.values().filter_map(Register::timeout).chain(resume).min_by_key(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.shared.now = now;
        for node in self.shared.resume() {
            self.ask_afresh(node);
        }
        self.registers.values_mut().for_each(|register| register.time_passed(&mut self.shared));
    }
}
