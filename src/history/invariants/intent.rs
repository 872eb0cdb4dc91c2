//! An intent is about the last loglet. While it stands in the chain, what replaces that loglet carries it out, and nothing else; what says
//! that it carries one out carries out that one (P15).

use std::collections::BTreeMap;

use super::registry::Invariant;
use crate::history::{ChainVersion, History};

pub(super) const INVARIANT: Invariant = Invariant { name: "intent-carried-out", source: "P15", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let versions: BTreeMap<u64, &ChainVersion> = history.chains.iter().map(|chain| (chain.version, chain)).collect();
    for chain in versions.values() {
        let Some(intent) = &chain.intent else { continue };
        if intent.replaces != chain.last().loglet {
            breaches.push(format!(
                "version {} of the chain intends to replace {}, and {} is the last loglet",
                chain.version,
                intent.replaces,
                chain.last().loglet
            ));
        }
    }
    for before in versions.values() {
        let Some(after) = versions.get(&(before.version + 1)) else { continue };
        if before.last().loglet != after.last().loglet {
            check_extend(before, after, breaches);
        }
    }
}

fn check_extend(before: &ChainVersion, after: &ChainVersion, breaches: &mut Vec<String>) {
    let new = after.last();
    let intended = before.intent.as_ref().map(|intent| intent.id);
    if new.fulfils != intended {
        breaches.push(format!(
            "version {} of the chain intended {intended:?}, and what was put there carries out {:?}",
            before.version, new.fulfils
        ));
    }
    if let Some(intent) = before.intent.as_ref().filter(|intent| intent.servers != new.servers) {
        breaches.push(format!(
            "version {} of the chain intended {:?}, and {:?} was put there",
            before.version, intent.servers, new.servers
        ));
    }
}
