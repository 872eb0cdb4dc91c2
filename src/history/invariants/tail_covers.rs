//! A tail covers every append acknowledged before it was asked for, and open tails never go back (section 3).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "tail-covers-acknowledged", source: "checkTail", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let mut ended: Vec<_> = history
        .appends
        .iter()
        .filter_map(|append| append.acknowledged().map(|(position, at)| (at, position, append.segment)))
        .collect();
    ended.sort_unstable();
    let mut tails: Vec<_> = history.tails.iter().collect();
    tails.sort_unstable_by_key(|tail| tail.invoked);
    let mut ended = ended.into_iter().peekable();
    let (mut whole, mut acknowledged) = (0, vec![0; history.segments.len()]);
    for tail in &tails {
        while let Some((_, position, segment)) = ended.next_if(|&(at, ..)| at < tail.invoked) {
            whole = (position + 1).max(whole);
            let Some(segment) = segment else { continue };
            let most = &mut acknowledged[segment as usize];
            *most = (position + 1).max(*most);
        }
        // What is in earlier segments lies below the start of this one.
        let covered = tail.segment.map_or(whole, |segment| acknowledged[segment as usize]);
        if tail.tail < covered {
            breaches.push(format!("a tail of {} was told after {} had been acknowledged", tail.tail, covered - 1));
        }
    }
    let mut told: Vec<_> = tails.iter().filter(|tail| !tail.sealed).map(|tail| (tail.ended, tail.tail)).collect();
    told.sort_unstable();
    let (mut told, mut most) = (told.into_iter().peekable(), 0);
    for tail in tails.iter().filter(|tail| !tail.sealed) {
        while let Some((_, before)) = told.next_if(|&(at, _)| at < tail.invoked) {
            most = before.max(most);
        }
        if tail.tail < most {
            breaches.push(format!("client {} was told a tail of {} after one of {most}", tail.client, tail.tail));
        }
    }
}
