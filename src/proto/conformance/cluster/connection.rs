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
    Sequencer,
    Server(usize),
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
            End::Client(_) | End::Sequencer => true,
        }
    }

    fn wants(&self, (from, to): Pair) -> bool {
        match (from, to) {
            (End::Client(client), End::Server(server)) => self.clients[client].wants(Target::LogServer(server)),
            (End::Client(client), _) => self.clients[client].wants(Target::Sequencer),
            (End::Sequencer, _) => self.process.sequencer(self.config.id).is_some(),
            (End::Server(_), _) => false,
        }
    }

    /// Connections that somebody wants, that are not there and could be.
    pub(super) fn missing_connections(&self) -> Vec<Pair> {
        let clients = (0..self.clients.len()).map(End::Client);
        let servers = || (0..self.servers.len()).map(End::Server);
        let pairs = clients.flat_map(|client| servers().chain([End::Sequencer]).map(move |to| (client, to)));
        pairs.chain(servers().map(|to| (End::Sequencer, to))).filter(|pair| self.could_connect(*pair)).collect()
    }

    pub(super) fn could_connect(&self, pair: Pair) -> bool {
        !self.connections.contains_key(&pair) && !self.cut.contains(&pair) && self.is_up(pair.1) && self.wants(pair)
    }

    fn hello_of(&self, from: End) -> Hello {
        match from {
            End::Client(_) => hello(Role::Client, NodeId(0), Incarnation(0)),
            End::Sequencer => hello(Role::Sequencer, self.config.sequencer.node, self.process.incarnation),
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
            (End::Sequencer, End::Server(server)) => {
                let sequencer = self.process.sequencer_mut(self.config.id).expect("it wanted this");
                sequencer.handle_connected(server, now);
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
            (End::Sequencer, End::Server(server)) => {
                if let Some(sequencer) = self.process.sequencer_mut(self.config.id) {
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
            End::Sequencer => {
                if let Some(sequencer) = self.process.sequencer_mut(self.config.id) {
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
        End::Sequencer => Target::Sequencer,
        End::Client(_) => unreachable!("nobody connects to a client"),
    }
}
