//! The protocol cores, with partners that agree to everything at once.

use std::hint::black_box;

use naxos::base::{CellKey, ClusterId, Incarnation, Instant, Limits, LogletId, NodeId, Offset, Write};
use naxos::proto::PeerId;
use naxos::proto::log_server::{Disk, LogServer, ReadId, Refused};
use naxos::proto::sequencer::Sequencer;
use naxos::wire::{self, Batch, Hello, LogletConfig, Member, Message, Role};

use super::LOGLET;

const CLIENT: PeerId = PeerId(1);
const SEQUENCER: PeerId = PeerId(2);
const NOW: Instant = Instant::from_nanos(1_000);

fn config() -> LogletConfig {
    let address = "127.0.0.1:4100".parse().expect("an address");
    LogletConfig {
        id: LOGLET,
        sequencer: wire::Sequencer { node: NodeId(100), incarnation: Incarnation(7), address },
        log_servers: (1..=3).map(|node| Member { node: NodeId(node), address }).collect(),
    }
}

/// A sequencer whose three LogServers store everything.
pub(crate) struct Sequencing {
    core: Sequencer,
    tail: Offset,
}

impl Sequencing {
    pub(crate) fn new() -> Self {
        let mut core = Sequencer::new(config(), &Limits::default(), NOW);
        for server in 0..3 {
            core.handle_connected(server, NOW);
            while core.poll_send(server).is_some() {}
        }
        Self { core, tail: Offset(0) }
    }

    pub(crate) fn cycle(&mut self, count: u32, bytes: &[u8]) {
        let batch = Batch::new(count, bytes).expect("well formed");
        self.core.handle_append(CLIENT, 1, batch, 0, NOW);
        self.tail = self.tail + u64::from(count);
        for server in 0..3 {
            while let Some(send) = self.core.poll_send(server) {
                black_box(send);
            }
            self.core.handle(server, Message::Stored { loglet: LOGLET, tail: self.tail, followed: false }, NOW);
        }
        assert!(self.core.poll_reply().is_some(), "a majority has it");
    }
}

/// Takes everything and keeps nothing.
#[derive(Default)]
struct NoDisk(u64);

impl NoDisk {
    fn take(&mut self) -> Result<Write, Refused> {
        self.0 += 1;
        Ok(Write(self.0))
    }
}

impl Disk for NoDisk {
    fn write_records(&mut self, _: LogletId, _: Offset, batch: Batch<'_>) -> Result<Write, Refused> {
        black_box(batch);
        self.take()
    }

    fn write_repair(&mut self, loglet: LogletId, first: Offset, batch: Batch<'_>) -> Result<Write, Refused> {
        self.write_records(loglet, first, batch)
    }

    fn has_space(&mut self) -> bool {
        true
    }

    fn write_cell(&mut self, _: CellKey, _: &[u8]) -> Result<Write, Refused> {
        self.take()
    }

    fn remove_cell(&mut self, _: CellKey) -> Result<Write, Refused> {
        self.take()
    }

    fn trim(&mut self, _: LogletId, _: Offset) {}
    fn remove(&mut self, _: LogletId) {}
    fn read(&mut self, _: ReadId, _: LogletId, _: Offset, _: Offset, _: u32) {}
}

/// A LogServer with one loglet and its sequencer.
pub(crate) struct Storing {
    core: LogServer,
    disk: NoDisk,
    next: Offset,
}

impl Storing {
    pub(crate) fn new() -> Self {
        let mut disk = NoDisk::default();
        let mut core = LogServer::new(NodeId(1), Incarnation(1), &Limits::default());
        core.recover(Vec::new(), Vec::new(), false, &mut disk);
        let (cluster, node, incarnation) = (ClusterId(1), NodeId(100), Incarnation(7));
        let hello = Hello { cluster, node, incarnation, to: NodeId(1), role: Role::Sequencer, route: LOGLET };
        core.handle_connected(SEQUENCER, &hello);
        core.handle(SEQUENCER, Message::Create { request: 1, config: config() }, NOW, &mut disk);
        core.handle_durable(Write(disk.0), NOW, &mut disk);
        while core.poll_output().is_some() {}
        Self { core, disk, next: Offset(0) }
    }

    pub(crate) fn cycle(&mut self, count: u32, bytes: &[u8]) {
        let batch = Batch::new(count, bytes).expect("well formed");
        let store = Message::Store { loglet: LOGLET, first: self.next, known_tail: self.next, batch };
        self.core.handle(SEQUENCER, store, NOW, &mut self.disk);
        self.core.handle_durable(Write(self.disk.0), NOW, &mut self.disk);
        self.next = self.next + u64::from(count);
        assert!(self.core.poll_output().is_some(), "it is stored");
    }
}
