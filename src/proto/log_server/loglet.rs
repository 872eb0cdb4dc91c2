use super::Disk;
use super::catch_up::CatchUp;
use super::cell::CellState;
use super::conflict::Recent;
use super::early::Early;
use super::fill::Fill;
use super::ranges::Ranges;
use super::shared::{Output, Shared};
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

/// Answers to stores, which have no number and are cumulative: each is owed at most once.
#[derive(Clone, Copy, Hash, Debug, Default)]
pub(super) struct Owes {
    pub(super) stored: bool,
    pub(super) behind: bool,
    pub(super) sealed: bool,
    pub(super) no_space: bool,
    queued: bool,
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
    /// The connection on which the configured sequencer was last heard.
    pub(super) sequencer: Option<PeerId>,
    /// The last tail told there as a success, or the tail when it was first heard.
    told: Offset,
    /// A store was refused for want of space, and the sequencer sends nothing before it is told `Behind`.
    pub(super) no_space: bool,
    pub(super) owes: Owes,
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
            sequencer: None,
            told: Offset::ZERO,
            no_space: false,
            owes: Owes::default(),
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

    /// Notes where the sequencer is heard. What it does not know on a new connection it asks for by storing it again.
    pub(super) fn hear(&mut self, peer: PeerId) {
        if self.sequencer != Some(peer) {
            self.sequencer = Some(peer);
            self.told = self.local_tail();
            self.owes.no_space = self.no_space;
        }
    }

    /// Whether the sequencer does not know how far this server is, whoever has raised the tail. If a client's known tail or a
    /// copy from another server overtakes a store on its way, that store has no answer of its own any more, and without this
    /// one the sequencer would keep its place in the window for ever.
    fn is_ahead_of_told(&self) -> bool {
        self.is_open() && self.cell.written && self.sequencer.is_some() && self.local_tail() > self.told
    }

    fn queue_owed(&mut self, shared: &mut Shared) {
        self.owes.stored |= !shared.failed && self.is_ahead_of_told();
        let due = match self.fate {
            _ if self.deleting => false,
            Fate::Open if self.no_space => self.owes.stored || self.owes.no_space,
            Fate::Open => self.owes.stored || self.owes.behind,
            _ if mutants::is(Mutant::AckAfterSeal) && self.owes.stored => true,
            Fate::Sealing => false,
            Fate::Sealed => (self.owes.stored || self.owes.behind || self.owes.sealed) && self.catch_up.is_none(),
        };
        if due && !self.owes.queued {
            self.owes.queued = true;
            shared.owing.push_back(self.id);
        }
    }

    /// The next answer owed to the sequencer, decided now: what was a success when it was owed is none any more if the loglet has
    /// been sealed since (P2). None takes the loglet off the queue.
    pub(super) fn owed(&mut self) -> Option<Output> {
        let message = match self.fate {
            _ if self.deleting => None,
            Fate::Open | Fate::Sealing | Fate::Sealed
                if (self.fate == Fate::Open || mutants::is(Mutant::AckAfterSeal))
                    && std::mem::take(&mut self.owes.stored) =>
            {
                self.told = self.local_tail();
                Some(Message::Stored { loglet: self.id, tail: self.local_tail() })
            }
            Fate::Open if self.no_space => {
                let loglet = self.id;
                std::mem::take(&mut self.owes.no_space).then_some(Message::NoSpace { request: 0, loglet })
            }
            Fate::Open if std::mem::take(&mut self.owes.behind) => {
                let (loglet, tail) = (self.id, self.local_tail());
                Some(Message::Behind { request: 0, loglet, tail, known_tail: self.known_tail })
            }
            Fate::Sealed if self.tells_sealed() && (self.owes.stored || self.owes.behind || self.owes.sealed) => {
                self.owes = Owes { queued: true, ..Owes::default() };
                Some(self.sealed_message(0))
            }
            _ => None,
        };
        match (message, self.sequencer) {
            (Some(message), Some(to)) => Some(Output::Send { to, message }),
            (Some(_), None) => {
                self.owes = Owes::default();
                None
            }
            (None, _) => {
                self.owes.queued = false;
                None
            }
        }
    }

    /// Forgets a connection that is gone.
    pub(super) fn disconnected(&mut self, peer: PeerId) {
        self.waiters.retain(|waiter| waiter.peer != peer);
        self.subscriptions.retain(|subscription| subscription.peer != peer);
        if self.sequencer == Some(peer) {
            self.sequencer = None;
        }
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
