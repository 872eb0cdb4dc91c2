//! What a virtual log does, as data: operations go in, results come out, and requests to loglets and the MetaStore beside them.
//!
//! Completion-shaped like [`crate::proto::loglet`], on which it stands: every kind of loglet that keeps that contract can be in a chain.

use super::chain::Chain;
use super::intent::{GivenUp, Intent, Wanted};
use super::spec::LogletSpec;
use crate::base::{LogPos, LogletId, Offset};
use crate::proto::loglet::{LogletOp, OpId, Records};
use crate::proto::metastore::contract::MetaStoreOp;
use crate::wire::{LogletConfig, Member};

/// What can be asked of a virtual log.
#[derive(Clone, Hash, Debug)]
pub enum LogOp {
    /// Appends records, in their order.
    Append {
        /// The records; they come back with the result.
        records: Records,
    },
    /// Finds the tail: every record acknowledged before is below it.
    CheckTail,
    /// Reads records from `min` on, below `max`.
    Read {
        /// First position wanted.
        min: LogPos,
        /// First position not wanted.
        max: LogPos,
        /// About how many bytes to return.
        bytes_max: u32,
    },
    /// Streams records from `from` on as they become readable, across loglets, until it is ended or meets the trim point.
    Subscribe {
        /// First position wanted.
        from: LogPos,
        /// Bytes that may be on the way before the caller grants more.
        credit: u32,
    },
    /// Grants the subscription of this id more bytes. Has no result.
    Credit {
        /// Additional bytes.
        bytes: u32,
    },
    /// Ends the subscription of this id. Has no result.
    Unsubscribe,
    /// Gives up everything below `point`, as far as it is known to be committed (P3).
    Trim {
        /// First position kept.
        point: LogPos,
    },
    /// Ends the last loglet and puts another behind it (Delos OSDI'20, section 3.3).
    Extend(Box<ExtendOp>),
    /// Makes the log: this is its first loglet, named for version 1 of a chain that nobody has written yet.
    Begin {
        /// The loglet, which is created first.
        loglet: Box<LogletSpec>,
    },
    /// Gives a stripe of a closed segment other LogServers, one of which at least it has now (`reconfigModify` of Delos OSDI'20). Those
    /// that it does not have yet get all of its records before the chain names them (P7).
    Modify {
        /// The stripe, as LogServers know it: of a native loglet, the loglet.
        loglet: LogletId,
        /// All that it is to have, no fewer than now.
        log_servers: Vec<Member>,
    },
    /// Gives up the intent of this name, if it is pending (P15).
    DropIntent(GivenUp),
    /// Seals the last loglet: whoever uses the log next puts another behind it.
    Seal,
    /// Reads the chain.
    Chain,
}

/// What an extend is to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ExtendOp {
    /// The loglet that is to be ended, if it still is the last one; whichever is the last when nothing is said.
    pub replaces: Option<LogletId>,
    /// What is wanted; a clone of the present loglet when nothing is said.
    pub wanted: Option<Wanted>,
    /// Written into the chain first, so that others finish what this client cannot (P15).
    pub intent: Option<Intent>,
}

/// Where neighbouring records of one batch are: at `first`, `first + stride`, and so on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Run {
    /// How many.
    pub count: u32,
    /// Where the first of them is.
    pub first: LogPos,
    /// From one to the next: 1, but in a loglet of several stripes.
    pub stride: u32,
}

impl Run {
    /// Where one of them is, or would be if it were one of them.
    pub fn position(&self, index: u32) -> LogPos {
        self.first + u64::from(index) * u64::from(self.stride)
    }

    /// The first position behind all of them.
    pub fn end(&self) -> LogPos {
        assert!(self.count > 0, "a run has records");
        self.position(self.count - 1) + 1
    }
}

/// Why records were not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AppendFailure {
    /// Fewer LogServers than a majority have space. With a run, the records may become part of the log there, and nowhere else; without, they
    /// never will.
    NoSpace {
        /// Of the records that are not acknowledged.
        at: Option<Run>,
    },
    /// The log has been deleted.
    Deleted {
        /// Whether they were in it before.
        maybe_stored: bool,
    },
    /// Nobody has taken them in time.
    Unavailable {
        /// Whether they may be in the log nevertheless.
        maybe_stored: bool,
    },
}

/// The end of an operation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogResult {
    /// On stable storage on a majority.
    Appended {
        /// Where they are.
        at: Run,
        /// The records, for reuse of their memory.
        records: Records,
    },
    /// A batch that a reconfiguration has divided, or that was not acknowledged: the first records are where `runs` says, one after
    /// another, and what has become of the rest is `failure`.
    AppendedApart {
        /// Where the acknowledged ones are.
        runs: Vec<Run>,
        /// None if all are acknowledged.
        failure: Option<AppendFailure>,
        /// All of the records.
        records: Records,
    },
    /// The tail: everything below was readable at some moment since the question.
    Tail(LogPos),
    /// Records from `first` on; also each delivery of a subscription.
    Records {
        /// Position of the first record.
        first: LogPos,
        /// The records.
        records: Records,
    },
    /// A read found nothing readable at `min` yet.
    NothingYet,
    /// A read or subscription met the trim point; a subscription has ended with it.
    Trimmed {
        /// First position that may still be read.
        trim_point: LogPos,
    },
    /// Everything below is given up.
    TrimDone {
        /// The trim point reached.
        trim_point: LogPos,
    },
    /// The last loglet is sealed.
    Sealed,
    /// The chain, after the change if one was asked for.
    Chain(Box<Chain>),
    /// Somebody else has replaced the loglet first; this is the chain.
    Overtaken(Box<Chain>),
    /// Another reconfiguration was written down first, and is to be finished before (P15).
    Pending(Box<Intent>),
    /// Nobody answered in time, or answered with something else. `reason` names what is missing. A subscription has ended with it.
    Unavailable {
        /// For people.
        reason: String,
    },
}

/// What the log needs from its host.
#[derive(Clone, Hash, Debug)]
pub enum Request {
    /// Make a client of this loglet; requests about it follow.
    Open(Box<LogletSpec>),
    /// The client of this loglet is not needed any more; nothing is under way on it.
    Close(LogletId),
    /// Carry out this operation; the answer goes to `handle_loglet`, as the answers to the next two.
    Loglet {
        /// Which loglet.
        loglet: LogletId,
        /// Names the request.
        id: OpId,
        /// What to do.
        op: LogletOp,
    },
    /// Create the loglet on a majority and start its sequencer: all of its stripes.
    Create {
        /// Which loglet.
        loglet: LogletId,
        /// Names the request.
        id: OpId,
    },
    /// Delete the loglet, all of its stripes, which this version of the chain does not name (P5).
    Delete {
        /// Which loglet.
        loglet: LogletId,
        /// Names the request.
        id: OpId,
        /// The version.
        chain_version: u64,
        /// The loglets that it names, as LogServers know them: each stripe for itself.
        live: Vec<LogletId>,
    },
    /// Bring LogServers of this closed loglet, which may be a stripe, up to its stop (P7). It has nothing to do with other requests about the loglet, whose client
    /// may have another configuration.
    Restore {
        /// Names the request.
        id: OpId,
        /// The loglet, with all LogServers that it is to have.
        config: Box<LogletConfig>,
        /// Its end.
        stop: Offset,
        /// Those that are new, by their numbers in the configuration.
        targets: Vec<usize>,
    },
    /// Delete the loglet on LogServers that it has no more (P5, P7); apart from other requests, likewise.
    Remove {
        /// Names the request.
        id: OpId,
        /// The loglet, with these LogServers alone.
        config: Box<LogletConfig>,
        /// The version of the chain in which it does not have them.
        chain_version: u64,
        /// The other loglets that the version names.
        live: Vec<LogletId>,
    },
    /// Carry out an operation on the log's register; the answer goes to `handle_metastore`.
    MetaStore {
        /// Names the request.
        id: OpId,
        /// What to do.
        op: MetaStoreOp,
    },
}
