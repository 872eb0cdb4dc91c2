//! No two appends are acknowledged at one position (P1, P4).

use super::registry::Invariant;
use std::collections::HashMap;

use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "one-value-per-position", source: "P1, P4", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let mut taken = HashMap::new();
    for append in &history.appends {
        let Some((position, _)) = append.acknowledged() else { continue };
        if let Some(other) = taken.insert(position, append.client) {
            breaches.push(format!("{position} was acknowledged to client {other} and to client {}", append.client));
        }
    }
}
