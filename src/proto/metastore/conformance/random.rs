//! Random operations and faults on the joined cores: lost power, lost and cut connections, clients that end, time that passes, memberships
//! that change. Then everything heals, and every operation has to end.

use super::history::Rule;
use super::world::{LOG, World, write};
use crate::base::mutants::{self, Mutant};
use crate::base::{NodeId, Rng};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, OpId};

const FIRST: &[u128] = &[1, 2, 3];
const NODES: u128 = 5;
const CLIENTS: usize = 3;
const OPERATIONS: u64 = 24;
const STEPS: usize = 700;

struct Run {
    world: World,
    random: Rng,
    operations: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self { world: World::new(NODES, FIRST, CLIENTS), random: Rng::with_seed(seed), operations: 0 }
    }

    fn node(&mut self) -> NodeId {
        NodeId(self.random.u128(1..=NODES))
    }

    fn members(&mut self) -> Vec<u128> {
        let mut nodes: Vec<u128> = (1..=NODES).collect();
        self.random.shuffle(&mut nodes);
        nodes.truncate(if self.random.u8(..4) == 0 { 5 } else { 3 });
        nodes
    }

    fn start_operation(&mut self) {
        let client = self.random.usize(..CLIENTS);
        // Mostly one at a time; sometimes one waits behind another.
        if self.world.history.is_busy(client) && self.random.u8(..8) != 0 {
            return;
        }
        self.operations += 1;
        let mut id = self.operations;
        let op = if self.random.u8(..3) == 0 {
            MetaStoreOp::Read { register: LOG }
        } else {
            let expected = match self.random.u8(..4) {
                0 => self.world.history.seen(client, LOG),
                _ => self.world.history.newest(LOG),
            };
            if self.random.u8(..3) == 0 {
                self.world.start(client, OpId(id), MetaStoreOp::Prepare { register: LOG, expected });
                self.operations += 1;
                id = self.operations;
            }
            let members = if self.random.bool() { FIRST.to_vec() } else { self.members() };
            write(LOG, id, expected, &members)
        };
        self.world.start(client, OpId(id), op);
    }

    fn fault(&mut self) {
        let (client, node) = (self.random.usize(..CLIENTS), self.node());
        match self.random.u8(..12) {
            0..3 => {
                let survive = self.random.usize(..=self.world.nodes[&node].cells.in_flight.len());
                self.world.crash(node, survive);
            }
            3..7 => self.world.restart(node),
            7 => self.world.lose_connection(client, node),
            8 => self.world.cut(client, node),
            9 | 10 => self.world.join(client, node),
            _ => self.world.replace_client(client, FIRST),
        }
    }

    fn step(&mut self) {
        if self.operations < OPERATIONS && self.random.u8(..12) == 0 {
            return self.start_operation();
        }
        if self.random.u8(..25) == 0 {
            return self.fault();
        }
        let events = self.world.possible();
        if events.is_empty() || self.random.u8(..30) == 0 {
            let due = self.world.due();
            if !due.is_empty() {
                self.world.pass_deadline(due[self.random.usize(..due.len())].0);
            }
            return;
        }
        self.world.happen(events[self.random.usize(..events.len())]);
    }

    /// What is left to be done is done, and a last write and everybody's reads succeed.
    fn converge(&mut self) {
        self.world.heal();
        self.world.settle();
        assert!((0..CLIENTS).all(|client| !self.world.history.is_busy(client)), "every operation ends");
        self.world.results.clear();
        let mut id = self.operations;
        let mut perform = |world: &mut World, client, op: &dyn Fn(u64) -> MetaStoreOp| {
            id += 1;
            world.start(client, OpId(id), op(id));
            (id, world.finish(OpId(id)))
        };
        let read = |_| MetaStoreOp::Read { register: LOG };
        let (_, MetaStoreResult::Value(mut newest)) = perform(&mut self.world, 0, &read) else {
            panic!("a healthy MetaStore is read");
        };
        // What was accepted by a minority before may come first, once.
        let written = loop {
            match perform(&mut self.world, 1, &|id| write(LOG, id, newest.version, FIRST)) {
                (id, MetaStoreResult::Written { handed_over: true, .. }) => break id,
                (_, MetaStoreResult::Conflict(current)) if current.version > newest.version => newest = current,
                other => panic!("a healthy MetaStore is written: {other:?}"),
            }
        };
        for client in 0..CLIENTS {
            let (_, MetaStoreResult::Value(last)) = perform(&mut self.world, client, &read) else {
                panic!("a healthy MetaStore is read");
            };
            assert_eq!((last.version, last.value), (newest.version.next(), written.to_string().into_bytes()));
        }
    }
}

/// A run up to its first broken rule. Without one, the faults end and everything converges.
pub(super) fn run(seed: u64, mutant: Option<Mutant>) -> (Option<Rule>, World) {
    mutants::select(mutant);
    let mut run = Run::new(seed);
    for _ in 0..STEPS {
        run.step();
        if let Some(rule) = run.world.history.broken.first() {
            mutants::select(None);
            return (Some(*rule), run.world);
        }
    }
    if mutant.is_none() {
        run.converge();
    }
    mutants::select(None);
    (run.world.history.broken.first().copied(), run.world)
}

#[test]
fn safety_holds_under_faults_and_everything_ends_after_them() {
    let mut endings = std::collections::BTreeMap::<&str, u32>::new();
    for seed in 0..400 {
        let outcome = std::panic::catch_unwind(|| run(seed, None));
        let (broken, world) = outcome.unwrap_or_else(|cause| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause)
        });
        assert_eq!(broken, None, "seed {seed}: {}", world.history.summary());
        world.history.endings.iter().for_each(|(ending, count)| *endings.entry(ending).or_default() += count);
    }
    println!("{endings:?}");
    for ending in ["read", "written", "conflict", "unknown", "unavailable"] {
        assert!(endings.get(ending).is_some_and(|count| *count > 50), "too few of {ending}: {endings:?}");
    }
}
