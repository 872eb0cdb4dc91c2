use super::world::World;
use crate::base::LogPos;
use crate::proto::virtual_log::{Chain, LogletSpec, Wanted};

/// What always holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Rule {
    OneChain,
    Lost,
    OtherValue,
    Stale,
    Intent,
    Assertion,
}

impl Rule {
    pub(super) const ALL: [Self; 6] =
        [Self::OneChain, Self::Lost, Self::OtherValue, Self::Stale, Self::Intent, Self::Assertion];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OneChain => "one chain: what is closed stays, and a loglet serves once",
            Self::Lost => "no acknowledged record is lost",
            Self::OtherValue => "what was read is what the chain has there, and nothing at or beyond a stop",
            Self::Stale => "tails and positions follow what was told before",
            Self::Intent => "an intent that is written down is carried out or given up",
            Self::Assertion => "no assertion fails",
        }
    }
}

/// Whether a loglet has the stripes that somebody wanted.
fn is_as_wanted(loglet: &LogletSpec, wanted: &Wanted) -> bool {
    let found = loglet.stripes().iter().map(|stripe| (stripe.sequencer.node, &stripe.log_servers));
    found.eq(wanted.stripes().iter().map(|stripe| (stripe.sequencer.node, &stripe.log_servers)))
}

impl World {
    /// The record at a position, as the register's chain has it.
    fn at(&self, position: LogPos) -> Option<u8> {
        let chain = self.chain();
        let place = chain.locate(position)?;
        let loglet = &self.loglets[&chain.segments[place.segment].loglet.id()];
        let end = place.stop.map_or(loglet.committed, |stop| stop.0);
        let number = loglet.given.get(place.offset.0 as usize).copied();
        number.filter(|_| place.offset.0 < end && !loglet.deleted)
    }

    /// Looks at what everybody was told.
    pub(super) fn check(&mut self) {
        let is_lost = self.acknowledged.iter().any(|(position, number)| self.at(*position) != Some(*number));
        let is_other = self.read.iter().any(|(position, number)| self.at(*position) != Some(*number));
        self.broken.extend(is_lost.then_some(Rule::Lost));
        self.broken.extend(is_other.then_some(Rule::OtherValue));
    }

    /// Looks at a version that is about to follow the newest one.
    pub(super) fn judge(&mut self, after: &Chain) {
        let before = self.chain();
        let closed = before.segments.len() - 1;
        let (old, new) = (before.last(), after.last());
        let keeps = after.segments.len() > closed && before.segments[..closed] == after.segments[..closed];
        let is_extended = old.loglet.id() != new.loglet.id();
        let goes_on = match after.segments.get(closed) {
            Some(segment) if segment.loglet.id() == old.loglet.id() => segment.start == old.start,
            // It was empty, and is replaced (P15).
            Some(segment) => segment.start == old.start && after.segments.len() == closed + 1,
            None => false,
        };
        let is_reused = is_extended && self.installed.contains(&new.loglet.id());
        let pending = before.intent.as_ref().map(|intent| (intent.id, &intent.wanted));
        let is_other = is_extended
            && (new.fulfils != pending.map(|(id, _)| id)
                || pending.is_some_and(|(_, wanted)| !is_as_wanted(&new.loglet, wanted)));
        let is_stale = after.intent.as_ref().is_some_and(|intent| intent.replaces != new.loglet.id());
        if is_extended {
            self.installed.insert(new.loglet.id());
        }
        self.broken.extend((!keeps || !goes_on || is_reused).then_some(Rule::OneChain));
        self.broken.extend((is_other || is_stale).then_some(Rule::Intent));
    }
}
