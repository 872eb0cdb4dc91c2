use std::ops::Add;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::handle::Handle;
use super::inbox::{Command, LogKey, SubscriptionKey};
use super::{Delivery, OpError};
use crate::base::{LogPos, Offset};

/// Bytes that may be on the way, or wait here unread.
const CREDIT_BYTES: u32 = 2 << 20;

/// What a subscription brings.
#[derive(Debug)]
pub enum Event<P = Offset> {
    /// The next records, without a gap to those before.
    Records(Delivery<P>),
    /// The next records have been trimmed; this is the first place that may still be read. The subscription has ended.
    Trimmed(P),
    /// The loglet is sealed: nothing more comes before its stop is known. The subscription has ended. Of a virtual log there is no such
    /// end.
    Sealed,
}

/// A stream of records in order, each once. At most a fixed number of bytes is on the way, so a slow reader bounds
/// memory everywhere.
#[derive(Debug)]
pub struct Subscription<P = Offset> {
    key: SubscriptionKey,
    log: LogKey,
    handle: Arc<Handle>,
    events: Receiver<Result<Event<P>, OpError>>,
}

impl Subscription<LogPos> {
    pub(super) fn start_log(log: LogKey, handle: &Arc<Handle>, from: LogPos) -> Self {
        let (sender, events) = channel();
        let key = SubscriptionKey(handle.next_key());
        handle.inbox.push(Command::SubscribeLog { log, key, from, credit: CREDIT_BYTES, events: sender });
        Self { key, log, handle: handle.clone(), events }
    }
}

impl Subscription {
    pub(super) fn start(log: LogKey, handle: &Arc<Handle>, from: Offset) -> Self {
        let (sender, events) = channel();
        let key = SubscriptionKey(handle.next_key());
        handle.inbox.push(Command::Subscribe { log, key, from, credit: CREDIT_BYTES, events: sender });
        Self { key, log, handle: handle.clone(), events }
    }
}

impl<P: Copy + Add<u64, Output = P>> Subscription<P> {
    /// Blocks until something comes.
    ///
    /// # Errors
    /// The loglet is deleted, or no server that has the records can be reached.
    #[expect(
        clippy::should_implement_trait,
        reason = "a subscription never ends with None: an iterator would promise that"
    )]
    pub fn next(&mut self) -> Result<Event<P>, OpError> {
        let event = self.events.recv().map_err(|_| OpError::Closed)?;
        self.take(event)
    }

    /// Blocks until something comes, at most for `timeout`.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Event<P>>, OpError> {
        match self.events.recv_timeout(timeout) {
            Ok(event) => self.take(event).map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(OpError::Closed),
        }
    }

    fn take(&mut self, event: Result<Event<P>, OpError>) -> Result<Event<P>, OpError> {
        if let Ok(Event::Records(delivery)) = &event {
            let bytes = u32::try_from(delivery.bytes()).expect("deliveries are far below 4 GiB");
            self.handle.inbox.push(Command::Credit { log: self.log, key: self.key, bytes });
        }
        event
    }
}

impl<P> Drop for Subscription<P> {
    fn drop(&mut self) {
        self.handle.inbox.push(Command::Unsubscribe { log: self.log, key: self.key });
    }
}
