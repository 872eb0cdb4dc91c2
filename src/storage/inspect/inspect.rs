//! Puts the parts together.

use std::borrow::Cow;
use std::ops::Range;

use super::findings;
use super::report::{FileRole, HeadState, IndexState, JournalReport, LogletRecords, Segment, Start};
use super::start::{self, Ended};
use super::walk::{self, Walked};
use crate::base::{LogletId, NodeId};
use crate::storage::anchor::ANCHOR_FILE;
use crate::storage::format::{End, FLAG_INDEX, Header, Owner, SECTOR, SegmentIdentity, index_region};
use crate::storage::index::{Extent, Index};
use crate::storage::recovery::{Restored, index_end, newest_use};
use crate::storage::segments::RESERVE;

/// What to look at, and how closely.
#[derive(Debug, Clone)]
pub struct InspectConfig {
    /// Whose journal it is; without, whoever has written the first whole unit.
    pub node: Option<NodeId>,
    /// The journal's number.
    pub journal: u32,
    /// The unit of direct I/O that the node would use.
    pub block_bytes: u32,
    /// Most rows of units to give, over all segments.
    pub unit_rows_max: usize,
    /// Give rows of this segment alone.
    pub unit_rows_of: Option<u64>,
}

/// One file of the journal's directory.
#[derive(Debug, Clone)]
pub struct JournalFile<'a> {
    /// Its name.
    pub name: String,
    /// Its content.
    pub bytes: Cow<'a, [u8]>,
    /// Parts that the disk could not read; zeros in `bytes`.
    pub unreadable: Vec<Range<u64>>,
}

/// A segment file with everything known of it.
pub(super) struct Seen<'a> {
    pub(super) file: &'a JournalFile<'a>,
    pub(super) role: FileRole,
    pub(super) identity: Option<SegmentIdentity>,
    /// The accepted end, for a live segment of which it is known.
    pub(super) end: Option<End>,
    /// Bytes before the index region.
    pub(super) data_bytes: usize,
    /// The first block is no unit and not zeros.
    pub(super) first_is_damaged: bool,
    pub(super) walked: Option<Walked>,
    pub(super) index: IndexSeen,
}

/// What the index region holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexSeen {
    Intact,
    Absent,
    /// The header is whole and of this use; the rest is not.
    Torn,
    /// Not even a header, and not zeros.
    Rotten,
}

impl<'a> Seen<'a> {
    pub(super) fn data(&self) -> &'a [u8] {
        &self.file.bytes[..self.data_bytes]
    }

    pub(super) fn unreadable_data(&self) -> Vec<Range<u64>> {
        let data = self.data_bytes as u64;
        let parts = self.file.unreadable.iter().filter(|range| range.start < data);
        parts.map(|range| range.start..range.end.min(data)).collect()
    }
}

/// Looks at one journal. `files` are all regular files of its directory.
pub fn inspect(config: &InspectConfig, files: &[JournalFile<'_>]) -> JournalReport {
    let (mut segment_files, mut unfinished): (Vec<&JournalFile<'_>>, Vec<String>) = Default::default();
    let mut anchor = None;
    for file in files {
        if file.name.ends_with(".tmp") {
            unfinished.push(file.name.clone());
        } else if is_segment_name(&file.name) {
            segment_files.push(file);
        } else if file.name == ANCHOR_FILE {
            anchor = Some(file);
        }
    }
    let mut files = segment_files;
    files.sort_by(|one, other| one.name.cmp(&other.name));
    unfinished.sort();
    let owner = owner(config, &files);
    let ended = start::run(config.block_bytes, owner, &files, anchor);
    let restored = match &ended {
        Ended::Restored(restored) => Some(&**restored),
        Ended::Refused(_) | Ended::Aborted => None,
    };
    let mut rows_left = config.unit_rows_max;
    let mut segments = Vec::new();
    let mut seen = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let mut one = look(config, owner, restored, place, file);
        segments.push(describe(config, owner, &mut one, &mut rows_left));
        seen.push(one);
    }
    let start = match &ended {
        Ended::Restored(restored) => Start::Accepts { end_sequence: restored.end.sequence.0, next_life: restored.life },
        Ended::Refused(failure) => Start::Refuses { reason: failure.to_string() },
        Ended::Aborted => Start::Aborts,
    };
    let extents = restored.map(|restored| restored.extents.as_slice()).unwrap_or_default();
    let mut found = findings::of_start(&start, restored, &seen, owner, extents);
    found.extend(seen.iter().flat_map(findings::of_file));
    found.iter_mut().for_each(|finding| finding.journal = Some(config.journal));
    found.sort_by_key(|finding| (finding.segment, finding.position, finding.class));
    JournalReport {
        journal: config.journal,
        start,
        units: seen.iter().filter(|one| one.role == FileRole::Live).map(counted).sum(),
        segments,
        unfinished,
        cells: restored.map(|restored| restored.cells.clone().into_iter().collect()).unwrap_or_default(),
        loglets: loglets(extents),
        findings: found,
    }
}

/// As a start tells them apart.
fn is_segment_name(name: &str) -> bool {
    name.strip_suffix(".seg").is_some()
}

fn counted(one: &Seen<'_>) -> u64 {
    one.walked.as_ref().map_or(0, |walked| walked.units - walked.discarded.map_or(0, |discarded| discarded.0))
}

fn owner(config: &InspectConfig, files: &[&JournalFile<'_>]) -> Owner {
    let told = config.node.map(|node| Owner { node, journal: config.journal });
    let first = || files.iter().find_map(|file| Header::read(&file.bytes).ok()).map(|header| header.owner());
    told.or_else(first).unwrap_or(Owner { node: NodeId(0), journal: config.journal })
}

fn look<'a>(
    config: &InspectConfig,
    owner: Owner,
    restored: Option<&Restored>,
    place: usize,
    file: &'a JournalFile<'a>,
) -> Seen<'a> {
    let len = file.bytes.len();
    let region = len.min(index_region(len as u64, config.block_bytes) as usize);
    let data_bytes = len - region;
    let live = restored.and_then(|restored| restored.live.values().find(|segment| segment.slot == place));
    let first = Header::read(&file.bytes).ok().filter(|header| header.position.get() == 0 && !header.has(FLAG_INDEX));
    let block = &file.bytes[..len.min(config.block_bytes as usize)];
    let first_is_damaged = first.is_none() && block.iter().any(|&byte| byte != 0);
    let identity = match (live, &first) {
        (Some(live), _) => Some(live.identity),
        (None, Some(first)) => Some(first.identity()).filter(|_| first.owner() == owner),
        (None, None) => first_is_damaged.then(|| newest_use(&file.bytes, owner)).flatten(),
    };
    let role = match restored {
        None => FileRole::Unknown,
        Some(_) if live.is_some() => FileRole::Live,
        Some(restored) if restored.free.iter().rev().take(RESERVE).any(|free| *free == place) => FileRole::Reserve,
        Some(_) => FileRole::Free,
    };
    // A life of which nothing could be judged leaves segments without a known end.
    let end = live.map(|live| live.end).filter(|end| *end != End::default());
    let index = identity.map_or(IndexSeen::Absent, |identity| {
        let region = &file.bytes[data_bytes..];
        match index_end(region, data_bytes as u64, owner, identity) {
            Some(found) if end.is_none_or(|end| end == found) => IndexSeen::Intact,
            Some(_) => IndexSeen::Absent,
            None => damaged_index(region, identity),
        }
    });
    Seen { file, role, identity, end, data_bytes, first_is_damaged, walked: None, index }
}

fn damaged_index(region: &[u8], identity: SegmentIdentity) -> IndexSeen {
    let sector = &region[..region.len().min(SECTOR as usize)];
    match Header::read(region) {
        Ok(header) if header.identity() == identity && header.has(FLAG_INDEX) => IndexSeen::Torn,
        Ok(_) => IndexSeen::Absent,
        Err(_) if sector.iter().all(|&byte| byte == 0) => IndexSeen::Absent,
        Err(_) => IndexSeen::Rotten,
    }
}

fn describe(config: &InspectConfig, owner: Owner, one: &mut Seen<'_>, rows_left: &mut usize) -> Segment {
    let identity = one.identity;
    let mut segment = Segment {
        file: one.file.name.clone(),
        bytes: one.file.bytes.len() as u64,
        role: one.role,
        segment: identity.map(|identity| identity.number.0),
        life: identity.map(|identity| identity.life.0),
        generation: identity.map(|identity| format!("{:016x}", identity.generation.0)),
        head: HeadState::None,
        index: match one.index {
            IndexSeen::Intact => IndexState::Intact,
            IndexSeen::Absent => IndexState::Absent,
            IndexSeen::Torn | IndexSeen::Rotten => IndexState::Damaged,
        },
        first_sequence: None,
        last_sequence: None,
        units: 0,
        used_bytes: 0,
        unit_rows: Vec::new(),
        unit_rows_omitted: 0,
    };
    let Some(identity) = identity else { return segment };
    let wanted = config.unit_rows_of.is_none_or(|number| number == identity.number.0) && config.unit_rows_max > 0;
    let (rows, omitted) = (&mut segment.unit_rows, &mut segment.unit_rows_omitted);
    let walked = walk::walk(one.data(), owner, identity, one.end, |unit| {
        if wanted && *rows_left > 0 {
            *rows_left -= 1;
            rows.push(unit);
        } else if wanted {
            *omitted += 1;
        }
    });
    segment.head = walked.head;
    segment.first_sequence = walked.first_sequence;
    segment.last_sequence = walked.last_sequence;
    segment.units = walked.units;
    segment.used_bytes = walked.used_bytes;
    one.walked = Some(walked);
    segment
}

/// The records of every loglet, as the journal's own index merges them.
fn loglets(extents: &[(LogletId, Extent)]) -> Vec<LogletRecords> {
    let mut index = Index::new(0);
    for (loglet, extent) in extents {
        index.insert(*loglet, *extent);
    }
    index.loglets().map(|id| LogletRecords { id, stored: index.stored(id).collect() }).collect()
}
