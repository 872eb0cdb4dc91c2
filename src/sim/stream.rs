//! Subscriptions, of loglets and of logs.

use std::ops::Add;
use std::time::Duration;

use super::recording::Question;
use super::run::Run;
use crate::base::{LogPos, Offset};
use crate::client::{Event, Subscription};

/// Streams that one client has.
pub(super) const STREAMS_MAX: usize = 3;

/// A place in a loglet or a log, as a number.
pub(super) trait Place: Copy + Add<u64, Output = Self> {
    fn number(self) -> u64;
}

impl Place for Offset {
    fn number(self) -> u64 {
        self.0
    }
}

impl Place for LogPos {
    fn number(self) -> u64 {
        self.0
    }
}

/// A stream of records.
pub(super) struct Stream<P> {
    /// Of which segment, and where it begins; none for the log as a whole.
    segment: Option<(usize, u64)>,
    /// `min` is the position of the next record.
    question: Question,
    subscription: Subscription<P>,
}

impl<P: Place> Stream<P> {
    pub(super) fn new(
        run: &mut Run,
        client: usize,
        segment: Option<(usize, u64)>,
        from: u64,
        subscription: Subscription<P>,
    ) -> Self {
        let invoked = run.moment();
        let question =
            Question { client, segment: segment.map(|(segment, _)| segment), invoked, min: from, max: u64::MAX };
        Self { segment, question, subscription }
    }

    /// The position of the next record.
    pub(super) fn next(&self) -> u64 {
        self.question.min
    }

    /// Which segment it follows.
    pub(super) fn segment(&self) -> Option<usize> {
        self.question.segment
    }

    /// Takes in what has come. Says whether the stream has ended.
    pub(super) fn follow(&mut self, run: &mut Run) -> bool {
        let start = self.segment.map_or(0, |(_, start)| start);
        loop {
            match self.subscription.next_timeout(Duration::ZERO) {
                Ok(None) => return false,
                Ok(Some(Event::Records(delivery))) => {
                    run.took("subscription delivers");
                    let first = start + delivery.first().number();
                    self.question.min = run.records_read(self.question, first, delivery.values());
                }
                Ok(Some(Event::Trimmed(point))) => {
                    run.took("subscription ends as trimmed");
                    run.trim_point_told(start + point.number());
                    return true;
                }
                Ok(Some(Event::Sealed)) => {
                    run.took("subscription ends as sealed");
                    return true;
                }
                // Where nobody answers, a subscription waits.
                Err(error) => panic!("a subscription ended as {error:?}"),
            }
        }
    }
}
