//! What is wrong, and where.

use super::inspect::{IndexSeen, Seen};
use super::report::{Class, FileRole, Finding, RecordRange, Severity, Start};
use crate::base::{LogletId, Offset};
use crate::storage::anchor::ANCHOR_FILE;
use crate::storage::format::Owner;
use crate::storage::index::Extent;
use crate::storage::recovery::{Restored, judge_closed};
use crate::storage::types::{Damage, DamageCause};

/// What the next start finds, and what it would find if it read all of every segment that is needed.
pub(super) fn of_start(
    start: &Start,
    restored: Option<&Restored>,
    seen: &[Seen<'_>],
    owner: Owner,
    extents: &[(LogletId, Extent)],
) -> Vec<Finding> {
    let Some(restored) = restored else {
        return vec![match start {
            Start::Refuses { reason } => Finding::new(Class::StartRefuses, Severity::Fatal, reason),
            _ => Finding::new(Class::StartAborts, Severity::Fatal, "an assertion of the recovery fails"),
        }];
    };
    let mut found: Vec<_> = restored.damage.iter().map(|damage| of_damage(damage, seen)).collect();
    for one in seen {
        let (Some(identity), Some(end), FileRole::Live) = (one.identity, one.end, one.role) else { continue };
        for damage in judge_closed(one.data(), &one.unreadable_data(), owner, identity, end) {
            let known = |other: &Damage| (other.segment, other.position) == (damage.segment, damage.position);
            if !restored.damage.iter().any(known) {
                found.push(of_unseen_damage(&damage, one, seen, extents));
            }
        }
        found.extend(torn_tail(one, restored));
    }
    found
}

fn of_damage(damage: &Damage, seen: &[Seen<'_>]) -> Finding {
    let class = if damage.cause == DamageCause::SegmentMissing {
        Class::SegmentMissing
    } else if damage.cause == DamageCause::Anchor {
        Class::AnchorLost
    } else if !damage.table_survived {
        Class::TableLost
    } else if !damage.cells_lost.is_empty() {
        Class::CellsLost
    } else {
        Class::RecordsDamaged
    };
    let detail = match damage.cause {
        DamageCause::SegmentMissing => {
            "a live segment is named by the newest head, or the anchor, and no file holds it"
        }
        DamageCause::SegmentShort => "the file of the newest segment is shorter than it was made",
        DamageCause::Anchor => "the file that names the newest segment is gone, or holds nothing whole",
        DamageCause::Unreadable => "the disk cannot read it",
        _ if class == Class::TableLost => "a unit that was durable is not there, or its entry table or head is damaged",
        _ => "the payload of a unit fails its checksum; its entry table is whole",
    };
    let mut finding = Finding::new(class, Severity::Damage, detail);
    if class == Class::AnchorLost {
        finding.file = Some(ANCHOR_FILE.to_owned());
        return finding;
    }
    finding.segment = Some(damage.segment);
    finding.records = damage.holes.iter().map(|hole| range(*hole)).collect();
    finding.cells.clone_from(&damage.cells_lost);
    if class != Class::SegmentMissing {
        finding.position = Some(damage.position);
    }
    let holder = |one: &&Seen<'_>| one.identity.is_some_and(|identity| identity.number.0 == damage.segment);
    let live = seen.iter().find(|one| one.role == FileRole::Live && holder(one));
    if let Some(one) = live.or_else(|| seen.iter().find(holder)) {
        finding.file = Some(one.file.name.clone());
        finding.sequence = one.walked.as_ref().and_then(|walked| walked.sequence_at(damage.position));
    }
    finding
}

fn range((loglet, first, end): (LogletId, Offset, Offset)) -> RecordRange {
    RecordRange { loglet, first, end }
}

/// Cells and heads of a closed segment are repeated by later heads, so that only its records can be lost.
fn of_unseen_damage(damage: &Damage, one: &Seen<'_>, seen: &[Seen<'_>], extents: &[(LogletId, Extent)]) -> Finding {
    let mut finding = of_damage(damage, seen);
    finding.class = Class::ClosedUnitDamaged;
    finding.seen_by_start = false;
    finding.file = Some(one.file.name.clone());
    finding.cells.clear();
    if !damage.table_survived {
        let until = one.walked.as_ref().map_or(u64::MAX, |walked| walked.next_start(damage.position));
        let hit = |extent: &Extent| {
            extent.segment.0 == damage.segment && extent.position < until && damage.position < extent.data_end()
        };
        let ranges = extents.iter().filter(|(_, extent)| hit(extent));
        finding.records = ranges.map(|(loglet, extent)| range((*loglet, extent.first, extent.end))).collect();
    }
    finding
}

fn torn_tail(one: &Seen<'_>, restored: &Restored) -> Option<Finding> {
    let (units, position, sequence) = one.walked.as_ref()?.discarded?;
    let identity = one.identity?;
    let is_last = restored.live.last_key_value().is_some_and(|(number, _)| *number == identity.number);
    let whose = if is_last { "the last life" } else { "a former life" };
    let detail = format!("{units} unit{} behind the accepted end of {whose}", if units == 1 { "" } else { "s" });
    let mut finding = Finding::new(Class::TornTail, Severity::Notice, detail);
    finding.file = Some(one.file.name.clone());
    finding.segment = Some(identity.number.0);
    finding.position = Some(position);
    finding.sequence = Some(sequence);
    Some(finding)
}

/// What a file shows by itself.
pub(super) fn of_file(one: &Seen<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |class, severity, position: u64, sequence, detail: &str| {
        let mut finding = Finding::new(class, severity, detail);
        finding.file = Some(one.file.name.clone());
        finding.segment = one.identity.map(|identity| identity.number.0);
        finding.position = Some(position);
        finding.sequence = sequence;
        // The start meets these, and they change nothing for it.
        finding.seen_by_start = matches!(class, Class::FreeFileDamaged | Class::IndexDamaged);
        found.push(finding);
    };
    let is_live = one.role == FileRole::Live;
    if !is_live && one.role != FileRole::Unknown && one.first_is_damaged {
        add(Class::FreeFileDamaged, Severity::Damage, 0, None, "the first unit of a free file is not whole");
    }
    let index_at = one.data_bytes as u64;
    match one.index {
        IndexSeen::Torn if is_live => {
            add(Class::IndexDamaged, Severity::Notice, index_at, None, "the index block is not whole");
        }
        IndexSeen::Rotten if is_live => {
            add(Class::IndexDamaged, Severity::Damage, index_at, None, "the index block's header is not whole");
        }
        _ => {}
    }
    for (position, sequence) in one.walked.iter().flat_map(|walked| &walked.dirty_padding) {
        add(Class::Padding, Severity::Notice, *position, Some(*sequence), "the padding of a unit is not zero");
    }
    for range in &one.file.unreadable {
        let detail = format!("{} bytes cannot be read", range.end - range.start);
        add(Class::Unreadable, Severity::Damage, range.start, None, &detail);
    }
    found
}
