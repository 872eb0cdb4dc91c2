//! A tail told is behind what comes later: checkTail -> X before invoke(B) gives pos(B) >= X (P18).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "append-behind-told-tail", source: "P18", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    // A sealed tail may lie beyond the stop, and then says nothing about what comes.
    let mut told: Vec<_> =
        history.tails.iter().filter(|tail| !tail.sealed).map(|tail| (tail.ended, tail.tail)).collect();
    told.sort_unstable();
    let mut begun: Vec<_> =
        history.appends.iter().filter_map(|append| Some((append.invoked, append.acknowledged()?.0))).collect();
    begun.sort_unstable();
    let (mut told, mut most) = (told.into_iter().peekable(), 0);
    for (invoked, position) in begun {
        while let Some((_, tail)) = told.next_if(|&(at, _)| at < invoked) {
            most = tail.max(most);
        }
        if position < most {
            breaches.push(format!("an append got {position} that began after a tail of {most} had been told"));
        }
    }
}
