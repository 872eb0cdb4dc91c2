//! What a disk did during a load, from /proc/diskstats.

use std::fs;
use std::io;

use serde::Serialize;

use super::machine::BlockDevice;

/// The kernel counts sectors of 512 bytes, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// Counters of one block device: of its whole life when sampled, of an interval as a difference. Everything on the machine
/// that uses the device is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DeviceCounters {
    /// Completed flush requests.
    pub flushes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Completed write requests.
    pub writes: u64,
}

impl DeviceCounters {
    /// The counters now.
    ///
    /// # Errors
    /// /proc is not readable, or the kernel has no statistics for the device.
    pub fn sample(device: &BlockDevice) -> io::Result<Self> {
        let table = fs::read_to_string("/proc/diskstats")?;
        Self::parse(&table, &device.name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What has been added since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            flushes: self.flushes.saturating_sub(earlier.flushes),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            writes: self.writes.saturating_sub(earlier.writes),
        }
    }

    /// The line of one device; the fields are those of the kernel's `Documentation/admin-guide/iostats.rst`.
    fn parse(table: &str, name: &str) -> Option<Self> {
        let fields = table
            .lines()
            .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
            .find(|fields| fields.get(2) == Some(&name))?;
        // The documentation counts from 1 behind the name.
        let field = |number: usize| fields.get(2 + number)?.parse::<u64>().ok();
        Some(Self { writes: field(5)?, written_bytes: field(7)? * SECTOR_BYTES, flushes: field(16)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n \
        254       0 vda 20390 6276 6471938 21469 3827 23018 3704048 10463 0 5868 32324 4679 29 138424 386 170 5\n";

    #[test]
    fn the_documented_fields_are_taken() {
        let counters = DeviceCounters::parse(TABLE, "vda").unwrap();
        assert_eq!(counters, DeviceCounters { flushes: 170, written_bytes: 3_704_048 * 512, writes: 3827 });
        assert_eq!(DeviceCounters::parse(TABLE, "vdb"), None);
    }

    #[test]
    fn a_difference_never_wraps() {
        let (small, large) = (DeviceCounters::default(), DeviceCounters { flushes: 5, written_bytes: 7, writes: 9 });
        assert_eq!(large.since(small), large);
        assert_eq!(small.since(large), small);
    }
}
