//! The answer, as plain data.

use serde::Serialize;

use crate::base::{LogletId, Offset};
use crate::node::NodeFacts;
use crate::storage::inspect::{Finding, JournalReport};
use crate::wire::LogletConfig;

/// Names the meaning of the fields of [`Report`]; another number follows when one of them changes its meaning or goes.
pub const SCHEMA: &str = "naxos-inspect-1";

/// Everything about one data directory.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The directory.
    pub directory: String,
    /// Whether a node was running on it: then what was seen was changing, and the ends of journals may look torn.
    pub live: bool,
    /// Whether nothing is damaged.
    pub intact: bool,
    /// The identity file's content, when it could be read.
    pub node: Option<NodeFacts>,
    /// Every journal that is there.
    pub journals: Vec<JournalReport>,
    /// Every loglet, as the node will see it when it starts.
    pub loglets: Vec<Loglet>,
    /// Every live cell.
    pub cells: Vec<Cell>,
    /// Damage and notices, the worst first.
    pub findings: Vec<Explained>,
}

/// A finding with its meaning.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// What was found, and where.
    #[serde(flatten)]
    pub finding: Finding,
    /// What it means for who runs the node.
    pub meaning: String,
}

/// One loglet on this node.
#[derive(Debug, Clone, Serialize)]
pub struct Loglet {
    /// The loglet.
    pub id: LogletId,
    /// The journal that holds it.
    pub journal: u32,
    /// Its configuration, unless a seal came before its creation or the cell is lost.
    pub config: Option<LogletConfig>,
    /// Whether the node will hold it as sealed; also when the node will seal it because of damage.
    pub sealed: bool,
    /// Whether the node will give no tail before it has copied from others (P10).
    pub catching_up: bool,
    /// The first offset that may still be read.
    pub trim_point: Offset,
    /// The local tail: one past the last record stored, or the trim point. The known tail is not kept on disk.
    pub local_tail: Offset,
    /// The first record stored.
    pub first_stored: Option<Offset>,
    /// Records stored, the trim point considered.
    pub records: u64,
    /// Ranges below the local tail that are not stored, as pairs of first and end.
    pub holes: Vec<(Offset, Offset)>,
}

/// One cell.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// The journal that holds it.
    pub journal: u32,
    /// Whom it is about.
    pub loglet: LogletId,
    /// The number of its kind.
    pub kind: u8,
    /// The name of its kind: `loglet`, `floor`, `table_lost`, or `other`.
    pub name: &'static str,
    /// Its size.
    pub bytes: usize,
    /// Its value, when that is text.
    pub value: Option<String>,
}
