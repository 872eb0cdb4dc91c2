//! The journal, on a disk that does nothing.

use std::path::PathBuf;

use naxos::base::{Limits, NodeId, Offset};
use naxos::io::op::{Completion, FileId, Op, Outcome};
use naxos::storage::{Journal, JournalConfig, State};
use naxos::wire::Batch;

use super::LOGLET;

/// A journal whose writes are durable at once.
pub(crate) struct Writing {
    journal: Journal,
    files: u32,
    next: Offset,
}

impl Writing {
    pub(crate) fn new() -> Self {
        let journal = Journal::open(JournalConfig {
            directory: PathBuf::from("nowhere"),
            node: NodeId(1),
            journal: 0,
            block_bytes: 4096,
            token_owner: 1,
            limits: Limits::default(),
            seed: 1,
        });
        let mut writing = Self { journal, files: 0, next: Offset(0) };
        while writing.journal.state() == State::Opening {
            writing.turn();
        }
        assert_eq!(writing.journal.state(), State::Open);
        writing
    }

    fn turn(&mut self) {
        while let Some((token, op)) = self.journal.poll_op() {
            let outcome = match op {
                Op::List { .. } => Outcome::Listed(Vec::new()),
                Op::Prepare { bytes, .. } => {
                    self.files += 1;
                    Outcome::Opened { file: FileId(self.files), bytes }
                }
                Op::Write { buf, .. } => {
                    let bytes = buf.len();
                    Outcome::Written { buf, result: Ok(bytes) }
                }
                op => unreachable!("an empty journal that only writes has no use for {op:?}"),
            };
            self.journal.handle(Completion { token, outcome });
        }
    }

    /// One unit with one batch: built, sealed with its checksums, submitted, durable, indexed. What is before it is trimmed, so
    /// that the same few segments go round.
    pub(crate) fn cycle(&mut self, count: u32, bytes: &[u8]) {
        let batch = Batch::new(count, bytes).expect("well formed");
        let write = loop {
            match self.journal.write_records(LOGLET, self.next, batch) {
                Ok(write) => break write,
                Err(_) => self.turn(),
            }
        };
        while self.journal.durable() < write {
            self.turn();
        }
        self.journal.trim(LOGLET, self.next);
        self.next = self.next + u64::from(count);
    }
}
