use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::loglet::Answer;
use super::rules::Rule;
use super::world::{Op, World};
use crate::base::mutants::{self, Mutant};

/// The bounds of a search.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    name: &'static str,
    programs: &'static [&'static [Op]],
    /// Writes of the register whose end nobody knows.
    unknown: u8,
    /// Records that a sealed loglet is given.
    zombies: u8,
    /// Answers of sequencers that are lost.
    losses: u8,
    /// Deadlines that pass.
    timers: u8,
    /// Clients that end and begin anew.
    restarts: u8,
    /// Endings of operations that some execution has.
    expects: &'static [&'static str],
}

const NONE: Bounds =
    Bounds { name: "none", programs: &[], unknown: 0, zombies: 0, losses: 0, timers: 0, restarts: 0, expects: &[] };

/// Two reconfigurers and an append between them, whose record may come to the old loglet after its seal.
const RACING: Bounds = Bounds {
    name: "racing reconfigurers",
    programs: &[&[Op::Extend], &[Op::Extend], &[Op::Append(0), Op::Append(1)]],
    zombies: 1,
    timers: 1,
    expects: &["extended", "overtaken", "appended"],
    ..NONE
};

/// A reader beside a reconfigurer, with a zombie that only readers could see.
const READING: Bounds = Bounds {
    name: "reading",
    programs: &[&[Op::Append(0), Op::Append(1)], &[Op::Extend, Op::CheckTail, Op::Read]],
    zombies: 1,
    losses: 1,
    timers: 1,
    expects: &["extended", "appended", "records", "tail"],
    ..NONE
};

/// A reconfigurer that ends anywhere, with its last write on the way, beside one with an intent.
const RESTARTING: Bounds = Bounds {
    name: "restarting",
    programs: &[&[Op::Intend(2), Op::Append(0)], &[Op::Extend]],
    unknown: 1,
    timers: 1,
    restarts: 1,
    expects: &["extended", "overtaken", "restarted", "appended"],
    ..NONE
};

/// Two intents, one after the other, and a plain extend behind them.
const INTENDING: Bounds = Bounds {
    name: "intending",
    programs: &[&[Op::Intend(2), Op::Extend], &[Op::Intend(3)]],
    unknown: 1,
    expects: &["extended", "pending"],
    ..NONE
};

const ALL: [Bounds; 4] = [RACING, READING, RESTARTING, INTENDING];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Start(usize),
    Answer(usize, usize, Answer),
    WriteLate(usize),
    Timer(usize),
    Restart(usize),
}

#[derive(Clone, Debug)]
struct State {
    world: World,
    left: Bounds,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Bounds { unknown, zombies, losses, timers, restarts, .. } = self.left;
        (&self.world, unknown, zombies, losses, timers, restarts).hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.world.digest() == other.world.digest()
    }
}

struct Cores {
    bounds: Bounds,
    mutant: Option<Mutant>,
}

impl Cores {
    fn step(State { world, left }: &mut State, programs: &[&[Op]], action: Action) {
        match action {
            Action::Start(client) => world.start(client, programs[client][world.started(client)]),
            Action::Answer(client, index, answer) => {
                match answer {
                    Answer::Unknown => left.unknown -= 1,
                    Answer::TakeSealed => left.zombies -= 1,
                    Answer::Lose => left.losses -= 1,
                    Answer::Plain | Answer::Take | Answer::Tail(_) => {}
                }
                world.answer(client, index, answer);
            }
            Action::WriteLate(index) => world.write_late(index),
            Action::Timer(client) => {
                left.timers -= 1;
                world.pass_deadline(client);
            }
            Action::Restart(client) => {
                left.restarts -= 1;
                world.restart(client);
            }
        }
    }
}

impl Model for Cores {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { world: World::new(self.bounds.programs.len()), left: self.bounds }]
    }

    fn actions(&self, State { world, left }: &State, actions: &mut Vec<Action>) {
        // What follows from a broken rule is of no interest.
        if !world.broken.is_empty() {
            return;
        }
        let is_left = |answer: &Answer| match answer {
            Answer::Unknown => left.unknown > 0,
            Answer::TakeSealed => left.zombies > 0,
            Answer::Lose => left.losses > 0,
            Answer::Plain | Answer::Take | Answer::Tail(_) => true,
        };
        let answers = world.possible().into_iter().filter(|(.., answer)| is_left(answer));
        actions.extend(answers.map(|(client, index, answer)| Action::Answer(client, index, answer)));
        actions.extend((0..world.late()).map(Action::WriteLate));
        for (client, program) in self.bounds.programs.iter().enumerate() {
            if world.started(client) < program.len() && !world.is_busy(client) {
                actions.push(Action::Start(client));
            }
            if left.timers > 0 && world.has_deadline(client) {
                actions.push(Action::Timer(client));
            }
            if left.restarts > 0 && world.is_busy(client) {
                actions.push(Action::Restart(client));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        mutants::select(self.mutant);
        let step = catch_unwind(AssertUnwindSafe(|| Self::step(&mut next, self.bounds.programs, action)));
        mutants::select(None);
        if step.is_err() {
            next = last.clone();
            next.world.broken.insert(Rule::Assertion);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($rule:ident),*) => {
                vec![$(Property::always(Rule::$rule.name(), |_: &Self, state: &State| {
                    !state.world.broken.contains(&Rule::$rule)
                })),*]
            };
        }
        let rules = always![OneChain, Lost, OtherValue, Stale, Intent, Assertion];
        assert_eq!(rules.len(), Rule::ALL.len(), "every rule is a property");
        macro_rules! sometimes {
            ($($what:literal),*) => {
                vec![$(Property::sometimes($what, |_: &Self, state: &State| {
                    state.world.endings.contains($what)
                })),*]
            };
        }
        let endings =
            sometimes!["appended", "tail", "records", "extended", "overtaken", "pending", "unavailable", "restarted"];
        let expected = endings.into_iter().filter(|property| self.bounds.expects.contains(&property.name));
        rules.into_iter().chain(expected).collect()
    }
}

/// Searches to the end, or with a mutant up to the first rule that is broken; returns which, after how many states.
fn search(bounds: Bounds, mutant: Option<Mutant>) -> Vec<(&'static str, usize)> {
    let (begin, limit) = (Instant::now(), Duration::from_secs(250));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Cores { bounds, mutant }.checker().threads(threads).timeout(limit);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, seconds) = (checker.unique_state_count(), begin.elapsed().as_secs_f64());
    let mut found = checker.discoveries();
    if mutant.is_none() {
        eprintln!(
            "| `{}` | {states} | {} | {} | {seconds:.1} |",
            bounds.name,
            checker.state_count(),
            checker.max_depth()
        );
        for expected in bounds.expects {
            assert!(found.remove(expected).is_some(), "{} never reaches `{expected}`", bounds.name);
        }
        assert!(begin.elapsed() < limit, "{} was not searched to its end", bounds.name);
        let broken: Vec<_> = found.into_iter().map(|(rule, path)| (rule, path.into_actions())).collect();
        assert!(broken.is_empty(), "{}: {broken:#?}", bounds.name);
        return Vec::new();
    }
    let is_rule = |name: &&str| Rule::ALL.iter().any(|rule| rule.name() == *name);
    found.into_keys().filter(is_rule).map(|rule| (rule, states)).collect()
}

#[test]
fn every_execution_of_racing_reconfigurers() {
    search(RACING, None);
}

#[test]
fn every_execution_of_a_reader_beside_a_reconfigurer() {
    search(READING, None);
}

#[test]
fn every_execution_of_a_reconfigurer_that_ends_and_begins_anew() {
    search(RESTARTING, None);
}

#[test]
fn every_execution_of_two_intents() {
    search(INTENDING, None);
}

#[test]
fn every_mutant_of_the_virtual_log_is_caught() {
    for mutant in [Mutant::ReadPastStop, Mutant::InstallWithoutSeal, Mutant::StaleIntent] {
        let caught = ALL.iter().find_map(|bounds| Some((bounds.name, *search(*bounds, Some(mutant)).first()?)));
        let (bounds, (rule, states)) = caught.unwrap_or_else(|| panic!("{} is not caught", mutant.name()));
        println!("| `{}` | {bounds} | {states} states | {rule} |", mutant.name());
    }
}
