use std::collections::{BTreeMap, VecDeque};

use super::Cells;
use super::cell::{REGISTER_CELL, RETIRED_CELL, RegisterCell, register_key, retired_key};
use crate::base::mutants::{self, Mutant};
use crate::base::{CellKey, Instant, Limits, NodeId, RegisterId, Version, Write};
use crate::proto::log_server::Refused;
use crate::proto::peer::PeerId;
use crate::wire::{Ballot, Decision, Message, RegisterMessage, RejectCode, Vote};

/// Answers that one register holds until its cell is durable; further requests are refused.
const HELD_MAX: usize = 1024;

const FAILED: &str = "the journal has failed: this acceptor votes no more";
const RETIRED: &str = "this acceptor has lost cells: it votes no more and is to be replaced";

/// One register, as this acceptor knows it.
#[derive(Clone, Hash, Debug)]
struct Register {
    cell: RegisterCell,
    /// Counts the changes of the cell: `durable <= taken <= changes`.
    changes: u64,
    /// The journal has taken the cell as of this change.
    taken: u64,
    /// The cell as of this change is durable.
    durable: u64,
    /// Answers, in the order of the changes that they rest on.
    held: VecDeque<(u64, PeerId, Message<'static>)>,
}

impl Register {
    fn new(cell: RegisterCell) -> Self {
        Self { cell, changes: 0, taken: 0, durable: 0, held: VecDeque::new() }
    }
}

/// A write on its way to the disk.
#[derive(Clone, Copy, Hash, Debug)]
struct Pending {
    write: Write,
    /// None for the mark of an acceptor that votes no more.
    register: Option<(RegisterId, u64)>,
}

/// The acceptors of one node for all registers, without sockets, disk or clock.
///
/// Of each register a sequence of single-decree instances ("Paxos Made Simple", section 2); instance i decides version i, and the decided
/// version names the members of instance i + 1. One cell for each register holds the highest decision known, and promise and vote of the
/// instance after it. Instances at or below the decision are answered with the decision, for the life of the data directory, never with a
/// vote or its absence (P8 b).
///
/// Call order: [`Acceptor::recover`] once; then inputs as they come, each followed by [`Acceptor::poll_output`] until it has nothing more,
/// and [`Acceptor::poll_timeout`] before sleeping. What this acceptor tells of itself is given out only after
/// [`Acceptor::handle_durable`] has covered the write that it rests on, so whatever leaves `poll_output` may be sent at once.
#[derive(Clone, Hash, Debug)]
pub struct Acceptor {
    node: NodeId,
    limits: Limits,
    registers: BTreeMap<RegisterId, Register>,
    /// Writes in the order of the journal.
    pending: VecDeque<Pending>,
    out: VecDeque<(PeerId, Message<'static>)>,
    /// When the journal is offered again what it refused.
    retry_at: Option<Instant>,
    /// The journal has failed.
    failed: bool,
    /// Cells have been lost, in this life or an earlier one (P10).
    retired: bool,
    /// That is still to be written down.
    mark_owed: bool,
}

impl Acceptor {
    /// No registers yet; `node` is this data directory.
    pub fn new(node: NodeId, limits: &Limits) -> Self {
        Self {
            node,
            limits: limits.clone(),
            registers: BTreeMap::new(),
            pending: VecDeque::new(),
            out: VecDeque::new(),
            retry_at: None,
            failed: false,
            retired: false,
            mark_owed: false,
        }
    }

    /// Takes back what the journal held when the process started; to be called once, before anything else. Cells of other layers are
    /// passed over. `cells_lost` says that the journal has lost something that nobody can name: then there may have been promises
    /// and decisions, and this acceptor votes no more, in this life and all later ones (P10). A cell that cannot be read is such a loss.
    pub fn recover(&mut self, held: &[(CellKey, Vec<u8>)], cells_lost: bool, now: Instant, cells: &mut impl Cells) {
        assert!(self.registers.is_empty() && self.pending.is_empty(), "recovery comes first");
        let (mut lost, mut marked) = (cells_lost, false);
        for (key, value) in held {
            match key.kind {
                REGISTER_CELL => match RegisterCell::decode(value) {
                    Some(cell) => drop(self.registers.insert(RegisterId(key.loglet.log), Register::new(cell))),
                    None => lost = true,
                },
                RETIRED_CELL => marked = true,
                _ => {}
            }
        }
        self.retired = lost || marked;
        self.mark_owed = lost && !marked;
        self.flush(now, cells);
    }

    /// Whether it has lost cells and votes no more (P10).
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// The highest decision known of a register; a hint to whoever asks about something else.
    pub fn decided(&self, register: RegisterId) -> Option<&Decision> {
        self.registers.get(&register).map(|register| &register.cell.decided)
    }

    /// Every register that has come to this node, with the highest decision known.
    pub fn registers(&self) -> impl Iterator<Item = (RegisterId, &Decision)> {
        self.registers.iter().map(|(id, register)| (*id, &register.cell.decided))
    }

    /// A connection is gone: nothing more is sent to it.
    pub fn handle_disconnected(&mut self, peer: PeerId) {
        self.out.retain(|(to, _)| *to != peer);
        for register in self.registers.values_mut() {
            register.held.retain(|(_, to, _)| *to != peer);
        }
    }

    /// A request.
    pub fn handle(&mut self, from: PeerId, message: Message<'_>, now: Instant, cells: &mut impl Cells) {
        let Message::Register { request, register, message } = message else {
            return self.reject(from, 0, RejectCode::Malformed, "not a request to an acceptor");
        };
        let asked = Asked { from, request, register };
        match *message {
            RegisterMessage::Query { instance } => self.vote(asked, instance, Question::State),
            RegisterMessage::Prepare { instance, ballot } => self.vote(asked, instance, Question::Prepare(ballot)),
            RegisterMessage::Accept { ballot, decision } => {
                self.vote(asked, decision.version, Question::Accept(Vote { ballot, decision }));
            }
            RegisterMessage::Learn { decision } => self.learn(asked, decision),
            _ => return self.reject(from, request, RejectCode::Malformed, "not a request to an acceptor"),
        }
        self.flush_register(register, now, cells);
    }

    fn vote(&mut self, asked: Asked, instance: Version, question: Question) {
        let Asked { from, request, register: id } = asked;
        let Some(register) = self.registers.get_mut(&id) else {
            return match self.silent() {
                Some(reason) => self.unavailable(asked, reason),
                None => self.tell(asked, RegisterMessage::Behind { instance, next: Version::BIRTH }),
            };
        };
        let cell = &mut register.cell;
        let next = cell.decided.version.next();
        // Decisions are facts, whoever tells them and whatever has happened to him since.
        if instance < next {
            let decision = cell.decided.clone();
            return self.tell(asked, RegisterMessage::Decided { decision });
        }
        if let Some(reason) = self.silent() {
            return self.unavailable(asked, reason);
        }
        let Some(register) = self.registers.get_mut(&id) else { return };
        let cell = &mut register.cell;
        if instance > next {
            return self.tell(asked, RegisterMessage::Behind { instance, next });
        }
        if !cell.decided.names(self.node) {
            return self.reject(from, request, RejectCode::Config, "this node is no member of the instance");
        }
        let answer = match question {
            Question::State => RegisterMessage::State { instance, accepted: cell.accepted.clone() },
            Question::Prepare(Ballot::NONE) | Question::Accept(Vote { ballot: Ballot::NONE, .. }) => {
                return self.reject(from, request, RejectCode::Malformed, "nobody proposes with this ballot");
            }
            Question::Prepare(ballot) if ballot >= cell.promised => {
                if ballot > cell.promised {
                    cell.promised = ballot;
                    register.changes += 1;
                }
                RegisterMessage::Promised { instance, ballot, accepted: cell.accepted.clone() }
            }
            Question::Accept(vote) if vote.decision.value.len() > self.limits.register_bytes_max as usize => {
                return self.reject(from, request, RejectCode::Limit, "the value is too large");
            }
            Question::Accept(vote) if vote.ballot >= cell.promised || mutants::is(Mutant::AcceptIgnoresPromise) => {
                let ballot = vote.ballot;
                if cell.accepted.as_ref() != Some(&vote) {
                    if cell.accepted.as_ref().is_some_and(|before| before.ballot == ballot) {
                        return self.reject(from, request, RejectCode::Config, "the ballot has another value already");
                    }
                    cell.promised = cell.promised.max(ballot);
                    cell.accepted = Some(vote);
                    register.changes += 1;
                }
                RegisterMessage::Accepted { instance, ballot }
            }
            Question::Prepare(_) | Question::Accept(_) => {
                RegisterMessage::Refused { instance, promised: cell.promised }
            }
        };
        self.hold(asked, answer);
    }

    /// Takes a decision that is newer than the one held; promise and vote of the instances up to it have done their work.
    fn learn(&mut self, asked: Asked, decision: Decision) {
        let Asked { from, request, register: id } = asked;
        let known = self.registers.get(&id).map(|register| &register.cell.decided);
        let is_replaced = |known: &Decision| mutants::is(Mutant::BootstrapTwice) && known.version == decision.version;
        if let Some(known) = known.filter(|known| known.version >= decision.version && !is_replaced(known)) {
            if known.version == decision.version && *known != decision {
                let detail = "another value of this version is decided here";
                return self.reject(from, request, RejectCode::Config, detail);
            }
            return match self.silent() {
                Some(reason) => self.unavailable(asked, reason),
                None => self.hold_learned(asked),
            };
        }
        if let Some(reason) = self.silent() {
            return self.unavailable(asked, reason);
        }
        if decision.value.len() > self.limits.register_bytes_max as usize {
            return self.reject(from, request, RejectCode::Limit, "the value is too large");
        }
        // A log has a loglet at least, and the root register is one more.
        let is_full = self.registers.len() > self.limits.loglets_max as usize;
        match self.registers.get_mut(&id) {
            Some(register) if mutants::is(Mutant::AcceptorForgetsInstance) => {
                register.cell = RegisterCell::of(register.cell.decided.clone());
                register.changes += 1;
            }
            Some(register) => {
                register.cell = RegisterCell::of(decision);
                register.changes += 1;
            }
            None if is_full => {
                return self.reject(from, request, RejectCode::Limit, "too many registers on this node");
            }
            None => {
                let mut register = Register::new(RegisterCell::of(decision));
                register.changes = 1;
                self.registers.insert(id, register);
            }
        }
        self.hold_learned(asked);
    }

    fn hold_learned(&mut self, asked: Asked) {
        let version = self.registers[&asked.register].cell.decided.version;
        self.hold(asked, RegisterMessage::Learned { version });
    }

    /// Why nothing is voted, if that is so.
    fn silent(&self) -> Option<&'static str> {
        match (self.failed, self.retired) {
            (true, _) => Some(FAILED),
            (_, true) => Some(RETIRED),
            _ => None,
        }
    }

    /// Gives an answer out when all that this acceptor has taken of the register so far is durable.
    fn hold(&mut self, asked: Asked, message: RegisterMessage) {
        let Asked { from, request, register: id } = asked;
        let register = self.registers.get_mut(&id).expect("only of a register that is known");
        if register.durable == register.changes || mutants::is(Mutant::VoteBeforeDurable) {
            return self.tell(asked, message);
        }
        if register.held.len() >= HELD_MAX {
            return self.reject(from, request, RejectCode::Limit, "too many answers are held for this register");
        }
        let message = Message::Register { request, register: id, message: Box::new(message) };
        register.held.push_back((register.changes, from, message));
    }

    fn tell(&mut self, asked: Asked, message: RegisterMessage) {
        let Asked { from, request, register } = asked;
        self.out.push_back((from, Message::Register { request, register, message: Box::new(message) }));
    }

    fn unavailable(&mut self, asked: Asked, reason: &'static str) {
        let Asked { from, request, register } = asked;
        self.out.push_back((from, Message::Unavailable { request, loglet: register.key(), reason }));
    }

    fn reject(&mut self, from: PeerId, request: u64, code: RejectCode, detail: &'static str) {
        self.out.push_back((from, Message::Reject { request, code, detail }));
    }

    fn flush_register(&mut self, id: RegisterId, now: Instant, cells: &mut impl Cells) {
        let Some(register) = self.registers.get_mut(&id) else { return };
        if register.taken == register.changes || self.failed {
            return;
        }
        match cells.write_cell(register_key(id), &register.cell.encode()) {
            Ok(write) => {
                register.taken = register.changes;
                let pending = Pending { write, register: Some((id, register.taken)) };
                self.taken(pending);
            }
            Err(refused) => self.refused(refused, now),
        }
    }

    fn taken(&mut self, pending: Pending) {
        assert!(self.pending.back().is_none_or(|last| last.write <= pending.write), "the journal's writes are ordered");
        self.pending.push_back(pending);
    }

    fn refused(&mut self, refused: Refused, now: Instant) {
        match refused {
            Refused::Busy | Refused::Space => {
                self.retry_at.get_or_insert(now + self.limits.reconnect_delay);
            }
            Refused::Failed => self.handle_disk_failed(),
        }
    }

    /// Offers the journal whatever it has not taken yet.
    fn flush(&mut self, now: Instant, cells: &mut impl Cells) {
        self.retry_at = None;
        if self.mark_owed && !self.failed {
            match cells.write_cell(retired_key(), b"") {
                Ok(write) => {
                    self.mark_owed = false;
                    self.taken(Pending { write, register: None });
                }
                Err(refused) => self.refused(refused, now),
            }
        }
        let behind = self.registers.iter().filter(|(_, register)| register.taken < register.changes);
        let behind: Vec<RegisterId> = behind.map(|(id, _)| *id).collect();
        behind.into_iter().for_each(|id| self.flush_register(id, now, cells));
    }

    /// Everything written at or below `through` is durable.
    pub fn handle_durable(&mut self, through: Write, now: Instant, cells: &mut impl Cells) {
        if self.failed {
            return;
        }
        while let Some(&Pending { register, .. }) = self.pending.front().filter(|pending| pending.write <= through) {
            self.pending.pop_front();
            let Some((id, change)) = register else { continue };
            let register = self.registers.get_mut(&id).expect("registers are never dropped (P8 b)");
            assert!(register.durable <= change && change <= register.taken, "writes become durable in their order");
            register.durable = change;
            while register.held.front().is_some_and(|(rests_on, ..)| *rests_on <= change) {
                let (_, to, message) = register.held.pop_front().expect("just seen");
                self.out.push_back((to, message));
            }
        }
        if self.retry_at.is_some() {
            self.flush(now, cells);
        }
    }

    /// The journal is poisoned: from now on no vote of any kind, and nothing that was to rest on it (P10).
    pub fn handle_disk_failed(&mut self) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        let is_vote = |message: &Message<'_>| match message {
            Message::Register { message, .. } => !matches!(**message, RegisterMessage::Decided { .. }),
            _ => false,
        };
        self.out.retain(|(_, message)| !is_vote(message));
        self.pending.clear();
        self.retry_at = None;
        for (id, register) in &mut self.registers {
            for (_, to, message) in register.held.drain(..) {
                let Message::Register { request, .. } = message else { continue };
                self.out.push_back((to, Message::Unavailable { request, loglet: id.key(), reason: FAILED }));
            }
        }
    }

    /// The next answer.
    pub fn poll_output(&mut self) -> Option<(PeerId, Message<'static>)> {
        self.out.pop_front()
    }

    /// When to call [`Acceptor::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.retry_at.map(|at| (at, "acceptor: the journal refused a cell"))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, cells: &mut impl Cells) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.flush(now, cells);
        }
    }
}

/// Who asked, and about what.
#[derive(Clone, Copy)]
struct Asked {
    from: PeerId,
    request: u64,
    register: RegisterId,
}

/// What is asked about the instance after the decision held.
enum Question {
    State,
    Prepare(Ballot),
    Accept(Vote),
}
