use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::history::Rule;
use super::stripe::Answer;
use super::world::{Op, World};
use crate::base::mutants::{self, Mutant};
use crate::proto::loglet::OpId;

/// The bounds of a search.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    name: &'static str,
    stripes: usize,
    programs: &'static [&'static [Op]],
    /// Requests that a sealed stripe gives offsets.
    zombies: u8,
    /// Answers of sequencers that are lost.
    losses: u8,
    /// Answers for want of space.
    full: u8,
    /// Clients of which one may end anywhere.
    ending: &'static [usize],
    /// What some execution has to reach.
    expects: &'static [&'static str],
}

const NONE: Bounds =
    Bounds { name: "none", stripes: 2, programs: &[], zombies: 0, losses: 0, full: 0, ending: &[], expects: &[] };

/// Two appenders, one of which has several under way, and a tail.
const APPENDING: Bounds = Bounds {
    name: "appending",
    programs: &[&[Op::Append(&[0]), Op::Append(&[1]), Op::CheckTail], &[Op::AppendTo(1, &[2])]],
    expects: &["appended", "open"],
    ..NONE
};

/// A reconfigurer beside an appender whose own stripe the other one is not.
const SEALING: Bounds = Bounds {
    name: "sealing",
    programs: &[&[Op::Append(&[0]), Op::Append(&[1])], &[Op::Seal, Op::CheckTail, Op::Install]],
    zombies: 1,
    expects: &["appended", "given an offset", "not stored", "sealed", "installed"],
    ..NONE
};

/// A seal that its client does not complete, and somebody who finds one stripe sealed.
const ROLLING: Bounds = Bounds {
    name: "rolling forward",
    programs: &[&[Op::Append(&[0])], &[Op::Seal], &[Op::CheckTail, Op::Install, Op::CheckTail]],
    ending: &[1],
    expects: &["appended", "given an offset", "open", "sealed", "installed"],
    ..NONE
};

/// Two reconfigurers that may find different tails, beside an append that may have been committed.
const RACING: Bounds = Bounds {
    name: "racing reconfigurers",
    programs: &[
        &[Op::AppendTo(1, &[0])],
        &[Op::Seal, Op::CheckTail, Op::Install],
        &[Op::CheckTail, Op::Install, Op::ReadClosed],
    ],
    expects: &["appended", "given an offset", "sealed", "installed", "overtaken", "read below the stop"],
    ..NONE
};

/// Sequencers that are lost, and appends that wait for a filler.
const LOSING: Bounds = Bounds {
    name: "losing sequencers",
    programs: &[&[Op::AppendTo(1, &[0])], &[Op::AppendTo(0, &[1]), Op::CheckTail]],
    losses: 1,
    expects: &["appended", "lost", "given an offset", "open", "sealed"],
    ..NONE
};

/// Appends that wait for stripes without space.
const WAITING: Bounds = Bounds {
    name: "waiting",
    programs: &[&[Op::AppendTo(1, &[0]), Op::AppendTo(1, &[1])], &[Op::AppendTo(0, &[2]), Op::Read]],
    full: 2,
    expects: &["appended", "given an offset", "not stored", "read"],
    ..NONE
};

/// A batch over several offsets of one stripe, and a filler for them.
const BATCHING: Bounds = Bounds {
    name: "batches",
    programs: &[&[Op::AppendTo(1, &[0, 1, 2])], &[Op::FillTo(4), Op::AppendTo(0, &[3])]],
    expects: &["appended", "filled"],
    ..NONE
};

/// A subscriber beside an appender at one stripe, and a seal.
const FOLLOWING: Bounds = Bounds {
    name: "following",
    programs: &[&[Op::AppendTo(1, &[0, 1]), Op::Seal], &[Op::Subscribe]],
    expects: &["appended", "given an offset", "delivered"],
    ..NONE
};

/// Readers beside a reconfigurer, with a zombie that only they could see.
const READING: Bounds = Bounds {
    name: "reading",
    programs: &[
        &[Op::AppendTo(0, &[0]), Op::AppendTo(1, &[1])],
        &[Op::CheckTail, Op::Read, Op::Seal, Op::CheckTail, Op::Install, Op::ReadClosed],
    ],
    zombies: 1,
    expects: &["appended", "read", "open", "installed", "read below the stop"],
    ..NONE
};

/// Three stripes, of which one is appended to.
const THREE: Bounds = Bounds {
    name: "three stripes",
    stripes: 3,
    programs: &[&[Op::AppendTo(2, &[0])], &[Op::CheckTail, Op::Seal, Op::CheckTail, Op::Install]],
    expects: &["appended", "given an offset", "installed"],
    ..NONE
};

const ALL: [Bounds; 10] = [APPENDING, SEALING, ROLLING, RACING, LOSING, WAITING, BATCHING, FOLLOWING, READING, THREE];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Start(usize),
    Answer(usize, OpId, Answer),
    Hear(usize, usize, u64),
    Timer(usize),
    End(usize),
}

#[derive(Clone, Debug)]
struct State {
    world: World,
    left: Bounds,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Bounds { zombies, losses, full, ending, .. } = self.left;
        (&self.world, zombies, losses, full, ending).hash(state);
    }
}

/// As the search compares states: by their digests.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let digest = |state: &Self| {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            hasher.finish()
        };
        digest(self) == digest(other)
    }
}

/// What a search has been through, over all of its threads.
type Reached = Arc<Mutex<BTreeSet<&'static str>>>;

struct Cores {
    bounds: Bounds,
    mutant: Option<Mutant>,
    reached: Reached,
}

impl Cores {
    fn step(&self, State { world, left }: &mut State, action: Action, reached: &mut impl FnMut(&'static str)) {
        match action {
            Action::Start(client) => world.start(client, self.bounds.programs[client][world.started(client)], reached),
            Action::Answer(client, id, answer) => {
                match answer {
                    Answer::TakeSealed => left.zombies -= 1,
                    Answer::Lose => left.losses -= 1,
                    Answer::Refuse => left.full -= 1,
                    _ => {}
                }
                world.answer(client, id, answer, reached);
            }
            Action::Hear(client, stripe, tail) => world.hear(client, stripe, tail, reached),
            Action::Timer(client) => world.pass_deadline(client, reached),
            Action::End(client) => {
                left.ending = &[];
                world.end(client);
            }
        }
    }

    /// What will happen if nothing else does.
    fn due(&self, State { world, left }: &State, actions: &mut Vec<Action>) {
        let is_left = |answer: &Answer| match answer {
            Answer::TakeSealed => left.zombies > 0,
            Answer::Lose => left.losses > 0,
            Answer::Refuse => left.full > 0,
            _ => true,
        };
        for (client, program) in self.bounds.programs.iter().enumerate() {
            let answers = world.answers(client).filter(|(_, answer)| is_left(answer));
            actions.extend(answers.map(|(id, answer)| Action::Answer(client, id, answer)));
            if program.get(world.started(client)).is_some_and(|op| world.may_start(client, *op)) {
                actions.push(Action::Start(client));
            }
            if world.has_deadline(client) {
                actions.push(Action::Timer(client));
            }
        }
    }

    /// Whether somebody waits for something that does not come.
    fn hangs(&self, state: &State) -> bool {
        let mut due = Vec::new();
        self.due(state, &mut due);
        due.is_empty() && !state.world.is_settled()
    }
}

impl Model for Cores {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let Bounds { stripes, programs, .. } = self.bounds;
        vec![State { world: World::new(stripes, programs.len()), left: self.bounds }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let State { world, left } = state;
        // What follows from a broken rule is of no interest.
        if !world.history.broken.is_empty() {
            return;
        }
        self.due(state, actions);
        for client in 0..self.bounds.programs.len() {
            actions.extend(world.known_tails(client).map(|(of, tail)| Action::Hear(client, of, tail)));
            if left.ending.contains(&client) && !world.is_gone(client) && world.started(client) > 0 {
                actions.push(Action::End(client));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let (mut next, mut reached) = (last.clone(), Vec::new());
        mutants::select(self.mutant);
        let step = catch_unwind(AssertUnwindSafe(|| self.step(&mut next, action, &mut |what| reached.push(what))));
        mutants::select(None);
        if !reached.is_empty() {
            self.reached.lock().expect("no thread panics with it").extend(reached);
        }
        if step.is_err() {
            next = last.clone();
            next.world.fail(Rule::Assertion);
        } else if self.hangs(&next) {
            next.world.fail(Rule::Ends);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($rule:ident),* $(,)?) => {
                vec![$(Property::always(Rule::$rule.name(), |_: &Self, state: &State| {
                    !state.world.history.broken.contains(&Rule::$rule)
                })),*]
            };
        }
        let rules = always![
            AcknowledgedBelowStop,
            OpenBelowStop,
            KnownBelowStop,
            ReadBelowStop,
            NothingAfterSeal,
            TailCovers,
            AppendsInOrder,
            Decided,
            OneValue,
            Once,
            Ends,
            Assertion,
        ];
        assert_eq!(rules.len(), Rule::ALL.len(), "every rule is a property");
        rules
    }
}

/// Searches to the end, or with a mutant up to the first rule that is broken; returns which, after how many states.
fn search(bounds: Bounds, mutant: Option<Mutant>) -> BTreeMap<&'static str, usize> {
    let (begin, limit) = (Instant::now(), Duration::from_secs(250));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = Cores { bounds, mutant, reached: Reached::default() };
    let reached = model.reached.clone();
    let checker = model.checker().threads(threads).timeout(limit);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, seconds) = (checker.unique_state_count(), begin.elapsed().as_secs_f64());
    let found = checker.discoveries();
    if mutant.is_none() {
        let (all, depth) = (checker.state_count(), checker.max_depth());
        eprintln!("| `{}` | {states} | {all} | {depth} | {seconds:.1} |", bounds.name);
        let broken: Vec<_> = found.iter().map(|(rule, path)| (rule, path.clone().into_actions())).collect();
        assert!(broken.is_empty(), "{}: {broken:#?}", bounds.name);
        assert!(begin.elapsed() < limit, "{} was not searched to its end", bounds.name);
        let reached = reached.lock().expect("no thread panics with it");
        let missed: Vec<_> = bounds.expects.iter().filter(|what| !reached.contains(*what)).collect();
        assert!(missed.is_empty(), "{} never reaches {missed:?}, but {reached:?}", bounds.name);
    }
    found.into_keys().map(|rule| (rule, states)).collect()
}

#[test]
fn every_execution_of_appends() {
    search(APPENDING, None);
}

#[test]
fn every_execution_of_batches_and_fillers() {
    search(BATCHING, None);
}

#[test]
fn every_execution_of_appends_beside_a_reconfigurer() {
    search(SEALING, None);
}

#[test]
fn every_execution_of_a_seal_that_another_client_completes() {
    search(ROLLING, None);
}

#[test]
fn every_execution_of_racing_reconfigurers() {
    search(RACING, None);
}

#[test]
fn every_execution_of_lost_sequencers() {
    search(LOSING, None);
}

#[test]
fn every_execution_of_full_stripes() {
    search(WAITING, None);
}

#[test]
fn every_execution_of_a_subscriber_beside_a_seal() {
    search(FOLLOWING, None);
}

#[test]
fn every_execution_of_readers_beside_a_reconfigurer() {
    search(READING, None);
}

#[test]
fn every_execution_of_three_stripes() {
    search(THREE, None);
}

#[test]
fn every_mutant_of_a_striped_loglet_is_caught() {
    let mutants = [
        Mutant::AckBeforeLowerFilled,
        Mutant::StripedFilledBySealedTail,
        Mutant::StripedTailFromMixedSeals,
        Mutant::FillerPastSeal,
        Mutant::SealOneStripe,
    ];
    for mutant in mutants {
        let caught = ALL.iter().find_map(|bounds| Some((bounds.name, search(*bounds, Some(mutant)).pop_first()?)));
        let (bounds, (rule, states)) = caught.unwrap_or_else(|| panic!("{} is not caught", mutant.name()));
        println!("| `{}` | {bounds} | {states} states | {rule} |", mutant.name());
    }
}
