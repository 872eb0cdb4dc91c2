use super::loglet::Loglet;
use super::read::{Readable, check_range};
use super::shared::{Purpose, Shared};
use super::{Disk, ReadId, ReadOutcome};
use crate::base::{LogletId, Offset};
use crate::proto::peer::PeerId;
use crate::wire::{Message, RejectCode};

/// Subscriptions of one connection; a further one is refused.
pub(super) const SUBSCRIPTIONS_MAX: u32 = 256;

/// Subscriptions of all connections of a shard; a further one is refused.
pub(super) const SUBSCRIPTIONS_OF_ALL_MAX: u32 = 1 << 16;

/// A stream of records to one client. One read of the journal is in flight for it at most.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) peer: PeerId,
    pub(super) request: u64,
    /// The next offset to be delivered.
    next: Offset,
    limit: Offset,
    /// Bytes granted and not used; below zero when the last record was larger than the grant.
    credit: i64,
    reading: Option<ReadId>,
    /// Its next read waits for others to end.
    blocked: bool,
}

impl Shared {
    /// Notes a subscription whose next read has to wait for others. One of a paused peer waits for the peer instead; returns false
    /// then.
    fn wait_to_read(&mut self, peer: PeerId, request: u64, loglet: LogletId) -> bool {
        let waits = self.peers.get(&peer).is_some_and(|peer| !peer.paused);
        if waits {
            self.blocked.push_back((peer, request, loglet));
        }
        waits
    }

    pub(super) fn subscription_ended(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            assert!(peer.subscriptions > 0, "subscriptions are counted as they come and go");
            peer.subscriptions -= 1;
            self.subscriptions -= 1;
        }
    }
}

impl Loglet {
    /// Begins a stream, or, without credit, ends it from the client's side.
    pub(super) fn subscribe(
        &mut self,
        (peer, request): (PeerId, u64),
        from: Offset,
        limit: Offset,
        credit: u32,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        let known = self.subscriptions.iter().position(|known| (known.peer, known.request) == (peer, request));
        if let Some(index) = known {
            self.subscriptions.remove(index);
            shared.subscription_ended(peer);
        }
        if credit == 0 {
            return;
        }
        let all = &mut shared.subscriptions;
        let Some(count) = shared.peers.get_mut(&peer).map(|peer| &mut peer.subscriptions) else { return };
        if *count >= SUBSCRIPTIONS_MAX {
            return shared.reject(peer, request, RejectCode::Limit, "too many subscriptions on this connection");
        }
        if *all >= SUBSCRIPTIONS_OF_ALL_MAX {
            return shared.reject(peer, request, RejectCode::Limit, "too many subscriptions on this shard");
        }
        *count += 1;
        *all += 1;
        let credit = i64::from(credit);
        self.subscriptions.push(Subscription {
            peer,
            request,
            next: from,
            limit,
            credit,
            reading: None,
            blocked: false,
        });
        self.settle(shared, disk);
    }

    /// More bytes, and a new limit, for a stream; a stream that has ended meanwhile needs neither.
    pub(super) fn credit(
        &mut self,
        (peer, request): (PeerId, u64),
        limit: Offset,
        bytes: u32,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        let known = |known: &&mut Subscription| (known.peer, known.request) == (peer, request);
        if let Some(subscription) = self.subscriptions.iter_mut().find(known) {
            subscription.credit = subscription.credit.saturating_add(i64::from(bytes));
            subscription.limit = subscription.limit.max(limit);
            self.settle(shared, disk);
        }
    }

    /// The next read of a stream may be due.
    pub(super) fn unblock(&mut self, (peer, request): (PeerId, u64), shared: &mut Shared, disk: &mut impl Disk) {
        let known = |known: &&mut Subscription| (known.peer, known.request) == (peer, request);
        if let Some(subscription) = self.subscriptions.iter_mut().find(known) {
            subscription.blocked = false;
            self.settle(shared, disk);
        }
    }

    /// Starts what reads are due, and ends the streams that are at their end.
    pub(super) fn drive_subscriptions(&mut self, shared: &mut Shared, disk: &mut impl Disk) {
        if self.deleting {
            return;
        }
        let mut subscriptions = std::mem::take(&mut self.subscriptions);
        subscriptions.retain_mut(|subscription| {
            let end = self.drive(subscription, shared, disk);
            if let Some(message) = end {
                shared.send(subscription.peer, message);
                shared.subscription_ended(subscription.peer);
                return false;
            }
            true
        });
        assert!(self.subscriptions.is_empty(), "no subscription begins while they are driven");
        self.subscriptions = subscriptions;
    }

    /// Returns the last message of a stream that is at its end.
    fn drive(
        &self,
        subscription: &mut Subscription,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) -> Option<Message<'static>> {
        if subscription.reading.is_some() || subscription.blocked {
            return None;
        }
        let Subscription { peer, request, next: from, .. } = *subscription;
        let loglet = self.id;
        let bound = subscription.limit.max(self.known_tail);
        match self.readable(from, bound) {
            Readable::Trimmed => Some(Message::Trimmed { request, loglet, trim_point: self.trim_point }),
            Readable::Records { to } if subscription.credit > 0 => {
                assert!(from < to && to <= bound, "a stream stays below its bound (P1)");
                if !shared.may_read(peer) {
                    subscription.blocked = shared.wait_to_read(peer, request, loglet);
                    return None;
                }
                let id = shared.start_read(loglet, Purpose::Subscription { peer, request, from, to });
                let credit = u32::try_from(subscription.credit).unwrap_or(u32::MAX);
                disk.read(id, loglet, from, to, credit.min(shared.limits.read_bytes_max));
                subscription.reading = Some(id);
                None
            }
            Readable::Records { .. } | Readable::Gap { coming: true, .. } => None,
            Readable::Gap { to, coming: false } => Some(Message::Gap { request, loglet, from, to }),
            // The client goes on with the chain's stop as its limit, here or elsewhere (L5).
            Readable::Nothing => self.tells_sealed().then(|| self.sealed_message(request)),
        }
    }

    /// A read for a stream is complete.
    pub(super) fn subscription_read<'b>(
        &mut self,
        id: ReadId,
        (peer, request): (PeerId, u64),
        (from, to): (Offset, Offset),
        outcome: ReadOutcome<'b>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) -> Option<(PeerId, Message<'b>)> {
        let reading = |known: &&mut Subscription| known.reading == Some(id);
        let subscription = self.subscriptions.iter_mut().find(reading);
        let ReadOutcome::Records { first, batch } = outcome else {
            if let Some(subscription) = subscription {
                subscription.reading = None;
            }
            self.make_hole(from, to, outcome, shared, disk);
            return None;
        };
        check_range(first, batch.count(), from, to);
        let subscription = subscription?;
        assert_eq!((subscription.peer, subscription.next), (peer, from), "one read at a time, in order");
        subscription.reading = None;
        subscription.next = first + u64::from(batch.count());
        subscription.credit -= batch.len() as i64;
        self.settle(shared, disk);
        Some((peer, Message::Records { request, loglet: self.id, first, known_tail: self.known_tail, batch }))
    }
}
