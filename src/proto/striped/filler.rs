use std::time::Duration;

use super::machine::{Ask, StripedLoglet};
use super::subscribe::Subscription;
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, Offset};
use crate::proto::loglet::{FillFailure, LogletOp, LogletResult, OpId};

/// How long to wait for a stripe to which somebody appends: most of what it lacks is on its way, and is heard of without a question. Its
/// sequencer, which knows, places no-ops where nothing comes.
pub(super) const DELAY: Duration = Duration::from_micros(100);
/// Until a stripe that had no space is asked again: it may have some, and not at once.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
/// Until a subscriber that cannot reach a sequencer asks it again.
pub(super) const LOST_PAUSE: Duration = Duration::from_millis(100);

/// Asks stripes that hold others up to fill themselves (P6): one to which nobody appends at once, others after a while.
#[derive(Clone, Hash, Debug)]
pub(super) struct Filler {
    stripes: Vec<Stripe>,
}

#[derive(Clone, Hash, Debug, Default)]
struct Stripe {
    asked: Option<(OpId, Offset)>,
    /// Its known tail when it was last filled with no-ops: as long as it stays there, nobody appends to it.
    idle_at: Option<Offset>,
    /// It had no space, or did not answer, and is not asked again before this.
    pause_until: Instant,
}

impl Filler {
    pub(super) fn new(stripes: usize) -> Self {
        Self { stripes: vec![Stripe::default(); stripes] }
    }

    pub(super) fn is_asked(&self, stripe: usize, request: OpId) -> bool {
        self.stripes[stripe].asked.is_some_and(|(id, _)| id == request)
    }
}

/// Somebody waits for every stripe to be filled below an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Want {
    /// The stripes that lack something below this have been waited for since then.
    pub(super) first: Offset,
    pub(super) since: Instant,
    /// Filled below this, nobody waits any more.
    pub(super) last: Offset,
}

impl StripedLoglet {
    /// Who waits for stripes to be filled: withheld appends, and subscriptions that have records of one stripe and none of another.
    fn wants(&self) -> impl Iterator<Item = Want> {
        let withheld = self.appends.first_withheld().zip(self.appends.last_withheld());
        let withheld = withheld.map(|((first, since), last)| Want { first, since, last });
        withheld.into_iter().chain(self.subscriptions.values().filter_map(Subscription::wants))
    }

    /// Asks whoever holds others up.
    pub(super) fn fill(&mut self) {
        if self.ended {
            return;
        }
        for stripe in 0..self.layout.stripes() {
            let Stripe { asked, idle_at, pause_until } = self.filler.stripes[stripe];
            if asked.is_some() || self.now < pause_until {
                continue;
            }
            let known = self.known_of(stripe);
            let is_idle = idle_at == Some(known) && !self.appends.are_pending(stripe);
            let is_due = |want: &Want| {
                known < self.layout.below(stripe, want.first) && (is_idle || self.now >= want.since + DELAY)
            };
            let wanted = self.wants().filter(is_due).map(|want| want.last).max();
            // Those with a stripe will wait for this one when they have been acknowledged there.
            let expected = if is_idle { self.last_expected() } else { None };
            let Some(last) = wanted.max(expected) else { continue };
            let offset = self.layout.below(stripe, last);
            if known < offset {
                let id = self.ask(stripe, Ask::Op(LogletOp::FillTo { offset }));
                self.filler.stripes[stripe].asked = Some((id, offset));
            }
        }
    }

    /// The last offset that appends under way are known to need, which may be less than they get: other clients append as well.
    fn last_expected(&self) -> Option<Offset> {
        let ends = (0..self.layout.stripes()).filter_map(|stripe| Some((stripe, self.appends.expected_end(stripe)?)));
        ends.map(|(stripe, end)| self.layout.logical(stripe, Offset(end.0.saturating_sub(1)))).max()
    }

    /// When somebody has waited long enough for a stripe that was not asked yet.
    pub(super) fn fill_at(&self) -> Option<Instant> {
        let asked_at = |want: Want| {
            let stripes = self.filler.stripes.iter().enumerate();
            let lacking = stripes.filter(move |(stripe, it)| {
                it.asked.is_none() && self.known_of(*stripe) < self.layout.below(*stripe, want.first)
            });
            lacking.map(move |(_, it)| it.pause_until.max(want.since + DELAY))
        };
        self.wants().filter(|_| !self.ended).flat_map(asked_at).min()
    }

    /// A stripe's answer to its filler.
    pub(super) fn fill_ended(&mut self, stripe: usize, result: LogletResult) {
        let (_, offset) = self.filler.stripes[stripe].asked.take().expect("it was asked");
        match result {
            LogletResult::Filled { known_tail, placed } => {
                self.learn(stripe, known_tail);
                let idle_at = (placed > 0 && self.known_of(stripe) == known_tail).then_some(known_tail);
                self.filler.stripes[stripe].idle_at = idle_at;
            }
            LogletResult::FillFailed(FillFailure::Sealed) if mutants::is(Mutant::FillerPastSeal) => {
                self.learn(stripe, offset);
            }
            LogletResult::FillFailed(FillFailure::NoSpace) => {
                self.filler.stripes[stripe].pause_until = self.now + PAUSE;
                self.give_up_without_space(stripe);
            }
            // Who only reads holds nothing back, and may be the only one whom the sequencer does not answer (L7).
            LogletResult::FillFailed(FillFailure::SequencerLost) if self.appends.is_empty() => {
                self.filler.stripes[stripe].pause_until = self.now + LOST_PAUSE;
            }
            LogletResult::FillFailed(FillFailure::Sealed | FillFailure::SequencerLost) => self.end_whole(),
            other => unreachable!("no result of a filler: {other:?}"),
        }
    }
}
