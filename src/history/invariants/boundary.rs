//! The boundary rule: what is read or acknowledged at a position is what the loglet of the segment that covers it was given there, and
//! nothing that another loglet holds at or beyond its stop (P1).

use super::registry::Invariant;
use crate::history::{History, Segment, Value};

pub(super) const INVARIANT: Invariant = Invariant { name: "boundary-rule", source: "P1, P4", check };

/// The segment that covers a position; segments that were replaced before anything was in them cover nothing.
fn covering(history: &History, position: u64) -> Option<&Segment> {
    let behind = history.segments.partition_point(|segment| segment.start <= position);
    let covers = |segment: &&Segment| segment.stop.is_none_or(|(stop, _)| position < stop);
    history.segments[..behind].iter().rev().find(covers)
}

fn check(history: &History, breaches: &mut Vec<String>) {
    breaches.extend(history.segments.iter().flat_map(|segment| &segment.given_twice).cloned());
    let acknowledged =
        history.appends.iter().filter_map(|append| Some((append.acknowledged()?.0, append.value, "acknowledged")));
    let read = history.reads.iter().flat_map(|read| (read.first..).zip(&read.values));
    let read = read.map(|(position, value)| (position, *value, "read"));
    for (position, value, how) in acknowledged.chain(read) {
        let Some(segment) = covering(history, position) else {
            breaches.push(format!("a record was {how} at {position}, which is in no segment"));
            continue;
        };
        let is_other = |given: &&Value| **given != value;
        if segment.given.get(&position).filter(is_other).is_some() {
            let (start, stop) = (segment.start, segment.stop.map(|(stop, _)| stop));
            breaches.push(format!(
                "a record was {how} at {position}, and the loglet that serves [{start}, {stop:?}) was given another one there"
            ));
        }
    }
}
