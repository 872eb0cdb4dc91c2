use super::filler::Want;
use super::machine::{Ask, StripedLoglet};
use super::merge::Merge;
use crate::base::{Instant, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};

/// About how many bytes are delivered together.
const DELIVERY_BYTES: usize = 256 << 10;

/// Records of all stripes, delivered in the order of the whole.
///
/// Each stripe has a part of what the caller has granted, and is granted again what it has brought once that is delivered. So the next record
/// can always come, however far the other stripes are ahead, and what waits here for its turn is bounded.
#[derive(Clone, Hash, Debug)]
pub(super) struct Subscription {
    merge: Merge,
    limit: Offset,
    /// Bytes that the caller has granted and not got. Below zero when the last record was larger.
    credit: i64,
    streams: Vec<Stream>,
    /// Bytes that each stripe may have sent and not seen delivered.
    share: u32,
    /// Every stripe is filled below the first offset that is wanted: what follows without a gap is then as certain.
    begun: bool,
    /// There are records, and the next one is not among them.
    stands_since: Option<Instant>,
}

#[derive(Clone, Hash, Debug)]
struct Stream {
    request: OpId,
    /// Bytes delivered that were not granted again: small grants are put together.
    owed: u32,
    /// That it has ended, and whether its stripe is sealed.
    ended: Option<bool>,
}

impl Subscription {
    /// What has to be filled for it to go on. What is known to be committed is only slow to come.
    pub(super) fn wants(&self) -> Option<Want> {
        let (since, last) = self.stands_since.zip(self.merge.last())?;
        let next = self.merge.next();
        let first = if self.begun { next + 1 } else { next };
        (first > self.limit).then_some(Want { first, since, last })
    }

    /// Whether nothing more can be delivered, and every stripe that is needed for it has ended: sealed, or not.
    fn end(&self, stripe: usize) -> Option<bool> {
        if self.merge.lacks(stripe) {
            return self.streams[stripe].ended;
        }
        (!self.begun && self.streams.iter().all(|stream| stream.ended.is_some())).then_some(true)
    }

    /// The part of the caller's credit that each stripe gets, when there is more of it than before.
    fn widen(&mut self) -> u32 {
        let share = self.credit.max(0) / self.streams.len() as i64;
        let share = u32::try_from(share).unwrap_or(u32::MAX).max((self.credit > 0).into());
        let more = share.saturating_sub(self.share);
        self.share += more;
        more
    }
}

impl StripedLoglet {
    pub(super) fn subscribe(&mut self, id: OpId, from: Offset, limit: Offset, credit: u32) {
        let streams = (0..self.layout.stripes()).map(|_| Stream { request: OpId(0), owed: 0, ended: None }).collect();
        let (merge, credit) = (Merge::new(self.layout, from), i64::from(credit));
        let mut new = Subscription { merge, limit, credit, streams, share: 0, begun: false, stands_since: None };
        let share = new.widen();
        for (stripe, stream) in new.streams.iter_mut().enumerate() {
            let (from, limit) = (self.layout.below(stripe, from), self.layout.below(stripe, limit));
            stream.request = self.ask(stripe, Ask::Op(LogletOp::Subscribe { from, limit, credit: share }));
            self.owners.insert(stream.request, id);
        }
        self.subscriptions.insert(id, new);
    }

    pub(super) fn credit(&mut self, id: OpId, limit: Offset, bytes: u32) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let is_news = limit > subscription.limit;
        subscription.limit = subscription.limit.max(limit);
        subscription.credit += i64::from(bytes);
        let more = subscription.widen();
        if is_news || more > 0 {
            self.grant(id, more, 0);
        }
    }

    /// Grants stripes what they have brought, where it is at least so much, and more.
    fn grant(&mut self, id: OpId, more: u32, least: u32) {
        let layout = self.layout;
        let subscription = self.subscriptions.get_mut(&id).expect("looked up by the caller");
        let limit = subscription.limit;
        let open = subscription.streams.iter_mut().enumerate().filter(|(_, stream)| stream.ended.is_none());
        let grants = open.filter(|(_, stream)| stream.owed >= least).map(|(stripe, stream)| {
            let bytes = std::mem::take(&mut stream.owed).saturating_add(more);
            (stripe, stream.request, LogletOp::Credit { limit: layout.below(stripe, limit), bytes })
        });
        let grants: Vec<_> = grants.collect();
        grants.into_iter().for_each(|(stripe, request, op)| self.tell(stripe, request, op));
    }

    pub(super) fn unsubscribe(&mut self, id: OpId) {
        self.finish(id, None, false);
    }

    /// Ends a subscription, with a last word of why.
    fn finish(&mut self, id: OpId, word: Option<LogletResult>, sealed: bool) {
        let Some(subscription) = self.subscriptions.remove(&id) else { return };
        for (stripe, stream) in subscription.streams.iter().enumerate().filter(|(_, stream)| stream.ended.is_none()) {
            self.owners.remove(&stream.request);
            self.tell(stripe, stream.request, LogletOp::Unsubscribe);
        }
        self.results.extend(word.map(|word| (id, word)));
        self.results.push_back((id, LogletResult::SubscriptionEnded { sealed }));
    }

    pub(super) fn stripe_brings(&mut self, id: OpId, stripe: usize, result: LogletResult) {
        let subscription = self.subscriptions.get_mut(&id).expect("looked up by the caller");
        match result {
            LogletResult::Records { first, records } => subscription.merge.push(stripe, first, records),
            LogletResult::SubscriptionEnded { sealed } => {
                let stream = &mut subscription.streams[stripe];
                stream.ended = Some(sealed);
                self.owners.remove(&stream.request);
            }
            LogletResult::Trimmed { trim_point } => {
                let trim_point = self.layout.trimmed_by(stripe, trim_point);
                self.finish(id, Some(LogletResult::Trimmed { trim_point }), false);
            }
            LogletResult::Unavailable { reason } => {
                let reason = format!("stripe {stripe}: {reason}");
                self.finish(id, Some(LogletResult::Unavailable { reason }), false);
            }
            LogletResult::Gone => self.finish(id, Some(LogletResult::Gone), false),
            other => unreachable!("no result of a subscription: {other:?}"),
        }
    }

    /// Delivers what is complete.
    pub(super) fn merge_all(&mut self) {
        let ids: Vec<OpId> = self.subscriptions.keys().copied().collect();
        ids.into_iter().for_each(|id| self.merge(id));
    }

    fn merge(&mut self, id: OpId) {
        let (filled, now) = (self.filled, self.now);
        let subscription = self.subscriptions.get_mut(&id).expect("listed just now");
        let Subscription { merge, limit, credit, streams, begun, stands_since, share } = subscription;
        *begun |= merge.next() <= filled.max(*limit);
        let mut owed_most = 0;
        while *begun && *credit > 0 {
            let bytes_max = usize::try_from(*credit).unwrap_or(usize::MAX).min(DELIVERY_BYTES);
            let Some((first, records, taken)) = merge.take(Offset::MAX, bytes_max) else { break };
            *credit -= records.bytes.len() as i64;
            for (stream, bytes) in streams.iter_mut().zip(taken) {
                stream.owed += bytes as u32;
                owed_most = owed_most.max(stream.owed);
            }
            self.results.push_back((id, LogletResult::Records { first, records }));
            *stands_since = None;
        }
        let (stripe, _) = self.layout.place(merge.next());
        match merge.last() {
            // Without credit it is the caller who is waited for.
            Some(_) if !*begun || merge.lacks(stripe) => drop(stands_since.get_or_insert(now)),
            _ => *stands_since = None,
        }
        let (worth_it, ended) = ((*share / 4).max(1), subscription.end(stripe));
        if let Some(sealed) = ended {
            self.finish(id, None, sealed);
        } else if owed_most >= worth_it {
            self.grant(id, 0, worth_it);
        }
    }
}
