//! What the journal is told and what it tells.

use std::io;
use std::path::PathBuf;

use crate::base::{CellKey, InvalidLimits, Limits, LogletId, NodeId, Offset};
use crate::wire::BatchBuilder;

/// How a journal is set up.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The journal's own directory (`journal-<n>`); it exists, and the caller holds its lock.
    pub directory: PathBuf,
    /// Whose journal it is; files of another node are refused.
    pub node: NodeId,
    /// Which of the node's journals it is.
    pub journal: u32,
    /// Unit of direct I/O: a power of two from 512 to 65536.
    pub block_bytes: u32,
    /// Owner of all the tokens of this journal.
    pub token_owner: u8,
    /// The bounds.
    pub limits: Limits,
    /// Seed of the stream that generations are drawn from; must differ from start to start.
    pub seed: u64,
}

/// Where a journal is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Reading what the lives before have left.
    Opening,
    /// Taking writes and reads.
    Open,
    /// Poisoned, for good: nothing more is written or acknowledged. Reads go on if it was open.
    Failed,
}

/// Why a journal has failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The limits, or the block size, contradict each other.
    #[error("journal limits: {0}")]
    Limits(#[from] InvalidLimits),
    /// The block size is no power of two from 512 to 65536 that divides the unit size.
    #[error("a block of {0} bytes is not usable")]
    Block(u32),
    /// The directory could not be read.
    #[error("cannot list {directory}: {error}")]
    List {
        /// The journal's directory.
        directory: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A file could not be opened, or flushed, which opening does first.
    #[error("cannot open {path}: {error}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A file holds units of another node or journal.
    #[error("{path} belongs to node {node}, journal {journal}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its node.
        node: NodeId,
        /// Its journal.
        journal: u32,
    },
    /// A file is of a format that this program does not know.
    #[error("{path} has format version {version}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
    /// There is no free segment to begin this life in, and none could be made.
    #[error("no segment for this life: {0}")]
    NoSegment(io::Error),
    /// All segments that the limits allow are in use, without the reserve for this life.
    #[error("no segment for this life: all {0} are in use")]
    NoSegmentLeft(u32),
    /// What has to be kept in the head of a segment does not fit one.
    #[error("a head of {bytes} bytes does not fit a segment")]
    Head {
        /// Bytes that the head may take.
        bytes: u64,
    },
    /// Two files hold the same use of a segment: one is a copy, and which one is older cannot be told.
    #[error("{first} and {second} are copies of one another; remove the one that was put there")]
    Twice {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The anchor could not be made or written.
    #[error("cannot write the anchor: {0}")]
    Anchor(io::Error),
    /// A write failed.
    #[error("write of segment {segment} at {position} failed: {error}")]
    Write {
        /// The segment's number.
        segment: u64,
        /// Byte position in the segment.
        position: u64,
        /// The system's reason.
        error: io::Error,
    },
    /// A write was shorter than asked for.
    #[error("write of segment {segment} at {position} wrote {written} of {expected} bytes")]
    ShortWrite {
        /// The segment's number.
        segment: u64,
        /// Byte position in the segment.
        position: u64,
        /// Bytes written.
        written: usize,
        /// Bytes that should have been.
        expected: usize,
    },
}

/// Why a write is not taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullReason {
    /// Enough units wait for the disk; comes back as they complete.
    Queue,
    /// No room: no prepared segment beyond the reserve, or (for a cell) the bound on cells. Also before the journal is open.
    Space,
    /// The journal is poisoned.
    Failed,
}

/// The write is not taken; nothing of it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal takes no write: {reason:?}")]
pub struct Full {
    /// Why.
    pub reason: FullReason,
}

/// What a start has found. Offsets below a trim point may appear again: the caller trims anew from its trim cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// All live cells, in key order.
    pub cells: Vec<(CellKey, Vec<u8>)>,
    /// All loglets with records or cells, in order.
    pub loglets: Vec<LogletId>,
    /// What was damaged. Torn unacknowledged writes are not damage.
    pub damage: Vec<Damage>,
    /// The number of this life.
    pub life: u64,
}

/// Why something is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum DamageCause {
    /// A unit that a later one claims was durable is not there or fails its checksums.
    Unit,
    /// The disk could not read it.
    Unreadable,
    /// A segment that a head, or the anchor, names is not there.
    SegmentMissing,
    /// The file of the newest segment is shorter than it was made.
    SegmentShort,
    /// The anchor, which names the newest segment, is gone or cannot be read: whether segments are missing cannot be known.
    Anchor,
}

/// Damage found by a start.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// The segment's number.
    pub segment: u64,
    /// Byte position of the unit in the segment; where the unit should have been when its header is lost.
    pub position: u64,
    /// What was seen.
    pub cause: DamageCause,
    /// Whether the entry table survived: then `holes` and `cells_lost` are all that is lost. Otherwise every loglet of the
    /// journal is affected (P10).
    pub table_survived: bool,
    /// Records lost, as ranges; complete when the table survived.
    pub holes: Vec<(LogletId, Offset, Offset)>,
    /// Cells whose newest value was in the damaged bytes. The loglets they belong to are affected as if the table were lost.
    pub cells_lost: Vec<CellKey>,
}

/// Asks for the records `[from, to)` of a loglet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// Returned with the outcome.
    pub id: u64,
    /// The loglet.
    pub loglet: LogletId,
    /// First offset wanted.
    pub from: Offset,
    /// One past the last wanted.
    pub to: Offset,
    /// Bound on table and payloads of the answer; one record is returned even when it is larger.
    pub bytes_max: u32,
}

/// The answer to a read. Every answer is about a prefix of what was asked; the caller goes on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Records from the first offset asked for.
    Records {
        /// The first record's offset.
        first: Offset,
        /// At least one. Give the memory back with `recycle`.
        records: BatchBuilder,
    },
    /// Nothing durable is stored here for `[from, to)`.
    Missing {
        /// The first offset asked for.
        from: Offset,
        /// Up to where there is nothing.
        to: Offset,
    },
    /// `[from, to)` was stored here but fails its checksum or cannot be read.
    Damaged {
        /// The first offset asked for.
        from: Offset,
        /// Up to where it is damaged.
        to: Offset,
    },
}

/// Plain counts since the start; gauges say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Durable units with entries of the caller.
    pub units: u64,
    /// Bytes of all durable units, padding included.
    pub unit_bytes: u64,
    /// Entries in durable units.
    pub entries: u64,
    /// Empty claiming units submitted.
    pub claims: u64,
    /// Units of heads submitted.
    pub head_units: u64,
    /// Index blocks written.
    pub index_blocks: u64,
    /// Closed segments without index block because it did not fit; the next start scans them.
    pub index_overflows: u64,
    /// Segments prepared.
    pub segments_prepared: u64,
    /// Attempts to prepare a segment that failed.
    pub prepare_failures: u64,
    /// Files freed for another use.
    pub segments_recycled: u64,
    /// Gauge: segments that hold live data, the current one included.
    pub segments_in_use: u64,
    /// Writes refused because no prepared segment was left.
    pub ran_out_of_prepared: u64,
    /// Reads asked for.
    pub reads: u64,
    /// Reads answered from memory alone.
    pub reads_from_memory: u64,
    /// Bytes read from disk for reads.
    pub read_bytes: u64,
    /// Reads that met damage.
    pub reads_damaged: u64,
}

/// What the journal has done for one loglet since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Work {
    /// Entries with its records that were taken in.
    pub entries: u64,
    /// Bytes of these records, with their tables.
    pub entry_bytes: u64,
    /// Reads of its records that were answered.
    pub reads: u64,
    /// Bytes of records, with their tables, in these answers.
    pub read_bytes: u64,
}
