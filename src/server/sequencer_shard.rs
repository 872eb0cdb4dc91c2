use std::sync::Arc;

use serde_json::{Value, json};

use super::NodeIdentity;
use super::inbound::{Inbound, InboundTable, peer_of};
use super::inbox::{Command, Inbox};
use super::memory;
use super::profile::Profile;
use super::requests::{Answers, Input};
use super::sequencer_requests::{Host, serve};
use super::sequencing::Sequencing;
use super::shard::RELEASE_AFTER;
use super::status;
use super::timing::{NetworkCounters, TurnCounters};
use crate::base::{Instant, Limits};
use crate::io::op::{Chunk, Completion, ConnId, ListenerId, Op, Outcome, Token};
use crate::io::{Driver, LODGERS, Lodger};
use crate::net::Closed;
use crate::wire::{Message, RejectCode};

/// Owners of tokens.
mod owner {
    use super::LODGERS;

    pub(super) const LISTENER: u8 = LODGERS;
    /// value = connection.
    pub(super) const INBOUND: u8 = LODGERS + 1;
    /// value = slot << 8 | server.
    pub(super) const STORE_LINK: u8 = LODGERS + 2;
}

/// What the shard of a node that only sequences is told at its start.
#[derive(Debug, Clone)]
pub struct SequencerShardConfig {
    /// The node.
    pub identity: NodeIdentity,
    /// Its bounds.
    pub limits: Limits,
    /// Name of the driver; shown in status.
    pub driver: &'static str,
}

/// The one shard of a node that sequences and does nothing else: a [`super::Shard`] without journal, LogServers and acceptor. All
/// LogServers of its loglets are on other nodes. The driver is somebody else's: of a thread that does nothing else, or of a client that
/// appends through it.
pub struct SequencerShard {
    config: SequencerShardConfig,
    inbox: Arc<Inbox>,
    listener: Option<ListenerId>,
    /// When to arm the listener; none while it is armed, or not there.
    accept_at: Option<Instant>,
    sequencing: Sequencing,
    inbound: InboundTable,
    stopping: bool,
    /// When connections whose peers do not take what is left for them are closed all the same; set by the stop.
    abandon_at: Option<Instant>,
    touched: Vec<ConnId>,
    deadline: Option<Instant>,
    over: bool,
    /// When memory that has not been used is given up; none while there is none.
    release_at: Option<Instant>,
    /// When the present turn began.
    now: Instant,
    turns: TurnCounters,
    network: NetworkCounters,
    profile: Profile,
}

impl SequencerShard {
    /// A shard over `driver`, which answers from its first turn on.
    pub fn new<D: Driver>(driver: &mut D, config: SequencerShardConfig, listener: Option<ListenerId>) -> Self {
        driver.set_peer_timeout(config.limits.peer_timeout);
        let inbox = Arc::new(Inbox::new(driver.waker()));
        Self {
            listener,
            accept_at: listener.map(|_| Instant::ORIGIN),
            sequencing: Sequencing::new(&config.limits, 0, vec![inbox.clone()]),
            inbox,
            inbound: InboundTable::new(&config.limits),
            stopping: false,
            abandon_at: None,
            touched: Vec::new(),
            // The first turn waits for nothing: it arms the listener.
            deadline: Some(Instant::ORIGIN),
            over: false,
            release_at: None,
            now: Instant::ORIGIN,
            turns: TurnCounters::default(),
            network: NetworkCounters::default(),
            profile: Profile::new(config.limits.profile),
            config,
        }
    }

    /// Where other threads leave commands.
    pub fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    fn accept<D: Driver>(&mut self, driver: &mut D, outcome: Outcome, now: Instant) {
        match outcome {
            // Whoever comes during the stop would keep it from ending.
            Outcome::Accepted { conn, .. } if self.stopping => {
                driver.submit(Token::new(owner::INBOUND, conn.0), Op::CloseConn { conn });
            }
            Outcome::Accepted { conn, peer } => self.take_in(conn, Some(peer)),
            Outcome::Failed(error) => {
                tracing::warn!(%error, "accepting a connection has failed");
                self.accept_at = Some(now + self.config.limits.reconnect_delay);
            }
            _ => unreachable!("a listener only accepts"),
        }
    }

    fn take_in(&mut self, conn: ConnId, peer: Option<std::net::SocketAddr>) {
        self.inbound.insert(conn, peer, None, &self.config.limits);
        if self.inbound.len() > self.config.limits.connections_max as usize {
            let inbound = self.inbound.get_mut(conn).expect("just inserted");
            inbound.connection.reject(RejectCode::Limit, "this node has all the connections it may have");
        }
    }

    fn handle_inbound(&mut self, conn: ConnId, outcome: Outcome, bytes: &[u8], now: Instant) {
        let Some(mut inbound) = self.inbound.take(conn) else { return };
        match outcome {
            Outcome::Received { .. } => {
                let is_short = self.inbound.is_short_of_memory();
                let host = Host { sequencing: &mut self.sequencing, config: &self.config, is_short, now };
                let answers = serve(&mut inbound, Input::Received(bytes), host);
                self.answer(&mut inbound, answers);
            }
            Outcome::Sent { data, result, .. } => inbound.connection.handle_sent(data, result),
            Outcome::Failed(error) => inbound.connection.handle_receive_failed(error),
            Outcome::Done => {
                self.forget(&mut inbound);
                self.inbound.forget(&inbound);
                return;
            }
            _ => unreachable!("no such operation on an inbound connection"),
        }
        if inbound.connection.is_closing() {
            self.forget(&mut inbound);
        }
        self.inbound.put_back(inbound);
    }

    /// Tells the sequencers, once, that a peer is gone.
    fn forget(&mut self, inbound: &mut Inbound) {
        if !std::mem::replace(&mut inbound.loss_told, true) && inbound.hello.is_some() {
            self.sequencing.handle_client_disconnected(peer_of(inbound.connection.id()));
        }
    }

    /// Carries out what a connection's own messages have asked for.
    fn answer(&mut self, inbound: &mut Inbound, answers: Answers) {
        let Answers { messages, reject, hold, status, .. } = answers;
        messages.iter().for_each(|message| inbound.connection.send(message));
        if let Some(request) = status {
            let report = status::sequencer_report(&self.config.identity, vec![self.report()]);
            let json = serde_json::to_vec(&report).expect("a report is always serialisable");
            status::messages(request, &json, &self.config.limits).for_each(|part| inbound.connection.send(&part));
        }
        if let Some((code, detail)) = reject {
            tracing::debug!(peer = ?inbound.peer, %code, detail, "refused a connection");
            inbound.connection.reject(code, &detail);
        }
        if hold {
            self.inbound.held.push(inbound.connection.id());
        }
    }

    fn carry_out<D: Driver>(&mut self, driver: &mut D, command: Command) {
        match command {
            // Dropping the end closes it.
            Command::Join(_) if self.stopping => {}
            Command::Join(end) => {
                let conn = driver.join(end);
                self.take_in(conn, None);
            }
            Command::Report(reply) => drop(reply.try_send(self.report())),
            Command::Stop => self.begin_to_stop(),
            Command::Adopt { .. }
            | Command::OpenLane { .. }
            | Command::LaneStopped { .. }
            | Command::ReportTo { .. }
            | Command::Part { .. }
            | Command::Misses(_)
            | Command::Scaling(_) => {
                unreachable!("there is no other shard, and no control")
            }
        }
    }

    fn begin_to_stop(&mut self) {
        self.stopping = true;
        self.abandon_at = Some(self.now + self.config.limits.stall);
        self.inbound.close_all(|connection| connection.close(Closed::Here("the node stops")));
        self.sequencing.close();
    }

    /// Lets everything inside the shard move until nothing moves any more.
    fn settle<D: Driver>(&mut self, driver: &D, now: Instant) {
        self.sequencing.handle_timeouts(now);
        while !self.inbound.held.is_empty() && self.resume_held(now) {}
        self.sequencing.send_remote();
        let (inbound, profile) = (&mut self.inbound, &mut self.profile);
        let released = if profile.is_enabled() { driver.now() } else { now };
        if profile.is_enabled() {
            self.sequencing.note_sequenced(released);
        }
        self.sequencing.poll_replies(|peer, mut message| {
            if let Message::Appended { loglet, first, count, residence: Some(residence), .. } = &mut message {
                profile.release((*loglet, *first, *count), residence, now, released);
            }
            inbound.send(peer, &message);
        });
        self.inbound.enforce_pool();
    }

    /// The connections whose requests had no room are asked again. Returns whether any message was taken in.
    fn resume_held(&mut self, now: Instant) -> bool {
        let mut moved = false;
        let mut held = std::mem::take(&mut self.inbound.held);
        for conn in held.drain(..) {
            let Some(mut inbound) = self.inbound.take(conn) else { continue };
            if inbound.connection.has_room() {
                let is_short = self.inbound.is_short_of_memory();
                let host = Host { sequencing: &mut self.sequencing, config: &self.config, is_short, now };
                let answers = serve(&mut inbound, Input::Held, host);
                moved |= answers.moved;
                self.answer(&mut inbound, answers);
            } else {
                // Not before its peer has taken the answers to what it asked before.
                self.inbound.held.push(conn);
            }
            self.inbound.put_back(inbound);
        }
        if self.inbound.held.is_empty() {
            self.inbound.held = held;
        }
        moved
    }

    /// Gives up memory that has not been used for a while.
    fn release_idle(&mut self, now: Instant) {
        if self.release_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let more = self.inbound.release_idle();
        self.sequencing.release_idle(None);
        if more {
            self.release_at = Some(now + RELEASE_AFTER);
        }
    }

    /// Submits what connections want done.
    fn submit<D: Driver>(&mut self, driver: &mut D, now: Instant) {
        if !self.stopping
            && let Some(listener) = self.listener
            && self.accept_at.take_if(|at| *at <= now).is_some()
        {
            driver.submit(Token::new(owner::LISTENER, 0), Op::Accept { listener });
        }
        let mut touched = std::mem::take(&mut self.touched);
        self.inbound.take_touched(&mut touched);
        for conn in touched.drain(..) {
            let Some(inbound) = self.inbound.get_mut(conn) else { continue };
            while let Some(op) = inbound.connection.poll_op() {
                driver.submit(Token::new(owner::INBOUND, conn.0), op);
            }
            self.network.add_accepted(conn, inbound.connection.take_traffic());
        }
        self.touched = touched;
        while let Some((slot, server, op)) = self.sequencing.poll_op(now) {
            driver.submit(Token::new(owner::STORE_LINK, (slot << 8 | server) as u64), op);
        }
        self.network.opened.add(self.sequencing.take_traffic());
    }

    fn report(&self) -> Value {
        let sequencing = &self.sequencing;
        let sequencers = sequencing.iter().map(|sequencer| status::sequencer(sequencer, sequencing, self.now));
        let profile = self.profile.report(self.now, |loglet, server| sequencing.member(loglet, server));
        json!({
            "shard": 0,
            "responsive": true,
            "driver": self.config.driver,
            "memory": memory::report_sequencer(&self.config.limits, sequencing, &self.inbound),
            "connections": self.inbound.len(),
            "local_connections": self.inbound.local(),
            "connections_max": self.config.limits.connections_max,
            "held_connections": self.inbound.held.len(),
            "loop": self.turns,
            "network": self.network,
            "sequencers": sequencers.collect::<Vec<_>>(),
            "appends": sequencing.counters(),
            "latency_profile": profile,
        })
    }
}

impl<D: Driver> Lodger<D> for SequencerShard {
    fn complete(&mut self, driver: &mut D, completion: Completion, now: Instant) {
        self.now = now;
        self.turns.completions += 1;
        self.release_at.get_or_insert(now + RELEASE_AFTER);
        let Completion { token, mut outcome } = completion;
        let chunk = match &mut outcome {
            Outcome::Received { chunk, .. } => Some(std::mem::replace(chunk, Chunk::END)),
            _ => None,
        };
        match token.owner() {
            owner::LISTENER => self.accept(driver, outcome, now),
            owner::INBOUND => {
                let bytes = chunk.as_ref().map_or(&[][..], |chunk| driver.chunk(chunk));
                self.handle_inbound(ConnId(token.value()), outcome, bytes, now);
            }
            owner::STORE_LINK => {
                let (slot, server) = ((token.value() >> 8) as usize, (token.value() & 0xFF) as usize);
                let bytes = chunk.as_ref().map_or(&[][..], |chunk| driver.chunk(chunk));
                self.sequencing.handle_link(slot, server, outcome, bytes, now);
            }
            owner => unreachable!("no operations of owner {owner}"),
        }
        if let Some(chunk) = chunk {
            driver.release(chunk);
        }
    }

    fn advance(&mut self, driver: &mut D, now: Instant) {
        self.now = now;
        self.turns.turns += 1;
        while let Some(command) = self.inbox.pop() {
            self.turns.commands += 1;
            self.carry_out(driver, command);
        }
        if self.abandon_at.take_if(|at| *at <= now).is_some() {
            self.inbound.close_all(|connection| connection.abandon(Closed::Here("the node stops")));
        }
        self.settle(driver, now);
        self.release_idle(now);
        self.submit(driver, now);
        let deadlines = [
            self.accept_at.filter(|_| !self.stopping),
            self.abandon_at,
            self.release_at,
            self.sequencing.poll_timeout(),
        ];
        self.deadline = deadlines.into_iter().flatten().min();
        self.over = self.stopping && self.inbound.len() == 0 && self.sequencing.is_at_rest();
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn stop(&mut self, now: Instant) {
        self.now = now;
        if !self.stopping {
            self.begin_to_stop();
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }
}
