use std::collections::BTreeMap;

use super::append::Appends;
use super::check_tail::CheckTail;
use super::create::Create;
use super::delete::Delete;
use super::fill::Fill;
use super::link::{Connection, Key, Shared};
use super::read::Read;
use super::restore::Restore;
use super::seal::{SEALER, Seal, Sealer};
use super::step::{Context, Kind, Operation};
use super::subscribe::Subscribe;
use super::trim::Trim;
use crate::base::{Instant, Limits, LogletId, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::wire::{LogletConfig, Message};

/// A peer of the loglet's client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// The sequencer that the configuration names.
    Sequencer,
    /// A LogServer, by its number in the configuration.
    LogServer(usize),
}

/// The client of one NativeLoglet.
///
/// The host keeps a connection to every target that [`NativeLoglet::wants`], tells of each that came up, went down or could
/// not be made, feeds messages and operations, and afterwards drains [`NativeLoglet::poll_send`] for each target and
/// [`NativeLoglet::poll_result`], and asks [`NativeLoglet::poll_timeout`] when to come back.
#[derive(Clone, Hash, Debug)]
pub struct NativeLoglet {
    pub(super) shared: Shared,
    pub(super) appends: Appends,
    operations: BTreeMap<Key, Operation>,
    next_key: u64,
}

impl NativeLoglet {
    /// A client that knows nothing of the loglet's state yet.
    pub fn new(config: LogletConfig, limits: &Limits) -> Self {
        let shared = Shared::new(config, limits);
        Self { shared, appends: Appends::default(), operations: BTreeMap::new(), next_key: SEALER.0 + 1 }
    }

    /// Reads start at this LogServer: the collocated or nearest one. Without it they take turns.
    pub fn set_preferred(&mut self, server: usize) {
        assert!(server < self.shared.servers(), "LogServers are numbered by the configuration");
        self.shared.preferred = Some(server);
    }

    /// The loglet's configuration.
    pub fn config(&self) -> &LogletConfig {
        &self.shared.config
    }

    /// The largest known tail heard (P1).
    pub fn known_tail(&self) -> Offset {
        self.shared.known_tail
    }

    /// Starts an operation; `id` names no other one in progress, except for `Credit` and `Unsubscribe`, which name their
    /// subscription.
    ///
    /// # Panics
    /// On records that are no batch.
    pub fn handle_op(&mut self, id: OpId, op: LogletOp, now: Instant) {
        let kind = match op {
            LogletOp::Append { records } => return self.handle_append(id, records, now),
            LogletOp::Credit { limit, bytes } => {
                return self.with_subscription(id, now, |subscription, context| {
                    subscription.grant(context, limit, bytes);
                });
            }
            LogletOp::Unsubscribe => return self.with_subscription(id, now, |subscription, _| subscription.end()),
            LogletOp::CheckTail => Kind::CheckTail(CheckTail::new(&self.shared)),
            LogletOp::ReadNext { min, max, limit, bytes_max } => {
                Kind::Read(Read::new(&self.shared, id, min, max, limit, bytes_max, now))
            }
            LogletOp::Subscribe { from, limit, credit } => {
                Kind::Subscribe(Subscribe::new(&self.shared, id, from, limit, credit, now))
            }
            LogletOp::FillTo { offset } => Kind::Fill(Fill::new(&mut self.shared, offset, now)),
            LogletOp::Seal => Kind::Seal(Seal),
            LogletOp::Trim { point, committed } => Kind::Trim(Trim::new(&self.shared, point, committed)),
        };
        self.start(id, kind, now);
    }

    /// Creates the loglet on a majority of its LogServers, then activates its sequencer (P4, P5). Ends with `Done`, or with
    /// `Sealed`, `Gone` or `SequencerLost`, after which this loglet is not to be installed.
    pub fn create(&mut self, id: OpId, now: Instant) {
        self.shared.links.iter_mut().for_each(|link| link.wanted = true);
        self.start(id, Kind::Create(Create::new(self.shared.servers())), now);
    }

    /// Deletes the loglet, which chain version `chain_version` does not name, but those of `live`, on every LogServer that can be
    /// reached, at least a majority (P5). Ends with `Done`.
    pub fn delete(&mut self, id: OpId, chain_version: u64, live: Vec<LogletId>, now: Instant) {
        self.start(id, Kind::Delete(Delete::new(self.shared.servers(), chain_version, live)), now);
    }

    /// Gives these LogServers, by their numbers in the configuration, all of the loglet, which ends at `stop`, and verifies it (P7).
    /// Ends with `Done`.
    pub fn restore(&mut self, id: OpId, stop: Offset, servers: &[usize], now: Instant) {
        let restore = Restore::new(&self.shared, stop, servers, now);
        self.start(id, Kind::Restore(restore), now);
    }

    /// The connection to `target` is up.
    pub fn handle_connected(&mut self, target: Target, now: Instant) {
        self.reset_link(target, Connection::Up, now);
    }

    /// The connection to `target` is down, or could not be made.
    pub fn handle_disconnected(&mut self, target: Target, now: Instant) {
        self.reset_link(target, Connection::Down, now);
    }

    /// A message from `target`. Messages about another loglet, or that nobody asked for, are ignored.
    pub fn handle(&mut self, from: Target, message: Message<'_>, now: Instant) {
        let link = self.link(from);
        let Some(Heard { request, loglet, known_tail }) = heard(&message) else { return };
        if loglet.is_some_and(|loglet| loglet != self.shared.loglet()) {
            return;
        }
        // P1 c: a known tail obeys P1 wherever it stands. The local tails beside it are merged nowhere.
        self.shared.learn(known_tail);
        if from == Target::Sequencer && self.handle_append_answer(request, &message) {
            return self.drive_sealer();
        }
        if let Target::LogServer(server) = from {
            self.note_seal(server, &message, now);
        }
        let Some(&key) = self.shared.links[link].pending.get(&request) else { return };
        let streams = matches!(message, Message::Records { .. })
            && self.operations.get(&key).is_some_and(|operation| matches!(operation.kind, Kind::Subscribe(_)));
        if !streams {
            self.shared.links[link].pending.remove(&request);
        }
        let refusal = match message {
            Message::Reject { detail: reason, .. } | Message::Unavailable { reason, .. } => Some(reason),
            Message::NoSpace { .. } => Some("no space is left in its journal"),
            _ => None,
        };
        if let Some(reason) = refusal {
            if let (Message::NoSpace { .. }, Some(operation)) = (&message, self.operations.get_mut(&key)) {
                operation.step().no_space(link);
            }
            self.shared.links[link].refusal = Some(reason.to_owned());
            self.shared.pause(link, now);
            self.lose_requests(link, &[key]);
        } else if let Some(operation) = self.operations.get_mut(&key) {
            self.shared.links[link].refusal = None;
            let id = operation.id;
            let mut context = Context { shared: &mut self.shared, key, id, now };
            operation.step().answer(&mut context, link, request, &message);
        }
        self.drive(key, now);
    }

    /// Whether the host should have a connection to `target`. Once wanted it stays so, to be there for the next operation,
    /// until the loglet is gone; the sequencer until the loglet is sealed.
    pub fn wants(&self, target: Target) -> bool {
        let over = match target {
            Target::Sequencer => self.is_closed() && self.appends.oldest().is_none(),
            Target::LogServer(_) => self.shared.gone,
        };
        self.shared.links[self.link(target)].wanted && !(over && self.operations.is_empty())
    }

    /// Whether no append can succeed any more: sealed on a majority, or deleted.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.gone || self.shared.sealer.is_complete(self.shared.quorum())
    }

    /// Whether `target` owes an answer.
    pub fn waits_for(&self, target: Target) -> bool {
        // What has not been sent yet, for want of a connection, is waited for as well.
        let unsent = || self.appends.oldest().is_some() || self.fills().next().is_some();
        (target == Target::Sequencer && unsent()) || !self.shared.links[self.link(target)].pending.is_empty()
    }

    fn fills(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values().filter(|operation| matches!(operation.kind, Kind::Fill(_)))
    }

    /// The next message for `target`.
    pub fn poll_send(&mut self, target: Target) -> Option<Message<'_>> {
        let (link, loglet) = (self.link(target), self.shared.loglet());
        if self.shared.links[link].connection != Connection::Up {
            return None;
        }
        if target == Target::Sequencer && !self.shared.links[link].has_requests() {
            return self.appends.poll_send(loglet);
        }
        self.shared.links[link].poll_send(loglet)
    }

    /// The next result.
    pub fn poll_result(&mut self) -> Option<(OpId, LogletResult)> {
        self.shared.results.pop_front()
    }

    /// When to call [`NativeLoglet::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let limit = self.shared.limits.operation_timeout;
        let append = self.appends.oldest().map(|since| (since + limit, "loglet: an append has taken too long"));
        let paused = self.shared.links.iter().filter_map(|link| link.paused);
        let paused = paused.map(|at| (at, "loglet: a peer refused something")).min();
        let operations = self.operations.values().flat_map(|operation| {
            let deadline = operation.deadline.map(|at| (at, "loglet: an operation has taken too long"));
            deadline.into_iter().chain(operation.view().timeout(&self.shared))
        });
        operations.chain(append).chain(paused).min_by_key(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for link in &mut self.shared.links {
            link.paused.take_if(|at| *at <= now);
        }
        self.expire_appends(now);
        self.drive_all(now);
        let due = |operation: &Operation| operation.deadline.is_some_and(|at| at <= now);
        let expired: Vec<Key> = self.operations.iter().filter(|(_, op)| due(op)).map(|(key, _)| *key).collect();
        for key in expired {
            let operation = self.operations.remove(&key).expect("just found");
            let reason = operation.view().missing(&self.shared);
            self.shared.results.push_back((operation.id, LogletResult::Unavailable { reason }));
        }
    }

    fn link(&self, target: Target) -> usize {
        match target {
            Target::Sequencer => self.shared.sequencer(),
            Target::LogServer(server) => {
                assert!(server < self.shared.servers(), "LogServers are numbered by the configuration");
                server
            }
        }
    }

    fn start(&mut self, id: OpId, kind: Kind, now: Instant) {
        let servers = self.shared.servers();
        self.shared.links[..servers].iter_mut().for_each(|link| link.wanted = true);
        let key = Key(self.next_key);
        self.next_key += 1;
        let limit = self.shared.limits.operation_timeout;
        let has_deadline = !matches!(kind, Kind::Subscribe(_) | Kind::Restore(_) | Kind::Fill(_));
        let deadline = has_deadline.then(|| now + limit);
        self.operations.insert(key, Operation { id, deadline, kind });
        self.drive(key, now);
    }

    fn with_subscription(&mut self, id: OpId, now: Instant, act: impl FnOnce(&mut Subscribe, &mut Context<'_>)) {
        let found = self.operations.iter_mut().find_map(|(key, operation)| match &mut operation.kind {
            Kind::Subscribe(subscription) if operation.id == id => Some((*key, subscription)),
            _ => None,
        });
        // A subscription that ended by itself meanwhile has nothing to be told.
        let Some((key, subscription)) = found else { return };
        act(subscription, &mut Context { shared: &mut self.shared, key, id, now });
        self.drive(key, now);
    }

    fn reset_link(&mut self, target: Target, connection: Connection, now: Instant) {
        let link = self.link(target);
        let replaced = self.shared.links[link].connection == Connection::Up;
        let waiting = self.shared.links[link].reset(connection);
        // What waits for the first connection goes on waiting; a replaced connection has been lost.
        if target == Target::Sequencer && (connection == Connection::Down || replaced) {
            self.lose_appends();
            // Whether asked or not, as appends.
            let fills = self.operations.values_mut().filter(|operation| matches!(operation.kind, Kind::Fill(_)));
            fills.for_each(|operation| operation.step().lost(link));
        }
        self.lose_requests(link, &waiting);
        self.drive_all(now);
    }

    fn lose_requests(&mut self, link: usize, keys: &[Key]) {
        for key in keys {
            if *key == SEALER {
                self.shared.sealer.lost(link);
            } else if let Some(operation) = self.operations.get_mut(key) {
                operation.step().lost(link);
            }
        }
    }

    /// Whatever the answer was to: a LogServer that is sealed is a fact for every operation, and completes the seal (L1).
    fn note_seal(&mut self, server: usize, message: &Message<'_>, now: Instant) {
        match *message {
            Message::Sealed { tail, .. } => {
                self.shared.sealer.note(server, tail);
                self.operations.values_mut().for_each(|operation| operation.step().sealed(server, tail));
                self.drive_all(now);
            }
            Message::Gone { .. } => {
                self.shared.gone = true;
                self.drive_all(now);
            }
            _ => {}
        }
    }

    pub(super) fn drive_sealer(&mut self) {
        Sealer::drive(&mut self.shared);
        if self.is_closed() {
            self.settle_unsent();
        }
    }

    fn drive(&mut self, key: Key, now: Instant) {
        if let Some(mut operation) = self.operations.remove(&key) {
            let id = operation.id;
            match operation.step().drive(&mut Context { shared: &mut self.shared, key, id, now }) {
                Some(result) => self.shared.results.push_back((id, result)),
                None => drop(self.operations.insert(key, operation)),
            }
        }
        self.drive_sealer();
    }

    fn drive_all(&mut self, now: Instant) {
        let keys: Vec<Key> = self.operations.keys().copied().collect();
        keys.into_iter().for_each(|key| self.drive(key, now));
        self.drive_sealer();
    }
}

/// The parts of an answer that every answer has.
struct Heard {
    request: u64,
    /// A refusal may name none.
    loglet: Option<LogletId>,
    /// Zero where the message has none.
    known_tail: Offset,
}

fn heard(message: &Message<'_>) -> Option<Heard> {
    let (request, loglet, known_tail) = match *message {
        Message::Reject { request, .. } => (request, None, Offset::ZERO),
        Message::Done { request, loglet }
        | Message::Conflict { request, loglet, .. }
        | Message::Gone { request, loglet }
        | Message::Gap { request, loglet, .. }
        | Message::Trimmed { request, loglet, .. }
        | Message::AppendSealed { request, loglet, .. }
        | Message::SequencerLost { request, loglet }
        | Message::NoSpace { request, loglet }
        | Message::AppendNoSpace { request, loglet, .. }
        | Message::Unavailable { request, loglet, .. } => (request, Some(loglet), Offset::ZERO),
        Message::Tail { request, loglet, known_tail, .. }
        | Message::Sealed { request, loglet, known_tail, .. }
        | Message::Behind { request, loglet, known_tail, .. }
        | Message::Records { request, loglet, known_tail, .. }
        | Message::Filled { request, loglet, known_tail, .. }
        | Message::Appended { request, loglet, known_tail, .. } => (request, Some(loglet), known_tail),
        _ => return None,
    };
    Some(Heard { request, loglet, known_tail })
}
