use crate::base::{CellKey, LogletId, Offset, Write};
use crate::wire::Batch;

/// Names one read of the journal, from the request to its completion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReadId(pub u64);

/// Why the journal does not take a write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refused {
    /// The queue before the disk is full; it will move.
    #[error("the journal is busy")]
    Busy,
    /// No space is left for this kind of write, and none is being made.
    #[error("no space is left in the journal")]
    Space,
    /// The journal is poisoned for good.
    #[error("the journal has failed")]
    Failed,
}

/// The journal as the LogServers see it. Writes become durable in the order in which they were taken: the returned [`Write`]s
/// never decrease, and what is durable is told by [`LogServer::handle_durable`](super::LogServer::handle_durable).
pub trait Disk {
    /// Takes a batch of records.
    ///
    /// # Errors
    /// Nothing was taken.
    fn write_records(&mut self, loglet: LogletId, first: Offset, batch: Batch<'_>) -> Result<Write, Refused>;

    /// Takes a repair's copy of records, which may use space that other records leave for it.
    ///
    /// # Errors
    /// Nothing was taken.
    fn write_repair(&mut self, loglet: LogletId, first: Offset, batch: Batch<'_>) -> Result<Write, Refused>;

    /// Whether there is space for records of any size. Being asked while there is none counts as a wish for more.
    fn has_space(&mut self) -> bool;

    /// Whether the cells of one more loglet have room, and leave as much for the later values of all: else a seal or a trim could be
    /// refused for ever.
    fn has_room_for_cells(&self) -> bool {
        true
    }

    /// Takes a new value of a cell.
    ///
    /// # Errors
    /// Nothing was taken.
    fn write_cell(&mut self, key: CellKey, value: &[u8]) -> Result<Write, Refused>;

    /// Takes the removal of a cell.
    ///
    /// # Errors
    /// Nothing was taken.
    fn remove_cell(&mut self, key: CellKey) -> Result<Write, Refused>;

    /// Everything of the loglet below `point` may be dropped. Called only when the trim point is durable (P3).
    fn trim(&mut self, loglet: LogletId, point: Offset);

    /// Everything of the loglet may be dropped. Called only when its deletion is durable (P5).
    fn remove(&mut self, loglet: LogletId);

    /// Starts to read `from..to`, or the beginning of it: about `bytes_max` bytes, at least one record. The completion comes by
    /// [`LogServer::handle_read`](super::LogServer::handle_read), never from inside this call.
    fn read(&mut self, id: ReadId, loglet: LogletId, from: Offset, to: Offset, bytes_max: u32);
}

/// The completion of [`Disk::read`].
#[derive(Clone, Copy, Hash, Debug)]
pub enum ReadOutcome<'a> {
    /// Records from the first offset asked for, none at or beyond the end asked for.
    Records {
        /// The first offset asked for.
        first: Offset,
        /// The records, in the read's memory.
        batch: Batch<'a>,
    },
    /// The journal has no such records.
    Missing {
        /// First offset that is missing.
        from: Offset,
        /// First offset that may be there again.
        to: Offset,
    },
    /// The records are there and their checksums do not match.
    Damaged {
        /// First offset that is damaged.
        from: Offset,
        /// First offset that may be whole again.
        to: Offset,
    },
}

/// What the journal holds of one loglet after a restart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RecoveredLoglet {
    /// The loglet.
    pub id: LogletId,
    /// The ranges of offsets that are stored, ascending and merged.
    pub stored: Vec<(Offset, Offset)>,
}
