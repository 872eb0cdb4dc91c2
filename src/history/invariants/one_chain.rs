//! All chains that anybody held are versions of one: a version has one value, what is closed stays as it is, and a loglet serves one
//! segment, once (P5, P8, P15).

use std::collections::{BTreeMap, BTreeSet};

use super::registry::Invariant;
use crate::base::LogletId;
use crate::history::{ChainPart, ChainVersion, History};

pub(super) const INVARIANT: Invariant = Invariant { name: "one-chain", source: "P5, P8, P15", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let mut versions: BTreeMap<u64, &ChainVersion> = BTreeMap::new();
    for chain in &history.chains {
        if *versions.entry(chain.version).or_insert(chain) != chain {
            breaches.push(format!("version {} of the chain has two values", chain.version));
        }
    }
    let mut gone = BTreeSet::new();
    for (before, after) in versions.values().zip(versions.values().skip(1)) {
        check_step(before, after, &mut gone, breaches);
    }
}

fn check_step(before: &ChainVersion, after: &ChainVersion, gone: &mut BTreeSet<LogletId>, breaches: &mut Vec<String>) {
    let versions = format!("from version {} to {}", before.version, after.version);
    if after.trim_point < before.trim_point {
        breaches
            .push(format!("{versions} the trim point goes back from {} to {}", before.trim_point, after.trim_point));
    }
    for part in &before.parts {
        match after.parts.iter().find(|other| other.loglet == part.loglet) {
            Some(other) if is_continued(part, other) => {}
            Some(other) => breaches.push(format!("{versions} a segment changes from {part:?} to {other:?}")),
            None => {
                gone.insert(part.loglet);
                let is_trimmed = part.stop.is_some_and(|stop| stop <= after.trim_point);
                // It was empty and is replaced (P15); or versions that nobody saw closed it and trimmed it away.
                let first = after.parts[0].start;
                let is_over = part.stop.is_none()
                    && (after.parts.iter().any(|other| other.start == part.start)
                        || after.version > before.version + 1 && first > part.start && first <= after.trim_point);
                if !is_trimmed && !is_over {
                    breaches.push(format!("{versions} the segment {part:?} is lost"));
                }
            }
        }
    }
    for part in after.parts.iter().filter(|part| gone.contains(&part.loglet)) {
        breaches.push(format!("{versions} loglet {} comes back", part.loglet));
    }
}

/// What may become of a segment: it is closed, and then others may serve it (P7).
fn is_continued(before: &ChainPart, after: &ChainPart) -> bool {
    let sequencers = |part: &ChainPart| part.servers.iter().map(|stripe| stripe.sequencer).collect::<Vec<_>>();
    let same =
        before.start == after.start && before.fulfils == after.fulfils && sequencers(before) == sequencers(after);
    match before.stop {
        Some(_) => same && before.stop == after.stop,
        None => same && (after.stop.is_some() || before.servers == after.servers),
    }
}
