//! The slots of one journal: which file is in which.
//!
//! Every change is one write of one entry, into the copy that is not in force. Until it is durable the other copy counts, so a
//! change either has happened or has not.

use std::collections::BTreeMap;
use std::io;

use super::blocks::{Blocks, PIECE_BYTES, read_range, write_zeros};
use super::part::Part;
use super::slot::{Entry, Held, NAME_BYTES_MAX};
use super::superblock::Superblock;
use crate::base::Buf;

/// The entries of a slot when the device was formatted: free, copy by copy.
pub(super) const BIRTH_COUNT: u64 = 1;

/// The slots of one journal.
pub(super) struct Slots<B> {
    pub(super) blocks: B,
    superblock: Superblock,
    /// Number of the first of them on the device.
    first: u64,
    entries: Vec<Entry>,
    /// Which slot has which name.
    names: BTreeMap<String, usize>,
}

/// An entry of which some copies are not whole.
pub(super) struct Damaged {
    /// Which of the journal's.
    pub(super) index: usize,
    copies: usize,
}

impl<B: Blocks> Slots<B> {
    /// Reads the table of the journal of `shard`, and mends what is damaged in it.
    pub(super) fn mount(blocks: B, superblock: Superblock, shard: u32) -> io::Result<Self> {
        let (mut slots, damaged) = Self::read(blocks, superblock, shard);
        for Damaged { index, copies } in damaged {
            let (slot, name) = (slots.first + index as u64, &slots.entries[index].held.as_ref().expect("in use").name);
            tracing::warn!(slot, name, "an entry of the table of slots was torn or damaged; it is written anew");
            // The whole copy, if there is one, stays until the other is durable.
            for _ in 0..copies {
                let held = slots.entries[index].held.clone();
                slots.set(index, held)?;
            }
        }
        Ok(slots)
    }

    /// Reads the table, and says which entries have copies that are not whole.
    ///
    /// Such a slot was being changed when a crash came, or has rotted. It may hold a live segment either way, so it counts as in use:
    /// under its name if a whole copy has one, else under a name made of its number. What is in it is for the journal to say,
    /// to which names mean nothing.
    pub(super) fn read(blocks: B, superblock: Superblock, shard: u32) -> (Self, Vec<Damaged>) {
        assert!(shard < superblock.shards, "the device has no such journal");
        let first = u64::from(shard) * u64::from(superblock.slots_per_shard);
        let mut slots = Self { blocks, superblock, first, entries: Vec::new(), names: BTreeMap::new() };
        let mut damaged = Vec::new();
        let block = superblock.block_bytes as usize;
        let entries = PIECE_BYTES / (2 * block);
        for from in (0..superblock.slots_per_shard as usize).step_by(entries) {
            let entries = entries.min(superblock.slots_per_shard as usize - from);
            let offset = superblock.entry_offset(first + from as u64, 0);
            let piece = read_what_can_be(&slots.blocks, offset, entries * 2 * block, block);
            for copies in piece.chunks(2 * block) {
                if let Some(one) = slots.take_in(copies) {
                    damaged.push(one);
                }
            }
        }
        (slots, damaged)
    }

    /// Takes in the next entry, both copies of it, and says whether they are whole.
    fn take_in(&mut self, copies: &[u8]) -> Option<Damaged> {
        let Superblock { device, slot_bytes, .. } = self.superblock;
        let index = self.entries.len();
        let slot = (self.first + index as u64) as u32;
        let copies = copies.chunks(self.superblock.block_bytes as usize).enumerate();
        let whole = copies.filter_map(|(copy, bytes)| Entry::parse(bytes, device, slot, copy as u64, slot_bytes));
        let whole: Vec<Entry> = whole.collect();
        let lost = 2 - whole.len();
        let entry = self.judge(slot, whole);
        if let Some(held) = &entry.held {
            self.names.insert(held.name.clone(), index);
        }
        self.entries.push(entry);
        (lost > 0).then_some(Damaged { index, copies: lost })
    }

    /// What counts, of the copies of an entry that are whole.
    fn judge(&self, slot: u32, copies: Vec<Entry>) -> Entry {
        let is_whole = copies.len() == 2;
        let newest = copies.into_iter().max_by_key(|entry| entry.count);
        let mut entry = newest.unwrap_or(Entry { count: BIRTH_COUNT, held: None });
        let is_taken = entry.held.as_ref().is_some_and(|held| self.find(&held.name).is_some());
        if is_taken || (!is_whole && entry.held.is_none()) {
            entry.held = Some(Held { name: format!("{slot:016x}.seg"), bytes: self.superblock.slot_bytes });
        }
        entry
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Makes a change durable, or fails and leaves what was.
    fn set(&mut self, index: usize, held: Option<Held>) -> io::Result<()> {
        let slot = self.first + index as u64;
        let entry = Entry { count: self.entries[index].count + 1, held };
        let mut buf = Buf::zeroed(self.superblock.block_bytes as usize);
        let bytes = entry.to_bytes(self.superblock.device, slot as u32);
        buf[..bytes.len()].copy_from_slice(&bytes);
        let offset = self.superblock.entry_offset(slot, entry.count % 2);
        self.blocks.write(offset, &buf[..self.superblock.block_bytes as usize])?;
        self.blocks.flush()?;
        if let Some(before) = &self.entries[index].held {
            self.names.remove(&before.name);
        }
        if let Some(held) = &entry.held {
            self.names.insert(held.name.clone(), index);
        }
        self.entries[index] = entry;
        Ok(())
    }

    fn part(&self, index: usize) -> Part {
        let held = self.entries[index].held.as_ref().expect("a file is in it");
        Part { offset: self.superblock.slot_offset(self.first + index as u64), bytes: held.bytes }
    }

    /// The names and sizes of all files, in no order.
    pub(super) fn list(&self) -> impl Iterator<Item = (String, u64)> {
        self.entries.iter().filter_map(|entry| entry.held.as_ref()).map(|held| (held.name.clone(), held.bytes))
    }

    /// Where a file is.
    pub(super) fn open(&self, name: &str) -> io::Result<Part> {
        let index = self.find(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.part(index))
    }

    /// Makes a file of zeros in the first free slot. The zeros are durable before the slot has its name: were they not, a crash
    /// would leave the beginning of what was in it before.
    pub(super) fn prepare(&mut self, name: &str, bytes: u64) -> io::Result<Part> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !bytes.is_multiple_of(self.superblock.block_bytes.into()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if bytes > self.superblock.slot_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.find(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let free = self.entries.iter().position(|entry| entry.held.is_none());
        let index = free.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSPC))?;
        write_zeros(&self.blocks, self.superblock.slot_offset(self.first + index as u64), bytes)?;
        self.blocks.flush()?;
        self.set(index, Some(Held { name: name.to_owned(), bytes }))?;
        Ok(self.part(index))
    }

    /// Frees the slot of a file.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        let index = self.find(name).ok_or(io::ErrorKind::NotFound)?;
        self.set(index, None)
    }
}

/// Reads a range; blocks that the disk cannot read are zeros, which are no entries.
fn read_what_can_be(blocks: &impl Blocks, offset: u64, bytes: usize, block: usize) -> Vec<u8> {
    let one = |at| read_range(blocks, at, block as u64).unwrap_or_else(|_| vec![0; block]);
    read_range(blocks, offset, bytes as u64)
        .unwrap_or_else(|_| (offset..offset + bytes as u64).step_by(block).flat_map(one).collect())
}
