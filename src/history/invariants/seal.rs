//! After a completed seal nothing is acknowledged that was not there before, and nothing ever beyond a sealed tail (section 3, P2).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "acknowledged-after-seal", source: "P2", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let mut sealed = vec![u64::MAX; history.segments.len()];
    for seal in &history.seals {
        let first = &mut sealed[seal.segment as usize];
        *first = seal.ended.min(*first);
    }
    let mut least = vec![u64::MAX; history.segments.len()];
    for tail in history.tails.iter().filter(|tail| tail.sealed) {
        let Some(segment) = tail.segment else { continue };
        let least = &mut least[segment as usize];
        *least = tail.tail.min(*least);
        let first = &mut sealed[segment as usize];
        *first = tail.ended.min(*first);
    }
    for tail in history.tails.iter().filter(|tail| !tail.sealed) {
        if let Some(segment) = tail.segment.filter(|&segment| tail.invoked > sealed[segment as usize]) {
            breaches.push(format!("segment {segment} was said to be open after its seal"));
        }
    }
    for append in &history.appends {
        let (Some((position, _)), Some(segment)) = (append.acknowledged(), append.segment) else { continue };
        let segment = segment as usize;
        if append.invoked > sealed[segment] {
            breaches
                .push(format!("{position} was acknowledged, and its append began after the seal of segment {segment}"));
        }
        if position >= least[segment] {
            breaches.push(format!("{position} was acknowledged in segment {segment}, sealed at {}", least[segment]));
        }
    }
}
