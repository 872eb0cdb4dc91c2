//! A node with a blank disk is another node, and has no vote in what its predecessor was a member of (P7, P10).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "blank-disk-votes", source: "P7, P10", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let votes = history.segments.iter().flat_map(|segment| &segment.strange_votes);
    breaches.extend(votes.cloned());
}
