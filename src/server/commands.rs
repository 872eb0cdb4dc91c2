//! What other threads, and status requests, ask of a shard.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use serde_json::Value;

use super::inbound::peer_of;
use super::inbox::Command;
use super::memory;
use super::shard::Shard;
use super::status;
use super::{ShardConfig, home_shard};
use crate::io::Driver;
use crate::io::op::ConnId;
use crate::net::Closed;
use crate::proto::PeerId;
use crate::wire::{Hello, Message, Role};

/// A status request that waits for the reports of other shards.
struct Question {
    peer: PeerId,
    request: u64,
    reports: Vec<Value>,
}

/// The status requests that wait for the reports of other shards.
#[derive(Default)]
pub(super) struct Questions {
    /// Requests that have come in this turn.
    asked: Vec<(PeerId, u64)>,
    open: BTreeMap<u64, Question>,
    next: u64,
}

impl Questions {
    pub(super) fn ask(&mut self, peer: PeerId, request: u64) {
        self.asked.push((peer, request));
    }
}

impl<D: Driver> Shard<D> {
    /// Asks all shards what the connections have asked. Returns whether there was anything.
    pub(super) fn answer_questions(&mut self) -> bool {
        let asked = std::mem::take(&mut self.questions.asked);
        let any = !asked.is_empty();
        asked.into_iter().for_each(|(peer, request)| self.ask_shards(peer, request));
        any
    }

    pub(super) fn carry_out(&mut self, command: Command) {
        match command {
            // It would keep the stop from ending; dropping the socket closes it.
            Command::Adopt { .. } if self.stopping => {}
            // Another shard may be ready before this one, which answers nothing before it knows what it has promised.
            adoption @ Command::Adopt { .. } if !self.recovered => self.adoptions.push(adoption),
            Command::Adopt { socket, hello, unread, spread } => match self.shard_for(&hello, spread) {
                shard if shard == self.config.shard => self.adopt(socket, hello, &unread),
                shard => self.peers[shard].push(Command::Adopt { socket, hello, unread, spread: false }),
            },
            Command::OpenLane { .. } if self.stopping => {}
            Command::OpenLane { config, lanes } => {
                let ShardConfig { identity, limits, .. } = &self.config;
                self.cores.sequencing.open_lane(config, lanes, identity, limits, self.now);
            }
            Command::LaneStopped { loglet, lost } => self.cores.sequencing.handle_lane_stopped(loglet, lost),
            // Dropping the end closes it.
            Command::Join(_) if self.stopping => {}
            Command::Join(end) => {
                let conn = self.driver.join(end);
                self.take_in(conn, None);
            }
            Command::Report(reply) => drop(reply.try_send(self.report())),
            Command::ReportTo { shard, question } => {
                let part = Command::Part { question, shard: self.config.shard, report: self.report() };
                self.peers[shard].push(part);
            }
            Command::Part { question, shard, report } => {
                tracing::trace!(shard, question, "a shard has reported");
                self.add_report(question, report);
            }
            Command::Misses(nodes) => self.misses = nodes,
            Command::Scaling(decisions) => self.scaling = decisions,
            Command::Stop => {
                self.stopping = true;
                self.adoptions.clear();
                self.abandon_at = Some(self.now + self.config.limits.stall);
                self.inbound.close_all(|connection| connection.close(Closed::Here("the node stops")));
                self.cores.sequencing.close();
                self.members.close();
                self.cores.journal.close();
            }
        }
    }

    /// Where a connection that was handed over goes: the home of its loglet gives those of appenders to the lanes in turn, and a shard
    /// without the lane that the home knew it to have sends it back.
    fn shard_for(&mut self, hello: &Hello, spread: bool) -> usize {
        let (home, sequencing) = (home_shard(hello.route, self.config.shards), &mut self.cores.sequencing);
        match home == self.config.shard {
            true => spread.then(|| sequencing.spread(hello)).flatten().unwrap_or(home),
            false if sequencing.has_lane(hello.route) => self.config.shard,
            false => home,
        }
    }

    /// Takes over a connection that another shard has accepted, and what the peer has sent behind its hello.
    pub(super) fn adopt(&mut self, socket: OwnedFd, hello: Hello, unread: &[u8]) {
        assert!(self.recovered, "nothing is answered before the journal is recovered");
        let conn = self.driver.attach(socket);
        self.inbound.insert(conn, None, Some(hello), &self.config.limits);
        self.cores.log_server.handle_connected(peer_of(conn), &hello);
        let answer = self.config.identity.hello(Role::LogServer, hello.route);
        self.inbound.send(peer_of(conn), &Message::Hello(answer));
        if !unread.is_empty() {
            self.take_unread(conn, unread);
        }
    }

    pub(super) fn report(&self) -> Value {
        let sequencing = &self.cores.sequencing;
        let sequencer = |sequencer| status::sequencer(sequencer, sequencing, self.now);
        let sequencers = sequencing.iter().map(sequencer).collect();
        status::report(&status::Parts {
            config: &self.config,
            recovered: self.recovered,
            journal: &self.cores.journal,
            damage: &self.damage,
            write_times: &self.write_times,
            latency_profile: self.profile.report(self.now, |loglet, server| sequencing.member(loglet, server)),
            log_server: &self.cores.log_server,
            sequencers,
            metastore: status::metastore(&self.cores.acceptor),
            appends: self.cores.sequencing.counters(),
            connections: self.inbound.len(),
            local_connections: self.inbound.local(),
            held_connections: self.inbound.held.len(),
            memory: memory::report(&self.config, &self.cores, &self.inbound),
            turns: self.turns,
            network: self.network,
            misses: &self.misses,
            scaling: &self.scaling,
            processor: self.driver.core_time().map(|had| status::processor(self.config.cores, had, self.driver.now())),
        })
    }

    /// Collects the reports of all shards for a peer's status request.
    pub(super) fn ask_shards(&mut self, peer: PeerId, request: u64) {
        let question = self.questions.next;
        self.questions.next += 1;
        self.questions.open.insert(question, Question { peer, request, reports: Vec::new() });
        for shard in (0..self.config.shards).filter(|&shard| shard != self.config.shard) {
            self.peers[shard].push(Command::ReportTo { shard: self.config.shard, question });
        }
        let report = self.report();
        self.add_report(question, report);
    }

    pub(super) fn add_report(&mut self, question: u64, report: Value) {
        let Some(open) = self.questions.open.get_mut(&question) else { return };
        open.reports.push(report);
        if open.reports.len() == self.config.shards {
            let Question { peer, request, reports } = self.questions.open.remove(&question).expect("found above");
            let report = status::node_report(&self.config.identity, self.config.durability, reports);
            let json = serde_json::to_vec(&report).expect("a report is always serialisable");
            for part in status::messages(request, &json, &self.config.limits) {
                self.inbound.send(peer, &part);
            }
            if let Some(inbound) = self.inbound.get_mut(ConnId(peer.0)) {
                inbound.asking = false;
            }
        }
    }
}
