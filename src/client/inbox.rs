use std::net::SocketAddr;
use std::sync::mpsc::{Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::OpError;
use super::errand::{ErrandReply, Question};
use super::profile::AppendProfile;
use super::session::Outcome;
use super::submission::Submission;
use super::subscription::Event;
use super::virtual_log::{BatchEnd, Opening};
use crate::base::{ClusterId, LogPos, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult};
use crate::proto::virtual_log::LogletSpec;
use crate::proto::virtual_log::contract::{LogOp, LogResult};
use crate::wire::Decision;

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
    Open { log: LogKey, loglet: LogletSpec, cluster: ClusterId, submission: Arc<Submission<Outcome>> },
    /// There are records to append.
    Appends(LogKey),
    /// Opens a virtual log.
    OpenLog { log: LogKey, opening: Opening, seed: u64, submission: Arc<Submission<BatchEnd>> },
    /// An operation on a virtual log's register, which is in files, has ended.
    Filed { log: LogKey, id: OpId, result: MetaStoreResult },
    /// Carries out one operation of a virtual log.
    LogOp { log: LogKey, op: LogOp, reply: SyncSender<LogResult> },
    /// Streams records of a virtual log.
    SubscribeLog {
        log: LogKey,
        key: SubscriptionKey,
        from: LogPos,
        credit: u32,
        events: Sender<Result<Event<LogPos>, OpError>>,
    },
    /// Opens the registers of a cluster.
    OpenRegisters { key: LogKey, cluster: ClusterId, seed: u64 },
    /// Carries out one operation on a register, of which `decided` is any decided version.
    RegisterOp { key: LogKey, decided: Decision, op: MetaStoreOp, reply: SyncSender<MetaStoreResult> },
    /// Carries out one operation.
    Op { log: LogKey, op: LogletOp, reply: SyncSender<LogletResult> },
    /// Creates the loglet.
    Create { log: LogKey, reply: SyncSender<LogletResult> },
    /// Deletes the loglet, which this version of its log's chain does not name, as no later one (P5).
    Delete { log: LogKey, chain_version: u64, reply: SyncSender<LogletResult> },
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
    Errand { node: SocketAddr, question: Question, reply: ErrandReply },
    /// Takes what has been measured of appends.
    TakeProfile(SyncSender<Box<AppendProfile>>),
    /// Ends the reactor.
    End,
}

/// The way from handles on any thread to the reactor.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<Command>,
    /// The reactor is gone.
    closed: bool,
}

impl Command {
    /// Settles what nobody carries out. Replies settle themselves: who waits for one finds its sender dropped.
    fn refuse(self) {
        match self {
            Self::Open { submission, .. } => submission.close(&Outcome::CLOSED),
            Self::OpenLog { submission, .. } => submission.close(&BatchEnd::Closed),
            _ => {}
        }
    }
}

impl Inbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self { state: Mutex::default(), waker }
    }

    pub(super) fn push(&self, command: Command) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            return command.refuse();
        }
        state.commands.push(command);
        drop(state);
        self.waker.wake_by_ref();
    }

    /// Exchanges the commands that have come for an empty vector.
    pub(super) fn drain(&self, into: &mut Vec<Command>) {
        assert!(into.is_empty(), "the commands before have been carried out");
        std::mem::swap(into, &mut self.state().commands);
    }

    /// The reactor ends: nothing left here, and nothing that still comes, is carried out.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let left = std::mem::take(&mut state.commands);
        drop(state);
        left.into_iter().for_each(Command::refuse);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }
}
