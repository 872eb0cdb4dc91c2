//! Which units count (P9): the first bad unit of the last life is torn, and ends it, unless a unit behind it claims it.

use super::facts::{SegmentFacts, UnitFacts};
use crate::base::mutants::{self, Mutant};
use crate::storage::format::{End, SegmentNumber, Sequence};
use crate::storage::types::DamageCause;

/// A unit, by its segment's place in the chain and its place in the segment.
pub(super) type UnitAt = (usize, usize);

/// Units that are gone although they were durable.
pub(super) struct Loss {
    pub(super) segment: SegmentNumber,
    pub(super) position: u64,
    pub(super) cause: DamageCause,
    /// The damaged unit, if its header is left.
    pub(super) unit: Option<UnitAt>,
}

/// A chain of units, judged.
pub(super) struct Judged {
    /// In order. Damaged units whose header is left are among them, and in `losses`.
    pub(super) accepted: Vec<UnitAt>,
    pub(super) losses: Vec<Loss>,
    pub(super) end: End,
}

/// Judges the segments of one life, from the first unit on, which has to be `first` if that is known. `end` is the end that
/// a later head names; without it the claims decide, and `floor`: a unit that is known to have been durable, with all before it.
pub(super) fn judge(
    chain: &[(SegmentNumber, &SegmentFacts)],
    before: Option<End>,
    end: Option<End>,
    floor: Option<End>,
) -> Judged {
    let units: Vec<(UnitAt, &UnitFacts)> = chain
        .iter()
        .enumerate()
        .flat_map(|(at, (_, facts))| facts.units.iter().enumerate().map(move |(unit, facts)| ((at, unit), facts)))
        .collect();
    let mut judged = Judged { accepted: Vec::new(), losses: Vec::new(), end: before.unwrap_or_default() };
    let Some((first_at, first)) = units.first() else {
        let known = end.or(floor).filter(|known| judged.end.sequence < known.sequence);
        if let Some((segment, _)) = chain.iter().find(|(_, facts)| known.is_some() || unreadable(facts, 0)) {
            let (segment, position, cause) = (*segment, 0, DamageCause::Unreadable);
            judged.losses.push(Loss { segment, position, cause, unit: None });
        }
        judged.end = known.unwrap_or(judged.end);
        return judged;
    };
    let mut last = before.unwrap_or_else(|| End {
        sequence: Sequence(first.sequence().0.saturating_sub(1)),
        checksum: first.header.previous.get(),
    });
    if before.is_none() && (first_at.1, first.header.position.get()) != (0, 0) {
        let (segment, position, cause) = (chain[first_at.0].0, 0, DamageCause::Unit);
        judged.losses.push(Loss { segment, position, cause, unit: None });
    }
    // The highest claim at or behind each unit.
    let mut claims: Vec<Sequence> = units.iter().map(|(_, unit)| Sequence(unit.header.claim.get())).collect();
    for at in (1..claims.len()).rev() {
        claims[at - 1] = claims[at - 1].max(claims[at]);
    }
    let floor_sequence = floor.map_or(Sequence(0), |floor| floor.sequence);
    // Where the unit after the last one should be.
    let mut place = (0, 0);
    for (index, (at, unit)) in units.iter().enumerate() {
        if end.is_some_and(|end| last.sequence >= end.sequence) {
            break;
        }
        let expected = last.sequence.next();
        let linked = unit.sequence() == expected && unit.header.previous.get() == last.checksum;
        if !(linked && unit.whole) {
            let known = end.is_some() || claims[index].max(floor_sequence) >= expected;
            let error = unreadable(chain[place.0].1, place.1);
            if !known && !error {
                if mutants::is(Mutant::AcceptAfterTornUnit) {
                    if unit.whole {
                        judged.accepted.push(*at);
                        last = unit.header.end();
                    }
                    continue;
                }
                if mutants::is(Mutant::AppendBehindTornTail) {
                    let whole = units[index..].iter().rev().find(|(_, unit)| unit.whole);
                    last = whole.map_or(last, |(_, unit)| unit.header.end());
                }
                return Judged { end: last, ..judged };
            }
            let cause = if error { DamageCause::Unreadable } else { DamageCause::Unit };
            if unit.sequence() < expected {
                continue;
            }
            if unit.sequence() > expected {
                judged.losses.push(Loss { segment: chain[place.0].0, position: place.1, cause, unit: None });
            }
            if !unit.whole {
                // It stands behind the loss, and must be claimed, or named, itself.
                let claim = claims.get(index + 1).map_or(floor_sequence, |claim| floor_sequence.max(*claim));
                let own = end.is_some() || claim >= unit.sequence();
                if !own && unit.sequence() > expected {
                    return Judged { end: End { sequence: Sequence(unit.sequence().0 - 1), checksum: 0 }, ..judged };
                }
                let segment = chain[at.0].0;
                judged.losses.push(Loss { segment, position: unit.header.position.get(), cause, unit: Some(*at) });
            }
        }
        judged.accepted.push(*at);
        last = unit.header.end();
        place = (at.0, unit.header.position.get() + u64::from(unit.header.unit_bytes.get()));
    }
    if let Some(end) = end.or(floor).filter(|end| last.sequence < end.sequence) {
        let (segment, cause) = (chain[place.0].0, DamageCause::Unit);
        judged.losses.push(Loss { segment, position: place.1, cause, unit: None });
        last = end;
    }
    if end.is_none() && unreadable(chain[place.0].1, place.1) {
        // Whether there was a unit cannot be known; tearing does not make a block unreadable.
        let (segment, cause) = (chain[place.0].0, DamageCause::Unreadable);
        judged.losses.push(Loss { segment, position: place.1, cause, unit: None });
    }
    Judged { end: last, ..judged }
}

fn unreadable(facts: &SegmentFacts, position: u64) -> bool {
    facts.errors.iter().any(|error| error.contains(&position))
}
