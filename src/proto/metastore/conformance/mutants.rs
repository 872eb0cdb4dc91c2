//! Which broken rules are noticed: each mutant of the MetaStore's cores, by the model's random executions or by the random runs.

use super::model::{Bounds, CRASHING, MOVING, RACING, walk};
use super::random::run;
use super::rules::read_after_a_move;
use super::world::World;
use crate::base::mutants::{self, Mutant};

/// Who notices a mutant.
enum By {
    Model(Bounds),
    RandomRuns,
    /// One that is too rare to be met by chance.
    Execution(fn() -> World),
}

const CAUGHT: &[(Mutant, By)] = &[
    (Mutant::AcceptorForgetsInstance, By::Model(RACING)),
    (Mutant::AcceptorForgetsInstance, By::RandomRuns),
    (Mutant::PaxosForgetsPromise, By::Model(Bounds { timers: 2, ..CRASHING })),
    (Mutant::VoteBeforeDurable, By::Model(Bounds { quick_disks: false, timers: 2, ..CRASHING })),
    (Mutant::AcceptIgnoresPromise, By::Model(RACING)),
    (Mutant::AcceptIgnoresPromise, By::RandomRuns),
    (Mutant::IgnoreAcceptedValue, By::Model(RACING)),
    (Mutant::IgnoreAcceptedValue, By::RandomRuns),
    (Mutant::MembersFromUndecided, By::Model(Bounds { timers: 2, ..MOVING })),
    (Mutant::MembersFromUndecided, By::RandomRuns),
    (Mutant::ReadWithoutQuorum, By::RandomRuns),
    (Mutant::ReadEndsAtFinished, By::Execution(read_after_a_move)),
    (Mutant::WrittenWithoutNonce, By::Model(RACING)),
    (Mutant::WrittenWithoutNonce, By::RandomRuns),
];

/// Executions after which a mutant counts as missed.
const WALKS: u64 = 20_000;
const RUNS: u64 = 2_000;

#[test]
fn every_mutant_of_the_metastore_is_caught() {
    let name = std::env::var("NAXOS_MUTANT").unwrap_or_default();
    let mut missed = Vec::new();
    for (mutant, by) in CAUGHT.iter().filter(|(mutant, _)| mutant.name().contains(&name)) {
        let (whom, caught) = match by {
            By::Model(bounds) => (bounds.name, walk(*bounds, Some(*mutant), WALKS)),
            By::RandomRuns => {
                let broken = |seed| run(seed, Some(*mutant)).0.map(|rule| (seed, rule));
                ("random runs", (0..RUNS).find_map(broken))
            }
            By::Execution(execution) => {
                mutants::select(Some(*mutant));
                let world = execution();
                mutants::select(None);
                ("one execution", world.history.broken.first().map(|rule| (0, *rule)))
            }
        };
        match caught {
            Some((seed, rule)) => println!("| `{}` | {whom} | {} | {} |", mutant.name(), seed + 1, rule.name()),
            None => missed.push((mutant.name(), whom)),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
