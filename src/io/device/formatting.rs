//! Making a device that of a node, and knowing it again.

use std::path::PathBuf;
use std::sync::Arc;

use super::blocks::{Blocks, PIECE_BYTES, read_range, write_zeros};
use super::claim::Device;
use super::error::{DeviceError, DeviceReason};
use super::signature;
use super::slot::Entry;
use super::slots::{BIRTH_COUNT, Slots};
use super::superblock::{END_BYTES, NotOne, Superblock};
use super::volume::Volume;
use crate::base::{Buf, ClusterId, DeviceId, NodeId};

/// Whose device it is, or shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The device, by the name that was drawn for it.
    pub device: DeviceId,
    /// Journals of the node.
    pub shards: u32,
}

impl Device {
    /// How the device would be divided among the journals of a new node, which need `slots_min` segments each. Nothing is changed.
    ///
    /// # Errors
    /// It carries something, which is accepted with `destroy`, or is too small.
    pub fn plan(
        &self,
        binding: &Binding,
        segment_bytes: u64,
        slots_min: u32,
        destroy: bool,
    ) -> Result<Superblock, DeviceError> {
        let check = || if destroy { Ok(()) } else { check_free(self, self.block_bytes()) };
        check()
            .and_then(|()| plan(self.bytes(), self.block_bytes(), binding, segment_bytes, slots_min))
            .map_err(|reason| self.error(reason))
    }

    /// Makes it the device that was planned. What is on it is lost.
    ///
    /// # Errors
    /// A write has failed. Until all is written the device belongs to nobody, and can be formatted again.
    pub fn format(&self, superblock: &Superblock) -> Result<(), DeviceError> {
        format(self, superblock).map_err(|reason| self.error(reason))
    }

    /// Reads its superblock, and writes a damaged copy anew.
    ///
    /// # Errors
    /// It is another device than that of the node, or not as it was.
    pub fn recognise(&self, binding: &Binding) -> Result<Superblock, DeviceError> {
        recognise(self, self.block_bytes(), binding).map_err(|reason| self.error(reason))
    }

    /// The slots of one journal, in the place of the files of its directory, but for those `beside`.
    ///
    /// # Errors
    /// The table of slots cannot be mended.
    pub fn volume(
        self: &Arc<Self>,
        superblock: &Superblock,
        shard: u32,
        directory: PathBuf,
        beside: &'static [&'static str],
    ) -> Result<Volume, DeviceError> {
        let slots = Slots::mount(Arc::clone(self), *superblock, shard);
        let slots = slots.map_err(|error| self.error(DeviceReason::io("cannot mend its table of slots")(error)))?;
        Ok(Volume::new(slots, directory, beside))
    }
}

pub(super) fn plan(
    bytes: u64,
    block_bytes: u32,
    binding: &Binding,
    segment_bytes: u64,
    slots_min: u32,
) -> Result<Superblock, DeviceReason> {
    let &Binding { cluster, node, device, shards } = binding;
    let like = Superblock {
        cluster,
        node,
        device,
        device_bytes: bytes,
        block_bytes,
        slot_bytes: segment_bytes,
        shards,
        slots_per_shard: 0,
        table: 0,
        slots: 0,
    };
    let superblock = Superblock::divide(like);
    if superblock.slots_per_shard < slots_min.max(1) {
        let needed = superblock.bytes_for(slots_min.max(1));
        return Err(DeviceReason::TooSmall { bytes, needed, shards, slots_min, segment_bytes });
    }
    Ok(superblock)
}

/// Whether there is nothing on the device that somebody could miss: its ends are zeros, or it was formatted and no slot was ever
/// used, which is what a birth of a node leaves that was cut short.
pub(super) fn check_free(blocks: &impl Blocks, block_bytes: u32) -> Result<(), DeviceReason> {
    let found = Found::read(blocks, block_bytes);
    if let Some(superblock) = found.superblock() {
        let Superblock { node, cluster, .. } = superblock;
        let is_free = found.agree() && is_unused(blocks, &superblock)?;
        return if is_free { Ok(()) } else { Err(DeviceReason::CarriesNode { node, cluster }) };
    }
    if let Some(version) = found.version() {
        return Err(DeviceReason::Carries(format!("journals of a Naxos node in format version {version}")));
    }
    match describe(blocks)? {
        None => Ok(()),
        Some(content) => Err(DeviceReason::Carries(content)),
    }
}

/// What is at the ends of a device that has no superblock of ours; nothing when they are zeros.
fn describe(blocks: &impl Blocks) -> Result<Option<String>, DeviceReason> {
    let unit = 4096;
    let bytes = blocks.bytes() / unit * unit;
    let length = END_BYTES.min(bytes);
    let read = |offset| read_range(blocks, offset, length).map_err(DeviceReason::io("cannot read it"));
    let ends = [(0, read(0)?), (bytes - length, read(bytes - length)?)];
    if let Some(name) = signature::recognise(&ends[0].1, &ends[1].1) {
        return Ok(Some(name.to_owned()));
    }
    let first = ends.iter().find_map(|(offset, end)| Some(offset + end.iter().position(|&byte| byte != 0)? as u64));
    Ok(first.map(|at| format!("something unknown: byte {at} is not zero")))
}

fn is_unused(blocks: &impl Blocks, superblock: &Superblock) -> Result<bool, DeviceReason> {
    if superblock.device_bytes > blocks.bytes() {
        return Ok(false);
    }
    let block = u64::from(superblock.block_bytes);
    let mut offset = superblock.table;
    for slot in 0..superblock.slots_total() {
        let entries = read_range(blocks, offset, 2 * block).map_err(DeviceReason::io("cannot read it"))?;
        for (copy, bytes) in entries.chunks(block as usize).enumerate() {
            let entry = Entry::parse(bytes, superblock.device, slot as u32, copy as u64, superblock.slot_bytes);
            if entry.is_none_or(|entry| entry.count > BIRTH_COUNT || entry.held.is_some()) {
                return Ok(false);
            }
        }
        offset += 2 * block;
    }
    Ok(true)
}

/// The marks of whoever had the device go first, then the table is written where nobody looks, and the superblocks last: a device
/// with a superblock has a whole table.
pub(super) fn format(blocks: &impl Blocks, superblock: &Superblock) -> Result<(), DeviceReason> {
    let writing = || DeviceReason::io("cannot format it");
    let last = Superblock::copy_offset(superblock.device_bytes, superblock.block_bytes);
    for offset in [0, last] {
        write_zeros(blocks, offset, END_BYTES).map_err(writing())?;
    }
    blocks.flush().map_err(writing())?;
    let block = superblock.block_bytes as usize;
    let mut buf = Buf::zeroed(PIECE_BYTES);
    let per_piece = (PIECE_BYTES / (2 * block)) as u64;
    for first in (0..superblock.slots_total()).step_by(per_piece as usize) {
        let slots = per_piece.min(superblock.slots_total() - first);
        for at in 0..2 * slots {
            let (slot, count) = ((first + at / 2) as u32, at % 2);
            let entry = Entry { count, held: None }.to_bytes(superblock.device, slot);
            buf[at as usize * block..][..entry.len()].copy_from_slice(&entry);
        }
        let offset = superblock.entry_offset(first, 0);
        blocks.write(offset, &buf[..2 * slots as usize * block]).map_err(writing())?;
    }
    blocks.flush().map_err(writing())?;
    for offset in [last, 0] {
        superblock.write(blocks, offset).map_err(writing())?;
    }
    Ok(())
}

pub(super) fn recognise(blocks: &impl Blocks, block_bytes: u32, binding: &Binding) -> Result<Superblock, DeviceReason> {
    let (superblock, damaged) = judge(blocks, block_bytes, binding)?;
    for offset in damaged {
        tracing::warn!(offset, "a copy of the device's superblock was torn or damaged; it is written anew");
        superblock.write(blocks, offset).map_err(DeviceReason::io("cannot mend its superblock"))?;
    }
    Ok(superblock)
}

/// The superblock, if the device is the one wanted, and where copies of it are that are not whole.
pub(super) fn judge(
    blocks: &impl Blocks,
    block_bytes: u32,
    binding: &Binding,
) -> Result<(Superblock, Vec<u64>), DeviceReason> {
    let wanted = binding.device;
    let found = Found::read(blocks, block_bytes);
    let Some(superblock) = found.superblock() else {
        if let Some(version) = found.version() {
            return Err(DeviceReason::Version(version));
        }
        return match describe(blocks)? {
            None => Err(DeviceReason::NotThisOne { wanted, found: "a blank one".to_owned() }),
            Some(unknown) if unknown.starts_with("something unknown") => Err(DeviceReason::SuperblockLost),
            Some(content) => Err(DeviceReason::NotThisOne { wanted, found: format!("one with {content}") }),
        };
    };
    let Superblock { cluster, node, device, shards, .. } = superblock;
    if (Binding { cluster, node, device, shards }) != *binding {
        let found = format!("device {device} of node {node}, cluster {cluster}, with {shards} shards");
        return Err(DeviceReason::NotThisOne { wanted, found });
    }
    if blocks.bytes() < superblock.device_bytes {
        return Err(DeviceReason::Shrunk { bytes: blocks.bytes(), formatted: superblock.device_bytes });
    }
    if block_bytes > superblock.block_bytes {
        return Err(DeviceReason::LargerBlocks { block_bytes, formatted: superblock.block_bytes });
    }
    let damaged = found.copies.iter().filter(|(copy, _)| *copy != Ok(superblock)).map(|(_, offset)| *offset);
    Ok((superblock, damaged.collect()))
}

/// Both copies of a superblock, and where they are.
struct Found {
    copies: [(Result<Superblock, NotOne>, u64); 2],
}

impl Found {
    fn read(blocks: &impl Blocks, block_bytes: u32) -> Self {
        // A copy that the disk cannot read is a copy that is lost.
        let read = |offset| Superblock::read(blocks, offset, block_bytes).unwrap_or(Err(NotOne::Invalid));
        let first = read(0);
        // A device that has grown has its copy where its end was.
        let bytes = first.map_or(blocks.bytes(), |first| first.device_bytes.min(blocks.bytes()));
        let offset = Superblock::copy_offset(bytes, block_bytes);
        Self { copies: [(first, 0), (read(offset), offset)] }
    }

    fn superblock(&self) -> Option<Superblock> {
        self.copies.iter().find_map(|(copy, _)| copy.ok())
    }

    /// Whether whole copies say the same.
    fn agree(&self) -> bool {
        self.copies.iter().all(|(copy, _)| copy.is_err() || copy.ok() == self.superblock())
    }

    fn version(&self) -> Option<u16> {
        self.copies.iter().find_map(|(copy, _)| match copy {
            Err(NotOne::Version(version)) => Some(*version),
            _ => None,
        })
    }
}
