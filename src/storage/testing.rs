//! A disk in memory, with the ways a real one fails, and a journal on it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::format::{FLAG_HEAD, FLAG_INDEX, Header, Kind};
use super::unit::UnitView;
use super::{Journal, JournalConfig, ReadOutcome, ReadRequest, State};
use crate::base::{Limits, LogletId, NodeId, Offset, Rng, Write};
use crate::io::op::{Completion, FileId, Op, Outcome, Token};
use crate::wire::{Batch, BatchBuilder};

pub(super) const OWNER: u8 = 7;
const SECTOR: usize = 512;

/// Small enough that every test rolls segments over.
pub(super) fn limits(unit_depth: u32) -> Limits {
    Limits {
        record_bytes_max: 9000,
        batch_bytes_max: 4096,
        frame_body_bytes_max: 16 << 10,
        register_bytes_max: 4096,
        unit_bytes_max: 8192,
        unit_depth,
        unit_queue_max: 4,
        segment_bytes: 128 << 10,
        segments_prepared: 4,
        segments_max: 24,
        index_granularity_bytes: 4096,
        ..Limits::default()
    }
}

/// Segments as small as they may be: most runs use files again.
pub(super) fn small(unit_depth: u32) -> Limits {
    Limits {
        record_bytes_max: 4000,
        frame_body_bytes_max: 8192,
        segment_bytes: 64 << 10,
        batch_bytes_max: 4096,
        segments_max: 12,
        ..limits(unit_depth)
    }
}

/// Files in memory; operations wait in flight until the test completes them.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    open: Vec<PathBuf>,
    pub(super) in_flight: Vec<(Token, Op)>,
    /// Segments that can still be prepared; `None` is no limit.
    pub(super) prepares_left: Option<u32>,
    /// Bytes of the file at this path that cannot be read.
    pub(super) unreadable: Option<(PathBuf, std::ops::Range<u64>)>,
    pub(super) reads: usize,
    /// Sequence of the unit of each entry of the journal's user, in order.
    pub(super) entries: Vec<u64>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Copies of the writes in flight, as (path, offset, bytes).
    pub(super) fn copy_writes(&self) -> Vec<(PathBuf, u64, Vec<u8>)> {
        let copy = |(_, op): &(Token, Op)| match op {
            Op::Write { file, offset, buf } => Some((self.open[file.0 as usize].clone(), *offset, buf.to_vec())),
            _ => None,
        };
        self.in_flight.iter().filter_map(copy).collect()
    }

    pub(super) fn land(&mut self, (path, offset, data): &(PathBuf, u64, Vec<u8>)) {
        let at = *offset as usize;
        self.files.get_mut(path).expect("the file exists")[at..at + data.len()].copy_from_slice(data);
    }

    /// All units on the disk, of any use, in order of sequence; index blocks last.
    pub(super) fn units(&self) -> Vec<(PathBuf, Header)> {
        let mut units = Vec::new();
        for (path, bytes) in &self.files {
            for (sector, data) in bytes.chunks(SECTOR).enumerate() {
                if let Ok(header) = Header::read(data)
                    && header.position.get() == (sector * SECTOR) as u64
                {
                    units.push((path.clone(), header));
                }
            }
        }
        units.sort_by_key(|(_, header)| (header.has(FLAG_INDEX), header.sequence.get(), header.life.get()));
        units
    }

    fn note_entries(&mut self, op: &Op) {
        let Op::Write { buf, .. } = op else { return };
        let Ok(header) = Header::read(buf) else { return };
        let view = UnitView::of(buf, header);
        for entry in view.table().expect("a sealed unit") {
            let of_user = matches!(entry.kind(), Some(Kind::Records | Kind::Cell | Kind::CellRemoved));
            if of_user && entry.flags.get() & FLAG_HEAD == 0 {
                self.entries.push(header.sequence.get());
            }
        }
    }

    pub(super) fn flip(&mut self, path: &Path, at: u64) {
        self.files.get_mut(path).expect("the file exists")[at as usize] ^= 0x10;
    }

    pub(super) fn complete(&mut self, at: usize) -> Completion {
        let (token, op) = self.in_flight.remove(at);
        Completion { token, outcome: self.execute(op) }
    }

    fn execute(&mut self, op: Op) -> Outcome {
        match op {
            Op::List { directory } => {
                let names = self.files.iter().filter(|(path, _)| path.parent() == Some(&directory));
                let name = |path: &Path| path.file_name().expect("a file").to_str().expect("plain").to_owned();
                Outcome::Listed(names.map(|(path, bytes)| (name(path), bytes.len() as u64)).collect())
            }
            Op::Open { path } => {
                let bytes = self.files[&path].len() as u64;
                self.open.push(path);
                Outcome::Opened { file: FileId(self.open.len() as u32 - 1), bytes }
            }
            Op::Prepare { path, bytes } => {
                if path.extension().is_some() {
                    if self.prepares_left == Some(0) {
                        return Outcome::Failed(io::ErrorKind::StorageFull.into());
                    }
                    self.prepares_left = self.prepares_left.map(|left| left - 1);
                }
                assert!(self.files.insert(path.clone(), vec![0; bytes as usize]).is_none(), "nothing may exist there");
                self.open.push(path);
                Outcome::Opened { file: FileId(self.open.len() as u32 - 1), bytes }
            }
            Op::Remove { path } => {
                self.files.remove(&path);
                Outcome::Done
            }
            Op::Read { file, offset, mut buf } => {
                self.reads += 1;
                let path = &self.open[file.0 as usize];
                let bytes = &self.files[path];
                let (from, len) = (offset as usize, buf.len());
                if let Some((bad, range)) = &self.unreadable
                    && bad == path
                    && range.start < offset + len as u64
                    && offset < range.end
                {
                    return Outcome::Read { buf, result: Err(io::ErrorKind::InvalidData.into()) };
                }
                let read = len.min(bytes.len().saturating_sub(from));
                buf[..read].copy_from_slice(&bytes[from..from + read]);
                Outcome::Read { buf, result: Ok(read) }
            }
            Op::Write { file, offset, buf } => {
                let path = self.open[file.0 as usize].clone();
                let bytes = self.files.get_mut(&path).expect("open files exist");
                bytes[offset as usize..offset as usize + buf.len()].copy_from_slice(&buf);
                let len = buf.len();
                Outcome::Written { buf, result: Ok(len) }
            }
            op => unreachable!("the journal has no use for {op:?}"),
        }
    }

    /// Power loss: of every write in flight any sectors may have reached the disk (`keep` is asked with the operation's
    /// place in flight and the sector), of a preparation at most a `.tmp`.
    pub(super) fn crash(&mut self, keep: &mut dyn FnMut(usize, usize) -> bool) {
        for (at_op, (_, op)) in std::mem::take(&mut self.in_flight).into_iter().enumerate() {
            match op {
                Op::Write { file, offset, buf } => {
                    let path = self.open[file.0 as usize].clone();
                    let bytes = self.files.get_mut(&path).expect("open files exist");
                    for (sector, data) in buf.chunks(SECTOR).enumerate() {
                        if keep(at_op, sector) {
                            let at = offset as usize + sector * SECTOR;
                            bytes[at..at + data.len()].copy_from_slice(data);
                        }
                    }
                }
                Op::Prepare { path, bytes } if keep(at_op, 0) => {
                    self.files.insert(path.with_extension("seg.tmp"), vec![0; bytes as usize / 2]);
                }
                _ => {}
            }
        }
        self.open.clear();
    }

    pub(super) fn writes_in_flight(&self) -> Vec<usize> {
        let is_write = |op: &Op| matches!(op, Op::Write { .. });
        (0..self.in_flight.len()).filter(|at| is_write(&self.in_flight[*at].1)).collect()
    }
}

/// A journal and its disk.
pub(super) struct Rig {
    pub(super) disk: Disk,
    pub(super) journal: Journal,
    pub(super) limits: Limits,
    pub(super) block_bytes: u32,
    seed: u64,
}

pub(super) fn loglet(log: u64) -> LogletId {
    LogletId { log, version: 1, nonce: 9 }
}

/// The payload of a record, derived from its identity.
pub(super) fn payload(loglet: LogletId, offset: u64, bytes: usize) -> Vec<u8> {
    let mut rng = Rng::with_seed(loglet.log << 32 ^ offset);
    (0..bytes).map(|_| rng.u8(..)).collect()
}

impl Rig {
    pub(super) fn new(limits: Limits) -> Self {
        Self::with_disk(Disk::new(), limits, 512, 1)
    }

    pub(super) fn with_disk(disk: Disk, limits: Limits, block_bytes: u32, seed: u64) -> Self {
        Self::with_config(disk, Self::config(limits, block_bytes, seed))
    }

    fn config(limits: Limits, block_bytes: u32, seed: u64) -> JournalConfig {
        JournalConfig {
            directory: PathBuf::from("/journal-0"),
            node: NodeId(5),
            journal: 0,
            block_bytes,
            token_owner: OWNER,
            limits,
            seed,
        }
    }

    pub(super) fn with_config(disk: Disk, config: JournalConfig) -> Self {
        let mut rig = Self::opening(disk, config);
        while rig.open_further() {}
        rig
    }

    /// A journal that is about to open.
    fn opening(disk: Disk, config: JournalConfig) -> Self {
        let JournalConfig { limits, block_bytes, seed, .. } = config.clone();
        Self { disk, journal: Journal::open(config), limits, block_bytes, seed }
    }

    /// One turn of a journal that opens. Says whether it was one.
    pub(super) fn open_further(&mut self) -> bool {
        if self.journal.state() != State::Opening {
            return false;
        }
        self.poll();
        assert!(!self.disk.in_flight.is_empty(), "opening does not stand still");
        self.complete(0);
        true
    }

    /// Power loss and a new start.
    pub(super) fn restart(mut self, mut keep: impl FnMut(usize, usize) -> bool) -> Self {
        self.disk.crash(&mut keep);
        Self::with_disk(self.disk, self.limits, self.block_bytes, self.seed + 1)
    }

    /// Power loss and the begin of a new start.
    pub(super) fn restart_slowly(mut self, mut keep: impl FnMut(usize, usize) -> bool) -> Self {
        self.disk.crash(&mut keep);
        Self::opening(self.disk, Self::config(self.limits, self.block_bytes, self.seed + 1))
    }

    pub(super) fn poll(&mut self) {
        while let Some((token, op)) = self.journal.poll_op() {
            assert_eq!(token.owner(), OWNER);
            self.disk.note_entries(&op);
            self.disk.in_flight.push((token, op));
        }
    }

    pub(super) fn complete(&mut self, at: usize) {
        let completion = self.disk.complete(at);
        self.journal.handle(completion);
    }

    /// A turn: what is wanted is begun, and the oldest operation ends.
    pub(super) fn turn(&mut self) {
        self.poll();
        if !self.disk.in_flight.is_empty() {
            self.complete(0);
        }
    }

    /// Turns until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            self.poll();
            if !self.disk.in_flight.is_empty() {
                self.complete(0);
            } else if self.journal.is_idle() {
                return;
            } else {
                self.journal.claim();
            }
        }
        panic!("the journal never falls idle");
    }

    /// Turns until all writes so far are durable, without going idle.
    pub(super) fn flush(&mut self, write: Write) {
        while self.journal.durable() < write {
            self.poll();
            self.complete(0);
        }
    }

    pub(super) fn write(
        &mut self,
        loglet: LogletId,
        first: u64,
        count: u64,
        bytes: usize,
    ) -> Result<Write, super::Full> {
        let mut builder = BatchBuilder::default();
        (first..first + count).for_each(|offset| builder.push(&payload(loglet, offset, bytes)));
        let mut out = Vec::new();
        builder.write_to(&mut out);
        let batch = Batch::new(count as u32, &out).expect("well formed");
        self.journal.write_records(loglet, Offset(first), batch)
    }

    /// Writes and waits, also for room.
    pub(super) fn append(&mut self, loglet: LogletId, first: u64, count: u64, bytes: usize) {
        for _ in 0..1000 {
            match self.write(loglet, first, count, bytes) {
                Ok(write) => return self.flush(write),
                Err(_) => self.settle(),
            }
        }
        panic!("there is never room");
    }

    pub(super) fn read(&mut self, loglet: LogletId, from: u64, to: u64, bytes_max: u32) -> ReadOutcome {
        self.journal.read(ReadRequest { id: 3, loglet, from: Offset(from), to: Offset(to), bytes_max });
        loop {
            if let Some((id, outcome)) = self.journal.poll_read() {
                assert_eq!(id, 3);
                return outcome;
            }
            self.turn();
        }
    }

    /// Reads all of a range and checks every byte.
    pub(super) fn check(&mut self, loglet: LogletId, from: u64, to: u64, bytes: usize) {
        let mut next = from;
        while next < to {
            match self.read(loglet, next, to, 3000) {
                ReadOutcome::Records { first, records } => {
                    assert_eq!(first, Offset(next));
                    for (record, _) in records.batch().records() {
                        assert_eq!(record, payload(loglet, next, bytes), "record {next}");
                        next += 1;
                    }
                    self.journal.recycle(records);
                }
                outcome => panic!("record {next}: {outcome:?}"),
            }
        }
        assert_eq!(next, to);
    }

    pub(super) fn stored(&self, loglet: LogletId) -> Vec<(u64, u64)> {
        self.journal.stored(loglet).map(|(from, to)| (from.0, to.0)).collect()
    }
}

impl Rig {
    /// Reads what can be answered without completing any operation.
    pub(super) fn read_now(&mut self, loglet: LogletId, from: u64, to: u64) -> ReadOutcome {
        self.journal.read(ReadRequest { id: 4, loglet, from: Offset(from), to: Offset(to), bytes_max: 4096 });
        self.journal.poll_read().expect("answered at once").1
    }
}
