//! Which branches of the protocol were taken.

use std::collections::BTreeMap;

use crate::wire::Opcode;

/// A branch, by its name.
pub type Branch = &'static str;

/// Between whom a frame travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    FromClient,
    ToClient,
    BetweenNodes,
}

/// Frames of which each is a branch of whoever sends it.
const FRAMES: &[(Opcode, Way, Branch)] = &[
    (Opcode::Append, Way::FromClient, "append sent"),
    (Opcode::Appended, Way::ToClient, "append acknowledged"),
    (Opcode::AppendSealed, Way::ToClient, "append answered as sealed"),
    (Opcode::AppendNoSpace, Way::ToClient, "append answered for want of space"),
    (Opcode::FillTo, Way::FromClient, "fill sent"),
    (Opcode::Filled, Way::ToClient, "fill answered"),
    (Opcode::SequencerLost, Way::ToClient, "sequencer says that it is lost"),
    (Opcode::Reject, Way::ToClient, "client rejected"),
    (Opcode::Reject, Way::BetweenNodes, "node rejected"),
    (Opcode::Create, Way::FromClient, "client creates"),
    (Opcode::Create, Way::BetweenNodes, "sequencer creates on a late server"),
    (Opcode::Activate, Way::FromClient, "sequencer activated"),
    (Opcode::Done, Way::ToClient, "created"),
    (Opcode::Store, Way::BetweenNodes, "store"),
    (Opcode::Stored, Way::BetweenNodes, "stored"),
    (Opcode::Behind, Way::BetweenNodes, "store or read is ahead of the server"),
    (Opcode::Sealed, Way::BetweenNodes, "store meets a seal"),
    (Opcode::KnownTail, Way::BetweenNodes, "sequencer announces a known tail"),
    (Opcode::Seal, Way::FromClient, "client seals"),
    (Opcode::Seal, Way::BetweenNodes, "sequencer completes a seal"),
    (Opcode::CheckTail, Way::FromClient, "client asks for tails"),
    (Opcode::CheckTail, Way::BetweenNodes, "damaged server asks for tails"),
    (Opcode::Tail, Way::ToClient, "server answers open"),
    (Opcode::Tail, Way::BetweenNodes, "server answers open to a damaged one"),
    (Opcode::Sealed, Way::ToClient, "server answers sealed"),
    (Opcode::AwaitTail, Way::FromClient, "open checkTail waits for a majority"),
    (Opcode::Repair, Way::FromClient, "repair"),
    (Opcode::Behind, Way::ToClient, "server is behind a repair or a read"),
    (Opcode::Read, Way::FromClient, "client reads"),
    (Opcode::Read, Way::BetweenNodes, "server fetches what it lacks"),
    (Opcode::Records, Way::ToClient, "client gets records"),
    (Opcode::Records, Way::BetweenNodes, "server gets what it lacks"),
    (Opcode::Gap, Way::ToClient, "read meets a gap"),
    (Opcode::Gap, Way::BetweenNodes, "fetch meets a gap"),
    (Opcode::Trim, Way::FromClient, "client trims"),
    (Opcode::Trimmed, Way::ToClient, "server answers trimmed"),
    (Opcode::Trimmed, Way::BetweenNodes, "fetch meets a trim point"),
    (Opcode::Unavailable, Way::ToClient, "server cannot do it now"),
    (Opcode::Subscribe, Way::FromClient, "client subscribes"),
    (Opcode::Credit, Way::FromClient, "client grants credit"),
    (Opcode::Delete, Way::FromClient, "client deletes a loglet"),
    (Opcode::Gone, Way::ToClient, "loglet is gone"),
    (Opcode::RegisterQuery, Way::FromClient, "register asked"),
    (Opcode::RegisterPrepare, Way::FromClient, "ballot prepared"),
    (Opcode::RegisterAccept, Way::FromClient, "value proposed"),
    (Opcode::RegisterLearn, Way::FromClient, "decision handed over"),
    (Opcode::RegisterState, Way::ToClient, "acceptor tells its state"),
    (Opcode::RegisterPromised, Way::ToClient, "acceptor promises"),
    (Opcode::RegisterAccepted, Way::ToClient, "acceptor accepts"),
    (Opcode::RegisterRefused, Way::ToClient, "acceptor refuses"),
    (Opcode::RegisterDecided, Way::ToClient, "acceptor knows the decision"),
    (Opcode::RegisterBehind, Way::ToClient, "acceptor is behind"),
    (Opcode::RegisterLearned, Way::ToClient, "acceptor has learned"),
];

/// What is seen elsewhere than on the network.
const OTHERS: &[Branch] = &[
    "append ends as sealed with its offset",
    "append ends as sealed without offset",
    "append ends for want of space with its offset",
    "append ends for want of space without offset",
    "append ends with its sequencer, outcome unknown",
    "append ends with its sequencer, not stored",
    "no-ops placed",
    "nothing to fill",
    "fill ends as sealed",
    "fill ends with its sequencer",
    "checkTail open",
    "checkTail sealed",
    "checkTail unavailable",
    "read finds nothing yet",
    "read ends as trimmed",
    "read unavailable",
    "seal unavailable",
    "trim done",
    "trim unavailable",
    "creation unavailable",
    "creation meets a lost sequencer",
    "subscription delivers",
    "subscription ends as sealed",
    "subscription ends as trimmed",
    "segment of the chain closed",
    "chain race lost",
    "no loglet takes an append in time, not stored",
    "no loglet takes an append in time, outcome unknown",
    "extend done",
    "extend overtaken",
    "extend meets another intent",
    "extend unavailable",
    "chain extended",
    "chain truncated",
    "segment modified",
    "segment not modified",
    "chain read",
    "chain unavailable",
    "empty segment replaced",
    "intent carried out",
    "intent given up",
    "log sealed",
    "seal of a log unavailable",
    "loglet is given records at or beyond its stop",
    "client ends",
    "client ends amid operations",
    "journal rolls a segment",
    "journal recycles a segment",
    "journal claims when idle",
    "journal cannot prepare a segment",
    "journal runs out of segments",
    "journal poisoned by a write",
    "journal cannot be opened",
    "journal reads from disk",
    "journal meets damage in a read",
    "recovery finds a damaged unit",
    "recovery cannot read",
    "recovery misses a segment or the anchor",
    "recovery loses an entry table or cell",
    "recovery finds holes",
    "server copies before it tells a tail",
    "server has gaps",
    "sequencer running",
    "sequencer sealed",
    "sequencer lost",
    "sequencer has a full queue",
];

const OPCODES: usize = 256;

/// How often each branch was taken.
#[derive(Debug, Clone)]
pub struct Coverage {
    frames: Box<[[u64; 3]; OPCODES]>,
    others: BTreeMap<Branch, u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { frames: Box::new([[0; 3]; OPCODES]), others: BTreeMap::new() }
    }
}

impl Coverage {
    /// How many branches there are.
    pub fn total() -> usize {
        FRAMES.len() + OTHERS.len()
    }

    pub(super) fn frame(&mut self, opcode: Opcode, way: Way) {
        self.frames[opcode as usize][way as usize] += 1;
    }

    pub(super) fn took(&mut self, branch: Branch) {
        debug_assert!(OTHERS.contains(&branch), "{branch} is in no list");
        *self.others.entry(branch).or_default() += 1;
    }

    /// Adds what another run has taken.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.frames.iter_mut().flatten().zip(other.frames.iter().flatten()) {
            *mine += theirs;
        }
        for (branch, count) in &other.others {
            *self.others.entry(branch).or_default() += count;
        }
    }

    /// The branches that were never taken.
    pub fn missing(&self) -> Vec<Branch> {
        let frames = FRAMES.iter().filter(|&&(opcode, way, _)| self.frames[opcode as usize][way as usize] == 0);
        let others = OTHERS.iter().filter(|branch| !self.others.contains_key(*branch));
        frames.map(|&(.., branch)| branch).chain(others.copied()).collect()
    }
}
