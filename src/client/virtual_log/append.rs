use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::super::Full;
use super::super::submission::{HeldPlace, Place, Refused, Submission, Taken};
use crate::base::LogPos;
use crate::proto::virtual_log::contract::{AppendFailure, Run};

/// Why an append to a virtual log was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogAppendError {
    /// Fewer LogServers than a majority have disk space left. With `record_at`, the record may become part of the log there later, and
    /// nowhere else. Without, it surely is not in the log, and never will be.
    #[error("no majority of LogServers has disk space left{}", match record_at { Some(at) => format!("; the record may become part of the log at {at}"), None => String::new() })]
    NoSpace {
        /// Where it may be.
        record_at: Option<LogPos>,
    },
    /// Nobody has taken the record in time. If `maybe_stored`, it may be in the log nevertheless.
    #[error("no loglet has taken the record in time{}", if *maybe_stored { "; it may be in the log nevertheless" } else { "" })]
    Unavailable {
        /// Whether it may be in the log.
        maybe_stored: bool,
    },
    /// The log has been deleted. If `maybe_stored`, the record may have been in it before.
    #[error("the log has been deleted")]
    Deleted {
        /// Whether it may have been in the log.
        maybe_stored: bool,
    },
    /// The record is over the limit.
    #[error("a record of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size.
        limit: u32,
    },
    /// The client has been closed; if the record was on its way, its outcome is unknown.
    #[error("the client is closed")]
    Closed,
}

/// What has become of a batch.
#[derive(Debug, Clone)]
pub(in crate::client) enum BatchEnd {
    /// All of it is here.
    At(Run),
    /// The first records are where the runs say, and the others have failed, if there are others.
    Apart(Arc<(Vec<Run>, Option<AppendFailure>)>),
    /// The client has been closed.
    Closed,
}

impl BatchEnd {
    /// What has become of one record of the batch.
    fn of(self, index: u32) -> Result<LogPos, LogAppendError> {
        let (runs, failure) = match &self {
            Self::At(run) => return Ok(run.position(index)),
            Self::Closed => return Err(LogAppendError::Closed),
            Self::Apart(apart) => (&apart.0, apart.1),
        };
        let mut left = index;
        for run in runs {
            if left < run.count {
                return Ok(run.position(left));
            }
            left -= run.count;
        }
        Err(match failure {
            Some(AppendFailure::NoSpace { at }) => {
                LogAppendError::NoSpace { record_at: at.map(|run| run.position(left)) }
            }
            Some(AppendFailure::Unavailable { maybe_stored }) => LogAppendError::Unavailable { maybe_stored },
            Some(AppendFailure::Deleted { maybe_stored }) => LogAppendError::Deleted { maybe_stored },
            None => unreachable!("a record is in a run, or has failed"),
        })
    }
}

/// An append on its way: resolves to the record's position once the record is on stable storage on a majority. Reconfigurations on
/// the way do not show.
///
/// Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "an append has succeeded only when it resolves to a position"]
pub struct LogAppend {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Part of a batch.
    Placed(Place<BatchEnd>),
    /// Waits for room in the client's window.
    Held(Arc<HeldPlace<BatchEnd>>),
    Refused(LogAppendError),
}

impl LogAppend {
    /// Places a record; `tell` is called if the reactor has to be told.
    pub(super) fn start(
        submission: &Submission<BatchEnd>,
        record: &[u8],
        hold: bool,
        tell: impl FnOnce(),
    ) -> Result<Self, Full> {
        let state = match submission.place(record, hold) {
            Ok(Taken::Placed { place, tell: is_first }) => {
                if is_first {
                    tell();
                }
                State::Placed(place)
            }
            Ok(Taken::Held(place)) => State::Held(place),
            Err(Refused::Full(full)) => return Err(full),
            Err(Refused::TooLarge { bytes, limit }) => State::Refused(LogAppendError::TooLarge { bytes, limit }),
            Err(Refused::Closed(_)) => State::Refused(LogAppendError::Closed),
        };
        Ok(Self { state })
    }

    /// Blocks this thread until the append is acknowledged or has failed.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<LogPos, LogAppendError> {
        let place = match self.state {
            State::Placed(place) => place,
            State::Held(held) => match held.wait() {
                Ok(place) => place,
                Err(end) => return end.of(0),
            },
            State::Refused(error) => return Err(error),
        };
        place.outcome.wait().of(place.index)
    }
}

impl Future for LogAppend {
    type Output = Result<LogPos, LogAppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Held(held) = &self.state {
            match held.poll(context) {
                Poll::Ready(Ok(place)) => self.state = State::Placed(place),
                Poll::Ready(Err(end)) => return Poll::Ready(end.of(0)),
                Poll::Pending => return Poll::Pending,
            }
        }
        match &self.state {
            State::Placed(place) => place.outcome.poll(context).map(|end| end.of(place.index)),
            State::Refused(error) => Poll::Ready(Err(error.clone())),
            State::Held(_) => unreachable!("placed or returned above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divided_batch_says_of_each_record_where_it_is() {
        let run = |count, first, stride| Run { count, first: LogPos(first), stride };
        let runs = vec![run(2, 5, 3), run(1, 40, 1)];
        let failure = Some(AppendFailure::NoSpace { at: Some(run(2, 60, 4)) });
        let end = BatchEnd::Apart(Arc::new((runs, failure)));
        let of = |index| end.clone().of(index);
        assert_eq!((of(0), of(1), of(2)), (Ok(LogPos(5)), Ok(LogPos(8)), Ok(LogPos(40))));
        assert_eq!(of(3), Err(LogAppendError::NoSpace { record_at: Some(LogPos(60)) }));
        assert_eq!(of(4), Err(LogAppendError::NoSpace { record_at: Some(LogPos(64)) }));
    }
}
