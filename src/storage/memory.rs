//! What a journal may hold in memory.

use super::format::{index_capacity, index_region};
use super::index::Extent;
use super::unit::{entry_bytes, unit_bytes};
use super::windows::{WINDOW_BYTES, WINDOWS_MAX};
use super::{reader, writer};
use crate::base::Limits;

/// Upper bounds of the memory of one journal, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBound {
    /// Units that fill, wait, are in flight, are kept for readers at the tail, or are kept for use.
    pub units: u64,
    /// The cells, in memory and in a head on its way to the disk.
    pub cells: u64,
    /// The places of records.
    pub index: u64,
    /// Reads under way, their answers, and memory kept for them.
    pub reads: u64,
}

impl MemoryBound {
    /// The bounds that follow from `limits`.
    pub fn of(limits: &Limits, block_bytes: u32) -> Self {
        let block = block_bytes as usize;
        let largest_unit = unit_bytes(entry_bytes(limits.frame_body_bytes_max as usize), block) as u64;
        let usual_unit = u64::from(limits.unit_bytes_max);
        // The one that fills, those that wait, those in flight, and twice as many of these in the cache. Of each, the table is
        // kept a second time, and is at most the whole.
        let units = u64::from(1 + limits.unit_queue_max + limits.unit_depth + 2 * limits.unit_depth);
        let units = units + writer::URGENT_DEPTH as u64;
        let units = 2 * (units * largest_unit + writer::SPARES_MAX as u64 * usual_unit);
        // A head, and so all cells, is at most a quarter of a segment.
        let cells = 2 * (limits.segment_bytes / 4);
        // A segment ends when its index block is nearly full. The queues of extents grow by doubling.
        let extents = index_capacity(index_region(limits.segment_bytes, block_bytes)) as u64;
        let index = 2 * u64::from(limits.segments_max) * extents * size_of::<Extent>() as u64;
        // One record or one read of the largest size, whichever is larger; it is gathered, then copied out.
        let answer = u64::from(limits.read_bytes_max.max(limits.frame_body_bytes_max));
        // A window is larger than usual when an extent, or a unit, is. As many are kept for use as there are.
        let window = WINDOW_BYTES.max(u64::from(limits.index_granularity_bytes)) + largest_unit;
        let disk = 2 * WINDOWS_MAX as u64 * window + 2 * reader::READS_MAX as u64 * answer;
        let answers = 2 * (u64::from(limits.reads_max) + reader::SPARES_MAX as u64) * answer;
        Self { units, cells, index, reads: disk + answers }
    }
}
