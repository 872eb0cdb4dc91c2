//! Random operations and crashes: what a start finds is what was acknowledged, and possibly whole units after it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::base::{CellKey, LogletId, Offset, Rng, Write};
use crate::storage::testing::{Disk, Rig, limits, loglet, small};
use crate::storage::{ReadOutcome, ReadRequest};
use crate::wire::{Batch, BatchBuilder};

#[derive(Debug, Clone)]
enum Action {
    Append {
        loglet: u64,
        count: u64,
        bytes: usize,
    },
    /// Many appends; up to `keep` operations stay in flight.
    Burst {
        appends: u64,
        bytes: usize,
        keep: usize,
        order: u64,
    },
    Cell {
        kind: u8,
        bytes: usize,
    },
    RemoveCell {
        kind: u8,
    },
    Poll,
    Complete {
        which: usize,
    },
    Settle,
    Trim {
        loglet: u64,
    },
    Crash {
        seed: u64,
        whole: bool,
    },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0..3_u64, 1..4_u64, prop_oneof![0..300_usize, 300..1200_usize])
            .prop_map(|(loglet, count, bytes)| Action::Append { loglet, count, bytes }),
        4 => (1..40_u64, 1..1200_usize, 0..6_usize, any::<u64>())
            .prop_map(|(appends, bytes, keep, order)| Action::Burst { appends, bytes, keep, order }),
        2 => (0..6_u8, 0..2600_usize).prop_map(|(kind, bytes)| Action::Cell { kind, bytes }),
        1 => (0..6_u8).prop_map(|kind| Action::RemoveCell { kind }),
        4 => Just(Action::Poll),
        8 => (0..8_usize).prop_map(|which| Action::Complete { which }),
        1 => Just(Action::Settle),
        1 => (0..3_u64).prop_map(|loglet| Action::Trim { loglet }),
        1 => (any::<u64>(), any::<bool>()).prop_map(|(seed, whole)| Action::Crash { seed, whole }),
    ]
}

#[derive(Debug, Clone)]
enum Effect {
    /// Nonces of the records appended, from which their bytes are derived.
    Records(LogletId, Vec<(u64, usize)>),
    Cell(CellKey, Vec<u8>),
    Removed(CellKey),
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Contents {
    records: BTreeMap<LogletId, Vec<(u64, usize)>>,
    cells: BTreeMap<CellKey, Vec<u8>>,
}

impl Contents {
    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Records(loglet, records) => self.records.entry(*loglet).or_default().extend(records),
            Effect::Cell(key, value) => drop(self.cells.insert(*key, value.clone())),
            Effect::Removed(key) => drop(self.cells.remove(key)),
        }
    }

    fn tail(&self, loglet: LogletId) -> u64 {
        self.records.get(&loglet).map_or(0, |records| records.len() as u64)
    }
}

fn bytes_of(nonce: u64, bytes: usize) -> Vec<u8> {
    let mut rng = Rng::with_seed(nonce);
    (0..bytes).map(|_| rng.u8(..)).collect()
}

struct Model {
    rig: Rig,
    /// What the start of this life found.
    base: Contents,
    /// Everything written since, in order.
    written: Vec<(Write, Effect)>,
    /// `base` and all of `written`.
    now: Contents,
    trims: BTreeMap<LogletId, u64>,
    nonce: u64,
}

impl Model {
    fn new(depth: u32) -> Self {
        let rig = Rig::with_disk(Disk::new(), small(depth), 512, 1);
        let (base, written, now, trims) = Default::default();
        Self { rig, base, written, now, trims, nonce: 0 }
    }

    fn note(&mut self, written: Result<Write, crate::storage::Full>, effect: Effect) {
        if let Ok(write) = written {
            self.now.apply(&effect);
            self.written.push((write, effect));
        }
    }

    fn run(&mut self, action: &Action) {
        match *action {
            Action::Append { loglet: log, count, bytes } => {
                let loglet = loglet(log);
                let records: Vec<_> = (0..count).map(|n| (self.nonce + n, bytes)).collect();
                self.nonce += count;
                let mut builder = BatchBuilder::default();
                records.iter().for_each(|(nonce, bytes)| builder.push(&bytes_of(*nonce, *bytes)));
                let mut out = Vec::new();
                builder.write_to(&mut out);
                let first = Offset(self.now.tail(loglet));
                let batch = Batch::new(count as u32, &out).unwrap();
                let written = self.rig.journal.write_records(loglet, first, batch);
                self.note(written, Effect::Records(loglet, records));
            }
            Action::Burst { appends, bytes, keep, order } => {
                let mut rng = Rng::with_seed(order);
                for loglet in 0..appends {
                    self.run(&Action::Append { loglet: loglet % 3, count: 3, bytes });
                    self.rig.poll();
                    while self.rig.disk.in_flight.len() > keep {
                        self.rig.complete(rng.usize(..self.rig.disk.in_flight.len()));
                    }
                }
            }
            Action::Cell { kind, bytes } => {
                self.nonce += 1;
                let (key, value) = (CellKey { loglet: loglet(0), kind }, bytes_of(self.nonce, bytes));
                let written = self.rig.journal.write_cell(key, &value);
                self.note(written, Effect::Cell(key, value));
            }
            Action::RemoveCell { kind } => {
                let key = CellKey { loglet: loglet(0), kind };
                let written = self.rig.journal.remove_cell(key);
                self.note(written, Effect::Removed(key));
            }
            Action::Poll => self.rig.poll(),
            Action::Complete { which } => {
                if !self.rig.disk.in_flight.is_empty() {
                    self.rig.complete(which % self.rig.disk.in_flight.len());
                }
            }
            Action::Settle => {
                self.rig.settle();
                assert!(self.written.last().is_none_or(|last| self.rig.journal.durable() >= last.0));
            }
            Action::Trim { loglet: log } => {
                let loglet = loglet(log);
                if let Some((_, end)) = self.rig.stored(loglet).last() {
                    let point = end - 1;
                    self.trims.insert(loglet, point);
                    self.rig.journal.trim(loglet, Offset(point));
                }
            }
            Action::Crash { seed, whole } => self.crash(seed, whole),
        }
    }

    fn crash(&mut self, seed: u64, whole: bool) {
        let durable = self.rig.journal.durable();
        let mut rng = Rng::with_seed(seed);
        let mut kept = BTreeMap::new();
        let rig = std::mem::replace(&mut self.rig, Rig::new(limits(1)));
        // Whole writes are lost or land, or any of their sectors.
        self.rig =
            rig.restart(|op, _| if whole { *kept.entry(op).or_insert_with(|| rng.bool()) } else { rng.u8(..) < 200 });
        assert_eq!(self.rig.journal.state(), crate::storage::State::Open, "{:?}", self.rig.journal.failure());
        let recovered = self.rig.journal.take_recovered();
        assert_eq!(recovered.damage, []);
        let cells: BTreeMap<_, _> = recovered.cells.into_iter().collect();
        let mut contents = self.base.clone();
        let mut found = None;
        let mut at = 0;
        loop {
            let must = self.written.get(at).is_some_and(|(write, _)| *write <= durable);
            if !must && self.matches(&contents, &cells) {
                found = Some(contents.clone());
            }
            let Some((unit, _)) = self.written.get(at) else { break };
            let unit = *unit;
            while self.written.get(at).is_some_and(|(write, _)| *write == unit) {
                contents.apply(&self.written[at].1);
                at += 1;
            }
        }
        self.base = found.expect("the acknowledged prefix, and possibly whole units after it");
        self.now = self.base.clone();
        self.written.clear();
        for (loglet, point) in self.trims.clone() {
            self.rig.journal.trim(loglet, Offset(point));
        }
        self.read_all();
    }

    fn matches(&self, contents: &Contents, cells: &BTreeMap<CellKey, Vec<u8>>) -> bool {
        contents.cells == *cells
            && (0..3).map(loglet).all(|loglet| {
                let trim = self.trims.get(&loglet).copied().unwrap_or(0);
                let tail = contents.tail(loglet);
                match self.rig.stored(loglet)[..] {
                    [] => tail == 0,
                    [(from, to)] => from <= trim && to == tail,
                    // Segments between may have been dropped, below the trim point only.
                    ref ranges => {
                        let last = ranges[ranges.len() - 1];
                        last.0 <= trim && last.1 == tail
                    }
                }
            })
    }

    fn read_all(&mut self) {
        for loglet in (0..3).map(loglet) {
            let mut next = self.trims.get(&loglet).copied().unwrap_or(0);
            let expected = self.base.records.get(&loglet).cloned().unwrap_or_default();
            while next < expected.len() as u64 {
                let to = Offset(expected.len() as u64);
                self.rig.journal.read(ReadRequest { id: 1, loglet, from: Offset(next), to, bytes_max: 5000 });
                let outcome = loop {
                    if let Some((_, outcome)) = self.rig.journal.poll_read() {
                        break outcome;
                    }
                    self.rig.turn();
                };
                let ReadOutcome::Records { first, records } = outcome else { panic!("{outcome:?}") };
                assert_eq!(first, Offset(next));
                for (payload, _) in records.batch().records() {
                    let (nonce, bytes) = expected[next as usize];
                    assert_eq!(payload, bytes_of(nonce, bytes), "record {next} of {loglet}");
                    next += 1;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_start_finds_what_was_acknowledged(
        depth in prop_oneof![Just(1_u32), Just(2), Just(4)],
        actions in prop::collection::vec(action(), 1..200),
    ) {
        let mut model = Model::new(depth);
        for action in &actions {
            model.run(action);
        }
        model.crash(7, true);
        model.crash(8, false);
    }
}
