use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use super::{AppendError, Full};
use crate::base::{Limits, Offset};
use crate::proto::loglet::Records;
use crate::ring::Completion;
use crate::wire::BatchBuilder;

/// The outcome of a whole batch: the offset of its first record.
pub(super) type BatchOutcome = Completion<Result<Offset, AppendError>>;

/// Memory of finished batches kept for new ones.
const SPARE_MAX: usize = 64;

/// Where appending threads leave records and the reactor picks them up as batches.
#[derive(Debug)]
pub(super) struct Submission {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The batch that collects records.
    open: BatchBuilder,
    open_outcome: Arc<BatchOutcome>,
    /// Full batches, oldest first.
    full: VecDeque<Submitted>,
    /// Bytes of records that are not settled yet.
    window_used: usize,
    /// Tasks that wait for room in the window.
    waiting: Vec<Waker>,
    /// Whether the reactor has been told, and has not looked yet.
    told: bool,
    closed: Option<AppendError>,
    spare: Vec<Vec<u8>>,
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) records: Records,
    pub(super) outcome: Arc<BatchOutcome>,
}

/// A record's place in a batch.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) outcome: Arc<BatchOutcome>,
    pub(super) index: u32,
    /// Whether the reactor has to be told.
    pub(super) tell: bool,
}

impl Submission {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State {
            open: BatchBuilder::default(),
            open_outcome: Arc::default(),
            full: VecDeque::new(),
            window_used: 0,
            waiting: Vec::new(),
            told: false,
            closed: None,
            spare: Vec::new(),
        };
        Self { limits, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }

    /// Puts a record into the open batch, if it is small enough and the window has room.
    pub(super) fn place(&self, record: &[u8], context: Option<&mut Context<'_>>) -> Result<Placed, Refused> {
        if record.len() > self.limits.record_bytes_max as usize {
            let limit = self.limits.record_bytes_max;
            return Err(Refused::Error(AppendError::TooLarge { bytes: record.len(), limit }));
        }
        let bytes = record.len() + Limits::RECORD_OVERHEAD as usize;
        let mut state = self.state();
        if let Some(error) = &state.closed {
            return Err(Refused::Error(error.clone()));
        }
        if state.window_used + bytes > self.limits.client_window_bytes as usize {
            if let Some(context) = context {
                state.waiting.push(context.waker().clone());
            }
            return Err(Refused::Full(Full { window_bytes: self.limits.client_window_bytes }));
        }
        let full = state.open.len() + bytes > self.limits.batch_bytes_max as usize
            || state.open.count() == self.limits.batch_records_max;
        if full && !state.open.is_empty() {
            state.close_open();
        }
        let index = state.open.count();
        state.open.push(record);
        state.window_used += bytes;
        let tell = !std::mem::replace(&mut state.told, true);
        Ok(Placed { outcome: state.open_outcome.clone(), index, tell })
    }

    /// Notes that the reactor is looking: later records tell it anew.
    pub(super) fn look(&self) {
        self.state().told = false;
    }

    /// The next batch: a full one, or, with `any`, whatever there is.
    pub(super) fn take(&self, any: bool) -> Option<Submitted> {
        let mut state = self.state();
        if state.full.is_empty() && any && !state.open.is_empty() {
            state.close_open();
        }
        state.full.pop_front()
    }

    /// A batch has its outcome: settles it, gives back its room in the window and its memory.
    pub(super) fn settle(&self, outcome: &BatchOutcome, result: Result<Offset, AppendError>, mut records: Records) {
        outcome.complete(result);
        let mut state = self.state();
        let bytes = records.bytes.len();
        assert!(state.window_used >= bytes, "what is settled was in the window");
        state.window_used -= bytes;
        records.bytes.clear();
        if state.spare.len() < SPARE_MAX {
            state.spare.push(records.bytes);
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Refuses further records, and settles those not yet picked up, with this error.
    pub(super) fn close(&self, error: &AppendError) {
        let mut state = self.state();
        state.closed.get_or_insert_with(|| error.clone());
        if !state.open.is_empty() {
            state.close_open();
        }
        let unsent = std::mem::take(&mut state.full);
        drop(state);
        for batch in unsent {
            self.settle(&batch.outcome, Err(error.clone()), batch.records);
        }
        let waiting = std::mem::take(&mut self.state().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn close_open(&mut self) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        self.open.write_to(&mut bytes);
        let records = Records { count: self.open.count(), bytes };
        self.open.clear();
        let outcome = std::mem::take(&mut self.open_outcome);
        self.full.push_back(Submitted { records, outcome });
    }
}

/// Why a record was not placed.
#[derive(Debug)]
pub(super) enum Refused {
    /// For good.
    Error(AppendError),
    /// For now.
    Full(Full),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Submission {
        Submission::new(Limits { client_window_bytes: 100, batch_bytes_max: 40, ..Limits::default() })
    }

    #[test]
    fn records_collect_in_batches_and_share_an_outcome() {
        let submission = small();
        let first = submission.place(b"0123456789", None).unwrap();
        let second = submission.place(b"0123456789", None).unwrap();
        assert!(first.tell && !second.tell, "one wake-up for both");
        assert!(Arc::ptr_eq(&first.outcome, &second.outcome));
        let third = submission.place(b"0123456789", None).unwrap();
        assert_eq!((first.index, second.index, third.index), (0, 1, 0), "the third opens a new batch");
        assert_eq!(submission.take(false).unwrap().records.count, 2);
        assert!(submission.take(false).is_none(), "the open batch is not full");
        assert_eq!(submission.take(true).unwrap().records.count, 1);
    }

    #[test]
    fn a_full_window_refuses_until_something_is_settled() {
        let submission = small();
        for _ in 0..5 {
            submission.place(b"0123456789", None).unwrap();
        }
        assert!(matches!(submission.place(b"0123456789", None), Err(Refused::Full(_))));
        let batch = submission.take(true).unwrap();
        submission.settle(&batch.outcome, Ok(Offset(7)), batch.records);
        assert_eq!(batch.outcome.get(), Some(Ok(Offset(7))));
        submission.place(b"0123456789", None).unwrap();
    }

    #[test]
    fn closing_settles_what_was_not_picked_up() {
        let submission = small();
        let placed = submission.place(b"x", None).unwrap();
        submission.close(&AppendError::Closed);
        assert_eq!(placed.outcome.get(), Some(Err(AppendError::Closed)));
        assert!(matches!(submission.place(b"x", None), Err(Refused::Error(AppendError::Closed))));
    }
}
