//! The live cells, as of the last unit submitted: what the next head repeats.

use std::collections::BTreeMap;

use super::format::Entry;
use super::unit::entry_bytes;
use crate::base::CellKey;

/// Values by key, and how much of a head they take.
#[derive(Default)]
pub(super) struct Cells {
    values: BTreeMap<CellKey, Vec<u8>>,
    /// Bytes that `values` take as entries.
    live_bytes: u64,
    /// Bytes of cells written and not yet submitted; each of them may add to a later head.
    pending_bytes: u64,
}

impl Cells {
    pub(super) fn new(values: BTreeMap<CellKey, Vec<u8>>) -> Self {
        let live_bytes = values.values().map(|value| entry_bytes(value.len()) as u64).sum();
        Self { values, live_bytes, pending_bytes: 0 }
    }

    /// No head up to the last cell written takes more than this for its cells.
    pub(super) fn bytes_max(&self) -> u64 {
        self.live_bytes + self.pending_bytes
    }

    /// A cell has been put into a unit.
    pub(super) fn note_pending(&mut self, value: usize) {
        self.pending_bytes += entry_bytes(value) as u64;
    }

    /// The unit with this cell has been submitted.
    pub(super) fn submitted(&mut self, entry: &Entry, value: &[u8]) {
        self.pending_bytes -= entry_bytes(value.len()) as u64;
        self.live_bytes += entry_bytes(value.len()) as u64;
        if let Some(old) = self.values.insert(entry.cell_key(), value.to_vec()) {
            self.live_bytes -= entry_bytes(old.len()) as u64;
        }
    }

    /// The unit that removes this cell has been submitted.
    pub(super) fn removed(&mut self, entry: &Entry) {
        if let Some(old) = self.values.remove(&entry.cell_key()) {
            self.live_bytes -= entry_bytes(old.len()) as u64;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&CellKey, &Vec<u8>)> {
        self.values.iter()
    }
}
