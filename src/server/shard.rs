use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::NodeIdentity;
use super::commands::Questions;
use super::cores::Cores;
use super::inbound::InboundTable;
use super::inbox::{Command, Inbox};
use super::journal_disk::JournalDisk;
use super::members::{MemberEvent, Members};
use super::profile::Profile;
use super::sequencing::Sequencing;
use super::timing::{NetworkCounters, TurnCounters, WriteTimes};
use crate::base::{Instant, Limits, NodeId, Write};
use crate::io::Driver;
use crate::io::op::{Chunk, Completion, ConnId, ListenerId, Op, Outcome, Token};
use crate::net::Closed;
use crate::proto::log_server::LogServer;
use crate::proto::metastore::Acceptor;
use crate::storage::{self, Damage, Journal, JournalConfig};

/// Memory, and links to other members, that have not been used for so long are given up.
pub(super) const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// Owners of tokens.
pub(super) mod owner {
    pub(in crate::server) const JOURNAL: u8 = 1;
    pub(in crate::server) const LISTENER: u8 = 2;
    /// value = connection.
    pub(in crate::server) const INBOUND: u8 = 3;
    /// value = slot << 8 | server.
    pub(in crate::server) const STORE_LINK: u8 = 4;
    /// value = index of the member link.
    pub(in crate::server) const MEMBER_LINK: u8 = 5;
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
    /// Journal bytes to prepare at the start, once, beyond the usual number of segments.
    pub prepare_bytes: u64,
    /// Cores that the node may use; shown in status.
    pub cores: usize,
}

/// One shard: everything that happens on one thread of a node.
///
/// [`Shard::turn`] is its whole life: completions are taken in, the cores move on until nothing moves any more, and what
/// they want done is submitted. The first turns recover the journal; nothing is answered before that is done.
pub struct Shard<D: Driver> {
    pub(super) driver: D,
    pub(super) config: ShardConfig,
    pub(super) inbox: Arc<Inbox>,
    /// The inboxes of all shards of the node, by number; this one's too.
    pub(super) peers: Vec<Arc<Inbox>>,
    pub(super) listener: Option<ListenerId>,
    /// When to arm the listener; none while it is armed, or not there.
    pub(super) accept_at: Option<Instant>,
    pub(super) cores: Cores,
    /// Whether the journal is recovered.
    pub(super) recovered: bool,
    /// What the recovery found damaged.
    pub(super) damage: Vec<Damage>,
    pub(super) members: Members,
    pub(super) inbound: InboundTable,
    /// What the LogServer has been told to be durable.
    pub(super) durable: Write,
    pub(super) failure_told: bool,
    /// Failed preparations of segments that the log has been told of.
    pub(super) prepare_failures: u64,
    /// The log says that the LogServers have no space.
    pub(super) full_told: bool,
    pub(super) questions: Questions,
    /// Whom the node's control misses.
    pub(super) misses: Vec<NodeId>,
    /// What the node's control has decided about logs that may change their number of stripes, by their names.
    pub(super) scaling: BTreeMap<String, String>,
    /// Connections from other shards that wait for the recovery.
    pub(super) adoptions: Vec<Command>,
    pub(super) stopping: bool,
    /// When connections whose peers do not take what is left for them are closed all the same; set by the stop.
    pub(super) abandon_at: Option<Instant>,
    pub(super) completions: Vec<Completion>,
    pub(super) touched: Vec<ConnId>,
    pub(super) deadline: Option<Instant>,
    /// When the journal claims what it wrote, if nothing is written before.
    pub(super) claim_at: Option<Instant>,
    /// When memory and links that have not been used are given up; none while there are none.
    pub(super) release_at: Option<Instant>,
    /// When the present turn began.
    pub(super) now: Instant,
    pub(super) turns: TurnCounters,
    pub(super) network: NetworkCounters,
    pub(super) write_times: WriteTimes,
    pub(super) profile: Profile,
}

impl<D: Driver> Shard<D> {
    /// A shard over `driver`, which recovers its journal in its first turns.
    pub fn new(mut driver: D, config: ShardConfig, listener: Option<ListenerId>) -> Self {
        driver.set_peer_timeout(config.limits.peer_timeout);
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
            cores: Cores {
                log_server: LogServer::new(node, incarnation, &config.limits),
                sequencing: Sequencing::new(&config.limits, config.shard, vec![inbox.clone()]),
                acceptor: Acceptor::new(node, &config.limits),
                journal,
            },
            members: Members::default(),
            inbound: InboundTable::new(&config.limits),
            peers: vec![inbox.clone()],
            inbox,
            listener,
            accept_at: listener.map(|_| Instant::ORIGIN),
            recovered: false,
            damage: Vec::new(),
            durable: Write::default(),
            failure_told: false,
            prepare_failures: 0,
            full_told: false,
            questions: Questions::default(),
            misses: Vec::new(),
            scaling: BTreeMap::new(),
            adoptions: Vec::new(),
            stopping: false,
            abandon_at: None,
            completions: Vec::new(),
            touched: Vec::new(),
            // The first turn waits for nothing: it begins the recovery.
            deadline: Some(Instant::ORIGIN),
            claim_at: None,
            release_at: None,
            now: Instant::ORIGIN,
            turns: TurnCounters::default(),
            network: NetworkCounters::default(),
            write_times: WriteTimes::default(),
            profile: Profile::new(config.limits.profile),
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
        self.cores.sequencing = Sequencing::new(&self.config.limits, self.config.shard, peers.clone());
        self.peers = peers;
    }

    /// Whether the journal is recovered and requests are answered.
    pub fn is_ready(&self) -> bool {
        self.recovered
    }

    /// Why the journal could not be recovered, or has failed since.
    pub fn failure(&self) -> Option<&storage::Failure> {
        self.cores.journal.failure()
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
        if !completions.is_empty() {
            self.release_at.get_or_insert(now + RELEASE_AFTER);
        }
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
        self.release_idle(now);
        self.submit(now);
        self.deadline = [
            // Before the recovery and during the stop nothing is accepted, so there is nothing to wake up for.
            self.accept_at.filter(|_| self.recovered && !self.stopping),
            self.abandon_at,
            self.claim_at,
            self.release_at,
            self.cores.journal.has_reads_due().then_some(now),
            self.cores.log_server.poll_timeout().map(|(at, _)| at),
            self.cores.acceptor.poll_timeout().map(|(at, _)| at),
            self.cores.sequencing.poll_timeout(),
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
                self.cores.journal.handle(Completion { token, outcome });
            }
            owner::LISTENER => self.accept(outcome, now),
            owner::INBOUND => self.handle_inbound(ConnId(token.value()), outcome, chunk.as_ref(), now),
            owner::STORE_LINK => {
                let (slot, server) = ((token.value() >> 8) as usize, (token.value() & 0xFF) as usize);
                let bytes = chunk.as_ref().map_or(&[][..], |chunk| self.driver.chunk(chunk));
                self.cores.sequencing.handle_link(slot, server, outcome, bytes, now);
            }
            owner::MEMBER_LINK => {
                let bytes = chunk.as_ref().map_or(&[][..], |chunk| self.driver.chunk(chunk));
                let Cores { log_server, journal, .. } = &mut self.cores;
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

    /// Submits what journal and connections want done.
    fn submit(&mut self, now: Instant) {
        self.profile.note_begun(&self.cores, now);
        // What goes to other nodes comes first: theirs is the longer way to the same write.
        while let Some((slot, server, op)) = self.cores.sequencing.poll_op(now) {
            self.driver.submit(Token::new(owner::STORE_LINK, (slot << 8 | server) as u64), op);
        }
        loop {
            let since = self.profile.before_submit(&self.cores, || self.driver.now());
            let unit = self.cores.journal.submitted();
            let Some((token, op)) = self.cores.journal.poll_op() else { break };
            self.write_times.submitted(token, &op, now);
            self.driver.submit(token, op);
            if let Some(since) = since {
                self.profile.after_submit(since, unit, &self.cores, || self.driver.now());
            }
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
            self.network.add_accepted(conn, inbound.connection.take_traffic());
        }
        self.touched = touched;
        while let Some((index, op)) = self.members.poll_op(now) {
            self.driver.submit(Token::new(owner::MEMBER_LINK, index as u64), op);
        }
        self.network.opened.add(self.cores.sequencing.take_traffic());
        self.network.opened.add(self.members.take_traffic());
    }

    fn has_stopped(&mut self) -> bool {
        self.stopping
            && self.inbound.len() == 0
            && self.cores.sequencing.is_at_rest()
            && self.members.is_at_rest()
            && (self.cores.journal.is_idle() || self.cores.journal.failure().is_some())
    }
}
