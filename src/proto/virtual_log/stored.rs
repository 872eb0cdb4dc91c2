//! The chain as it is stored: JSON that an operator can read, in which what neighbouring segments share is said once, so that a
//! register has room for a thousand of them.

use serde::{Deserialize, Serialize};

use super::chain::{Chain, ChainSegment};
use super::intent::{GivenUp, Intent};
use crate::base::{Incarnation, IntentId, LogPos, LogletId, NodeId};
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

/// What is left out is as in the segment before. Where it stops is where the next one starts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSegment {
    start: LogPos,
    version: u64,
    nonce: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequencer: Option<StoredSequencer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_servers: Option<Vec<usize>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fulfils: Option<IntentId>,
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
}

impl From<&Chain> for StoredChain {
    fn from(chain: &Chain) -> Self {
        let mut table = Table::default();
        let mut before: Option<&LogletConfig> = None;
        let segments = chain.segments.iter().map(|segment| {
            let LogletConfig { id, sequencer, log_servers } = &segment.loglet;
            let Sequencer { node, incarnation, address } = *sequencer;
            let new = before.is_none_or(|before| before.sequencer != *sequencer);
            let sequencer = new.then(|| StoredSequencer { member: table.place(Member { node, address }), incarnation });
            let new = before.is_none_or(|before| before.log_servers != *log_servers);
            let log_servers = new.then(|| log_servers.iter().map(|member| table.place(*member)).collect());
            before = Some(&segment.loglet);
            let LogletId { version, nonce, .. } = *id;
            StoredSegment { start: segment.start, version, nonce, sequencer, log_servers, fulfils: segment.fulfils }
        });
        let segments = segments.collect();
        let log = chain.segments.first().map_or(0, |segment| segment.loglet.id.log);
        let (version, trim_point, intent) = (chain.version, chain.trim_point, chain.intent.clone());
        let given_up = chain.given_up.clone();
        Self { version, trim_point, intent, given_up, log, members: table.0, segments }
    }
}

impl StoredChain {
    /// The chain that is stored so, which is still to be checked.
    pub(super) fn restore(self) -> Result<Chain, &'static str> {
        let Self { version, trim_point, intent, given_up, log, members, segments } = self;
        let member = |place: usize| members.get(place).copied().ok_or("a segment names a member that is not there");
        let stops: Vec<_> = segments.iter().skip(1).map(|next| Some(next.start)).chain([None]).collect();
        let (mut sequencer, mut log_servers): (Option<Sequencer>, Option<Vec<Member>>) = (None, None);
        let mut restored = Vec::with_capacity(segments.len());
        for (stored, stop) in segments.into_iter().zip(stops) {
            let StoredSegment { start, version, nonce, fulfils, .. } = stored;
            if let Some(StoredSequencer { member: place, incarnation }) = stored.sequencer {
                let Member { node, address }: Member = member(place)?;
                sequencer = Some(Sequencer { node, incarnation, address });
            }
            if let Some(places) = stored.log_servers {
                log_servers = Some(places.into_iter().map(member).collect::<Result<_, _>>()?);
            }
            let missing = "the first segment leaves something out";
            let loglet = LogletConfig {
                id: LogletId { log, version, nonce },
                sequencer: sequencer.ok_or(missing)?,
                log_servers: log_servers.clone().ok_or(missing)?,
            };
            restored.push(ChainSegment { start, stop, loglet, fulfils });
        }
        let mut names: Vec<NodeId> = Vec::new();
        for segment in &restored {
            names.clear();
            names.extend(segment.loglet.log_servers.iter().map(|member| member.node));
            names.sort_unstable();
            if names.is_empty() || names.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err("a segment has no LogServers, or one twice");
            }
        }
        Ok(Chain { version, trim_point, intent, given_up, segments: restored })
    }
}
