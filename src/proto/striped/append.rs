use std::collections::{BTreeMap, VecDeque};

use super::machine::{Ask, StripedLoglet};
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};

/// Appends that are not over.
#[derive(Clone, Hash, Debug)]
pub(super) struct Appends {
    /// Where appends go.
    pub(super) near: Vec<usize>,
    stripes: Vec<Stripe>,
    /// Those that their stripe has acknowledged, by the offset of their last record and in the order in which they came.
    withheld: BTreeMap<(Offset, u64), Withheld>,
    acknowledged: u64,
}

#[derive(Clone, Hash, Debug, Default)]
struct Stripe {
    /// Those that it has not answered, in the order in which it was asked.
    pending: VecDeque<Pending>,
    /// Records given to it so far.
    given: u64,
    /// Where those that it has not answered will end, if nobody else appends. Its own offsets.
    end: Offset,
}

#[derive(Clone, Hash, Debug)]
struct Pending {
    id: OpId,
    request: OpId,
}

#[derive(Clone, Hash, Debug)]
struct Withheld {
    id: OpId,
    first: Offset,
    stride: u32,
    records: Records,
    since: Instant,
}

impl Appends {
    pub(super) fn new(stripes: usize) -> Self {
        Self {
            near: (0..stripes).collect(),
            stripes: vec![Stripe::default(); stripes],
            withheld: BTreeMap::new(),
            acknowledged: 0,
        }
    }

    /// Which of those with a stripe is this request. Answers come in the order of the requests, but for a few.
    pub(super) fn position(&self, stripe: usize, request: OpId) -> Option<usize> {
        self.stripes[stripe].pending.iter().position(|pending| pending.request == request)
    }

    /// The withheld append that is released first: its last record, and since when it waits.
    pub(super) fn first_withheld(&self) -> Option<(Offset, Instant)> {
        self.withheld.first_key_value().map(|((last, _), append)| (*last, append.since))
    }

    /// The last record of those that are withheld.
    pub(super) fn last_withheld(&self) -> Option<Offset> {
        self.withheld.last_key_value().map(|((last, _), _)| *last)
    }

    /// How many their stripes have not answered.
    pub(super) fn under_way(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.pending.len()).sum()
    }

    /// Whether nothing is with a stripe or withheld.
    pub(super) fn is_empty(&self) -> bool {
        self.withheld.is_empty() && self.under_way() == 0
    }

    pub(super) fn are_pending(&self, stripe: usize) -> bool {
        !self.stripes[stripe].pending.is_empty()
    }

    /// Where the records that a stripe has not acknowledged end at least, in its own offsets.
    pub(super) fn expected_end(&self, stripe: usize) -> Option<Offset> {
        let Stripe { pending, end, .. } = &self.stripes[stripe];
        (!pending.is_empty()).then_some(*end)
    }
}

impl StripedLoglet {
    pub(super) fn append(&mut self, id: OpId, records: Records) {
        if self.ended {
            return self.results.push_back((id, LogletResult::AppendSealed { first: None, stride: 1, records }));
        }
        // In turns, by records and not by appends: whoever appends batches of different lengths leaves no stripe behind either.
        let given = |stripe: &&usize| self.appends.stripes[**stripe].given;
        let stripe = *self.appends.near.iter().min_by_key(given).expect("there is one");
        let count = u64::from(records.count);
        let request = self.ask(stripe, Ask::Op(LogletOp::Append { records }));
        let known = self.known_of(stripe);
        let to = &mut self.appends.stripes[stripe];
        to.given += count;
        to.end = to.end.max(known) + count;
        to.pending.push_back(Pending { id, request });
    }

    /// A stripe's answer to the append at this place.
    pub(super) fn append_ended(&mut self, stripe: usize, at: usize, result: LogletResult) {
        let Pending { id, .. } = self.appends.stripes[stripe].pending.remove(at).expect("found there");
        let stripes = self.layout.stripes() as u32;
        let logical = |local: Offset| self.layout.logical(stripe, local);
        let result = match result {
            LogletResult::Appended { first, stride, records } => {
                return self.stripe_has_acknowledged(id, stripe, (first, stride), records);
            }
            LogletResult::AppendSealed { first, stride, records } => {
                LogletResult::AppendSealed { first: first.map(logical), stride: stride * stripes, records }
            }
            LogletResult::AppendNoSpace { first, stride, records } => {
                LogletResult::AppendNoSpace { first: first.map(logical), stride: stride * stripes, records }
            }
            other => other,
        };
        // What was expected of it has not come.
        self.appends.stripes[stripe].end = self.known_of(stripe);
        if !matches!(result, LogletResult::AppendNoSpace { .. }) {
            self.end_whole();
        }
        self.results.push_back((id, result));
    }

    fn stripe_has_acknowledged(&mut self, id: OpId, stripe: usize, (first, stride): (Offset, u32), records: Records) {
        let last = first + u64::from(records.count - 1) * u64::from(stride);
        // Its own acknowledgement: reached by the sequencer's count of unsealed answers (P1 a).
        self.learn(stripe, last + 1);
        let end = &mut self.appends.stripes[stripe].end;
        *end = (*end).max(last + 1);
        let (first, last) = (self.layout.logical(stripe, first), self.layout.logical(stripe, last));
        let stride = stride * self.layout.stripes() as u32;
        // Most need not wait, where the stripes are level.
        if last < self.filled && self.appends.first_withheld().is_none_or(|(first, _)| last < first) {
            return self.results.push_back((id, LogletResult::Appended { first, stride, records }));
        }
        let withheld = Withheld { id, first, stride, records, since: self.now };
        self.appends.acknowledged += 1;
        self.appends.withheld.insert((last, self.appends.acknowledged), withheld);
    }

    /// Acknowledges those below which every stripe is filled (P6); of a loglet that has ended, the others are left to the chain's stop.
    pub(super) fn release_appends(&mut self) {
        while let Some(first) = self.appends.withheld.first_entry() {
            let (last, _) = *first.key();
            if last >= self.filled && !mutants::is(Mutant::AckBeforeLowerFilled) {
                break;
            }
            let Withheld { id, first, stride, records, .. } = first.remove();
            self.results.push_back((id, LogletResult::Appended { first, stride, records }));
        }
        if self.ended {
            for Withheld { id, first, stride, records, .. } in std::mem::take(&mut self.appends.withheld).into_values()
            {
                let first = Some(first);
                self.results.push_back((id, LogletResult::AppendSealed { first, stride, records }));
            }
        }
    }

    /// A stripe without space holds up what needs it (P6 d): those records may become part of the log where they are, and nowhere else.
    pub(super) fn give_up_without_space(&mut self, stripe: usize) {
        let known = self.known_of(stripe);
        let lacking = |last: Offset| known < self.layout.below(stripe, last);
        let lack: Vec<_> = self.appends.withheld.keys().copied().filter(|(last, _)| lacking(*last)).collect();
        for key in lack {
            let Withheld { id, first, stride, records, .. } = self.appends.withheld.remove(&key).expect("just seen");
            let first = Some(first);
            self.results.push_back((id, LogletResult::AppendNoSpace { first, stride, records }));
        }
    }
}
