use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::log::LogInner;
use super::submission::{BatchOutcome, Refused};
use super::{AppendError, Full};
use crate::base::Offset;
use crate::ring::wait;

/// An append on its way: resolves to the record's offset once the record is on stable storage on a majority.
///
/// Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "an append has succeeded only when it resolves to an offset"]
pub struct Append {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Part of a batch.
    Placed {
        outcome: Arc<BatchOutcome>,
        index: u32,
    },
    /// Waits for room in the client's window.
    Held {
        record: Vec<u8>,
        log: Arc<LogInner>,
    },
    Refused(AppendError),
}

impl Append {
    pub(super) fn start(log: &Arc<LogInner>, record: &[u8]) -> Self {
        let state = match Self::place(log, record, None) {
            Ok(state) => state,
            Err(Refused::Error(error)) => State::Refused(error),
            Err(Refused::Full(_)) => State::Held { record: record.to_vec(), log: log.clone() },
        };
        Self { state }
    }

    pub(super) fn try_start(log: &Arc<LogInner>, record: &[u8]) -> Result<Self, Full> {
        match Self::place(log, record, None) {
            Ok(state) => Ok(Self { state }),
            Err(Refused::Error(error)) => Ok(Self { state: State::Refused(error) }),
            Err(Refused::Full(full)) => Err(full),
        }
    }

    fn place(log: &LogInner, record: &[u8], context: Option<&mut Context<'_>>) -> Result<State, Refused> {
        let placed = log.submission().place(record, context)?;
        if placed.tell {
            log.tell_appends();
        }
        Ok(State::Placed { outcome: placed.outcome, index: placed.index })
    }

    /// Blocks this thread until the append is acknowledged or has failed.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<Offset, AppendError> {
        match self.state {
            State::Placed { outcome, index } => settled(outcome.wait(), index),
            State::Refused(error) => Err(error),
            State::Held { .. } => wait(self),
        }
    }
}

fn settled(outcome: Result<Offset, AppendError>, index: u32) -> Result<Offset, AppendError> {
    let index = u64::from(index);
    match outcome {
        Ok(first) => Ok(first + index),
        Err(AppendError::Sealed { record_at: Some(first) }) => {
            Err(AppendError::Sealed { record_at: Some(first + index) })
        }
        Err(error) => Err(error),
    }
}

impl Future for Append {
    type Output = Result<Offset, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Held { record, log } = &self.state {
            match Self::place(log, record, Some(context)) {
                Ok(state) => self.state = state,
                Err(Refused::Error(error)) => return Poll::Ready(Err(error)),
                Err(Refused::Full(_)) => return Poll::Pending,
            }
        }
        match &self.state {
            State::Placed { outcome, index } => outcome.poll(context).map(|outcome| settled(outcome, *index)),
            State::Refused(error) => Poll::Ready(Err(error.clone())),
            State::Held { .. } => unreachable!("placed or returned above"),
        }
    }
}
