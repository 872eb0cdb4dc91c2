//! Which broken rules the simulator notices, and after how many seeds. The others are the model's
//! (`src/proto/conformance/model/mutants.rs`).

use super::{Options, Profile, run};
use crate::base::mutants::Mutant;

/// Seeds after which a mutant counts as missed.
const SEEDS: u64 = 500;

/// Each with the profile that shows it soonest.
const CAUGHT: &[(Mutant, Profile)] = &[
    (Mutant::AckBeforeDurable, Profile::Crash),
    (Mutant::AckAfterSeal, Profile::Crash),
    (Mutant::SealCheckBeforeTail, Profile::Network),
    (Mutant::WaitForKnownTail, Profile::Crash),
    (Mutant::RepairRaisesKnownTail, Profile::Crash),
    (Mutant::QuorumMinusOne, Profile::Crash),
    (Mutant::StoreEarlyArrivals, Profile::Disk),
    (Mutant::LocalTailFromKnownTailOnly, Profile::Crash),
    (Mutant::TrimForgetsTail, Profile::Crash),
    (Mutant::FillBeforeCommitted, Profile::Crash),
    (Mutant::ForgetSealOnRestart, Profile::Crash),
    (Mutant::RetryAfterFlushError, Profile::Disk),
    (Mutant::SkipUnitChecksum, Profile::Crash),
    (Mutant::WriteWithoutDsync, Profile::Crash),
    (Mutant::AppendBehindTornTail, Profile::Disk),
    (Mutant::AcceptAfterTornUnit, Profile::Crash),
    (Mutant::PartialHead, Profile::Crash),
    (Mutant::ReadPastStop, Profile::Reconfigure),
    (Mutant::InstallWithoutSeal, Profile::Reconfigure),
    (Mutant::StaleIntent, Profile::Reconfigure),
    (Mutant::ModifyOpenSegment, Profile::Reconfigure),
];

#[test]
fn mutants_are_caught_and_the_same_seeds_are_clean_without_them() {
    let mut missed = Vec::new();
    let name = std::env::var("NAXOS_MUTANT").unwrap_or_default();
    for &(mutant, profile) in CAUGHT.iter().filter(|(mutant, _)| mutant.name().contains(&name)) {
        let options = Options { profile, mutant: Some(mutant), ..Options::default() };
        let caught = (0..SEEDS).find_map(|seed| {
            let violations = run(seed, &options).violations;
            Some((seed, violations.first()?.0))
        });
        let Some((seed, invariant)) = caught else {
            missed.push(mutant.name());
            continue;
        };
        println!("| `{}` | {profile} | {} | {invariant} |", mutant.name(), seed + 1);
        let control = run(seed, &Options { mutant: None, ..options });
        assert_eq!(control.violations, [], "seed {seed} of {profile} without {}", mutant.name());
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
