//! Every unit of one file, whatever the recovery makes of it.

use super::report::{HeadState, Unit, UnitState};
use crate::storage::format::{ENTRY_BYTES, End, HEADER_BYTES, Owner, SegmentIdentity};
use crate::storage::recovery::{UnitContent, content};
use crate::storage::unit::UnitView;

/// What a walk tells of one use of a file.
pub(super) struct Walked {
    pub(super) units: u64,
    pub(super) first_sequence: Option<u64>,
    /// Last unit that counts.
    pub(super) last_sequence: Option<u64>,
    pub(super) used_bytes: u64,
    pub(super) head: HeadState,
    /// Units behind the accepted end: how many, where the first is, and its sequence.
    pub(super) discarded: Option<(u64, u64, u64)>,
    /// Units that count and whose padding is not zero: position and sequence.
    pub(super) dirty_padding: Vec<(u64, u64)>,
    /// Position and sequence of every unit that is not whole.
    pub(super) not_whole: Vec<(u64, u64)>,
    /// Where each unit begins.
    pub(super) starts: Vec<u64>,
    /// Position behind, and sequence after, each unit that counts; to tell which unit should have been somewhere.
    pub(super) ends: Vec<(u64, u64)>,
}

/// Where the head of a segment has got to.
#[derive(Default)]
struct HeadProgress {
    begun: bool,
    broken: bool,
    complete: bool,
}

impl HeadProgress {
    fn add(&mut self, content: &UnitContent, position: u64, linked: bool) {
        if self.complete || self.broken {
            return;
        }
        self.begun |= position == 0 && content.head_start;
        self.broken |= !self.begun || !linked || !content.table_holds || !content.payload_holds;
        self.complete = !self.broken && content.head_end;
    }
}

/// Walks the data area. `end` is where the accepted units of a live segment end; a segment that is not needed has none.
/// `row` is called for every unit.
pub(super) fn walk(
    data: &[u8],
    owner: Owner,
    identity: SegmentIdentity,
    end: Option<End>,
    mut row: impl FnMut(Unit),
) -> Walked {
    let mut walked = Walked {
        units: 0,
        first_sequence: None,
        last_sequence: None,
        used_bytes: 0,
        head: HeadState::Incomplete,
        discarded: None,
        dirty_padding: Vec::new(),
        not_whole: Vec::new(),
        starts: Vec::new(),
        ends: Vec::new(),
    };
    let mut head = HeadProgress::default();
    let mut at = 0;
    let mut before: Option<(u64, End)> = None;
    while let Some(unit) = UnitView::find(data, 0, at, owner, identity) {
        at = unit.next_position();
        let content = content(&unit);
        let whole = content.table_holds && content.payload_holds;
        let header = &unit.header;
        let sequence = header.sequence();
        let linked = before.is_none_or(|(place, last)| {
            place == unit.position
                && last.sequence.0.checked_add(1) == Some(sequence.0)
                && header.previous.get() == last.checksum
        });
        before = Some((at, header.end()));
        head.add(&content, unit.position, linked);
        let state = match end {
            None => UnitState::Unneeded,
            Some(end) if sequence > end.sequence => UnitState::Discarded,
            Some(_) if whole => UnitState::Accepted,
            Some(_) => UnitState::Damaged,
        };
        walked.units += 1;
        walked.starts.push(unit.position);
        walked.first_sequence.get_or_insert(sequence.0);
        if matches!(state, UnitState::Discarded) {
            let first = walked.discarded.unwrap_or((0, unit.position, sequence.0));
            walked.discarded = Some((first.0 + 1, first.1, first.2));
        } else {
            walked.last_sequence = walked.last_sequence.max(Some(sequence.0));
            walked.used_bytes = walked.used_bytes.max(at.min(data.len() as u64));
            walked.ends.push((at, sequence.0.saturating_add(1)));
        }
        if !whole {
            walked.not_whole.push((unit.position, sequence.0));
        } else if state == UnitState::Accepted && !padding_is_zero(&unit) {
            walked.dirty_padding.push((unit.position, sequence.0));
        }
        row(Unit {
            sequence: sequence.0,
            life: header.life.get(),
            position: unit.position,
            bytes: header.unit_bytes.get(),
            claim: header.claim.get(),
            entries: header.entries.get(),
            records: content.records,
            cells: content.cells,
            table_holds: content.table_holds,
            payload_holds: content.payload_holds,
            linked,
            state,
        });
    }
    if head.complete {
        walked.head = HeadState::Complete;
    }
    walked
}

fn padding_is_zero(unit: &UnitView<'_>) -> bool {
    let header = &unit.header;
    let used = HEADER_BYTES + header.payload_bytes.get() as usize + header.entries.get() as usize * ENTRY_BYTES;
    unit.bytes().get(used..).is_none_or(|padding| padding.iter().all(|&byte| byte == 0))
}

impl Walked {
    /// The sequence of the unit at this position, or of the one that should have been there.
    pub(super) fn sequence_at(&self, position: u64) -> Option<u64> {
        let is = self.not_whole.iter().find(|(at, _)| *at == position).map(|(_, sequence)| *sequence);
        let follows = || self.ends.iter().rev().find(|(end, _)| *end <= position).map(|(_, next)| *next);
        is.or_else(follows)
    }

    /// Where the next unit behind `position` begins.
    pub(super) fn next_start(&self, position: u64) -> u64 {
        self.starts.iter().copied().find(|start| *start > position).unwrap_or(u64::MAX)
    }
}
