use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::task::Waker;

use super::errand::Errand;
use super::filing::Filing;
use super::handle::Handle;
use super::inbox::{Command, Inbox, LogKey};
use super::profile::AppendProfile;
use super::registers::Registers;
use super::session::Session;
use super::virtual_log::{LogSession, Opening};
use super::work::{Ended, Work};
use super::{Log, RegisterFiles, VirtualLog};
use crate::base::{ClusterId, Incarnation, Instant, Limits, NodeId, RegisterId};
use crate::io::op::{Completion, Op, Outcome, Token};
use crate::io::{Driver, LODGERS, Lodger};
use crate::proto::virtual_log::LogletSpec;
use crate::wire::Decision;

/// Owner of tokens of sessions: value = log << `LINK_BITS` | link.
const SESSION: u8 = 1;
/// Owner of tokens of errands: value = errand.
const ERRAND: u8 = 2;

const LINK_BITS: u64 = 28;

/// What is open on the reactor.
enum Opened {
    Loglet(Session),
    Log(Box<LogSession>),
    Registers(Registers),
}

impl Opened {
    fn work(&mut self) -> &mut dyn Work {
        match self {
            Self::Loglet(session) => session,
            Self::Log(session) => session.as_mut(),
            Self::Registers(session) => session,
        }
    }
}

/// The client's loop over its driver: the same code on io_uring and in the simulator, where it is turned by hand.
pub struct Reactor<D: Driver> {
    driver: D,
    limits: Limits,
    /// The way in for whoever has opened a log here, and the one numbering of all that is opened.
    handle: Arc<Handle>,
    incarnation: Incarnation,
    /// Whose LogServer is read from first, where it has what is wanted.
    near: Option<NodeId>,
    sessions: BTreeMap<LogKey, Opened>,
    errands: BTreeMap<u64, Errand>,
    next_errand: u64,
    completions: Vec<Completion>,
    commands: Vec<Command>,
    /// Logs in which something has happened in this turn.
    touched: Vec<LogKey>,
    /// Appends that have ended in this turn.
    ended: Ended,
    /// When something is due in a session without any event; at most one entry for each.
    schedule: BTreeSet<(Instant, LogKey)>,
    /// Of the appends since it was taken last; none without any.
    profile: Option<Box<AppendProfile>>,
    /// Who shares the driver, if anybody does.
    lodger: Option<Box<dyn Lodger<D>>>,
    ending: bool,
}

impl<D: Driver> Reactor<D> {
    /// A reactor without any log. It is turned by a thread of its own, or by hand over a simulated driver.
    pub fn new(mut driver: D, limits: Limits) -> Self {
        driver.set_peer_timeout(limits.peer_timeout);
        let handle = Arc::new(Handle::new(Arc::new(Inbox::new(driver.waker())), driver.clock()));
        Self {
            driver,
            limits,
            handle,
            incarnation: Incarnation(0),
            near: None,
            sessions: BTreeMap::new(),
            errands: BTreeMap::new(),
            next_errand: 0,
            completions: Vec::new(),
            commands: Vec::new(),
            touched: Vec::new(),
            ended: Ended::default(),
            schedule: BTreeSet::new(),
            profile: None,
            lodger: None,
            ending: false,
        }
    }

    /// Reads begin with this node's LogServer, where it has one of the loglet; without it LogServers take turns.
    pub(super) fn set_near(&mut self, near: Option<NodeId>) {
        self.near = near;
    }

    /// Shares the driver from now on. Whoever lodges here is asked to end with the reactor, which waits for it.
    pub(super) fn set_lodger(&mut self, lodger: Box<dyn Lodger<D>>) {
        self.lodger = Some(lodger);
    }

    /// The way in for other threads.
    pub(super) fn handle(&self) -> Arc<Handle> {
        self.handle.clone()
    }

    /// Opens a log on this reactor.
    pub fn open(&self, loglet: impl Into<LogletSpec>, cluster: ClusterId) -> Log {
        self.handle.open(loglet.into(), cluster, &self.limits)
    }

    /// Opens a virtual log on this reactor: its chain is in the register, of which `decided` is any decided version. No other log, on any
    /// reactor at any time, has the same seed.
    pub fn open_log(&self, cluster: ClusterId, register: RegisterId, decided: Decision, seed: u64) -> VirtualLog {
        self.handle.open_log(Opening { cluster, register, decided, files: None }, seed, &self.limits)
    }

    /// As [`Client::take_append_profile`](super::Client::take_append_profile), of this reactor.
    pub fn take_append_profile(&mut self) -> Box<AppendProfile> {
        self.profile.take().unwrap_or_default()
    }

    /// For people who look for what stands still: what is open here, and what it waits for.
    pub fn describe(&mut self) -> String {
        let lines = self.sessions.iter_mut().map(|(key, session)| format!("{key:?} {}", session.work().describe()));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// When [`Reactor::turn`] has something to do without any completion.
    pub fn deadline(&self) -> Option<Instant> {
        let session = self.schedule.first().map(|(due, _)| *due);
        let lodger = self.lodger.as_ref().and_then(|lodger| lodger.deadline());
        self.errands.values().filter_map(Errand::poll_timeout).chain(session).chain(lodger).min()
    }

    /// One turn: completions and commands in, operations out. With `block`, waits for something to do. Returns false at
    /// the end.
    ///
    /// # Errors
    /// The driver has failed.
    pub fn turn(&mut self, block: bool) -> io::Result<bool> {
        let deadline = if block { self.deadline() } else { Some(Instant::ORIGIN) };
        self.driver.wait(deadline, &mut self.completions)?;
        let now = self.driver.now();
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            self.complete(completion, now);
        }
        self.completions = completions;
        self.carry_out_commands(now);
        self.advance(now);
        let lodger_is_over = self.lodger.as_mut().is_none_or(|lodger| {
            lodger.advance(&mut self.driver, now);
            lodger.is_over()
        });
        Ok(!(self.ending && self.sessions.is_empty() && self.errands.is_empty() && lodger_is_over))
    }

    fn complete(&mut self, completion: Completion, now: Instant) {
        if completion.token.owner() >= LODGERS {
            let lodger = self.lodger.as_mut().expect("nobody else has submitted it");
            return lodger.complete(&mut self.driver, completion, now);
        }
        let Completion { token, mut outcome } = completion;
        let chunk = match &mut outcome {
            Outcome::Received { chunk, .. } => Some(std::mem::replace(chunk, crate::io::op::Chunk::END)),
            _ => None,
        };
        let bytes = chunk.as_ref().map_or(&[][..], |chunk| self.driver.chunk(chunk));
        let opened = match outcome {
            Outcome::Connected { conn } => Some(conn),
            _ => None,
        };
        let mut owned = true;
        match token.owner() {
            SESSION => {
                let (log, link) = (LogKey(token.value() >> LINK_BITS), token.value() & ((1 << LINK_BITS) - 1));
                if let Some(session) = self.sessions.get_mut(&log) {
                    owned = session.work().handle(link, outcome, bytes, now);
                    self.touched.push(log);
                } else {
                    owned = false;
                }
            }
            ERRAND => {
                if let Some(errand) = self.errands.get_mut(&token.value()) {
                    errand.handle(outcome, bytes, now);
                } else {
                    owned = false;
                }
            }
            owner => unreachable!("no operations of owner {owner}"),
        }
        if let Some(chunk) = chunk {
            self.driver.release(chunk);
        }
        // Whoever wanted it has not waited for the connection.
        if !owned && let Some(conn) = opened {
            self.driver.submit(token, Op::CloseConn { conn });
        }
    }

    fn carry_out_commands(&mut self, now: Instant) {
        let mut commands = std::mem::take(&mut self.commands);
        self.handle.inbox.drain(&mut commands);
        for command in commands.drain(..) {
            self.carry_out(command, now);
        }
        self.commands = commands;
    }

    fn carry_out(&mut self, command: Command, now: Instant) {
        let log = match command {
            Command::Open { log, loglet, cluster, submission } => {
                let session =
                    Session::new(loglet, cluster, self.incarnation, self.near, log.0, submission, &self.limits);
                self.sessions.insert(log, Opened::Loglet(session));
                log
            }
            Command::OpenLog { log, opening, seed, submission } => {
                let filing = opening.files.clone().map(|files| self.file(log, files, opening.decided.clone()));
                let mut session =
                    LogSession::new(opening, self.incarnation, self.near, submission, &self.limits, seed, now);
                session.set_filing(filing);
                self.sessions.insert(log, Opened::Log(Box::new(session)));
                log
            }
            Command::OpenRegisters { key, cluster, seed } => {
                let session = Registers::new(cluster, self.incarnation, &self.limits, seed);
                self.sessions.insert(key, Opened::Registers(session));
                key
            }
            Command::RegisterOp { key, decided, op, reply } => {
                if let Some(Opened::Registers(session)) = self.sessions.get_mut(&key) {
                    session.op(decided, op, reply, now);
                }
                key
            }
            Command::Filed { log, id, result } => {
                self.with_log(log, |session| session.filed(id, result, now));
                log
            }
            Command::LogOp { log, op, reply } => {
                self.with_log(log, |session| session.op(op, reply, now));
                log
            }
            Command::SubscribeLog { log, key, from, credit, events } => {
                self.with_log(log, |session| session.subscribe(key, from, credit, events, now));
                log
            }
            Command::Appends(log) => log,
            Command::Op { log, op, reply } => {
                self.with(log, |session| session.op(op, reply, now));
                log
            }
            Command::Create { log, reply } => {
                self.with(log, |session| session.create(reply, now));
                log
            }
            Command::Delete { log, chain_version, reply } => {
                self.with(log, |session| session.delete(chain_version, reply, now));
                log
            }
            Command::Stop { log, stop } => {
                self.with(log, |session| session.set_stop(stop, now));
                log
            }
            Command::Subscribe { log, key, from, credit, events } => {
                self.with(log, |session| session.subscribe(key, from, credit, events, now));
                log
            }
            Command::Credit { log, key, bytes } => {
                self.with_any(log, |session| session.credit(key, bytes, now));
                log
            }
            Command::Unsubscribe { log, key } => {
                self.with_any(log, |session| session.unsubscribe(key, now));
                log
            }
            Command::Close(log) => {
                self.with_any(log, |session| session.close());
                log
            }
            Command::TakeProfile(reply) => {
                // Whoever asked may have gone.
                let _ = reply.try_send(self.take_append_profile());
                return;
            }
            Command::End => {
                self.ending = true;
                self.sessions.values_mut().for_each(|session| session.work().close());
                self.errands.values_mut().for_each(Errand::close);
                if let Some(lodger) = &mut self.lodger {
                    lodger.stop(now);
                }
                self.touched.extend(self.sessions.keys());
                return;
            }
            Command::Errand { node, question, reply } => {
                self.next_errand += 1;
                self.errands.insert(self.next_errand, Errand::new(node, question, reply, &self.limits, now));
                return;
            }
        };
        self.touched.push(log);
    }

    /// The way to a log's register in files, whose answers come as commands.
    fn file(&self, log: LogKey, files: RegisterFiles, decided: Decision) -> Filing {
        let inbox = self.handle.inbox.clone();
        Filing::start(files, decided, move |id, result| inbox.push(Command::Filed { log, id, result }))
    }

    /// Does something with a log's session; nothing when the log has been closed meanwhile, which drops the reply.
    fn with(&mut self, log: LogKey, action: impl FnOnce(&mut Session)) {
        if let Some(Opened::Loglet(session)) = self.sessions.get_mut(&log) {
            action(session);
        }
    }

    fn with_log(&mut self, log: LogKey, action: impl FnOnce(&mut LogSession)) {
        if let Some(Opened::Log(session)) = self.sessions.get_mut(&log) {
            action(session);
        }
    }

    fn with_any(&mut self, log: LogKey, action: impl FnOnce(&mut dyn Work)) {
        if let Some(session) = self.sessions.get_mut(&log) {
            action(session.work());
        }
    }

    fn advance(&mut self, now: Instant) {
        self.touched.extend(self.schedule.iter().take_while(|(due, _)| *due <= now).map(|(_, log)| *log));
        self.touched.sort_unstable();
        self.touched.dedup();
        for log in self.touched.drain(..) {
            let Some(session) = self.sessions.get_mut(&log).map(Opened::work) else { continue };
            session.advance(now);
            if let Some(ended) = session.ended() {
                self.ended.append(ended);
            }
            while let Some((link, op)) = session.poll_op(now) {
                self.driver.submit(Token::new(SESSION, log.0 << LINK_BITS | link), op);
            }
            if let Some(due) = session.scheduled().take() {
                self.schedule.remove(&(due, log));
            }
            if session.is_over() {
                self.sessions.remove(&log);
            } else if let Some(due) = session.poll_timeout() {
                *session.scheduled() = Some(due);
                self.schedule.insert((due, log));
            }
        }
        self.ended.woken.drain(..).for_each(Waker::wake);
        if !self.ended.samples.is_empty() {
            let (profile, told) = (self.profile.get_or_insert_default(), self.driver.now());
            self.ended.samples.drain(..).for_each(|sample| profile.record(&sample.until(now, told)));
        }
        for (&key, errand) in &mut self.errands {
            while let Some(op) = errand.poll_op(now) {
                self.driver.submit(Token::new(ERRAND, key), op);
            }
        }
        self.errands.retain(|_, errand| !errand.is_over());
    }
}

impl<D: Driver> Drop for Reactor<D> {
    fn drop(&mut self) {
        // Nobody may wait for a reactor that is gone: open batches are settled here, replies by dropping their senders.
        for session in self.sessions.values_mut() {
            session.work().close();
        }
        self.handle.inbox.close();
    }
}
