//! Whose device it is and how it is divided: one block at its start, and a copy of it a mebibyte before its end.

use std::io;

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::blocks::Blocks;
use crate::base::checksum::crc64;
use crate::base::{Buf, ClusterId, DeviceId, NodeId};

/// The ends of a device in which everybody who uses one leaves a mark; the table and the slots lie between them.
pub(super) const END_BYTES: u64 = 1 << 20;
const SUPERBLOCK_BYTES: usize = 128;
/// No journal writes in larger ones.
const BLOCK_BYTES_MAX: u64 = 64 << 10;
const MAGIC: [u8; 8] = *b"NAXOSDEV";
const VERSION: u16 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct SuperblockBytes {
    magic: [u8; 8],
    version: U16,
    reserved: U16,
    block_bytes: U32,
    cluster: U128,
    node: U128,
    device: U128,
    device_bytes: U64,
    slot_bytes: U64,
    shards: U32,
    slots_per_shard: U32,
    table: U64,
    slots: U64,
    reserved_too: [U64; 2],
    checksum: U64,
}

const _: () = assert!(size_of::<SuperblockBytes>() == SUPERBLOCK_BYTES);

/// What a formatted device says about itself. It never changes until the device is formatted anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// The cluster of the node.
    pub cluster: ClusterId,
    /// The node whose journals are here.
    pub node: NodeId,
    /// Drawn when it was formatted.
    pub device: DeviceId,
    /// Its size then.
    pub device_bytes: u64,
    /// The unit of writes to it.
    pub block_bytes: u32,
    /// Bytes of one slot.
    pub slot_bytes: u64,
    /// The journals that share it.
    pub shards: u32,
    /// Slots of each of them, one after the other.
    pub slots_per_shard: u32,
    /// Where the table of slots begins: two blocks for each.
    pub(super) table: u64,
    /// Where the slots begin.
    pub(super) slots: u64,
}

/// Why a block is no superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotOne {
    /// It is something else, or torn.
    Invalid,
    /// It is one of another format.
    Version(u16),
}

impl Superblock {
    /// How a device of `device_bytes` is divided when it is `like` this one in all but its geometry; the number of slots may be
    /// anything, also none.
    pub(super) fn divide(like: Self) -> Self {
        let block = u64::from(like.block_bytes);
        let device_bytes = like.device_bytes / block * block;
        let slot_bytes = like.slot_bytes.next_multiple_of(block);
        let room = device_bytes.saturating_sub(3 * END_BYTES);
        let slots = room / (slot_bytes + 2 * block) / u64::from(like.shards);
        // Slots are numbered in 32 bits.
        let slots_per_shard = u32::try_from(slots).unwrap_or(u32::MAX).min(u32::MAX / like.shards);
        let mut divided = Self { device_bytes, slot_bytes, slots_per_shard, table: END_BYTES, ..like };
        divided.slots = (divided.table + divided.table_bytes()).next_multiple_of(END_BYTES);
        divided
    }

    /// Bytes of the smallest device that gives each shard so many slots.
    pub fn bytes_for(&self, slots_per_shard: u32) -> u64 {
        let each = self.slot_bytes.saturating_add(2 * u64::from(self.block_bytes));
        each.saturating_mul(u64::from(self.shards))
            .saturating_mul(u64::from(slots_per_shard))
            .saturating_add(3 * END_BYTES)
    }

    /// All slots.
    pub(super) fn slots_total(&self) -> u64 {
        u64::from(self.shards) * u64::from(self.slots_per_shard)
    }

    pub(super) fn table_bytes(&self) -> u64 {
        self.slots_total() * 2 * u64::from(self.block_bytes)
    }

    /// Where the copy `copy` of the entry of `slot` is.
    pub(super) fn entry_offset(&self, slot: u64, copy: u64) -> u64 {
        assert!(slot < self.slots_total() && copy < 2, "the table has two entries for each slot");
        self.table + (2 * slot + copy) * u64::from(self.block_bytes)
    }

    /// Where the slot is.
    pub(super) fn slot_offset(&self, slot: u64) -> u64 {
        assert!(slot < self.slots_total(), "there is such a slot");
        self.slots + slot * self.slot_bytes
    }

    /// Where the second copy is on a device of so many bytes.
    pub(super) fn copy_offset(device_bytes: u64, block_bytes: u32) -> u64 {
        let block = u64::from(block_bytes);
        (device_bytes / block * block).saturating_sub(END_BYTES)
    }

    fn to_bytes(self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = SuperblockBytes::new_zeroed();
        bytes.magic = MAGIC;
        bytes.version = VERSION.into();
        bytes.block_bytes = self.block_bytes.into();
        bytes.cluster = self.cluster.0.into();
        bytes.node = self.node.0.into();
        bytes.device = self.device.0.into();
        bytes.device_bytes = self.device_bytes.into();
        bytes.slot_bytes = self.slot_bytes.into();
        bytes.shards = self.shards.into();
        bytes.slots_per_shard = self.slots_per_shard.into();
        bytes.table = self.table.into();
        bytes.slots = self.slots.into();
        bytes.checksum = crc64(&bytes.as_bytes()[..SUPERBLOCK_BYTES - 8]).into();
        bytes.as_bytes().try_into().expect("the size is asserted")
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NotOne> {
        let (bytes, _) = SuperblockBytes::ref_from_prefix(bytes).map_err(|_| NotOne::Invalid)?;
        let checksum = crc64(&bytes.as_bytes()[..SUPERBLOCK_BYTES - 8]);
        if bytes.magic != MAGIC || checksum != bytes.checksum.get() {
            return Err(NotOne::Invalid);
        }
        if bytes.version.get() != VERSION {
            return Err(NotOne::Version(bytes.version.get()));
        }
        let superblock = Self {
            cluster: ClusterId(bytes.cluster.get()),
            node: NodeId(bytes.node.get()),
            device: DeviceId(bytes.device.get()),
            device_bytes: bytes.device_bytes.get(),
            block_bytes: bytes.block_bytes.get(),
            slot_bytes: bytes.slot_bytes.get(),
            shards: bytes.shards.get(),
            slots_per_shard: bytes.slots_per_shard.get(),
            table: bytes.table.get(),
            slots: bytes.slots.get(),
        };
        if superblock.is_sound() { Ok(superblock) } else { Err(NotOne::Invalid) }
    }

    /// Whether what it says fits together; the arithmetic on it relies on this.
    fn is_sound(&self) -> bool {
        let block = u64::from(self.block_bytes);
        let end = self.slots_total().checked_mul(self.slot_bytes).and_then(|bytes| bytes.checked_add(self.slots));
        self.block_bytes.is_power_of_two()
            && (512..=BLOCK_BYTES_MAX).contains(&block)
            && (1..=u64::from(u32::MAX)).contains(&self.slots_total())
            && self.slot_bytes.is_multiple_of(block)
            && self.table == END_BYTES
            && self.slots.is_multiple_of(block)
            && self.slots >= self.table + self.table_bytes()
            && end.is_some_and(|end| end <= self.device_bytes.saturating_sub(END_BYTES))
    }

    /// Reads one copy.
    pub(super) fn read(blocks: &impl Blocks, offset: u64, block_bytes: u32) -> io::Result<Result<Self, NotOne>> {
        let mut buf = Buf::zeroed(block_bytes as usize);
        buf.set_len(block_bytes as usize);
        blocks.read(offset, &mut buf)?;
        Ok(Self::parse(&buf))
    }

    /// Writes one copy and makes it durable.
    pub(super) fn write(&self, blocks: &impl Blocks, offset: u64) -> io::Result<()> {
        let mut buf = Buf::zeroed(self.block_bytes as usize);
        buf[..SUPERBLOCK_BYTES].copy_from_slice(&self.to_bytes());
        blocks.write(offset, &buf[..self.block_bytes as usize])?;
        blocks.flush()
    }
}
