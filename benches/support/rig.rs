//! One journal on a real disk, and the loop that turns it.

use std::path::Path;
use std::time::{Duration, Instant};

use naxos::base::{Limits, LogletId, NodeId, Offset, Write};
use naxos::io::Driver;
use naxos::io::op::Outcome;
use naxos::io::uring::{Options, UringDriver};
use naxos::storage::{Full, Journal, JournalConfig, Recovered, State};
use naxos::wire::{Batch, BatchBuilder};

/// The unit of direct I/O of most disks.
pub(crate) const BLOCK_BYTES: u32 = 4096;
const OWNER: u8 = 1;
const RECORD_BYTES: usize = 100;
pub(crate) const LOGLET: LogletId = LogletId { log: 1, version: 1, nonce: 7 };

/// A batch as a busy client sends it: as many records of 100 bytes as `batch_bytes_max` holds.
pub(crate) fn batch(limits: &Limits) -> (u32, Vec<u8>) {
    let count = limits.batch_bytes_max / (RECORD_BYTES as u32 + Limits::RECORD_OVERHEAD);
    let mut builder = BatchBuilder::default();
    (0..count).for_each(|record| builder.push(&[record as u8; RECORD_BYTES]));
    let mut bytes = Vec::new();
    builder.write_to(&mut bytes);
    (count, bytes)
}

/// A journal, its driver, and how many bytes were read.
pub(crate) struct Rig {
    driver: UringDriver,
    pub(crate) journal: Journal,
    pub(crate) read_bytes: u64,
}

/// How an opening went.
pub(crate) struct Opened {
    pub(crate) took: Duration,
    pub(crate) read_bytes: u64,
    pub(crate) recovered: Recovered,
}

impl Rig {
    /// Opens the journal in `directory`, cold: nothing of it is in this process, and direct reads pass the page cache by.
    pub(crate) fn open(directory: &Path, limits: &Limits) -> (Self, Opened) {
        let driver = UringDriver::new(Options::default()).expect("io_uring");
        let start = Instant::now();
        let journal = Journal::open(JournalConfig {
            directory: directory.to_owned(),
            node: NodeId(1),
            journal: 0,
            block_bytes: BLOCK_BYTES,
            token_owner: OWNER,
            limits: limits.clone(),
            seed: std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64,
        });
        let mut rig = Self { driver, journal, read_bytes: 0 };
        while rig.journal.state() == State::Opening {
            rig.turn();
        }
        let took = start.elapsed();
        assert_eq!(rig.journal.state(), State::Open, "{:?}", rig.journal.failure());
        let recovered = rig.journal.take_recovered();
        let read_bytes = rig.read_bytes;
        (rig, Opened { took, read_bytes, recovered })
    }

    /// One turn: operations down, then completions up.
    fn turn(&mut self) {
        while let Some((token, op)) = self.journal.poll_op() {
            self.driver.submit(token, op);
        }
        // The journal counts turns before it falls idle, so a turn must not wait for ever.
        let deadline = self.driver.now() + Duration::from_millis(1);
        let mut completions = Vec::new();
        self.driver.wait(Some(deadline), &mut completions).expect("the ring works");
        for completion in completions {
            if let Outcome::Read { result: Ok(bytes), .. } = completion.outcome {
                self.read_bytes += bytes as u64;
            }
            self.journal.handle(completion);
        }
    }

    /// Hands a batch over, waiting for room.
    pub(crate) fn write(&mut self, first: u64, (count, bytes): &(u32, Vec<u8>)) -> Write {
        loop {
            let batch = Batch::new(*count, bytes).expect("well formed");
            match self.journal.write_records(LOGLET, Offset(first), batch) {
                Ok(write) => return write,
                Err(Full { .. }) => self.turn(),
            }
        }
    }

    /// Waits until all of `write` is durable.
    pub(crate) fn flush(&mut self, write: Write) {
        while self.journal.durable() < write {
            self.turn();
        }
    }

    /// A clean stop.
    pub(crate) fn close(mut self) {
        self.journal.close();
        while !self.journal.is_idle() {
            self.turn();
        }
    }
}
