//! A record enters a journal on top of all before it, or of what is known to be committed; so also does what a crash leaves of it (P9 d,
//! P14, order rule).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "stored-on-top", source: "P9, P14", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let gaps = history.segments.iter().flat_map(|segment| &segment.strange_gaps);
    breaches.extend(gaps.cloned());
}
