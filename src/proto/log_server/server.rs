use std::collections::BTreeMap;
use std::ops::Bound;

use super::fill::plausible;
use super::life::Floors;
use super::loglet::Loglet;
use super::shared::{Peer, Pending, Purpose, Shared, What};
use super::waiters::{FAILED, Until};
use super::{Disk, LogletStatus, Output, ReadId, ReadOutcome};
use crate::base::mutants::{self, Mutant};
use crate::base::{Incarnation, Instant, Limits, LogletId, NodeId, Offset, Write};
use crate::proto::peer::PeerId;
use crate::wire::{Hello, Message, RejectCode, Role};

/// The LogServers of one shard, without sockets, disk or clock.
///
/// Call order: [`LogServer::recover`] once; then inputs as they come, each followed by [`LogServer::poll_output`] until it has nothing
/// more, and [`LogServer::poll_timeout`] before sleeping. A message returned by [`LogServer::handle_read`] goes out before what
/// `poll_output` gives afterwards. Answers that depend on a write are given out only after [`LogServer::handle_durable`] has covered it, so
/// whatever leaves `poll_output` may be sent at once.
#[derive(Clone, Hash, Debug)]
pub struct LogServer {
    pub(super) loglets: BTreeMap<LogletId, Loglet>,
    pub(super) floors: Floors,
    pub(super) shared: Shared,
    pub(super) marker_owed: bool,
    incarnation: Incarnation,
    /// The failure of the journal has been dealt with.
    poisoned: bool,
}

impl LogServer {
    /// No loglets yet; `node` is this data directory, `incarnation` this process.
    pub fn new(node: NodeId, incarnation: Incarnation, limits: &Limits) -> Self {
        Self {
            loglets: BTreeMap::new(),
            floors: Floors::new(),
            shared: Shared::new(node, limits),
            marker_owed: false,
            incarnation,
            poisoned: false,
        }
    }

    /// The data directory and the process that this is, as its requests to other LogServers introduce themselves.
    pub fn identity(&self) -> (NodeId, Incarnation) {
        (self.shared.node, self.incarnation)
    }

    /// An inbound connection has said who it is.
    pub fn handle_connected(&mut self, peer: PeerId, hello: &Hello) {
        let Hello { role, node, incarnation, .. } = *hello;
        let known =
            self.shared.peers.insert(peer, Peer { role, node, incarnation, subscriptions: 0, reads: 0, paused: false });
        assert!(known.is_none(), "a connection has one hello");
    }

    /// An inbound connection is gone: nothing more is sent to it.
    pub fn handle_disconnected(&mut self, peer: PeerId) {
        if let Some(gone) = self.shared.peers.remove(&peer) {
            self.shared.subscriptions -= gone.subscriptions;
            self.loglets.values_mut().for_each(|loglet| loglet.disconnected(peer));
            self.shared.blocked.retain(|blocked| blocked.0 != peer);
            self.shared.out.retain(|output| !matches!(output, Output::Send { to, .. } if *to == peer));
        }
    }

    /// A request for a LogServer. What comes from an unknown connection is a late message of a closed one, and is dropped.
    pub fn handle(&mut self, from: PeerId, message: Message<'_>, now: Instant, disk: &mut impl Disk) {
        self.shared.now = now;
        let Some(&peer) = self.shared.peers.get(&from) else { return };
        match message {
            Message::Create { request, config } => {
                if self.may_vote(from, request, config.id) {
                    self.create(from, request, config, disk);
                }
            }
            Message::Store { loglet, first, known_tail, batch } => {
                let Some(loglet) = self.sequencer_of(from, peer, loglet, &[first, known_tail]) else { return };
                loglet.0.store(from, first, known_tail, batch, loglet.1, disk);
            }
            Message::KnownTail { loglet, known_tail } => {
                let sequencer = peer.role == Role::Sequencer;
                let loglet = match sequencer {
                    true => self.sequencer_of(from, peer, loglet, &[known_tail]),
                    false => self.loglets.get_mut(&loglet).map(|loglet| (loglet, &mut self.shared)),
                };
                if let Some((loglet, shared)) = loglet
                    && plausible(known_tail)
                {
                    loglet.known_tail_told(from, sequencer, known_tail, shared, disk);
                }
            }
            Message::Seal { request, loglet } => {
                if self.may_vote(from, request, loglet) {
                    self.seal(from, request, loglet, disk);
                }
            }
            Message::CheckTail { request, loglet, known_tail } => {
                if let Some((loglet, shared)) = self.voter(from, request, loglet, &[known_tail]) {
                    loglet.check_tail(from, request, known_tail, shared, disk);
                }
            }
            Message::AwaitTail { request, loglet, at_least } => {
                if let Some((loglet, shared)) = self.voter(from, request, loglet, &[]) {
                    loglet.await_tail(from, request, at_least, shared);
                }
            }
            Message::Read { request, loglet, min, max, limit, bytes_max } => {
                if let Some((loglet, shared)) = self.known(from, request, loglet, &[min]) {
                    loglet.read((from, request), (min, max), limit, bytes_max, shared, disk);
                }
            }
            Message::Subscribe { request, loglet, from: first, limit, credit } => {
                if let Some((loglet, shared)) = self.known(from, request, loglet, &[first]) {
                    loglet.subscribe((from, request), first, limit, credit, shared, disk);
                }
            }
            Message::Credit { request, loglet, limit, bytes } => {
                if let Some(loglet) = self.loglets.get_mut(&loglet) {
                    loglet.credit((from, request), limit, bytes, &mut self.shared, disk);
                }
            }
            Message::Trim { request, loglet, point, committed } => {
                if let Some((loglet, shared)) = self.voter(from, request, loglet, &[committed]) {
                    loglet.trim((from, request), point, committed, shared, disk);
                }
            }
            Message::Repair { request, loglet, first, batch } => {
                if let Some((loglet, shared)) = self.voter(from, request, loglet, &[first]) {
                    loglet.repair((from, request), first, batch, shared, disk);
                }
            }
            Message::Delete { request, loglet, chain_version, live } => {
                if self.may_vote(from, request, loglet) {
                    self.delete(from, request, loglet, (chain_version, live), disk);
                }
            }
            _ => self.shared.reject(from, 0, RejectCode::Malformed, "not a request to a LogServer"),
        }
        self.check_failed();
    }

    /// Whether a request about a loglet that need not be known goes on; otherwise it has been answered or held.
    fn may_vote(&mut self, from: PeerId, request: u64, id: LogletId) -> bool {
        if self.shared.failed {
            self.shared.unavailable(from, request, id, FAILED);
            return false;
        }
        match self.loglets.get_mut(&id) {
            Some(loglet) if loglet.deleting => {
                loglet.answer_when(from, request, Until::Deleted, &mut self.shared);
                false
            }
            _ => true,
        }
    }

    /// A loglet that is known and not deleted, for a request whose numbers can be offsets; otherwise the request is answered.
    fn known(
        &mut self,
        from: PeerId,
        request: u64,
        id: LogletId,
        numbers: &[Offset],
    ) -> Option<(&mut Loglet, &mut Shared)> {
        if !numbers.iter().all(|number| plausible(*number)) {
            self.shared.reject(from, request, RejectCode::Malformed, "an offset is out of range");
            return None;
        }
        if !self.loglets.contains_key(&id) {
            if !self.answered_gone(from, request, id) {
                self.shared.reject(from, request, RejectCode::UnknownLoglet, "unknown loglet");
            }
            return None;
        }
        let loglet = self.loglets.get_mut(&id)?;
        if loglet.deleting && request == 0 {
            // A store, whose answer has no number: once for the connection.
            loglet.hear(from);
            return None;
        }
        if loglet.deleting {
            loglet.answer_when(from, request, Until::Deleted, &mut self.shared);
            return None;
        }
        Some((loglet, &mut self.shared))
    }

    /// As [`Self::known`], for what a poisoned journal does not answer (P10).
    fn voter(
        &mut self,
        from: PeerId,
        request: u64,
        id: LogletId,
        numbers: &[Offset],
    ) -> Option<(&mut Loglet, &mut Shared)> {
        if self.shared.failed {
            self.shared.unavailable(from, request, id, FAILED);
            return None;
        }
        self.known(from, request, id, numbers)
    }

    /// As [`Self::voter`], for the sequencer that the configuration names, in the incarnation that it names (P4).
    fn sequencer_of(
        &mut self,
        from: PeerId,
        peer: Peer,
        id: LogletId,
        numbers: &[Offset],
    ) -> Option<(&mut Loglet, &mut Shared)> {
        if peer.role != Role::Sequencer {
            self.shared.reject(from, 0, RejectCode::Malformed, "only a sequencer stores");
            return None;
        }
        let (loglet, shared) = self.voter(from, 0, id, numbers)?;
        let named = loglet.config.as_ref().map(|config| (config.sequencer.node, config.sequencer.incarnation));
        if named.is_some_and(|named| named != (peer.node, peer.incarnation)) && !mutants::is(Mutant::SequencerResumes) {
            shared.send(from, Message::SequencerLost { request: 0, loglet: id });
            return None;
        }
        Some((loglet, shared))
    }

    /// Everything written at or below `through` is durable.
    pub fn handle_durable(&mut self, through: Write, now: Instant, disk: &mut impl Disk) {
        self.shared.now = now;
        if self.shared.failed {
            return;
        }
        while let Some(&Pending { write, loglet: id, what }) = self.shared.pending.front()
            && write <= through
        {
            self.shared.pending.pop_front();
            match (what, self.loglets.get_mut(&id)) {
                (What::Marker, _) => {}
                (What::Floor, _) => self.floor_durable(id.log),
                (What::Removal, _) => self.removed(id, disk),
                (What::Records { first, end }, Some(loglet)) => {
                    loglet.records_durable(first, end, &mut self.shared, disk);
                }
                (What::Cell(image), Some(loglet)) => loglet.cell_durable(image, &mut self.shared, disk),
                (_, None) => unreachable!("a loglet's writes are durable before its removal"),
            }
        }
        self.retry(disk);
        self.look_for_space(disk);
        self.check_failed();
    }

    /// The records that [`LogServer::handle_durable`] will find durable: where they end, by write and loglet.
    pub fn records_until(&self, through: Write) -> impl Iterator<Item = (Write, LogletId, Offset)> {
        let pending = self.shared.pending.iter().take_while(move |pending| pending.write <= through);
        pending.filter_map(|pending| match pending.what {
            What::Records { end, .. } => Some((pending.write, pending.loglet, end)),
            _ => None,
        })
    }

    /// The journal is poisoned: from now on reads only, no vote of any kind (P10).
    pub fn handle_disk_failed(&mut self) {
        self.shared.failed = true;
        self.check_failed();
    }

    fn check_failed(&mut self) {
        if !self.shared.failed || self.poisoned {
            return;
        }
        self.poisoned = true;
        let shared = &mut self.shared;
        // Decided before the failure, but nobody needs them more than this server needs to be silent.
        shared.out.retain(|output| match output {
            Output::Send { message, .. } => matches!(
                message,
                Message::Gap { .. } | Message::Trimmed { .. } | Message::Reject { .. } | Message::Unavailable { .. }
            ),
            Output::ToMember { .. } => false,
        });
        shared.owing.clear();
        shared.pending.clear();
        shared.retry.clear();
        shared.active.clear();
        shared.requests.clear();
        self.loglets.values_mut().for_each(|loglet| loglet.disk_failed(shared));
        self.floors.values_mut().for_each(|floor| floor.disk_failed(shared));
    }

    /// A read is complete. The answer, if there is one, borrows the read's memory, and is to be sent before any later output.
    pub fn handle_read<'b>(
        &mut self,
        id: ReadId,
        outcome: ReadOutcome<'b>,
        now: Instant,
        disk: &mut impl Disk,
    ) -> Option<(PeerId, Message<'b>)> {
        self.shared.now = now;
        let (id_of, purpose) = self.shared.end_read(id);
        let shared = &mut self.shared;
        let answer = match (purpose, self.loglets.get_mut(&id_of)) {
            (Purpose::Read { peer, request, from, to }, Some(loglet)) => {
                loglet.read_done((peer, request), (from, to), outcome, shared, disk)
            }
            (Purpose::Read { peer, request, .. }, None) => {
                shared.send(peer, Message::Gone { request, loglet: id_of });
                None
            }
            (Purpose::Subscription { peer, request, from, to }, Some(loglet)) => {
                loglet.subscription_read(id, (peer, request), (from, to), outcome, shared, disk)
            }
            (Purpose::Compare { from, to, first, checksums }, Some(loglet)) => {
                loglet.compare_read((from, to), (first, checksums), &outcome, shared, disk);
                None
            }
            (_, None) => None,
        };
        self.unblock(disk);
        self.check_failed();
        answer.filter(|(peer, _)| self.shared.peers.contains_key(peer))
    }

    /// Whether a single read of this peer may be handed in; otherwise the host keeps it until one has ended.
    pub fn may_read(&self, peer: PeerId) -> bool {
        self.shared.may_read(peer)
    }

    /// Bytes of early arrivals that all loglets hold.
    pub fn early_bytes(&self) -> usize {
        self.shared.early_bytes
    }

    /// Reads of the journal under way for all peers, whose answers will need memory.
    pub fn reads_under_way(&self) -> usize {
        self.shared.reads.len()
    }

    /// The peer does not take what it is sent: nothing more is read for its subscriptions before [`LogServer::resume_peer`].
    pub fn pause_peer(&mut self, peer: PeerId) {
        if let Some(peer) = self.shared.peers.get_mut(&peer) {
            peer.paused = true;
        }
    }

    /// The peer takes what it is sent again.
    pub fn resume_peer(&mut self, peer: PeerId, now: Instant, disk: &mut impl Disk) {
        let Some(state) = self.shared.peers.get_mut(&peer).filter(|peer| peer.paused) else { return };
        state.paused = false;
        self.shared.now = now;
        if state.subscriptions > 0 {
            let of_peer = |loglet: &&mut Loglet| loglet.subscriptions.iter().any(|known| known.peer == peer);
            for loglet in self.loglets.values_mut().filter(of_peer) {
                loglet.drive_subscriptions(&mut self.shared, disk);
            }
        }
    }

    /// Reads have ended: the subscriptions that waited for it go on, in turn.
    fn unblock(&mut self, disk: &mut impl Disk) {
        for _ in 0..self.shared.blocked.len() {
            let Some(waiting) = self.shared.blocked.pop_front() else { break };
            let (peer, request, loglet) = waiting;
            // A paused peer's subscriptions leave the line, and are looked at when it resumes.
            let paused = self.shared.peers.get(&peer).is_none_or(|peer| peer.paused);
            if !paused && !self.shared.may_read(peer) {
                self.shared.blocked.push_back(waiting);
            } else if let Some(loglet) = self.loglets.get_mut(&loglet) {
                loglet.unblock((peer, request), &mut self.shared, disk);
            }
        }
    }

    /// The next message to send, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.shared.out.pop_front() {
            return Some(output);
        }
        while let Some(id) = self.shared.owing.front() {
            if let Some(output) = self.loglets.get_mut(id).and_then(Loglet::owed) {
                return Some(output);
            }
            self.shared.owing.pop_front();
        }
        None
    }

    /// An answer of another LogServer to an [`Output::ToMember`].
    pub fn handle_member(&mut self, from: NodeId, message: Message<'_>, now: Instant, disk: &mut impl Disk) {
        self.shared.now = now;
        let request = match message {
            Message::Records { request, .. }
            | Message::Tail { request, .. }
            | Message::Sealed { request, .. }
            | Message::Behind { request, .. }
            | Message::Gap { request, .. }
            | Message::Trimmed { request, .. }
            | Message::Gone { request, .. }
            | Message::Unavailable { request, .. }
            | Message::Reject { request, .. } => request,
            _ => return,
        };
        match self.shared.requests.get(&request) {
            Some(&(id, node)) if node == from => {
                self.shared.requests.remove(&request);
                if let Some(loglet) = self.loglets.get_mut(&id).filter(|loglet| !loglet.deleting) {
                    loglet.member_answer(request, from, &message, &mut self.shared, disk);
                }
            }
            // Too late, or never asked.
            _ => {}
        }
        self.check_failed();
    }

    /// The connection to another LogServer is lost, and with it the answers that it owes.
    pub fn handle_member_disconnected(&mut self, node: NodeId, now: Instant) {
        self.shared.now = now;
        self.shared.requests.retain(|_, asked| asked.1 != node);
        for id in &self.shared.active {
            if let Some(loglet) = self.loglets.get_mut(id) {
                loglet.member_lost(node, &self.shared);
            }
        }
    }

    /// When [`LogServer::handle_timeout`] is next due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let retry = (!self.shared.retry.is_empty()).then_some((self.shared.retry_at, "the journal refused a write"));
        let space = self.shared.full && !self.shared.failed;
        let space = space.then_some((self.shared.space_at, "the journal has no space"));
        let loglets = self.shared.active.iter().filter_map(|id| self.loglets.get(id)?.work_due(&self.shared));
        loglets.chain(retry).chain(space).min_by_key(|due| due.0)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, disk: &mut impl Disk) {
        self.shared.now = now;
        if !self.shared.retry.is_empty() && self.shared.retry_at <= now {
            self.retry(disk);
        }
        if self.shared.space_at <= now {
            self.look_for_space(disk);
        }
        let active: Vec<_> = self.shared.active.iter().copied().collect();
        for id in active {
            if let Some(loglet) = self.loglets.get_mut(&id) {
                loglet.work(&mut self.shared, disk);
            }
        }
        self.check_failed();
    }

    /// Offers the journal again what it refused. Another loglet is first each time, so that one with much to write does not take
    /// all the room whenever there is some.
    fn retry(&mut self, disk: &mut impl Disk) {
        let refused = std::mem::take(&mut self.shared.retry);
        let after = (Bound::Excluded(self.shared.retried_first), Bound::Unbounded);
        let (later, earlier) = (refused.range(after), refused.range(..=self.shared.retried_first));
        let mut first = None;
        for &id in later.chain(earlier) {
            self.shared.retried_first = *first.get_or_insert(id);
            if std::mem::take(&mut self.marker_owed) {
                self.mark_table_lost(disk);
            }
            self.flush_floor(id.log, disk);
            if let Some(loglet) = self.loglets.get_mut(&id) {
                loglet.flush_cell(&mut self.shared, disk);
                if loglet.is_open() {
                    loglet.drain_early(&mut self.shared, disk);
                }
                loglet.settle(&mut self.shared, disk);
            }
        }
    }

    /// Goes on taking records when there is space for them again.
    fn look_for_space(&mut self, disk: &mut impl Disk) {
        if !self.shared.full || self.shared.failed {
            return;
        }
        self.shared.space_at = self.shared.now + self.shared.space_pause();
        if disk.has_space() {
            self.shared.full = false;
            self.loglets.values_mut().for_each(|loglet| loglet.regain_space(&mut self.shared, disk));
        }
    }

    /// Whether stores are refused for want of space in the journal.
    pub fn is_full(&self) -> bool {
        self.shared.full
    }

    /// Every loglet here, for status.
    pub fn loglets(&self) -> impl Iterator<Item = LogletStatus<'_>> {
        self.loglets.values().map(Loglet::status)
    }
}
