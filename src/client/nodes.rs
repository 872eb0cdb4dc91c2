use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::base::{ClusterId, Incarnation, Instant, Limits, NodeId, Nonce, ProposerId, RegisterId, Rng};
use crate::io::op::{Op, Outcome};
use crate::net::{Link, LinkEvent};
use crate::proto::loglet::OpId;
use crate::proto::metastore::Proposer;
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult};
use crate::proto::virtual_log::Host;
use crate::wire::{Decision, Hello, Member, Message, Role};

/// Most nodes that are connected with at once: what fits into a byte of a token.
const LINKS_MAX: usize = 255;

/// Connections to nodes as such, and not to loglets: for the registers of the MetaStore that is embedded in them, and to know who answers.
pub(super) struct Nodes {
    cluster: ClusterId,
    incarnation: Incarnation,
    limits: Limits,
    proposer: Proposer,
    links: Vec<NodeLink>,
    /// Who is to be connected with although no register needs it.
    watched: BTreeMap<NodeId, SocketAddr>,
    /// What has become of the watched, in order.
    changes: Vec<Change>,
    random: Rng,
    /// Those who are being asked whether they are there.
    doubted: BTreeMap<NodeId, Doubt>,
    /// Something has happened that may have moved the proposer.
    touched: bool,
}

/// A node that owes somebody an answer and is silent. Each question that it leaves open counts once, however late this side comes to ask
/// the next: who was stopped himself, or waited for his turn, has not given the other side any time.
struct Doubt {
    address: SocketAddr,
    unanswered: u32,
    ask_at: Instant,
}

/// So many questions without a word in answer, and a node counts as silent.
const UNANSWERED_MAX: u32 = 4;

struct NodeLink {
    node: NodeId,
    address: SocketAddr,
    link: Link,
    host: Option<Host>,
}

/// What has become known of a node.
pub(super) enum Change {
    /// It has answered the hello.
    Up(Host),
    /// Its connection is gone.
    Down(NodeId),
    /// It was doubted, and is there.
    There(NodeId),
    /// It was doubted, and is stopped or cut off.
    Silent(NodeId),
}

impl Nodes {
    pub(super) fn new(cluster: ClusterId, incarnation: Incarnation, limits: &Limits, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let id = ProposerId(u128::from(random.u64(..)) << 64 | u128::from(random.u64(..)));
        Self {
            cluster,
            incarnation,
            limits: limits.clone(),
            proposer: Proposer::new(id, random.u64(..), limits),
            links: Vec::new(),
            watched: BTreeMap::new(),
            changes: Vec::new(),
            random,
            doubted: BTreeMap::new(),
            touched: true,
        }
    }

    /// Opens a register with any decided version of it.
    pub(super) fn open(&mut self, register: RegisterId, decided: Decision, now: Instant) {
        self.touched = true;
        self.proposer.open(register, decided, now);
    }

    /// Starts an operation on a register.
    pub(super) fn op(&mut self, id: OpId, op: MetaStoreOp, now: Instant) {
        self.touched = true;
        let nonce = Nonce(u128::from(self.random.u64(..)) << 64 | u128::from(self.random.u64(..)));
        self.proposer.handle_op(id, op, nonce, now + self.limits.operation_timeout, now);
    }

    /// Connects with these nodes, and with nobody else who is not needed for a register.
    pub(super) fn watch(&mut self, members: &[Member]) {
        if members.is_empty() && self.watched.is_empty() {
            return;
        }
        let wanted: BTreeMap<_, _> = members.iter().map(|member| (member.node, member.address)).collect();
        // Who is connected already has no reason to say so again.
        let new = wanted.keys().filter(|node| !self.watched.contains_key(node));
        let known = new.filter_map(|node| self.links.iter().find(|link| link.node == *node)?.host);
        self.changes.extend(known.map(Change::Up));
        self.touched |= self.watched != wanted;
        self.watched = wanted;
    }

    /// Asks a node whether it is there, over a connection on which nothing can be held up; the answer is a [`Change`].
    pub(super) fn doubt(&mut self, member: Member, now: Instant) {
        let Member { node, address } = member;
        self.touched = true;
        self.doubted.entry(node).or_insert(Doubt { address, unanswered: 0, ask_at: now });
    }

    /// Asks those that are doubted once more, or gives them up.
    fn ask_doubted(&mut self, now: Instant) {
        let Self { doubted, links, changes, limits, touched, .. } = self;
        doubted.retain(|node, doubt| {
            if doubt.ask_at > now {
                return true;
            }
            *touched = true;
            let link = links.iter_mut().find(|link| link.node == *node && link.address == doubt.address);
            if doubt.unanswered == UNANSWERED_MAX {
                changes.push(Change::Silent(*node));
                if let Some(NodeLink { link, host, .. }) = link {
                    link.give_up("the node is silent");
                    *host = None;
                    changes.push(Change::Down(*node));
                }
                return false;
            }
            if let Some(connection) = link.and_then(|link| link.link.connection()) {
                connection.send(&Message::Ping { request: u64::from(doubt.unanswered) });
            }
            doubt.unanswered += 1;
            doubt.ask_at = now + limits.silence;
            true
        });
    }

    /// What has become of the nodes that are watched, and of those that were doubted.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Takes in an outcome of one of its connections.
    pub(super) fn handle(&mut self, index: usize, outcome: Outcome, bytes: &[u8], now: Instant) {
        self.touched = true;
        let Self { links, proposer, changes, doubted, .. } = self;
        let NodeLink { node, address, link, host } = &mut links[index];
        let node = *node;
        let mut heard = |changes: &mut Vec<Change>| changes.extend(doubted.remove(&node).map(|_| Change::There(node)));
        link.handle(outcome, bytes, now, |event| match event {
            LinkEvent::Open => {}
            LinkEvent::Up(hello) => {
                heard(changes);
                let up = Host { member: Member { node, address: *address }, incarnation: hello.incarnation };
                *host = Some(up);
                changes.push(Change::Up(up));
                proposer.handle_connected(node, now);
            }
            LinkEvent::Message(message) => {
                heard(changes);
                proposer.handle(node, message, now);
            }
            LinkEvent::Down(reason) => {
                tracing::debug!(%node, %reason, "connection to a node lost");
                *host = None;
                changes.push(Change::Down(node));
                proposer.handle_disconnected(node, now);
            }
        });
    }

    /// Moves everything on that can move, and returns what has ended.
    pub(super) fn advance(&mut self, now: Instant) -> Vec<(OpId, MetaStoreResult)> {
        if self.proposer.poll_timeout().is_some_and(|(deadline, _)| deadline <= now) {
            self.touched = true;
            self.proposer.handle_timeout(now);
        }
        self.ask_doubted(now);
        // Most turns are about appends.
        if !std::mem::take(&mut self.touched) {
            return Vec::new();
        }
        let mut wanted = self.proposer.wanted();
        wanted.extend(self.watched.iter().map(|(node, address)| (*node, *address)));
        wanted.extend(self.doubted.iter().map(|(node, doubt)| (*node, doubt.address)));
        for (node, address) in &wanted {
            self.connect(*node, *address);
        }
        for NodeLink { node, link, .. } in &mut self.links {
            link.set_wanted(wanted.contains_key(node));
            while let Some(connection) = link.connection()
                && connection.has_room()
                && let Some(message) = self.proposer.poll_send(*node)
            {
                connection.send(&message);
            }
        }
        std::iter::from_fn(|| self.proposer.poll_result()).collect()
    }

    fn connect(&mut self, node: NodeId, address: SocketAddr) {
        if self.links.iter().any(|link| link.node == node && link.address == address) || self.links.len() == LINKS_MAX {
            return;
        }
        let Self { cluster, incarnation, .. } = *self;
        let (route, role) = (RegisterId::ROUTE, Role::Client);
        let hello = Hello { cluster, node: NodeId(0), incarnation, to: node, role, route };
        let link = Link::new(address, hello, Some(node), &self.limits);
        self.links.push(NodeLink { node, address, link, host: None });
    }

    pub(super) fn close(&mut self) {
        self.watched.clear();
        self.doubted.clear();
        self.links.iter_mut().for_each(|link| link.link.set_wanted(false));
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.links.iter().all(|link| link.link.is_at_rest())
    }

    /// The next operation of one of its connections.
    pub(super) fn poll_op(&mut self, now: Instant) -> Option<(usize, Op)> {
        self.links.iter_mut().enumerate().find_map(|(index, link)| Some((index, link.link.poll_op(now)?)))
    }

    /// When there is something to do without any event.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let proposer = self.proposer.poll_timeout().map(|(deadline, _)| deadline);
        let doubted = self.doubted.values().map(|doubt| doubt.ask_at);
        self.links.iter().filter_map(|link| link.link.poll_timeout()).chain(proposer).chain(doubted).min()
    }
}
