//! What disks, and people, do to files that nobody is writing to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zerocopy::{FromBytes, IntoBytes};

use crate::base::checksum::crc64;
use crate::fuzzing::input::Input;
use crate::storage::anchor::{ANCHOR_BYTES, Anchor};
use crate::storage::format::{ENTRY_BYTES, Entry, HEADER_BYTES, Header, SECTOR};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Damages a file, or two.
pub(super) fn damage(files: &mut Files, input: &mut Input<'_>) {
    let Some(path) = any_file(files, input) else { return };
    let Some(other) = any_file(files, input) else { return };
    let at = any_sector(&files[&path], input);
    let source = {
        let (from, bytes) = (any_sector(&files[&other], input), &files[&other]);
        bytes[from..(from + SECTOR as usize).min(bytes.len())].to_vec()
    };
    let file = files.get_mut(&path).expect("just seen");
    let rest = &mut file[at..];
    match input.byte() % 8 {
        0 | 1 => {
            let (byte, bit) = (input.below(SECTOR as usize), input.byte() % 8);
            if let Some(byte) = rest.get_mut(byte) {
                *byte ^= 1 << bit;
            }
        }
        2 => {
            let count = rest.len().min((1 + input.below(32)) * SECTOR as usize);
            rest[..count].fill(0);
        }
        3 => {
            let bytes = input.take(rest.len().min(SECTOR as usize));
            rest[..bytes.len()].copy_from_slice(bytes);
        }
        4 => {
            let count = rest.len().min(source.len());
            rest[..count].copy_from_slice(&source[..count]);
        }
        5 => file.truncate(at + input.below(SECTOR as usize)),
        6 => drop(files.remove(&path)),
        _ => {
            let theirs = files[&other].clone();
            let ours = files.insert(path, theirs).expect("just seen");
            files.insert(other, ours);
        }
    }
}

/// Changes a number in a unit or an anchor, and makes all checksums hold again.
pub(super) fn forge(files: &mut Files, input: &mut Input<'_>) {
    let Some(path) = any_file(files, input) else { return };
    let at = any_sector(&files[&path], input);
    let bytes = &mut files.get_mut(&path).expect("just seen")[at..];
    let value = match input.byte() {
        0..=63 => u64::MAX - u64::from(input.byte()),
        64..=127 => u64::from(input.byte()),
        128..=191 => 1 << (input.byte() % 64),
        _ => u64::from_le_bytes([(); 8].map(|()| input.byte())),
    };
    let value = &value.to_le_bytes()[..[1, 4, 8][input.below(3)]];
    if Anchor::read(bytes).is_ok() {
        let field = input.below(ANCHOR_BYTES - 8 - value.len());
        bytes[field..field + value.len()].copy_from_slice(value);
        let checksum = crc64(&bytes[..ANCHOR_BYTES - 8]);
        bytes[ANCHOR_BYTES - 8..ANCHOR_BYTES].copy_from_slice(&checksum.to_le_bytes());
    } else if let Ok(header) = Header::read(bytes) {
        let payload_end = HEADER_BYTES + header.payload_bytes.get() as usize;
        let used = payload_end + header.entries.get() as usize * ENTRY_BYTES;
        let Some(unit) = bytes.get_mut(..used) else { return };
        let parts = [0..HEADER_BYTES, HEADER_BYTES..payload_end, payload_end..used];
        let part = parts[input.below(3)].clone();
        if part.len() < value.len() {
            return;
        }
        let field = part.start + input.below(part.len() - value.len() + 1);
        unit[field..field + value.len()].copy_from_slice(value);
        reseal(unit);
    }
}

/// Makes all checksums of a unit hold, as far as its lengths make sense.
fn reseal(unit: &mut [u8]) {
    let mut header = Header::read_from_bytes(&unit[..HEADER_BYTES]).expect("any bytes");
    let payload_end = HEADER_BYTES + header.payload_bytes.get() as usize;
    let table_bytes = header.entries.get() as usize * ENTRY_BYTES;
    if payload_end <= unit.len() && table_bytes <= unit.len() - payload_end {
        let (payload, table) = unit[..payload_end + table_bytes].split_at_mut(payload_end);
        for entry in <[Entry]>::mut_from_bytes(table).expect("whole entries, no alignment") {
            let (from, bytes) = (entry.payload_offset.get() as usize, entry.payload_bytes.get() as usize);
            if let Some(payload) = payload.get(from..from.saturating_add(bytes)) {
                entry.payload_checksum = crc64(payload).into();
            }
        }
        header.table_checksum = crc64(table).into();
        header.payload_checksum = crc64(&payload[HEADER_BYTES..]).into();
    }
    header.header_checksum = header.compute_checksum().into();
    unit[..HEADER_BYTES].copy_from_slice(header.as_bytes());
}

fn any_file(files: &Files, input: &mut Input<'_>) -> Option<PathBuf> {
    files.keys().map(PathBuf::as_path).nth(input.below(files.len())).map(Path::to_owned)
}

/// Where a sector begins that has something in it, counted from the newest.
fn any_sector(bytes: &[u8], input: &mut Input<'_>) -> usize {
    let sectors = bytes.chunks(SECTOR as usize).enumerate();
    let used: Vec<usize> =
        sectors.filter(|(_, data)| data.iter().any(|&byte| byte != 0)).map(|(sector, _)| sector).collect();
    let drawn = input.below(256) % used.len().max(1);
    used.iter().rev().nth(drawn).map_or(0, |sector| sector * SECTOR as usize)
}
