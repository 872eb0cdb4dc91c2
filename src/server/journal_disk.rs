use crate::base::{CellKey, LogletId, Offset, Write};
use crate::proto::log_server::{Disk, ReadId, Refused};
use crate::storage::{Full, FullReason, Journal, ReadRequest};
use crate::wire::Batch;

/// The shard's journal as its LogServers see it.
pub(super) struct JournalDisk<'a>(pub(super) &'a mut Journal);

impl JournalDisk<'_> {
    fn refused(&self, full: Full) -> Refused {
        match full.reason {
            FullReason::Queue => Refused::Busy,
            // The next segment is on its way.
            FullReason::Space if self.0.may_grow() => Refused::Busy,
            FullReason::Space => Refused::Space,
            FullReason::Failed => Refused::Failed,
        }
    }
}

impl Disk for JournalDisk<'_> {
    fn write_records(&mut self, loglet: LogletId, first: Offset, batch: Batch<'_>) -> Result<Write, Refused> {
        self.0.write_records(loglet, first, batch).map_err(|full| self.refused(full))
    }

    fn write_repair(&mut self, loglet: LogletId, first: Offset, batch: Batch<'_>) -> Result<Write, Refused> {
        self.0.write_repair(loglet, first, batch).map_err(|full| self.refused(full))
    }

    fn has_space(&mut self) -> bool {
        let has_space = self.0.accepts_records();
        if !has_space {
            self.0.wish_for_space();
        }
        has_space
    }

    fn has_room_for_cells(&self) -> bool {
        self.0.has_room_for_cells()
    }

    fn write_cell(&mut self, key: CellKey, value: &[u8]) -> Result<Write, Refused> {
        self.0.write_cell(key, value).map_err(|full| self.refused(full))
    }

    fn remove_cell(&mut self, key: CellKey) -> Result<Write, Refused> {
        self.0.remove_cell(key).map_err(|full| self.refused(full))
    }

    fn trim(&mut self, loglet: LogletId, point: Offset) {
        self.0.trim(loglet, point);
    }

    fn remove(&mut self, loglet: LogletId) {
        self.0.remove(loglet);
    }

    fn read(&mut self, id: ReadId, loglet: LogletId, from: Offset, to: Offset, bytes_max: u32) {
        self.0.read(ReadRequest { id: id.0, loglet, from, to, bytes_max });
    }
}
