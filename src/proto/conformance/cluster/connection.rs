use std::collections::VecDeque;
use std::sync::Arc;

use super::Cluster;
use crate::base::{Incarnation, NodeId};
use crate::proto::PeerId;
use crate::proto::native::Target;
use crate::proto::testing::hello;
use crate::wire::{Hello, Role};

/// A process that talks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum End {
    Client(usize),
    /// Its only lane, or the first of several.
    Sequencer,
    Server(usize),
    /// A further lane of the sequencer.
    Lane(usize),
}

impl End {
    pub(super) fn of_lane(lane: usize) -> Self {
        if lane == 0 { Self::Sequencer } else { Self::Lane(lane) }
    }

    /// The number of the lane that it is.
    pub(super) fn lane(self) -> Option<usize> {
        match self {
            Self::Sequencer => Some(0),
            Self::Lane(lane) => Some(lane),
            Self::Client(_) | Self::Server(_) => None,
        }
    }
}

/// Who connected to whom.
pub(crate) type Pair = (End, End);

/// An encoded message.
pub(super) type Frame = Arc<[u8]>;

/// Frames on their way, in order.
#[derive(Clone, Hash, Debug)]
pub(super) struct Connection {
    /// As the side that was connected to numbers it.
    pub(super) peer: PeerId,
    pub(super) forth: VecDeque<Frame>,
    pub(super) back: VecDeque<Frame>,
}

/// What is left of a connection that one side has given up: requests that may still arrive, before the loss is noticed.
#[derive(Clone, Hash, Debug)]
pub(super) struct Remains {
    pub(super) pair: Pair,
    pub(super) peer: PeerId,
    pub(super) forth: VecDeque<Frame>,
}

impl Cluster {
    fn is_up(&self, end: End) -> bool {
        match end {
            End::Server(server) => self.servers[server].core.is_some(),
            End::Client(_) | End::Sequencer | End::Lane(_) => true,
        }
    }

    fn wants(&self, (from, to): Pair) -> bool {
        match (from, to) {
            (End::Client(client), End::Server(server)) => self.clients[client].wants(Target::LogServer(server)),
            (End::Client(client), to) => {
                let lane = client % self.process.lanes();
                let is_there = |(from, to): &Pair| *from == End::Client(client) && to.lane().is_some();
                to == End::of_lane(lane)
                    && self.clients[client].wants(Target::Sequencer)
                    && !self.connections.keys().any(is_there)
            }
            (End::Sequencer, _) => self.process.sequencer(self.config.id).is_some(),
            (End::Lane(lane), _) => self.process.lane(lane).is_some(),
            (End::Server(_), _) => false,
        }
    }

    /// The lanes that the sequencer may have.
    pub(super) fn lane_ends(&self) -> impl Iterator<Item = End> + Clone + use<> {
        (0..self.lanes).map(End::of_lane)
    }

    /// Connections that somebody wants, that are not there and could be.
    pub(super) fn missing_connections(&self) -> Vec<Pair> {
        let clients = (0..self.clients.len()).map(End::Client);
        let servers = || (0..self.servers.len()).map(End::Server);
        let lanes = self.lane_ends();
        let pairs = clients.flat_map(|client| servers().chain(lanes.clone()).map(move |to| (client, to)));
        let of_lanes = self.lane_ends().flat_map(|lane| servers().map(move |to| (lane, to)));
        pairs.chain(of_lanes).filter(|pair| self.could_connect(*pair)).collect()
    }

    pub(super) fn could_connect(&self, pair: Pair) -> bool {
        !self.connections.contains_key(&pair) && !self.cut.contains(&pair) && self.is_up(pair.1) && self.wants(pair)
    }

    fn hello_of(&self, from: End) -> Hello {
        match from {
            End::Client(_) => hello(Role::Client, NodeId(0), Incarnation(0)),
            End::Sequencer | End::Lane(_) => {
                hello(Role::Sequencer, self.config.sequencer.node, self.process.incarnation)
            }
            End::Server(server) => {
                let (node, incarnation) = self.servers[server].core.as_ref().expect("it talks").identity();
                hello(Role::LogServer, node, incarnation)
            }
        }
    }

    /// Numbers depend on the pair and on how often it has connected, not on the order in which pairs did.
    fn next_peer(&mut self, pair: Pair) -> PeerId {
        let index = |end| match end {
            End::Sequencer => 0,
            End::Server(server) => 1 + server as u64,
            End::Client(client) => 1 + (self.servers.len() + client) as u64,
            End::Lane(lane) => 1 + (self.servers.len() + self.clients.len() + lane) as u64,
        };
        let place = index(pair.0) << 8 | index(pair.1);
        let times = self.connected.entry(pair).or_default();
        *times += 1;
        PeerId(*times << 16 | place)
    }

    pub(super) fn connect(&mut self, pair: Pair) {
        assert!(!self.connections.contains_key(&pair) && self.is_up(pair.1));
        let (peer, now) = (self.next_peer(pair), self.now);
        let hello = self.hello_of(pair.0);
        self.connections.insert(pair, Connection { peer, forth: VecDeque::new(), back: VecDeque::new() });
        if let End::Server(server) = pair.1 {
            self.servers[server].core.as_mut().expect("it is up").handle_connected(peer, &hello);
        }
        match pair {
            (End::Client(client), to) => self.clients[client].handle_connected(target(to), now),
            (End::Sequencer | End::Lane(_), End::Server(server)) => {
                let lane = pair.0.lane().expect("it is one");
                self.process.lane_mut(lane).expect("it wanted this").handle_connected(server, now);
            }
            (End::Server(_), End::Server(_)) => {}
            _ => unreachable!("nobody connects {pair:?}"),
        }
    }

    /// The side that connected loses the connection; the other one notices at once, or, with `late`, after what is on its way.
    pub(super) fn disconnect(&mut self, pair: Pair, late: bool) {
        let Some(Connection { peer, forth, .. }) = self.connections.remove(&pair) else { return };
        let now = self.now;
        match pair {
            (End::Client(client), to) => self.clients[client].handle_disconnected(target(to), now),
            (End::Sequencer | End::Lane(_), End::Server(server)) => {
                let lane = pair.0.lane().expect("it is one");
                if let Some(sequencer) = self.process.lane_mut(lane) {
                    sequencer.handle_disconnected(server, now);
                }
            }
            (End::Server(from), End::Server(to)) => {
                let node = self.servers[to].node;
                if let Some(core) = &mut self.servers[from].core {
                    core.handle_member_disconnected(node, now);
                }
            }
            _ => unreachable!("nobody connects {pair:?}"),
        }
        self.remains.push(Remains { pair, peer, forth });
        if !late {
            self.notice_loss(self.remains.len() - 1);
        }
    }

    /// The side that was connected to notices that the connection is gone.
    pub(super) fn notice_loss(&mut self, index: usize) {
        let Remains { pair, peer, .. } = self.remains.remove(index);
        match pair.1 {
            End::Server(server) => {
                if let Some(core) = &mut self.servers[server].core {
                    core.handle_disconnected(peer);
                }
            }
            End::Sequencer | End::Lane(_) => {
                let lane = pair.1.lane().expect("it is one");
                if let Some(sequencer) = self.process.lane_mut(lane) {
                    sequencer.handle_client_disconnected(peer);
                }
            }
            End::Client(_) => unreachable!("nobody connects to a client"),
        }
    }
}

pub(super) fn target(to: End) -> Target {
    match to {
        End::Server(server) => Target::LogServer(server),
        End::Sequencer | End::Lane(_) => Target::Sequencer,
        End::Client(_) => unreachable!("nobody connects to a client"),
    }
}
