//! The searches: a small one with the other tests, and all there is within larger bounds when asked for.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::checker::{Cores, Reached};
use super::history::Rule;
use super::scenario::{self, Answers, Op, Scenario};
use crate::base::Rng;
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
    let Found { states, unique, depth, seconds, complete, .. } = found;
    let (name, answers) = (scenario.name, scenario.answers);
    eprintln!(
        "{name}, answers {answers:?}: {unique} states, {states} with repetitions, depth {depth}, {seconds:.1} s, complete: {complete}"
    );
    for (rule, actions) in &found.broken {
        eprintln!("{rule}:\n  {}", actions.join("\n  "));
    }
    assert!(found.broken.is_empty(), "{} breaks {} rules", scenario.name, found.broken.len());
    eprintln!("  reached: {:?}", found.reached.lock().unwrap());
    assert!(found.complete, "{} was not searched to its end", scenario.name);
    let reached = found.reached.lock().unwrap();
    for expected in scenario.expects {
        assert!(reached.contains(expected), "{} never reaches `{expected}`: {reached:?}", scenario.name);
    }
}

/// Random executions within the bounds, one for each seed: what is many steps away is found sooner so than in the order of lengths.
/// Returns the first seed whose execution breaks a rule, with the rule.
pub(super) fn walk(scenario: Scenario, mutant: Option<Mutant>, seeds: u64) -> Option<(u64, Rule)> {
    let model = Cores { scenario, mutant, reached: Reached::default() };
    let first = model.init_states().remove(0);
    (0..seeds).find_map(|seed| {
        let mut random = Rng::with_seed(seed);
        let mut state = first.clone();
        loop {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            if actions.is_empty() {
                return state.history.broken.first().map(|rule| (seed, *rule));
            }
            // Drawn like any other step, faults would all be at the beginning.
            let wants_fault = random.u8(..12) == 0;
            if actions.iter().any(|action| action.is_fault() == wants_fault) {
                actions.retain(|action| action.is_fault() == wants_fault);
            }
            let action = actions[random.usize(..actions.len())];
            state = model.next_state(&state, action).expect("every action leads on");
        }
    })
}

/// Long enough on any machine; the search takes seconds.
const LONG: Duration = Duration::from_secs(500);

#[test]
fn every_execution_of_an_append_beside_a_seal_without_one_server() {
    prove(Scenario { answers: Answers::PromptToClients, apart: &[2], ..scenario::SEALING }, LONG);
}

#[test]
fn every_execution_of_an_append_beside_a_check_tail_and_a_crash_without_one_server() {
    prove(Scenario { answers: Answers::PromptToClients, apart: &[2], crashing: &[0, 1], ..scenario::CRASHING }, LONG);
}

#[test]
fn every_execution_of_an_append_beside_a_check_tail_with_three_servers() {
    prove(scenario::TAILING.three_reachable(), LONG);
}

#[test]
fn every_execution_of_an_append_on_each_of_two_lanes_with_three_servers() {
    let (programs, expects): ([&[Op]; 2], _) = ([&[Op::Append]; 2], &["an append is acknowledged"]);
    prove(Scenario { programs, expects, ..scenario::LANES }.three_reachable(), LONG);
}

#[test]
fn every_execution_of_two_lanes_beside_a_seal_without_one_server() {
    let (programs, expects): ([&[Op]; 2], _) = ([&[Op::Append], &[Op::Seal]], &["a seal is complete"]);
    let sealing = Scenario { programs, expects, apart: &[2], ..scenario::LANES };
    prove(Scenario { answers: Answers::Prompt, until_answered: true, ..sealing }, LONG);
}

#[test]
fn every_execution_of_a_fill_beside_an_append_without_one_server() {
    let programs: [&[Op]; 2] = [&[Op::Append], &[Op::FillTo(2), Op::CheckTail]];
    let expects: &[_] = &["an append is acknowledged", "a fill is answered"];
    let filling = Scenario { programs, expects, apart: &[2], ..scenario::NO_OPS };
    prove(Scenario { answers: Answers::PromptToClients, ..filling }, LONG);
}

#[test]
fn random_executions_within_larger_bounds() {
    for scenario in scenario::ALL.iter().chain(scenario::BY_CHANCE) {
        for answers in Answers::ALL {
            let found = walk(Scenario { answers, ..*scenario }, None, 40);
            assert_eq!(found, None, "{}: a seed and the rule that it breaks", scenario.name);
        }
    }
}

/// All bounds, or those of the name `NAXOS_MODEL`, or those whose name it is a part of, with all three servers reachable. To be run in the release profile.
#[test]
#[ignore = "takes minutes for each of the bounds"]
fn every_execution_within_larger_bounds() {
    let name = std::env::var("NAXOS_MODEL").unwrap_or_default();
    let is_whole = scenario::ALL.iter().any(|scenario| scenario.name == name);
    let is_meant = |scenario: &&Scenario| if is_whole { scenario.name == name } else { scenario.name.contains(&name) };
    for scenario in scenario::ALL.iter().filter(is_meant) {
        prove(scenario.three_reachable(), LONG);
    }
}
