use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use super::Full;
use crate::base::{Instant, Limits};
use crate::proto::loglet::Records;
use crate::ring::Completion;
use crate::wire::BatchBuilder;

/// The outcome of a whole batch.
pub(super) type BatchOutcome<O> = Completion<O>;

/// Memory of finished batches kept for new ones.
const SPARE_MAX: usize = 64;

/// Where appending threads leave records and the reactor picks them up as batches, each of which ends as `O`.
#[derive(Debug)]
pub(super) struct Submission<O> {
    limits: Limits,
    /// For the latency profile; none where it is off.
    clock: Option<fn() -> Instant>,
    state: Mutex<State<O>>,
}

#[derive(Debug)]
struct State<O> {
    /// The batch that collects records.
    open: BatchBuilder,
    /// When its first record came.
    open_since: Option<Instant>,
    open_outcome: Arc<BatchOutcome<O>>,
    /// Full batches, oldest first.
    full: VecDeque<Submitted<O>>,
    /// Bytes of records that are not settled yet.
    window_used: usize,
    /// Records that wait for room in the window, oldest first. While there are any, later ones queue up behind them, so that
    /// the records of one thread keep their order.
    held: VecDeque<Held<O>>,
    /// Whether the reactor has been told, and has not looked yet.
    told: bool,
    closed: Option<O>,
    spare: Vec<Vec<u8>>,
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Submitted<O> {
    pub(super) records: Records,
    pub(super) outcome: Arc<BatchOutcome<O>>,
    /// When the first of them came, where that is measured.
    pub(super) since: Option<Instant>,
}

#[derive(Debug)]
struct Held<O> {
    record: Vec<u8>,
    since: Option<Instant>,
    place: Arc<HeldPlace<O>>,
}

/// Where a held record is found once there was room for it.
pub(super) type HeldPlace<O> = Completion<Result<Place<O>, O>>;

/// A record's place in a batch.
#[derive(Debug, Clone)]
pub(super) struct Place<O> {
    pub(super) outcome: Arc<BatchOutcome<O>>,
    pub(super) index: u32,
}

/// What has become of a record.
#[derive(Debug)]
pub(super) enum Taken<O> {
    Placed {
        place: Place<O>,
        /// Whether the reactor has to be told.
        tell: bool,
    },
    /// The window was full.
    Held(Arc<HeldPlace<O>>),
}

impl<O: Clone> Submission<O> {
    /// With a clock it is measured how long records wait.
    pub(super) fn new(limits: Limits, clock: Option<fn() -> Instant>) -> Self {
        let state = State {
            open: BatchBuilder::default(),
            open_since: None,
            open_outcome: Arc::default(),
            full: VecDeque::new(),
            window_used: 0,
            held: VecDeque::new(),
            told: false,
            closed: None,
            spare: Vec::new(),
        };
        Self { clock: clock.filter(|_| limits.profile), limits, state: Mutex::new(state) }
    }

    /// Whether it is measured how long records wait.
    pub(super) fn is_timed(&self) -> bool {
        self.clock.is_some()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<O>> {
        self.state.lock().expect("no panic while locked")
    }

    /// Puts a record into the open batch if the window has room; else holds it, if `hold`, until there is some.
    pub(super) fn place(&self, record: &[u8], hold: bool) -> Result<Taken<O>, Refused<O>> {
        if record.len() > self.limits.record_bytes_max as usize {
            let limit = self.limits.record_bytes_max;
            return Err(Refused::TooLarge { bytes: record.len(), limit });
        }
        let mut state = self.state();
        if let Some(end) = &state.closed {
            return Err(Refused::Closed(end.clone()));
        }
        if !state.held.is_empty() || !state.has_room(record, &self.limits) {
            if !hold {
                return Err(Refused::Full(Full { window_bytes: self.limits.client_window_bytes }));
            }
            let place = Arc::<HeldPlace<O>>::default();
            let since = self.clock.map(|clock| clock());
            state.held.push_back(Held { record: record.to_vec(), since, place: place.clone() });
            return Ok(Taken::Held(place));
        }
        let place = state.place(record, &self.limits, || self.clock.map(|clock| clock()));
        let tell = !std::mem::replace(&mut state.told, true);
        Ok(Taken::Placed { place, tell })
    }

    /// Notes that the reactor is looking: later records tell it anew.
    pub(super) fn look(&self) {
        self.state().told = false;
    }

    /// The next batch: a full one, or, with `any`, whatever there is.
    pub(super) fn take(&self, any: bool) -> Option<Submitted<O>> {
        let mut state = self.state();
        if state.full.is_empty() && any && !state.open.is_empty() {
            state.close_open();
        }
        state.full.pop_front()
    }

    /// A batch has its outcome: settles it, gives back its memory, and its room in the window to records that are held. The
    /// reactor, which calls this, looks for them. Returns who is to be woken for it.
    #[must_use = "whoever waits has to be woken"]
    pub(super) fn settle(&self, outcome: &BatchOutcome<O>, result: O, mut records: Records) -> Vec<Waker> {
        let woken = outcome.complete_quietly(result);
        let mut state = self.state();
        let bytes = records.bytes.len();
        assert!(state.window_used >= bytes, "what is settled was in the window");
        state.window_used -= bytes;
        records.bytes.clear();
        if state.spare.len() < SPARE_MAX {
            state.spare.push(records.bytes);
        }
        let mut placed = Vec::new();
        while state.closed.is_none()
            && let Some(first) = state.held.front()
            && state.has_room(&first.record, &self.limits)
        {
            let held = state.held.pop_front().expect("just seen");
            placed.push((held.place, state.place(&held.record, &self.limits, || held.since)));
        }
        drop(state);
        placed.into_iter().for_each(|(held, place)| held.complete(Ok(place)));
        woken
    }

    /// Refuses further records, and settles those not yet picked up, with this end.
    pub(super) fn close(&self, end: &O) {
        let mut state = self.state();
        state.closed.get_or_insert_with(|| end.clone());
        if !state.open.is_empty() {
            state.close_open();
        }
        let unsent = std::mem::take(&mut state.full);
        let held = std::mem::take(&mut state.held);
        drop(state);
        for batch in unsent {
            self.settle(&batch.outcome, end.clone(), batch.records).into_iter().for_each(Waker::wake);
        }
        held.into_iter().for_each(|held| held.place.complete(Err(end.clone())));
    }
}

impl<O> State<O> {
    fn has_room(&self, record: &[u8], limits: &Limits) -> bool {
        self.window_used + record.len() + Limits::RECORD_OVERHEAD as usize <= limits.client_window_bytes as usize
    }

    /// `since` says when the record came, for the first one of a batch.
    fn place(&mut self, record: &[u8], limits: &Limits, since: impl FnOnce() -> Option<Instant>) -> Place<O> {
        let bytes = record.len() + Limits::RECORD_OVERHEAD as usize;
        let full =
            self.open.len() + bytes > limits.batch_bytes_max as usize || self.open.count() == limits.batch_records_max;
        if full && !self.open.is_empty() {
            self.close_open();
        }
        let index = self.open.count();
        if index == 0 {
            self.open_since = since();
        }
        self.open.push(record);
        self.window_used += bytes;
        Place { outcome: self.open_outcome.clone(), index }
    }

    fn close_open(&mut self) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        self.open.write_to(&mut bytes);
        let records = Records { count: self.open.count(), bytes };
        self.open.clear();
        let outcome = std::mem::take(&mut self.open_outcome);
        self.full.push_back(Submitted { records, outcome, since: self.open_since.take() });
    }
}

/// Why a record was not placed.
#[derive(Debug)]
pub(super) enum Refused<O> {
    /// The submission is closed, and records end so.
    Closed(O),
    /// It is over the limit.
    TooLarge { bytes: usize, limit: u32 },
    /// For now.
    Full(Full),
}

#[cfg(test)]
mod tests {
    use super::super::AppendError;
    use super::*;
    use crate::base::Offset;

    type Outcome = Result<Offset, AppendError>;

    fn small() -> Submission<Outcome> {
        Submission::new(Limits { client_window_bytes: 100, batch_bytes_max: 40, ..Limits::default() }, None)
    }

    /// The place of a record that the window has room for, and whether the reactor has to be told.
    fn placed(submission: &Submission<Outcome>, record: &[u8]) -> (Place<Outcome>, bool) {
        match submission.place(record, false).unwrap() {
            Taken::Placed { place, tell } => (place, tell),
            Taken::Held(_) => panic!("there is room"),
        }
    }

    #[test]
    fn records_collect_in_batches_and_share_an_outcome() {
        let submission = small();
        let (first, first_tells) = placed(&submission, b"0123456789");
        let (second, second_tells) = placed(&submission, b"0123456789");
        assert!(first_tells && !second_tells, "one wake-up for both");
        assert!(Arc::ptr_eq(&first.outcome, &second.outcome));
        let (third, _) = placed(&submission, b"0123456789");
        assert_eq!((first.index, second.index, third.index), (0, 1, 0), "the third opens a new batch");
        assert_eq!(submission.take(false).unwrap().records.count, 2);
        assert!(submission.take(false).is_none(), "the open batch is not full");
        assert_eq!(submission.take(true).unwrap().records.count, 1);
    }

    #[test]
    fn a_full_window_refuses_until_something_is_settled() {
        let submission = small();
        for _ in 0..5 {
            placed(&submission, b"0123456789");
        }
        assert!(matches!(submission.place(b"0123456789", false), Err(Refused::Full(_))));
        let batch = submission.take(true).unwrap();
        let _ = submission.settle(&batch.outcome, Ok(Offset(7)), batch.records);
        assert_eq!(batch.outcome.get(), Some(Ok(Offset(7))));
        placed(&submission, b"0123456789");
    }

    #[test]
    fn records_that_wait_for_room_keep_their_order() {
        let submission = small();
        for _ in 0..5 {
            placed(&submission, b"0123456789");
        }
        let hold = |record: &[u8]| match submission.place(record, true).unwrap() {
            Taken::Held(place) => place,
            Taken::Placed { .. } => panic!("others wait already, or there is no room"),
        };
        let first = hold(b"this first");
        let second = hold(b"then");
        let batch = submission.take(true).unwrap();
        let _ = submission.settle(&batch.outcome, Ok(Offset(0)), batch.records);
        assert!(first.get().unwrap().is_ok() && second.get().unwrap().is_ok());
        let taken: Vec<u8> =
            std::iter::from_fn(|| submission.take(true)).flat_map(|batch| batch.records.bytes).collect();
        let position = |record: &[u8]| taken.windows(record.len()).position(|window| window == record).unwrap();
        assert!(position(b"this first") < position(b"then"));
        // Room for the last one comes with the close only.
        while let Ok(Taken::Placed { .. }) = submission.place(b"0123456789", true) {}
        assert!(matches!(submission.place(b"", false), Err(Refused::Full(_))), "not past those who wait");
        let last = hold(b"last");
        submission.close(&Err(AppendError::Closed));
        assert_eq!(last.get().unwrap().unwrap_err(), Err(AppendError::Closed));
    }

    /// A batch is as old as its first record, which may have waited for room.
    #[test]
    fn a_batch_is_as_old_as_its_first_record() {
        static TIME: std::sync::Mutex<u64> = std::sync::Mutex::new(0);
        let clock = || {
            let mut time = TIME.lock().unwrap();
            *time += 1;
            Instant::from_nanos(*time)
        };
        let limits = Limits { client_window_bytes: 36, batch_bytes_max: 40, ..Limits::default() };
        let submission: Submission<Outcome> = Submission::new(limits.clone(), Some(clock));
        placed(&submission, b"0123456789");
        placed(&submission, b"0123456789");
        let held = submission.place(b"0123456789", true).unwrap();
        assert!(matches!(held, Taken::Held(_)));
        let first = submission.take(true).unwrap();
        assert_eq!(first.since, Some(Instant::from_nanos(1)), "the second record has not asked for the time");
        let _ = submission.settle(&first.outcome, Ok(Offset(0)), first.records);
        assert_eq!(submission.take(true).unwrap().since, Some(Instant::from_nanos(2)));
        let off: Submission<Outcome> = Submission::new(Limits { profile: false, ..limits }, Some(clock));
        placed(&off, b"0123456789");
        assert_eq!(off.take(true).unwrap().since, None);
    }

    #[test]
    fn closing_settles_what_was_not_picked_up() {
        let submission = small();
        let (place, _) = placed(&submission, b"x");
        submission.close(&Err(AppendError::Closed));
        assert_eq!(place.outcome.get(), Some(Err(AppendError::Closed)));
        assert!(matches!(submission.place(b"x", true), Err(Refused::Closed(Err(AppendError::Closed)))));
    }
}
