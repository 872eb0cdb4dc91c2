//! The logs that loads go to, a loglet without a chain or a virtual log: appending to them, and reading them back.

use std::fmt::Display;
use std::future::Future;
use std::ops::Add;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::generator::Appender;
use super::run::{Observer, Phase, RunError};
use super::verify::{Checker, Verified};
use crate::base::{LogPos, Offset};
use crate::client::{Append, Delivery, Event, Log, LogAppend, Subscription, VirtualLog};

/// Between two looks at an interruption.
const TURN: Duration = Duration::from_millis(50);
/// How long reading back may stand still before it is given up.
pub(super) const READ_STALL: Duration = Duration::from_secs(30);

/// A place in a log, as an offset from its beginning.
pub(super) trait Position: Copy + Add<u64, Output = Self> {
    fn offset(self) -> Offset;
}

impl Position for Offset {
    fn offset(self) -> Offset {
        self
    }
}

/// Positions are taken for offsets: a log's first loglet begins at 0, and so does what is read back.
impl Position for LogPos {
    fn offset(self) -> Offset {
        Offset(self.0)
    }
}

/// An append whose end is an offset, or an error in words.
pub struct Pending<F>(F);

impl<F, P, E> Future for Pending<F>
where
    F: Future<Output = Result<P, E>> + Unpin,
    P: Position,
    E: Display,
{
    type Output = Result<Offset, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_ok(Position::offset).map_err(|error| error.to_string())
    }
}

/// Each handle is one client of a load, with connections of its own.
impl Appender for Log {
    type Append = Pending<Append>;

    fn try_append(&self, record: &[u8]) -> Option<Self::Append> {
        self.try_append(record).ok().map(Pending)
    }
}

impl Appender for VirtualLog {
    type Append = Pending<LogAppend>;

    fn try_append(&self, record: &[u8]) -> Option<Self::Append> {
        self.try_append(record).ok().map(Pending)
    }
}

/// Takes from a subscription, which begins where `checker` does, what is below `tail`, and compares it; `each` is shown what comes.
///
/// # Errors
/// The log cannot be read, or not in order; or an interruption.
pub(super) fn read_back<P: Position>(
    mut subscription: Subscription<P>,
    tail: Offset,
    mut checker: Checker<'_>,
    observer: &mut dyn Observer,
    mut each: impl FnMut(&Delivery<P>),
) -> Result<Verified, RunError> {
    let (mut moved, mut looked) = (Instant::now(), Instant::now());
    while checker.next() < tail {
        let at = checker.next();
        match subscription.next_timeout(TURN).map_err(|error| RunError::Read { at, tail, error })? {
            Some(Event::Records(delivery)) => {
                let got = delivery.first().offset();
                if got != at {
                    return Err(RunError::OutOfOrder { expected: at, got });
                }
                // What was stored without an acknowledgement may grow a log beyond the tail asked for; it is compared as well.
                delivery.values().for_each(|value| checker.place(value));
                each(&delivery);
                moved = Instant::now();
            }
            // A trimmed or shortened log: what is not there is missing, and is counted.
            Some(Event::Trimmed(_) | Event::Sealed) => break,
            None if moved.elapsed() > READ_STALL => return Err(RunError::ReadStalled { at, tail }),
            None => {}
        }
        if looked.elapsed() >= TURN {
            looked = Instant::now();
            if !observer.progress(Phase::Verifying { read: checker.next().0, total: tail.0 }) {
                return Err(RunError::Interrupted);
            }
        }
    }
    Ok(checker.finish())
}
