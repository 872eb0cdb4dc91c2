//! The chain: which loglet serves which part of a virtual log (Delos OSDI'20, section 3).
//!
//! A chain is a value: every change makes the next version of it, which one conditional write of the MetaStore installs or not.
//! Nothing here knows of time, messages or disks.

use serde::{Deserialize, Serialize};

use super::intent::{GivenUp, Intent};
use super::range::StripeRange;
use super::spec::LogletSpec;
use super::stored::{LastValue, StoredChain};
use crate::base::mutants::{self, Mutant};
use crate::base::{IntentId, LogPos, LogletId, Offset};
use crate::wire::LogletConfig;

/// A part of a virtual log, `[start, stop)`, served by one loglet. The last one of a chain has no stop.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainSegment {
    /// The position of the loglet's first record.
    pub start: LogPos,
    /// The first position behind it. A record at or beyond it is no part of the log, wherever it is stored (P1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<LogPos>,
    /// The loglet.
    pub loglet: LogletSpec,
    /// The intent that this segment has carried out, by which its writer learns so (P15).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fulfils: Option<IntentId>,
}

impl ChainSegment {
    /// Where the loglet ends; none for the last segment.
    pub fn stop_offset(&self) -> Option<Offset> {
        self.stop.map(|stop| stop.offset_from(self.start))
    }

    /// Where one of the loglet's stripes ends; none in the last segment.
    pub fn stripe_stop(&self, stripe: usize) -> Option<Offset> {
        self.stop_offset().map(|stop| self.loglet.layout().below(stripe, stop))
    }
}

/// The loglets of one virtual log in order, without gaps.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// The version of the register that holds it, from 1.
    pub version: u64,
    /// Everything below may be gone.
    pub trim_point: LogPos,
    /// What somebody is about to change, for whoever has to finish it (P15).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// The last intent that was given up, until another one has been carried out (P15).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
    /// Over how many stripes the log's loglets may go, as somebody has asked for last, which the root register is to say as well; none: it has been
    /// so since the log was made, as the root register says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripes: Option<StripeRange>,
    /// The segments in order, at least one; the last is the active one.
    pub segments: Vec<ChainSegment>,
}

/// A position, as one loglet of the chain knows it. The only place where positions and offsets are converted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which segment, from 0.
    pub segment: usize,
    /// The offset in its loglet.
    pub offset: Offset,
    /// The loglet's end; none in the last segment.
    pub stop: Option<Offset>,
}

/// What has become of a record that a sealed loglet had given an offset (P16).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It is in the log, here.
    At(LogPos),
    /// It is not, and never will be.
    Never,
    /// Its segment has no stop yet.
    Open,
    /// Its segment has been trimmed away: it was in the log below the trim point, or never.
    Trimmed,
}

/// A value of the register that is no chain.
#[derive(Debug, thiserror::Error)]
pub enum InvalidChain {
    /// Not JSON of a chain's shape.
    #[error("not a chain: {0}")]
    Json(#[from] serde_json::Error),
    /// A chain that contradicts itself.
    #[error("a chain that contradicts itself: {0}")]
    Contradiction(&'static str),
    /// What the register of a deleted log holds, for ever.
    #[error("the log has been deleted")]
    Deleted {
        /// Its last chain, if it has ever had one.
        last: Option<Box<Chain>>,
    },
}

/// A change that this chain does not allow. Whoever lost a race fetches the chain and looks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The loglet is not the last one any more (L7, P15): somebody else has extended the chain.
    #[error("loglet {0} is not the last one of the chain")]
    NotLast(LogletId),
    /// The loglet has no place in the chain.
    #[error("loglet {0} is not in the chain")]
    Absent(LogletId),
    /// Only a segment with a stop can change its members (P7).
    #[error("loglet {0} has no stop yet; extend the chain first")]
    Active(LogletId),
    /// An intent is waiting to be carried out.
    #[error("reconfiguration {0} is pending")]
    Pending(IntentId),
    /// A change of members is none of the loglet, its sequencer or its end.
    #[error("a change of members keeps the loglet {0}")]
    OtherLoglet(LogletId),
    /// A loglet serves one segment only (P5).
    #[error("loglet {0} is in the chain already")]
    Reused(LogletId),
}

impl Chain {
    /// The first chain of a log.
    pub fn begin(loglet: impl Into<LogletSpec>) -> Self {
        let segment = ChainSegment { start: LogPos::ZERO, stop: None, loglet: loglet.into(), fulfils: None };
        let (intent, given_up, stripes) = (None, None, None);
        Self { version: 1, trim_point: LogPos::ZERO, intent, given_up, stripes, segments: vec![segment] }
    }

    /// As it is stored.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&StoredChain::from(self)).expect("a chain is always serialisable")
    }

    /// A stored chain, checked.
    ///
    /// # Errors
    /// Not a chain, or one that contradicts itself.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidChain> {
        match serde_json::from_slice::<StoredChain>(json) {
            Ok(stored) => Self::restored(stored),
            Err(error) => match serde_json::from_slice::<LastValue>(json) {
                Ok(LastValue::Deleted(deleted)) => {
                    let last = deleted.map(Self::restored).transpose()?;
                    Err(InvalidChain::Deleted { last: last.map(Box::new) })
                }
                Err(_) => Err(error.into()),
            },
        }
    }

    fn restored(stored: StoredChain) -> Result<Self, InvalidChain> {
        let chain = stored.restore().map_err(InvalidChain::Contradiction)?;
        chain.check().map_err(InvalidChain::Contradiction)?;
        Ok(chain)
    }

    /// What is written behind the last chain of a log that is deleted, if it has one: from then on nobody can put a loglet into it, and
    /// those it had can be found and deleted.
    pub fn deleted(last: Option<&Self>) -> Vec<u8> {
        let deleted = LastValue::Deleted(last.map(StoredChain::from));
        serde_json::to_vec(&deleted).expect("a chain is always serialisable")
    }

    /// What every chain obeys.
    fn check(&self) -> Result<(), &'static str> {
        let Some((last, closed)) = self.segments.split_last() else { return Err("it has no segments") };
        if self.version == 0 {
            return Err("versions count from 1");
        }
        if last.stop.is_some() {
            return Err("its last segment has a stop");
        }
        let nexts = self.segments[1..].iter().map(|next| next.start);
        if closed.iter().zip(nexts).any(|(segment, next)| segment.stop != Some(next)) {
            return Err("a segment does not end where the next one begins");
        }
        if closed.iter().any(|segment| segment.stop <= Some(segment.start)) {
            return Err("a closed segment is empty");
        }
        let intended = self.intent.as_ref().and_then(|intent| intent.stripes);
        if self.stripes.iter().chain(&intended).any(|range| range.check().is_err()) {
            return Err("it goes over a number of stripes that no log can have");
        }
        self.segments.iter().try_for_each(|segment| segment.loglet.check())?;
        let mut ids: Vec<_> = self.segments.iter().flat_map(|segment| segment.loglet.names()).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a loglet serves two segments");
        }
        Ok(())
    }

    /// The active segment.
    pub fn last(&self) -> &ChainSegment {
        self.segments.last().expect("a chain has segments")
    }

    /// The first position that may still be read: the trim point, or where the first segment begins.
    pub fn first_position(&self) -> LogPos {
        self.trim_point.max(self.segments[0].start)
    }

    /// Which segment a position is in; none below the first one.
    pub fn locate(&self, position: LogPos) -> Option<Place> {
        let segment = self.segments.partition_point(|segment| segment.start <= position).checked_sub(1)?;
        let ChainSegment { start, .. } = self.segments[segment];
        Some(Place { segment, offset: position.offset_from(start), stop: self.segments[segment].stop_offset() })
    }

    /// The position of an offset; none at or beyond the segment's stop. **The boundary rule**: whatever a loglet returns reaches the
    /// log's user through here or not at all.
    pub fn position(&self, segment: usize, offset: Offset) -> Option<LogPos> {
        let found = &self.segments[segment];
        let position = found.start + offset.0;
        found.stop.is_none_or(|stop| position < stop).then_some(position)
    }

    /// The boundary rule for neighbouring records: where the first of them is, and how many of them lie below the segment's stop.
    pub fn positions(&self, segment: usize, first: Offset, count: u32) -> Option<(LogPos, u32)> {
        let position = self.position(segment, first)?;
        let below = self.segments[segment].stop.map_or(u64::MAX, |stop| stop.0 - position.0);
        Some((position, u32::try_from(below).unwrap_or(u32::MAX).min(count)))
    }

    /// The segment that a loglet serves.
    pub fn segment_of(&self, loglet: LogletId) -> Option<usize> {
        self.segments.iter().rposition(|segment| segment.loglet.id() == loglet)
    }

    /// The segment and the stripe of its loglet that sequencers and LogServers know by this name.
    pub fn stripe_of(&self, stripe: LogletId) -> Option<(usize, usize)> {
        let of = |(segment, found): (usize, &ChainSegment)| Some((segment, found.loglet.stripe_of(stripe)?));
        self.segments.iter().enumerate().rev().find_map(of)
    }

    /// What LogServers may have of the log: the names of all stripes (P5).
    pub fn live(&self) -> Vec<LogletId> {
        self.segments.iter().flat_map(|segment| segment.loglet.stripes()).map(|stripe| stripe.id).collect()
    }

    /// What has become of a record that a loglet, now sealed, had given an offset (P16). Those of one batch may lie on
    /// both sides of the stop: ask for each of them.
    pub fn settle(&self, loglet: LogletId, offset: Offset) -> Settled {
        match self.segment_of(loglet) {
            Some(segment) if self.segments[segment].stop.is_none() => Settled::Open,
            Some(segment) => self.position(segment, offset).map_or(Settled::Never, Settled::At),
            // Installed before the first segment that is left.
            None if loglet.version < self.segments[0].loglet.id().version => Settled::Trimmed,
            None => Settled::Never,
        }
    }

    /// The next version, with a new last segment from the tail of the loglet `old` on. A segment that would be empty is replaced
    /// instead (P15).
    ///
    /// # Errors
    /// `old` is not the last loglet, or `new` is in the chain.
    pub fn extended(
        &self,
        old: LogletId,
        tail: Offset,
        new: impl Into<LogletSpec>,
        fulfils: Option<IntentId>,
    ) -> Result<Self, Refusal> {
        let new = new.into();
        if self.last().loglet.id() != old {
            return Err(Refusal::NotLast(old));
        }
        if let Some(reused) =
            new.names().find(|name| self.segment_of(*name).is_some() || self.stripe_of(*name).is_some())
        {
            return Err(Refusal::Reused(reused));
        }
        let mut next = self.next();
        // Void from here on, whoever wrote it: the loglet that it is about is not the last one any more.
        next.intent.take_if(|_| !mutants::is(Mutant::StaleIntent));
        if fulfils.is_some() {
            next.given_up = None;
        }
        let last = next.segments.last_mut().expect("a chain has segments");
        let start = last.start + tail.0;
        if tail == Offset::ZERO {
            next.segments.pop();
        } else {
            last.stop = Some(start);
        }
        next.segments.push(ChainSegment { start, stop: None, loglet: new, fulfils });
        Ok(next)
    }

    /// The next version, with an intent.
    ///
    /// # Errors
    /// Another one is pending, or it is about a loglet that is not the last.
    pub fn intending(&self, intent: Intent) -> Result<Self, Refusal> {
        if let Some(pending) = &self.intent {
            return Err(Refusal::Pending(pending.id));
        }
        if self.last().loglet.id() != intent.replaces {
            return Err(Refusal::NotLast(intent.replaces));
        }
        let mut next = self.next();
        next.intent = Some(intent);
        Ok(next)
    }

    /// The next version, without this intent, which cannot be carried out, but with the reason. None if it has another one, or none.
    pub fn without_intent(&self, given_up: GivenUp) -> Option<Self> {
        self.intent.as_ref().filter(|intent| intent.id == given_up.intent)?;
        let mut next = self.next();
        next.intent = None;
        next.given_up = Some(given_up);
        Some(next)
    }

    /// Whether an intent was carried out by one of the segments.
    pub fn has_fulfilled(&self, id: IntentId) -> bool {
        self.segments.iter().any(|segment| segment.fulfils == Some(id))
    }

    /// The next version, whose loglets may go over so many stripes from now on; none if they may already.
    pub fn redivided(&self, stripes: StripeRange) -> Option<Self> {
        (self.stripes != Some(stripes)).then(|| Self { stripes: Some(stripes), ..self.next() })
    }

    /// The next version, which says the same: its register gets other keepers.
    pub fn kept_by_others(&self) -> Self {
        self.next()
    }

    /// The next version, trimmed up to `point`, a position that the caller knows to be committed (P3); none if it is already.
    pub fn trimmed(&self, point: LogPos) -> Option<Self> {
        (point > self.trim_point).then(|| {
            let mut next = self.next();
            next.trim_point = point;
            next
        })
    }

    /// The next version, without the closed segments that lie wholly below the trim point (P7), and their loglets; none if there are
    /// none.
    pub fn truncated(&self) -> Option<(Self, Vec<LogletSpec>)> {
        let dead = self.segments.iter().take_while(|segment| segment.stop.is_some_and(|stop| stop <= self.trim_point));
        let dead = dead.count();
        (dead > 0).then(|| {
            let mut next = self.next();
            let gone = next.segments.drain(..dead).map(|segment| segment.loglet).collect();
            (next, gone)
        })
    }

    /// The next version, with other LogServers for a stripe of a closed segment. They have to hold all of it before this is written (P7).
    ///
    /// # Errors
    /// The segment is the last one, sealed or not; or not there; or the change is one of more than members.
    pub fn modified(&self, changed: LogletConfig) -> Result<Self, Refusal> {
        let id = changed.id;
        let (segment, stripe) = self.stripe_of(id).ok_or(Refusal::Absent(id))?;
        let found = &self.segments[segment];
        if found.stop.is_none() && !mutants::is(Mutant::ModifyOpenSegment) {
            return Err(Refusal::Active(id));
        }
        if found.loglet.stripes()[stripe].sequencer != changed.sequencer {
            return Err(Refusal::OtherLoglet(id));
        }
        let mut next = self.next();
        *next.segments[segment].loglet.stripe_mut(stripe) = changed;
        Ok(next)
    }

    fn next(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }
}
