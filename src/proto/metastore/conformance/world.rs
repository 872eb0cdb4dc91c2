//! Acceptors and proposers joined in memory: every message is encoded and decoded, a connection keeps its order and may break at any
//! moment, and writes become durable when somebody says so.

use std::collections::{BTreeMap, VecDeque};

use super::history::History;
use crate::base::{Instant, Limits, NodeId, Nonce, ProposerId, RegisterId, Version};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, OpId};
use crate::proto::metastore::testing::{MemoryCells, decision, members};
use crate::proto::metastore::{Acceptor, Proposer};
use crate::proto::peer::PeerId;
use crate::wire::{FrameHeader, HEADER_BYTES, Message};

/// The registers that every client opens.
pub(super) const LOG: RegisterId = RegisterId(7);
pub(super) const OTHER: RegisterId = RegisterId(8);

/// The node of this number.
pub(super) fn node(number: u128) -> NodeId {
    NodeId(number)
}

#[derive(Clone, Hash, Debug)]
pub(super) struct Node {
    pub(super) acceptor: Acceptor,
    pub(super) cells: MemoryCells,
    pub(super) up: bool,
    pub(super) lives: u32,
}

/// The connection of a client with a node.
#[derive(Clone, Hash, Debug, Default)]
struct Wire {
    up: bool,
    /// It cannot be made for now.
    cut: bool,
    forth: VecDeque<Vec<u8>>,
    back: VecDeque<Vec<u8>>,
}

/// What may happen next, faults left aside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Event {
    /// A connection is made.
    Connect(usize, NodeId),
    /// The oldest request arrives.
    Forth(usize, NodeId),
    /// The oldest answer arrives.
    Back(usize, NodeId),
    /// The oldest write becomes durable.
    Land(NodeId),
}

#[derive(Clone, Hash, Debug)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) clients: Vec<Proposer>,
    wires: BTreeMap<(usize, NodeId), Wire>,
    pub(super) results: VecDeque<(OpId, MetaStoreResult)>,
    pub(super) history: History,
    limits: Limits,
    /// Proposers that there have been.
    proposers: u64,
}

/// What every client opens a register with.
pub(super) fn birth(nodes: &[u128]) -> crate::wire::Decision {
    decision(0, 0, &members(nodes), b"birth")
}

impl World {
    /// Nodes 1 to `nodes`, of which `first` are members of each register's birth.
    pub(super) fn new(nodes: u128, first: &[u128], clients: usize) -> Self {
        let limits = Limits { register_bytes_max: 1000, ..Limits::default() };
        let node = |number| {
            let acceptor = Acceptor::new(NodeId(number), &limits);
            (NodeId(number), Node { acceptor, cells: MemoryCells::default(), up: true, lives: 1 })
        };
        let nodes: BTreeMap<_, _> = (1..=nodes).map(node).collect();
        let wires = (0..clients).flat_map(|client| nodes.keys().map(move |node| ((client, *node), Wire::default())));
        let wires = wires.collect();
        let mut world = Self {
            now: Instant::ORIGIN,
            nodes,
            clients: Vec::new(),
            wires,
            results: VecDeque::new(),
            history: History::default(),
            limits,
            proposers: 0,
        };
        for _ in 0..clients {
            let proposer = world.proposer(first);
            world.clients.push(proposer);
        }
        world.history.born(&birth(first));
        world
    }

    fn proposer(&mut self, first: &[u128]) -> Proposer {
        self.proposers += 1;
        let mut proposer = Proposer::new(ProposerId(u128::from(self.proposers)), self.proposers, &self.limits);
        for register in [LOG, OTHER] {
            proposer.open(register, birth(first), self.now);
        }
        proposer
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Hands an operation to a client; its number serves as the nonce.
    pub(super) fn start(&mut self, client: usize, id: OpId, op: MetaStoreOp) {
        self.history.begin(client, id, &op);
        let deadline = self.now + self.limits.operation_timeout;
        self.clients[client].handle_op(id, op, Nonce(u128::from(id.0)), deadline, self.now);
        self.pump();
    }

    /// The client's process ends with everything under way, and another one takes its place.
    pub(super) fn replace_client(&mut self, client: usize, first: &[u128]) {
        self.nodes.keys().copied().collect::<Vec<_>>().into_iter().for_each(|node| {
            self.lose_connection(client, node);
        });
        self.clients[client] = self.proposer(first);
        self.history.abandon(client);
    }

    /// All events that are possible.
    pub(super) fn possible(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (client, proposer) in self.clients.iter().enumerate() {
            let wanted = proposer.wanted();
            for (&node, state) in &self.nodes {
                let wire = &self.wires[&(client, node)];
                if !wire.up && !wire.cut && state.up && wanted.contains_key(&node) {
                    events.push(Event::Connect(client, node));
                }
                if !wire.forth.is_empty() {
                    events.push(Event::Forth(client, node));
                }
                if !wire.back.is_empty() {
                    events.push(Event::Back(client, node));
                }
            }
        }
        let landing = self.nodes.iter().filter(|(_, node)| !node.cells.in_flight.is_empty());
        events.extend(landing.map(|(node, _)| Event::Land(*node)));
        events
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Connect(client, node) => {
                self.wire(client, node).up = true;
                self.clients[client].handle_connected(node, self.now);
            }
            Event::Forth(client, node) => {
                let frame = self.wire(client, node).forth.pop_front().expect("possible");
                let Node { acceptor, cells, .. } = self.nodes.get_mut(&node).expect("known");
                acceptor.handle(PeerId(client as u64), decode(&frame), self.now, cells);
            }
            Event::Back(client, node) => {
                let frame = self.wire(client, node).back.pop_front().expect("possible");
                self.clients[client].handle(node, decode(&frame), self.now);
            }
            Event::Land(node) => {
                let Node { acceptor, cells, .. } = self.nodes.get_mut(&node).expect("known");
                let write = cells.land().expect("possible");
                acceptor.handle_durable(write, self.now, cells);
            }
        }
        self.pump();
    }

    fn wire(&mut self, client: usize, node: NodeId) -> &mut Wire {
        self.wires.get_mut(&(client, node)).expect("known")
    }

    /// What a request that is about to arrive says.
    pub(super) fn next_request(&self, event: Event) -> Option<Message<'_>> {
        match event {
            Event::Forth(client, node) => self.wires[&(client, node)].forth.front().map(|frame| decode(frame)),
            _ => None,
        }
    }

    /// Moves what the cores have to say onto the wires, and takes note of results and decisions.
    pub(super) fn pump(&mut self) {
        for (client, proposer) in self.clients.iter_mut().enumerate() {
            for &node in self.nodes.keys() {
                let wire = self.wires.get_mut(&(client, node)).expect("known");
                while let Some(message) = proposer.poll_send(node) {
                    assert!(wire.up, "nothing is sent on a connection that is down");
                    wire.forth.push_back(encode(&message));
                }
            }
            while let Some((id, result)) = proposer.poll_result() {
                self.history.end(id, &result);
                self.results.push_back((id, result));
            }
        }
        for (&node, state) in &mut self.nodes {
            while let Some((peer, message)) = state.acceptor.poll_output() {
                let wire = self.wires.get_mut(&(peer.0 as usize, node)).expect("known");
                if wire.up {
                    wire.back.push_back(encode(&message));
                }
            }
        }
        for register in [LOG, OTHER] {
            let told = self.nodes.values().filter_map(|node| node.acceptor.decided(register));
            let known = self.clients.iter().filter_map(|client| client.known(register));
            told.chain(known).for_each(|decision| self.history.decided(register, decision));
        }
    }

    /// The connection breaks, with everything on its way; both sides notice.
    pub(super) fn lose_connection(&mut self, client: usize, node: NodeId) {
        let wire = self.wire(client, node);
        if wire.up {
            *wire = Wire { cut: wire.cut, ..Wire::default() };
            self.clients[client].handle_disconnected(node, self.now);
            self.nodes.get_mut(&node).expect("known").acceptor.handle_disconnected(PeerId(client as u64));
            self.pump();
        }
    }

    /// The client does not reach the node until it is joined again.
    pub(super) fn cut(&mut self, client: usize, node: NodeId) {
        self.lose_connection(client, node);
        self.wire(client, node).cut = true;
    }

    pub(super) fn join(&mut self, client: usize, node: NodeId) {
        self.wire(client, node).cut = false;
    }

    /// Power is lost; the oldest `survive` writes on their way have become durable.
    pub(super) fn crash(&mut self, node: NodeId, survive: usize) {
        (0..self.clients.len()).for_each(|client| self.lose_connection(client, node));
        let state = self.nodes.get_mut(&node).expect("known");
        state.cells.lose_power(survive);
        state.acceptor = Acceptor::new(node, &self.limits);
        state.up = false;
    }

    pub(super) fn restart(&mut self, node: NodeId) {
        let now = self.now;
        let state = self.nodes.get_mut(&node).expect("known");
        if state.up {
            return;
        }
        let Node { acceptor, cells, up, lives } = state;
        acceptor.recover(&cells.found(), false, now, cells);
        *up = true;
        *lives += 1;
        self.pump();
    }

    /// The clients for whom something is due, with what it is.
    pub(super) fn due(&self) -> Vec<(usize, Instant)> {
        let due = |(client, proposer): (usize, &Proposer)| proposer.poll_timeout().map(|(at, _)| (client, at));
        self.clients.iter().enumerate().filter_map(due).collect()
    }

    /// Time passes until the client's next deadline.
    pub(super) fn pass_deadline(&mut self, client: usize) {
        let Some((at, _)) = self.clients[client].poll_timeout() else { return };
        self.now = self.now.max(at);
        self.clients[client].handle_timeout(self.now);
        self.pump();
    }

    /// Everything works again.
    pub(super) fn heal(&mut self) {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes {
            self.restart(node);
            (0..self.clients.len()).for_each(|client| self.join(client, node));
        }
    }

    /// Lets happen whatever can, in a fixed order, and time pass where it must, until nothing is under way.
    pub(super) fn settle(&mut self) {
        for _ in 0..200_000 {
            if let Some(event) = self.possible().first() {
                self.happen(*event);
            } else if let Some((client, _)) = self.due().into_iter().min_by_key(|(_, at)| *at) {
                self.pass_deadline(client);
            } else {
                return;
            }
        }
        panic!("the cores never come to rest");
    }

    /// As [`World::settle`], and returns the result of this operation, the only one under way.
    pub(super) fn finish(&mut self, id: OpId) -> MetaStoreResult {
        self.settle();
        let at = self.results.iter().position(|(of, _)| *of == id).expect("every operation ends");
        self.results.remove(at).expect("just found").1
    }
}

/// A write of a value of its own.
pub(super) fn write(register: RegisterId, id: u64, expected: Version, nodes: &[u128]) -> MetaStoreOp {
    MetaStoreOp::Write { register, expected, value: id.to_string().into_bytes(), members: members(nodes) }
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode(&mut frame);
    frame
}

fn decode(frame: &[u8]) -> Message<'_> {
    let header = FrameHeader::decode(frame, u32::MAX).expect("as encoded");
    Message::decode(&header, &frame[HEADER_BYTES..]).expect("as encoded")
}
