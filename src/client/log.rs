use std::ops::Add;
use std::sync::{Arc, OnceLock};

use super::append::Append;
use super::handle::Handle;
use super::inbox::{Command, LogKey};
use super::operation::{Operation, unexpected};
use super::session::Outcome;
use super::submission::Submission;
use super::subscription::Subscription;
use super::{Full, OpError, StopConflict};
use crate::base::Offset;
use crate::proto::loglet::{FillFailure, LogletOp, LogletResult, Records};
use crate::wire::Batch;

/// An open log. Clones share its connections and its window.
#[derive(Debug, Clone)]
pub struct Log {
    inner: Arc<LogInner>,
}

/// What the clones of a log share; the log closes with the last of them.
#[derive(Debug)]
pub(super) struct LogInner {
    key: LogKey,
    handle: Arc<Handle>,
    submission: Arc<Submission<Outcome>>,
    /// Where the sealed loglet ends, once told.
    stop: OnceLock<Offset>,
}

impl LogInner {
    pub(super) fn submission(&self) -> &Submission<Outcome> {
        &self.submission
    }

    pub(super) fn tell_appends(&self) {
        self.handle.inbox.push(Command::Appends(self.key));
    }
}

impl Drop for LogInner {
    fn drop(&mut self) {
        self.handle.inbox.push(Command::Close(self.key));
    }
}

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The first offset not covered.
    pub tail: Offset,
    /// Whether the loglet is sealed. Then the tail says where the log may be ended, and is not yet its end (P1).
    pub sealed: bool,
}

/// How far a loglet was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// Everything below is on stable storage on a majority.
    pub known_tail: Offset,
    /// No-ops that this request itself has placed.
    pub placed: u64,
}

/// What a read found.
#[derive(Debug)]
pub enum ReadResult<P = Offset> {
    /// Records from the first place asked for. There may be none among what it covers: see [`Delivery`].
    Records(Delivery<P>),
    /// Nothing is readable there yet.
    NothingYet,
    /// The records there have been trimmed; this is the first place that may still be read.
    Trimmed(P),
}

/// Verified records at ascending places: offsets of a loglet, or positions of a virtual log.
///
/// It covers every place from [`Delivery::first`] up to [`Delivery::end`]. At some of them, or even at all, may be *no-ops*, which stand where
/// nobody appended anything and are not handed out. So whoever reads on does so from `end`, and whoever wants to know where a record is takes
/// [`Delivery::entries`]: a delivery without records is not the same as [`ReadResult::NothingYet`].
#[derive(Debug)]
pub struct Delivery<P = Offset> {
    first: P,
    records: Records,
}

impl<P: Copy + Add<u64, Output = P>> Delivery<P> {
    pub(super) fn new(first: P, records: Records) -> Self {
        Self { first, records }
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(self.records.count, &self.records.bytes).expect("checked when received")
    }

    /// The first place that it covers: the one asked for, or the end of the delivery before.
    pub fn first(&self) -> P {
        self.first
    }

    /// The first place that it does not cover any more: where to go on.
    pub fn end(&self) -> P {
        self.first + u64::from(self.records.count)
    }

    /// How many records; no-ops do not count.
    pub fn count(&self) -> u32 {
        self.records.count - self.batch().no_ops()
    }

    /// Bytes of the delivery, as they count against a subscription's credit.
    pub fn bytes(&self) -> usize {
        self.records.bytes.len()
    }

    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.values().flatten()
    }

    /// The records in order, each with its place.
    pub fn entries(&self) -> impl Iterator<Item = (P, &[u8])> {
        let first = self.first;
        (0..).zip(self.values()).filter_map(move |(index, value)| Some((first + index, value?)))
    }

    /// What is at each place: a record, or nothing for a no-op.
    pub(crate) fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.batch().values()
    }
}

impl Log {
    pub(super) fn new(key: LogKey, handle: Arc<Handle>, submission: Arc<Submission<Outcome>>) -> Self {
        Self { inner: Arc::new(LogInner { key, handle, submission, stop: OnceLock::new() }) }
    }

    /// Appends a record. It is on its way when this returns, unless the window is full: then it leaves when there is room, after
    /// all that were appended before it. On a loglet of several stripes, appends that are under way together may come in any order.
    pub fn append(&self, record: &[u8]) -> Append {
        Append::start(&self.inner, record)
    }

    /// Appends a record if the window has room.
    ///
    /// # Errors
    /// The window is full, and the record was not taken.
    pub fn try_append(&self, record: &[u8]) -> Result<Append, Full> {
        Append::try_start(&self.inner, record)
    }

    fn start<T>(&self, op: LogletOp, interpret: fn(LogletResult) -> Result<T, OpError>) -> Operation<T> {
        let (reply, operation) = Operation::new(interpret);
        self.inner.handle.inbox.push(Command::Op { log: self.inner.key, op, reply });
        operation
    }

    /// Creates the loglet on a majority of its LogServers and starts its sequencer (P5).
    ///
    /// # Errors
    /// No majority, or the sequencer is not the one that the configuration names.
    pub fn create(&self) -> Result<(), OpError> {
        self.start_create().wait()
    }

    /// [`Log::create`] without blocking.
    pub fn start_create(&self) -> Operation<()> {
        let (reply, operation) = Operation::new(|_| Ok(()));
        self.inner.handle.inbox.push(Command::Create { log: self.inner.key, reply });
        operation
    }

    /// Deletes the loglet, and all that is stored of it: the version of the chain that ends its log names no loglet any more (P5).
    pub(super) fn start_delete(&self, chain_version: u64) -> Operation<()> {
        let (reply, operation) = Operation::new(|_| Ok(()));
        self.inner.handle.inbox.push(Command::Delete { log: self.inner.key, chain_version, reply });
        operation
    }

    /// Finds the tail: every record acknowledged before the call is below it.
    ///
    /// # Errors
    /// No majority answered in time, or the loglet is deleted.
    pub fn check_tail(&self) -> Result<Tail, OpError> {
        self.start_check_tail().wait()
    }

    /// [`Log::check_tail`] without blocking.
    pub fn start_check_tail(&self) -> Operation<Tail> {
        self.start(LogletOp::CheckTail, |result| match result {
            LogletResult::Tail { tail, sealed } => Ok(Tail { tail, sealed }),
            other => unexpected(&other),
        })
    }

    /// Has every offset below `offset` given out, those that nobody has appended at to no-ops, and waits until they are durable on a
    /// majority. One request reaches so far; where the known tail that is returned lies below `offset`, it is to be asked again; with
    /// [`Offset::MAX`], which no tail reaches, as much is placed as one request may.
    ///
    /// # Errors
    /// The loglet is sealed or deleted, its sequencer is lost, or no majority has space.
    pub fn fill_to(&self, offset: Offset) -> Result<Filled, OpError> {
        self.start_fill_to(offset).wait()
    }

    /// [`Log::fill_to`] without blocking.
    pub fn start_fill_to(&self, offset: Offset) -> Operation<Filled> {
        self.start(LogletOp::FillTo { offset }, |result| match result {
            LogletResult::Filled { known_tail, placed } => Ok(Filled { known_tail, placed }),
            LogletResult::FillFailed(FillFailure::Sealed) => Err(OpError::Sealed),
            LogletResult::FillFailed(FillFailure::SequencerLost) => Err(OpError::SequencerLost),
            LogletResult::FillFailed(FillFailure::NoSpace) => Err(OpError::NoSpace),
            other => unexpected(&other),
        })
    }

    /// Reads records from `min` on, below `max`, about `bytes_max` bytes of them.
    ///
    /// # Errors
    /// No server that has them answered in time, or the loglet is deleted.
    pub fn read(&self, min: Offset, max: Offset, bytes_max: u32) -> Result<ReadResult, OpError> {
        self.start_read(min, max, bytes_max).wait()
    }

    /// [`Log::read`] without blocking.
    pub fn start_read(&self, min: Offset, max: Offset, bytes_max: u32) -> Operation<ReadResult> {
        // The reactor raises the limit to what it knows to be committed.
        self.start(LogletOp::ReadNext { min, max, limit: Offset::ZERO, bytes_max }, |result| match result {
            LogletResult::Records { first, records } => Ok(ReadResult::Records(Delivery::new(first, records))),
            LogletResult::NothingYet => Ok(ReadResult::NothingYet),
            LogletResult::Trimmed { trim_point } => Ok(ReadResult::Trimmed(trim_point)),
            other => unexpected(&other),
        })
    }

    /// Streams records from `from` on, as they become readable.
    pub fn subscribe(&self, from: Offset) -> Subscription {
        Subscription::start(self.inner.key, &self.inner.handle, from)
    }

    /// Gives up everything below `point`, as far as it is known to be committed. Returns the trim point reached.
    ///
    /// # Errors
    /// No majority answered in time, or the loglet is deleted.
    pub fn trim(&self, point: Offset) -> Result<Offset, OpError> {
        self.start_trim(point).wait()
    }

    /// [`Log::trim`] without blocking.
    pub fn start_trim(&self, point: Offset) -> Operation<Offset> {
        self.start(LogletOp::Trim { point, committed: Offset::ZERO }, |result| match result {
            LogletResult::TrimDone { trim_point, .. } => Ok(trim_point),
            other => unexpected(&other),
        })
    }

    /// Seals the loglet: when this returns, no append is acknowledged any more.
    ///
    /// # Errors
    /// No majority answered in time, or the loglet is deleted.
    pub fn seal(&self) -> Result<(), OpError> {
        self.start_seal().wait()
    }

    /// [`Log::seal`] without blocking.
    pub fn start_seal(&self) -> Operation<()> {
        self.start(LogletOp::Seal, |_| Ok(()))
    }

    /// Tells this handle where the sealed loglet ends, from whoever keeps that decision: everything below may be read, and
    /// nothing at or beyond it is ever returned. Saying the same again does nothing.
    ///
    /// # Errors
    /// Another stop was told before, which stands: a loglet has one stop (P1).
    pub fn set_stop(&self, stop: Offset) -> Result<(), StopConflict> {
        let known = *self.inner.stop.get_or_init(|| stop);
        if known != stop {
            return Err(StopConflict { known, refused: stop });
        }
        self.inner.handle.inbox.push(Command::Stop { log: self.inner.key, stop });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::BatchBuilder;

    #[test]
    fn no_ops_have_places_and_are_not_handed_out() {
        let mut builder = BatchBuilder::default();
        builder.push_no_op();
        builder.push(b"one");
        builder.push(b"");
        builder.push_no_op();
        builder.push(b"four");
        builder.push_no_op();
        let mut bytes = Vec::new();
        builder.write_to(&mut bytes);
        let delivery = Delivery::new(Offset(10), Records { count: builder.count(), bytes });
        assert_eq!((delivery.first(), delivery.end(), delivery.count()), (Offset(10), Offset(16), 3));
        assert_eq!(delivery.records().collect::<Vec<_>>(), [&b"one"[..], b"", b"four"]);
        let entries: Vec<_> = delivery.entries().collect();
        assert_eq!(entries, [(Offset(11), &b"one"[..]), (Offset(12), b""), (Offset(14), b"four")]);
    }
}
