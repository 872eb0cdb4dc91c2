//! The device that a node's journals are on, for a node that has one.

use std::path::PathBuf;
use std::sync::Arc;

use super::data_dir::DataDirError;
use crate::base::{ClusterId, DeviceId, Limits, NodeId};
use crate::io::device::{Binding, Device, DeviceError, DeviceReason, Superblock, Volume};
use crate::storage::ANCHOR_FILE;

/// What stays in the directory of a journal on a device.
const BESIDE: &[&str] = &[ANCHOR_FILE];

/// A block device for the journals of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOptions {
    /// The device, by any of its names.
    pub path: PathBuf,
    /// Whether what it carries may be lost when a new node is made on it. A node that is there already loses nothing.
    pub destroy: bool,
}

/// A device, claimed for this process, and how it is divided.
#[derive(Debug)]
pub(super) struct NodeDevice {
    device: Arc<Device>,
    superblock: Superblock,
}

/// The fewest segments of a journal: those kept ready, and some to write to.
fn slots_min(limits: &Limits) -> u32 {
    limits.segments_prepared.saturating_add(3)
}

impl NodeDevice {
    /// Finds out how a device would serve a new node. Nothing is changed.
    pub(super) fn plan(
        options: &DeviceOptions,
        (cluster, node, shards): (ClusterId, NodeId, usize),
        limits: &Limits,
        allow_volatile: bool,
    ) -> Result<Self, DeviceError> {
        let device = Device::claim(&options.path, allow_volatile)?;
        let binding = Binding { cluster, node, device: DeviceId::random(), shards: shards as u32 };
        let superblock = device.plan(&binding, limits.segment_bytes, slots_min(limits), options.destroy)?;
        if (Limits { segments_max: superblock.slots_per_shard, ..limits.clone() }).check().is_err() {
            return Err(device.error(DeviceReason::TooManySlots { slots: superblock.slots_per_shard.into() }));
        }
        Ok(Self { device, superblock })
    }

    /// Formats it as it was planned.
    pub(super) fn format(&self) -> Result<(), DeviceError> {
        self.device.format(&self.superblock)
    }

    /// Opens the device that a node has.
    pub(super) fn open(options: &DeviceOptions, binding: &Binding, allow_volatile: bool) -> Result<Self, DeviceError> {
        let device = Device::claim(&options.path, allow_volatile)?;
        let superblock = device.recognise(binding)?;
        Ok(Self { device, superblock })
    }

    /// Bounds that the device sets: a journal has as many segments as slots.
    pub(super) fn bound(&self, limits: &mut Limits) -> Result<(), DeviceError> {
        let Superblock { slot_bytes, slots_per_shard, .. } = self.superblock;
        if limits.segment_bytes > slot_bytes {
            let segment_bytes = limits.segment_bytes;
            return Err(self.device.error(DeviceReason::SegmentsTooLarge { slot_bytes, segment_bytes }));
        }
        if limits.segment_bytes < slot_bytes {
            let segment_bytes = limits.segment_bytes;
            tracing::warn!(slot_bytes, segment_bytes, "new segments leave a part of their slots unused");
        }
        if slots_per_shard < slots_min(limits) {
            let Superblock { device_bytes: bytes, shards, .. } = self.superblock;
            let (slots_min, segment_bytes) = (slots_min(limits), slot_bytes);
            let needed = self.superblock.bytes_for(slots_min);
            return Err(self.device.error(DeviceReason::TooSmall { bytes, needed, shards, slots_min, segment_bytes }));
        }
        limits.segments_max = slots_per_shard;
        Ok(())
    }

    /// Whether there is room for so many bytes of segments.
    pub(super) fn check_prepared(&self, wanted: u64, segment_bytes: u64) -> Result<(), DeviceError> {
        let slots = u64::from(self.superblock.slots_per_shard) * u64::from(self.superblock.shards);
        let room = slots * segment_bytes;
        if wanted > room {
            return Err(self.device.error(DeviceReason::NoSpace { wanted, room }));
        }
        Ok(())
    }

    pub(super) fn id(&self) -> DeviceId {
        self.superblock.device
    }

    pub(super) fn block_bytes(&self) -> u32 {
        self.device.block_bytes()
    }

    pub(super) fn is_volatile(&self) -> bool {
        self.device.is_volatile()
    }

    /// The slots of one journal.
    pub(super) fn volume(&self, shard: usize, directory: PathBuf) -> Result<Volume, DataDirError> {
        Ok(self.device.volume(&self.superblock, shard as u32, directory, BESIDE)?)
    }
}
