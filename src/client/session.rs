use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender};

use super::inbox::SubscriptionKey;
use super::loglet::LogletClient;
use super::submission::{BatchOutcome, Submission};
use super::subscription::Event;
use super::work::{Ended, Work};
use super::{AppendError, Delivery, OpError};
use crate::base::{ClusterId, Incarnation, Instant, Limits, NodeId, Offset};
use crate::io;
use crate::io::op::Op;
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::proto::virtual_log::LogletSpec;

/// What becomes of a batch.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// The offset of its first record.
    pub(super) end: Result<Offset, AppendError>,
    /// From one record to the next: 1, but in a loglet of several stripes.
    pub(super) stride: u32,
}

impl Outcome {
    /// The log has been closed.
    pub(super) const CLOSED: Self = Self { end: Err(AppendError::Closed), stride: 1 };

    /// What has become of one record of the batch.
    pub(super) fn of(self, index: u32) -> Result<Offset, AppendError> {
        let after = u64::from(index) * u64::from(self.stride);
        match self.end {
            Ok(first) => Ok(first + after),
            Err(AppendError::Sealed { record_at: Some(first) }) => {
                Err(AppendError::Sealed { record_at: Some(first + after) })
            }
            Err(AppendError::NoSpace { record_at: Some(first) }) => {
                Err(AppendError::NoSpace { record_at: Some(first + after) })
            }
            Err(error) => Err(error),
        }
    }
}

/// One open log on the reactor: the protocol core, its connections, and who waits for what.
pub(super) struct Session {
    loglet: LogletClient,
    submission: Arc<Submission<Outcome>>,
    /// Appends on the way, oldest first.
    appends: VecDeque<OnTheWay>,
    ended: Ended,
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
    scheduled: Option<Instant>,
}

/// An append on the way.
struct OnTheWay {
    id: OpId,
    outcome: Arc<BatchOutcome<Outcome>>,
    /// When its first record came, where that is measured.
    since: Option<Instant>,
}

/// A subscription, and how far it has come.
struct Following {
    next: Offset,
    events: Sender<Result<Event, OpError>>,
}

impl Session {
    pub(super) fn new(
        spec: LogletSpec,
        cluster: ClusterId,
        incarnation: Incarnation,
        near: Option<NodeId>,
        turn: u64,
        submission: Arc<Submission<Outcome>>,
        limits: &Limits,
    ) -> Self {
        let mut loglet = LogletClient::new(spec, cluster, incarnation, near, turn, limits);
        if submission.is_timed() {
            loglet.keep_residences();
        }
        Self {
            loglet,
            submission,
            appends: VecDeque::new(),
            ended: Ended::default(),
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
        self.loglet.handle_op(id, op, now);
    }

    pub(super) fn create(&mut self, reply: SyncSender<LogletResult>, now: Instant) {
        let id = self.next_op();
        self.replies.insert(id, reply);
        self.loglet.create(id, now);
    }

    pub(super) fn delete(&mut self, chain_version: u64, reply: SyncSender<LogletResult>, now: Instant) {
        let id = self.next_op();
        self.replies.insert(id, reply);
        self.loglet.delete(id, chain_version, Vec::new(), now);
    }

    pub(super) fn set_stop(&mut self, stop: Offset, now: Instant) {
        assert!(self.stop.is_none_or(|before| before == stop), "the log's handle lets one stop through");
        self.stop = Some(stop);
        // A server that cannot say for itself that the loglet has ended, being damaged, owes them what is below the stop (L5).
        let following: Vec<OpId> = self.subscriptions.keys().copied().collect();
        for id in following {
            if !self.end_at_stop(id, now) {
                self.loglet.handle_op(id, LogletOp::Credit { limit: stop, bytes: 0 }, now);
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
        self.loglet.handle_op(id, LogletOp::Unsubscribe, now);
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
        self.loglet.handle_op(id, LogletOp::Subscribe { from, limit: self.limit(), credit }, now);
        self.end_at_stop(id, now);
    }

    fn submit_appends(&mut self, now: Instant) {
        self.submission.look();
        while let Some(batch) = self.submission.take(self.loglet.wants_a_batch(self.appends.len())) {
            let id = self.next_op();
            self.appends.push_back(OnTheWay { id, outcome: batch.outcome, since: batch.since });
            self.loglet.handle_op(id, LogletOp::Append { records: batch.records }, now);
        }
    }

    fn deliver(&mut self, id: OpId, result: LogletResult, now: Instant) {
        match result {
            LogletResult::Appended { first, stride, records } => {
                self.committed = self.committed.max(first + u64::from(records.count - 1) * u64::from(stride) + 1);
                self.measure(id, first, records.count, now);
                self.settle(id, Ok(first), stride, records);
            }
            LogletResult::AppendSealed { first, stride, records } => {
                self.settle(id, Err(AppendError::Sealed { record_at: first }), stride, records);
            }
            LogletResult::AppendNoSpace { first, stride, records } => {
                self.settle(id, Err(AppendError::NoSpace { record_at: first }), stride, records);
            }
            LogletResult::SequencerLost { maybe_stored, records } if records.count > 0 => {
                self.settle(id, Err(AppendError::SequencerLost { maybe_stored }), 1, records);
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

    fn settle(&mut self, id: OpId, end: Result<Offset, AppendError>, stride: u32, records: Records) {
        let index = self.appends.iter().position(|append| append.id == id).expect("an append on the way");
        let OnTheWay { outcome, .. } = self.appends.remove(index).expect("found above");
        self.ended.woken.extend(self.submission.settle(&outcome, Outcome { end, stride }, records));
    }

    /// Puts the stages of an acknowledged append together.
    fn measure(&mut self, id: OpId, first: Offset, records: u32, now: Instant) {
        let Some(trace) = self.loglet.poll_trace(id, first, now) else { return };
        let append = self.appends.iter().find(|append| append.id == id);
        if let Some(since) = append.and_then(|append| append.since) {
            self.ended.samples.push(self.loglet.sample(&trace, records, since, now));
        }
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
            self.loglet.handle_op(id, LogletOp::Unsubscribe, now);
        } else {
            self.end_at_stop(id, now);
        }
    }

    /// The records without those at or beyond the stop, which must never be returned.
    fn below_stop(&self, first: Offset, records: Records) -> Option<Records> {
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
}

impl Work for Session {
    fn credit(&mut self, key: SubscriptionKey, bytes: u32, now: Instant) {
        if let Some(&id) = self.subscription_keys.get(&key) {
            self.loglet.handle_op(id, LogletOp::Credit { limit: self.limit(), bytes }, now);
        }
    }

    fn unsubscribe(&mut self, key: SubscriptionKey, now: Instant) {
        if let Some(id) = self.subscription_keys.remove(&key)
            && self.subscriptions.remove(&id).is_some()
        {
            self.loglet.handle_op(id, LogletOp::Unsubscribe, now);
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.submission.close(&Outcome::CLOSED);
        for append in self.appends.drain(..) {
            append.outcome.complete(Outcome::CLOSED);
        }
        self.loglet.close();
    }

    fn is_over(&self) -> bool {
        self.closed && self.loglet.is_at_rest()
    }

    fn handle(&mut self, link: u64, outcome: io::op::Outcome, bytes: &[u8], now: Instant) -> bool {
        self.loglet.handle(link as usize, outcome, bytes, now);
        true
    }

    fn advance(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        self.loglet.pass_time(now);
        loop {
            self.submit_appends(now);
            let mut moved = false;
            while let Some((id, result)) = self.loglet.poll_result(now) {
                self.deliver(id, result, now);
                moved = true;
            }
            if !moved {
                break;
            }
        }
        self.loglet.send(now);
    }

    fn ended(&mut self) -> Option<&mut Ended> {
        Some(&mut self.ended)
    }

    fn poll_op(&mut self, now: Instant) -> Option<(u64, Op)> {
        self.loglet.poll_op(now).map(|(link, op)| (link as u64, op))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.loglet.poll_timeout()
    }

    fn scheduled(&mut self) -> &mut Option<Instant> {
        &mut self.scheduled
    }
}
