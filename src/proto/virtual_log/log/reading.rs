use super::super::contract::LogResult;
use super::machine::{Purpose, VirtualLog};
use super::trouble::Sign;
use crate::base::{LogPos, LogletId, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::wire::Batch;

/// A subscription, and how far it has come.
#[derive(Clone, Hash, Debug)]
pub(super) struct Following {
    next: LogPos,
    /// Bytes that may still be on the way.
    credit: u32,
    /// The loglet that it is with, the request there, and the limit last told.
    from: Option<(LogletId, OpId, Offset)>,
}

impl VirtualLog {
    pub(super) fn ask_tail(&mut self, id: OpId) {
        if self.trouble.is_some() {
            return;
        }
        let config = self.last().loglet.clone();
        self.ask_loglet(&config, Purpose::Operation(id, Some(config.id)), LogletOp::CheckTail);
        self.mark_busy(id);
    }

    pub(super) fn seal(&mut self, id: OpId) {
        let config = self.last().loglet.clone();
        self.ask_loglet(&config, Purpose::Operation(id, Some(config.id)), LogletOp::Seal);
        self.mark_busy(id);
    }

    pub(super) fn seal_answered(&mut self, id: OpId, result: LogletResult) {
        self.end(
            id,
            match result {
                // Deleted: something else has replaced it.
                LogletResult::Sealed | LogletResult::Gone => LogResult::Sealed,
                LogletResult::Unavailable { reason } => LogResult::Unavailable { reason },
                other => unreachable!("no result of a seal: {other:?}"),
            },
        );
    }

    pub(super) fn mark_busy(&mut self, id: OpId) {
        self.operations.get_mut(&id).expect("it has just asked something").busy = true;
    }

    pub(super) fn tail_found(&mut self, id: OpId, loglet: LogletId, result: LogletResult) {
        match result {
            LogletResult::Tail { tail, sealed: false } => match self.position_at_end(loglet, tail) {
                Some(position) => {
                    self.raise_committed(loglet, tail);
                    self.end(id, LogResult::Tail(position));
                }
                // It has been closed meanwhile: what was open when the question came is below its stop, and the tail of
                // the log is elsewhere.
                None => self.go_on(id),
            },
            // Serves the conditional write of the chain, and nothing else (P1).
            LogletResult::Tail { sealed: true, .. } | LogletResult::Gone => {
                self.suspect(loglet, Sign::Sealed);
                self.go_on(id);
            }
            LogletResult::Unavailable { reason } => self.end(id, LogResult::Unavailable { reason }),
            other => unreachable!("no result of a checkTail: {other:?}"),
        }
    }

    /// The position of a tail of the last loglet; none when it is not the last one any more.
    pub(super) fn position_at_end(&self, loglet: LogletId, tail: Offset) -> Option<LogPos> {
        let last = self.last();
        (last.loglet.id == loglet).then(|| last.start + tail.0)
    }

    /// An open tail is committed (P1 b).
    pub(super) fn raise_committed(&mut self, loglet: LogletId, tail: Offset) {
        if self.last().loglet.id == loglet {
            self.committed = self.committed.max(tail);
        }
    }

    pub(super) fn ask_records(&mut self, id: OpId, min: LogPos, max: LogPos, bytes_max: u32) {
        let chain = self.chain.as_ref().expect("asked only once there is a chain");
        let first = chain.first_position();
        if min < first {
            return self.end(id, LogResult::Trimmed { trim_point: first });
        }
        if min >= max {
            return self.end(id, LogResult::NothingYet);
        }
        let place = chain.locate(min).expect("at or above the first position");
        let segment = &chain.segments[place.segment];
        let end = max.offset_from(segment.start);
        let (max, limit) = match place.stop {
            Some(stop) => (end.min(stop), stop),
            None => (end, self.committed),
        };
        let config = segment.loglet.clone();
        let op = LogletOp::ReadNext { min: place.offset, max, limit, bytes_max };
        self.ask_loglet(&config, Purpose::Operation(id, Some(config.id)), op);
        self.mark_busy(id);
    }

    pub(super) fn records_read(&mut self, id: OpId, loglet: LogletId, result: LogletResult) {
        let chain = self.chain.as_ref().expect("there was one when it was asked");
        match result {
            LogletResult::Records { first, records } => match self.in_the_log(loglet, first, records) {
                Some((first, records)) => self.end(id, LogResult::Records { first, records }),
                // The chain has changed meanwhile.
                None => self.go_on(id),
            },
            LogletResult::NothingYet if chain.last().loglet.id == loglet => self.end(id, LogResult::NothingYet),
            LogletResult::NothingYet => self.go_on(id),
            LogletResult::Trimmed { trim_point } => {
                let trim_point = self.trimmed_to(loglet, trim_point);
                self.end(id, LogResult::Trimmed { trim_point });
            }
            // It goes on with the next chain that is read.
            LogletResult::Gone => self.suspect_gone(loglet),
            LogletResult::Unavailable { reason } => self.end(id, LogResult::Unavailable { reason }),
            other => unreachable!("no result of a read: {other:?}"),
        }
    }

    /// The first position that may still be read, when a loglet is trimmed up to this offset.
    fn trimmed_to(&self, loglet: LogletId, trim_point: Offset) -> LogPos {
        let chain = self.chain.as_ref().expect("there was one when it was asked");
        let segment = chain.segment_of(loglet).map(|segment| &chain.segments[segment]);
        let trimmed = segment.map_or(LogPos::ZERO, |segment| {
            let end = segment.stop_offset().unwrap_or(Offset::MAX);
            segment.start + trim_point.min(end).0
        });
        trimmed.max(chain.first_position())
    }

    /// The part of what a loglet has returned that is in the log: **the boundary rule** (P1). None if there is none.
    fn in_the_log(&self, loglet: LogletId, first: Offset, records: Records) -> Option<(LogPos, Records)> {
        let chain = self.chain.as_ref()?;
        let segment = chain.segment_of(loglet)?;
        let position = chain.position(segment, first)?;
        let keep = chain.segments[segment].stop.map_or(u64::MAX, |stop| stop.0 - position.0);
        if keep >= u64::from(records.count) {
            return Some((position, records));
        }
        let batch = Batch::new(records.count, &records.bytes).expect("checked when received");
        let mut bytes = Vec::new();
        let count = batch.copy_range(0, keep as u32, usize::MAX, &mut bytes);
        Some((position, Records { count, bytes }))
    }

    pub(super) fn subscribe(&mut self, id: OpId, from: LogPos, credit: u32) {
        self.subscriptions.insert(id, Following { next: from, credit, from: None });
        if self.chain.is_none() {
            self.read_chain();
        }
        self.follow(id);
    }

    pub(super) fn credit(&mut self, id: OpId, bytes: u32) {
        let committed = self.committed;
        let Some(following) = self.subscriptions.get_mut(&id) else { return };
        following.credit = following.credit.saturating_add(bytes);
        let Some((loglet, request, limit)) = &mut following.from else { return };
        if self.chain.as_ref().is_some_and(|chain| chain.last().loglet.id == *loglet) {
            *limit = committed;
        }
        let (loglet, request, limit) = (*loglet, *request, *limit);
        self.tell_subscription(loglet, request, LogletOp::Credit { limit, bytes });
    }

    pub(super) fn unsubscribe(&mut self, id: OpId) {
        if let Some(Following { from: Some((loglet, request, _)), .. }) = self.subscriptions.remove(&id) {
            self.leave(loglet, request);
        }
    }

    fn leave(&mut self, loglet: LogletId, request: OpId) {
        self.tell_subscription(loglet, request, LogletOp::Unsubscribe);
        self.forget_request(request);
    }

    fn tell_subscription(&mut self, loglet: LogletId, request: OpId, op: LogletOp) {
        self.request(super::super::contract::Request::Loglet { loglet, id: request, op });
    }

    /// Brings a subscription to the loglet that has what it wants next, with the limit that the chain says.
    pub(super) fn follow(&mut self, id: OpId) {
        let Some(chain) = &self.chain else { return };
        let Some(following) = self.subscriptions.get(&id) else { return };
        let first = chain.first_position();
        if following.next < first {
            self.unsubscribe(id);
            return self.give(id, LogResult::Trimmed { trim_point: first });
        }
        let place = chain.locate(following.next).expect("at or above the first position");
        let config = chain.segments[place.segment].loglet.clone();
        let limit = place.stop.unwrap_or(self.committed);
        match following.from {
            Some((loglet, request, told)) if loglet == config.id => {
                // A server that cannot say for itself that the loglet has ended, being damaged, owes what is below the stop (L5).
                if told < limit {
                    self.tell_subscription(loglet, request, LogletOp::Credit { limit, bytes: 0 });
                }
                self.subscriptions.get_mut(&id).expect("looked up above").from =
                    Some((loglet, request, limit.max(told)));
                return;
            }
            Some((loglet, request, _)) => self.leave(loglet, request),
            None => {}
        }
        // A sealed loglet has nothing to bring before its end is known.
        if place.stop.is_none() && self.trouble.is_some() {
            self.subscriptions.get_mut(&id).expect("looked up above").from = None;
            return;
        }
        let credit = self.subscriptions[&id].credit;
        let op = LogletOp::Subscribe { from: place.offset, limit, credit };
        let request = self.ask_loglet(&config, Purpose::Subscription(id, config.id), op);
        self.subscriptions.get_mut(&id).expect("looked up above").from = Some((config.id, request, limit));
        self.look_at.get_or_insert(self.now + self.limits.stall);
    }

    pub(super) fn subscription_brings(&mut self, id: OpId, request: OpId, loglet: LogletId, result: LogletResult) {
        let Some(following) = self.subscriptions.get_mut(&id) else { return };
        match result {
            LogletResult::Records { first, records } => {
                following.credit = following.credit.saturating_sub(records.bytes.len() as u32);
                let Some((position, records)) = self.in_the_log(loglet, first, records) else { return self.follow(id) };
                let following = self.subscriptions.get_mut(&id).expect("looked up above");
                assert_eq!(position, following.next, "a subscription leaves nothing out");
                following.next = position + u64::from(records.count);
                self.give(id, LogResult::Records { first: position, records });
                // It does not stand still.
                self.look_at = Some(self.now + self.limits.stall);
                self.follow(id);
            }
            LogletResult::Trimmed { trim_point } => {
                self.forget_request(request);
                let trim_point = self.trimmed_to(loglet, trim_point);
                self.subscriptions.remove(&id);
                self.give(id, LogResult::Trimmed { trim_point });
            }
            LogletResult::SubscriptionEnded { .. } | LogletResult::Gone => {
                following.from = None;
                self.forget_request(request);
                match result {
                    LogletResult::Gone => self.suspect_gone(loglet),
                    _ => self.suspect(loglet, Sign::Sealed),
                }
                self.follow(id);
            }
            LogletResult::Unavailable { reason } => {
                self.forget_request(request);
                self.subscriptions.remove(&id);
                self.give(id, LogResult::Unavailable { reason });
            }
            other => unreachable!("no result of a subscription: {other:?}"),
        }
    }
}
