//! What a search of every execution needs beside the events themselves.

use super::Cluster;
use super::connection::{End, Pair};
use super::pump::decode;
use super::step::Event;
use super::world::LOGLET;
use crate::base::Instant;
use crate::wire::Message;

impl Cluster {
    /// Takes the digests of all parts that have changed.
    pub(crate) fn settle_digests(&mut self) {
        self.servers.iter_mut().for_each(|server| server.settle());
        self.process.settle();
        self.clients.iter_mut().for_each(|client| client.settle());
    }

    /// Whoever has a connection.
    pub(crate) fn connected_pairs(&self) -> impl Iterator<Item = Pair> {
        self.connections.keys().copied()
    }

    /// The connection breaks, and both sides notice at once.
    pub(crate) fn lose_connection(&mut self, pair: Pair) {
        self.disconnect(pair, false);
    }

    /// The host of the sequencer gives the loglet up for the life of the process.
    pub(crate) fn end_sequencer(&mut self) {
        self.process.sequencers.end(LOGLET);
        let pairs: Vec<Pair> = self.connected_pairs().filter(|(from, _)| *from == End::Sequencer).collect();
        pairs.into_iter().for_each(|pair| self.disconnect(pair, false));
    }

    fn deadline_of(&self, end: End) -> Option<Instant> {
        let timeout = match end {
            End::Server(server) => self.servers[server].core.as_ref()?.poll_timeout(),
            End::Client(client) => self.clients[client].poll_timeout(),
            End::Sequencer | End::Lane(_) => self.process.lane(end.lane()?)?.poll_timeout(),
        };
        timeout.map(|(at, _)| at)
    }

    /// The cores that have a deadline.
    pub(crate) fn due(&self) -> Vec<End> {
        let servers = (0..self.servers.len()).map(End::Server);
        let clients = (0..self.clients.len()).map(End::Client);
        let ends = servers.chain(clients).chain(self.lane_ends());
        ends.filter(|end| self.deadline_of(*end).is_some()).collect()
    }

    /// The next deadline of this core passes. Clocks only pace, so that others may find theirs passed later.
    pub(crate) fn pass_deadline(&mut self, end: End) {
        self.now = self.now.max(self.deadline_of(end).expect("it has a deadline"));
        let now = self.now;
        match end {
            End::Server(server) => {
                let server = &mut *self.servers[server];
                server.core.as_mut().expect("it has a deadline").handle_timeout(now, &mut server.disk);
            }
            End::Client(client) => self.clients[client].handle_timeout(now),
            End::Sequencer | End::Lane(_) => {
                let lane = end.lane().expect("it is one");
                self.process.lane_mut(lane).expect("it has a deadline").handle_timeout(now);
            }
        }
    }

    /// What `look` makes of the message that arrives with this event, if one does.
    pub(crate) fn next_message<R>(
        &self,
        event: Event,
        look: impl FnOnce(Pair, &Message<'_>) -> Option<R>,
    ) -> Option<R> {
        let (pair, frame) = match event {
            Event::Forth(pair) => (pair, self.connections.get(&pair)?.forth.front()?),
            Event::Back(pair) => (pair, self.connections.get(&pair)?.back.front()?),
            Event::Remains(index) => (self.remains[index].pair, self.remains[index].forth.front()?),
            Event::Connect(_) | Event::Land(_) | Event::Read(_) | Event::LaneStopped => return None,
        };
        look(pair, &decode(frame).1)
    }
}
