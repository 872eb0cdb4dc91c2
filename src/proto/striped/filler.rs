use std::time::Duration;

use super::machine::{Ask, StripedLoglet};
use super::subscribe::Subscription;
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, Limits, Offset};
use crate::proto::loglet::{FillFailure, LogletOp, LogletResult, OpId};

/// The shortest wait for a stripe that is at work: below it, to wait costs less than to ask.
const DELAY_MIN: Duration = Duration::from_micros(50);

/// Asks stripes that hold others up to fill themselves (P6): one at which nobody appends at once, one that is at work after a while, as
/// most of what it lacks is on its way.
#[derive(Clone, Hash, Debug)]
pub(super) struct Filler {
    stripes: Vec<Stripe>,
    /// How long withheld appends have waited lately without any help.
    usual_wait: Duration,
    delay_max: Duration,
    /// When a stripe was asked last.
    last_asked: Instant,
}

#[derive(Clone, Hash, Debug, Default)]
struct Stripe {
    asked: Option<(OpId, Offset)>,
    /// Its known tail when it was last filled with no-ops: as long as it stays there, nobody appends to it.
    idle_at: Option<Offset>,
    /// It has no space; it is asked again when it has moved.
    without_space_at: Option<Offset>,
}

impl Filler {
    pub(super) fn new(stripes: usize, limits: &Limits) -> Self {
        let delay_max = limits.fill_delay_max;
        Self {
            stripes: vec![Stripe::default(); stripes],
            usual_wait: delay_max / 4,
            delay_max,
            last_asked: Instant::from_nanos(0),
        }
    }

    pub(super) fn is_asked(&self, stripe: usize, request: OpId) -> bool {
        self.stripes[stripe].asked.is_some_and(|(id, _)| id == request)
    }

    /// An append was withheld from then until now.
    pub(super) fn note_wait(&mut self, since: Instant, now: Instant) {
        if self.last_asked < since {
            self.usual_wait = (self.usual_wait * 7 + now.since(since)) / 8;
        }
    }

    /// How long to wait for a stripe that is at work.
    fn delay(&self) -> Duration {
        (self.usual_wait * 2).clamp(DELAY_MIN.min(self.delay_max), self.delay_max)
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
        let delay = self.filler.delay();
        let wants: Vec<Want> = self.wants().collect();
        for stripe in 0..self.layout.stripes() {
            let Stripe { asked, idle_at, without_space_at } = self.filler.stripes[stripe];
            let known = self.known_of(stripe);
            if asked.is_some() || without_space_at == Some(known) {
                continue;
            }
            let is_idle = idle_at == Some(known) && !self.appends.are_pending(stripe);
            let is_due = |want: &&Want| {
                known < self.layout.below(stripe, want.first) && (is_idle || self.now >= want.since + delay)
            };
            let wanted = wants.iter().filter(is_due).map(|want| want.last).max();
            // Those with a stripe will wait for this one when they have been acknowledged there.
            let expected = if is_idle { self.last_expected() } else { None };
            let Some(last) = wanted.max(expected) else { continue };
            let offset = self.layout.below(stripe, last);
            if known < offset {
                let id = self.ask(stripe, Ask::Op(LogletOp::FillTo { offset }));
                self.filler.stripes[stripe].asked = Some((id, offset));
                self.filler.last_asked = self.now;
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
        let delay = self.filler.delay();
        let open = |want: &Want| {
            self.filler.stripes.iter().enumerate().any(|(stripe, it)| {
                let known = self.known_of(stripe);
                let is_open = it.asked.is_none() && it.without_space_at != Some(known);
                is_open && known < self.layout.below(stripe, want.first)
            })
        };
        let wants = self.wants().filter(|want| !self.ended && open(want));
        wants.map(|want| want.since + delay).min()
    }

    /// A stripe's answer to its filler.
    pub(super) fn fill_ended(&mut self, stripe: usize, result: LogletResult) {
        let (_, offset) = self.filler.stripes[stripe].asked.take().expect("it was asked");
        match result {
            LogletResult::Filled { known_tail, placed } => {
                self.learn(stripe, known_tail);
                let idle_at = (placed > 0 && self.known_of(stripe) == known_tail).then_some(known_tail);
                self.filler.stripes[stripe].idle_at = idle_at;
                // What it lacked was on its way: it would have come without a question.
                if placed == 0 {
                    self.filler.usual_wait = (self.filler.usual_wait * 2).min(self.filler.delay_max);
                }
            }
            LogletResult::FillFailed(FillFailure::Sealed) if mutants::is(Mutant::FillerPastSeal) => {
                self.learn(stripe, offset);
            }
            LogletResult::FillFailed(FillFailure::NoSpace) => {
                self.filler.stripes[stripe].without_space_at = Some(self.known_of(stripe));
                self.give_up_without_space(stripe);
            }
            LogletResult::FillFailed(FillFailure::Sealed | FillFailure::SequencerLost) => self.end_whole(),
            other => unreachable!("no result of a filler: {other:?}"),
        }
    }
}
