//! From accepted units to state: cells, live segments, and what was lost on the way.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Fact, SegmentFacts};
use super::judge::{Judged, UnitAt};
use crate::base::mutants::{self, Mutant};
use crate::base::{CellKey, LogletId};
use crate::storage::format::{End, SegmentIdentity, SegmentNumber};
use crate::storage::index::Extent;
use crate::storage::types::Damage;

/// One scanned segment of the chain that is replayed.
pub(super) struct Scanned<'a> {
    pub(super) identity: SegmentIdentity,
    pub(super) facts: &'a SegmentFacts,
}

/// The state that the accepted units add up to.
#[derive(Default)]
pub(super) struct Replayed {
    /// The head that everything begins with has been read to its end. What a later one repeats is known already, and it
    /// may lack its end.
    past_head: bool,
    pub(super) cells: BTreeMap<CellKey, Vec<u8>>,
    /// Keys whose newest value was damaged.
    pub(super) lost: BTreeSet<CellKey>,
    pub(super) live: BTreeMap<SegmentNumber, (SegmentIdentity, End)>,
}

/// The last unit at which a complete, undamaged head begins.
pub(super) fn newest_head(chain: &[Scanned<'_>], judged: &Judged) -> Option<usize> {
    let (mut begun, mut newest) = (None, None);
    for (index, at) in judged.accepted.iter().enumerate() {
        let unit = &chain[at.0].facts.units[at.1];
        if !unit.whole {
            begun = None;
        }
        for fact in unit.entries.iter().flatten() {
            match fact {
                Fact::HeadStart(Some(_)) if unit.whole => {
                    begun = Some((index, at.0));
                    if mutants::is(Mutant::PartialHead) {
                        newest = Some(index);
                    }
                }
                Fact::HeadEnd => {
                    newest = begun.filter(|(_, segment)| *segment == at.0).map(|(index, _)| index).or(newest);
                }
                _ => {}
            }
        }
        // A gap inside a head: the sequence does not run on.
        if let (Some((from, _)), Some(start)) = (begun, begun.map(|(from, _)| judged.accepted[from])) {
            let first = chain[start.0].facts.units[start.1].sequence().0;
            if unit.sequence().0 - first != (index - from) as u64 {
                begun = None;
            }
        }
    }
    newest
}

impl Replayed {
    /// Applies accepted units, the first of which begins the newest complete head, if there is one.
    pub(super) fn apply(&mut self, chain: &[Scanned<'_>], accepted: &[UnitAt]) {
        for at in accepted {
            let segment = &chain[at.0];
            let unit = &segment.facts.units[at.1];
            self.live.insert(segment.identity.number, (segment.identity, unit.header.end()));
            for fact in unit.entries.iter().flatten() {
                self.apply_fact(segment.identity, unit.header.end(), fact);
            }
        }
    }

    fn apply_fact(&mut self, segment: SegmentIdentity, end: End, fact: &Fact) {
        match fact {
            Fact::HeadEnd => self.past_head = true,
            Fact::Cell { of_head: true, .. } | Fact::HeadStart(_) if self.past_head => {}
            Fact::HeadStart(Some(list)) => {
                self.live = list.iter().map(|line| (line.0.number, *line)).collect();
                self.live.insert(segment.number, (segment, end));
            }
            Fact::Cell { key, value: Some(value), .. } => {
                self.lost.remove(key);
                self.cells.insert(*key, value.clone());
            }
            Fact::Cell { key, value: None, .. } => {
                self.cells.remove(key);
                self.lost.insert(*key);
            }
            Fact::CellRemoved(key) => {
                self.lost.remove(key);
                self.cells.remove(key);
            }
            Fact::Dropped(number, generation) => {
                if self.live.get(number).is_some_and(|(identity, _)| identity.generation == *generation) {
                    self.live.remove(number);
                }
            }
            Fact::HeadStart(None) | Fact::Records { .. } | Fact::Carried(_) => {}
        }
    }
}

/// The records of accepted units, as extents.
pub(super) fn extents(segment: &Scanned<'_>, units: impl Iterator<Item = usize>, out: &mut Vec<(LogletId, Extent)>) {
    for unit in units {
        let unit = &segment.facts.units[unit];
        for fact in unit.entries.iter().flatten() {
            if let Fact::Records { loglet, first, end, holds: true } = *fact
                && first < end
            {
                let (position, span) = (unit.header.position.get(), unit.header.unit_bytes.get());
                out.push((loglet, Extent { first, end, segment: segment.identity.number, position, span }));
            }
        }
    }
}

/// Losses in the form the journal's user hears of them.
pub(super) fn damages(chain: &[Scanned<'_>], judged: &Judged) -> Vec<Damage> {
    let damage = |loss: &super::judge::Loss| {
        let entries = loss.unit.and_then(|at| chain[at.0].facts.units[at.1].entries.as_ref());
        let mut damage = Damage {
            segment: loss.segment.0,
            position: loss.position,
            cause: loss.cause,
            table_survived: entries.is_some(),
            holes: Vec::new(),
            cells_lost: Vec::new(),
        };
        for fact in entries.into_iter().flatten() {
            match fact {
                Fact::Records { loglet, first, end, holds: false } => damage.holes.push((*loglet, *first, *end)),
                Fact::Cell { key, value: None, of_head: false } => damage.cells_lost.push(*key),
                // Part of a head: which cells it repeated is known only if the head before it can be replayed.
                Fact::Cell { value: None, of_head: true, .. } | Fact::HeadStart(None) => damage.table_survived = false,
                _ => {}
            }
        }
        damage
    };
    judged.losses.iter().map(damage).collect()
}
