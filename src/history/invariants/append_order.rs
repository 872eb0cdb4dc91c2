//! Appends keep the order of real time: ack(A) before invoke(B) gives pos(A) < pos(B) (linearizability; section 3).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant =
    Invariant { name: "real-time-order", source: "the order of acknowledged appends", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let mut ended: Vec<_> = history.appends.iter().filter_map(|append| append.acknowledged()).collect();
    ended.sort_unstable_by_key(|&(_, at)| at);
    let mut begun: Vec<_> =
        history.appends.iter().filter_map(|append| Some((append.invoked, append.acknowledged()?.0))).collect();
    begun.sort_unstable();
    let (mut ended, mut largest) = (ended.into_iter().peekable(), None);
    for (invoked, position) in begun {
        while let Some((before, _)) = ended.next_if(|&(_, at)| at < invoked) {
            largest = largest.max(Some(before));
        }
        if let Some(largest) = largest.filter(|&largest| position <= largest) {
            breaches.push(format!("an append got {position} that began after {largest} had been acknowledged"));
        }
    }
}
