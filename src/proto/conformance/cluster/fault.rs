use super::Cluster;
use super::connection::{End, Pair};
use crate::base::Incarnation;
use crate::proto::sequencer::Sequencer;
use crate::proto::sequencers::Sequencers;

impl Cluster {
    /// The server loses power: nothing that was not durable survives.
    pub(crate) fn crash(&mut self, server: usize) {
        self.servers[server].crash();
        self.drop_connections(|(from, to)| from == End::Server(server) || to == End::Server(server), false);
        // What had been sent to it before is lost with it.
        self.remains.retain(|remains| remains.pair.1 != End::Server(server));
        self.pump();
    }

    /// The server starts again.
    pub(crate) fn restart(&mut self, server: usize) {
        self.restart_with(server, false);
    }

    /// As [`Cluster::restart`]; with `table_lost` the journal has lost entries that it cannot name (P10).
    pub(crate) fn restart_with(&mut self, server: usize, table_lost: bool) {
        self.servers[server].start(&self.limits, table_lost);
        self.pump();
    }

    /// The sequencer's process ends, and another life of it begins.
    pub(crate) fn restart_process(&mut self) {
        self.drop_connections(|(from, to)| from.lane().or(to.lane()).is_some(), false);
        self.process.impostor = None;
        self.process.lanes = None;
        self.process.sequencers = Sequencers::new(self.limits.clone());
        self.process.incarnation = Incarnation(self.process.incarnation.0 + 1);
        self.pump();
    }

    /// This life of the process sequences the loglet although the configuration names another one.
    pub(crate) fn force_sequencer(&mut self) {
        self.process.impostor = Some(Sequencer::new(self.config.clone(), &self.limits, self.now));
        self.pump();
    }

    /// The connection is lost, and no new one can be made.
    pub(crate) fn cut(&mut self, from: End, to: End) {
        self.cut.insert((from, to));
        self.disconnect((from, to), false);
        self.pump();
    }

    /// Undoes [`Cluster::cut`].
    pub(crate) fn heal(&mut self, from: End, to: End) {
        self.cut.remove(&(from, to));
    }

    /// Cuts the server off from everybody.
    pub(crate) fn isolate(&mut self, server: usize) {
        self.pairs_with(server).into_iter().for_each(|(from, to)| self.cut(from, to));
    }

    /// Undoes [`Cluster::isolate`].
    pub(crate) fn rejoin(&mut self, server: usize) {
        self.pairs_with(server).into_iter().for_each(|(from, to)| self.heal(from, to));
    }

    /// Nothing arrives on this connection, and nobody notices.
    pub(crate) fn hold(&mut self, from: End, to: End) {
        self.held.insert((from, to));
    }

    /// Undoes [`Cluster::hold`].
    pub(crate) fn release(&mut self, from: End, to: End) {
        self.held.remove(&(from, to));
    }

    /// Up to `writes` of the server's writes in flight become durable, the oldest first.
    pub(crate) fn land(&mut self, server: usize, writes: u64) {
        for _ in 0..writes.min(self.servers[server].in_flight()) {
            self.servers[server].land(self.now);
        }
        self.pump();
    }

    /// Some connection breaks; its other side may notice late.
    pub(crate) fn break_connection(&mut self, late: bool) {
        if self.connections.is_empty() {
            return;
        }
        let index = self.random.usize(..self.connections.len());
        let pair = *self.connections.keys().nth(index).expect("below the number of connections");
        self.disconnect(pair, late);
        self.pump();
    }

    fn pairs_with(&self, server: usize) -> Vec<Pair> {
        let clients = (0..self.clients.len()).map(End::Client);
        let others = (0..self.servers.len()).filter(|other| *other != server).map(End::Server);
        let to = clients.chain(self.lane_ends()).chain(others.clone()).map(|from| (from, End::Server(server)));
        to.chain(others.map(|other| (End::Server(server), other))).collect()
    }

    fn drop_connections(&mut self, which: impl Fn(Pair) -> bool, late: bool) {
        let pairs: Vec<Pair> = self.connections.keys().copied().filter(|pair| which(*pair)).collect();
        pairs.into_iter().for_each(|pair| self.disconnect(pair, late));
    }
}
