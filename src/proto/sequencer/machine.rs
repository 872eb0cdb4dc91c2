use std::collections::VecDeque;
use std::time::Duration;

use super::append::Outstanding;
use super::fill::{Fill, Given, no_ops_max};
use super::patience::Patience;
use super::queue::Queue;
use super::store::Server;
use crate::base::{Histogram, Instant, Limits, LogletId, Offset};
use crate::proto::PeerId;
use crate::wire::{BatchBuilder, LogletConfig, Message, RejectCode};

/// Why a sequencer has given up. It seals the loglet then, so that nothing waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Lost {
    /// The watermark stood still for the limit with records outstanding (L4).
    #[error("no majority of LogServers has stored anything for too long")]
    Stalled,
    /// No majority has space for what it holds, and the memory for it is needed by others.
    #[error("no majority of LogServers has space left for what was appended")]
    NoSpace,
    /// A LogServer has another incarnation configured (P4).
    #[error("LogServer {server} does not take this process for the sequencer")]
    Refused {
        /// Its number in the configuration.
        server: usize,
    },
    /// A LogServer holds what this sequencer has not sent: somebody else has sequenced this loglet (P4).
    #[error("LogServer {server} holds other records than this sequencer's at {at}")]
    Contradicted {
        /// Its number in the configuration.
        server: usize,
        /// The offset in question.
        at: Offset,
    },
    /// The host gave it up, for instance because the process stops.
    #[error("the host has ended it")]
    Ended,
}

impl Lost {
    /// Whether the offsets given out still name this sequencer's records, so that the chain's stop settles them (P16).
    pub(super) fn offsets_stand(self) -> bool {
        matches!(self, Self::Stalled | Self::NoSpace | Self::Ended)
    }
}

/// What a sequencer does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Gives out offsets and acknowledges.
    Running,
    /// A LogServer is sealed or has deleted the loglet; a majority is not yet known to be. Nothing is acknowledged any more.
    Sealing,
    /// Sealed on a majority; the other LogServers are being sealed.
    Sealed,
    /// Given up; the loglet is being sealed.
    Lost(Lost),
}

/// The sequencer of one loglet, for one life of one process (P4); or one lane of it, where appends of the loglet enter on several shards.
/// Lanes share what their host tells each of them: offsets are given out in one order for all, and what one of them knows to be committed
/// is so for all. Everything else each has for itself.
///
/// The host feeds it `handle_*` and afterwards drains [`Sequencer::poll_reply`], [`Sequencer::poll_send`] for each LogServer
/// and asks [`Sequencer::poll_timeout`] when to come back. What a connection could not take is polled again when it can.
#[derive(Clone, Hash, Debug)]
pub struct Sequencer {
    pub(super) config: LogletConfig,
    pub(super) window_bytes: u64,
    pub(super) store_window_bytes: u64,
    /// A slow LogServer's share of the window. Half, so that the other half is always there for what is uncommitted.
    pub(super) lag_bytes: u64,
    pub(super) stall: Duration,
    pub(super) retry: Duration,
    /// How long a known tail that has moved waits for a store to go with.
    pub(super) known_tail_delay: Duration,
    pub(super) no_ops_max: u32,
    pub(super) state: State,
    /// No offset at or beyond it was given to anybody, as far as is known here: `end <= tail`, and the two are the same where nobody else
    /// sequences the loglet.
    pub(super) tail: Offset,
    /// Where the last range given here ends. Between this sequencer's ranges may be those of other lanes.
    pub(super) end: Offset,
    /// Reached by the count of unsealed successes of this sequencer, or of another lane of it (P1): `watermark <= tail`.
    pub(super) watermark: Offset,
    /// When the watermark last moved, somebody began to wait for it, or LogServers had space again.
    pub(super) progress: Instant,
    /// A LogServer has deleted the loglet, which it does only when no chain names it any more (P5).
    pub(super) left_chain: bool,
    pub(super) queue: Queue,
    pub(super) servers: Vec<Server>,
    /// Not yet answered appends, in offset order.
    pub(super) outstanding: VecDeque<Outstanding>,
    /// Requests for no-ops that have no answer yet.
    pub(super) fills: Vec<Fill>,
    /// Those that wait for records to come in the place of no-ops.
    pub(super) patience: Patience,
    /// When to look again how far other lanes are.
    pub(super) look_at: Option<Instant>,
    /// Memory for no-ops while they are placed.
    pub(super) no_ops: BatchBuilder,
    pub(super) given: Given,
    pub(super) replies: VecDeque<(PeerId, Message<'static>)>,
    /// The host has said of everything below it when it was handed to the LogServers.
    pub(super) sequenced: Offset,
    /// The host has said of everything below it when the own LogServer made it durable.
    pub(super) timed: Offset,
    /// From the frame's arrival to its acknowledgement.
    pub(super) append_latency: Histogram,
}

impl Sequencer {
    /// A sequencer that starts at offset 0. Only [`crate::proto::sequencers::Sequencers`] decides whether it may exist (P4).
    pub fn new(config: LogletConfig, limits: &Limits, now: Instant) -> Self {
        assert!(!config.log_servers.is_empty(), "a loglet has LogServers");
        let servers = config.log_servers.iter().map(|_| Server::default()).collect();
        Self {
            config,
            window_bytes: u64::from(limits.sequencer_window_bytes),
            store_window_bytes: u64::from(limits.store_window_bytes),
            lag_bytes: u64::from(limits.sequencer_window_bytes) / 2,
            stall: limits.stall,
            retry: limits.reconnect_delay,
            known_tail_delay: limits.known_tail_delay,
            no_ops_max: no_ops_max(limits),
            state: State::Running,
            tail: Offset::ZERO,
            end: Offset::ZERO,
            watermark: Offset::ZERO,
            progress: now,
            left_chain: false,
            queue: Queue::default(),
            servers,
            outstanding: VecDeque::new(),
            fills: Vec::new(),
            patience: Patience::new(limits),
            look_at: None,
            no_ops: BatchBuilder::default(),
            given: Given::default(),
            replies: VecDeque::new(),
            sequenced: Offset::ZERO,
            timed: Offset::ZERO,
            append_latency: Histogram::default(),
        }
    }

    /// A message from LogServer `server`. Messages about another loglet, or that no LogServer sends, are ignored.
    pub fn handle(&mut self, server: usize, message: Message<'_>, now: Instant) {
        assert!(server < self.servers.len(), "LogServers are numbered by the configuration");
        let ours = self.loglet();
        match message {
            Message::Stored { loglet, tail, followed } if loglet == ours => {
                self.handle_stored(server, tail, followed, now);
            }
            Message::Behind { loglet, tail, .. } if loglet == ours => self.handle_behind(server, tail, now),
            // Its tail and known tail count for nothing here: acknowledgements come from unsealed successes (P1). `Gone` is as
            // good as sealed (P5).
            Message::Sealed { loglet, .. } if loglet == ours => self.handle_sealed(server),
            Message::Gone { loglet, .. } if loglet == ours => {
                self.left_chain = true;
                self.handle_sealed(server);
            }
            Message::Conflict { loglet, at, .. } if loglet == ours => self.lose(Lost::Contradicted { server, at }),
            Message::SequencerLost { loglet, .. } if loglet == ours => self.lose(Lost::Refused { server }),
            Message::Unavailable { loglet, .. } if loglet == ours => self.pause(server, now),
            Message::NoSpace { loglet, .. } if loglet == ours => self.handle_no_space(server),
            // A refusal names no loglet, and a connection may carry several: trying again after a pause suits them all.
            Message::Reject { code: RejectCode::UnknownLoglet, .. } => {
                self.servers[server].owe_create();
                self.pause(server, now);
            }
            Message::Reject { .. } => self.pause(server, now),
            _ => {}
        }
    }

    /// When to call [`Sequencer::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let running = self.state == State::Running;
        let stalled = (running && self.is_waited_for())
            .then(|| (self.progress + self.stall, "sequencer: the watermark stands still"));
        let look = self.look_at.filter(|_| running).map(|at| (at, "sequencer: a fill waits for other lanes"));
        let servers = self.servers.iter().filter_map(Server::timeout);
        // Without room it ends with what makes some.
        let patience = self.patience.ends().filter(|_| running && self.has_room());
        let patience = patience.map(|at| (at, "sequencer: a fill waits for records"));
        servers.chain(stalled).chain(look).chain(patience).min_by_key(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        (0..self.servers.len()).for_each(|server| self.handle_server_timeout(server, now));
        self.look_again(now);
        self.lose_patience(now);
        if self.state == State::Running && self.is_waited_for() && now.since(self.progress) >= self.stall {
            match self.lacks_space() {
                true => self.abandon(),
                false => self.lose(Lost::Stalled),
            }
        }
    }

    /// Whether anybody waits for the watermark.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.outstanding.is_empty() || !self.fills.is_empty()
    }

    /// The loglet.
    pub fn loglet(&self) -> LogletId {
        self.config.id
    }

    /// The loglet's configuration.
    pub fn config(&self) -> &LogletConfig {
        &self.config
    }

    /// What it does.
    pub fn state(&self) -> State {
        self.state
    }

    /// Lower bound of the global tail, from its own count of unsealed successes (P1).
    pub fn known_tail(&self) -> Offset {
        self.watermark
    }
}
