//! What clients do, and which faults may happen: the bounds of a search.

use super::super::cluster::{read, records_of};
use crate::base::Offset;
use crate::proto::loglet::LogletOp;

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// Appends one record, of a value of its own.
    Append,
    /// Has every offset below this one given out, at once.
    FillTo(u64),
    CheckTail,
    /// A checkTail that does not wait for what the client did before.
    CheckTailBeside,
    Seal,
    /// Trims up to here, which the client claims to be committed only as far as it knows.
    Trim(u64),
    /// Reads everything from the first offset on, up to the limit that the client knows.
    Read,
    /// A late request to create the loglet, and to start its sequencer.
    Create,
    /// Deletes the loglet.
    Delete,
}

impl Op {
    /// Whether it starts while earlier operations of the client are under way; an append only behind appends.
    pub(super) fn is_pipelined(self) -> bool {
        matches!(self, Self::Append | Self::CheckTailBeside | Self::Seal)
    }

    /// As the client core takes it; none for what is no operation of the contract. `committed` is what the client knows.
    pub(super) fn contract(self, number: u64, committed: u64) -> Option<LogletOp> {
        Some(match self {
            Self::Append => LogletOp::Append { records: records_of(&[&number.to_string()]) },
            Self::FillTo(offset) => LogletOp::FillTo { offset: Offset(offset) },
            Self::CheckTail | Self::CheckTailBeside => LogletOp::CheckTail,
            Self::Seal => LogletOp::Seal,
            Self::Trim(point) => LogletOp::Trim { point: Offset(point), committed: Offset(committed) },
            Self::Read => read(0, committed),
            Self::Create | Self::Delete => return None,
        })
    }
}

/// Faults that may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Faults {
    /// Losses of power, each with a restart.
    pub(super) crashes: u8,
    /// Losses of a connection.
    pub(super) breaks: u8,
    /// Deadlines that pass.
    pub(super) timers: u8,
    /// Disks that run out of space.
    pub(super) full: u8,
    /// Disks that take nothing for a while.
    pub(super) busy: u8,
    /// New lives of the sequencer's process.
    pub(super) processes: u8,
    /// Times that the sequencer's host gives the loglet up.
    pub(super) ends: u8,
}

/// When the answers of LogServers arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answers {
    AtAnyTime,
    /// Clients get theirs at once, the sequencer its own at any time.
    PromptToClients,
    /// Everybody gets theirs at once.
    Prompt,
}

impl Answers {
    /// The smaller searches first.
    pub(super) const ALL: [Self; 3] = [Self::Prompt, Self::PromptToClients, Self::AtAnyTime];
}

/// The bounds of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) programs: [&'static [Op]; 2],
    pub(super) faults: Faults,
    /// The servers that may crash.
    pub(super) crashing: &'static [usize],
    /// Lanes of the sequencer; with two, each client appends on its own.
    pub(super) lanes: usize,
    /// Frames between clients and the sequencer arrive at once.
    pub(super) near: bool,
    /// The servers that nobody reaches.
    pub(super) apart: &'static [usize],
    pub(super) answers: Answers,
    /// An execution ends when all clients have their answers.
    pub(super) until_answered: bool,
    /// What some execution must reach, so that the search is about something.
    pub(super) expects: &'static [&'static str],
}

impl Scenario {
    /// The bounds within which a search with three reachable servers ends.
    pub(super) fn three_reachable(self) -> Self {
        Self { answers: Answers::Prompt, until_answered: true, ..self }
    }
}

use Op::{Append, CheckTail, CheckTailBeside, Create, Delete, FillTo, Read, Seal, Trim};

const NONE: Faults = Faults { crashes: 0, breaks: 0, timers: 0, full: 0, busy: 0, processes: 0, ends: 0 };

/// An append, a seal, and the tails that two clients find.
pub(super) const SEALING: Scenario = Scenario {
    name: "sealing",
    programs: [&[Append], &[Seal, CheckTail]],
    faults: NONE,
    crashing: &[],
    lanes: 1,
    near: true,
    apart: &[],
    answers: Answers::AtAnyTime,
    until_answered: false,
    expects: &[
        "an append is acknowledged",
        "an append ends sealed, with an offset",
        "a seal is complete",
        "row: all sealed, equal",
        "row: all sealed, repaired",
    ],
};

/// An append and a tail, without faults.
pub(super) const TAILING: Scenario = Scenario {
    name: "tailing",
    programs: [&[Append], &[CheckTail]],
    expects: &["an append is acknowledged", "row: none sealed, equal", "row: none sealed, waited"],
    ..SEALING
};

/// As `SEALING`, with a loss of power.
pub(super) const CRASHING: Scenario = Scenario {
    name: "crashing",
    programs: [&[Append], &[CheckTail]],
    faults: Faults { crashes: 1, ..NONE },
    crashing: &[0, 1, 2],
    expects: &[
        "an append is acknowledged",
        "row: none sealed, equal",
        "row: none sealed, waited",
        "a server that is back votes",
    ],
    ..SEALING
};

/// A seal and its tail after a loss of power at any moment.
pub(super) const SEALING_CRASHING: Scenario = Scenario {
    name: "sealing and crashing",
    programs: [&[Append], &[Seal, CheckTail]],
    faults: Faults { crashes: 1, ..NONE },
    crashing: &[0, 1, 2],
    expects: &[
        "an append is acknowledged",
        "row: all sealed, equal",
        "row: all sealed, repaired",
        "a server that is back votes",
    ],
    ..SEALING
};

/// Two reconfigurers, which may find different tails.
pub(super) const RACING: Scenario = Scenario {
    name: "racing reconfigurers",
    programs: [&[Append, CheckTail], &[Seal, CheckTail]],
    expects: &["row: all sealed, equal", "row: all sealed, repaired", "row: mixed"],
    ..SEALING
};

/// A checkTail that began while all was open, beside the same client's later one and another client's seal.
pub(super) const WAITING: Scenario = Scenario {
    name: "a checkTail that waits",
    programs: [&[Append, Seal, CheckTail], &[CheckTail, CheckTailBeside]],
    expects: &["row: none sealed, equal", "row: none sealed, waited", "row: mixed"],
    ..SEALING
};

/// Several records, of which some are trimmed.
pub(super) const TRIMMING: Scenario = Scenario {
    name: "trimming",
    programs: [&[Append, CheckTail, Trim(1), CheckTail], &[Read]],
    faults: Faults { crashes: 1, ..NONE },
    crashing: &[0],
    expects: &["a trim is done", "a read meets the trim point", "records are read"],
    ..SEALING
};

/// Connections that break, and deadlines that pass.
pub(super) const BREAKING: Scenario = Scenario {
    name: "breaking connections",
    programs: [&[Append, Append], &[CheckTail]],
    faults: Faults { breaks: 1, timers: 1, ..NONE },
    expects: &["an append is acknowledged", "the sequencer is lost"],
    ..SEALING
};

/// A process that ends the loglet, or another life of it, and a late request to start.
pub(super) const RESTARTING: Scenario = Scenario {
    name: "a sequencer that starts again",
    programs: [&[Append, CheckTail], &[Create, Append]],
    faults: Faults { processes: 1, ends: 1, ..NONE },
    expects: &["the sequencer is lost", "an append is acknowledged"],
    ..SEALING
};

/// A loglet that is deleted, and a late request to create it.
pub(super) const DELETING: Scenario = Scenario {
    name: "deleting",
    programs: [&[Append, Delete], &[Create, CheckTail]],
    expects: &["a deleted loglet is gone", "the loglet is created or deleted"],
    ..SEALING
};

/// A disk without space, for a while.
pub(super) const FILLING: Scenario = Scenario {
    name: "a full disk",
    programs: [&[Append, Append], &[]],
    faults: Faults { full: 1, ..NONE },
    expects: &["an append is acknowledged"],
    ..SEALING
};

/// Two appends, and a disk that takes nothing for a while.
pub(super) const BUSY: Scenario =
    Scenario { name: "a busy disk", faults: Faults { busy: 1, timers: 1, ..NONE }, ..FILLING };

/// No-ops beside an append, and a seal that may come before they are committed.
pub(super) const NO_OPS: Scenario = Scenario {
    name: "no-ops",
    programs: [&[Append], &[FillTo(2), Seal, CheckTail]],
    expects: &["an append is acknowledged", "a fill is answered", "a fill has failed", "a seal is complete"],
    ..SEALING
};

/// Two lanes, each with an append, and a seal behind one of these.
pub(super) const LANES: Scenario = Scenario {
    name: "lanes",
    programs: [&[Append], &[Append, Seal]],
    lanes: 2,
    expects: &["an append is acknowledged", "an append ends sealed, with an offset", "a seal is complete"],
    ..SEALING
};

/// Two lanes whose records a tail covers, with connections that break.
pub(super) const LANES_BREAKING: Scenario = Scenario {
    name: "lanes with breaking connections",
    programs: [&[Append, CheckTail], &[Append]],
    faults: Faults { breaks: 1, timers: 1, ..NONE },
    lanes: 2,
    expects: &["an append is acknowledged", "row: none sealed, equal"],
    ..SEALING
};

pub(super) const ALL: &[Scenario] = &[
    SEALING,
    TAILING,
    CRASHING,
    SEALING_CRASHING,
    RACING,
    WAITING,
    TRIMMING,
    BREAKING,
    RESTARTING,
    DELETING,
    FILLING,
    BUSY,
    NO_OPS,
];

/// Those with more executions than can be gone through.
pub(super) const BY_CHANCE: &[Scenario] = &[LANES, LANES_BREAKING];
