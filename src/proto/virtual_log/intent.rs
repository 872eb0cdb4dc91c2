//! What somebody is about to change, written down before the change, so that whoever finds the loglet sealed can finish it (P15).

use serde::{Deserialize, Serialize};

use crate::base::{IntentId, LogletId};
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

/// A configuration without what only its maker can draw: the loglet's id and the incarnation of the sequencer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The node that gives out offsets, and where to look for it.
    pub sequencer: Member,
    /// The nodes that store the records, and where to look for them.
    pub log_servers: Vec<Member>,
}

impl Wanted {
    /// What a loglet has, with another sequencer.
    pub fn clone_of(loglet: &LogletConfig, sequencer: Member) -> Self {
        Self { sequencer, log_servers: loglet.log_servers.clone() }
    }
}
