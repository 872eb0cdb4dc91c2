use std::sync::Arc;

use super::super::handle::Handle;
use super::super::inbox::{Command, LogKey};
use super::super::operation::Operation;
use super::super::submission::Submission;
use super::super::{AppendToken, Delivery, Full, OpError, ReadResult, Subscription, Tokened};
use super::{BatchEnd, LogAppend};
use crate::base::{IntentId, LogPos, LogletId};
use crate::proto::virtual_log::contract::{ExtendOp, LogOp, LogResult};
use crate::proto::virtual_log::{Chain, GivenUp, Intent, LogletSpec, StripeRange, Wanted};
use crate::wire::Member;

/// An open virtual log. Clones share its connections and its window.
#[derive(Debug, Clone)]
pub struct VirtualLog {
    inner: Arc<Inner>,
}

/// What the clones share; the log closes with the last of them.
#[derive(Debug)]
struct Inner {
    key: LogKey,
    handle: Arc<Handle>,
    submission: Arc<Submission<BatchEnd>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.handle.inbox.push(Command::Close(self.key));
    }
}

/// How an extend has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extended {
    /// The chain, with the loglet that was wished.
    Done(Chain),
    /// Somebody else has replaced the loglet first; this is the chain.
    Overtaken(Chain),
    /// Another reconfiguration was written down first, and is to be finished before (P15).
    Pending(Intent),
}

/// A wish about the last loglet of a chain, as it is written into the chain.
fn intent_of(chain: &Chain, wanted: &Wanted, stripes: Option<StripeRange>) -> Intent {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since_unix_ms = since.map_or(0, |since| since.as_millis() as u64);
    let (id, replaces) = (IntentId::random(), chain.last().loglet.id());
    Intent { id, replaces, wanted: wanted.clone(), stripes, since_unix_ms }
}

fn extended(result: LogResult) -> Result<Extended, OpError> {
    match result {
        LogResult::Chain(chain) => Ok(Extended::Done(*chain)),
        LogResult::Overtaken(chain) => Ok(Extended::Overtaken(*chain)),
        LogResult::Pending(intent) => Ok(Extended::Pending(*intent)),
        other => unexpected(&other),
    }
}

fn unexpected<T>(result: &LogResult) -> Result<T, OpError> {
    Err(OpError::Unavailable { reason: format!("the log answered with something else: {result:?}") })
}

impl VirtualLog {
    pub(in crate::client) fn new(key: LogKey, handle: Arc<Handle>, submission: Arc<Submission<BatchEnd>>) -> Self {
        Self { inner: Arc::new(Inner { key, handle, submission }) }
    }

    fn tell_appends(&self) {
        self.inner.handle.inbox.push(Command::Appends(self.inner.key));
    }

    /// Appends a record. It is on its way when this returns, unless the window is full: then it leaves when there is room, after
    /// all that were appended before it. While the log is being reconfigured it waits. Appends that are under way together keep their order on
    /// a native loglet; where the log goes over several stripes they may come in any, and only one that is acknowledged is before what is
    /// appended then (RULES P6).
    ///
    /// The record is in the log once if its sequencer answers. If the sequencer is lost before it has, the record is sent again and may
    /// appear twice; [`VirtualLog::append_with`] lets readers tell.
    pub fn append(&self, record: &[u8]) -> LogAppend {
        let append = LogAppend::start(&self.inner.submission, record, true, || self.tell_appends());
        append.unwrap_or_else(|_| unreachable!("a record is held where there is no room"))
    }

    /// Appends a record in an envelope that carries a token ([`Tokened`]), which takes [`Tokened::ENVELOPE_BYTES`] of the largest
    /// record's size. An append whose outcome is not known may be done again with the same token: readers that ask
    /// [`crate::client::Deduplicate`] take the record once, however often it is there.
    pub fn append_with(&self, token: AppendToken, record: &[u8]) -> LogAppend {
        self.append(&Tokened::wrap(token, record))
    }

    /// Appends a record if the window has room.
    ///
    /// # Errors
    /// The window is full, and the record was not taken.
    pub fn try_append(&self, record: &[u8]) -> Result<LogAppend, Full> {
        LogAppend::start(&self.inner.submission, record, false, || self.tell_appends())
    }

    fn start<T>(&self, op: LogOp, interpret: fn(LogResult) -> Result<T, OpError>) -> Operation<T, LogResult> {
        let (reply, operation) = Operation::new(interpret);
        self.inner.handle.inbox.push(Command::LogOp { log: self.inner.key, op, reply });
        operation
    }

    /// Finds the tail: every record acknowledged before the call is below it.
    ///
    /// # Errors
    /// No majority answered in time.
    pub fn check_tail(&self) -> Result<LogPos, OpError> {
        self.start_check_tail().wait()
    }

    /// [`VirtualLog::check_tail`] without blocking.
    pub fn start_check_tail(&self) -> Operation<LogPos, LogResult> {
        self.start(LogOp::CheckTail, |result| match result {
            LogResult::Tail(tail) => Ok(tail),
            other => unexpected(&other),
        })
    }

    /// Reads records from `min` on, below `max`, about `bytes_max` bytes of them.
    ///
    /// # Errors
    /// No server that has them answered in time.
    pub fn read(&self, min: LogPos, max: LogPos, bytes_max: u32) -> Result<ReadResult<LogPos>, OpError> {
        self.start_read(min, max, bytes_max).wait()
    }

    /// [`VirtualLog::read`] without blocking.
    pub fn start_read(&self, min: LogPos, max: LogPos, bytes_max: u32) -> Operation<ReadResult<LogPos>, LogResult> {
        self.start(LogOp::Read { min, max, bytes_max }, |result| match result {
            LogResult::Records { first, records } => Ok(ReadResult::Records(Delivery::new(first, records))),
            LogResult::NothingYet => Ok(ReadResult::NothingYet),
            LogResult::Trimmed { trim_point } => Ok(ReadResult::Trimmed(trim_point)),
            other => unexpected(&other),
        })
    }

    /// Streams records from `from` on, as they become readable. It does not end when the log is reconfigured.
    pub fn subscribe(&self, from: LogPos) -> Subscription<LogPos> {
        Subscription::start_log(self.inner.key, &self.inner.handle, from)
    }

    /// Gives up everything below `point`, as far as it is known to be committed. Returns the trim point reached.
    ///
    /// # Errors
    /// The MetaStore or no majority of the loglet answered in time.
    pub fn trim(&self, point: LogPos) -> Result<LogPos, OpError> {
        self.start_trim(point).wait()
    }

    /// [`VirtualLog::trim`] without blocking.
    pub fn start_trim(&self, point: LogPos) -> Operation<LogPos, LogResult> {
        self.start(LogOp::Trim { point }, |result| match result {
            LogResult::TrimDone { trim_point } => Ok(trim_point),
            other => unexpected(&other),
        })
    }

    /// Ends the last loglet of the chain and puts another behind it, without downtime (`reconfigExtend` of Delos OSDI'20): as `wanted`
    /// says, or a clone. With `intent`, the wish is written into the chain first, so that it is finished even if this client is not
    /// there any more (P15).
    ///
    /// # Errors
    /// Somebody who is needed has not answered in time. The loglet may be sealed then, and is replaced by whoever uses the log next.
    pub fn extend(&self, wanted: Option<Wanted>, intent: bool) -> Result<Extended, OpError> {
        self.start_extend(wanted, intent)?.wait()
    }

    /// [`VirtualLog::extend`] without waiting for its end; with an intent it waits for the chain that the intent is about.
    ///
    /// # Errors
    /// The chain could not be read.
    pub fn start_extend(
        &self,
        wanted: Option<Wanted>,
        intent: bool,
    ) -> Result<Operation<Extended, LogResult>, OpError> {
        let intent = match (intent, &wanted) {
            (false, _) | (true, None) => None,
            (true, Some(wanted)) => Some(intent_of(&self.chain()?, wanted, None)),
        };
        Ok(self.start_extend_op(ExtendOp { replaces: None, wanted, intent }))
    }

    fn start_extend_op(&self, op: ExtendOp) -> Operation<Extended, LogResult> {
        self.start(LogOp::Extend(Box::new(op)), extended)
    }

    /// As [`VirtualLog::extend`], of a chain that the caller has looked at: once its last loglet is not the last one any more, this is
    /// overtaken and changes nothing.
    ///
    /// # Errors
    /// As [`VirtualLog::extend`].
    pub fn extend_seen(&self, seen: &Chain, wanted: Option<Wanted>, intent: bool) -> Result<Extended, OpError> {
        let intent = wanted.as_ref().filter(|_| intent).map(|wanted| intent_of(seen, wanted, None));
        let replaces = Some(seen.last().loglet.id());
        self.start_extend_op(ExtendOp { replaces, wanted, intent }).wait()
    }

    /// As [`VirtualLog::extend_seen`] with an intent, after which the log may go over so many stripes. The root register follows the chain:
    /// [`crate::client::Cluster::follow_chain`].
    ///
    /// # Errors
    /// As [`VirtualLog::extend`].
    pub fn redivide(&self, seen: &Chain, wanted: Wanted, stripes: StripeRange) -> Result<Extended, OpError> {
        self.start_intended(intent_of(seen, &wanted, Some(stripes))).wait()
    }

    /// [`VirtualLog::start_extend`] with an intent of the caller's, about a chain that the caller has read.
    pub fn start_intended(&self, intent: Intent) -> Operation<Extended, LogResult> {
        let (replaces, wanted) = (Some(intent.replaces), Some(intent.wanted.clone()));
        self.start_extend_op(ExtendOp { replaces, wanted, intent: Some(intent) })
    }

    /// As [`VirtualLog::extend`], if this loglet still is the last one: else it is overtaken. An intent that is in the chain already,
    /// whoever has written it, is carried out (P15).
    ///
    /// # Errors
    /// As [`VirtualLog::extend`].
    pub fn extend_from(&self, loglet: LogletId, wanted: Wanted, intent: Option<Intent>) -> Result<Extended, OpError> {
        self.start_extend_op(ExtendOp { replaces: Some(loglet), wanted: Some(wanted), intent }).wait()
    }

    /// Gives up the intent of this name, which cannot be carried out; nothing if it is not pending. The chain, which is returned, keeps the
    /// reason until another intent has been carried out.
    ///
    /// # Errors
    /// No majority of the register's members answered in time.
    pub fn drop_intent(&self, intent: IntentId, reason: &str) -> Result<Chain, OpError> {
        let given_up = GivenUp::new(intent, reason);
        let dropping: Operation<Chain, LogResult> = self.start(LogOp::DropIntent(given_up), |result| match result {
            LogResult::Chain(chain) => Ok(*chain),
            other => unexpected(&other),
        });
        dropping.wait()
    }

    /// Makes the log, with this as its first loglet, named for version 1 of the log's chain.
    pub fn start_begin(&self, loglet: impl Into<LogletSpec>) -> Operation<Extended, LogResult> {
        self.start(LogOp::Begin { loglet: Box::new(loglet.into()) }, |result| match result {
            LogResult::Chain(chain) => Ok(Extended::Done(*chain)),
            LogResult::Overtaken(chain) => Ok(Extended::Overtaken(*chain)),
            other => unexpected(&other),
        })
    }

    /// Gives a closed segment of the chain, or the stripe of this name of one, other LogServers (`reconfigModify` of Delos OSDI'20): as many as it has or more, and one of
    /// those that it has at least. The new ones get all of its records before the chain names them (P7); the log is used meanwhile.
    /// Returns the chain.
    ///
    /// # Errors
    /// The segment is the last one, or not there any more; or the copying does not come further.
    pub fn modify(&self, loglet: LogletId, log_servers: Vec<Member>) -> Result<Chain, OpError> {
        self.start_modify(loglet, log_servers).wait()
    }

    /// [`VirtualLog::modify`] without blocking.
    pub fn start_modify(&self, loglet: LogletId, log_servers: Vec<Member>) -> Operation<Chain, LogResult> {
        self.start(LogOp::Modify { loglet, log_servers }, |result| match result {
            LogResult::Chain(chain) => Ok(*chain),
            other => unexpected(&other),
        })
    }

    /// Seals the last loglet of the chain. Whoever uses the log next puts another behind it.
    ///
    /// # Errors
    /// No majority of its LogServers answered in time.
    pub fn seal(&self) -> Result<(), OpError> {
        self.start_seal().wait()
    }

    /// [`VirtualLog::seal`] without blocking.
    pub fn start_seal(&self) -> Operation<(), LogResult> {
        self.start(LogOp::Seal, |result| match result {
            LogResult::Sealed => Ok(()),
            other => unexpected(&other),
        })
    }

    /// Reads the chain from the MetaStore.
    ///
    /// # Errors
    /// No majority of the register's members answered in time, or the log has no chain yet.
    pub fn chain(&self) -> Result<Chain, OpError> {
        self.start_chain().wait()
    }

    /// [`VirtualLog::chain`] without blocking.
    pub fn start_chain(&self) -> Operation<Chain, LogResult> {
        self.start(LogOp::Chain, |result| match result {
            LogResult::Chain(chain) => Ok(*chain),
            other => unexpected(&other),
        })
    }
}
