use std::collections::VecDeque;

use super::machine::NativeLoglet;
use crate::base::{Instant, LogletId};
use crate::proto::loglet::{LogletResult, OpId, Records};
use crate::wire::{Batch, Message};

#[derive(Clone, Debug)]
struct Pending {
    id: OpId,
    records: Records,
    since: Instant,
}

/// Appends in their order. Request numbers are consecutive, so that an answer finds its append by subtraction, and nothing is
/// allocated per append once the queue has its size.
#[derive(Clone, Debug)]
pub(super) struct Appends {
    /// `None` for one that is over while an earlier one is not.
    pending: VecDeque<Option<Pending>>,
    /// Request number of the first.
    base: u64,
    /// How many of `pending` have been sent: a prefix, `sent <= pending.len()`.
    sent: usize,
}

impl Default for Appends {
    fn default() -> Self {
        Self { pending: VecDeque::new(), base: 1, sent: 0 }
    }
}

impl Appends {
    /// The next append to send.
    pub(super) fn poll_send(&mut self, loglet: LogletId) -> Option<Message<'_>> {
        let request = self.base + self.sent as u64;
        let pending = self.pending.get(self.sent)?.as_ref().expect("what is not sent is not over");
        self.sent += 1;
        let batch = Batch::new(pending.records.count, &pending.records.bytes).expect("checked when it came in");
        Some(Message::Append { request, loglet, batch })
    }

    /// Since when the oldest one waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.pending.front().map(|front| front.as_ref().expect("the front is never over").since)
    }

    /// Takes out the append of this request, if it has been sent and is not over.
    fn take(&mut self, request: u64) -> Option<Pending> {
        let index = usize::try_from(request.checked_sub(self.base)?).ok().filter(|index| *index < self.sent)?;
        let pending = self.pending[index].take();
        while self.pending.front().is_some_and(Option::is_none) {
            self.pop();
        }
        pending
    }

    /// Takes out the oldest append, and whether it has been sent.
    fn pop(&mut self) -> Option<(Option<Pending>, bool)> {
        let front = self.pending.pop_front()?;
        let was_sent = self.sent > 0;
        self.base += 1;
        self.sent = self.sent.saturating_sub(1);
        assert!(self.sent <= self.pending.len());
        Some((front, was_sent))
    }

    /// Takes out the youngest append if it has not been sent.
    fn pop_unsent(&mut self) -> Option<Pending> {
        if self.pending.len() == self.sent {
            return None;
        }
        self.pending.pop_back()?
    }
}

impl NativeLoglet {
    pub(super) fn handle_append(&mut self, id: OpId, records: Records, now: Instant) {
        assert!(Batch::new(records.count, &records.bytes).is_ok(), "an append has records in the batch format");
        let sequencer = self.shared.sequencer();
        self.shared.links[sequencer].wanted = true;
        self.appends.pending.push_back(Some(Pending { id, records, since: now }));
        if self.is_closed() {
            self.settle_unsent();
        }
    }

    /// An answer from the sequencer; whether it was to an append.
    pub(super) fn handle_append_answer(&mut self, request: u64, message: &Message<'_>) -> bool {
        let Some(Pending { id, records, .. }) = self.appends.take(request) else { return false };
        let count_given = records.count;
        let result = match *message {
            Message::Appended { first, count, .. } if count == count_given => {
                // Its own acknowledgement: reached by the sequencer's count of unsealed answers (P1 a).
                self.shared.learn(first + u64::from(count));
                LogletResult::Appended { first, records }
            }
            Message::AppendSealed { first, count, .. } if count == 0 || count == count_given => {
                // L1: whoever hears of a seal completes it.
                self.shared.sealer.want();
                LogletResult::AppendSealed { first: (count > 0).then_some(first), records }
            }
            // Refused before it was given an offset.
            Message::Reject { .. } | Message::Unavailable { .. } => {
                LogletResult::SequencerLost { maybe_stored: false, records }
            }
            // Also an answer that does not fit the question: its outcome is unknown, so it is not tried again here (P16).
            _ => LogletResult::SequencerLost { maybe_stored: true, records },
        };
        self.shared.results.push_back((id, result));
        true
    }

    /// The connection to the sequencer is gone. What was sent has an unknown outcome and what was not has none; neither waits
    /// for another connection, so that the caller can retry all of them in their order (P16).
    pub(super) fn lose_appends(&mut self) {
        while let Some((pending, maybe_stored)) = self.appends.pop() {
            let Some(Pending { id, records, .. }) = pending else { continue };
            self.shared.results.push_back((id, LogletResult::SequencerLost { maybe_stored, records }));
        }
        assert_eq!(self.appends.sent, 0);
    }

    /// Appends that have waited too long.
    pub(super) fn expire_appends(&mut self, now: Instant) {
        let limit = self.shared.limits.operation_timeout;
        while self.appends.oldest().is_some_and(|since| now.since(since) >= limit) {
            if let Some((Some(Pending { id, records, .. }), maybe_stored)) = self.appends.pop() {
                self.shared.results.push_back((id, LogletResult::SequencerLost { maybe_stored, records }));
            }
            while self.appends.pending.front().is_some_and(Option::is_none) {
                self.appends.pop();
            }
        }
    }

    /// The loglet is sealed on a majority, or deleted: what has not been sent never will be, and surely is not stored.
    pub(super) fn settle_unsent(&mut self) {
        let from = self.shared.results.len();
        while let Some(Pending { id, records, .. }) = self.appends.pop_unsent() {
            self.shared.results.push_back((id, LogletResult::AppendSealed { first: None, records }));
        }
        self.shared.results.make_contiguous()[from..].reverse();
    }
}
