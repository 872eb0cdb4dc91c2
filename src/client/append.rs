use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::log::LogInner;
use super::session::Outcome;
use super::submission::{HeldPlace, Place, Refused, Taken};
use super::{AppendError, Full};
use crate::base::Offset;

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
    Placed(Place<Outcome>),
    /// Waits for room in the client's window.
    Held(Arc<HeldPlace<Outcome>>),
    Refused(AppendError),
}

impl Append {
    pub(super) fn start(log: &LogInner, record: &[u8]) -> Self {
        let state = match Self::place(log, record, true) {
            Ok(state) => state,
            Err(Refused::Full(_)) => unreachable!("a record is held where there is no room"),
            Err(refused) => State::Refused(error_of(refused)),
        };
        Self { state }
    }

    pub(super) fn try_start(log: &LogInner, record: &[u8]) -> Result<Self, Full> {
        match Self::place(log, record, false) {
            Ok(state) => Ok(Self { state }),
            Err(Refused::Full(full)) => Err(full),
            Err(refused) => Ok(Self { state: State::Refused(error_of(refused)) }),
        }
    }

    fn place(log: &LogInner, record: &[u8], hold: bool) -> Result<State, Refused<Outcome>> {
        match log.submission().place(record, hold)? {
            Taken::Placed { place, tell } => {
                if tell {
                    log.tell_appends();
                }
                Ok(State::Placed(place))
            }
            Taken::Held(place) => Ok(State::Held(place)),
        }
    }

    /// Blocks this thread until the append is acknowledged or has failed.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<Offset, AppendError> {
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

fn error_of(refused: Refused<Outcome>) -> AppendError {
    match refused {
        Refused::TooLarge { bytes, limit } => AppendError::TooLarge { bytes, limit },
        Refused::Closed(Outcome { end: Err(error), .. }) => error,
        Refused::Closed(_) | Refused::Full(_) => unreachable!("no way to refuse a record for good"),
    }
}

impl Future for Append {
    type Output = Result<Offset, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Held(held) = &self.state {
            match held.poll(context) {
                Poll::Ready(Ok(place)) => self.state = State::Placed(place),
                Poll::Ready(Err(end)) => return Poll::Ready(end.of(0)),
                Poll::Pending => return Poll::Pending,
            }
        }
        match &self.state {
            State::Placed(place) => place.outcome.poll(context).map(|outcome| outcome.of(place.index)),
            State::Refused(error) => Poll::Ready(Err(error.clone())),
            State::Held(_) => unreachable!("placed or returned above"),
        }
    }
}
