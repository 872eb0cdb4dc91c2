//! Which broken rules the model notices.

use std::time::Duration;

use super::scenario::{self, Scenario};
use super::search::search;
use crate::base::mutants::Mutant;

/// Each mutant of the cores, and the bounds within which it shows.
const CAUGHT: &[(Mutant, Scenario)] = &[
    (Mutant::AckBeforeDurable, scenario::CRASHING),
    (Mutant::AckAfterSeal, scenario::SEALING),
    (Mutant::SealCheckBeforeTail, scenario::WAITING),
    (Mutant::WaitForKnownTail, scenario::WAITING),
    (Mutant::RepairRaisesKnownTail, scenario::RACING),
    (Mutant::NoRepair, scenario::SEALING),
    (Mutant::SequencerResumes, scenario::RESTARTING),
    (Mutant::SequencerStartsTwice, scenario::RESTARTING),
    (Mutant::QuorumMinusOne, scenario::SEALING),
    (Mutant::StoreEarlyArrivals, scenario::FILLING),
    (Mutant::LocalTailFromKnownTailOnly, scenario::SEALING),
    (Mutant::SealedBeforeDurable, scenario::SEALING_CRASHING),
    (Mutant::TrimForgetsTail, scenario::TRIMMING),
    (Mutant::RecreateDeletedLoglet, scenario::DELETING),
    (Mutant::ForgetSealOnRestart, scenario::SEALING_CRASHING),
];

#[test]
fn every_mutant_of_the_cores_is_caught() {
    let name = std::env::var("NAXOS_MUTANT").unwrap_or_default();
    let mut missed = Vec::new();
    for (mutant, scenario) in CAUGHT.iter().filter(|(mutant, _)| mutant.name().contains(&name)) {
        let found = search(*scenario, Some(*mutant), Duration::from_secs(120));
        let caught = found.broken.first();
        eprintln!("{}: {:?} after {} states, {:.1} s", mutant.name(), caught, found.unique, found.seconds);
        if caught.is_none() {
            missed.push(mutant.name());
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
