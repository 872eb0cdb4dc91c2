use std::collections::VecDeque;

use super::super::contract::{LogResult, Request};
use super::deleted::DELETED;
use super::machine::{Purpose, VirtualLog};
use super::trouble::Sign;
use crate::base::{LogPos, LogletId, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};

/// Closed segments behind the present one that are read ahead. To begin with a segment takes some round trips, which nobody should
/// wait for at every boundary of a chain of short ones.
const AHEAD_MAX: usize = 4;
/// Bytes of credit that each of them gets before its turn; not less is kept for the present one.
const AHEAD_BYTES: i64 = 128 << 10;

/// A subscription, and how far it has come.
///
/// All that the caller has granted is in one place: `credit`, or a stream's credit, or what a stream has brought before its turn.
#[derive(Clone, Hash, Debug)]
pub(super) struct Following {
    /// The next position to give.
    next: LogPos,
    /// Bytes granted by the caller, and to no stream. Below zero when a loglet has sent more than it was granted.
    credit: i64,
    /// From neighbouring segments, in their order. The first has `next`; the others are read ahead.
    streams: VecDeque<Stream>,
    /// Nothing more is read ahead before the next segment: a loglet could not.
    halted: bool,
}

/// What a loglet brings for a subscription.
#[derive(Clone, Hash, Debug)]
struct Stream {
    loglet: LogletId,
    request: OpId,
    /// The limit last told.
    limit: Offset,
    /// Bytes granted that have not come.
    credit: i64,
    /// What has come before its turn, each with its first offset.
    arrived: VecDeque<(Offset, Records)>,
}

impl Stream {
    /// What the caller has granted and has not been given.
    fn unspent(&self) -> i64 {
        self.credit + self.arrived.iter().map(|(_, records)| records.bytes.len() as i64).sum::<i64>()
    }
}

fn granted(bytes: i64) -> u32 {
    u32::try_from(bytes.max(0)).unwrap_or(u32::MAX)
}

impl VirtualLog {
    pub(super) fn subscribe(&mut self, id: OpId, from: LogPos, credit: u32) {
        if self.deleted {
            return self.give(id, LogResult::Unavailable { reason: DELETED.to_owned() });
        }
        let following = Following { next: from, credit: credit.into(), streams: VecDeque::new(), halted: false };
        self.subscriptions.insert(id, following);
        if self.chain.is_none() {
            self.read_chain();
        }
        self.follow(id);
    }

    pub(super) fn credit(&mut self, id: OpId, bytes: u32) {
        let Some(following) = self.subscriptions.get_mut(&id) else { return };
        following.credit += i64::from(bytes);
        self.grant(id);
    }

    pub(super) fn unsubscribe(&mut self, id: OpId) {
        let Some(following) = self.subscriptions.remove(&id) else { return };
        following.streams.iter().for_each(|stream| self.leave(stream));
    }

    fn leave(&mut self, stream: &Stream) {
        self.tell_subscription(stream.loglet, stream.request, LogletOp::Unsubscribe);
        self.forget_request(stream.request);
    }

    fn tell_subscription(&mut self, loglet: LogletId, request: OpId, op: LogletOp) {
        self.request(Request::Loglet { loglet, id: request, op });
    }

    /// Brings a subscription to the loglet that has what it wants next, with the limit that the chain says.
    pub(super) fn follow(&mut self, id: OpId) {
        loop {
            let Some(chain) = &self.chain else { return };
            let Some(following) = self.subscriptions.get(&id) else { return };
            let first = chain.first_position();
            if following.next < first {
                self.unsubscribe(id);
                return self.give(id, LogResult::Trimmed { trim_point: first });
            }
            let place = chain.locate(following.next).expect("at or above the first position");
            let loglet = chain.segments[place.segment].loglet.id();
            let limit = place.stop.unwrap_or(self.committed);
            self.leave_before(id, loglet);
            let following = self.subscriptions.get_mut(&id).expect("looked up above");
            let Some(stream) = following.streams.front_mut() else {
                return self.begin_stream(id, place.segment, place.offset, limit, place.stop.is_some());
            };
            let (request, told) = (stream.request, stream.limit);
            stream.limit = limit.max(told);
            let arrived = stream.arrived.pop_front();
            // A server that cannot say for itself that the loglet has ended, being damaged, owes what is below the stop (L5).
            if told < limit {
                self.tell_subscription(loglet, request, LogletOp::Credit { limit, bytes: 0 });
            }
            // What was read ahead, until all of it has been given.
            let Some((first, records)) = arrived else { return self.grant(id) };
            self.give_records(id, loglet, first, records);
        }
    }

    /// Leaves what is behind: streams of segments before that of this loglet.
    fn leave_before(&mut self, id: OpId, loglet: LogletId) {
        loop {
            let following = self.subscriptions.get_mut(&id).expect("asked for one that is there");
            if following.streams.front().is_none_or(|stream| stream.loglet == loglet) {
                return;
            }
            let behind = following.streams.pop_front().expect("just seen");
            following.credit += behind.unspent();
            following.halted = false;
            self.leave(&behind);
        }
    }

    /// The stream of the segment whose turn it is, when it was not read ahead.
    fn begin_stream(&mut self, id: OpId, segment: usize, from: Offset, limit: Offset, is_closed: bool) {
        // A sealed loglet has nothing to bring before its end is known.
        if !is_closed && self.trouble.is_some() {
            return;
        }
        let chain = self.chain.as_ref().expect("it has the segment");
        // The last one has no stop and is not read ahead.
        let ahead = (chain.segments.len() - 1).saturating_sub(segment + 1).min(AHEAD_MAX) as i64;
        let credit = self.subscriptions[&id].credit;
        let kept = if credit >= 2 * ahead * AHEAD_BYTES { ahead * AHEAD_BYTES } else { 0 };
        self.open_stream(id, segment, from, limit, credit - kept);
        self.look_at.get_or_insert(self.now + self.limits.stall);
        self.read_ahead(id);
    }

    fn open_stream(&mut self, id: OpId, segment: usize, from: Offset, limit: Offset, credit: i64) {
        let spec = self.chain.as_ref().expect("it has the segment").segments[segment].loglet.clone();
        let loglet = spec.id();
        let op = LogletOp::Subscribe { from, limit, credit: granted(credit) };
        let request = self.ask_loglet(&spec, Purpose::Subscription(id, loglet), op);
        let following = self.subscriptions.get_mut(&id).expect("asked for one that is there");
        following.credit -= credit;
        following.streams.push_back(Stream { loglet, request, limit, credit, arrived: VecDeque::new() });
    }

    /// Begins with closed segments before their turn, as far as the credit reaches.
    fn read_ahead(&mut self, id: OpId) {
        loop {
            let (chain, following) = (self.chain.as_ref().expect("there is a stream"), &self.subscriptions[&id]);
            let Some(last) = following.streams.back() else { return };
            let next = chain.segment_of(last.loglet).map(|segment| segment + 1);
            let stop = next.and_then(|next| chain.segments.get(next)?.stop_offset());
            let is_full = following.streams.len() > AHEAD_MAX || following.credit < AHEAD_BYTES || following.halted;
            let (Some(next), Some(stop), false) = (next, stop, is_full) else { return };
            self.open_stream(id, next, Offset::ZERO, stop, AHEAD_BYTES);
        }
    }

    /// Spends the credit that no stream has: on what is to be read ahead, and then on the segment whose turn it is.
    fn grant(&mut self, id: OpId) {
        if self.subscriptions[&id].streams.is_empty() {
            return;
        }
        self.read_ahead(id);
        let committed = self.committed;
        let is_last = |chain: &super::super::Chain, loglet| chain.last().loglet.id() == loglet;
        let following = self.subscriptions.get_mut(&id).expect("looked up above");
        let bytes = granted(following.credit);
        let stream = following.streams.front_mut().expect("just seen");
        if bytes == 0 {
            return;
        }
        if self.chain.as_ref().is_some_and(|chain| is_last(chain, stream.loglet)) {
            stream.limit = stream.limit.max(committed);
        }
        following.credit -= i64::from(bytes);
        stream.credit += i64::from(bytes);
        let (loglet, request, limit) = (stream.loglet, stream.request, stream.limit);
        self.tell_subscription(loglet, request, LogletOp::Credit { limit, bytes });
    }

    /// Gives records of the loglet whose turn it is, as far as they are in the log.
    fn give_records(&mut self, id: OpId, loglet: LogletId, first: Offset, records: Records) {
        let Some((position, records)) = self.in_the_log(loglet, first, records) else { return };
        let following = self.subscriptions.get_mut(&id).expect("asked for one that is there");
        assert_eq!(position, following.next, "a subscription leaves nothing out");
        following.next = position + u64::from(records.count);
        self.give(id, LogResult::Records { first: position, records });
        // It does not stand still.
        self.look_at = Some(self.now + self.limits.stall);
    }

    pub(super) fn subscription_brings(&mut self, id: OpId, request: OpId, loglet: LogletId, result: LogletResult) {
        let Some(following) = self.subscriptions.get_mut(&id) else { return };
        let Some(at) = following.streams.iter().position(|stream| stream.request == request) else { return };
        match result {
            LogletResult::Records { first, records } => {
                let stream = &mut following.streams[at];
                stream.credit -= records.bytes.len() as i64;
                if at > 0 {
                    return stream.arrived.push_back((first, records));
                }
                self.give_records(id, loglet, first, records);
                self.follow(id);
            }
            // Whether that matters shows when its turn comes.
            _ if at > 0 => self.give_up_ahead(id, at),
            LogletResult::Trimmed { trim_point } => {
                self.forget_first(id);
                let trim_point = self.trimmed_to(loglet, trim_point);
                self.unsubscribe(id);
                self.give(id, LogResult::Trimmed { trim_point });
            }
            LogletResult::SubscriptionEnded { .. } | LogletResult::Gone => {
                self.forget_first(id);
                // It would say the same again and again: the next chain says where to go on.
                if result == LogletResult::Gone {
                    self.leave_all(id);
                    return self.suspect_gone(loglet);
                }
                self.suspect(loglet, Sign::Sealed);
                self.follow(id);
            }
            LogletResult::Unavailable { reason } => {
                self.forget_first(id);
                self.unsubscribe(id);
                self.give(id, LogResult::Unavailable { reason });
            }
            other => unreachable!("no result of a subscription: {other:?}"),
        }
    }

    /// Leaves what is read ahead: the segment before it has not been given to its end.
    fn leave_all(&mut self, id: OpId) {
        let following = self.subscriptions.get_mut(&id).expect("asked for one that is there");
        let ahead = std::mem::take(&mut following.streams);
        following.credit += ahead.iter().map(Stream::unspent).sum::<i64>();
        ahead.iter().for_each(|stream| self.leave(stream));
    }

    /// The stream whose turn it is has ended by itself.
    fn forget_first(&mut self, id: OpId) {
        let following = self.subscriptions.get_mut(&id).expect("it has the stream");
        let first = following.streams.pop_front().expect("it has ended just now");
        following.credit += first.credit;
        self.forget_request(first.request);
    }

    /// A loglet has ended a stream that was read ahead: that one begins anew in its turn, and those behind it with it.
    fn give_up_ahead(&mut self, id: OpId, at: usize) {
        let following = self.subscriptions.get_mut(&id).expect("it has the stream");
        following.halted = true;
        let given_up = following.streams.split_off(at);
        following.credit += given_up.iter().map(Stream::unspent).sum::<i64>();
        self.forget_request(given_up[0].request);
        given_up.iter().skip(1).for_each(|stream| self.leave(stream));
        self.grant(id);
    }
}
