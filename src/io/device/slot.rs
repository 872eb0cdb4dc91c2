//! One entry of the table of slots. It stands there twice, written in turns, so that a torn write leaves the one before.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::base::DeviceId;
use crate::base::checksum::crc64;

pub(super) const ENTRY_BYTES: usize = 128;
/// Longest name of a file on a device.
pub(super) const NAME_BYTES_MAX: usize = 64;
const MAGIC: [u8; 8] = *b"NAXOSSLT";
const VERSION: u16 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct EntryBytes {
    magic: [u8; 8],
    version: U16,
    name_bytes: U16,
    slot: U32,
    device: U128,
    count: U64,
    file_bytes: U64,
    name: [u8; NAME_BYTES_MAX],
    reserved: U64,
    checksum: U64,
}

const _: () = assert!(size_of::<EntryBytes>() == ENTRY_BYTES);

/// The file that a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Grows with each writing; the copy is `count % 2`.
    pub(super) count: u64,
    /// Nothing when the slot is free.
    pub(super) held: Option<Held>,
}

impl Entry {
    pub(super) fn to_bytes(&self, device: DeviceId, slot: u32) -> [u8; ENTRY_BYTES] {
        let mut bytes = EntryBytes::new_zeroed();
        bytes.magic = MAGIC;
        bytes.version = VERSION.into();
        bytes.slot = slot.into();
        bytes.device = device.0.into();
        bytes.count = self.count.into();
        if let Some(Held { name, bytes: file_bytes }) = &self.held {
            assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX, "the name was checked");
            bytes.name_bytes = (name.len() as u16).into();
            bytes.name[..name.len()].copy_from_slice(name.as_bytes());
            bytes.file_bytes = (*file_bytes).into();
        }
        bytes.checksum = crc64(&bytes.as_bytes()[..ENTRY_BYTES - 8]).into();
        bytes.as_bytes().try_into().expect("the size is asserted")
    }

    /// Reads the copy `copy` of the entry of `slot`; nothing when it is torn, damaged, or of another place or formatting.
    pub(super) fn parse(bytes: &[u8], device: DeviceId, slot: u32, copy: u64, slot_bytes: u64) -> Option<Self> {
        let (bytes, _) = EntryBytes::ref_from_prefix(bytes).ok()?;
        let holds = bytes.magic == MAGIC
            && bytes.version.get() == VERSION
            && bytes.slot.get() == slot
            && bytes.device.get() == device.0
            && bytes.count.get() % 2 == copy
            && bytes.count.get() < u64::MAX / 2
            && bytes.checksum.get() == crc64(&bytes.as_bytes()[..ENTRY_BYTES - 8]);
        if !holds {
            return None;
        }
        let name = bytes.name.get(..usize::from(bytes.name_bytes.get()))?;
        let held = match name {
            [] => None,
            name => Some(Held { name: str::from_utf8(name).ok()?.to_owned(), bytes: bytes.file_bytes.get() }),
        };
        let fits = held.as_ref().is_none_or(|held| held.bytes <= slot_bytes);
        fits.then_some(Self { count: bytes.count.get(), held })
    }
}
