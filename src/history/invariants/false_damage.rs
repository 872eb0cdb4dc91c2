//! A disk that loses nothing is never found damaged: what a crash tears is told from what was durable (P9).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "sound-disk-damaged", source: "P9", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    breaches.extend(history.false_damage.iter().cloned());
}
