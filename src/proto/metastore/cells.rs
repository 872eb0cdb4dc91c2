use crate::base::{CellKey, Write};
use crate::proto::log_server::{Disk, Refused};

/// Where an acceptor keeps its cells: the journal of the LogServers beside it. Writes become durable in the order in which they were
/// taken, and what is durable is told by [`Acceptor::handle_durable`](super::Acceptor::handle_durable).
pub trait Cells {
    /// Takes a new value of a cell.
    ///
    /// # Errors
    /// Nothing was taken.
    fn write_cell(&mut self, key: CellKey, value: &[u8]) -> Result<Write, Refused>;
}

impl<D: Disk> Cells for D {
    fn write_cell(&mut self, key: CellKey, value: &[u8]) -> Result<Write, Refused> {
        Disk::write_cell(self, key, value)
    }
}
