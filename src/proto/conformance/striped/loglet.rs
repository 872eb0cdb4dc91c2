use std::time::Duration;

use super::super::cluster::Cluster;
use crate::base::{Instant, Offset, Rng};
use crate::proto::loglet::{LogletResult, OpId};
use crate::proto::striped::{Ask, Request, StripedLoglet};

/// Requests of several clients come to one native: the client's number stands above this bit.
const CLIENT: u32 = 40;

/// A loglet with its clients, joined in memory, that can be a stripe.
pub(super) trait Joinable {
    /// Asks for something as one of the clients.
    fn ask(&mut self, client: usize, id: OpId, ask: Ask);

    /// What a client knows to be committed.
    fn known_tail(&self, client: usize) -> Offset;

    /// What has ended, and whose it was.
    fn take_results(&mut self) -> Vec<(usize, OpId, LogletResult)>;

    /// Something happens that needs no time; false if there is nothing.
    fn step(&mut self) -> bool;

    fn deadline(&self) -> Option<Instant>;

    fn set_clock(&mut self, now: Instant);

    /// The natives that it is made of.
    fn natives(&mut self) -> Vec<&mut Cluster>;

    /// How far apart the records of one append are.
    fn stride(&self) -> u32;

    fn record_bytes_max(&self) -> usize;
}

impl Joinable for Cluster {
    fn ask(&mut self, client: usize, OpId(id): OpId, ask: Ask) {
        assert!(id < 1 << 32, "the cluster's own numbers are above");
        let (id, now) = (OpId((client as u64 + 1) << CLIENT | id), self.now);
        match ask {
            Ask::Op(op) => return self.start_as(client, id, op),
            Ask::Create => self.clients[client].create(id, now),
            Ask::Delete { chain_version, live } => self.clients[client].delete(id, chain_version, live, now),
        }
        self.pump();
    }

    fn known_tail(&self, client: usize) -> Offset {
        self.clients[client].known_tail()
    }

    fn take_results(&mut self) -> Vec<(usize, OpId, LogletResult)> {
        self.results.clear();
        let fresh = std::mem::take(&mut self.fresh);
        let of = |OpId(id)| ((id >> CLIENT) as usize - 1, OpId(id & ((1 << CLIENT) - 1)));
        fresh.into_iter().map(|(id, result)| (of(id).0, of(id).1, result)).collect()
    }

    fn step(&mut self) -> bool {
        Self::step(self)
    }

    fn deadline(&self) -> Option<Instant> {
        Self::deadline(self).map(|(at, _)| at)
    }

    fn set_clock(&mut self, now: Instant) {
        Self::set_clock(self, now);
    }

    fn natives(&mut self) -> Vec<&mut Cluster> {
        vec![self]
    }

    fn stride(&self) -> u32 {
        1
    }

    fn record_bytes_max(&self) -> usize {
        self.limits.sequencer_window_bytes as usize
    }
}

/// A striped loglet with its clients, and its stripes.
pub(super) struct Striped<S> {
    pub(super) stripes: Vec<S>,
    pub(super) clients: Vec<StripedLoglet>,
    pub(super) now: Instant,
    pub(super) fresh: Vec<(usize, OpId, LogletResult)>,
    random: Rng,
}

impl Striped<Cluster> {
    /// Over so many natives of three LogServers each, every other one with a lane for each client.
    pub(super) fn over_natives(stripes: usize, clients: usize, seed: u64) -> Self {
        let native = |stripe: usize| {
            let seed = seed * 100 + stripe as u64;
            Cluster::with_lanes(3, clients, 1 + (seed % 2) as usize, seed)
        };
        Self::over((0..stripes).map(native).collect(), clients, seed)
    }
}

impl<S: Joinable> Striped<S> {
    pub(super) fn over(stripes: Vec<S>, clients: usize, seed: u64) -> Self {
        let client = StripedLoglet::new(stripes.len());
        let (clients, random) = (vec![client; clients], Rng::with_seed(seed));
        let mut striped = Self { stripes, clients, now: Instant::from_nanos(1), fresh: Vec::new(), random };
        // Setting up natives takes no time, but messages.
        striped.ask(0, OpId(0), Ask::Create);
        while striped.step() {}
        assert_eq!(striped.take_results(), [(0, OpId(0), LogletResult::Done)]);
        striped
    }

    /// Carries out what the cores ask of stripes, and tells them what these answer and know.
    pub(super) fn pump(&mut self) {
        let now = self.now;
        loop {
            let mut moved = false;
            for (index, stripe) in self.stripes.iter_mut().enumerate() {
                let tell = |clients: &mut Vec<StripedLoglet>, stripe: &S| {
                    for (client, core) in clients.iter_mut().enumerate() {
                        core.handle_known_tail(index, stripe.known_tail(client), now);
                    }
                };
                // A known tail is told now and then before what has ended because of it, and now and then after.
                if self.random.bool() {
                    tell(&mut self.clients, stripe);
                }
                for (client, id, result) in stripe.take_results() {
                    moved = true;
                    self.clients[client].handle_result(index, id, result, now);
                }
                tell(&mut self.clients, stripe);
            }
            for (client, core) in self.clients.iter_mut().enumerate() {
                while let Some(Request { stripe, id, ask }) = core.poll_request() {
                    moved = true;
                    self.stripes[stripe].ask(client, id, ask);
                }
                while let Some((id, result)) = core.poll_result() {
                    self.fresh.push((client, id, result));
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass, deadline by deadline, with everything that follows.
    pub(super) fn pass_time(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step() {}
        while let Some(at) = self.deadline().filter(|at| *at <= end) {
            self.set_clock(at);
            while self.step() {}
        }
        self.set_clock(end);
        while self.step() {}
    }
}

impl<S: Joinable> Joinable for Striped<S> {
    fn ask(&mut self, client: usize, id: OpId, ask: Ask) {
        let (core, now) = (&mut self.clients[client], self.now);
        match ask {
            Ask::Op(op) => core.handle_op(id, op, now),
            Ask::Create => core.create(id, now),
            Ask::Delete { chain_version, live } => core.delete(id, chain_version, live, now),
        }
        self.pump();
    }

    fn known_tail(&self, client: usize) -> Offset {
        self.clients[client].known_tail()
    }

    fn take_results(&mut self) -> Vec<(usize, OpId, LogletResult)> {
        std::mem::take(&mut self.fresh)
    }

    fn step(&mut self) -> bool {
        let (begin, count) = (self.random.usize(..self.stripes.len()), self.stripes.len());
        let moved = (begin..begin + count).any(|stripe| self.stripes[stripe % count].step());
        self.pump();
        moved
    }

    fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter().filter_map(|client| client.poll_timeout()).map(|(at, _)| at);
        self.stripes.iter().filter_map(S::deadline).chain(clients).min()
    }

    fn set_clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let now = self.now;
        self.stripes.iter_mut().for_each(|stripe| stripe.set_clock(now));
        for client in self.clients.iter_mut().filter(|client| client.poll_timeout().is_some_and(|(at, _)| at <= now)) {
            client.handle_timeout(now);
        }
        self.pump();
    }

    fn natives(&mut self) -> Vec<&mut Cluster> {
        self.stripes.iter_mut().flat_map(S::natives).collect()
    }

    fn stride(&self) -> u32 {
        self.stripes[0].stride() * self.stripes.len() as u32
    }

    fn record_bytes_max(&self) -> usize {
        self.stripes[0].record_bytes_max()
    }
}
