use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::Waker;

use crossbeam::queue::SegQueue;
use serde_json::Value;

use super::Lanes;
use crate::base::{LogletId, NodeId};
use crate::io::PipeEnd;
use crate::proto::sequencer::Lost;
use crate::wire::{Hello, LogletConfig};

/// What other threads ask of a shard.
#[derive(Debug)]
pub enum Command {
    /// Takes over a connection whose hello names a loglet that lives here.
    Adopt {
        /// The connection.
        socket: OwnedFd,
        /// Its hello, already checked.
        hello: Hello,
        /// What has come behind the hello.
        unread: Vec<u8>,
        /// It comes to the loglet's home, which may give it to another of the loglet's lanes.
        spread: bool,
    },
    /// The loglet's home sequences it, and this shard has a lane of it from now on.
    OpenLane {
        /// The loglet.
        config: LogletConfig,
        /// What all lanes share.
        lanes: Arc<Lanes>,
    },
    /// Another lane of the loglet's sequencer has stopped.
    LaneStopped {
        /// The loglet.
        loglet: LogletId,
        /// Why, unless it has seen a sign of a seal.
        lost: Option<Lost>,
    },
    /// Takes in a connection from within this process, whose hello comes over it and names what lives here.
    Join(PipeEnd),
    /// Reports the shard's state.
    Report(SyncSender<Value>),
    /// Asks for a report on behalf of a connection of another shard, which gets it as a `Part`.
    ReportTo {
        /// The asking shard.
        shard: usize,
        /// Its number for the question.
        question: u64,
    },
    /// The answer to a `ReportTo`.
    Part {
        /// Which question.
        question: u64,
        /// The answering shard.
        shard: usize,
        /// Its report.
        report: Value,
    },
    /// Whom the node misses, for its status: others ask for it.
    Misses(Vec<NodeId>),
    /// What the node's control has decided about logs that may change their number of stripes, by their names, for its status.
    Scaling(BTreeMap<String, String>),
    /// Stops gracefully: nothing new is taken, what is in flight ends, the journal is closed cleanly.
    Stop,
}

/// The way from other threads to a shard. Commands are rare; the data path never crosses shards here.
#[derive(Debug)]
pub struct Inbox {
    commands: SegQueue<Command>,
    waker: Waker,
}

impl Inbox {
    /// An inbox whose shard is woken by `waker`.
    pub fn new(waker: Waker) -> Self {
        Self { commands: SegQueue::new(), waker }
    }

    /// Leaves a command.
    pub fn push(&self, command: Command) {
        self.commands.push(command);
        self.waker.wake_by_ref();
    }

    /// Leaves the end of a connection from within this process.
    pub fn join(&self, end: PipeEnd) {
        end.set_waker(&self.waker);
        self.push(Command::Join(end));
    }

    pub(super) fn pop(&self) -> Option<Command> {
        self.commands.pop()
    }
}
