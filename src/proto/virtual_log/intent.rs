//! What somebody is about to change, written down before the change, so that whoever finds the loglet sealed can finish it (P15).

use serde::{Deserialize, Serialize};

use super::range::StripeRange;
use super::spec::LogletSpec;
use crate::base::{IntentId, LogletId, NodeId};
use crate::proto::striped::Layout;
use crate::wire::{LogletConfig, Member};

/// A reconfiguration that somebody has begun. It is void once the loglet that it replaces is not the last.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// Its name.
    pub id: IntentId,
    /// The loglet that was the last one when it was written.
    pub replaces: LogletId,
    /// What is wanted instead.
    pub wanted: Wanted,
    /// Over how many stripes the log is to go from then on; none if that is to stay as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripes: Option<StripeRange>,
    /// When it was written, by its writer's clock, in milliseconds of Unix time: for people, and to bound how long it is waited for.
    pub since_unix_ms: u64,
}

/// An intent that could not be carried out.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenUp {
    /// Which.
    pub intent: IntentId,
    /// Why, for people; at most [`GivenUp::REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

impl GivenUp {
    /// Most bytes of a reason: the register has to have room for the chain.
    pub const REASON_BYTES_MAX: usize = 300;

    /// For this reason, or as much of it as there is room for.
    pub fn new(intent: IntentId, reason: &str) -> Self {
        let end = (0..=reason.len().min(Self::REASON_BYTES_MAX)).rev().find(|end| reason.is_char_boundary(*end));
        Self { intent, reason: reason[..end.unwrap_or(0)].to_owned() }
    }
}

/// A configuration without what only its maker can draw: the loglet's id and the incarnations of the sequencers. Written as JSON, so that
/// an operator can read it: one stripe as itself, several as a list.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Wanted {
    /// The stripes, at least one and at most [`Layout::STRIPES_MAX`]; one is a native loglet.
    stripes: Vec<WantedStripe>,
}

/// A stripe of a loglet that is wanted.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedStripe {
    /// The node that gives out offsets, and where to look for it.
    pub sequencer: Member,
    /// The nodes that store the records, and where to look for them.
    pub log_servers: Vec<Member>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    One(WantedStripe),
    Several(Several),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Several {
    stripes: Vec<WantedStripe>,
}

impl From<Wanted> for Written {
    fn from(mut wanted: Wanted) -> Self {
        match wanted.stripes.len() {
            1 => Self::One(wanted.stripes.remove(0)),
            _ => Self::Several(Several { stripes: wanted.stripes }),
        }
    }
}

impl TryFrom<Written> for Wanted {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let stripes = match written {
            Written::One(stripe) => vec![stripe],
            Written::Several(Several { stripes }) => stripes,
        };
        let is_fine = (1..=Layout::STRIPES_MAX).contains(&stripes.len());
        is_fine.then_some(Self { stripes }).ok_or("a loglet has too few or too many stripes")
    }
}

impl Wanted {
    /// A loglet of these stripes.
    ///
    /// # Panics
    /// Of none, or more than [`Layout::STRIPES_MAX`].
    pub fn new(stripes: Vec<WantedStripe>) -> Self {
        assert!((1..=Layout::STRIPES_MAX).contains(&stripes.len()), "a loglet of {} stripes", stripes.len());
        Self { stripes }
    }

    /// A native loglet.
    pub fn native(sequencer: Member, log_servers: Vec<Member>) -> Self {
        Self { stripes: vec![WantedStripe { sequencer, log_servers }] }
    }

    /// What a loglet has, all of it given out by this sequencer.
    pub fn clone_of(loglet: &LogletSpec, sequencer: Member) -> Self {
        Self::like(loglet, vec![sequencer; loglet.stripes().len()])
    }

    /// What a loglet has, with these sequencers of its stripes.
    ///
    /// # Panics
    /// Of another number of stripes.
    pub fn like(loglet: &LogletSpec, sequencers: Vec<Member>) -> Self {
        assert_eq!(sequencers.len(), loglet.stripes().len(), "a sequencer of each stripe");
        let clone = |(sequencer, stripe): (Member, &LogletConfig)| {
            let log_servers = stripe.log_servers.clone();
            WantedStripe { sequencer, log_servers }
        };
        Self { stripes: sequencers.into_iter().zip(loglet.stripes()).map(clone).collect() }
    }

    /// What it is made of.
    pub fn stripes(&self) -> &[WantedStripe] {
        &self.stripes
    }

    /// The nodes that are to give out offsets, each once, in the order of their stripes.
    pub fn sequencers(&self) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        for stripe in &self.stripes {
            if !nodes.contains(&stripe.sequencer.node) {
                nodes.push(stripe.sequencer.node);
            }
        }
        nodes
    }

    /// All that are named, where they are to be looked for; some of them more than once.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.stripes.iter().flat_map(|stripe| stripe.log_servers.iter().copied().chain([stripe.sequencer]))
    }
}
