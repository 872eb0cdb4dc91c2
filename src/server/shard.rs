use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::inbound::{Inbound, InboundTable, peer_of};
use super::inbox::{Command, Inbox};
use super::journal_disk::JournalDisk;
use super::members::{MemberEvent, Members};
use super::replies::Recipient;
use super::requests::{Answers, Requests};
use super::sequencing::Sequencing;
use super::timing::{NetworkCounters, TurnCounters, WriteTimes};
use super::{NodeIdentity, home_shard, status};
use crate::base::{Instant, Limits, Write};
use crate::io::Driver;
use crate::io::op::{Chunk, Completion, ConnId, ListenerId, Op, Outcome, Token};
use crate::net::{Closed, Flow};
use crate::proto::PeerId;
use crate::proto::log_server::{LogServer, Output, ReadId, ReadOutcome, RecoveredLoglet};
use crate::proto::sequencers::Sequencers;
use crate::storage::{self, Damage, Journal, JournalConfig};
use crate::wire::{Batch, Message, RejectCode, Role};

/// Owners of tokens.
mod owner {
    pub(super) const JOURNAL: u8 = 1;
    pub(super) const LISTENER: u8 = 2;
    /// value = connection.
    pub(super) const INBOUND: u8 = 3;
    /// value = slot << 8 | server.
    pub(super) const STORE_LINK: u8 = 4;
    /// value = index of the member link.
    pub(super) const MEMBER_LINK: u8 = 5;
}

/// What a shard is told at its start.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// The node.
    pub identity: NodeIdentity,
    /// Which shard of the node this is.
    pub shard: usize,
    /// How many there are; fixed in the data directory (P13).
    pub shards: usize,
    /// The directory of the shard's journal.
    pub directory: PathBuf,
    /// The file system's block size for direct I/O.
    pub block_bytes: u32,
    /// Its bounds.
    pub limits: Limits,
    /// Seed of its random streams.
    pub seed: u64,
    /// `quorum-dsync`, or what weaker level was asked for; shown in status.
    pub durability: &'static str,
    /// Name of the driver; shown in status.
    pub driver: &'static str,
    /// Journal bytes to keep prepared beyond the usual number of segments.
    pub prepare_bytes: u64,
}

/// One shard: everything that happens on one thread of a node.
///
/// [`Shard::turn`] is its whole life: completions are taken in, the cores move on until nothing moves any more, and what
/// they want done is submitted. The first turns recover the journal; nothing is answered before that is done.
pub struct Shard<D: Driver> {
    driver: D,
    config: ShardConfig,
    inbox: Arc<Inbox>,
    /// The inboxes of all shards of the node, by number; this one's too.
    peers: Vec<Arc<Inbox>>,
    listener: Option<ListenerId>,
    /// When to arm the listener; none while it is armed, or not there.
    accept_at: Option<Instant>,
    journal: Journal,
    /// None until the journal is recovered.
    recovered: bool,
    /// What the recovery found damaged.
    damage: Vec<Damage>,
    log_server: LogServer,
    sequencing: Sequencing,
    members: Members,
    inbound: InboundTable,
    /// What the LogServer has been told to be durable.
    durable: Write,
    failure_told: bool,
    /// Failed preparations of segments that the log has been told of.
    prepare_failures: u64,
    /// Status requests of this turn.
    asked: Vec<(PeerId, u64)>,
    questions: BTreeMap<u64, Question>,
    next_question: u64,
    stopping: bool,
    /// When connections whose peers do not take what is left for them are closed all the same; set by the stop.
    abandon_at: Option<Instant>,
    completions: Vec<Completion>,
    touched: Vec<ConnId>,
    deadline: Option<Instant>,
    /// When the journal claims what it wrote, if nothing is written before.
    claim_at: Option<Instant>,
    /// When the present turn began.
    now: Instant,
    turns: TurnCounters,
    network: NetworkCounters,
    write_times: WriteTimes,
}

/// A status request that waits for the reports of other shards.
struct Question {
    peer: PeerId,
    request: u64,
    reports: Vec<Value>,
}

impl<D: Driver> Shard<D> {
    /// A shard over `driver`, which recovers its journal in its first turns.
    pub fn new(driver: D, config: ShardConfig, listener: Option<ListenerId>) -> Self {
        let inbox = Arc::new(Inbox::new(driver.waker()));
        let journal = Journal::open(JournalConfig {
            directory: config.directory.clone(),
            node: config.identity.node,
            journal: config.shard as u32,
            block_bytes: config.block_bytes,
            token_owner: owner::JOURNAL,
            limits: config.limits.clone(),
            seed: config.seed,
        });
        let NodeIdentity { node, incarnation, .. } = config.identity;
        Self {
            log_server: LogServer::new(node, incarnation, &config.limits),
            sequencing: Sequencing::new(Sequencers::new(config.limits.clone())),
            members: Members::default(),
            inbound: InboundTable::default(),
            peers: vec![inbox.clone()],
            inbox,
            listener,
            accept_at: listener.map(|_| Instant::ORIGIN),
            journal,
            recovered: false,
            damage: Vec::new(),
            durable: Write::default(),
            failure_told: false,
            prepare_failures: 0,
            asked: Vec::new(),
            questions: BTreeMap::new(),
            next_question: 0,
            stopping: false,
            abandon_at: None,
            completions: Vec::new(),
            touched: Vec::new(),
            // The first turn waits for nothing: it begins the recovery.
            deadline: Some(Instant::ORIGIN),
            claim_at: None,
            now: Instant::ORIGIN,
            turns: TurnCounters::default(),
            network: NetworkCounters::default(),
            write_times: WriteTimes::default(),
            driver,
            config,
        }
    }

    /// Where other threads leave commands.
    pub fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Tells the shard the inboxes of all shards of its node, by number.
    pub fn set_peers(&mut self, peers: Vec<Arc<Inbox>>) {
        assert_eq!(peers.len(), self.config.shards, "one inbox for each shard");
        self.peers = peers;
    }

    /// Whether the journal is recovered and requests are answered.
    pub fn is_ready(&self) -> bool {
        self.recovered
    }

    /// Why the journal could not be recovered, or has failed since.
    pub fn failure(&self) -> Option<&storage::Failure> {
        self.journal.failure()
    }

    /// When [`Shard::turn`] has something to do without any completion.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// One turn of the loop. With `block`, waits for something to do. Returns false when the shard has stopped.
    ///
    /// # Errors
    /// The driver has failed.
    pub fn turn(&mut self, block: bool) -> io::Result<bool> {
        let deadline = if block { self.deadline } else { Some(Instant::ORIGIN) };
        let mut completions = std::mem::take(&mut self.completions);
        self.driver.wait(deadline, &mut completions)?;
        let now = self.driver.now();
        self.now = now;
        self.turns.turns += 1;
        self.turns.completions += completions.len() as u64;
        for completion in completions.drain(..) {
            self.complete(completion, now);
        }
        self.completions = completions;
        while let Some(command) = self.inbox.pop() {
            self.turns.commands += 1;
            self.carry_out(command);
        }
        if self.abandon_at.take_if(|at| *at <= now).is_some() {
            self.inbound.close_all(|connection| connection.abandon(Closed::Here("the node stops")));
        }
        self.recover();
        self.settle(now);
        self.claim_when_idle(now);
        self.submit(now);
        self.deadline = [
            // Before the recovery and during the stop nothing is accepted, so there is nothing to wake up for.
            self.accept_at.filter(|_| self.recovered && !self.stopping),
            self.abandon_at,
            self.claim_at,
            self.log_server.poll_timeout().map(|(at, _)| at),
            self.sequencing.poll_timeout(),
            self.members.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min();
        Ok(!self.has_stopped())
    }

    fn complete(&mut self, completion: Completion, now: Instant) {
        let Completion { token, mut outcome } = completion;
        let chunk = match &mut outcome {
            Outcome::Received { chunk, .. } => Some(std::mem::replace(chunk, Chunk::END)),
            _ => None,
        };
        match token.owner() {
            owner::JOURNAL => {
                self.write_times.completed(token, now);
                self.journal.handle(Completion { token, outcome });
            }
            owner::LISTENER => self.accept(outcome, now),
            owner::INBOUND => self.handle_inbound(ConnId(token.value()), outcome, chunk.as_ref(), now),
            owner::STORE_LINK => {
                let (slot, server) = ((token.value() >> 8) as usize, (token.value() & 0xFF) as usize);
                let bytes = chunk.as_ref().map_or(&[][..], |chunk| self.driver.chunk(chunk));
                self.sequencing.handle_link(slot, server, outcome, bytes, now);
            }
            owner::MEMBER_LINK => {
                let bytes = chunk.as_ref().map_or(&[][..], |chunk| self.driver.chunk(chunk));
                let (log_server, journal) = (&mut self.log_server, &mut self.journal);
                self.members.handle(token.value() as usize, outcome, bytes, now, |node, event| match event {
                    MemberEvent::Message(message) => {
                        log_server.handle_member(node, message, now, &mut JournalDisk(journal));
                    }
                    MemberEvent::Down => log_server.handle_member_disconnected(node, now),
                });
            }
            owner => unreachable!("no operations of owner {owner}"),
        }
        if let Some(chunk) = chunk {
            self.driver.release(chunk);
        }
    }

    fn accept(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            // Whoever comes during the stop would keep it from ending.
            Outcome::Accepted { conn, .. } if self.stopping => {
                self.driver.submit(Token::new(owner::INBOUND, conn.0), Op::CloseConn { conn });
            }
            Outcome::Accepted { conn, peer } => {
                self.inbound.insert(conn, Some(peer), None, &self.config.limits);
                if self.inbound.len() > self.config.limits.connections_max as usize {
                    let inbound = self.inbound.get_mut(conn).expect("just inserted");
                    inbound.connection.reject(RejectCode::Limit, "this node has all the connections it may have");
                }
            }
            Outcome::Failed(error) => {
                tracing::warn!(%error, "accepting a connection has failed");
                self.accept_at = Some(now + self.config.limits.reconnect_delay);
            }
            _ => unreachable!("a listener only accepts"),
        }
    }

    fn handle_inbound(&mut self, conn: ConnId, outcome: Outcome, chunk: Option<&Chunk>, now: Instant) {
        let Some(mut inbound) = self.inbound.take(conn) else { return };
        match outcome {
            Outcome::Received { .. } => {
                let bytes = chunk.map_or(&[][..], |chunk| self.driver.chunk(chunk));
                let mut requests = Requests::of(
                    &mut self.log_server,
                    &mut self.sequencing,
                    &mut self.journal,
                    &self.config,
                    conn,
                    &mut inbound.hello,
                    now,
                );
                inbound.connection.handle_received(bytes, |header, message| requests.handle(header, message));
                let answers = requests.answers;
                self.answer(&mut inbound, answers);
            }
            Outcome::Sent { data, result, .. } => inbound.connection.handle_sent(data, result),
            Outcome::Failed(error) => inbound.connection.handle_receive_failed(error),
            Outcome::Detached { socket, .. } => return self.hand_over(&inbound, socket),
            Outcome::Done => {
                self.forget(&mut inbound);
                return;
            }
            _ => unreachable!("no such operation on an inbound connection"),
        }
        if inbound.connection.is_closing() {
            self.forget(&mut inbound);
        }
        self.inbound.put_back(inbound);
    }

    /// Tells the cores, once, that a peer is gone.
    fn forget(&mut self, inbound: &mut Inbound) {
        if !std::mem::replace(&mut inbound.loss_told, true) && inbound.hello.is_some() && inbound.handoff.is_none() {
            let peer = peer_of(inbound.connection.id());
            self.log_server.handle_disconnected(peer);
            self.sequencing.handle_client_disconnected(peer);
        }
    }

    /// Carries out what a connection's own messages have asked for.
    fn answer(&mut self, inbound: &mut Inbound, answers: Answers) {
        let Answers { messages, reject, hold, status, handoff } = answers;
        messages.iter().for_each(|message| inbound.connection.send(message));
        if let Some((code, detail)) = reject {
            tracing::debug!(peer = ?inbound.peer, %code, detail, "refused a connection");
            inbound.connection.reject(code, &detail);
        }
        if hold {
            self.inbound.held.push(inbound.connection.id());
        }
        let peer = peer_of(inbound.connection.id());
        self.asked.extend(status.into_iter().map(|request| (peer, request)));
        if let Some(home) = handoff {
            inbound.connection.detach();
            inbound.handoff = Some(home);
        }
    }

    /// Gives a connection, which says nothing before its hello is answered, to the shard that its loglet lives on.
    fn hand_over(&self, inbound: &Inbound, socket: OwnedFd) {
        let (Some(home), Some(hello)) = (inbound.handoff, inbound.hello) else {
            unreachable!("it has said where to go")
        };
        self.peers[home].push(Command::Adopt { socket, hello });
    }

    /// The connections whose appends had no room are asked again. Returns whether any message was taken in.
    fn resume_held(&mut self, now: Instant) -> bool {
        let mut moved = false;
        let mut held = std::mem::take(&mut self.inbound.held);
        for conn in held.drain(..) {
            let Some(mut inbound) = self.inbound.take(conn) else { continue };
            if !inbound.connection.has_room() {
                // Not before its peer has taken the answers to what it asked before.
                self.inbound.held.push(conn);
                self.inbound.put_back(inbound);
                continue;
            }
            let mut requests = Requests::of(
                &mut self.log_server,
                &mut self.sequencing,
                &mut self.journal,
                &self.config,
                conn,
                &mut inbound.hello,
                now,
            );
            inbound.connection.resume(|header, message| {
                let flow = requests.handle(header, message);
                moved |= flow == Flow::Continue;
                flow
            });
            let answers = requests.answers;
            self.answer(&mut inbound, answers);
            self.inbound.put_back(inbound);
        }
        if self.inbound.held.is_empty() {
            self.inbound.held = held;
        }
        moved
    }

    fn recover(&mut self) {
        if self.recovered || self.journal.state() != storage::State::Open {
            return;
        }
        let recovered = self.journal.take_recovered();
        for damage in &recovered.damage {
            tracing::warn!(shard = self.config.shard, ?damage, "the journal is damaged");
        }
        let table_lost = recovered.damage.iter().any(|damage| !damage.table_survived || !damage.cells_lost.is_empty());
        let loglets =
            recovered.loglets.iter().map(|&id| RecoveredLoglet { id, stored: self.journal.stored(id).collect() });
        let loglets: Vec<_> = loglets.collect();
        for loglet in &loglets {
            let home = home_shard(loglet.id, self.config.shards);
            assert_eq!(home, self.config.shard, "a loglet is stored where it is looked for");
        }
        self.damage = recovered.damage;
        let prepared = self.config.prepare_bytes.div_ceil(self.config.limits.segment_bytes) as u32;
        self.journal.set_prepared_target(self.config.limits.segments_prepared + prepared);
        self.log_server.recover(recovered.cells, loglets, table_lost, &mut JournalDisk(&mut self.journal));
        self.durable = self.journal.durable();
        self.recovered = true;
    }

    /// Lets everything inside the shard move until nothing moves any more.
    fn settle(&mut self, now: Instant) {
        if !self.recovered {
            return;
        }
        self.sequencing.handle_timeouts(now);
        if self.log_server.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.log_server.handle_timeout(now, &mut JournalDisk(&mut self.journal));
        }
        loop {
            let mut moved = self.advance_journal(now);
            moved |= self.sequencing.send_local(&mut self.log_server, &mut JournalDisk(&mut self.journal), now);
            moved |= self.deliver_outputs(now);
            if !self.inbound.held.is_empty() {
                moved |= self.resume_held(now);
            }
            if !moved {
                break;
            }
        }
        for (peer, request) in std::mem::take(&mut self.asked) {
            self.ask_shards(peer, request);
        }
        self.sequencing.send_remote();
        let inbound = &mut self.inbound;
        self.sequencing.poll_replies(|peer, message| inbound.send(peer, &message));
    }

    fn advance_journal(&mut self, now: Instant) -> bool {
        let mut moved = false;
        if self.journal.failure().is_some() && !std::mem::replace(&mut self.failure_told, true) {
            tracing::error!(shard = self.config.shard, reason = ?self.journal.failure(), "the journal has failed");
            self.log_server.handle_disk_failed();
            moved = true;
        }
        let prepare_failures = self.journal.counters().prepare_failures;
        if prepare_failures > std::mem::replace(&mut self.prepare_failures, prepare_failures) {
            tracing::warn!(
                shard = self.config.shard,
                directory = %self.config.directory.display(),
                prepared_bytes = self.journal.prepared_bytes(),
                "a journal segment could not be prepared: is the disk full? Appends end when none is left"
            );
        }
        let durable = self.journal.durable();
        if durable > self.durable && !self.failure_told {
            self.durable = durable;
            self.log_server.handle_durable(durable, now, &mut JournalDisk(&mut self.journal));
            moved = true;
        }
        while let Some((id, outcome)) = self.journal.poll_read() {
            self.finish_read(ReadId(id), outcome, now);
            moved = true;
        }
        moved
    }

    fn finish_read(&mut self, id: ReadId, outcome: storage::ReadOutcome, now: Instant) {
        let disk = &mut JournalDisk(&mut self.journal);
        let answer = match &outcome {
            storage::ReadOutcome::Records { first, records: (count, bytes) } => {
                let batch = Batch::new(*count, bytes).expect("the journal returns whole batches");
                let outcome = ReadOutcome::Records { first: *first, batch };
                self.log_server.handle_read(id, outcome, now, disk)
            }
            storage::ReadOutcome::Missing { from, to } => {
                self.log_server.handle_read(id, ReadOutcome::Missing { from: *from, to: *to }, now, disk)
            }
            storage::ReadOutcome::Damaged { from, to } => {
                self.log_server.handle_read(id, ReadOutcome::Damaged { from: *from, to: *to }, now, disk)
            }
        };
        if let Some((peer, message)) = answer {
            self.inbound.send(peer, &message);
        }
        if let storage::ReadOutcome::Records { records: (_, bytes), .. } = outcome {
            self.journal.recycle(bytes);
        }
    }

    fn deliver_outputs(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(output) = self.log_server.poll_output() {
            moved = true;
            match output {
                Output::Send { to, message } => match Recipient::of(to) {
                    Recipient::Connection(peer) => self.inbound.send(peer, &message),
                    Recipient::LocalSequencer(slot) => self.sequencing.handle_local(slot, message, now),
                },
                Output::ToMember { to, message } => {
                    self.members.send(to, message, &self.config.identity, &self.config.limits);
                }
            }
        }
        moved
    }

    fn claim_when_idle(&mut self, now: Instant) {
        if !self.journal.wants_claim() {
            self.claim_at = None;
        } else if self.claim_at.get_or_insert(now + self.config.limits.claim_delay).as_nanos() <= now.as_nanos() {
            self.claim_at = None;
            self.journal.claim();
        }
    }

    /// Submits what journal and connections want done.
    fn submit(&mut self, now: Instant) {
        while let Some((token, op)) = self.journal.poll_op() {
            self.write_times.submitted(token, &op, now);
            self.driver.submit(token, op);
        }
        if self.recovered
            && !self.stopping
            && let Some(listener) = self.listener
            && self.accept_at.take_if(|at| *at <= now).is_some()
        {
            self.driver.submit(Token::new(owner::LISTENER, 0), Op::Accept { listener });
        }
        let mut touched = std::mem::take(&mut self.touched);
        self.inbound.take_touched(&mut touched);
        for conn in touched.drain(..) {
            let Some(inbound) = self.inbound.get_mut(conn) else { continue };
            while let Some(op) = inbound.connection.poll_op() {
                self.driver.submit(Token::new(owner::INBOUND, conn.0), op);
            }
            self.network.accepted.add(inbound.connection.take_traffic());
        }
        self.touched = touched;
        while let Some((slot, server, op)) = self.sequencing.poll_op(now) {
            self.driver.submit(Token::new(owner::STORE_LINK, (slot << 8 | server) as u64), op);
        }
        while let Some((index, op)) = self.members.poll_op(now) {
            self.driver.submit(Token::new(owner::MEMBER_LINK, index as u64), op);
        }
        self.network.opened.add(self.sequencing.take_traffic());
        self.network.opened.add(self.members.take_traffic());
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            // It would keep the stop from ending; dropping the socket closes it.
            Command::Adopt { .. } if self.stopping => {}
            Command::Adopt { socket, hello } => {
                let conn = self.driver.attach(socket);
                self.inbound.insert(conn, None, Some(hello), &self.config.limits);
                self.log_server.handle_connected(peer_of(conn), &hello);
                self.inbound
                    .send(peer_of(conn), &Message::Hello(self.config.identity.hello(Role::LogServer, hello.route)));
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
            Command::Stop => {
                self.stopping = true;
                self.abandon_at = Some(self.now + self.config.limits.stall);
                self.inbound.close_all(|connection| connection.close(Closed::Here("the node stops")));
                self.sequencing.close();
                self.members.close();
                self.journal.close();
            }
        }
    }

    fn report(&self) -> Value {
        let sequencers = self.sequencing.iter().map(|sequencer| status::sequencer(sequencer, self.now)).collect();
        status::report(&status::Parts {
            config: &self.config,
            recovered: self.recovered,
            journal: &self.journal,
            damage: &self.damage,
            write_times: &self.write_times,
            log_server: &self.log_server,
            sequencers,
            appends: self.sequencing.counters(),
            connections: self.inbound.len(),
            held_connections: self.inbound.held.len(),
            turns: self.turns,
            network: self.network,
        })
    }

    /// Collects the reports of all shards for a peer's status request.
    fn ask_shards(&mut self, peer: PeerId, request: u64) {
        let question = self.next_question;
        self.next_question += 1;
        self.questions.insert(question, Question { peer, request, reports: Vec::new() });
        for shard in (0..self.config.shards).filter(|&shard| shard != self.config.shard) {
            self.peers[shard].push(Command::ReportTo { shard: self.config.shard, question });
        }
        let report = self.report();
        self.add_report(question, report);
    }

    fn add_report(&mut self, question: u64, report: Value) {
        let Some(open) = self.questions.get_mut(&question) else { return };
        open.reports.push(report);
        if open.reports.len() == self.config.shards {
            let Question { peer, request, reports } = self.questions.remove(&question).expect("found above");
            let report = status::node_report(&self.config.identity, self.config.durability, reports);
            let json = serde_json::to_vec(&report).expect("a report is always serialisable");
            self.inbound.send(peer, &Message::StatusReport { request, json: &json });
        }
    }

    fn has_stopped(&mut self) -> bool {
        self.stopping
            && self.inbound.len() == 0
            && self.sequencing.is_at_rest()
            && self.members.is_at_rest()
            && (self.journal.is_idle() || self.journal.failure().is_some())
    }
}
