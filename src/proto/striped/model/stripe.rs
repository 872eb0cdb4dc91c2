use crate::base::Offset;
use crate::proto::loglet::{FillFailure, LogletOp, LogletResult, Records};
use crate::proto::testing::{NO_OP, Owned};
use crate::wire::Batch;

/// What stands for a no-op where records are numbers.
pub(super) const FILLER: u8 = u8::MAX;

/// Records that say these numbers.
pub(super) fn records(numbers: &[u8]) -> Records {
    let text = |number: &u8| match *number {
        FILLER => NO_OP.to_vec(),
        number => vec![b'a' + number],
    };
    let Owned { count, bytes } = Owned::of(&numbers.iter().map(text).collect::<Vec<_>>());
    Records { count, bytes }
}

/// The numbers of these records.
pub(super) fn numbers(records: &Records) -> Vec<u8> {
    let batch = Batch::new(records.count, &records.bytes).expect("made here");
    batch.values().map(|payload| payload.map_or(FILLER, |payload| payload[0] - b'a')).collect()
}

/// A stripe by its contract, more permissive than any implementation: offsets may be given although it is sealed, a sealed tail is any one
/// that covers what is committed, also a smaller one after a larger, an open one commits whatever it covers, and answers overtake one
/// another.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Stripe {
    /// The records that were given offsets.
    pub(super) given: Vec<u8>,
    /// How many of them are committed by unsealed answers: the highest known tail that anybody may have.
    pub(super) committed: u64,
    pub(super) sealed: bool,
}

/// A request on its way, or to which the stripe has not answered yet.
#[derive(Clone, Hash, Debug)]
pub(super) struct Asked {
    pub(super) op: LogletOp,
    /// Behind the offsets that it was given, and how many: no-ops, if it is a filler.
    pub(super) taken: Option<(u64, u64)>,
}

/// One of the answers that a stripe may give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The one that follows from its state.
    Plain,
    /// Of an append or a filler: offsets are given, and it is not answered yet.
    Take,
    /// The same of a filler that reaches one offset only.
    TakeOne,
    /// The same of a sealed stripe: a zombie's.
    TakeSealed,
    /// An answer from before the seal.
    Late,
    /// The sequencer is lost, and whether it has taken something nobody knows.
    Lose,
    /// No space.
    Refuse,
    /// Of a checkTail: this tail.
    Tail(u64),
    /// Of a read or a subscription: everything below this.
    Below(u64),
    /// Of a subscription: its end, by the seal.
    End,
}

impl Stripe {
    fn end(&self) -> u64 {
        self.given.len() as u64
    }

    /// What may be answered.
    pub(super) fn answers(&self, Asked { op, taken }: &Asked) -> Vec<Answer> {
        use Answer::{Below, End, Late, Lose, Plain, Refuse, Tail, Take, TakeOne, TakeSealed};
        match op {
            LogletOp::Append { .. } | LogletOp::FillTo { .. } => match (taken, self.sealed) {
                (None, true) => vec![Plain, TakeSealed],
                (None, false) => match op {
                    LogletOp::FillTo { offset } if offset.0 > self.end() + 1 => vec![Take, TakeOne, Lose, Refuse],
                    _ => vec![Take, Lose, Refuse],
                },
                (Some((end, _)), true) if *end <= self.committed => vec![Plain, Late, Lose],
                (Some(_), true) => vec![Plain, Lose],
                (Some(_), false) => vec![Plain, Lose, Refuse],
            },
            LogletOp::CheckTail => (self.committed..=self.end()).map(Tail).collect(),
            LogletOp::ReadNext { min, max, limit, .. } => {
                // The server may not have heard of what is committed.
                let ends = [limit.0, limit.0.max(self.committed)].map(|end| end.min(max.0).min(self.end()).max(min.0));
                ends[..if ends[0] == ends[1] { 1 } else { 2 }].iter().copied().map(Below).collect()
            }
            LogletOp::Subscribe { from, limit, .. } => {
                let all = limit.0.max(self.committed).min(self.end());
                let mut answers = Vec::new();
                answers.extend((from.0 + 1 < all).then_some(Below(from.0 + 1)));
                answers.extend((from.0 < all).then_some(Below(all)));
                answers.extend((self.sealed && from.0 >= limit.0.min(self.end())).then_some(End));
                answers
            }
            _ => vec![Plain],
        }
    }

    /// Gives an append its offset, or a filler the no-ops that it needs.
    pub(super) fn take(&mut self, op: &LogletOp, answer: Answer) -> (u64, u64) {
        let before = self.end();
        match op {
            LogletOp::Append { records } => self.given.extend(numbers(records)),
            LogletOp::FillTo { offset } => {
                let end = if answer == Answer::TakeOne { before + 1 } else { offset.0 };
                self.given.extend((before..end).map(|_| FILLER));
            }
            other => unreachable!("nothing is given to {other:?}"),
        }
        let placed = self.end() - before;
        let end = if let LogletOp::FillTo { offset } = op { self.end().min(offset.0) } else { self.end() };
        (end, placed)
    }

    /// Carries out an operation, and answers. Of a subscription, `from` goes on.
    pub(super) fn answer(&mut self, Asked { op, taken }: &mut Asked, answer: Answer) -> LogletResult {
        let first = |records: &Records| taken.map(|(end, _)| Offset(end - u64::from(records.count)));
        let is_late = !self.sealed || answer == Answer::Late;
        match (op, answer) {
            (LogletOp::Append { records }, Answer::Lose) => {
                LogletResult::SequencerLost { maybe_stored: true, records: records.clone() }
            }
            (LogletOp::Append { records }, Answer::Refuse) => {
                LogletResult::AppendNoSpace { first: first(records), stride: 1, records: records.clone() }
            }
            (LogletOp::Append { records }, _) => match (first(records), is_late) {
                (Some(first), true) => {
                    // The order rule: what is committed is so with all below it.
                    self.committed = self.committed.max(first.0 + u64::from(records.count));
                    LogletResult::Appended { first, stride: 1, records: records.clone() }
                }
                (first, _) => LogletResult::AppendSealed { first, stride: 1, records: records.clone() },
            },
            (LogletOp::FillTo { .. }, Answer::Lose) => LogletResult::FillFailed(FillFailure::SequencerLost),
            (LogletOp::FillTo { .. }, Answer::Refuse) => LogletResult::FillFailed(FillFailure::NoSpace),
            (LogletOp::FillTo { .. }, _) => match (*taken, is_late) {
                (Some((end, placed)), true) => {
                    self.committed = self.committed.max(end);
                    LogletResult::Filled { known_tail: Offset(end), placed }
                }
                _ => LogletResult::FillFailed(FillFailure::Sealed),
            },
            (LogletOp::CheckTail, Answer::Tail(tail)) => {
                if !self.sealed {
                    self.committed = tail;
                }
                LogletResult::Tail { tail: Offset(tail), sealed: self.sealed }
            }
            (LogletOp::Seal, _) => {
                self.sealed = true;
                LogletResult::Sealed
            }
            (LogletOp::ReadNext { min, .. }, Answer::Below(end)) => self.records(*min, end),
            (LogletOp::Subscribe { from, .. }, Answer::Below(end)) => {
                let brought = self.records(*from, end);
                *from = Offset(end);
                brought
            }
            (LogletOp::Subscribe { .. }, Answer::End) => LogletResult::SubscriptionEnded { sealed: true },
            (op, answer) => unreachable!("no program asks for {op:?}, or is answered {answer:?}"),
        }
    }

    fn records(&self, first: Offset, end: u64) -> LogletResult {
        match self.given.get(first.0 as usize..end as usize) {
            Some(given) if !given.is_empty() => LogletResult::Records { first, records: records(given) },
            _ => LogletResult::NothingYet,
        }
    }
}
