use std::time::Duration;

use super::profile::Transit;
use crate::base::{ClusterId, Incarnation, Instant, Limits, NodeId};
use crate::io::op::{Op, Outcome};
use crate::net::{Link, LinkEvent};
use crate::proto::native::{NativeLoglet, Target};
use crate::wire::{Hello, LogletConfig, Member, Role};

/// A client of a NativeLoglet on the reactor: the protocol core and its connections.
pub(super) struct NativeClient {
    pub(super) core: NativeLoglet,
    /// The way to the sequencer.
    pub(super) transit: Transit,
    /// The sequencer's, then the LogServers' in the configuration's order.
    peers: Vec<Peer>,
    limits: Limits,
}

struct Peer {
    member: Member,
    link: Link,
    /// Since when it owes an answer and has said nothing.
    silent_since: Option<Instant>,
    /// How long that is no reason to doubt it: longer each time that it turned out to be there.
    patience: Duration,
    /// Whether it is being asked if it is there.
    doubted: bool,
}

fn target(link: usize) -> Target {
    if link == 0 { Target::Sequencer } else { Target::LogServer(link - 1) }
}

impl NativeClient {
    /// Reads begin at the LogServer of the node `near`, if it has one.
    pub(super) fn new(
        config: LogletConfig,
        cluster: ClusterId,
        incarnation: Incarnation,
        near: Option<NodeId>,
        limits: &Limits,
    ) -> Self {
        let peer = |(role, member): (Role, Member)| {
            let hello = Hello { cluster, node: NodeId(0), incarnation, to: NodeId(0), role, route: config.id };
            let link = Link::new(member.address, hello, Some(member.node), limits);
            Peer { member, link, silent_since: None, patience: limits.silence, doubted: false }
        };
        let sequencer = (Role::Appender, config.sequencer.member());
        let log_servers = config.log_servers.iter().map(|member| (Role::Client, *member));
        let peers = std::iter::once(sequencer).chain(log_servers).map(peer).collect();
        let near = near.and_then(|near| config.log_servers.iter().position(|member| member.node == near));
        let mut core = NativeLoglet::new(config, limits);
        if let Some(server) = near {
            core.set_preferred(server);
        }
        Self { core, transit: Transit::default(), peers, limits: limits.clone() }
    }

    /// Takes in an outcome of one of its connections.
    pub(super) fn handle(&mut self, link: usize, outcome: Outcome, bytes: &[u8], now: Instant) {
        let core = &mut self.core;
        let from = target(link);
        let Peer { link, silent_since, patience, doubted, .. } = &mut self.peers[link];
        link.handle(outcome, bytes, now, |event| {
            (*silent_since, *patience, *doubted) = (None, self.limits.silence, false);
            match event {
                LinkEvent::Open => core.handle_connected(from, now),
                LinkEvent::Up(_) => {}
                LinkEvent::Message(message) => core.handle(from, message, now),
                LinkEvent::Down(reason) => {
                    tracing::debug!(?from, %reason, "connection lost");
                    core.handle_disconnected(from, now);
                }
            }
        });
    }

    /// Tells the core of the time, if it wants to know.
    pub(super) fn pass_time(&mut self, now: Instant) {
        if self.core.poll_timeout().is_some_and(|(deadline, _)| deadline <= now) {
            self.core.handle_timeout(now);
        }
    }

    /// Hands the core's messages to the connections.
    pub(super) fn send(&mut self, now: Instant) {
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let Peer { link, silent_since, doubted, .. } = peer;
            link.set_wanted(self.core.wants(target(index)));
            while let Some(connection) = link.opened()
                && connection.has_room()
                && let Some(message) = self.core.poll_send(target(index))
            {
                connection.send(&message);
            }
            match self.core.waits_for(target(index)) {
                true => *silent_since = silent_since.or(Some(now)),
                false => (*silent_since, *doubted) = (None, false),
            }
        }
    }

    /// Hands out those that owe an answer and have said nothing for so long that it is worth asking whether they are there. Each is
    /// doubted until its node is said to be there or not.
    pub(super) fn doubt(&mut self, now: Instant, mut ask: impl FnMut(Member)) {
        for peer in self.peers.iter_mut().filter(|peer| peer.doubt_at().is_some_and(|at| at <= now)) {
            peer.doubted = true;
            ask(peer.member);
        }
    }

    /// A node that was doubted is there.
    pub(super) fn node_is_there(&mut self, node: NodeId, now: Instant) {
        for peer in self.peers.iter_mut().filter(|peer| peer.doubted && peer.member.node == node) {
            (peer.silent_since, peer.doubted) = (Some(now), false);
            peer.patience = (peer.patience * 2).min(self.limits.stall);
        }
    }

    /// A node that was doubted is stopped, or cut off: nothing is expected of it any more.
    pub(super) fn node_is_silent(&mut self, node: NodeId, now: Instant) {
        let doubted = |peer: &Peer| peer.doubted && peer.member.node == node;
        for (index, peer) in self.peers.iter_mut().enumerate().filter(|(_, peer)| doubted(peer)) {
            tracing::warn!(%node, loglet = %self.core.config().id, "a node owes an answer and is silent");
            peer.link.give_up("the peer is silent");
            (peer.silent_since, peer.doubted) = (None, false);
            self.core.handle_disconnected(target(index), now);
        }
    }

    pub(super) fn close(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.link.set_wanted(false));
    }

    /// Whether nothing of it is left in the driver.
    pub(super) fn is_at_rest(&self) -> bool {
        self.peers.iter().all(|peer| peer.link.is_at_rest())
    }

    /// The next operation of one of its connections.
    pub(super) fn poll_op(&mut self, now: Instant) -> Option<(usize, Op)> {
        self.peers.iter_mut().enumerate().find_map(|(index, peer)| Some((index, peer.link.poll_op(now)?)))
    }

    /// When there is something to do without any event.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let core = self.core.poll_timeout().map(|(deadline, _)| deadline);
        self.peers.iter().filter_map(|peer| peer.link.poll_timeout()).chain(core).min()
    }

    /// When somebody is to be doubted.
    pub(super) fn poll_doubt(&self) -> Option<Instant> {
        self.peers.iter().filter_map(Peer::doubt_at).min()
    }
}

impl Peer {
    /// When to doubt it; nothing while it is doubted.
    fn doubt_at(&self) -> Option<Instant> {
        self.silent_since.filter(|_| !self.doubted).map(|since| since + self.patience)
    }
}
