//! Everybody reads the same at a position, for ever, also what was never acknowledged (P1, P4, P18).

use super::registry::Invariant;
use std::collections::BTreeMap;

use crate::history::{History, Value};

pub(super) const INVARIANT: Invariant = Invariant { name: "stable-values", source: "P1, P4, P18", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let mut seen = BTreeMap::new();
    let contents = history.contents.iter().flat_map(|(from, values)| (*from..).zip(values));
    let reads = history.reads.iter().flat_map(|read| (read.first..).zip(&read.values));
    for (position, value) in contents.chain(reads) {
        if *seen.entry(position).or_insert(*value) != *value {
            breaches.push(format!("{position} was read with two contents"));
        }
    }
    if history.may_repeat {
        return;
    }
    // One record is in the log once.
    let mut places = BTreeMap::new();
    for (position, value) in seen.into_iter().filter(|(_, value)| *value != Value::NO_OP) {
        if let Some(other) = places.insert(value, position) {
            breaches.push(format!("{other} and {position} have the same record"));
        }
    }
}
