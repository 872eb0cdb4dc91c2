//! The last durable units, still in memory, so that readers at the tail need no disk.

use std::collections::VecDeque;

use super::unit::{UnitBuilder, UnitView};
use crate::base::{LogletId, Offset};

/// A bounded queue of durable units, oldest first.
pub(super) struct Cache {
    units: VecDeque<UnitBuilder>,
    units_max: usize,
}

impl Cache {
    pub(super) fn new(units_max: usize) -> Self {
        Self { units: VecDeque::with_capacity(units_max + 1), units_max }
    }

    /// Takes in a durable unit; what falls out is free for its next use.
    pub(super) fn put(&mut self, unit: UnitBuilder) -> Option<UnitBuilder> {
        self.units.push_back(unit);
        if self.units.len() > self.units_max { self.units.pop_front() } else { None }
    }

    /// The newest unit with a record at `offset`.
    pub(super) fn find(&self, loglet: LogletId, offset: Offset) -> Option<UnitView<'_>> {
        let holds =
            |unit: &&UnitBuilder| unit.entries().iter().any(|entry| super::reader::holds(entry, loglet, offset));
        let unit = self.units.iter().rev().find(holds)?;
        let bytes = unit.sealed_bytes();
        let header = super::format::Header::read(bytes).expect("sealed by this journal and held in memory since");
        Some(UnitView::of(bytes, header))
    }
}
