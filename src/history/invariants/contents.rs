//! What is read was appended, with exactly these contents, and not before (checksums end to end; section 6).

use super::registry::Invariant;
use std::collections::HashMap;

use crate::history::{History, Value};

pub(super) const INVARIANT: Invariant = Invariant { name: "contents-as-sent", source: "section 6", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let appended: HashMap<_, _> = history.appends.iter().map(|append| (append.value, append.invoked)).collect();
    for read in &history.reads {
        for (at, value) in (read.first..).zip(&read.values) {
            match appended.get(value) {
                // Nobody appends it, and at a place where somebody has it is another value.
                _ if *value == Value::NO_OP => {}
                Some(&invoked) if invoked <= read.ended => {}
                Some(_) => breaches.push(format!("{at} was read before it was appended")),
                None => breaches.push(format!("what client {} read at {at} was never appended", read.client)),
            }
        }
    }
}
