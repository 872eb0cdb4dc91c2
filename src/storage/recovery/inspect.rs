//! Single steps of a recovery, over bytes that somebody looks at without starting on them.

use std::ops::Range;

use super::facts::{self, Fact};
use super::fetch::Image;
use super::judge::judge;
use super::replay::{self, Scanned};
use crate::storage::format::{End, Entry, Owner, SegmentIdentity};
use crate::storage::types::Damage;
use crate::storage::unit::UnitView;

/// What a start would find in a segment whose end is known, if it scanned it.
pub(in crate::storage) fn judge_closed(
    data: &[u8],
    unreadable: &[Range<u64>],
    owner: Owner,
    identity: SegmentIdentity,
    end: End,
) -> Vec<Damage> {
    let image = Image { bytes: data.to_vec(), errors: unreadable.to_vec() };
    let facts = facts::walk(&image, owner, identity);
    let judged = judge(&[(identity.number, &facts)], None, Some(end), None);
    replay::damages(&[Scanned { identity, facts: &facts }], &judged)
}

/// The newest use of a file whose first unit is damaged.
pub(in crate::storage) fn newest_use(bytes: &[u8], owner: Owner) -> Option<SegmentIdentity> {
    facts::newest_use(&Image { bytes: bytes.to_vec(), errors: Vec::new() }, owner)
}

/// The end that an index block names, if a start could use the block.
pub(in crate::storage) fn index_end(
    region: &[u8],
    position: u64,
    owner: Owner,
    identity: SegmentIdentity,
) -> Option<End> {
    facts::index(region, position, owner, identity).map(|index| index.end)
}

/// What a unit is made of, by the checks that a start makes.
#[derive(Default)]
pub(in crate::storage) struct UnitContent {
    pub(in crate::storage) table_holds: bool,
    pub(in crate::storage) payload_holds: bool,
    pub(in crate::storage) records: u64,
    pub(in crate::storage) cells: u32,
    pub(in crate::storage) head_start: bool,
    pub(in crate::storage) head_end: bool,
}

/// Looks into one unit.
pub(in crate::storage) fn content(unit: &UnitView<'_>) -> UnitContent {
    let table = unit.table().filter(|_| unit.is_complete());
    let mut content =
        UnitContent { table_holds: table.is_some(), payload_holds: unit.payload_holds(), ..UnitContent::default() };
    for entry in table.into_iter().flatten() {
        content.add(entry, facts::fact(unit, entry));
    }
    content
}

impl UnitContent {
    fn add(&mut self, entry: &Entry, fact: Option<Fact>) {
        match fact {
            Some(Fact::Records { .. }) => self.records += u64::from(entry.count.get()),
            Some(Fact::Cell { .. } | Fact::CellRemoved(_)) => self.cells += 1,
            Some(Fact::HeadStart(list)) => self.head_start |= list.is_some(),
            Some(Fact::HeadEnd) => self.head_end = true,
            Some(Fact::Dropped(..) | Fact::Carried(_)) | None => {}
        }
    }
}
