//! What is read was appended, with exactly these contents, and not before (checksums end to end; section 6).

use super::registry::Invariant;
use std::collections::HashMap;

use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "contents-as-sent", source: "section 6", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    // A value may have been appended twice: the first time counts.
    let mut appended = HashMap::new();
    for append in &history.appends {
        let first = appended.entry(append.value).or_insert(append.invoked);
        *first = append.invoked.min(*first);
    }
    for read in &history.reads {
        for (at, value) in (read.first..).zip(&read.values) {
            match appended.get(value) {
                Some(&invoked) if invoked <= read.ended => {}
                Some(_) => breaches.push(format!("{at} was read before it was appended")),
                None => breaches.push(format!("what client {} read at {at} was never appended", read.client)),
            }
        }
    }
}
