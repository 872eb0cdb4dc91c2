//! What a sealed append tells is settled by the stop: below it the record is there, at or beyond it never; what surely was not stored
//! never shows (P16).

use super::registry::Invariant;
use std::collections::HashMap;

use crate::history::{AppendOutcome, History};

pub(super) const INVARIANT: Invariant = Invariant { name: "sealed-append-settled", source: "P16", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let Some((from, contents)) = &history.contents else { return };
    let places: HashMap<_, _> = (*from..).zip(contents).map(|(position, value)| (*value, position)).collect();
    for append in &history.appends {
        let found = places.get(&append.value).copied();
        match append.ended {
            Some((_, AppendOutcome::Settled(position))) => {
                let stop = history.stop(append.segment);
                let is_right = match (append.segment, stop) {
                    (None, _) => found.is_none_or(|found| found == position),
                    (Some(_), None) => continue,
                    (Some(_), Some(stop)) => found == (position < stop).then_some(position),
                };
                if !is_right && position >= *from {
                    breaches.push(format!(
                        "a record was given {position}, its segment ends at {stop:?}, and it is at {found:?}"
                    ));
                }
            }
            Some((_, AppendOutcome::NotStored)) => {
                if let Some(position) = found {
                    breaches.push(format!("the record at {position} was said not to be stored"));
                }
            }
            _ => {}
        }
    }
}
