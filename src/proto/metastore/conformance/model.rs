//! Every execution within bounds, over the production cores joined in memory (`stateright`), and random ones within larger bounds.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::history::Rule;
use super::world::{Event, LOG, World, write};
use crate::base::mutants::{self, Mutant};
use crate::base::{NodeId, Rng, Version};
use crate::proto::metastore::contract::{MetaStoreOp, OpId};

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Read,
    /// On this version, with these members for the next one.
    Write(u64, &'static [u128]),
}

/// The bounds of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) name: &'static str,
    pub(super) nodes: u128,
    pub(super) programs: [&'static [Op]; 2],
    /// Losses of power, each with a restart, and of which nodes.
    pub(super) crashes: u8,
    pub(super) crashing: &'static [u128],
    /// Deadlines that pass.
    pub(super) timers: u8,
    /// Writes become durable as soon as they are made.
    pub(super) quick_disks: bool,
    /// Answers arrive as soon as they are given.
    pub(super) prompt: bool,
    /// Clients that do not reach a node.
    pub(super) apart: &'static [(usize, u128)],
    /// Endings of operations, and other names of [`reached`], that some execution has.
    pub(super) expects: &'static [&'static str],
}

const FIRST: &[u128] = &[1, 2, 3];
const MOVED: &[u128] = &[2, 3, 4];

/// Two writers of one version, whose majorities share one acceptor.
pub(super) const RACING: Bounds = Bounds {
    name: "racing",
    nodes: 3,
    programs: [&[Op::Write(0, FIRST)], &[Op::Write(0, FIRST)]],
    crashes: 0,
    crashing: &[2],
    timers: 2,
    quick_disks: true,
    prompt: true,
    apart: &[(0, 3), (1, 1)],
    expects: &["written", "conflict", "a ballot is refused"],
};

/// As `RACING`, with a loss of power of the acceptor that they share.
pub(super) const CRASHING: Bounds = Bounds {
    name: "crashing",
    crashes: 1,
    timers: 1,
    expects: &["written", "conflict", "a ballot is refused", "an acceptor has restarted"],
    ..RACING
};

/// One writer moves the register while another writes and reads.
pub(super) const MOVING: Bounds = Bounds {
    name: "moving",
    nodes: 4,
    programs: [&[Op::Write(0, MOVED)], &[Op::Write(0, FIRST), Op::Read]],
    timers: 1,
    expects: &["written", "conflict", "read", "the register has moved"],
    ..RACING
};

/// All of it, with every acceptor in reach and disks that take their time.
pub(super) const WIDE: Bounds = Bounds {
    name: "wide",
    nodes: 4,
    programs: [&[Op::Write(0, MOVED), Op::Write(1, FIRST)], &[Op::Write(0, FIRST), Op::Read]],
    crashes: 1,
    crashing: &[1, 2, 3, 4],
    timers: 6,
    quick_disks: false,
    prompt: false,
    apart: &[],
    expects: &[],
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// The client starts the next operation of its program.
    Start(usize),
    Happen(Event),
    /// The node loses power, and starts again.
    Crash(NodeId),
    /// The next deadline of this client passes.
    Timer(usize),
}

#[derive(Clone, Debug)]
pub(super) struct State {
    world: World,
    started: [usize; 2],
    crashes: u8,
    timers: u8,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { world, started, crashes, timers } = self;
        (world, started, crashes, timers).hash(state);
    }
}

/// As the search compares states: by their digests. Each of them covers every field of every core, what is on its way and on the disks, and
/// what clients asked and were told, so that equal digests mean equal futures.
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

/// Whether the state shows what is named: an ending of an operation, or one of these.
fn reached(state: &State, what: &str) -> bool {
    match what {
        "a ballot is refused" => state
            .world
            .clients
            .iter()
            .any(|client| client.poll_timeout().is_some_and(|(_, reason)| reason == "proposer: the next ballot")),
        "an acceptor has restarted" => state.world.nodes.values().any(|node| node.lives > 1),
        "the register has moved" => {
            state.world.clients.iter().any(|client| client.known(LOG).is_some_and(|known| known.names(NodeId(4))))
        }
        ending => state.world.history.endings.contains_key(ending),
    }
}

struct Cores {
    bounds: Bounds,
    mutant: Option<Mutant>,
}

impl Cores {
    fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Start(client) => {
                let index = state.started[client];
                state.started[client] += 1;
                let id = (client * 100 + index) as u64;
                let op = match self.bounds.programs[client][index] {
                    Op::Read => MetaStoreOp::Read { register: LOG },
                    Op::Write(expected, nodes) => write(LOG, id, Version(expected), nodes),
                };
                state.world.start(client, OpId(id), op);
            }
            Action::Happen(event) => state.world.happen(event),
            Action::Crash(node) => {
                state.crashes -= 1;
                state.world.crash(node, 0);
                state.world.restart(node);
            }
            Action::Timer(client) => {
                state.timers -= 1;
                state.world.pass_deadline(client);
            }
        }
        while let Some(event) = self.at_once(&state.world) {
            state.world.happen(event);
        }
        state.world.results.clear();
    }

    fn at_once(&self, world: &World) -> Option<Event> {
        world.possible().into_iter().find(|event| match event {
            Event::Connect(..) => true,
            Event::Land(_) => self.bounds.quick_disks,
            Event::Back(..) => self.bounds.prompt,
            Event::Forth(..) => false,
        })
    }
}

impl Model for Cores {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut world = World::new(self.bounds.nodes, FIRST, 2);
        self.bounds.apart.iter().for_each(|(client, node)| world.cut(*client, NodeId(*node)));
        vec![State { world, started: [0; 2], crashes: self.bounds.crashes, timers: self.bounds.timers }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What follows from a broken rule is of no interest.
        if !state.world.history.broken.is_empty() {
            return;
        }
        actions.extend(state.world.possible().into_iter().map(Action::Happen));
        for client in 0..2 {
            if state.started[client] < self.bounds.programs[client].len() && !state.world.history.is_busy(client) {
                actions.push(Action::Start(client));
            }
        }
        if state.crashes > 0 {
            actions.extend(self.bounds.crashing.iter().map(|node| Action::Crash(NodeId(*node))));
        }
        if state.timers > 0 {
            actions.extend(state.world.due().into_iter().map(|(client, _)| Action::Timer(client)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        mutants::select(self.mutant);
        let step = catch_unwind(AssertUnwindSafe(|| self.step(&mut next, action)));
        mutants::select(None);
        if step.is_err() {
            next = last.clone();
            next.world.history.broken.insert(Rule::Assertion);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($rule:ident),*) => {
                vec![$(Property::always(Rule::$rule.name(), |_: &Self, state: &State| {
                    !state.world.history.broken.contains(&Rule::$rule)
                })),*]
            };
        }
        let rules = always![OneValue, Stale, WentBack, WrongOutcome, Invented, Assertion];
        assert_eq!(rules.len(), Rule::ALL.len(), "every rule is a property");
        macro_rules! sometimes {
            ($($what:literal),*) => {
                vec![$(Property::sometimes($what, |_: &Self, state: &State| reached(state, $what))),*]
            };
        }
        let reachable = sometimes![
            "written",
            "conflict",
            "read",
            "unknown",
            "a ballot is refused",
            "an acceptor has restarted",
            "the register has moved"
        ];
        let expected = reachable.into_iter().filter(|property| self.bounds.expects.contains(&property.name));
        rules.into_iter().chain(expected).collect()
    }
}

/// Searches to the end, and finds nothing but what it should.
fn prove(bounds: Bounds) {
    let (begin, limit) = (Instant::now(), Duration::from_secs(500));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Cores { bounds, mutant: None }.checker().threads(threads).timeout(limit);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, seconds) = (checker.unique_state_count(), begin.elapsed().as_secs_f64());
    eprintln!("{}: {states} states, depth {}, {seconds:.1} s", bounds.name, checker.max_depth());
    let mut found = checker.discoveries();
    for expected in bounds.expects {
        assert!(found.remove(expected).is_some(), "{} never reaches `{expected}`", bounds.name);
    }
    let broken: Vec<_> = found.into_iter().map(|(rule, path)| (rule, path.into_actions())).collect();
    assert!(broken.is_empty(), "{}: {broken:#?}", bounds.name);
    assert!(begin.elapsed() < limit, "{} was not searched to its end", bounds.name);
}

/// Random executions within the bounds, one for each seed. Returns the first seed whose execution breaks a rule, with the rule.
pub(super) fn walk(bounds: Bounds, mutant: Option<Mutant>, seeds: u64) -> Option<(u64, Rule)> {
    let model = Cores { bounds, mutant };
    let first = model.init_states().remove(0);
    (0..seeds).find_map(|seed| {
        let mut random = Rng::with_seed(seed);
        let mut state = first.clone();
        loop {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            if actions.is_empty() {
                return state.world.history.broken.first().map(|rule| (seed, *rule));
            }
            // Drawn like any other step, faults would all be at the beginning.
            let is_fault = |action: &Action| matches!(action, Action::Crash(_) | Action::Timer(_));
            let wants_fault = random.u8(..12) == 0;
            if actions.iter().any(|action| is_fault(action) == wants_fault) {
                actions.retain(|action| is_fault(action) == wants_fault);
            }
            let action = actions[random.usize(..actions.len())];
            state = model.next_state(&state, action).expect("every action leads on");
        }
    })
}

#[test]
fn every_execution_of_two_racing_writers() {
    prove(RACING);
}

#[test]
fn every_execution_of_two_racing_writers_and_a_crash() {
    prove(CRASHING);
}

#[test]
fn every_execution_of_a_register_that_moves() {
    prove(MOVING);
}

#[test]
fn random_executions_within_larger_bounds() {
    for bounds in [RACING, CRASHING, MOVING] {
        let wider = Bounds { apart: &[], prompt: false, quick_disks: false, crashes: 1, timers: 6, ..bounds };
        assert_eq!(walk(wider, None, 200), None, "{}: a seed and the rule that it breaks", bounds.name);
    }
    assert_eq!(walk(WIDE, None, 400), None);
}

/// To be run in the release profile.
#[test]
#[ignore = "takes minutes"]
fn every_execution_within_larger_bounds() {
    for bounds in [RACING, CRASHING, MOVING] {
        prove(Bounds { timers: 3, crashes: 1, crashing: &[1, 2, 3], ..bounds });
        prove(Bounds { quick_disks: false, crashes: 1, ..bounds });
    }
}
