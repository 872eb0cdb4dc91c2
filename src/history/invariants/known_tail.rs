//! A known tail is reached by unsealed answers only, so it never exceeds a stop, nor any tail that could become one (P1).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "known-tail-within-stop", source: "P1", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let mut least: Vec<_> = history.segments.iter().map(|segment| segment.stop.map(|(stop, _)| stop)).collect();
    for tail in history.tails.iter().filter(|tail| tail.sealed) {
        let Some(segment) = tail.segment else { continue };
        let least = &mut least[segment as usize];
        *least = Some(least.map_or(tail.tail, |least| least.min(tail.tail)));
    }
    for (number, (segment, least)) in history.segments.iter().zip(least).enumerate() {
        if let Some(least) = least.filter(|&least| segment.known_tail > least) {
            breaches.push(format!(
                "a known tail of {} was told of segment {number}, which was found to end at {least}",
                segment.known_tail
            ));
        }
    }
}
