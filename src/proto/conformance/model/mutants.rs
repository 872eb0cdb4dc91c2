//! Which broken rules the model notices: each mutant of the cores, within the bounds where it shows soonest.

use super::scenario::{self, Answers, Scenario};
use super::search::walk;
use crate::base::mutants::Mutant;

const CAUGHT: &[(Mutant, Scenario)] = &[
    (Mutant::AckBeforeDurable, scenario::SEALING_CRASHING),
    (Mutant::AckAfterSeal, scenario::SEALING),
    (Mutant::SealCheckBeforeTail, scenario::WAITING),
    (Mutant::WaitForKnownTail, scenario::WAITING),
    (Mutant::RepairRaisesKnownTail, scenario::RACING),
    (Mutant::NoRepair, scenario::SEALING),
    (Mutant::SequencerResumes, scenario::RESTARTING),
    (Mutant::SequencerStartsTwice, scenario::RESTARTING),
    (Mutant::QuorumMinusOne, scenario::SEALING),
    (Mutant::StoreEarlyArrivals, scenario::BUSY),
    (Mutant::LocalTailFromKnownTailOnly, scenario::SEALING),
    (Mutant::SealedBeforeDurable, scenario::SEALING_CRASHING),
    (Mutant::TrimForgetsTail, scenario::TRIMMING),
    (Mutant::FillBeforeCommitted, scenario::NO_OPS),
    (Mutant::RecreateDeletedLoglet, scenario::DELETING),
    (
        Mutant::ForgetSealOnRestart,
        Scenario { faults: scenario::CRASHING.faults, crashing: &[0, 1, 2], ..scenario::RACING },
    ),
];

/// Seeds after which a mutant counts as missed.
const SEEDS: u64 = 20_000;

#[test]
fn every_mutant_of_the_cores_is_caught() {
    let name = std::env::var("NAXOS_MUTANT").unwrap_or_default();
    let mut missed = Vec::new();
    for (mutant, scenario) in CAUGHT.iter().filter(|(mutant, _)| mutant.name().contains(&name)) {
        match walk(Scenario { answers: Answers::PromptToClients, ..*scenario }, Some(*mutant), SEEDS) {
            Some((seed, rule)) => {
                println!("| `{}` | {} | {} | {} |", mutant.name(), scenario.name, seed + 1, rule.name())
            }
            None => missed.push(mutant.name()),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn every_mutant_has_a_name_of_its_own() {
    let mut names: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Mutant::ALL.len());
    assert!(Mutant::ALL.iter().all(|mutant| !mutant.rule().is_empty() && mutant.breaks().ends_with('.')));
}
