//! A journal on a device in memory whose power fails at any step: what it has said is durable is there, and nothing is damaged.

use std::path::PathBuf;

use super::blocks::Blocks;
use super::part::Part;
use super::slots::Slots;
use super::tests::{BLOCK, Memory, SLOT, formatted, mount};
use crate::base::{Limits, LogletId, NodeId, Offset, Rng, Write};
use crate::io::op::{Completion, FileId, Op, Outcome, Token};
use crate::storage::{ANCHOR_FILE, Journal, JournalConfig, ReadOutcome, ReadRequest, State};
use crate::wire::{Batch, BatchBuilder};

const LOGLET: LogletId = LogletId { log: 1, version: 1, nonce: 9 };

/// Units and segments as small as they may be, so that slots are used again.
fn limits() -> Limits {
    Limits {
        record_bytes_max: 4000,
        batch_bytes_max: 4096,
        frame_body_bytes_max: 8192,
        register_bytes_max: 4096,
        unit_bytes_max: 8192,
        unit_depth: 4,
        unit_queue_max: 4,
        segment_bytes: SLOT,
        segments_prepared: 4,
        segments_max: 12,
        index_granularity_bytes: 4096,
        ..Limits::default()
    }
}

fn payload(offset: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(offset);
    (0..100 + offset * 37 % 3000).map(|_| rng.u8(..)).collect()
}

/// What stays when the power fails: the device, and the anchor in its directory, whose writes end at once or not at all.
struct Machine {
    memory: Memory,
    anchor: Option<Vec<u8>>,
    rng: Rng,
}

#[derive(Clone, Copy)]
enum File {
    Anchor,
    Slot(Part),
}

/// One life of a journal.
struct Life<'a> {
    memory: &'a Memory,
    anchor: &'a mut Option<Vec<u8>>,
    rng: &'a mut Rng,
    slots: Slots<&'a Memory>,
    files: Vec<File>,
    in_flight: Vec<(Token, Op)>,
    journal: Journal,
}

impl<'a> Life<'a> {
    fn begin(machine: &'a mut Machine, seed: u64) -> Self {
        let config = JournalConfig {
            directory: PathBuf::from("/journal-0"),
            node: NodeId(2),
            journal: 0,
            block_bytes: BLOCK,
            token_owner: 7,
            limits: limits(),
            seed,
        };
        let Machine { memory, anchor, rng } = machine;
        let slots = mount(memory, 0);
        let journal = Journal::open(config);
        Self { memory, anchor, rng, slots, files: Vec::new(), in_flight: Vec::new(), journal }
    }

    fn has_power(&self) -> bool {
        self.memory.left.get() > 0
    }

    fn open_file(&mut self, file: File) -> FileId {
        self.files.push(file);
        FileId(self.files.len() as u32 - 1)
    }

    /// Carries an operation out; its outcome means nothing when the power has failed on it.
    fn execute(&mut self, op: Op) -> Outcome {
        match op {
            Op::List { .. } => {
                let mut files: Vec<_> = self.slots.list().collect();
                files.extend(self.anchor.iter().map(|anchor| (ANCHOR_FILE.to_owned(), anchor.len() as u64)));
                files.sort();
                Outcome::Listed(files)
            }
            Op::Open { path } | Op::Prepare { path, .. } if path.ends_with(ANCHOR_FILE) => {
                let bytes = self.anchor.get_or_insert_with(|| vec![0; 128 << 10]).len() as u64;
                Outcome::Opened { file: self.open_file(File::Anchor), bytes }
            }
            Op::Open { path } => self.opened(|slots| slots.open(path.file_name().unwrap().to_str().unwrap())),
            Op::Prepare { path, bytes } => {
                self.opened(|slots| slots.prepare(path.file_name().unwrap().to_str().unwrap(), bytes))
            }
            Op::Read { file, offset, mut buf } => match self.files[file.0 as usize] {
                File::Anchor => {
                    let at = offset as usize;
                    let bytes = buf.len();
                    buf.copy_from_slice(&self.anchor.as_ref().unwrap()[at..at + bytes]);
                    Outcome::Read { buf, result: Ok(bytes) }
                }
                File::Slot(part) => {
                    let (offset, bytes) = part.read(offset, buf.len());
                    assert_eq!(bytes, buf.len(), "a journal reads what is there");
                    let result = self.memory.read(offset, &mut buf).map(|()| bytes);
                    Outcome::Read { buf, result }
                }
            },
            Op::Write { file, offset, buf } => {
                let result = match self.files[file.0 as usize] {
                    File::Anchor => {
                        let at = offset as usize;
                        self.anchor.as_mut().unwrap()[at..at + buf.len()].copy_from_slice(&buf);
                        Ok(())
                    }
                    File::Slot(part) => {
                        let offset = part.write(offset, buf.len()).unwrap();
                        self.memory.write(offset, &buf).and_then(|()| self.memory.flush())
                    }
                };
                let bytes = buf.len();
                Outcome::Written { buf, result: result.map(|()| bytes) }
            }
            op => unreachable!("the journal has no use for {op:?}"),
        }
    }

    fn opened(&mut self, open: impl FnOnce(&mut Slots<&'a Memory>) -> std::io::Result<Part>) -> Outcome {
        match open(&mut self.slots) {
            Ok(part) => Outcome::Opened { file: self.open_file(File::Slot(part)), bytes: part.bytes },
            Err(error) => Outcome::Failed(error),
        }
    }

    /// One operation ends, while others have begun. Says whether there is power for more.
    fn turn(&mut self) -> bool {
        while let Some(op) = self.journal.poll_op() {
            self.in_flight.push(op);
        }
        if self.in_flight.is_empty() {
            self.journal.claim();
            // Time passes for who waits as well.
            self.memory.left.set(self.memory.left.get().saturating_sub(1));
            return self.has_power();
        }
        let (at, beside) = (self.rng.usize(0..self.in_flight.len()), self.rng.usize(0..self.in_flight.len()));
        if let (_, Op::Write { file, offset, buf }) = &self.in_flight[beside]
            && let File::Slot(part) = self.files[file.0 as usize]
        {
            // It is on its way already, and may land in part.
            let _ = self.memory.write(part.write(*offset, buf.len()).unwrap(), buf);
        }
        let (token, op) = self.in_flight.swap_remove(at);
        if !self.has_power() {
            return false;
        }
        let outcome = self.execute(op);
        if self.has_power() {
            self.journal.handle(Completion { token, outcome });
        }
        self.has_power()
    }

    fn write(&mut self, first: u64, count: u64) -> Option<Write> {
        let mut builder = BatchBuilder::default();
        (first..first + count).for_each(|offset| builder.push(&payload(offset)));
        let mut out = Vec::new();
        builder.write_to(&mut out);
        let batch = Batch::new(count as u32, &out).expect("well formed");
        self.journal.write_records(LOGLET, Offset(first), batch).ok()
    }

    /// Reads `from..to` and compares every byte; `None` when the power fails.
    fn check(&mut self, from: u64, to: u64) -> Option<()> {
        let mut next = from;
        while next < to {
            self.journal.read(ReadRequest {
                id: 1,
                loglet: LOGLET,
                from: Offset(next),
                to: Offset(to),
                bytes_max: 3000,
            });
            let outcome = loop {
                match self.journal.poll_read() {
                    Some((_, outcome)) => break outcome,
                    None if !self.turn() => return None,
                    None => {}
                }
            };
            let ReadOutcome::Records { first, records } = outcome else { panic!("record {next} of {to}: {outcome:?}") };
            assert_eq!(first, Offset(next));
            for (record, _) in records.batch().records() {
                assert_eq!(record, payload(next), "record {next}");
                next += 1;
            }
            self.journal.recycle(records);
        }
        Some(())
    }
}

/// What was acknowledged, over all lives.
#[derive(Default)]
struct Acknowledged {
    trimmed: u64,
    end: u64,
    segments_recycled: u64,
    lives: u64,
}

/// One life, to the end of the power.
fn live(machine: &mut Machine, seed: u64, acknowledged: &mut Acknowledged) -> Option<()> {
    let mut life = Life::begin(machine, seed);
    while life.journal.state() == State::Opening {
        if !life.turn() {
            return None;
        }
    }
    assert_eq!(life.journal.state(), State::Open, "{:?}", life.journal.failure());
    let recovered = life.journal.take_recovered();
    assert_eq!(recovered.damage, [], "nothing but tearing has happened");
    acknowledged.lives += 1;
    life.check(acknowledged.trimmed, acknowledged.end)?;
    let mut next = acknowledged.end;
    let mut pending = Vec::new();
    loop {
        if life.rng.u8(0..3) == 0 && pending.len() < 6 {
            let count = life.rng.u64(1..4).min(1 + u64::from(payload(next).len() < 900));
            if let Some(write) = life.write(next, count) {
                next += count;
                pending.push((write, next));
            }
        }
        let has_power = life.turn();
        let durable = life.journal.durable();
        pending.retain(|(write, end)| {
            let is_pending = *write > durable;
            if !is_pending {
                acknowledged.end = acknowledged.end.max(*end);
            }
            is_pending
        });
        acknowledged.segments_recycled = acknowledged.segments_recycled.max(life.journal.counters().segments_recycled);
        if !has_power {
            return None;
        }
        // About half of what there is room for stays.
        if acknowledged.end - acknowledged.trimmed > 60 {
            acknowledged.trimmed = acknowledged.end - 30;
            life.journal.trim(LOGLET, Offset(acknowledged.trimmed));
        }
    }
}

#[test]
fn what_a_journal_has_acknowledged_survives_a_power_loss_at_any_step() {
    for seed in 0..3 {
        let mut machine = Machine { memory: formatted(), anchor: None, rng: Rng::with_seed(seed) };
        let mut acknowledged = Acknowledged::default();
        for round in 0..40 {
            // Some lives end while they open.
            let steps = machine.rng.usize(1..if round % 3 == 0 { 60 } else { 1500 });
            machine.memory.left.set(usize::MAX);
            drop(mount(&machine.memory, 0));
            machine.memory.left.set(steps);
            live(&mut machine, seed << 32 | round, &mut acknowledged);
            machine.memory.lose_cache(&mut machine.rng, |_, bytes| bytes);
        }
        let Acknowledged { end, segments_recycled, lives, .. } = acknowledged;
        assert!(end > 2_000 && segments_recycled > 5 && lives > 20, "{end}, {segments_recycled}, {lives}");
    }
}
