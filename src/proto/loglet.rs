//! The Loglet contract, as data: operations go in, results come out, for every kind of loglet.
//!
//! Completion-shaped like the I/O driver: an operation carries an id of the caller's, and ends with exactly one result of that
//! id. Only a subscription has several, up to its [`LogletResult::SubscriptionEnded`].

use crate::base::Offset;

/// Chosen by the caller, returned with the result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(pub u64);

/// Owned records in the batch format of [`crate::wire::Batch`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Records {
    /// How many.
    pub count: u32,
    /// Table and payloads.
    pub bytes: Vec<u8>,
}

/// What can be asked of a loglet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogletOp {
    /// Appends records at contiguous offsets.
    Append {
        /// The records; they come back with the result.
        records: Records,
    },
    /// Has every offset below `offset` given out, those that are not yet to no-ops, and waits until they are committed (P6). One request
    /// reaches so far; the caller asks again if the known tail that it is told is less. `Offset::MAX` is as far as one request reaches.
    FillTo {
        /// First offset that need not be given out.
        offset: Offset,
    },
    /// Finds the tail (every row of the checkTail table).
    CheckTail,
    /// Reads from `min`, below `max` and below `limit` or a server's known tail (P17).
    ReadNext {
        /// First offset wanted.
        min: Offset,
        /// First offset not wanted.
        max: Offset,
        /// What the caller knows to be committed: the stop of a closed chain segment, else the largest tail of an open
        /// checkTail or of an own acknowledgement.
        limit: Offset,
        /// About how many bytes to return.
        bytes_max: u32,
    },
    /// Streams records from `from` on as they become readable.
    Subscribe {
        /// First offset wanted.
        from: Offset,
        /// As in [`LogletOp::ReadNext`].
        limit: Offset,
        /// Bytes that may be on the way before the caller grants more.
        credit: u32,
    },
    /// Grants the subscription of this id more bytes, and tells its servers a larger limit. Has no result.
    Credit {
        /// As in [`LogletOp::ReadNext`].
        limit: Offset,
        /// Additional bytes.
        bytes: u32,
    },
    /// Ends the subscription of this id. Its last result is `SubscriptionEnded`.
    Unsubscribe,
    /// Seals: afterwards no append is acknowledged.
    Seal,
    /// Gives up everything below `point`.
    Trim {
        /// First offset kept.
        point: Offset,
        /// The largest tail that the caller knows to be committed (P3).
        committed: Offset,
    },
}

/// Why a loglet was not filled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FillFailure {
    /// The loglet is sealed, or deleted.
    Sealed,
    /// The sequencer is lost, or has not answered in time.
    SequencerLost,
    /// Fewer LogServers than a majority have space.
    NoSpace,
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogletResult {
    /// On stable storage on a majority, at `first`, `first + stride`, and so on, as everything below the last of them is.
    Appended {
        /// Offset of the first record.
        first: Offset,
        /// From one record to the next: 1, but in a loglet of several stripes.
        stride: u32,
        /// The records, for reuse of their memory.
        records: Records,
    },
    /// The loglet was sealed. With `first`, the records were given offsets and the chain's stop settles whether they are part of
    /// the log; without, they surely are not (P16).
    AppendSealed {
        /// Offset of the first record, if it was given one.
        first: Option<Offset>,
        /// From one record to the next.
        stride: u32,
        /// The records, for a retry elsewhere.
        records: Records,
    },
    /// Fewer LogServers than a majority have space. With `first`, the records were given offsets, where they may become part of
    /// the log later and nowhere else; without, they never will.
    AppendNoSpace {
        /// Offset of the first record, if it was given one.
        first: Option<Offset>,
        /// From one record to the next.
        stride: u32,
        /// The records, for a retry.
        records: Records,
    },
    /// The sequencer is lost. With `maybe_stored` false the records were never sent and a retry cannot duplicate them.
    SequencerLost {
        /// Whether the records may be in the log nevertheless.
        maybe_stored: bool,
        /// The records, for a retry elsewhere.
        records: Records,
    },
    /// Filled, as far as one request reaches.
    Filled {
        /// Everything below is committed, by unsealed evidence (P1).
        known_tail: Offset,
        /// No-ops that this request itself has added.
        placed: u64,
    },
    /// Not filled; no-ops may have been placed nevertheless.
    FillFailed(FillFailure),
    /// The tail: with `sealed` false, everything below was readable at some moment since the question; with `sealed` true, it
    /// serves the conditional write of the chain and nothing else (P1).
    Tail {
        /// First offset not covered.
        tail: Offset,
        /// Whether the loglet is sealed.
        sealed: bool,
    },
    /// Records from `first` on, no-ops among them; also each delivery of a subscription.
    Records {
        /// Offset of the first record.
        first: Offset,
        /// The records.
        records: Records,
    },
    /// A read found nothing readable at `min` yet.
    NothingYet,
    /// A read or subscription met the trim point.
    Trimmed {
        /// First offset that may still be read.
        trim_point: Offset,
    },
    /// The subscription has ended: the loglet is sealed, or the caller ended it.
    SubscriptionEnded {
        /// Whether it ended because the loglet is sealed.
        sealed: bool,
    },
    /// Sealed on a majority.
    Sealed,
    /// The trim point is durable on `servers` LogServers.
    TrimDone {
        /// The smallest trim point among the servers reached.
        trim_point: Offset,
        /// How many were reached.
        servers: usize,
    },
    /// Created and activated, or deleted.
    Done,
    /// The loglet has been deleted: ask the MetaStore (P5).
    Gone,
    /// No majority answered in time. `reason` names what is missing.
    Unavailable {
        /// For people.
        reason: String,
    },
}
