use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender};

use super::super::filing::Filing;
use super::super::inbox::SubscriptionKey;
use super::super::loglet::{CONNECTION_BITS, FRAMES_BEFORE_BATCHING, LogletClient, Trace};
use super::super::nodes::{Change, Nodes};
use super::super::submission::{BatchOutcome, Submission};
use super::super::subscription::Event;
use super::super::work::{Ended, Work};
use super::super::{Delivery, OpError, RegisterFiles};
use super::BatchEnd;
use crate::base::{ClusterId, Incarnation, Instant, Limits, LogPos, LogletId, NodeId, RegisterId};
use crate::io::op::{Op, Outcome};
use crate::proto::loglet::{LogletResult, OpId, Records};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult};
use crate::proto::virtual_log::contract::{LogOp, LogResult, Request};
use crate::proto::virtual_log::{LogletSpec, VirtualLog};
use crate::wire::Decision;

/// Numbers of loglets' connections: `slot << 14 | connection`; slot 0 is for the nodes'.
const SLOT_BITS: u64 = CONNECTION_BITS;
const NODES: u64 = 0;
const SLOTS: u64 = 1 << 14;

/// One open virtual log on the reactor: its core, the clients of the loglets that it uses, the connections to nodes, and who waits for
/// what.
pub(in crate::client) struct LogSession {
    core: VirtualLog,
    nodes: Nodes,
    /// The way to the register, if the nodes do not keep it.
    filing: Option<Filing>,
    /// By numbers that are not used again before all others have been.
    loglets: BTreeMap<u64, LogletSlot>,
    last_slot: u64,
    submission: Arc<Submission<BatchEnd>>,
    /// Appends on the way, oldest first.
    appends: VecDeque<OnTheWay>,
    /// Where the time of appends went that loglets have acknowledged in this turn.
    went: Vec<(LogPos, LogletId, Trace)>,
    ended: Ended,
    replies: BTreeMap<OpId, SyncSender<LogResult>>,
    subscriptions: BTreeMap<OpId, Sender<Result<Event<LogPos>, OpError>>>,
    subscription_keys: BTreeMap<SubscriptionKey, OpId>,
    next_op: u64,
    cluster: ClusterId,
    incarnation: Incarnation,
    near: Option<NodeId>,
    turn: u64,
    limits: Limits,
    closed: bool,
    scheduled: Option<Instant>,
}

/// An append on the way.
struct OnTheWay {
    id: OpId,
    outcome: Arc<BatchOutcome<BatchEnd>>,
    /// When its first record came, where that is measured.
    since: Option<Instant>,
}

struct LogletSlot {
    loglet: LogletId,
    client: LogletClient,
    closed: bool,
    /// It is there for this request alone.
    errand: Option<OpId>,
}

/// Where a log is kept, and who asks.
#[derive(Debug)]
pub(in crate::client) struct Opening {
    pub(in crate::client) cluster: ClusterId,
    pub(in crate::client) register: RegisterId,
    /// Any decided version of the register.
    pub(in crate::client) decided: Decision,
    /// Where the register is, if the nodes do not keep it.
    pub(in crate::client) files: Option<RegisterFiles>,
}

impl LogSession {
    pub(in crate::client) fn new(
        opening: Opening,
        incarnation: Incarnation,
        near: Option<NodeId>,
        submission: Arc<Submission<BatchEnd>>,
        limits: &Limits,
        seed: u64,
        now: Instant,
    ) -> Self {
        let Opening { cluster, register, decided, files } = opening;
        let mut nodes = Nodes::new(cluster, incarnation, limits, seed);
        if files.is_none() {
            nodes.open(register, decided, now);
        }
        Self {
            core: VirtualLog::new(register, seed.wrapping_add(1), limits),
            nodes,
            filing: None,
            loglets: BTreeMap::new(),
            last_slot: NODES,
            submission,
            appends: VecDeque::new(),
            went: Vec::new(),
            ended: Ended::default(),
            replies: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            subscription_keys: BTreeMap::new(),
            next_op: 0,
            cluster,
            incarnation,
            near,
            turn: seed,
            limits: limits.clone(),
            closed: false,
            scheduled: None,
        }
    }

    /// Where the register is asked, if the nodes do not keep it.
    pub(in crate::client) fn set_filing(&mut self, filing: Option<Filing>) {
        self.filing = filing;
    }

    fn next_op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    pub(in crate::client) fn op(&mut self, op: LogOp, reply: SyncSender<LogResult>, now: Instant) {
        let id = self.next_op();
        self.replies.insert(id, reply);
        self.core.handle_op(id, op, now);
    }

    pub(in crate::client) fn subscribe(
        &mut self,
        key: SubscriptionKey,
        from: LogPos,
        credit: u32,
        events: Sender<Result<Event<LogPos>, OpError>>,
        now: Instant,
    ) {
        let id = self.next_op();
        self.subscriptions.insert(id, events);
        self.subscription_keys.insert(key, id);
        self.core.handle_op(id, LogOp::Subscribe { from, credit }, now);
    }

    /// Moves on whatever can. Returns whether anything did.
    fn turn(&mut self, now: Instant) -> bool {
        let mut moved = self.submit_appends(now);
        self.nodes.watch(&self.core.wanted_hosts());
        for change in self.nodes.take_changes() {
            moved = true;
            match change {
                Change::Up(host) => self.core.handle_host(host, now),
                Change::Down(node) => self.core.handle_host_lost(node, now),
                Change::There(node) => self.loglets.values_mut().for_each(|slot| slot.client.node_is_there(node, now)),
                Change::Silent(node) => {
                    self.loglets.values_mut().for_each(|slot| slot.client.node_is_silent(node, now))
                }
            }
        }
        for (id, result) in self.nodes.advance(now) {
            moved = true;
            self.core.handle_metastore(id, result, now);
        }
        while let Some(request) = self.core.poll_request() {
            moved = true;
            self.carry_out(request, now);
        }
        for slot in self.loglets.values_mut() {
            slot.client.pass_time(now);
            slot.client.doubt(now, |member| self.nodes.doubt(member, now));
            while let Some((id, result)) = slot.client.poll_result(now) {
                moved = true;
                if slot.errand == Some(id) {
                    slot.closed = true;
                    slot.client.close();
                }
                if let LogletResult::Appended { first, .. } = result
                    && let Some(trace) = slot.client.poll_trace(id, first, now)
                    && let Some(chain) = self.core.chain()
                    && let Some(segment) = chain.segment_of(slot.loglet)
                    && let Some(position) = chain.position(segment, first)
                {
                    self.went.push((position, slot.loglet, trace));
                }
                self.core.handle_loglet(id, result, now);
            }
        }
        while let Some((id, result)) = self.core.poll_result() {
            moved = true;
            self.deliver(id, result, now);
        }
        moved
    }

    fn submit_appends(&mut self, now: Instant) -> bool {
        self.submission.look();
        let mut moved = false;
        // Those that no loglet takes wait where they count against the window.
        while (!self.core.appends_held() || self.appends.is_empty())
            && let Some(batch) = self.submission.take(self.wants_a_batch())
        {
            moved = true;
            let id = self.next_op();
            self.appends.push_back(OnTheWay { id, outcome: batch.outcome, since: batch.since });
            self.core.handle_append(id, batch.records, now);
        }
        moved
    }

    /// Whether another batch is to be sent although it is not full.
    fn wants_a_batch(&self) -> bool {
        let not_over = self.appends.len();
        if not_over < FRAMES_BEFORE_BATCHING {
            return true;
        }
        let last = self.core.chain().map(|chain| chain.last().loglet.id());
        let slot = self.loglets.values().find(|slot| Some(slot.loglet) == last && slot.errand.is_none());
        slot.is_some_and(|slot| slot.client.wants_a_batch(not_over))
    }

    fn carry_out(&mut self, request: Request, now: Instant) {
        match request {
            Request::Open(loglet) => drop(self.open(*loglet, None)),
            Request::Close(loglet) => {
                let slot = self.slot(loglet);
                slot.closed = true;
                slot.client.close();
            }
            Request::Loglet { loglet, id, op } => self.slot(loglet).client.handle_op(id, op, now),
            Request::Create { loglet, id } => self.slot(loglet).client.create(id, now),
            Request::Delete { loglet, id, chain_version, live } => {
                self.slot(loglet).client.delete(id, chain_version, live, now);
            }
            Request::Restore { id, config, stop, targets } => {
                self.open((*config).into(), Some(id)).restore(id, stop, &targets, now);
            }
            Request::Remove { id, config, chain_version, live } => {
                self.open((*config).into(), Some(id)).delete(id, chain_version, live, now);
            }
            Request::MetaStore { id, op } => self.ask_metastore(id, op, now),
        }
    }

    fn ask_metastore(&mut self, id: OpId, op: MetaStoreOp, now: Instant) {
        match &self.filing {
            None => self.nodes.op(id, op, now),
            Some(filing) if filing.op(id, op) => {}
            Some(_) => {
                let reason = "no thread could be started for the registers in files".to_owned();
                self.core.handle_metastore(id, MetaStoreResult::Unavailable { reason }, now);
            }
        }
    }

    /// An operation on the register in files has ended.
    pub(in crate::client) fn filed(&mut self, id: OpId, result: MetaStoreResult, now: Instant) {
        self.core.handle_metastore(id, result, now);
    }

    fn open(&mut self, spec: LogletSpec, errand: Option<OpId>) -> &mut LogletClient {
        let after = |slot: &u64| Some(if *slot == SLOTS - 1 { NODES + 1 } else { slot + 1 });
        let mut slots = std::iter::successors(after(&self.last_slot), after);
        let slot = slots.find(|slot| !self.loglets.contains_key(slot)).expect("few are open at once");
        self.last_slot = slot;
        let loglet = spec.id();
        let mut client = LogletClient::new(spec, self.cluster, self.incarnation, self.near, self.turn, &self.limits);
        if self.submission.is_timed() {
            client.keep_residences();
        }
        let opened = LogletSlot { loglet, client, closed: false, errand };
        &mut self.loglets.entry(slot).or_insert(opened).client
    }

    fn slot(&mut self, loglet: LogletId) -> &mut LogletSlot {
        let is_it = |slot: &&mut LogletSlot| slot.loglet == loglet && !slot.closed && slot.errand.is_none();
        let found = self.loglets.values_mut().find(is_it);
        found.expect("the core has opened it before")
    }

    fn deliver(&mut self, id: OpId, result: LogResult, now: Instant) {
        let (end, records) = match result {
            LogResult::Appended { at, records } => {
                self.measure(id, at.first, records.count, now);
                (BatchEnd::At(at), records)
            }
            LogResult::AppendedApart { runs, failure, records } => {
                (BatchEnd::Apart(Arc::new((runs, failure))), records)
            }
            other if self.subscriptions.contains_key(&id) => return self.deliver_event(id, other, now),
            other => {
                if let Some(reply) = self.replies.remove(&id) {
                    // Whoever asked may have gone.
                    let _ = reply.try_send(other);
                }
                return;
            }
        };
        self.settle(id, end, records);
    }

    /// Puts the stages of an append together that a loglet has acknowledged in this turn. Of one that a reconfiguration has settled, or
    /// divided, there are none.
    fn measure(&mut self, id: OpId, position: LogPos, records: u32, now: Instant) {
        let Some(index) = self.went.iter().position(|(at, ..)| *at == position) else { return };
        let (_, loglet, trace) = self.went.swap_remove(index);
        let append = self.appends.iter().find(|append| append.id == id);
        let slot = self.loglets.values_mut().find(|slot| slot.loglet == loglet && slot.errand.is_none());
        if let (Some(since), Some(slot)) = (append.and_then(|append| append.since), slot) {
            self.ended.samples.push(slot.client.sample(&trace, records, since, now));
        }
    }

    fn settle(&mut self, id: OpId, end: BatchEnd, records: Records) {
        let index = self.appends.iter().position(|append| append.id == id).expect("an append on the way");
        let OnTheWay { outcome, .. } = self.appends.remove(index).expect("found above");
        self.ended.woken.extend(self.submission.settle(&outcome, end, records));
    }

    fn deliver_event(&mut self, id: OpId, result: LogResult, now: Instant) {
        let (event, ends) = match result {
            LogResult::Records { first, records } => (Ok(Event::Records(Delivery::new(first, records))), false),
            LogResult::Trimmed { trim_point } => (Ok(Event::Trimmed(trim_point)), true),
            LogResult::Unavailable { reason } => (Err(OpError::Unavailable { reason }), true),
            other => unreachable!("no result of a subscription: {other:?}"),
        };
        let lost = self.subscriptions[&id].send(event).is_err();
        if ends || lost {
            self.subscriptions.remove(&id);
        }
        if lost && !ends {
            self.core.handle_op(id, LogOp::Unsubscribe, now);
        }
    }
}

impl Work for LogSession {
    fn credit(&mut self, key: SubscriptionKey, bytes: u32, now: Instant) {
        if let Some(&id) = self.subscription_keys.get(&key) {
            self.core.handle_op(id, LogOp::Credit { bytes }, now);
        }
    }

    fn unsubscribe(&mut self, key: SubscriptionKey, now: Instant) {
        if let Some(id) = self.subscription_keys.remove(&key)
            && self.subscriptions.remove(&id).is_some()
        {
            self.core.handle_op(id, LogOp::Unsubscribe, now);
        }
    }

    fn describe(&self) -> String {
        self.core.describe()
    }

    fn close(&mut self) {
        self.closed = true;
        self.submission.close(&BatchEnd::Closed);
        for append in self.appends.drain(..) {
            append.outcome.complete(BatchEnd::Closed);
        }
        self.replies.clear();
        self.subscriptions.clear();
        self.nodes.close();
        self.loglets.values_mut().for_each(|slot| slot.client.close());
    }

    fn is_over(&self) -> bool {
        self.closed && self.nodes.is_at_rest() && self.loglets.values().all(|slot| slot.client.is_at_rest())
    }

    fn handle(&mut self, link: u64, outcome: Outcome, bytes: &[u8], now: Instant) -> bool {
        let (slot, link) = (link >> SLOT_BITS, (link & ((1 << SLOT_BITS) - 1)) as usize);
        if slot == NODES {
            self.nodes.handle(link, outcome, bytes, now);
            return true;
        }
        // Something may still come from a connection that has been closed.
        let Some(slot) = self.loglets.get_mut(&slot) else { return false };
        slot.client.handle(link, outcome, bytes, now);
        true
    }

    fn advance(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        if self.core.poll_timeout().is_some_and(|(deadline, _)| deadline <= now) {
            self.core.handle_timeout(now);
        }
        while self.turn(now) {}
        self.went.clear();
        self.loglets.retain(|_, slot| !(slot.closed && slot.client.is_at_rest()));
        self.loglets.values_mut().filter(|slot| !slot.closed).for_each(|slot| slot.client.send(now));
    }

    fn ended(&mut self) -> Option<&mut Ended> {
        Some(&mut self.ended)
    }

    fn poll_op(&mut self, now: Instant) -> Option<(u64, Op)> {
        if let Some((link, op)) = self.nodes.poll_op(now) {
            return Some((NODES << SLOT_BITS | link as u64, op));
        }
        self.loglets.iter_mut().find_map(|(slot, loglet)| {
            let (link, op) = loglet.client.poll_op(now)?;
            Some((slot << SLOT_BITS | link as u64, op))
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let core = self.core.poll_timeout().map(|(deadline, _)| deadline);
        let open = || self.loglets.values().filter(|slot| !slot.closed).map(|slot| &slot.client);
        let loglets = open().filter_map(LogletClient::poll_timeout).chain(open().filter_map(LogletClient::poll_doubt));
        loglets.chain(core).chain(self.nodes.poll_timeout()).min()
    }

    fn scheduled(&mut self) -> &mut Option<Instant> {
        &mut self.scheduled
    }
}
