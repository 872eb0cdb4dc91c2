use crate::base::{IntentId, LogletId, NodeId};

/// Who serves a stripe of a loglet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    /// The node that gives out offsets.
    pub sequencer: NodeId,
    /// The nodes that store the records.
    pub log_servers: Vec<NodeId>,
}

/// A segment, as one version of the chain has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainPart {
    /// Its loglet.
    pub loglet: LogletId,
    /// Its first position.
    pub start: u64,
    /// The first position behind it; none for the last one.
    pub stop: Option<u64>,
    /// Who serves it, each of its stripes.
    pub servers: Vec<Servers>,
    /// The intent that it has carried out.
    pub fulfils: Option<IntentId>,
}

/// A reconfiguration that was written down before it was made (P15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intended {
    /// Its name.
    pub id: IntentId,
    /// The loglet that is to be replaced.
    pub replaces: LogletId,
    /// Who is to serve the next one, each of its stripes.
    pub servers: Vec<Servers>,
}

/// A version of the chain, as somebody held it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainVersion {
    /// Which one.
    pub version: u64,
    /// Everything below may be gone.
    pub trim_point: u64,
    /// What is to be done next.
    pub intent: Option<Intended>,
    /// The segments in order, at least one.
    pub parts: Vec<ChainPart>,
}

impl ChainVersion {
    /// The active segment.
    pub fn last(&self) -> &ChainPart {
        self.parts.last().expect("a chain has segments")
    }
}
