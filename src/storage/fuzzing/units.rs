//! The decoders of the bytes on disk, under any bytes. Checksums that hold over nonsense are part of it: whatever a file says, looking
//! at it must not panic.

use std::ops::Range;

use zerocopy::{FromZeros, IntoBytes};

use crate::base::NodeId;
use crate::base::checksum::crc64;
use crate::storage::anchor::{ANCHOR_BYTES, Anchor};
use crate::storage::format::{
    ENTRY_BYTES, End, Entry, Generation, HEADER_BYTES, Header, Life, MAGIC, Owner, SECTOR, SegmentIdentity,
    SegmentNumber, Sequence, VERSION,
};
use crate::storage::recovery;
use crate::storage::unit::UnitView;

const OWNER: Owner = Owner { node: NodeId(5), journal: 0 };
const SEGMENT: SegmentIdentity =
    SegmentIdentity { number: SegmentNumber(3), generation: Generation(0x77), life: Life(2) };
const UNITS_MAX: usize = 6;

/// Any bytes as what a disk holds: units, tables, index blocks and anchors, with checksums that hold and with ones that do not.
///
/// # Panics
/// When a decoder does, when it believes what does not hold, or when a changed byte of a whole unit goes unnoticed.
pub fn unit_decoding(data: &[u8]) {
    let mut rest = data;
    let mut take = |count: usize| {
        let (taken, after) = rest.split_at(count.min(rest.len()));
        rest = after;
        taken
    };
    let [mode, flip_low, flip_high, ..] = *take(3) else { return };
    let mut image = Vec::new();
    if mode & 1 == 0 {
        for _ in 0..UNITS_MAX {
            let Some(&shape) = take(1).first() else { break };
            build(&mut image, shape, &mut take);
        }
    }
    image.extend_from_slice(take(usize::MAX));
    image.resize(image.len().next_multiple_of(SECTOR as usize), 0);
    let unreadable = (mode & 2 != 0).then(|| u64::from(flip_low) * SECTOR..u64::MAX);
    let unreadable: Vec<Range<u64>> = unreadable.into_iter().collect();
    look_at(&image, &unreadable);
    let flip = usize::from(u16::from_le_bytes([flip_low, flip_high]));
    if !image.is_empty() {
        notice(&mut image, flip);
    }
}

/// Appends a unit: header fields, payload and table from the input, with as many of its checksums made to hold as `shape` says.
fn build<'a>(image: &mut Vec<u8>, shape: u8, take: &mut impl FnMut(usize) -> &'a [u8]) {
    let start = image.len();
    let sizes = take(2);
    let payload_bytes = 8 * usize::from(sizes.first().copied().unwrap_or(0));
    let entries = usize::from(sizes.get(1).copied().unwrap_or(0) % 8);
    let mut header = Header::new_zeroed();
    // Few fields say anything new: the others are as they have to be, or as the input has them.
    let fields = take(if shape & 1 == 0 { 26 } else { HEADER_BYTES });
    if shape & 1 == 0 {
        let mut bytes = [0; 26];
        bytes[..fields.len()].copy_from_slice(fields);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        header.flags = u16::from_le_bytes([bytes[0], bytes[1]]).into();
        header.sequence = word(2).into();
        header.claim = word(10).into();
        header.previous = word(18).into();
    } else {
        header.as_mut_bytes()[..fields.len()].copy_from_slice(fields);
    }
    image.resize(start + HEADER_BYTES, 0);
    image.extend_from_slice(take(payload_bytes));
    image.resize(start + HEADER_BYTES + payload_bytes, 0);
    for _ in 0..entries {
        let mut entry = Entry::new_zeroed();
        let bytes = take(ENTRY_BYTES);
        entry.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        let (from, bytes) = (entry.payload_offset.get() as usize, entry.payload_bytes.get() as usize);
        if shape & 2 == 0
            && let Some(payload) = image[start..].get(from..from.saturating_add(bytes))
        {
            entry.payload_checksum = crc64(payload).into();
        }
        image.extend_from_slice(entry.as_bytes());
    }
    let used = image.len() - start;
    image.resize(start + used.next_multiple_of(SECTOR as usize), 0);
    let (payload, table) = image[start + HEADER_BYTES..start + used].split_at(payload_bytes);
    header.table_checksum = crc64(table).into();
    header.payload_checksum = crc64(payload).into();
    if shape & 4 == 0 {
        header.magic = MAGIC;
        header.version = VERSION.into();
        header.payload_bytes = (payload_bytes as u32).into();
        header.entries = (entries as u32).into();
        header.unit_bytes = ((image.len() - start) as u32).into();
    }
    if shape & 8 == 0 {
        header.journal = OWNER.journal.into();
        header.node = OWNER.node.0.into();
        header.life = SEGMENT.life.0.into();
        header.segment = SEGMENT.number.0.into();
        header.generation = SEGMENT.generation.0.into();
        header.position = (start as u64).into();
    }
    if shape & 16 == 0 {
        header.header_checksum = header.compute_checksum().into();
    }
    image[start..start + HEADER_BYTES].copy_from_slice(header.as_bytes());
}

/// Everything that anybody asks of bytes from a disk.
fn look_at(image: &[u8], unreadable: &[Range<u64>]) {
    let mut at = 0;
    while let Some(unit) = UnitView::find(image, 0, at, OWNER, SEGMENT) {
        assert!(unit.position >= at && unit.position.is_multiple_of(SECTOR), "units are found where they begin");
        assert!(unit.next_position() > unit.position, "a unit takes room");
        let content = recovery::content(&unit);
        assert!(content.table_holds <= unit.table().is_some());
        for entry in unit.table().into_iter().flatten() {
            if let Some(payload) = unit.payload(entry) {
                assert_eq!(payload.len(), entry.payload_bytes.get() as usize);
            }
            assert!(entry.first() <= entry.end());
        }
        at = unit.next_position();
    }
    for sector in image.chunks(SECTOR as usize) {
        if let Ok((owner, anchor)) = Anchor::read(sector) {
            // A slot that was accepted says the same when it is written again.
            let again = anchor.to_bytes(owner);
            assert_eq!(Anchor::read(&again), Ok((owner, anchor)));
        }
        if sector.len() >= ANCHOR_BYTES {
            let mut sealed = sector.to_vec();
            let checksum = crc64(&sealed[..ANCHOR_BYTES - 8]);
            sealed[ANCHOR_BYTES - 8..ANCHOR_BYTES].copy_from_slice(&checksum.to_le_bytes());
            let _ = Anchor::read(&sealed);
        }
        if let Ok(header) = Header::read(sector) {
            let end = recovery::index_end(sector, header.position.get(), header.owner(), header.identity());
            assert!(end.is_none_or(|end| end.sequence == header.sequence()));
        }
    }
    // The same as an index region: its first unit.
    let _ = recovery::index_end(image, 0, OWNER, SEGMENT);
    let _ = recovery::newest_use(image, OWNER);
    let last = image.chunks(SECTOR as usize).filter_map(|sector| Header::read(sector).ok()).next_back();
    let ends = [End::default(), End { sequence: Sequence(u64::MAX), checksum: 1 }];
    for end in ends.into_iter().chain(last.map(|header| header.end())) {
        let damage = recovery::judge_closed(image, unreadable, OWNER, SEGMENT, end);
        assert!(damage.iter().all(|damage| damage.segment == SEGMENT.number.0));
    }
}

/// A changed byte of a whole unit makes it another unit, or none: a checksum notices.
fn notice(image: &mut [u8], flip: usize) {
    let whole = |image: &[u8]| {
        let unit = UnitView::find(image, 0, 0, OWNER, SEGMENT)?;
        let used =
            HEADER_BYTES + unit.header.payload_bytes.get() as usize + unit.header.entries.get() as usize * ENTRY_BYTES;
        let holds = unit.is_complete() && unit.table().is_some() && unit.payload_holds();
        holds.then_some((unit.position as usize, used))
    };
    if let Some((position, used)) = whole(image) {
        image[position + flip % used] ^= 1 << (flip % 8);
        let changed = whole(image);
        assert!(changed.is_none_or(|(other, _)| other != position), "a unit with a changed byte counts as whole");
    }
}
