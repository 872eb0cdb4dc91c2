//! The history of a world, as a running checksum.

use crate::base::Instant;
use crate::base::checksum::{crc32c, crc64};

/// What has happened in a world so far: what was submitted and what completed. Two runs with equal traces have had the same
/// events with the same contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trace {
    /// How many events there were.
    pub events: u64,
    /// A checksum over all of them in order: time, place, kind, token, size and checksum of the contents.
    pub hash: u64,
}

/// One event of a trace.
pub(super) struct Record<'a> {
    pub(super) at: Instant,
    pub(super) place: u64,
    pub(super) kind: u8,
    pub(super) token: u64,
    pub(super) size: u64,
    pub(super) contents: &'a [u8],
}

impl Trace {
    pub(super) fn add(&mut self, record: &Record<'_>) {
        let mut bytes = [0; 45];
        let fields = [self.hash, record.at.as_nanos(), record.place, record.token, record.size];
        for (slot, field) in bytes.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes[40..44].copy_from_slice(&crc32c(record.contents).to_le_bytes());
        bytes[44] = record.kind;
        self.hash = crc64(&bytes);
        self.events += 1;
    }
}
