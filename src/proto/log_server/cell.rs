use serde::{Deserialize, Serialize};

use super::Disk;
use super::loglet::{Fate, Loglet};
use super::shared::{Shared, What};
use crate::base::{CellKey, LogletId, Offset};
use crate::wire::LogletConfig;

/// The kind of the cell that holds a loglet's state.
pub const LOGLET_CELL: u8 = 1;
/// The kind of the cell that holds, for a whole log, the chain version up to which loglets have been deleted (P5). Its key has
/// version and nonce 0.
pub const FLOOR_CELL: u8 = 2;
/// The kind of the cell that says that this journal has lost entries it cannot name (P10). Its key is all zero.
pub const TABLE_LOST_CELL: u8 = 3;

/// A loglet's durable state, as JSON in its cell.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogletCell {
    /// None where a seal came before the creation.
    pub(super) config: Option<LogletConfig>,
    pub(super) sealed: bool,
    pub(super) trim_point: Offset,
    /// The loglet lost records that nobody can name; it tells no tail before it has copied from others (P10).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) catching_up: bool,
}

/// A log's floor, as JSON in its cell.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FloorCell {
    /// The highest chain version on which a loglet of the log has been deleted here.
    pub(super) version: u64,
    /// The loglets that this version names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) live: Vec<LogletId>,
}

/// What one write of a loglet's cell makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Image {
    pub(super) sealed: bool,
    pub(super) trim_point: Offset,
    pub(super) config: bool,
    pub(super) catching_up: bool,
}

/// How far the cell has come on its way to the disk. One write is in flight at most; changes meanwhile make one more.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct CellState {
    /// The cell in memory is newer than the last one written.
    dirty: bool,
    in_flight: bool,
    /// The journal has taken the cell at least once, so every record it takes from now on is durable later than the cell.
    pub(super) written: bool,
    pub(super) config_durable: bool,
}

impl CellState {
    /// The state after a restart that found the cell.
    pub(super) fn recovered(config: bool) -> Self {
        Self { dirty: false, in_flight: false, written: true, config_durable: config }
    }
}

/// The key of a loglet's cell.
pub(super) fn loglet_key(loglet: LogletId) -> CellKey {
    CellKey { loglet, kind: LOGLET_CELL }
}

/// The key of a log's floor.
pub(super) fn floor_key(log: u64) -> CellKey {
    CellKey { loglet: LogletId { log, version: 0, nonce: 0 }, kind: FLOOR_CELL }
}

impl Loglet {
    /// The loglet's durable state changes: writes the cell, now or as soon as the journal takes it.
    pub(super) fn write_cell(&mut self, shared: &mut Shared, disk: &mut impl Disk) {
        self.cell.dirty = true;
        self.flush_cell(shared, disk);
    }

    /// Writes the cell if it has changed since it was written.
    pub(super) fn flush_cell(&mut self, shared: &mut Shared, disk: &mut impl Disk) {
        if !self.cell.dirty || self.cell.in_flight || self.deleting || shared.failed {
            return;
        }
        let catching_up = self.catch_up.as_ref().is_some_and(|catch_up| !catch_up.finished);
        let sealed = self.fate != Fate::Open;
        let cell = LogletCell { config: self.config.clone(), sealed, trim_point: self.trim_wanted, catching_up };
        let image = Image { sealed, trim_point: self.trim_wanted, config: self.config.is_some(), catching_up };
        let json = serde_json::to_vec(&cell).expect("a cell is always serialisable");
        match disk.write_cell(loglet_key(self.id), &json) {
            Ok(write) => {
                self.cell.dirty = false;
                self.cell.in_flight = true;
                self.cell.written = true;
                shared.taken(write, self.id, What::Cell(image));
            }
            Err(refused) => shared.refused(self.id, refused),
        }
    }

    /// A write of the cell is durable: what it says is true from now on, also after a restart.
    pub(super) fn cell_durable(&mut self, image: Image, shared: &mut Shared, disk: &mut impl Disk) {
        assert!(self.cell.in_flight, "one write of the cell was in flight");
        assert!(!image.sealed || self.fate != Fate::Open, "a seal is never taken back");
        self.cell.in_flight = false;
        self.cell.config_durable |= image.config;
        if image.sealed {
            self.fate = Fate::Sealed;
        }
        if image.trim_point > self.trim_point {
            self.trim_durable(image.trim_point, shared, disk);
        }
        if !image.catching_up && self.catch_up.as_ref().is_some_and(|catch_up| catch_up.finished) {
            self.catch_up = None;
        }
        self.flush_cell(shared, disk);
        self.settle(shared, disk);
    }
}
