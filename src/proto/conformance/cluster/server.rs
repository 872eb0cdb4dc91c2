use crate::base::{Incarnation, Instant, Limits, NodeId, Write};
use crate::proto::log_server::LogServer;
use crate::proto::testing::FakeDisk;

/// A LogServer's process and its disk.
#[derive(Clone, Hash)]
pub(crate) struct Server {
    pub(crate) node: NodeId,
    /// None while it is down.
    pub(crate) core: Option<LogServer>,
    pub(crate) disk: FakeDisk,
    /// Nothing becomes durable by itself.
    pub(crate) disk_held: bool,
    /// Processes so far.
    pub(crate) lives: u128,
}

impl Server {
    pub(super) fn new(node: NodeId, limits: &Limits) -> Self {
        let mut server = Self { node, core: None, disk: FakeDisk::default(), disk_held: false, lives: 0 };
        server.start(limits, false);
        server
    }

    /// A new process on what the disk holds.
    pub(super) fn start(&mut self, limits: &Limits, table_lost: bool) {
        assert!(self.core.is_none(), "a process starts when the one before is gone");
        self.lives += 1;
        let mut core = LogServer::new(self.node, Incarnation(self.lives), limits);
        let (cells, loglets) = (self.disk.cells(), self.disk.loglets());
        core.recover(cells, loglets, table_lost, &mut self.disk);
        self.core = Some(core);
    }

    /// Loses the process, and what is not durable.
    pub(super) fn crash(&mut self) {
        self.core = None;
        self.disk.crash();
    }

    /// What is still on its way to the disk.
    pub(super) fn in_flight(&self) -> u64 {
        self.disk.last().0 - self.disk.durable().0
    }

    /// The oldest write on its way becomes durable.
    pub(super) fn land(&mut self, now: Instant) {
        let write = Write(self.disk.durable().0 + 1);
        self.disk.set_durable(write);
        if let Some(core) = &mut self.core {
            core.handle_durable(write, now, &mut self.disk);
        }
    }
}
