//! Damage of every kind to journals that the real writer wrote: a start finds exactly the intact acknowledged prefix, or names the
//! damage; never a wrong byte, and what was discarded never comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::base::{CellKey, Limits, LogletId, NodeId, Offset, Rng};
use crate::storage::anchor::{Anchor, SLOT_BYTES};
use crate::storage::format::{FLAG_INDEX, Generation, HEADER_BYTES};
use crate::storage::testing::{Disk, Rig, limits, loglet, small};
use crate::storage::{Damage, Failure, JournalConfig, ReadOutcome, ReadRequest, State};
use crate::wire::{Batch, BatchBuilder};

const SEEDS: u64 = 600;
const LOGLETS: u64 = 3;
const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Effect {
    /// The record at the loglet's tail: nonce and length, from which its bytes are derived.
    Record(LogletId, u64, usize),
    Cell(CellKey, Vec<u8>),
    Removed(CellKey),
}

fn bytes_of(nonce: u64, bytes: usize) -> Vec<u8> {
    let mut rng = Rng::with_seed(nonce);
    (0..bytes).map(|_| rng.u8(..)).collect()
}

type Offsets = BTreeSet<(LogletId, u64)>;

/// What some effects add up to.
#[derive(Default)]
struct Contents {
    records: BTreeMap<LogletId, Vec<Vec<u8>>>,
    cells: BTreeMap<CellKey, Vec<u8>>,
}

impl Contents {
    fn of(effects: &[Effect]) -> Self {
        let mut contents = Self::default();
        for effect in effects {
            match effect {
                Effect::Record(loglet, nonce, bytes) => {
                    contents.records.entry(*loglet).or_default().push(bytes_of(*nonce, *bytes));
                }
                Effect::Cell(key, value) => drop(contents.cells.insert(*key, value.clone())),
                Effect::Removed(key) => drop(contents.cells.remove(key)),
            }
        }
        contents
    }

    fn tail(&self, loglet: LogletId) -> u64 {
        self.records.get(&loglet).map_or(0, |records| records.len() as u64)
    }
}

/// A unit as the writer wrote it.
struct Unit {
    sequence: u64,
    generation: Generation,
    position: usize,
    bytes: Vec<u8>,
}

/// A journal, everything it was told, and what became of it.
struct World {
    rng: Rng,
    rig: Rig,
    effects: Vec<Effect>,
    trims: BTreeMap<LogletId, u64>,
    nonce: u64,
    /// Files as they were at some moment before.
    stale: BTreeMap<PathBuf, Vec<u8>>,
}

/// What a start must find after damage.
struct Expected {
    /// So many effects at least.
    least: usize,
    /// So many were ever submitted.
    most: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let limits = Limits { segments_max: 14, ..small([1, 2, 4][rng.usize(..3)]) };
        let rig = Rig::with_disk(Disk::new(), limits, 512, seed);
        let (effects, trims, stale) = Default::default();
        Self { rng, rig, effects, trims, nonce: seed << 32, stale }
    }

    /// Writes something, or is refused.
    fn write(&mut self) {
        self.nonce += 1;
        let journal = &mut self.rig.journal;
        let effect = match self.rng.u8(..10) {
            0 => Effect::Cell(
                CellKey { loglet: loglet(0), kind: self.rng.u8(..4) },
                bytes_of(self.nonce, self.rng.usize(1..2500)),
            ),
            1 => Effect::Removed(CellKey { loglet: loglet(0), kind: self.rng.u8(..4) }),
            _ => Effect::Record(loglet(self.rng.u64(..LOGLETS)), self.nonce, self.rng.usize(1..3000)),
        };
        let written = match &effect {
            Effect::Record(loglet, nonce, bytes) => {
                let mut builder = BatchBuilder::default();
                builder.push(&bytes_of(*nonce, *bytes));
                let mut out = Vec::new();
                builder.write_to(&mut out);
                let first = self.effects.iter().filter(|other| matches!(other, Effect::Record(id, ..) if id == loglet));
                let batch = Batch::new(1, &out).unwrap();
                journal.write_records(*loglet, Offset(first.count() as u64), batch)
            }
            Effect::Cell(key, value) => journal.write_cell(*key, value),
            Effect::Removed(key) => journal.remove_cell(*key),
        };
        if written.is_ok() {
            self.effects.push(effect);
        } else {
            self.rig.settle();
            self.trim();
        }
    }

    fn trim(&mut self) {
        let contents = Contents::of(&self.effects);
        for loglet in (0..LOGLETS).map(loglet) {
            let point = contents.tail(loglet).saturating_sub(self.rng.u64(1..12));
            let trim = self.trims.entry(loglet).or_default();
            *trim = point.max(*trim);
            self.rig.journal.trim(loglet, Offset(*trim));
        }
        self.rig.settle();
    }

    fn run(&mut self, writes: usize) {
        for _ in 0..writes {
            self.write();
            if self.rng.bool() {
                self.rig.poll();
            }
            while !self.rig.disk.in_flight.is_empty() && self.rng.u8(..4) > 0 {
                self.rig.complete(self.rng.usize(..self.rig.disk.in_flight.len()));
            }
        }
    }

    /// Some lives that end in peace, and one that does not.
    fn grow(&mut self) {
        for _ in 0..self.rng.usize(0..3) {
            let writes = self.rng.usize(1..90);
            self.run(writes);
            self.rig.settle();
            self.restart(|_, _| false);
            assert_eq!(self.recovered().damage, [], "nothing was damaged yet");
        }
        let writes = self.rng.usize(0..120);
        self.run(writes / 2);
        self.rig.settle();
        self.stale = self.rig.disk.files.clone();
        self.run(writes - writes / 2);
        match self.rng.u8(..4) {
            0 => self.rig.settle(),
            1 => {
                self.rig.journal.close();
                self.rig.settle();
            }
            _ => {}
        }
    }

    fn restart(&mut self, keep: impl FnMut(usize, usize) -> bool) {
        let rig = std::mem::replace(&mut self.rig, Rig::new(limits(1)));
        self.rig = rig.restart(keep);
    }

    fn recovered(&mut self) -> crate::storage::Recovered {
        assert_eq!(self.rig.journal.state(), State::Open, "{:?}", self.rig.journal.failure());
        let recovered = self.rig.journal.take_recovered();
        for (loglet, point) in self.trims.clone() {
            self.rig.journal.trim(loglet, Offset(point));
        }
        recovered
    }

    /// Durable units of the segments in use, as they are on the disk.
    fn live_units(&self) -> Vec<Unit> {
        let live: BTreeSet<u64> =
            self.rig.journal.segments.live.values().map(|segment| segment.identity.generation.0).collect();
        let durable = self.rig.journal.writer.durable.0;
        let units = self.rig.disk.units().into_iter().filter(|(_, header)| {
            live.contains(&header.generation.get()) && !header.has(FLAG_INDEX) && header.sequence.get() <= durable
        });
        let unit = |(path, header): (PathBuf, crate::storage::format::Header)| {
            let position = header.position.get() as usize;
            let used = HEADER_BYTES + header.payload_bytes.get() as usize + header.entries.get() as usize * 64;
            let bytes = self.rig.disk.files[&path][position..position + used].to_vec();
            let generation = header.identity().generation;
            Unit { sequence: header.sequence.get(), generation, position, bytes }
        };
        units.map(unit).collect()
    }

    /// What is certain of a disk, damaged since `before` was true of it.
    fn expected(&self, before: &[Unit], disk: &Disk, sequences: &[u64], durable: u64) -> Expected {
        let is_intact = |unit: &Unit| {
            let range = unit.position..unit.position + unit.bytes.len();
            disk.files.values().any(|file| file.get(range.clone()) == Some(&unit.bytes[..]))
        };
        let first_hit = before.iter().filter(|unit| !is_intact(unit)).map(|unit| unit.sequence).min();
        let anchor = disk.files.iter().find(|(path, _)| path.ends_with("anchor"));
        let slots = anchor.into_iter().flat_map(|(_, bytes)| bytes.chunks(SLOT_BYTES as usize));
        let anchor = slots
            .filter_map(|slot| Anchor::read(slot).ok())
            .map(|(_, anchor)| anchor)
            .max_by_key(|anchor| anchor.count);
        let claim = disk.units().iter().map(|(_, header)| header.claim.get()).max().unwrap_or(0);
        let claimed = claim.max(anchor.map_or(0, |anchor| anchor.end.sequence.0)).min(durable);
        let certain = claimed.max(first_hit.map_or(durable, |first| first - 1));
        let least = sequences.iter().filter(|sequence| **sequence <= certain).count();
        Expected { least, most: sequences.len() }
    }

    /// Reads everything stored; nothing may be other than what was written there. Returns the offsets that could be read,
    /// and those that the answer says are damaged: rot in a segment with an index block shows when it is read.
    fn read_all(&mut self, ever: &Contents) -> (Offsets, Offsets) {
        let (mut found, mut damaged) = (Offsets::new(), Offsets::new());
        for loglet in (0..LOGLETS).map(loglet) {
            for (from, to) in self.rig.stored(loglet) {
                let mut next = from;
                while next < to {
                    let request = ReadRequest { id: 1, loglet, from: Offset(next), to: Offset(to), bytes_max: 5000 };
                    self.rig.journal.read(request);
                    let outcome = loop {
                        if let Some((_, outcome)) = self.rig.journal.poll_read() {
                            break outcome;
                        }
                        self.rig.turn();
                    };
                    match outcome {
                        ReadOutcome::Records { first, records } => {
                            assert_eq!(first, Offset(next));
                            for (payload, _) in records.batch().records() {
                                let written = ever.records.get(&loglet).and_then(|records| records.get(next as usize));
                                assert_eq!(Some(payload), written.map(|bytes| &bytes[..]), "record {next} of {loglet}");
                                found.insert((loglet, next));
                                next += 1;
                            }
                        }
                        ReadOutcome::Damaged { to, .. } => {
                            damaged.extend((next..to.0).map(|offset| (loglet, offset)));
                            next = to.0;
                        }
                        outcome => panic!("stored, and yet {outcome:?}"),
                    }
                }
            }
        }
        (found, damaged)
    }

    /// Checks a start that refuses no votes; returns how many effects it has found.
    fn check_voting(&mut self, expected: &Expected, cells: &BTreeMap<CellKey, Vec<u8>>, damage: &[Damage]) -> usize {
        let ever = Contents::of(&self.effects);
        let (found, mut lost) = self.read_all(&ever);
        for (loglet, from, to) in damage.iter().flat_map(|damage| &damage.holes) {
            lost.extend((from.0..to.0).map(|offset| (*loglet, offset)));
        }
        let fits = |count: usize| {
            let contents = Contents::of(&self.effects[..count]);
            let is_there = |loglet: LogletId| {
                let trim = self.trims.get(&loglet).copied().unwrap_or(0);
                (trim..contents.tail(loglet))
                    .all(|offset| found.contains(&(loglet, offset)) || lost.contains(&(loglet, offset)))
            };
            contents.cells == *cells
                && found.iter().all(|(loglet, offset)| *offset < contents.tail(*loglet))
                && (0..LOGLETS).map(loglet).all(is_there)
        };
        let count = (expected.least..=expected.most).find(|count| fits(*count));
        count.unwrap_or_else(|| {
            panic!("{} to {} effects expected; damage {damage:?}, found {found:?}", expected.least, expected.most)
        })
    }
}

/// The ways for a disk to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Flipped,
    Zeroed,
    Swapped,
    Copied,
    Truncated,
    Removed,
    Twice,
    Exchanged,
    Stale,
    StaleBeside,
    Foreign,
    Unreadable,
    Emptied,
}

/// One of them, done, and where.
type Done = (Kind, String);

impl World {
    fn any_file(&mut self) -> PathBuf {
        let files: Vec<_> = self.rig.disk.files.keys().cloned().collect();
        files[self.rng.usize(..files.len())].clone()
    }

    /// A sector of a file, most often one that has something in it.
    fn any_sector(&mut self, path: &PathBuf) -> usize {
        let bytes = &self.rig.disk.files[path];
        let used: Vec<_> =
            bytes.chunks(SECTOR).enumerate().filter(|(_, data)| data.iter().any(|byte| *byte != 0)).collect();
        let sectors = bytes.len() / SECTOR;
        match used.len() {
            0 => self.rng.usize(..sectors),
            // The newest units, half of the time.
            count if self.rng.bool() => used[count - 1 - self.rng.usize(..count.min(12))].0,
            count => used[self.rng.usize(..count)].0,
        }
    }

    fn damage(&mut self) -> Done {
        let path = self.any_file();
        let other = self.any_file();
        let (sector, other_sector) = (self.any_sector(&path), self.any_sector(&other));
        let files = &mut self.rig.disk.files;
        match self.rng.u8(..16) {
            0 => (Kind::Nothing, String::new()),
            1..=2 => {
                let at = sector * SECTOR + self.rng.usize(..SECTOR);
                files.get_mut(&path).unwrap()[at] ^= 1 << self.rng.u8(..8);
                (Kind::Flipped, format!("{:?}", (path, at)))
            }
            3..=4 => {
                let bytes = files.get_mut(&path).unwrap();
                let from = if self.rng.u8(..3) == 0 { 0 } else { sector * SECTOR };
                let end = (from + SECTOR * self.rng.usize(1..20)).min(bytes.len());
                bytes[from..end].fill(0);
                (Kind::Zeroed, format!("{:?}", (path, from..end)))
            }
            5 => {
                let (at, other_at) = (sector * SECTOR, other_sector * SECTOR);
                let one = files[&path][at..at + SECTOR].to_vec();
                let two = files[&other][other_at..other_at + SECTOR].to_vec();
                files.get_mut(&path).unwrap()[at..at + SECTOR].copy_from_slice(&two);
                files.get_mut(&other).unwrap()[other_at..other_at + SECTOR].copy_from_slice(&one);
                (Kind::Swapped, format!("{:?}", (path, at, other, other_at)))
            }
            6 => {
                let (at, other_at) = (sector * SECTOR, other_sector * SECTOR);
                let one = files[&path][at..at + SECTOR].to_vec();
                files.get_mut(&other).unwrap()[other_at..other_at + SECTOR].copy_from_slice(&one);
                (Kind::Copied, format!("{:?}", (path, at, other, other_at)))
            }
            7..=8 => {
                let bytes = files.get_mut(&path).unwrap();
                let len = if self.rng.bool() { sector * SECTOR } else { self.rng.usize(..bytes.len()) };
                bytes.truncate(len);
                (Kind::Truncated, format!("{:?}", (path, len)))
            }
            9 => {
                files.remove(&path);
                (Kind::Removed, format!("{:?}", (path)))
            }
            10 => {
                let copy = files[&path].clone();
                files.insert("/journal-0/00000000ffffffff.seg".into(), copy);
                (Kind::Twice, format!("{:?}", (path)))
            }
            11 => {
                let (one, two) = (files[&path].clone(), files[&other].clone());
                if path.extension() != other.extension() {
                    return (Kind::Nothing, String::new());
                }
                files.insert(path.clone(), two);
                files.insert(other.clone(), one);
                (Kind::Exchanged, format!("{:?}", (path, other)))
            }
            12 => match self.stale.get(&path) {
                Some(stale) => {
                    files.insert(path.clone(), stale.clone());
                    (Kind::Stale, format!("{:?}", (path)))
                }
                None => (Kind::Nothing, String::new()),
            },
            13 => match self.stale.get(&path).filter(|stale| **stale != files[&path] && path.extension().is_some()) {
                Some(stale) => {
                    files.insert("/journal-0/00000000fffffffe.seg".into(), stale.clone());
                    (Kind::StaleBeside, format!("{:?}", (path)))
                }
                None => (Kind::Nothing, String::new()),
            },
            14 => match self.rng.u8(..4) {
                0 => {
                    files.clear();
                    (Kind::Emptied, String::new())
                }
                1 => {
                    let config = JournalConfig { node: NodeId(99), ..self.rig.journal.config.clone() };
                    let mut foreign = Rig::with_config(Disk::new(), config);
                    foreign.settle();
                    let image = foreign.disk.units()[0].0.clone();
                    let path = PathBuf::from("/journal-0/00000000fffffffd.seg");
                    files.insert(path.clone(), foreign.disk.files[&image].clone());
                    (Kind::Foreign, format!("{:?}", (path)))
                }
                _ => (Kind::Nothing, String::new()),
            },
            _ => {
                let from = (sector * SECTOR) as u64;
                let range = from..from + SECTOR as u64 * self.rng.u64(1..4);
                self.rig.disk.unreadable = Some((path.clone(), range.clone()));
                (Kind::Unreadable, format!("{:?}", (path, range)))
            }
        }
    }

    /// The disk as a reader sees it.
    fn readable(&self) -> Disk {
        let mut disk = Disk::new();
        disk.files = self.rig.disk.files.clone();
        if let Some((path, range)) = &self.rig.disk.unreadable
            && let Some(bytes) = disk.files.get_mut(path)
        {
            let end = (range.end as usize).min(bytes.len());
            bytes[(range.start as usize).min(end)..end].fill(0);
        }
        disk
    }
}

fn refuses(damage: &[Damage]) -> bool {
    damage.iter().any(|damage| !damage.table_survived || !damage.cells_lost.is_empty())
}

/// What came of a run, for the test of the tests: every kind has to come up.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Untouched,
    Prefix,
    Holes,
    Refused,
    NotOpened,
}

fn run(seed: u64) -> Ending {
    let mut world = World::new(seed);
    world.rig.journal.take_recovered();
    world.grow();
    let old_sequences = world.rig.disk.entries.clone();
    let durable = world.rig.journal.writer.durable.0;
    let newest = &world.rig.journal.segments.live[&world.rig.journal.writer.current];
    let generation = newest.identity.generation;
    // The power goes: what is in flight lands in pieces.
    let mut rng = Rng::with_seed(seed ^ 0xdead);
    let whole = rng.bool();
    let mut kept = BTreeMap::new();
    let before = world.live_units();
    world.rig.disk.crash(&mut |op, _| if whole { *kept.entry(op).or_insert_with(|| rng.bool()) } else { rng.bool() });
    let done = world.damage();
    println!("seed {seed}: {done:?}");
    let readable = world.readable();
    let mut expected = world.expected(&before, &readable, &old_sequences, durable);
    let lost_newest = loses_newest(&readable, generation, &before);
    world.restart(|_, _| false);
    if let Some(failure) = world.rig.journal.failure() {
        let fits = match failure {
            Failure::Foreign { .. } => done.0 == Kind::Foreign,
            Failure::Twice { .. } => matches!(done.0, Kind::Twice | Kind::StaleBeside),
            // Two of the exchanged or copied bytes may be a whole header of the other's place; nothing else fails.
            _ => false,
        };
        assert!(fits, "{failure}");
        return Ending::NotOpened;
    }
    assert!(done.0 != Kind::Foreign, "another node's segment is refused");
    let recovered = world.recovered();
    let cells: BTreeMap<_, _> = recovered.cells.iter().cloned().collect();
    let ever = Contents::of(&world.effects);
    if refuses(&recovered.damage) {
        let damaged = !matches!(done.0, Kind::Nothing | Kind::Exchanged);
        assert!(damaged, "nothing is wrong, and yet: {:?}", recovered.damage);
        world.read_all(&ever);
        world.rig.settle();
        // It is said again, also when what is damaged is no longer looked at.
        world.rig.disk.unreadable = None;
        world.restart(|_, _| false);
        assert!(refuses(&world.recovered().damage), "the loss is forgotten; it was {:?}", recovered.damage);
        world.read_all(&ever);
        return Ending::Refused;
    }
    if done.0 == Kind::Emptied {
        assert!(
            recovered.damage.is_empty() && cells.is_empty(),
            "an empty directory is a new journal; the node knows better"
        );
        return Ending::Untouched;
    }
    assert!(!lost_newest || !recovered.damage.is_empty(), "the newest segment is gone, and nothing is said");
    expected.most = expected.most.min(world.effects.len());
    let count = world.check_voting(&expected, &cells, &recovered.damage);
    let ending = match (recovered.damage.is_empty(), count == world.effects.len()) {
        (false, _) => Ending::Holes,
        (true, true) => Ending::Untouched,
        (true, false) => Ending::Prefix,
    };
    // What was discarded does not come back, and what was found stays, also beside new records.
    world.effects.truncate(count);
    world.rig.disk.unreadable = None;
    world.rig.disk.entries.clear();
    world.run(6);
    world.rig.settle();
    world.restart(|_, _| false);
    let again = world.recovered();
    assert!(!refuses(&again.damage), "{:?}", again.damage);
    let exactly = Expected { least: world.effects.len(), most: world.effects.len() };
    let cells = again.cells.iter().cloned().collect();
    world.check_voting(&exactly, &cells, &recovered.damage);
    ending
}

/// Whether nothing is left of the newest segment although its head was acknowledged, and something behind it.
fn loses_newest(disk: &Disk, newest: Generation, before: &[Unit]) -> bool {
    let is_left = disk.units().iter().any(|(_, header)| header.generation.get() == newest.0);
    !is_left && before.iter().filter(|unit| unit.generation == newest).count() > 4
}

#[test]
fn damage_of_any_kind_leaves_the_intact_prefix_or_is_named() {
    let mut endings = BTreeMap::new();
    for seed in 0..SEEDS {
        *endings.entry(run(seed)).or_insert(0) += 1;
    }
    println!("{endings:?}");
    assert_eq!(endings.len(), 5, "{endings:?}");
    assert!(endings.values().all(|count| *count >= 5), "{endings:?}");
}

#[test]
fn the_same_seed_does_the_same() {
    let images = |seed| {
        let mut world = World::new(seed);
        world.rig.journal.take_recovered();
        world.grow();
        world.rig.disk.files
    };
    assert!(images(11) == images(11));
}
