//! The layout on a device in memory that forgets, tears and rots; and what is refused.

use std::cell::{Cell, RefCell};
use std::io;

use super::blocks::{Blocks, read_range};
use super::error::DeviceReason;
use super::formatting::{Binding, check_free, format, plan, recognise};
use super::part::Part;
use super::slots::Slots;
use super::superblock::{NotOne, Superblock};
use crate::base::{Buf, ClusterId, DeviceId, NodeId, Rng};

pub(super) const BLOCK: u32 = 4096;
const SECTOR: usize = 512;
pub(super) const SLOT: u64 = 64 << 10;
const BYTES: u64 = 6 << 20;

fn binding() -> Binding {
    Binding { cluster: ClusterId(1), node: NodeId(2), device: DeviceId(3), shards: 2 }
}

/// A device that keeps what was written since the last flush apart, and stops working when its time has come.
pub(super) struct Memory {
    stable: RefCell<Vec<u8>>,
    cached: RefCell<Vec<(u64, Vec<u8>)>>,
    /// Writes and flushes until the power fails.
    pub(super) left: Cell<usize>,
}

impl Memory {
    fn new() -> Self {
        Self { stable: RefCell::new(vec![0; BYTES as usize]), cached: RefCell::default(), left: Cell::new(usize::MAX) }
    }

    fn step(&self) -> io::Result<()> {
        let left = self.left.get().checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        self.left.set(left);
        Ok(())
    }

    /// The power comes back: of what was not flushed any sectors have landed, and some of them in part, which a disk does not do.
    /// Nothing of the device's own relies on that; the journal's units do.
    fn crash(&self, rng: &mut Rng) {
        self.lose_cache(rng, |rng, bytes| if rng.u8(0..8) == 0 { rng.usize(0..bytes) } else { bytes });
    }

    /// The power comes back: any sectors have landed. `landed` says how much of each.
    pub(super) fn lose_cache(&self, rng: &mut Rng, landed: impl Fn(&mut Rng, usize) -> usize) {
        for (offset, bytes) in self.cached.borrow_mut().drain(..) {
            for (sector, bytes) in bytes.chunks(SECTOR).enumerate() {
                if rng.bool() {
                    let at = offset as usize + sector * SECTOR;
                    let landed = landed(rng, bytes.len());
                    self.stable.borrow_mut()[at..at + landed].copy_from_slice(&bytes[..landed]);
                }
            }
        }
        self.left.set(usize::MAX);
    }

    fn rot(&self, offset: u64) {
        self.stable.borrow_mut()[offset as usize + 17] ^= 0x40;
    }
}

impl Blocks for Memory {
    fn bytes(&self) -> u64 {
        BYTES
    }

    fn read(&self, offset: u64, buf: &mut Buf) -> io::Result<()> {
        let (offset, bytes) = (offset as usize, buf.len());
        buf.copy_from_slice(&self.stable.borrow()[offset..offset + bytes]);
        for (at, cached) in self.cached.borrow().iter() {
            for (index, byte) in cached.iter().enumerate() {
                if let Some(place) = (*at as usize + index).checked_sub(offset).and_then(|place| buf.get_mut(place)) {
                    *place = *byte;
                }
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(offset.is_multiple_of(BLOCK.into()) && bytes.len().is_multiple_of(BLOCK as usize), "direct I/O");
        assert!(offset + bytes.len() as u64 <= BYTES, "beyond the end");
        // The write on which the power fails may land in part.
        self.cached.borrow_mut().push((offset, bytes.to_vec()));
        self.step()
    }

    fn flush(&self) -> io::Result<()> {
        self.step()?;
        for (offset, bytes) in self.cached.borrow_mut().drain(..) {
            self.stable.borrow_mut()[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}

fn planned() -> Superblock {
    plan(BYTES, BLOCK, &binding(), SLOT, 4).unwrap()
}

pub(super) fn formatted() -> Memory {
    let memory = Memory::new();
    check_free(&memory, BLOCK).unwrap();
    format(&memory, &planned()).unwrap();
    memory
}

fn names(slots: &Slots<&Memory>) -> Vec<(String, u64)> {
    let mut names: Vec<_> = slots.list().collect();
    names.sort();
    names
}

pub(super) fn mount(memory: &Memory, shard: u32) -> Slots<&Memory> {
    let superblock = recognise(memory, BLOCK, &binding()).unwrap();
    Slots::mount(memory, superblock, shard).unwrap()
}

impl Blocks for &Memory {
    fn bytes(&self) -> u64 {
        (**self).bytes()
    }

    fn read(&self, offset: u64, buf: &mut Buf) -> io::Result<()> {
        (**self).read(offset, buf)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write(offset, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        (**self).flush()
    }
}

/// Fills a part with something.
fn fill(memory: &Memory, part: Part, byte: u8) {
    let mut buf = Buf::zeroed(part.bytes as usize);
    buf.fill(byte);
    memory.write(part.offset, &buf).unwrap();
    memory.flush().unwrap();
}

fn content(memory: &Memory, part: Part) -> Vec<u8> {
    read_range(memory, part.offset, part.bytes).unwrap()
}

#[test]
fn journals_share_the_slots_out_and_none_overlap() {
    let memory = formatted();
    let superblock = planned();
    let mut parts = Vec::new();
    for shard in 0..2 {
        let mut slots = mount(&memory, shard);
        assert!(names(&slots).is_empty());
        for count in 0..superblock.slots_per_shard {
            parts.push(slots.prepare(&format!("{count}.seg"), SLOT).unwrap());
        }
        let error = slots.prepare("more.seg", SLOT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    parts.sort_by_key(|part| part.offset);
    assert!(parts.windows(2).all(|two| two[0].offset + two[0].bytes <= two[1].offset));
    let table_end = superblock.table + superblock.table_bytes();
    assert!(table_end <= parts[0].offset);
    assert!(parts.last().unwrap().offset + SLOT <= Superblock::copy_offset(BYTES, BLOCK));
    for (byte, part) in (1..).zip(&parts) {
        fill(&memory, *part, byte);
    }
    for shard in 0..2 {
        let slots = mount(&memory, shard);
        assert_eq!(slots.list().count(), superblock.slots_per_shard as usize);
        for (name, bytes) in slots.list() {
            let found = content(&memory, slots.open(&name).unwrap());
            assert!(bytes == SLOT && found[0] > 0 && found.iter().all(|byte| *byte == found[0]));
        }
    }
}

#[test]
fn a_slot_that_is_used_again_begins_with_zeros() {
    let memory = formatted();
    let mut slots = mount(&memory, 1);
    let part = slots.prepare("a", SLOT).unwrap();
    fill(&memory, part, 9);
    slots.remove("a").unwrap();
    assert_eq!(slots.remove("a").unwrap_err().kind(), io::ErrorKind::NotFound);
    let again = slots.prepare("b", SLOT / 2).unwrap();
    assert_eq!((again.offset, again.bytes), (part.offset, SLOT / 2));
    assert!(content(&memory, again).iter().all(|&byte| byte == 0));
    assert_eq!(names(&mount(&memory, 1)), [("b".to_owned(), SLOT / 2)]);
    assert!(names(&mount(&memory, 0)).is_empty());
}

#[test]
fn impossible_files_are_refused() {
    let memory = formatted();
    let mut slots = mount(&memory, 0);
    slots.prepare("a", SLOT).unwrap();
    let refused = |result: io::Result<Part>| result.unwrap_err().kind();
    assert_eq!(refused(slots.prepare("a", SLOT)), io::ErrorKind::AlreadyExists);
    assert_eq!(refused(slots.prepare("b", SLOT + u64::from(BLOCK))), io::ErrorKind::FileTooLarge);
    assert_eq!(refused(slots.prepare("b", SLOT - 1)), io::ErrorKind::InvalidInput);
    assert_eq!(refused(slots.prepare(&"b".repeat(65), SLOT)), io::ErrorKind::InvalidInput);
    assert_eq!(refused(slots.open("b")), io::ErrorKind::NotFound);
}

/// What a crash may not undo, and what it may leave either way.
#[test]
fn a_crash_at_any_step_of_a_change_leaves_it_done_or_not_done() {
    let mut rng = Rng::with_seed(7);
    let (mut done, mut undone) = (0, 0);
    for round in 0..600 {
        let memory = formatted();
        let mut slots = mount(&memory, 0);
        let kept = slots.prepare("kept", SLOT).unwrap();
        fill(&memory, kept, 5);
        let old = slots.prepare("old", SLOT).unwrap();
        fill(&memory, old, 6);
        if round % 3 != 0 {
            slots.remove("old").unwrap();
        }
        memory.left.set(rng.usize(0..5));
        let result = match round % 3 {
            0 => slots.remove("old"),
            _ => slots.prepare("new", SLOT).map(drop),
        };
        memory.crash(&mut rng);
        // Also the mending may be cut short.
        let superblock = recognise(&memory, BLOCK, &binding()).unwrap();
        memory.left.set(rng.usize(0..5));
        drop(Slots::mount(&memory, superblock, 0));
        memory.crash(&mut rng);

        let slots = mount(&memory, 0);
        let found = names(&slots);
        assert_eq!(content(&memory, slots.open("kept").unwrap()), vec![5; SLOT as usize]);
        if round % 3 == 0 {
            let is_there = slots.open("old").is_ok();
            assert!(!(result.is_ok() && is_there), "a change that was reported is undone");
            if is_there {
                assert_eq!(content(&memory, slots.open("old").unwrap()), vec![6; SLOT as usize]);
            }
            // A torn entry counts as in use, whatever it was to become.
            assert!(found.len() <= 2);
            *if is_there { &mut undone } else { &mut done } += 1;
        } else {
            assert!(slots.open("old").is_err());
            let other = found.iter().find(|(name, _)| name != "kept");
            assert!(other.is_some() || result.is_err(), "a change that was reported is undone");
            if let Some((name, bytes)) = other {
                // Under its name, or under that of its slot when the entry was torn: zeros either way.
                assert!(*bytes == SLOT && (name == "new" || result.is_err()), "{name}");
                assert!(content(&memory, slots.open(name).unwrap()).iter().all(|&byte| byte == 0), "round {round}");
            }
            *if other.is_some() { &mut done } else { &mut undone } += 1;
        }
        // What was mended is whole, and stays.
        memory.left.set(0);
        assert_eq!(names(&mount(&memory, 0)), found, "nothing is written any more");
    }
    assert!(done > 50 && undone > 50, "{done} done, {undone} not");
}

#[test]
fn a_rotten_entry_never_gives_a_segment_up() {
    let superblock = planned();
    for copies in [&[0_u64][..], &[1], &[0, 1]] {
        let memory = formatted();
        let part = {
            let mut slots = mount(&memory, 1);
            slots.prepare("first", SLOT).unwrap();
            slots.prepare("second", SLOT).unwrap()
        };
        fill(&memory, part, 3);
        let slot = u64::from(superblock.slots_per_shard) + 1;
        for copy in copies {
            memory.rot(superblock.entry_offset(slot, *copy));
        }
        for _ in 0..2 {
            let mut slots = mount(&memory, 1);
            let found = names(&slots);
            let (name, bytes) = found.iter().find(|(name, _)| name != "first").unwrap();
            // The copy in force is the first: only without it the name is lost.
            assert_eq!((name == "second", *bytes), (!copies.contains(&0), SLOT), "{name}");
            assert_eq!(content(&memory, slots.open(name).unwrap()), vec![3; SLOT as usize]);
            assert_ne!(slots.prepare("other", SLOT).unwrap().offset, part.offset, "its slot is not given away");
            slots.remove("other").unwrap();
        }
    }
}

#[test]
fn an_entry_in_another_place_or_of_another_formatting_does_not_count() {
    let superblock = planned();
    let memory = formatted();
    mount(&memory, 0).prepare("a", SLOT).unwrap();
    // A misdirected write: the entry of slot 0 over that of slot 1.
    let (from, to) = (superblock.entry_offset(0, 0) as usize, superblock.entry_offset(1, 0) as usize);
    memory.stable.borrow_mut().copy_within(from..from + BLOCK as usize, to);
    mount(&memory, 0).remove("a").unwrap();
    assert_eq!(names(&mount(&memory, 0)), [(format!("{:016x}.seg", 1), SLOT)]);
    let again = Superblock { device: DeviceId(4), ..superblock };
    format(&memory, &again).unwrap();
    let before = superblock.entry_offset(0, 0) as usize;
    assert_ne!(memory.stable.borrow()[before + 16..before + 32], 3_u128.to_le_bytes());
    let slots = Slots::mount(&memory, again, 0).unwrap();
    assert!(names(&slots).is_empty());
}

#[test]
fn a_damaged_superblock_is_mended_from_its_copy() {
    let last = Superblock::copy_offset(BYTES, BLOCK);
    for offset in [0, last] {
        let memory = formatted();
        memory.rot(offset);
        assert_eq!(recognise(&memory, BLOCK, &binding()).unwrap(), planned());
        // The other one may go now.
        memory.rot(last - offset);
        assert_eq!(recognise(&memory, BLOCK, &binding()).unwrap(), planned());
        assert_eq!(Superblock::read(&memory, offset, BLOCK).unwrap(), Ok(planned()));
        memory.rot(0);
        memory.rot(last);
        assert!(matches!(recognise(&memory, BLOCK, &binding()), Err(DeviceReason::SuperblockLost)));
    }
}

#[test]
fn a_superblock_that_does_not_fit_together_is_none() {
    let sound = planned();
    let forged = [
        Superblock { shards: u32::MAX, slots_per_shard: u32::MAX, ..sound },
        Superblock { shards: 0, ..sound },
        Superblock { slots_per_shard: 0, ..sound },
        Superblock { slots_per_shard: 2 * sound.slots_per_shard, ..sound },
        Superblock { slot_bytes: u64::MAX - 4095, ..sound },
        Superblock { slot_bytes: SLOT + 1, ..sound },
        Superblock { table: 0, ..sound },
        Superblock { table: u64::MAX - 4095, ..sound },
        Superblock { slots: 0, ..sound },
        Superblock { slots: u64::MAX - 4095, ..sound },
        Superblock { device_bytes: 0, ..sound },
    ];
    let memory = Memory::new();
    sound.write(&memory, 0).unwrap();
    assert!(Superblock::read(&memory, 0, BLOCK).unwrap() == Ok(sound));
    for forged in forged {
        forged.write(&memory, 0).unwrap();
        assert_eq!(Superblock::read(&memory, 0, BLOCK).unwrap(), Err(NotOne::Invalid), "{forged:?}");
    }
}

#[test]
fn formatting_that_is_cut_short_may_be_done_again_and_a_used_device_may_not() {
    let mut rng = Rng::with_seed(3);
    let mut whole = 0;
    for steps in (0..40).cycle().take(400) {
        let memory = Memory::new();
        memory.left.set(steps);
        let result = format(&memory, &planned());
        memory.crash(&mut rng);
        let recognised = recognise(&memory, BLOCK, &binding());
        assert!(result.is_err() || recognised.is_ok());
        if recognised.is_ok() {
            whole += 1;
            assert!(names(&mount(&memory, 0)).is_empty() && names(&mount(&memory, 1)).is_empty());
        } else {
            assert!(matches!(recognised, Err(DeviceReason::NotThisOne { .. } | DeviceReason::SuperblockLost)));
        }
    }
    assert!(whole > 40, "{whole}");
    let memory = formatted();
    check_free(&memory, BLOCK).unwrap();
    mount(&memory, 1).prepare("a", SLOT).unwrap();
    mount(&memory, 1).remove("a").unwrap();
    assert!(matches!(check_free(&memory, BLOCK), Err(DeviceReason::CarriesNode { node, .. }) if node == NodeId(2)));
}

#[test]
fn what_is_not_all_zeros_at_its_ends_is_not_free() {
    for offset in [0, 4096, (1 << 20) - 1, BYTES - (1 << 20), BYTES - 1] {
        let memory = Memory::new();
        check_free(&memory, BLOCK).unwrap();
        memory.stable.borrow_mut()[offset as usize] = 1;
        let Err(DeviceReason::Carries(what)) = check_free(&memory, BLOCK) else { panic!("byte {offset}") };
        assert!(what.contains(&format!("byte {offset} ")), "{what}");
        let found = recognise(&memory, BLOCK, &binding());
        assert!(matches!(found, Err(DeviceReason::SuperblockLost)));
    }
    let memory = Memory::new();
    memory.stable.borrow_mut()[1080..1082].copy_from_slice(b"\x53\xef");
    let Err(DeviceReason::Carries(what)) = check_free(&memory, BLOCK) else { panic!() };
    assert!(what.contains("ext4"), "{what}");
    // With leave to destroy it, nothing of it stays.
    format(&memory, &planned()).unwrap();
    assert_eq!(recognise(&memory, BLOCK, &binding()).unwrap(), planned());
    assert_eq!(memory.stable.borrow()[1080..1082], [0, 0]);
}

#[test]
fn another_device_than_the_directorys_is_refused() {
    let memory = formatted();
    for other in [
        Binding { device: DeviceId(9), ..binding() },
        Binding { node: NodeId(9), ..binding() },
        Binding { cluster: ClusterId(9), ..binding() },
        Binding { shards: 1, ..binding() },
    ] {
        let refused = recognise(&memory, BLOCK, &other);
        assert!(matches!(refused, Err(DeviceReason::NotThisOne { wanted, .. }) if wanted == other.device));
    }
    assert!(matches!(recognise(&Memory::new(), BLOCK, &binding()), Err(DeviceReason::NotThisOne { .. })));
    assert!(matches!(recognise(&memory, 8192, &binding()), Err(DeviceReason::LargerBlocks { .. })));
}

#[test]
fn a_device_that_is_too_small_says_what_it_needs() {
    for bytes in [0, 1 << 20, 3 << 20, (3 << 20) + 8 * (SLOT + 8192) - 4096] {
        let Err(DeviceReason::TooSmall { needed, .. }) = plan(bytes, BLOCK, &binding(), SLOT, 4) else {
            panic!("{bytes} bytes")
        };
        assert_eq!(plan(needed, BLOCK, &binding(), SLOT, 4).unwrap().slots_per_shard, 4);
    }
}
