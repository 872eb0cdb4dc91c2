//! The chain as it is stored: JSON that an operator can read, in which what neighbouring segments share is said once, so that a
//! register has room for a thousand of them.

use serde::{Deserialize, Serialize};

use super::chain::{Chain, ChainSegment};
use super::intent::{GivenUp, Intent};
use super::range::StripeRange;
use super::spec::LogletSpec;
use crate::base::{Incarnation, IntentId, LogPos, LogletId};
use crate::proto::striped::Layout;
use crate::wire::{LogletConfig, Member, Sequencer};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredChain {
    version: u64,
    trim_point: LogPos,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intent: Option<Intent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given_up: Option<GivenUp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stripes: Option<StripeRange>,
    log: u64,
    /// Whom segments name by their place here.
    members: Vec<Member>,
    segments: Vec<StoredSegment>,
}

/// The last value of a log's register.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LastValue {
    /// The log is deleted; the chain before, or none if it was only half made.
    Deleted(Option<StoredChain>),
}

/// Where it stops is where the next one starts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSegment {
    start: LogPos,
    version: u64,
    nonce: u64,
    /// Of a native loglet, as the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequencer: Option<StoredSequencer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_servers: Option<Vec<usize>>,
    /// Of a striped one, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stripes: Option<Vec<StoredStripe>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fulfils: Option<IntentId>,
}

/// What is left out is as in the same stripe of the segment before, or, where that has fewer, as in the stripe before.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredStripe {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequencer: Option<StoredSequencer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_servers: Option<Vec<usize>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSequencer {
    member: usize,
    incarnation: Incarnation,
}

/// The members named so far; each once.
#[derive(Default)]
struct Table(Vec<Member>);

impl Table {
    fn place(&mut self, member: Member) -> usize {
        self.0.iter().position(|known| *known == member).unwrap_or_else(|| {
            self.0.push(member);
            self.0.len() - 1
        })
    }

    fn at(&self, place: usize) -> Result<Member, &'static str> {
        self.0.get(place).copied().ok_or("a segment names a member that is not there")
    }
}

/// What a segment says of a stripe.
type Stripe = (Sequencer, Vec<Member>);

impl StoredStripe {
    fn new(stripe: &LogletConfig, before: Option<&LogletConfig>, table: &mut Table) -> Self {
        let Sequencer { node, incarnation, address } = stripe.sequencer;
        let new = before.is_none_or(|before| before.sequencer != stripe.sequencer);
        let sequencer = new.then(|| StoredSequencer { member: table.place(Member { node, address }), incarnation });
        let new = before.is_none_or(|before| before.log_servers != stripe.log_servers);
        let log_servers = new.then(|| stripe.log_servers.iter().map(|member| table.place(*member)).collect());
        Self { sequencer, log_servers }
    }

    fn restore(self, before: Option<&Stripe>, table: &Table) -> Result<Stripe, &'static str> {
        let missing = "the first segment leaves something out";
        let sequencer = match self.sequencer {
            Some(StoredSequencer { member, incarnation }) => {
                let Member { node, address } = table.at(member)?;
                Sequencer { node, incarnation, address }
            }
            None => before.ok_or(missing)?.0,
        };
        let log_servers = match self.log_servers {
            Some(places) => places.into_iter().map(|place| table.at(place)).collect::<Result<_, _>>()?,
            None => before.ok_or(missing)?.1.clone(),
        };
        Ok((sequencer, log_servers))
    }
}

/// The stripe that the next one of a segment is compared with: its like in the segment before, or, where that has fewer, its neighbour.
fn before<'a, S>(segment: Option<&'a [S]>, stripes: &'a [S], next: usize) -> Option<&'a S> {
    segment.and_then(|segment| segment.get(next)).or_else(|| stripes.get(next.checked_sub(1)?))
}

impl From<&Chain> for StoredChain {
    fn from(chain: &Chain) -> Self {
        let mut table = Table::default();
        let mut last: Option<&[LogletConfig]> = None;
        let segments = chain.segments.iter().map(|segment| {
            let stripes = segment.loglet.stripes();
            let stored = stripes.iter().enumerate();
            let stored = stored.map(|(at, stripe)| StoredStripe::new(stripe, before(last, stripes, at), &mut table));
            let mut stored: Vec<StoredStripe> = stored.collect();
            last = Some(stripes);
            let LogletId { version, nonce, .. } = segment.loglet.id();
            let ChainSegment { start, fulfils, .. } = *segment;
            let (native, stripes) = match segment.loglet {
                LogletSpec::Native(_) => (stored.pop(), None),
                LogletSpec::Striped(_) => (None, Some(stored)),
            };
            let (sequencer, log_servers) = native.map_or((None, None), |native| (native.sequencer, native.log_servers));
            StoredSegment { start, version, nonce, sequencer, log_servers, stripes, fulfils }
        });
        let segments = segments.collect();
        let log = chain.segments.first().map_or(0, |segment| segment.loglet.id().log);
        let (version, trim_point, intent) = (chain.version, chain.trim_point, chain.intent.clone());
        let (given_up, stripes) = (chain.given_up.clone(), chain.stripes);
        Self { version, trim_point, intent, given_up, stripes, log, members: table.0, segments }
    }
}

impl StoredChain {
    /// The chain that is stored so, which is still to be checked.
    pub(super) fn restore(self) -> Result<Chain, &'static str> {
        let Self { version, trim_point, intent, given_up, stripes: range, log, members, segments } = self;
        let table = Table(members);
        let stops: Vec<_> = segments.iter().skip(1).map(|next| Some(next.start)).chain([None]).collect();
        let mut last: Option<Vec<Stripe>> = None;
        let mut restored = Vec::with_capacity(segments.len());
        for (stored, stop) in segments.into_iter().zip(stops) {
            let StoredSegment { start, version, nonce, sequencer, log_servers, stripes: striped, fulfils } = stored;
            let native = StoredStripe { sequencer, log_servers };
            let stored = match striped {
                None => vec![native],
                Some(_) if native.sequencer.is_some() || native.log_servers.is_some() => {
                    return Err("a segment is native and has stripes");
                }
                Some(striped) if !(2..=Layout::STRIPES_MAX).contains(&striped.len()) => {
                    return Err("a loglet has too few or too many stripes");
                }
                Some(striped) => striped,
            };
            let mut stripes: Vec<Stripe> = Vec::with_capacity(stored.len());
            for (at, stripe) in stored.into_iter().enumerate() {
                let stripe = stripe.restore(before(last.as_deref(), &stripes, at), &table)?;
                stripes.push(stripe);
            }
            let loglet = LogletSpec::new(LogletId { log, version, nonce }, stripes.iter().cloned());
            last = Some(stripes);
            restored.push(ChainSegment { start, stop, loglet, fulfils });
        }
        Ok(Chain { version, trim_point, intent, given_up, stripes: range, segments: restored })
    }
}
