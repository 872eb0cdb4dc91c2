use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use super::OpError;
use crate::proto::loglet::LogletResult;
use crate::proto::virtual_log::contract::LogResult;

/// An operation on its way. It goes on by itself; dropping this gives up its result, not the operation.
///
/// For callers that must not block, such as one that turns a simulated [`super::Reactor`] on the same thread:
/// [`Operation::try_take`]. All others [`Operation::wait`].
#[derive(Debug)]
#[must_use = "an operation's result is known only when it is waited for"]
pub struct Operation<T, R = LogletResult> {
    reply: Receiver<R>,
    /// What the reply means to the caller.
    interpret: fn(R) -> Result<T, OpError>,
}

/// Results that an operation can have.
pub(super) trait Reply: Sized {
    /// The failures that every operation can end with, which are the same for all; or the result, which is none.
    fn success(self) -> Result<Self, OpError>;
}

impl Reply for LogletResult {
    fn success(self) -> Result<Self, OpError> {
        match self {
            Self::Gone => Err(OpError::Gone),
            Self::Unavailable { reason } => Err(OpError::Unavailable { reason }),
            Self::AppendSealed { .. } => Err(OpError::Sealed),
            Self::SequencerLost { .. } => Err(OpError::SequencerLost),
            result => Ok(result),
        }
    }
}

impl Reply for LogResult {
    fn success(self) -> Result<Self, OpError> {
        match self {
            Self::Unavailable { reason } => Err(OpError::Unavailable { reason }),
            result => Ok(result),
        }
    }
}

#[expect(private_bounds, reason = "operations are started by handles only")]
impl<T, R: Reply> Operation<T, R> {
    /// An operation, and where its result goes.
    pub(super) fn new(interpret: fn(R) -> Result<T, OpError>) -> (SyncSender<R>, Self) {
        // One place, so that the reactor never waits for the caller.
        let (sender, reply) = sync_channel(1);
        (sender, Self { reply, interpret })
    }

    /// Blocks until the operation is over.
    ///
    /// # Errors
    /// The operation's, or [`OpError::Closed`] when the client has been closed before its end.
    pub fn wait(self) -> Result<T, OpError> {
        self.reply.recv().map_err(|_| OpError::Closed).and_then(|result| self.interpret(result))
    }

    /// The result, once, if there is one; never blocks. After the result has been taken there is only
    /// [`OpError::Closed`].
    ///
    /// # Errors
    /// As [`Operation::wait`].
    pub fn try_take(&mut self) -> Option<Result<T, OpError>> {
        match self.reply.try_recv() {
            Ok(result) => Some(self.interpret(result)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(OpError::Closed)),
        }
    }

    fn interpret(&self, result: R) -> Result<T, OpError> {
        result.success().and_then(self.interpret)
    }
}

pub(super) fn unexpected<T>(result: &LogletResult) -> Result<T, OpError> {
    Err(OpError::Unavailable { reason: format!("the loglet answered with something else: {result:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_taken_once_and_a_closed_client_is_told() {
        let (reply, mut operation) = Operation::new(|_| Ok(7));
        assert_eq!(operation.try_take(), None);
        reply.send(LogletResult::Sealed).unwrap();
        assert_eq!(operation.try_take(), Some(Ok(7)));
        drop(reply);
        assert_eq!(operation.try_take(), Some(Err(OpError::Closed)));
        assert_eq!(operation.wait(), Err(OpError::Closed));
    }
}
