//! When everything is healed, every operation comes to its end and appends are acknowledged again (L1 to L10).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "convergence", source: "L1 to L10", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    breaches.extend(history.unfinished.iter().cloned());
}
