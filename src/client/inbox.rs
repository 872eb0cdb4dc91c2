use std::net::SocketAddr;
use std::sync::mpsc::{Sender, SyncSender};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use super::OpError;
use super::errand::ErrandReply;
use super::submission::Submission;
use super::subscription::Event;
use crate::base::{ClusterId, Offset};
use crate::proto::loglet::{LogletOp, LogletResult};
use crate::wire::LogletConfig;

/// An open log of a reactor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LogKey(pub(super) u64);

/// A subscription of a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SubscriptionKey(pub(super) u64);

/// What handles ask of the reactor.
#[derive(Debug)]
pub(super) enum Command {
    /// Opens a log.
    Open { log: LogKey, config: LogletConfig, cluster: ClusterId, submission: Arc<Submission> },
    /// There are records to append.
    Appends(LogKey),
    /// Carries out one operation.
    Op { log: LogKey, op: LogletOp, reply: SyncSender<LogletResult> },
    /// Creates the loglet.
    Create { log: LogKey, reply: SyncSender<LogletResult> },
    /// Tells where the log ends, once it is known for good.
    Stop { log: LogKey, stop: Offset },
    /// Streams records.
    Subscribe { log: LogKey, key: SubscriptionKey, from: Offset, credit: u32, events: Sender<Result<Event, OpError>> },
    /// Grants a subscription more bytes.
    Credit { log: LogKey, key: SubscriptionKey, bytes: u32 },
    /// Ends a subscription.
    Unsubscribe { log: LogKey, key: SubscriptionKey },
    /// Closes a log; what is on the way is given up.
    Close(LogKey),
    /// Asks one node something.
    Errand { node: SocketAddr, reply: ErrandReply },
    /// Ends the reactor.
    End,
}

/// The way from handles on any thread to the reactor.
#[derive(Debug)]
pub(super) struct Inbox {
    commands: Mutex<Vec<Command>>,
    waker: Waker,
}

impl Inbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self { commands: Mutex::default(), waker }
    }

    pub(super) fn push(&self, command: Command) {
        self.commands.lock().expect("no panic while locked").push(command);
        self.waker.wake_by_ref();
    }

    /// Exchanges the commands that have come for an empty vector.
    pub(super) fn drain(&self, into: &mut Vec<Command>) {
        assert!(into.is_empty(), "the commands before have been carried out");
        std::mem::swap(into, &mut *self.commands.lock().expect("no panic while locked"));
    }
}
