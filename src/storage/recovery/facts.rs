//! What the bytes of a segment say, unit by unit, before anything is believed.

use std::ops::Range;

use zerocopy::FromBytes;

use super::fetch::Image;
use crate::base::{CellKey, LogletId, Offset};
use crate::storage::format::{
    End, Entry, FLAG_HEAD, FLAG_INDEX, Generation, HeadSegment, HeadStart, Header, HeaderFault, IndexEntry, Kind, Life,
    Owner, SECTOR, SegmentIdentity, SegmentNumber, Sequence,
};
use crate::storage::index::Extent;
use crate::storage::unit::UnitView;

/// One entry, with what its payload's checksum says.
pub(super) enum Fact {
    Records { loglet: LogletId, first: Offset, end: Offset, holds: bool },
    Cell { key: CellKey, of_head: bool, value: Option<Vec<u8>> },
    CellRemoved(CellKey),
    HeadStart(Option<Vec<(SegmentIdentity, End)>>),
    HeadEnd,
    Dropped(SegmentNumber, Generation),
    Carried(CarriedIndex),
}

/// What a segment of a former life holds, as a later life has written it down. It is about one use of a file up to one end,
/// which never changes any more; so it is true wherever it is found whole.
pub(super) struct CarriedIndex {
    pub(super) number: SegmentNumber,
    pub(super) generation: Generation,
    pub(super) end: End,
    pub(super) extents: Vec<(LogletId, Extent)>,
}

/// A unit whose header is whole and belongs where it was found.
pub(super) struct UnitFacts {
    pub(super) header: Header,
    /// The entries, when the table's checksum holds.
    pub(super) entries: Option<Vec<Fact>>,
    /// Whether table and payload hold.
    pub(super) whole: bool,
}

impl UnitFacts {
    pub(super) fn sequence(&self) -> Sequence {
        self.header.sequence()
    }
}

/// All units found in a segment, in order of position.
pub(super) struct SegmentFacts {
    pub(super) units: Vec<UnitFacts>,
    /// Parts that could not be read.
    pub(super) errors: Vec<Range<u64>>,
}

/// Walks a segment's data area.
pub(super) fn walk(image: &Image, owner: Owner, segment: SegmentIdentity) -> SegmentFacts {
    let mut units = Vec::new();
    let mut at = 0;
    while let Some(unit) = UnitView::find(&image.bytes, 0, at, owner, segment) {
        at = unit.next_position();
        units.push(judge_unit(&unit));
    }
    SegmentFacts { units, errors: image.errors.clone() }
}

fn judge_unit(unit: &UnitView<'_>) -> UnitFacts {
    let table = unit.table().filter(|_| unit.is_complete());
    let entries = table.map(|table| table.iter().filter_map(|entry| fact(unit, entry)).collect());
    UnitFacts { header: unit.header, whole: table.is_some() && unit.payload_holds(), entries }
}

pub(super) fn fact(unit: &UnitView<'_>, entry: &Entry) -> Option<Fact> {
    Some(match entry.kind()? {
        Kind::NoOp => return None,
        Kind::Index => Fact::Carried(carried(unit, entry)?),
        Kind::Records => {
            let holds = unit.payload_checked(entry).is_some();
            Fact::Records { loglet: entry.loglet(), first: entry.first(), end: entry.end(), holds }
        }
        Kind::Cell => {
            let value = unit.payload_checked(entry).map(<[u8]>::to_vec);
            Fact::Cell { key: entry.cell_key(), of_head: entry.flags.get() & FLAG_HEAD != 0, value }
        }
        Kind::CellRemoved => Fact::CellRemoved(entry.cell_key()),
        Kind::HeadStart => Fact::HeadStart(unit.payload_checked(entry).and_then(head_segments)),
        Kind::HeadEnd => Fact::HeadEnd,
        Kind::Dropped => Fact::Dropped(SegmentNumber(entry.first.get()), Generation(entry.log.get())),
    })
}

fn head_segments(payload: &[u8]) -> Option<Vec<(SegmentIdentity, End)>> {
    let (start, list) = HeadStart::ref_from_prefix(payload).ok()?;
    let list = <[HeadSegment]>::ref_from_bytes(list).ok()?;
    let lines = list.iter().map(|line| {
        let identity = SegmentIdentity {
            number: SegmentNumber(line.number.get()),
            generation: Generation(line.generation.get()),
            life: Life(line.life.get()),
        };
        let end = End { sequence: Sequence(line.end_sequence.get()), checksum: line.end_checksum.get() };
        (identity.is_counted() && end.sequence.is_counted()).then_some((identity, end))
    });
    if list.len() == start.segments.get() as usize { lines.collect() } else { None }
}

/// A valid index block.
pub(super) struct IndexFacts {
    /// Last unit of the segment.
    pub(super) end: End,
    pub(super) extents: Vec<(LogletId, Extent)>,
    pub(super) carried: Vec<CarriedIndex>,
}

/// Reads the index block of `segment` from its region; nothing when it is of another use, or damaged.
pub(super) fn index(region: &[u8], position: u64, owner: Owner, segment: SegmentIdentity) -> Option<IndexFacts> {
    let header = Header::read(region).ok()?;
    let belongs = header.owner() == owner
        && header.identity() == segment
        && header.position.get() == position
        && header.has(FLAG_INDEX);
    if !belongs {
        return None;
    }
    let unit = UnitView::of(region, header);
    let table = unit.table().filter(|_| unit.is_complete())?;
    let mut entries = table.iter().filter(|entry| entry.kind() == Some(Kind::Index));
    let extents = extents(unit.payload_checked(entries.next()?)?, segment.number)?;
    // They lie in front of the region.
    if extents.iter().any(|(_, extent)| extent.data_end() > header.position.get()) {
        return None;
    }
    let carried = entries.filter_map(|entry| carried(&unit, entry)).collect();
    Some(IndexFacts { end: End { sequence: header.sequence(), checksum: header.previous.get() }, extents, carried })
}

fn carried(unit: &UnitView<'_>, entry: &Entry) -> Option<CarriedIndex> {
    let number = SegmentNumber(entry.first.get());
    Some(CarriedIndex {
        number,
        generation: Generation(entry.log.get()),
        end: End { sequence: Sequence(entry.version.get()), checksum: entry.nonce.get() },
        extents: extents(unit.payload_checked(entry)?, number)?,
    })
}

/// The extents that an index entry's payload lists.
fn extents(payload: &[u8], segment: SegmentNumber) -> Option<Vec<(LogletId, Extent)>> {
    let extent = |entry: &IndexEntry| {
        let loglet = LogletId { log: entry.log.get(), version: entry.version.get(), nonce: entry.nonce.get() };
        let (first, end) = (Offset(entry.first.get()), Offset(entry.end.get()));
        let (position, span) = (entry.position.get(), entry.span.get());
        (first < end && span > 0).then_some((loglet, Extent { first, end, segment, position, span }))
    };
    <[IndexEntry]>::ref_from_bytes(payload).ok()?.iter().map(extent).collect()
}

/// What the first block of a file says.
pub(super) enum FirstBlock {
    /// Never used since it was prepared.
    Zeros,
    /// The first unit of a use of the file.
    Unit(Header),
    /// Neither: the first unit is damaged.
    Damaged,
    /// Of a format this program does not know.
    Version(u16),
}

pub(super) fn first_block(image: &Image) -> FirstBlock {
    match Header::read(&image.bytes) {
        Ok(header) if header.position.get() == 0 && !header.has(FLAG_INDEX) => FirstBlock::Unit(header),
        Err(HeaderFault::Version(version)) => FirstBlock::Version(version),
        _ if image.errors.is_empty() && image.bytes.iter().all(|&byte| byte == 0) => FirstBlock::Zeros,
        _ => FirstBlock::Damaged,
    }
}

/// The newest use of a file whose first unit is damaged, from the units behind it.
pub(super) fn newest_use(image: &Image, owner: Owner) -> Option<SegmentIdentity> {
    let headers = image.bytes.chunks(SECTOR as usize).enumerate().filter_map(|(sector, bytes)| {
        let header = Header::read(bytes).ok()?;
        let belongs =
            header.owner() == owner && header.position.get() == sector as u64 * SECTOR && !header.has(FLAG_INDEX);
        belongs.then(|| header.identity())
    });
    headers.max_by_key(|identity| (identity.life, identity.number))
}
