//! An acknowledged append is in the log for ever, where it was said to be, unless it was trimmed (the contract; P2, P4, P5, P7).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "acknowledged-append-lost", source: "P2, P4, P5, P7", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let Some((from, contents)) = &history.contents else { return };
    for append in &history.appends {
        let Some((position, _)) = append.acknowledged() else { continue };
        if position < *from {
            continue;
        }
        match contents.get((position - from) as usize) {
            Some(value) if *value == append.value => {}
            Some(_) => breaches
                .push(format!("another record is at {position}, which was acknowledged to client {}", append.client)),
            None => breaches.push(format!(
                "{position} was acknowledged to client {}, and the log ends at {}",
                append.client,
                from + contents.len() as u64
            )),
        }
    }
}
