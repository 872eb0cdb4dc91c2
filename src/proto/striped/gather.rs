use super::Layout;
use super::machine::Ask;
use super::merge::Merge;
use crate::base::mutants::{self, Mutant};
use crate::base::{LogletId, Offset};
use crate::proto::loglet::{FillFailure, LogletOp, LogletResult, OpId};

/// What all stripes are asked at once.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Question {
    /// The tail, if every stripe is open.
    Tail,
    /// A stripe is sealed: every stripe is to be, before any of their tails counts.
    SealForTail,
    /// The tail of every stripe, again, now that all are sealed.
    SealedTail,
    Seal,
    Create,
    Delete {
        chain_version: u64,
        live: Vec<LogletId>,
    },
    Trim {
        point: Offset,
        committed: Offset,
    },
    Read {
        min: Offset,
        max: Offset,
        limit: Offset,
        bytes_max: u32,
    },
    Fill {
        offset: Offset,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Answer {
    /// It has nothing to do with it.
    NotAsked,
    Owed(OpId),
    Given(LogletResult),
}

/// A question, and what the stripes have answered.
#[derive(Clone, Hash, Debug)]
pub(super) struct Gathering {
    question: Question,
    answers: Vec<Answer>,
}

impl Gathering {
    pub(super) fn new(question: Question, stripes: usize) -> Self {
        Self { question, answers: vec![Answer::NotAsked; stripes] }
    }

    /// What this stripe is asked; none if it has nothing to do with it.
    pub(super) fn ask(&self, stripe: usize, layout: Layout) -> Option<Ask> {
        let below = |offset| layout.below(stripe, offset);
        Some(match &self.question {
            Question::SealForTail | Question::Seal if stripe > 0 && mutants::is(Mutant::SealOneStripe) => return None,
            Question::Tail | Question::SealedTail => Ask::Op(LogletOp::CheckTail),
            Question::SealForTail | Question::Seal => Ask::Op(LogletOp::Seal),
            Question::Create => Ask::Create,
            Question::Delete { chain_version, live } => {
                Ask::Delete { chain_version: *chain_version, live: live.clone() }
            }
            Question::Trim { point, committed } => {
                Ask::Op(LogletOp::Trim { point: below(*point), committed: below(*committed) })
            }
            Question::Read { min, max, limit, bytes_max } => {
                let (min, max, limit) = (below(*min), below(*max), below(*limit));
                let bytes_max = bytes_max.div_ceil(layout.stripes() as u32);
                (min < max).then_some(Ask::Op(LogletOp::ReadNext { min, max, limit, bytes_max }))?
            }
            Question::Fill { offset } => Ask::Op(LogletOp::FillTo { offset: below(*offset) }),
        })
    }

    pub(super) fn asked(&mut self, stripe: usize, request: OpId) {
        self.answers[stripe] = Answer::Owed(request);
    }

    pub(super) fn answer(&mut self, stripe: usize, result: LogletResult) {
        assert!(matches!(self.answers[stripe], Answer::Owed(_)), "stripe {stripe} owes an answer");
        self.answers[stripe] = Answer::Given(result);
    }

    /// Those that were not answered.
    pub(super) fn requests(&self) -> impl Iterator<Item = OpId> {
        self.answers.iter().filter_map(|answer| match answer {
            Answer::Owed(request) => Some(*request),
            _ => None,
        })
    }

    fn given(&self) -> impl Iterator<Item = (usize, &LogletResult)> {
        self.answers.iter().enumerate().filter_map(|(stripe, answer)| match answer {
            Answer::Given(result) => Some((stripe, result)),
            _ => None,
        })
    }

    fn is_complete(&self) -> bool {
        !self.answers.iter().any(|answer| matches!(answer, Answer::Owed(_)))
    }

    /// Whether an answer says that a stripe takes no more appends.
    pub(super) fn finds_the_end(&self) -> bool {
        matches!(self.question, Question::Tail | Question::Fill { .. })
            && self.given().any(|(_, result)| match result {
                LogletResult::FillFailed(failure) => *failure != FillFailure::NoSpace,
                other => matches!(other, LogletResult::Tail { sealed: true, .. } | LogletResult::Gone),
            })
    }

    /// The question that takes the place of this one. P6: tails of stripes of which one was still open say nothing of where the whole ends,
    /// so that all are sealed first, and then asked again.
    pub(super) fn next_question(&self) -> Option<Question> {
        let is_sealed = |result: &LogletResult| matches!(result, LogletResult::Tail { sealed: true, .. });
        match self.question {
            Question::Tail if mutants::is(Mutant::StripedTailFromMixedSeals) => None,
            Question::Tail => self.given().any(|(_, result)| is_sealed(result)).then_some(Question::SealForTail),
            Question::SealForTail => {
                let all = self.is_complete() && self.given().all(|(_, result)| *result == LogletResult::Sealed);
                all.then_some(Question::SealedTail)
            }
            _ => None,
        }
    }

    /// The end of it: when one stripe has an answer that stands for the whole, or all have answered.
    pub(super) fn conclude(&mut self, layout: Layout, filled: Offset) -> Option<LogletResult> {
        if let Some(refused) = self.refusal() {
            return Some(refused);
        }
        if !self.is_complete() {
            return None;
        }
        Some(match self.question {
            Question::Tail | Question::SealedTail => self.tail(layout),
            Question::SealForTail => unreachable!("followed by another question"),
            Question::Seal => LogletResult::Sealed,
            Question::Create | Question::Delete { .. } => LogletResult::Done,
            Question::Trim { .. } => self.trimmed(layout),
            Question::Read { min, max, limit, bytes_max } => {
                self.read(layout, min, (max, bytes_max), limit.max(filled))
            }
            Question::Fill { .. } => self.filled(filled),
        })
    }

    /// The answer of a stripe without which there is none of the whole.
    fn refusal(&self) -> Option<LogletResult> {
        self.given().find_map(|(stripe, result)| match (&self.question, result) {
            // L10: which it is that holds the whole up is to be said.
            (_, LogletResult::Unavailable { reason }) => {
                Some(LogletResult::Unavailable { reason: format!("stripe {stripe}: {reason}") })
            }
            (Question::Delete { .. }, _) => None,
            (_, LogletResult::Gone) => Some(LogletResult::Gone),
            (Question::Create, LogletResult::Done) => None,
            (Question::Create, other) => Some(other.clone()),
            (_, LogletResult::FillFailed(failure)) => Some(LogletResult::FillFailed(*failure)),
            _ => None,
        })
    }

    fn tail(&self, layout: Layout) -> LogletResult {
        let tails = || {
            self.given().map(|(_, result)| match result {
                LogletResult::Tail { tail, sealed } => (*tail, *sealed),
                other => unreachable!("no result of a checkTail: {other:?}"),
            })
        };
        let sealed = tails().any(|(_, sealed)| sealed);
        let is_level = tails().all(|(_, other)| other == sealed);
        let is_mutant = mutants::is(Mutant::StripedTailFromMixedSeals) || mutants::is(Mutant::SealOneStripe);
        assert!(is_level || is_mutant, "tails count together when all are open or all are sealed");
        LogletResult::Tail { tail: layout.tail(tails().map(|(tail, _)| tail)), sealed }
    }

    fn trimmed(&self, layout: Layout) -> LogletResult {
        let done = || {
            self.given().map(|(_, result)| match result {
                LogletResult::TrimDone { trim_point, servers } => (*trim_point, *servers),
                other => unreachable!("no result of a trim: {other:?}"),
            })
        };
        let servers = done().map(|(_, servers)| servers).min().expect("every stripe is trimmed");
        LogletResult::TrimDone { trim_point: layout.tail(done().map(|(point, _)| point)), servers }
    }

    /// What can be read from `min` on without leaving anything out.
    fn read(&mut self, layout: Layout, min: Offset, (max, bytes_max): (Offset, u32), filled: Offset) -> LogletResult {
        // Below it another stripe may lack something, whose place in the log is then not certain.
        if min > filled {
            return LogletResult::NothingYet;
        }
        let (mut merge, mut trimmed) = (Merge::new(layout, min), None);
        for (stripe, answer) in self.answers.iter_mut().enumerate() {
            match std::mem::replace(answer, Answer::NotAsked) {
                Answer::Given(LogletResult::Records { first, records }) => {
                    merge.push(stripe, first, records);
                }
                Answer::Given(LogletResult::Trimmed { trim_point }) => {
                    trimmed = trimmed.max(Some(layout.trimmed_by(stripe, trim_point)));
                }
                _ => {}
            }
        }
        if let Some(trim_point) = trimmed {
            return LogletResult::Trimmed { trim_point };
        }
        match merge.take(max, bytes_max as usize) {
            Some((first, records, _)) => LogletResult::Records { first, records },
            None => LogletResult::NothingYet,
        }
    }

    fn filled(&self, filled: Offset) -> LogletResult {
        let placed = self.given().map(|(_, result)| match result {
            LogletResult::Filled { placed, .. } => *placed,
            other => unreachable!("no result of a filler: {other:?}"),
        });
        LogletResult::Filled { known_tail: filled, placed: placed.sum() }
    }
}
