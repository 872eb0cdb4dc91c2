use std::collections::VecDeque;

use super::machine::NativeLoglet;
use crate::base::{Instant, LogletId};
use crate::proto::loglet::{LogletResult, OpId, Records};
use crate::wire::{Batch, Message, Residence};

#[derive(Clone, Hash, Debug)]
struct Pending {
    id: OpId,
    records: Records,
    since: Instant,
}

/// Where the time of an acknowledged append went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Went {
    /// When it was handed in.
    pub since: Instant,
    /// On the sequencer's node.
    pub residence: Residence,
}

/// Appends in their order. Request numbers are consecutive, so that an answer finds its append by subtraction, and nothing is
/// allocated per append once the queue has its size.
#[derive(Clone, Hash, Debug)]
pub(super) struct Appends {
    /// `None` for one that is over while an earlier one is not.
    pending: VecDeque<Option<Pending>>,
    /// Request number of the first.
    base: u64,
    /// How many of `pending` have been sent: a prefix, `sent <= pending.len()`.
    sent: usize,
    /// What the answers say of where the time went, as long as nobody has asked; none where nobody will.
    residences: Option<VecDeque<(OpId, Went)>>,
}

impl Default for Appends {
    fn default() -> Self {
        Self { pending: VecDeque::new(), base: 1, sent: 0, residences: None }
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

    /// From now on it is kept what the answers say of where the time went, for [`NativeLoglet::poll_residence`].
    pub fn keep_residences(&mut self) {
        self.appends.residences.get_or_insert_default();
    }

    /// Where the time of this acknowledged append went. To be asked in the order of the results.
    pub fn poll_residence(&mut self, id: OpId) -> Option<Went> {
        let residences = self.appends.residences.as_mut()?;
        residences.front().filter(|(append, _)| *append == id)?;
        residences.pop_front().map(|(_, went)| went)
    }

    /// An answer from the sequencer; whether it was to an append.
    pub(super) fn handle_append_answer(&mut self, request: u64, message: &Message<'_>) -> bool {
        let Some(Pending { id, records, since }) = self.appends.take(request) else { return false };
        let count_given = records.count;
        let result = match *message {
            Message::Appended { first, count, residence, .. } if count == count_given => {
                if let (Some(residences), Some(residence)) = (&mut self.appends.residences, residence) {
                    residences.push_back((id, Went { since, residence }));
                }
                // Its own acknowledgement: reached by the sequencer's count of unsealed answers (P1 a).
                self.shared.learn(first + u64::from(count));
                LogletResult::Appended { first, stride: 1, records }
            }
            Message::AppendSealed { first, count, .. } if count == 0 || count == count_given => {
                // L1: whoever hears of a seal completes it.
                self.shared.sealer.want();
                LogletResult::AppendSealed { first: (count > 0).then_some(first), stride: 1, records }
            }
            Message::AppendNoSpace { first, count, .. } if count == 0 || count == count_given => {
                LogletResult::AppendNoSpace { first: (count > 0).then_some(first), stride: 1, records }
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
            self.shared.results.push_back((id, LogletResult::AppendSealed { first: None, stride: 1, records }));
        }
        self.shared.results.make_contiguous()[from..].reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Target;
    use super::super::testing::*;
    use super::*;
    use crate::base::{Limits, Offset};
    use crate::proto::loglet::LogletOp;

    fn rig() -> Rig {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        rig.core.handle_connected(Target::Sequencer, rig.now);
        rig
    }

    fn append(rig: &mut Rig, id: u64, count: u64) {
        rig.start(id, LogletOp::Append { records: honest(0..count) });
    }

    fn appended(request: u64, first: u64, count: u32) -> Message<'static> {
        let (first, known_tail) = (Offset(first), Offset(first + u64::from(count)));
        Message::Appended { request, loglet: LOGLET, first, count, known_tail, residence: None }
    }

    fn ids(rig: &mut Rig) -> Vec<(u64, LogletResult)> {
        std::iter::from_fn(|| rig.core.poll_result()).map(|(id, result)| (id.0, result)).collect()
    }

    /// A sequencer's node may begin or cease to measure at any time; nobody else's times are taken for an append's.
    #[test]
    fn where_the_time_went_is_told_for_the_append_that_it_is_about() {
        let mut rig = rig();
        rig.core.keep_residences();
        (1..=3).for_each(|id| append(&mut rig, id, 1));
        rig.run();
        let requests: Vec<u64> = rig.appends.iter().map(|(request, _)| *request).collect();
        for (first, request) in (0..).zip(requests) {
            let residence = (first != 1).then_some(Residence { arrived: first, stages: [1; 6], last: 0 });
            let Message::Appended { loglet, count, known_tail, .. } = appended(request, first, 1) else { panic!() };
            rig.sequencer(Message::Appended { request, loglet, first: Offset(first), count, known_tail, residence });
        }
        let arrived =
            ids(&mut rig).into_iter().map(|(id, _)| rig.core.poll_residence(OpId(id)).map(|it| it.residence.arrived));
        assert_eq!(arrived.collect::<Vec<_>>(), [Some(0), None, Some(2)]);
    }

    #[test]
    fn appends_are_pipelined_and_matched_by_number() {
        let mut rig = rig();
        (1..=3).for_each(|id| append(&mut rig, id, id));
        rig.run();
        let requests: Vec<u64> = rig.appends.iter().map(|(request, _)| *request).collect();
        assert_eq!(rig.appends.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 2, 3]);
        rig.sequencer(appended(requests[1], 1, 2));
        rig.sequencer(appended(requests[0], 0, 1));
        rig.sequencer(appended(requests[0], 0, 1));
        rig.sequencer(appended(requests[2], 3, 3));
        let expected = [(2, 1, 2), (1, 0, 1), (3, 3, 3)].map(|(id, first, count)| {
            (id, LogletResult::Appended { first: Offset(first), stride: 1, records: honest(0..count) })
        });
        assert_eq!(ids(&mut rig), expected);
        assert_eq!(rig.core.known_tail(), Offset(6));
        assert_eq!(rig.core.appends.oldest(), None);
    }

    /// P16: what was sent has an unknown outcome, what was not surely is not stored; nothing is sent a second time.
    #[test]
    fn a_lost_connection_tells_sent_from_unsent_and_retries_nothing() {
        let mut rig = rig();
        append(&mut rig, 1, 1);
        rig.run();
        append(&mut rig, 2, 2);
        rig.core.handle_disconnected(Target::Sequencer, rig.now);
        let lost = |maybe_stored, count| LogletResult::SequencerLost { maybe_stored, records: honest(0..count) };
        assert_eq!(ids(&mut rig), [(1, lost(true, 1)), (2, lost(false, 2))]);
        rig.core.handle_connected(Target::Sequencer, rig.now);
        rig.run();
        assert_eq!(rig.appends.len(), 1);
        append(&mut rig, 3, 1);
        rig.run();
        let request = rig.appends[1].0;
        assert_ne!(request, rig.appends[0].0);
        rig.sequencer(appended(rig.appends[0].0, 0, 1));
        assert_eq!(ids(&mut rig), [], "an answer of the former connection is nobody's");
        rig.sequencer(appended(request, 1, 1));
        assert_eq!(ids(&mut rig).len(), 1);
    }

    #[test]
    fn a_replaced_connection_was_a_lost_one() {
        let mut rig = rig();
        append(&mut rig, 1, 1);
        rig.run();
        rig.core.handle_connected(Target::Sequencer, rig.now);
        assert!(matches!(rig.results()[..], [LogletResult::SequencerLost { maybe_stored: true, .. }]));
    }

    #[test]
    fn an_append_waits_for_the_first_connection() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        append(&mut rig, 1, 1);
        assert!(rig.core.wants(Target::Sequencer));
        rig.core.handle_connected(Target::Sequencer, rig.now);
        rig.run();
        assert_eq!(rig.appends.len(), 1);
    }

    /// P16: offsets come with the seal; without offsets the records surely are not in the log. L1: the seal is completed.
    #[test]
    fn sealed_carries_the_offsets_and_completes_the_seal() {
        let mut rig = rig();
        append(&mut rig, 1, 2);
        append(&mut rig, 2, 1);
        rig.run();
        let sealed =
            |request, first, count| Message::AppendSealed { request, loglet: LOGLET, first: Offset(first), count };
        rig.sequencer(sealed(rig.appends[0].0, 7, 2));
        rig.sequencer(sealed(rig.appends[1].0, 9, 0));
        let result = |first, count| LogletResult::AppendSealed { first, stride: 1, records: honest(0..count) };
        assert_eq!(ids(&mut rig), [(1, result(Some(Offset(7)), 2)), (2, result(None, 1))]);
        rig.run();
        assert!(rig.servers.iter().all(|server| server.sealed));
        assert_eq!(rig.core.known_tail(), Offset::ZERO);
    }

    #[test]
    fn a_lost_sequencer_leaves_the_outcome_open_and_a_refusal_does_not() {
        let mut rig = rig();
        (1..=2).for_each(|id| append(&mut rig, id, 1));
        rig.run();
        rig.sequencer(Message::SequencerLost { request: rig.appends[0].0, loglet: LOGLET });
        let (request, loglet) = (rig.appends[1].0, LOGLET);
        rig.sequencer(Message::Unavailable { request, loglet, reason: "no space is left" });
        let lost = |maybe_stored| LogletResult::SequencerLost { maybe_stored, records: honest(0..1) };
        assert_eq!(ids(&mut rig), [(1, lost(true)), (2, lost(false))]);
    }

    /// P16: with offsets the records may still come to be, at these and nowhere else; without, they never will. Nothing is sealed.
    #[test]
    fn no_space_carries_the_offsets_and_ends_nothing() {
        let mut rig = rig();
        (1..=3).for_each(|id| append(&mut rig, id, id));
        rig.run();
        let loglet = LOGLET;
        let refused = |request, first, count| Message::AppendNoSpace { request, loglet, first: Offset(first), count };
        rig.sequencer(refused(rig.appends[0].0, 7, 1));
        rig.sequencer(refused(rig.appends[1].0, 8, 0));
        let result = |first, count| LogletResult::AppendNoSpace { first, stride: 1, records: honest(0..count) };
        assert_eq!(ids(&mut rig), [(1, result(Some(Offset(7)), 1)), (2, result(None, 2))]);
        rig.sequencer(appended(rig.appends[2].0, 8, 3));
        assert!(matches!(ids(&mut rig)[..], [(3, LogletResult::Appended { .. })]), "later ones may succeed");
        rig.run();
        assert!(rig.servers.iter().all(|server| !server.sealed));
    }

    /// An answer that does not fit is not an acknowledgement.
    #[test]
    fn an_answer_for_another_number_of_records_acknowledges_nothing() {
        let mut rig = rig();
        append(&mut rig, 1, 2);
        rig.run();
        rig.sequencer(appended(rig.appends[0].0, 0, 1));
        assert!(matches!(rig.results()[..], [LogletResult::SequencerLost { maybe_stored: true, .. }]));
    }

    #[test]
    fn an_append_that_takes_too_long_gives_its_records_back() {
        let mut rig = rig();
        append(&mut rig, 1, 1);
        rig.run();
        rig.pass_time(Limits::default().operation_timeout / 2);
        append(&mut rig, 2, 1);
        rig.pass_time(Limits::default().operation_timeout / 2);
        assert!(matches!(ids(&mut rig)[..], [(1, LogletResult::SequencerLost { maybe_stored: true, .. })]));
        assert!(rig.core.appends.oldest().is_some());
    }

    #[test]
    fn a_closed_loglet_takes_no_append_and_does_not_ask_the_sequencer() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        (1..=2).for_each(|id| append(&mut rig, id, id));
        rig.start(9, LogletOp::Seal);
        rig.run();
        append(&mut rig, 3, 3);
        let sealed = |count| LogletResult::AppendSealed { first: None, stride: 1, records: honest(0..count) };
        let results: Vec<_> = ids(&mut rig).into_iter().filter(|(id, _)| *id != 9).collect();
        assert_eq!(results, [(1, sealed(1)), (2, sealed(2)), (3, sealed(3))]);
        assert!(!rig.core.wants(Target::Sequencer));
    }

    /// The queue of appends keeps its memory: a long run at a steady depth does not grow it.
    #[test]
    fn a_steady_pipeline_does_not_grow() {
        let mut rig = rig();
        let mut capacity = 0;
        for id in 1..=1000 {
            append(&mut rig, id, 1);
            rig.run();
            let request = rig.appends.pop().unwrap().0;
            rig.sequencer(appended(request, id - 1, 1));
            assert_eq!(ids(&mut rig).len(), 1);
            if id == 10 {
                capacity = rig.core.appends.pending.capacity();
            }
        }
        assert_eq!(rig.core.appends.pending.capacity(), capacity);
    }
}
