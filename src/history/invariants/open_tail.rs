//! Every (X, open) is at or below the stop installed later, and below any sealed tail that could have become it (P18).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "open-tail-within-stop", source: "P18", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let mut open = vec![0; history.segments.len()];
    for tail in history.tails.iter().filter(|tail| !tail.sealed) {
        let Some(segment) = tail.segment else { continue };
        let most = &mut open[segment as usize];
        *most = tail.tail.max(*most);
    }
    for (number, segment) in history.segments.iter().enumerate() {
        if let Some((stop, _)) = segment.stop.filter(|&(stop, _)| open[number] > stop) {
            breaches.push(format!("segment {number} was open up to {} and ends at {stop}", open[number]));
        }
    }
    for tail in history.tails.iter().filter(|tail| tail.sealed) {
        let Some(segment) = tail.segment else { continue };
        let open = open[segment as usize];
        if open > tail.tail {
            breaches.push(format!("segment {segment} was open up to {open} and sealed at {}", tail.tail));
        }
    }
}
