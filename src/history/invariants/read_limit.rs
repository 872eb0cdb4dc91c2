//! A read returns nothing but what was asked for, in one piece, and nothing at or beyond the stop of its segment (P1, P17).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "read-within-limit", source: "P1, P17", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    for read in &history.reads {
        let end = read.first + read.values.len() as u64;
        if read.first != read.min || end > read.max {
            breaches.push(format!("[{}, {}) was asked for and [{}, {end}) returned", read.min, read.max, read.first));
        }
        if let Some(stop) = history.stop(read.segment).filter(|&stop| end > stop) {
            breaches.push(format!("client {} read up to {end} in a segment that ends at {stop}", read.client));
        }
    }
}
