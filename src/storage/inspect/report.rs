//! The answer, as plain data. Field names are those of `naxos inspect --json`, which `docs/INSPECT.md` describes.

use serde::Serialize;

use crate::base::{CellKey, LogletId, Offset};

/// Everything about one journal.
#[derive(Debug, Clone, Serialize)]
pub struct JournalReport {
    /// Its number.
    pub journal: u32,
    /// What the next start will do.
    pub start: Start,
    /// Every segment file, in order of name.
    pub segments: Vec<Segment>,
    /// Units in live segments that count: those up to the accepted end.
    pub units: u64,
    /// Names of unfinished preparations; the next start removes them.
    pub unfinished: Vec<String>,
    /// Live cells, with their values.
    #[serde(skip)]
    pub cells: Vec<(CellKey, Vec<u8>)>,
    /// Records, by loglet.
    #[serde(skip)]
    pub loglets: Vec<LogletRecords>,
    /// What is wrong, or worth a notice.
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

/// What the next start will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Start {
    /// It accepts what there is up to an end, and names the damage.
    Accepts {
        /// The sequence of the last accepted unit; 0 when there is none.
        end_sequence: u64,
        /// The number of the life that it begins.
        next_life: u64,
    },
    /// It refuses.
    Refuses {
        /// The reason it gives.
        reason: String,
    },
    /// One of its assertions fails: checksums hold over contents that no journal has written.
    Aborts,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRole {
    /// It holds a segment that is needed.
    Live,
    /// Prepared, or used before, and free.
    Free,
    /// Free, and kept for the next life.
    Reserve,
    /// Of another node, another journal or another format, or the start refuses before it knows.
    Unknown,
}

/// What a segment's head is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadState {
    /// All there, to its end mark.
    Complete,
    /// Its end mark, or a part before it, is not there or damaged.
    Incomplete,
    /// The file was never used.
    None,
}

/// What a segment's index block is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexState {
    /// A start can use it.
    Intact,
    /// None was written for this use of the file; usual for the last segment of a life.
    Absent,
    /// One was written and is not whole.
    Damaged,
}

/// One segment file.
#[derive(Debug, Clone, Serialize)]
pub struct Segment {
    /// Its name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// What it is for.
    pub role: FileRole,
    /// The number of the segment that it holds, or held; none when it was never used.
    pub segment: Option<u64>,
    /// The life that wrote it.
    pub life: Option<u64>,
    /// The random number of this use of the file, in hexadecimal.
    pub generation: Option<String>,
    /// Whether its beginning repeats all cells.
    pub head: HeadState,
    /// Whether its end lists its records.
    pub index: IndexState,
    /// Sequence of its first unit.
    pub first_sequence: Option<u64>,
    /// Sequence of its last unit that counts.
    pub last_sequence: Option<u64>,
    /// Units of this use, also those that do not count.
    pub units: u64,
    /// Bytes up to the end of the last unit that counts.
    pub used_bytes: u64,
    /// One row for each unit, when asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unit_rows: Vec<Unit>,
    /// Rows left out because there were too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub unit_rows_omitted: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Whether a unit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitState {
    /// It is part of the journal, and whole.
    Accepted,
    /// It is part of the journal, and its table or payload fails its checksum.
    Damaged,
    /// It lies behind the accepted end: never acknowledged, and never to come back.
    Discarded,
    /// Its segment is not needed any more.
    Unneeded,
}

/// One unit.
#[derive(Debug, Clone, Serialize)]
pub struct Unit {
    /// Its place in the journal's order.
    pub sequence: u64,
    /// The life that wrote it.
    pub life: u64,
    /// Where it begins in the file.
    pub position: u64,
    /// Its length, padding included.
    pub bytes: u32,
    /// The highest sequence that was durable when it was submitted.
    pub claim: u64,
    /// Entries in its table.
    pub entries: u32,
    /// Records in it.
    pub records: u64,
    /// Cells set or removed by it.
    pub cells: u32,
    /// Whether its table's checksum holds.
    pub table_holds: bool,
    /// Whether its payload's checksum holds.
    pub payload_holds: bool,
    /// Whether it names the unit before it, as far as that lies in the same file.
    pub linked: bool,
    /// Whether it counts.
    pub state: UnitState,
}

/// Which records of a loglet are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogletRecords {
    /// The loglet.
    pub id: LogletId,
    /// The ranges of offsets, ascending and merged.
    pub stored: Vec<(Offset, Offset)>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Usual, for instance after a crash.
    Notice,
    /// Something that was written is not there any more, or differs.
    Damage,
    /// The node will not start on this.
    Fatal,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Units behind the accepted end.
    TornTail,
    /// A damaged payload under an intact table; records, and no newest cell, are lost.
    RecordsDamaged,
    /// The newest value of a cell is lost.
    CellsLost,
    /// What a unit held cannot be told any more.
    TableLost,
    /// A segment that is needed is not there.
    SegmentMissing,
    /// The anchor, which names the newest segment, is gone or not whole.
    AnchorLost,
    /// Damage in a closed segment in parts that a start does not read.
    ClosedUnitDamaged,
    /// An index block is not whole.
    IndexDamaged,
    /// The first unit of a free file is not whole.
    FreeFileDamaged,
    /// Padding is not zero.
    Padding,
    /// A part of a file cannot be read.
    Unreadable,
    /// The start refuses.
    StartRefuses,
    /// The start runs into an assertion.
    StartAborts,
    /// A journal is not there (P13).
    JournalMissing,
    /// The identity file is not there, or not whole.
    IdentityDamaged,
    /// A copy of the superblock, or of an entry of the table of slots, of the journals' device is not whole.
    DeviceDamaged,
    /// A directory or file that the node knows nothing of.
    Unexpected,
}

/// A range of records of one loglet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RecordRange {
    /// The loglet.
    pub loglet: LogletId,
    /// The first record.
    pub first: Offset,
    /// One past the last.
    pub end: Offset,
}

/// Something found, and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub class: Class,
    /// How bad it is.
    pub severity: Severity,
    /// The journal's number, unless it is about the whole directory.
    pub journal: Option<u32>,
    /// The file, by its name in the journal's directory.
    pub file: Option<String>,
    /// The segment's number.
    pub segment: Option<u64>,
    /// Byte position in the file: of the unit, or where it should have been.
    pub position: Option<u64>,
    /// The unit's sequence, as far as it can be told.
    pub sequence: Option<u64>,
    /// Whether the next start finds it as well.
    pub seen_by_start: bool,
    /// Records concerned.
    pub records: Vec<RecordRange>,
    /// Cells concerned.
    pub cells: Vec<CellKey>,
    /// What was seen.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(class: Class, severity: Severity, detail: impl Into<String>) -> Self {
        Self {
            class,
            severity,
            journal: None,
            file: None,
            segment: None,
            position: None,
            sequence: None,
            seen_by_start: true,
            records: Vec::new(),
            cells: Vec::new(),
            detail: detail.into(),
        }
    }
}
