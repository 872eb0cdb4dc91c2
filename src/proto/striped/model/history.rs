use std::collections::BTreeSet;

use super::stripe::{FILLER, Stripe, numbers};
use crate::base::Offset;
use crate::proto::loglet::{LogletResult, Records};
use crate::proto::striped::Layout;

/// What always holds. Each is a property of the model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Rule {
    /// P6: no acknowledged append lies at or beyond a tail that may become the stop.
    AcknowledgedBelowStop,
    /// P18: no `(X, open)` does either.
    OpenBelowStop,
    /// P1: no known tail.
    KnownBelowStop,
    /// P1: nothing that was read, unless by one who knew of another stop.
    ReadBelowStop,
    /// What was asked for after a completed seal is neither acknowledged nor answered open.
    NothingAfterSeal,
    /// A checkTail covers what was acknowledged and found before it was asked for.
    TailCovers,
    /// An append comes behind what was acknowledged and found before it was asked for (P18).
    AppendsInOrder,
    /// Of what was acknowledged or found, everything below is committed, on every stripe.
    Decided,
    /// An offset has one value, where it was acknowledged, settled or read.
    OneValue,
    /// P16: no record is in the loglet twice, and one that surely is not stored never is.
    Once,
    /// Every operation ends, and everything that was acknowledged comes to subscribers.
    Ends,
    /// No core meets a state that it rules out.
    Assertion,
}

impl Rule {
    pub(super) const ALL: [Self; 12] = [
        Self::AcknowledgedBelowStop,
        Self::OpenBelowStop,
        Self::KnownBelowStop,
        Self::ReadBelowStop,
        Self::NothingAfterSeal,
        Self::TailCovers,
        Self::AppendsInOrder,
        Self::Decided,
        Self::OneValue,
        Self::Once,
        Self::Ends,
        Self::Assertion,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AcknowledgedBelowStop => "no acknowledged append at or beyond a sealed tail",
            Self::OpenBelowStop => "no open tail beyond a sealed tail",
            Self::KnownBelowStop => "no known tail beyond a sealed tail",
            Self::ReadBelowStop => "no read at or beyond the stop",
            Self::NothingAfterSeal => "nothing acknowledged or open after a completed seal",
            Self::TailCovers => "a checkTail covers what was acknowledged and found",
            Self::AppendsInOrder => "an append comes behind what was acknowledged and found",
            Self::Decided => "below what was acknowledged or found everything is committed",
            Self::OneValue => "one value for each offset",
            Self::Once => "no record twice, and none that is surely not stored",
            Self::Ends => "every operation ends",
            Self::Assertion => "no assertion fails",
        }
    }
}

/// What had been told when an operation began.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct Before {
    told: u64,
    after_seal: bool,
}

/// All that clients have been told.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct History {
    /// The end of the highest acknowledged append.
    pub(super) acknowledged: u64,
    /// The largest `(X, open)`.
    open: u64,
    /// The end of what was read by those who knew of no stop, and by the others.
    read: [u64; 2],
    /// The smallest `(X, sealed)`: any of them may become the stop.
    sealed: Option<u64>,
    /// The one that has.
    pub(super) stop: Option<u64>,
    seal_complete: bool,
    /// Records that are surely not stored.
    not_stored: BTreeSet<u8>,
    pub(super) broken: BTreeSet<Rule>,
}

impl History {
    pub(super) fn begin(&self) -> Before {
        Before { told: self.acknowledged.max(self.open), after_seal: self.seal_complete }
    }

    fn require(&mut self, holds: bool, rule: Rule) {
        if !holds {
            self.broken.insert(rule);
        }
    }

    /// Everything below `end` is there for good.
    fn require_decided(&mut self, end: u64, layout: Layout, stripes: &[Stripe]) {
        let is_there = |(index, stripe): (usize, &Stripe)| stripe.committed >= layout.below(index, Offset(end)).0;
        self.require(stripes.iter().enumerate().all(is_there), Rule::Decided);
    }

    /// These records stand at these offsets.
    fn require_values(&mut self, first: Offset, stride: u32, records: &Records, layout: Layout, stripes: &[Stripe]) {
        for (index, number) in (0_u64..).zip(numbers(records)) {
            let (stripe, local) = layout.place(first + index * u64::from(stride));
            self.require(stripes[stripe].given.get(local.0 as usize) == Some(&number), Rule::OneValue);
        }
    }

    /// Takes what an operation has come to; returns how it has ended.
    pub(super) fn judge(
        &mut self,
        before: Before,
        result: &LogletResult,
        layout: Layout,
        stripes: &[Stripe],
    ) -> &'static str {
        match result {
            LogletResult::Appended { first, stride, records } => {
                let end = first.0 + u64::from(records.count - 1) * u64::from(*stride) + 1;
                self.require_values(*first, *stride, records, layout, stripes);
                self.require(first.0 >= before.told, Rule::AppendsInOrder);
                self.require(!before.after_seal, Rule::NothingAfterSeal);
                self.require_decided(end, layout, stripes);
                self.acknowledged = self.acknowledged.max(end);
                "appended"
            }
            LogletResult::AppendSealed { first: Some(first), stride, records }
            | LogletResult::AppendNoSpace { first: Some(first), stride, records } => {
                self.require_values(*first, *stride, records, layout, stripes);
                "given an offset"
            }
            LogletResult::AppendSealed { first: None, records, .. }
            | LogletResult::AppendNoSpace { first: None, records, .. } => {
                self.not_stored.extend(numbers(records));
                "not stored"
            }
            LogletResult::SequencerLost { .. } => "lost",
            LogletResult::Tail { tail, sealed: false } => {
                self.require(tail.0 >= before.told, Rule::TailCovers);
                self.require(!before.after_seal, Rule::NothingAfterSeal);
                self.require_decided(tail.0, layout, stripes);
                self.open = self.open.max(tail.0);
                "open"
            }
            LogletResult::Tail { tail, sealed: true } => {
                self.require(tail.0 >= before.told, Rule::TailCovers);
                self.sealed = Some(self.sealed.map_or(tail.0, |least| least.min(tail.0)));
                self.seal_complete = true;
                "sealed"
            }
            LogletResult::Sealed => {
                self.seal_complete = true;
                "sealed"
            }
            LogletResult::Filled { .. } => "filled",
            LogletResult::FillFailed(_) => "not filled",
            LogletResult::NothingYet => "nothing to read",
            other => unreachable!("no program ends as {other:?}"),
        }
    }

    /// Somebody has been given these records, and knew of a stop or not.
    pub(super) fn read(
        &mut self,
        (first, records): (Offset, &Records),
        knows_stop: bool,
        layout: Layout,
        stripes: &[Stripe],
    ) {
        self.require_values(first, 1, records, layout, stripes);
        let read = &mut self.read[usize::from(knows_stop)];
        *read = (*read).max(first.0 + u64::from(records.count));
    }

    /// What must hold whatever has been told last.
    pub(super) fn check(&mut self, known: u64, stripes: &[Stripe]) {
        if let Some(stop) = self.sealed {
            self.require(self.acknowledged <= stop, Rule::AcknowledgedBelowStop);
            self.require(self.open <= stop, Rule::OpenBelowStop);
            self.require(known <= stop, Rule::KnownBelowStop);
            self.require(self.read[0] <= stop, Rule::ReadBelowStop);
        }
        self.require(self.stop.is_none_or(|stop| self.read[1] <= stop), Rule::ReadBelowStop);
        let given = || stripes.iter().flat_map(|stripe| &stripe.given).filter(|number| **number != FILLER);
        let numbers: BTreeSet<u8> = given().copied().collect();
        let is_once = given().count() == numbers.len() && numbers.is_disjoint(&self.not_stored);
        self.require(is_once, Rule::Once);
    }
}
