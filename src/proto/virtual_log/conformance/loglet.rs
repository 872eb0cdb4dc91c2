use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult, Records};
use crate::proto::testing::Owned;
use crate::wire::Batch;

/// What a record says: its number.
pub(super) fn record(number: u8) -> Records {
    let Owned { count, bytes } = Owned::of(&[char::from(b'a' + number).to_string().as_str()]);
    Records { count, bytes }
}

/// The numbers of these records.
pub(super) fn numbers(records: &Records) -> Vec<u8> {
    let batch = Batch::new(records.count, &records.bytes).expect("made here");
    batch.records().map(|(payload, _)| payload[0] - b'a').collect()
}

/// A loglet by its contract, more permissive than any implementation: offsets may be given although it is sealed, a sealed tail is any
/// one that covers what is committed, also a smaller one after a larger, and an open one commits whatever it covers.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Loglet {
    /// The records that were given offsets.
    pub(super) given: Vec<u8>,
    /// How many of them are committed by unsealed answers.
    pub(super) committed: u64,
    pub(super) sealed: bool,
    pub(super) deleted: bool,
    /// The client that has made it.
    pub(super) maker: Option<usize>,
}

/// One of the answers that a loglet may give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The only one there is.
    Plain,
    /// Of an append: it is given an offset, and not answered yet.
    Take,
    /// The same of a sealed loglet: the record of a zombie.
    TakeSealed,
    /// Of an append: the sequencer is lost, and whether the record is stored nobody knows.
    Lose,
    /// Of a checkTail: this tail.
    Tail(u64),
    /// Of a write of the register: nobody knows whether it will be written.
    Unknown,
}

impl Loglet {
    /// What may be answered; `taken` is the offset that an append has been given.
    pub(super) fn answers(&self, op: &LogletOp, taken: Option<Offset>) -> Vec<Answer> {
        match op {
            LogletOp::CheckTail if !self.deleted => {
                (self.committed..=self.given.len() as u64).map(Answer::Tail).collect()
            }
            LogletOp::Append { .. } if self.deleted => vec![Answer::Plain],
            LogletOp::Append { .. } => match (taken, self.sealed) {
                (Some(_), _) => vec![Answer::Plain, Answer::Lose],
                (None, false) => vec![Answer::Take, Answer::Lose],
                (None, true) => vec![Answer::Plain, Answer::TakeSealed],
            },
            _ => vec![Answer::Plain],
        }
    }

    /// A record is given an offset.
    pub(super) fn give(&mut self, records: &Records) -> Offset {
        let first = Offset(self.given.len() as u64);
        self.given.extend(numbers(records));
        first
    }

    /// Carries out an operation, and answers.
    pub(super) fn answer(&mut self, op: LogletOp, taken: Option<Offset>, answer: Answer) -> LogletResult {
        match (op, answer) {
            (LogletOp::Append { records }, Answer::Lose) => LogletResult::SequencerLost { maybe_stored: true, records },
            (LogletOp::Append { records }, _) => match taken {
                // The order rule: what is committed is so with all below it.
                Some(first) if !self.sealed && !self.deleted => {
                    self.committed = self.committed.max(first.0 + u64::from(records.count));
                    LogletResult::Appended { first, stride: 1, records }
                }
                first => LogletResult::AppendSealed { first, stride: 1, records },
            },
            (LogletOp::CheckTail | LogletOp::Seal | LogletOp::ReadNext { .. }, _) if self.deleted => LogletResult::Gone,
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
            (LogletOp::ReadNext { min, max, limit, .. }, _) => {
                let end = max.0.min(limit.0.max(self.committed)).min(self.given.len() as u64);
                if min.0 >= end {
                    return LogletResult::NothingYet;
                }
                let texts = self.given[min.0 as usize..end as usize].iter();
                let texts: Vec<_> = texts.map(|number| char::from(b'a' + number).to_string()).collect();
                let Owned { count, bytes } = Owned::of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
                LogletResult::Records { first: min, records: Records { count, bytes } }
            }
            (op, answer) => unreachable!("no program asks for {op:?}, or is answered {answer:?}"),
        }
    }
}
