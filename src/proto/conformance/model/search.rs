//! The searches: a small one with the other tests, and all there is within larger bounds when asked for.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::checker::{Cores, Reached};
use super::scenario::{self, Scenario};
use crate::base::mutants::Mutant;

/// What a search has found.
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) unique: usize,
    pub(super) depth: usize,
    /// The rules broken, each with the actions that break it.
    pub(super) broken: Vec<(&'static str, Vec<String>)>,
    pub(super) reached: Reached,
    pub(super) complete: bool,
    pub(super) seconds: f64,
}

/// Tries every execution within the bounds, in the order of their lengths, for as long as that takes or until `limit`.
pub(super) fn search(scenario: Scenario, mutant: Option<Mutant>, limit: Duration) -> Found {
    let begin = Instant::now();
    let reached = Reached::default();
    let model = Cores { scenario, mutant, reached: reached.clone() };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads).timeout(limit).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let broken = checker
        .discoveries()
        .into_iter()
        .filter(|(name, _)| checker.model().scenario.expects.iter().all(|expected| expected != name));
    let broken =
        broken.map(|(name, path)| (name, path.into_actions().iter().map(|action| format!("{action:?}")).collect()));
    Found {
        states: checker.state_count(),
        unique: checker.unique_state_count(),
        depth: checker.max_depth(),
        broken: broken.collect(),
        reached,
        complete: begin.elapsed() < limit,
        seconds: begin.elapsed().as_secs_f64(),
    }
}

/// Searches to the end, and finds nothing but what it should.
fn prove(scenario: Scenario, limit: Duration) {
    let found = search(scenario, None, limit);
    let Found { states, unique, depth, seconds, .. } = found;
    eprintln!("{}: {unique} states of {states}, depth {depth}, {seconds:.1} s", scenario.name);
    for (rule, actions) in &found.broken {
        eprintln!("{rule}:\n  {}", actions.join("\n  "));
    }
    assert!(found.broken.is_empty(), "{} breaks {} rules", scenario.name, found.broken.len());
    assert!(found.complete, "{} was not searched to its end", scenario.name);
    let reached = found.reached.lock().unwrap();
    eprintln!("  reached: {reached:?}");
    for expected in scenario.expects {
        assert!(reached.contains(expected), "{} never reaches `{expected}`: {reached:?}", scenario.name);
    }
}

const SHORT: Duration = Duration::from_secs(300);

#[test]
fn every_execution_of_an_append_and_a_seal() {
    prove(scenario::SEALING, SHORT);
}

#[test]
#[ignore = "measure"]
fn measure() {
    let name = std::env::var("NAXOS_MODEL").unwrap_or_default();
    for scenario in scenario::ALL.iter().filter(|scenario| scenario.name.contains(&name)) {
        prove(*scenario, Duration::from_secs(540));
    }
}
