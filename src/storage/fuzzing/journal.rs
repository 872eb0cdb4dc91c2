//! A journal that the real writer wrote, and what starts make of it after crashes and damage.

use std::mem;

use super::damage::{damage, forge};
use super::history::{Effect, Found, History, LOGLETS, bytes_of};
use crate::base::{CellKey, NodeId, Offset, Write};
use crate::fuzzing::input::Input;
use crate::storage::anchor::{ANCHOR_FILE, Anchor, SLOT_BYTES};
use crate::storage::testing::{Disk, OWNER, Rig, loglet, small};
use crate::storage::{Damage, Full, FullReason, JournalConfig, ReadOutcome, State};
use crate::wire::BatchBuilder;

const OPERATIONS_MAX: usize = 96;
const LIVES_MAX: u64 = 5;
const DIRECTORY: &str = "/journal-0";

/// A list of operations on a journal, with crashes between them, then damage to its files, then two starts. Or files that say something
/// else under checksums that hold: no disk does that, and nothing is promised of it but an end.
///
/// # Panics
/// When a start or a read panics, finds other bytes than were written, loses an acknowledged write without damage, loses one that the
/// anchor or a later unit claims without a word, brings back what an earlier start has discarded, or when the second start does not find what the
/// first one has found.
pub fn journal_recovery(data: &[u8]) {
    let mut input = Input::new(data);
    let mut fuzz = Fuzz::new(&mut input);
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            return;
        }
        match input.byte() {
            0..=127 => fuzz.write(&mut input),
            128..=159 => fuzz.complete(&mut input),
            160..=175 => fuzz.settle(),
            176..=191 => fuzz.trim(&mut input),
            192..=199 => {
                fuzz.rig.journal.close();
                fuzz.settle();
            }
            200..=207 => fuzz.rig.disk.prepares_left = Some(u32::from(input.byte() % 4)),
            208..=239 if fuzz.config.seed < LIVES_MAX => {
                fuzz.crash(&mut input);
                fuzz.restart_undamaged();
            }
            208..=239 => {}
            _ => break,
        }
    }
    fuzz.crash(&mut input);
    if input.byte() % 4 == 3 {
        for _ in 0..=input.below(3) {
            forge(&mut fuzz.rig.disk.files, &mut input);
        }
        fuzz.restart_forged();
    } else {
        for _ in 0..=input.below(3) {
            damage(&mut fuzz.rig.disk.files, &mut input);
        }
        fuzz.restart_damaged();
    }
}

struct Fuzz {
    rig: Rig,
    config: JournalConfig,
    seeds: u64,
    history: History,
    /// Writes that wait for their acknowledgement, each with the length of the history at its end.
    waiting: Vec<(usize, Write)>,
}

/// Whether the damage could have been anything, so that the server must not vote.
fn refuses(damage: &[Damage]) -> bool {
    damage.iter().any(|damage| !damage.table_survived || !damage.cells_lost.is_empty())
}

impl Fuzz {
    fn new(input: &mut Input<'_>) -> Self {
        let shape = input.byte();
        let config = JournalConfig {
            directory: DIRECTORY.into(),
            node: NodeId(5),
            journal: 0,
            block_bytes: if shape & 4 == 0 { 512 } else { 4096 },
            token_owner: OWNER,
            limits: small([1, 2, 4, 2][usize::from(shape & 3)]),
            seed: 1,
        };
        let rig = Rig::with_config(Disk::new(), config.clone());
        assert_eq!(rig.journal.state(), State::Open, "an empty directory is a new journal");
        Self { rig, config, seeds: 0, history: History::default(), waiting: Vec::new() }
    }

    fn note_durable(&mut self) {
        let durable = self.rig.journal.durable();
        let done = self.waiting.iter().take_while(|(_, write)| *write <= durable).count();
        if let Some((effects, _)) = self.waiting.drain(..done).next_back() {
            self.history.acknowledged = effects;
        }
    }

    fn complete(&mut self, input: &mut Input<'_>) {
        self.rig.poll();
        for _ in 0..=input.below(4) {
            let in_flight = self.rig.disk.in_flight.len();
            if in_flight > 0 {
                self.rig.complete(input.below(in_flight));
            }
        }
        self.note_durable();
    }

    fn settle(&mut self) {
        self.rig.settle();
        self.note_durable();
        assert!(self.waiting.is_empty(), "a journal at rest has written everything");
    }

    fn write(&mut self, input: &mut Input<'_>) {
        self.seeds += 1;
        let (kind, size) = (input.byte(), input.byte());
        let id = loglet(u64::from(kind >> 4) % LOGLETS);
        let key = CellKey { loglet: id, kind: kind & 1 };
        let bytes = usize::from(size) * if kind & 2 == 0 { 1 } else { 12 };
        let effects = match kind % 16 {
            0 | 1 => vec![Effect::Cell(key, self.seeds, bytes.min(1000))],
            2 => vec![Effect::Removed(key)],
            kind => (0..=u64::from(kind % 3)).map(|at| Effect::Record(id, self.seeds << 8 | at, bytes / 3)).collect(),
        };
        let journal = &mut self.rig.journal;
        let written = match &effects[..] {
            [Effect::Cell(key, seed, bytes)] => journal.write_cell(*key, &bytes_of(*seed, *bytes)),
            [Effect::Removed(key)] => journal.remove_cell(*key),
            records => {
                let mut builder = BatchBuilder::default();
                for record in records {
                    let Effect::Record(_, seed, bytes) = record else { unreachable!("a batch is of records") };
                    builder.push(&bytes_of(*seed, *bytes));
                }
                journal.write_records(id, Offset(self.history.tail(id)), builder.batch())
            }
        };
        match written {
            Ok(write) => {
                self.history.push(effects);
                self.waiting.push((self.history.len(), write));
            }
            Err(Full { reason: FullReason::Failed }) => panic!("nothing has failed: {:?}", journal.failure()),
            Err(_) => self.settle(),
        }
    }

    fn trim(&mut self, input: &mut Input<'_>) {
        let id = loglet(u64::from(input.byte()) % LOGLETS);
        let tail = self.history.acknowledged_tail(id);
        let point = tail.saturating_sub(u64::from(input.byte() % 16));
        let trim = self.history.trims.entry(id).or_default();
        *trim = point.max(*trim);
        self.rig.journal.trim(id, Offset(*trim));
    }

    /// Power is lost: of each write in flight nothing lands, or everything, or any of its first eight sectors and their likes behind.
    fn crash(&mut self, input: &mut Input<'_>) {
        self.rig.poll();
        let kept: Vec<u8> = self.rig.disk.in_flight.iter().map(|_| [0, 255, input.byte()][input.below(3)]).collect();
        self.rig.disk.crash(&mut |op, sector| kept[op] >> (sector % 8) & 1 == 1);
        self.rig.disk.prepares_left = None;
        self.waiting.clear();
    }

    /// A new life on this disk; none when the journal does not open.
    fn start(&mut self, disk: Disk) -> Option<(Found, Vec<Damage>)> {
        self.config.seed += 1;
        self.rig = Rig::with_config(disk, self.config.clone());
        (self.rig.journal.state() == State::Open).then(|| self.look())
    }

    /// Everything that the journal holds.
    fn look(&mut self) -> (Found, Vec<Damage>) {
        let recovered = self.rig.journal.take_recovered();
        for (loglet, point) in &self.history.trims {
            self.rig.journal.trim(*loglet, Offset(*point));
        }
        let mut found = Found { cells: recovered.cells.into_iter().collect(), ..Found::default() };
        for (loglet, from, to) in recovered.damage.iter().flat_map(|damage| &damage.holes) {
            found.lost.extend((from.0..to.0).map(|offset| (*loglet, offset)));
        }
        for id in (0..LOGLETS).map(loglet) {
            for (mut next, to) in self.rig.stored(id) {
                while next < to {
                    match self.rig.read(id, next, to, 5000) {
                        ReadOutcome::Records { first, records } => {
                            assert_eq!(first, Offset(next));
                            for (payload, _) in records.batch().records() {
                                found.records.insert((id, next), payload.to_vec());
                                next += 1;
                            }
                            self.rig.journal.recycle(records);
                        }
                        ReadOutcome::Damaged { from, to } => {
                            assert!(from == Offset(next) && from < to, "every answer is about something");
                            found.lost.extend((from.0..to.0).map(|offset| (id, offset)));
                            next = to.0;
                        }
                        ReadOutcome::Missing { .. } => panic!("stored, and yet missing"),
                    }
                }
            }
        }
        (found, recovered.damage)
    }

    /// What was acknowledged is there, and a prefix of what was not.
    fn restart_undamaged(&mut self) {
        let disk = mem::take(&mut self.rig.disk);
        let (found, damage) = self.start(disk).expect("nothing is damaged");
        assert!(damage.is_empty(), "nothing is damaged: {damage:?}");
        self.history.check_bytes(&found, true);
        let count = self.history.prefix(&found, self.history.acknowledged);
        let count =
            count.expect("all that is acknowledged is there, and whatever else is there was written before the rest");
        let entries = self.history.truncate(count);
        self.rig.disk.entries.truncate(entries);
    }

    fn restart_damaged(&mut self) {
        let disk = mem::take(&mut self.rig.disk);
        let image = disk.files.clone();
        let claimed = self.history.len_after(claimed(&disk));
        let Some((found, damage)) = self.start(disk) else {
            let failure = format!("{:?}", self.rig.journal.failure());
            let mut again = Disk::new();
            again.files = image;
            assert!(self.start(again).is_none(), "a second start on the same files opens");
            assert_eq!(failure, format!("{:?}", self.rig.journal.failure()), "it fails for another reason");
            return;
        };
        let refuses_votes = refuses(&damage);
        self.history.check_bytes(&found, !refuses_votes);
        if !refuses_votes {
            let prefix = self.history.prefix(&found, claimed);
            assert!(prefix.is_some(), "no prefix of what was written, from {claimed} on, and all it says: {damage:?}");
        }
        // The next life finds the same, and says the same of it.
        self.rig.settle();
        let mut disk = mem::take(&mut self.rig.disk);
        disk.crash(&mut |_, _| false);
        let (again, damage_again) = self.start(disk).expect("the journal has opened before");
        assert_eq!(refuses_votes, refuses(&damage_again), "{damage:?} and then {damage_again:?}");
        assert_eq!(found.records, again.records, "{damage:?} and then {damage_again:?}");
        assert_eq!(found.cells, again.cells, "{damage:?} and then {damage_again:?}");
    }
}

impl Fuzz {
    /// Whatever is found, a start ends, and so do reads and what the journal does next.
    fn restart_forged(&mut self) {
        self.config.seed += 1;
        let disk = mem::take(&mut self.rig.disk);
        self.rig = Rig::with_config(disk, self.config.clone());
        if self.rig.journal.state() != State::Open {
            return;
        }
        for loglet in self.rig.journal.take_recovered().loglets {
            for (from, to) in self.rig.stored(loglet) {
                self.rig.read(loglet, from, to, 5000);
            }
        }
        self.rig.settle();
    }
}

/// How many entries lie in units that the anchor, or a later unit, says were durable. Who loses one of them has to say so.
fn claimed(disk: &Disk) -> usize {
    let anchor = disk.files.iter().find(|(path, _)| path.file_name().is_some_and(|name| name == ANCHOR_FILE));
    let slots = anchor.iter().flat_map(|(_, bytes)| [0, SLOT_BYTES].map(|at| bytes.get(at as usize..)));
    let anchors = slots.flatten().filter_map(|slot| Anchor::read(slot).ok()).map(|(_, anchor)| anchor);
    let anchored = anchors.max_by_key(|anchor| anchor.count).map_or(0, |anchor| anchor.end.sequence.0);
    let claim = disk.units().iter().map(|(_, header)| header.claim.get()).max().unwrap_or(0);
    disk.entries.iter().take_while(|sequence| **sequence <= claim.max(anchored)).count()
}
