use super::Disk;
use super::catch_up::CatchUp;
use super::cell::CellState;
use super::conflict::Recent;
use super::early::Early;
use super::fill::Fill;
use super::lanes::Lanes;
use super::ranges::Ranges;
use super::shared::Shared;
use super::subscribe::Subscription;
use super::waiters::Waiter;
use crate::base::mutants::{self, Mutant};
use crate::base::{LogletId, Offset};
use crate::proto::peer::PeerId;
use crate::wire::{LogletConfig, Member, Message};

/// Whether a loglet still takes records here. It only ever moves forward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Fate {
    Open,
    /// The seal bit is set in memory and not durable yet: neither success nor open nor sealed may be said (P2).
    Sealing,
    /// The seal is durable.
    Sealed,
}

/// One loglet on this LogServer.
///
/// `trim_point <= trim_wanted`; `durable_end <= next`; `stored` is part of `journal`, whose end is at most `next`.
#[derive(Clone, Hash, Debug)]
pub(super) struct Loglet {
    pub(super) id: LogletId,
    /// None where a seal came before the creation.
    pub(super) config: Option<LogletConfig>,
    pub(super) fate: Fate,
    /// Its deletion is on its way to the disk; all answers are held until they can be `Gone`.
    pub(super) deleting: bool,
    pub(super) cell: CellState,
    /// A lower bound of the global tail, reached by unsealed answers (P1). Volatile.
    pub(super) known_tail: Offset,
    /// Durable.
    pub(super) trim_point: Offset,
    pub(super) trim_wanted: Offset,
    /// Offsets with a durable record here.
    pub(super) stored: Ranges,
    /// Offsets with a record here, durable or on its way.
    pub(super) journal: Ranges,
    /// The last durable record's offset + 1; it stands also when that record is damaged later.
    pub(super) durable_end: Offset,
    /// The offset that a store must begin at, or below, to be taken (the order rule).
    pub(super) next: Offset,
    pub(super) recent: Recent,
    pub(super) early: Early,
    /// The connections on which the configured sequencer was heard.
    pub(super) lanes: Lanes,
    /// A store was refused for want of space, and the sequencer sends nothing before it is told `Behind`.
    pub(super) no_space: bool,
    pub(super) waiters: Vec<Waiter>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Reads of the journal in flight for single reads.
    pub(super) reads: u32,
    /// Reads of the journal in flight for comparisons.
    pub(super) compares: u32,
    pub(super) fill: Fill,
    pub(super) catch_up: Option<CatchUp>,
}

impl Loglet {
    pub(super) fn new(id: LogletId, config: Option<LogletConfig>) -> Self {
        assert!(config.as_ref().is_none_or(|config| config.id == id), "the configuration is of this loglet");
        Self {
            id,
            config,
            fate: Fate::Open,
            deleting: false,
            cell: CellState::default(),
            known_tail: Offset::ZERO,
            trim_point: Offset::ZERO,
            trim_wanted: Offset::ZERO,
            stored: Ranges::default(),
            journal: Ranges::default(),
            durable_end: Offset::ZERO,
            next: Offset::ZERO,
            recent: Recent::default(),
            early: Early::default(),
            lanes: Lanes::default(),
            no_space: false,
            waiters: Vec::new(),
            subscriptions: Vec::new(),
            reads: 0,
            compares: 0,
            fill: Fill::default(),
            catch_up: None,
        }
    }

    /// The local tail; counts durable records only (P2, P3).
    pub(super) fn local_tail(&self) -> Offset {
        let stored = if mutants::is(Mutant::AckBeforeDurable) { self.next } else { self.durable_end };
        let trimmed = if mutants::is(Mutant::TrimForgetsTail) { Offset::ZERO } else { self.trim_point };
        stored.max(self.known_tail).max(trimmed)
    }

    /// The local tail as a checkTail or a seal is told.
    fn told_tail(&self) -> Offset {
        if mutants::is(Mutant::LocalTailFromKnownTailOnly) { self.known_tail } else { self.local_tail() }
    }

    /// Whether success and open may be answered.
    pub(super) fn is_open(&self) -> bool {
        self.fate == Fate::Open && !self.deleting
    }

    /// Whether sealed, with a tail, may be answered (P2, P10).
    pub(super) fn tells_sealed(&self) -> bool {
        self.fate == Fate::Sealed && !self.deleting && self.catch_up.is_none()
    }

    /// The other LogServers of the loglet.
    pub(super) fn others(&self, shared: &Shared) -> impl Iterator<Item = Member> + Clone {
        let node = shared.node;
        self.config.iter().flat_map(|config| &config.log_servers).copied().filter(move |member| member.node != node)
    }

    pub(super) fn tail_message(&self, request: u64) -> Message<'static> {
        assert!(self.is_open(), "open is said only while open (P2)");
        let (loglet, tail) = (self.id, self.told_tail());
        Message::Tail { request, loglet, tail, known_tail: self.known_tail, trim_point: self.trim_point }
    }

    pub(super) fn sealed_message(&self, request: u64) -> Message<'static> {
        assert!(self.tells_sealed(), "sealed is said only when durable (P2)");
        let (loglet, tail) = (self.id, self.told_tail());
        Message::Sealed { request, loglet, tail, known_tail: self.known_tail, trim_point: self.trim_point }
    }

    /// What may follow from any change: held answers become due, subscriptions move, something is owed or to be copied.
    pub(super) fn settle(&mut self, shared: &mut Shared, disk: &mut impl Disk) {
        assert!(self.trim_point <= self.trim_wanted, "trim points are wanted before they are durable");
        assert!(self.journal.end() <= self.next && self.durable_end <= self.next, "records are taken in order");
        if !self.waiters.is_empty() {
            self.release_waiters(shared);
        }
        if !self.subscriptions.is_empty() {
            self.drive_subscriptions(shared, disk);
        }
        self.queue_owed(shared);
        self.schedule_fill(shared);
    }

    /// Forgets a connection that is gone.
    pub(super) fn disconnected(&mut self, peer: PeerId) {
        self.waiters.retain(|waiter| waiter.peer != peer);
        self.subscriptions.retain(|subscription| subscription.peer != peer);
        self.lanes.remove(peer);
    }

    pub(super) fn status(&self) -> LogletStatus<'_> {
        let (gaps, missing, missing_below) = self.journal.holes(self.trim_point, self.next.max(self.known_tail));
        LogletStatus {
            id: self.id,
            config: self.config.as_ref(),
            sealed: self.fate != Fate::Open,
            catching_up: self.catch_up.is_some(),
            local_tail: self.local_tail(),
            known_tail: self.known_tail,
            trim_point: self.trim_point,
            early_bytes: self.early.bytes(),
            held_answers: self.waiters.len(),
            stored_records: self.stored.total(),
            subscriptions: self.subscriptions.len(),
            gaps,
            missing,
            missing_below,
        }
    }
}

/// What an operator may want to know of one loglet.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct LogletStatus<'a> {
    /// The loglet.
    pub id: LogletId,
    /// Its configuration; none where a seal came before the creation.
    pub config: Option<&'a LogletConfig>,
    /// Whether it is sealed here, or about to be.
    pub sealed: bool,
    /// Whether it tells no tail before it has copied from others what a damaged journal lost (P10).
    pub catching_up: bool,
    /// The last durable record + 1, or the known tail, or the trim point, whichever is highest.
    pub local_tail: Offset,
    /// A lower bound of the global tail.
    pub known_tail: Offset,
    /// First offset that may still be read.
    pub trim_point: Offset,
    /// Bytes of early arrivals held in memory.
    pub early_bytes: usize,
    /// Answers that wait for durability or for a tail.
    pub held_answers: usize,
    /// Durable records here.
    pub stored_records: u64,
    /// Streams being served.
    pub subscriptions: usize,
    /// Runs of offsets below the tail whose records are not here.
    pub gaps: usize,
    /// How many records they are.
    pub missing: u64,
    /// Where the last of them ends.
    pub missing_below: Option<Offset>,
}
