use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender};

use super::inbox::SubscriptionKey;
use super::submission::{BatchOutcome, Submission};
use super::subscription::Event;
use super::{AppendError, Delivery, OpError};
use crate::base::{ClusterId, Incarnation, Instant, Limits, NodeId, Offset};
use crate::io::op::{Op, Outcome};
use crate::net::{Link, LinkEvent};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::proto::native::{NativeLoglet, Target};
use crate::wire::{Hello, LogletConfig, Role};

/// Append frames on the way beyond which a batch that is not full waits, so that batches grow with the load and not with a
/// timer.
const FRAMES_BEFORE_BATCHING: usize = 2;

/// One open log on the reactor: the protocol core, its connections, and who waits for what.
pub(super) struct Session {
    core: NativeLoglet,
    /// The sequencer's, then the LogServers' in the configuration's order.
    links: Vec<Link>,
    submission: Arc<Submission>,
    /// Appends on the way, oldest first.
    appends: VecDeque<(OpId, Arc<BatchOutcome>)>,
    replies: BTreeMap<OpId, SyncSender<LogletResult>>,
    subscriptions: BTreeMap<OpId, Following>,
    subscription_keys: BTreeMap<SubscriptionKey, OpId>,
    next_op: u64,
    /// The largest tail known to be committed, from own acknowledgements and open checkTails (P1).
    committed: Offset,
    /// Where the sealed loglet ends, once decided.
    stop: Option<Offset>,
    closed: bool,
    /// Where the reactor's schedule has it.
    pub(super) scheduled: Option<Instant>,
}

/// A subscription, and how far it has come.
struct Following {
    next: Offset,
    events: Sender<Result<Event, OpError>>,
}

fn target(link: usize) -> Target {
    if link == 0 { Target::Sequencer } else { Target::LogServer(link - 1) }
}

impl Session {
    pub(super) fn new(
        config: LogletConfig,
        cluster: ClusterId,
        incarnation: Incarnation,
        submission: Arc<Submission>,
        limits: &Limits,
    ) -> Self {
        let hello = Hello { cluster, node: NodeId(0), incarnation, role: Role::Client, route: config.id };
        let sequencer = (config.sequencer.node, config.sequencer.address);
        let servers = config.log_servers.iter().map(|member| (member.node, member.address));
        let links = std::iter::once(sequencer)
            .chain(servers)
            .map(|(node, address)| Link::new(address, hello, Some(node), limits))
            .collect();
        Self {
            core: NativeLoglet::new(config, limits),
            links,
            submission,
            appends: VecDeque::new(),
            replies: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            subscription_keys: BTreeMap::new(),
            next_op: 0,
            committed: Offset::ZERO,
            stop: None,
            closed: false,
            scheduled: None,
        }
    }

    fn next_op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    /// What servers may be told to serve up to (P1, P17).
    fn limit(&self) -> Offset {
        self.stop.unwrap_or(self.committed)
    }

    pub(super) fn op(&mut self, op: LogletOp, reply: SyncSender<LogletResult>, now: Instant) {
        let (limit, stop) = (self.limit(), self.stop.unwrap_or(Offset::MAX));
        let op = match op {
            LogletOp::ReadNext { min, max, bytes_max, .. } => {
                LogletOp::ReadNext { min, max: max.min(stop), limit, bytes_max }
            }
            LogletOp::Trim { point, .. } => LogletOp::Trim { point: point.min(stop), committed: limit },
            other => other,
        };
        if let LogletOp::ReadNext { min, max, .. } = &op
            && min >= max
        {
            let _ = reply.try_send(LogletResult::NothingYet);
            return;
        }
        let id = self.next_op();
        self.replies.insert(id, reply);
        self.core.handle_op(id, op, now);
    }

    pub(super) fn create(&mut self, reply: SyncSender<LogletResult>, now: Instant) {
        let id = self.next_op();
        self.replies.insert(id, reply);
        self.core.create(id, now);
    }

    pub(super) fn set_stop(&mut self, stop: Offset, now: Instant) {
        assert!(self.stop.is_none_or(|before| before == stop), "the log's handle lets one stop through");
        self.stop = Some(stop);
        // A server that cannot say for itself that the loglet has ended, being damaged, owes them what is below the stop (L5).
        let following: Vec<OpId> = self.subscriptions.keys().copied().collect();
        for id in following {
            if !self.end_at_stop(id, now) {
                self.core.handle_op(id, LogletOp::Credit { limit: stop, bytes: 0 }, now);
            }
        }
    }

    /// Ends a subscription that has everything below the stop; says whether it did.
    fn end_at_stop(&mut self, id: OpId, now: Instant) -> bool {
        let is_through = |following: &Following| self.stop.is_some_and(|stop| following.next >= stop);
        if !self.subscriptions.get(&id).is_some_and(is_through) {
            return false;
        }
        let following = self.subscriptions.remove(&id).expect("looked up just now");
        let _ = following.events.send(Ok(Event::Sealed));
        self.core.handle_op(id, LogletOp::Unsubscribe, now);
        true
    }

    pub(super) fn subscribe(
        &mut self,
        key: SubscriptionKey,
        from: Offset,
        credit: u32,
        events: Sender<Result<Event, OpError>>,
        now: Instant,
    ) {
        let id = self.next_op();
        self.subscriptions.insert(id, Following { next: from, events });
        self.subscription_keys.insert(key, id);
        self.core.handle_op(id, LogletOp::Subscribe { from, limit: self.limit(), credit }, now);
        self.end_at_stop(id, now);
    }

    pub(super) fn credit(&mut self, key: SubscriptionKey, bytes: u32, now: Instant) {
        if let Some(&id) = self.subscription_keys.get(&key) {
            self.core.handle_op(id, LogletOp::Credit { limit: self.limit(), bytes }, now);
        }
    }

    pub(super) fn unsubscribe(&mut self, key: SubscriptionKey, now: Instant) {
        if let Some(id) = self.subscription_keys.remove(&key)
            && self.subscriptions.remove(&id).is_some()
        {
            self.core.handle_op(id, LogletOp::Unsubscribe, now);
        }
    }

    /// The log's handles are gone, or the client ends.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.submission.close(&AppendError::Closed);
        for (_, outcome) in self.appends.drain(..) {
            outcome.complete(Err(AppendError::Closed));
        }
        self.links.iter_mut().for_each(|link| link.set_wanted(false));
    }

    /// Whether it is closed and nothing of it is left in the driver.
    pub(super) fn is_over(&self) -> bool {
        self.closed && self.links.iter().all(Link::is_at_rest)
    }

    /// Takes in an outcome of one of its connections.
    pub(super) fn handle(&mut self, link: usize, outcome: Outcome, bytes: &[u8], now: Instant) {
        let core = &mut self.core;
        let from = target(link);
        self.links[link].handle(outcome, bytes, now, |event| match event {
            LinkEvent::Up(_) => core.handle_connected(from, now),
            LinkEvent::Message(message) => core.handle(from, message, now),
            LinkEvent::Down(reason) => {
                tracing::debug!(?from, %reason, "connection lost");
                core.handle_disconnected(from, now);
            }
        });
    }

    /// Moves everything on that can move: appends into the core, results out, messages to the connections.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        if self.core.poll_timeout().is_some_and(|(deadline, _)| deadline <= now) {
            self.core.handle_timeout(now);
        }
        loop {
            self.submit_appends(now);
            let mut moved = false;
            while let Some((id, result)) = self.core.poll_result() {
                self.deliver(id, result, now);
                moved = true;
            }
            if !moved {
                break;
            }
        }
        for (index, link) in self.links.iter_mut().enumerate() {
            link.set_wanted(self.core.wants(target(index)));
            while let Some(connection) = link.connection()
                && connection.has_room()
                && let Some(message) = self.core.poll_send(target(index))
            {
                connection.send(&message);
            }
        }
    }

    fn submit_appends(&mut self, now: Instant) {
        self.submission.look();
        while let Some(batch) = self.submission.take(self.appends.len() < FRAMES_BEFORE_BATCHING) {
            let id = self.next_op();
            self.appends.push_back((id, batch.outcome));
            self.core.handle_op(id, LogletOp::Append { records: batch.records }, now);
        }
    }

    fn deliver(&mut self, id: OpId, result: LogletResult, now: Instant) {
        match result {
            LogletResult::Appended { first, records } => {
                self.committed = self.committed.max(first + u64::from(records.count));
                self.settle(id, Ok(first), records);
            }
            LogletResult::AppendSealed { first, records } => {
                self.settle(id, Err(AppendError::Sealed { record_at: first }), records);
            }
            LogletResult::AppendNoSpace { first, records } => {
                self.settle(id, Err(AppendError::NoSpace { record_at: first }), records);
            }
            LogletResult::SequencerLost { maybe_stored, records } if records.count > 0 => {
                self.settle(id, Err(AppendError::SequencerLost { maybe_stored }), records);
            }
            other if self.subscriptions.contains_key(&id) => self.deliver_event(id, other, now),
            other => {
                if let LogletResult::Tail { tail, sealed: false } = other {
                    self.committed = self.committed.max(tail);
                }
                if let Some(reply) = self.replies.remove(&id) {
                    // Whoever asked may have gone.
                    let _ = reply.try_send(other);
                }
            }
        }
    }

    fn settle(&mut self, id: OpId, result: Result<Offset, AppendError>, records: crate::proto::loglet::Records) {
        let index = self.appends.iter().position(|(append, _)| *append == id).expect("an append on the way");
        let (_, outcome) = self.appends.remove(index).expect("found above");
        self.submission.settle(&outcome, result, records);
    }

    fn deliver_event(&mut self, id: OpId, result: LogletResult, now: Instant) {
        let (event, ends) = match result {
            LogletResult::Records { first, records } => {
                let Some(records) = self.below_stop(first, records) else {
                    self.end_at_stop(id, now);
                    return;
                };
                if let Some(following) = self.subscriptions.get_mut(&id) {
                    following.next = first + u64::from(records.count);
                }
                (Ok(Event::Records(Delivery::new(first, records))), false)
            }
            LogletResult::Trimmed { trim_point } => (Ok(Event::Trimmed(trim_point)), true),
            LogletResult::SubscriptionEnded { .. } => (Ok(Event::Sealed), true),
            LogletResult::Gone => (Err(OpError::Gone), true),
            LogletResult::Unavailable { reason } => (Err(OpError::Unavailable { reason }), true),
            other => unreachable!("no result of a subscription: {other:?}"),
        };
        if ends {
            if let Some(following) = self.subscriptions.remove(&id) {
                let _ = following.events.send(event);
            }
        } else if self.subscriptions[&id].events.send(event).is_err() {
            self.subscriptions.remove(&id);
            self.core.handle_op(id, LogletOp::Unsubscribe, now);
        } else {
            self.end_at_stop(id, now);
        }
    }

    /// The records without those at or beyond the stop, which must never be returned.
    fn below_stop(
        &self,
        first: Offset,
        records: crate::proto::loglet::Records,
    ) -> Option<crate::proto::loglet::Records> {
        let keep = self.stop.map_or(u64::MAX, |stop| stop.since(first));
        match keep {
            0 => None,
            keep if keep >= u64::from(records.count) => Some(records),
            keep => {
                let batch = crate::wire::Batch::new(records.count, &records.bytes).expect("checked when received");
                let mut bytes = Vec::new();
                let count = batch.copy_range(0, keep as u32, usize::MAX, &mut bytes);
                Some(crate::proto::loglet::Records { count, bytes })
            }
        }
    }

    /// The next operation of one of its connections.
    pub(super) fn poll_op(&mut self, now: Instant) -> Option<(usize, Op)> {
        self.links.iter_mut().enumerate().find_map(|(index, link)| Some((index, link.poll_op(now)?)))
    }

    /// When [`Session::advance`] has something to do without any event.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let core = self.core.poll_timeout().map(|(deadline, _)| deadline);
        self.links.iter().filter_map(Link::poll_timeout).chain(core).min()
    }
}
