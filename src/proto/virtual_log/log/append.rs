use std::collections::VecDeque;

use super::super::chain::{Chain, Settled};
use super::super::contract::{AppendFailure, LogResult, Request, Run};
use super::machine::VirtualLog;
use super::trouble::Sign;
use crate::base::{Instant, Limits, LogletId, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::wire::Batch;

/// Appends that are not over, in the order in which they were asked for.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Appends {
    pending: VecDeque<Pending>,
    /// Some of them are not under way: later ones queue up behind them.
    held: bool,
}

#[derive(Clone, Hash, Debug)]
struct Pending {
    id: OpId,
    since: Instant,
    state: State,
    /// It has been with a sequencer that was lost, and may be in the log whatever becomes of later tries.
    maybe_stored: bool,
    /// Where the first records are, if a reconfiguration has divided the batch, and the whole of it.
    divided: Option<Box<Divided>>,
}

#[derive(Clone, Hash, Debug)]
struct Divided {
    runs: Vec<Run>,
    whole: Records,
}

#[derive(Clone, Hash, Debug)]
enum State {
    /// Waits for a loglet that takes it.
    Queued { records: Records },
    /// With a loglet, as this request.
    UnderWay { loglet: LogletId, request: OpId },
    /// A sealed loglet had given it these offsets: where that loglet ends decides whether it is part of the log (P16).
    Unsettled { loglet: LogletId, first: Offset, stride: u32, records: Records },
}

impl Appends {
    /// Which of them is with a loglet as this request. Answers come in the order of the requests, but for a few.
    pub(super) fn position(&self, id: OpId) -> Option<usize> {
        let is_it = |pending: &Pending| matches!(pending.state, State::UnderWay { request, .. } if request == id);
        self.pending.iter().position(is_it)
    }

    pub(super) fn uses(&self, wanted: LogletId) -> bool {
        self.pending.iter().any(|pending| matches!(pending.state, State::UnderWay { loglet, .. } if loglet == wanted))
    }

    /// Whether some wait for a loglet that takes them.
    pub(super) fn are_held(&self) -> bool {
        self.held
    }

    /// When the oldest that is not with a loglet has waited too long; what is with one is that loglet's care.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let first = self.held.then(|| self.pending.iter().find(|pending| pending.waits()))??;
        Some(first.since + limits.operation_timeout)
    }
}

impl Pending {
    fn waits(&self) -> bool {
        !matches!(self.state, State::UnderWay { .. })
    }
}

/// The result, when the records that are left have this end: where all of them are, or this failure.
fn ended(
    maybe_stored: bool,
    divided: Option<Box<Divided>>,
    records: Records,
    end: Result<Run, AppendFailure>,
) -> LogResult {
    // A later try does not say what has become of an earlier one.
    let end = end.map_err(|failure| match maybe_stored {
        true if matches!(failure, AppendFailure::Deleted { .. }) => AppendFailure::Deleted { maybe_stored: true },
        true => AppendFailure::Unavailable { maybe_stored: true },
        false => failure,
    });
    match (divided, end) {
        (None, Ok(at)) => LogResult::Appended { at, records },
        (None, Err(failure)) => LogResult::AppendedApart { runs: Vec::new(), failure: Some(failure), records },
        (Some(divided), end) => {
            let Divided { mut runs, whole } = *divided;
            let failure = match end {
                Ok(run) => {
                    runs.push(run);
                    None
                }
                Err(failure) => Some(failure),
            };
            LogResult::AppendedApart { runs, failure, records: whole }
        }
    }
}

impl VirtualLog {
    /// Whether appends wait for a loglet that takes them: more of them would only wait as well.
    pub fn appends_held(&self) -> bool {
        self.appends.are_held()
    }

    /// [`LogOp::Append`](super::super::contract::LogOp::Append), which is most of what a log is asked for.
    pub fn handle_append(&mut self, id: OpId, records: Records, now: Instant) {
        self.now = now;
        let waits = self.appends.held || self.trouble.is_some() || self.chain.is_none() || self.deleted;
        let state = if waits { State::Queued { records } } else { self.send(records) };
        let pending = Pending { id, since: self.now, state, maybe_stored: false, divided: None };
        self.appends.pending.push_back(pending);
        if waits {
            self.appends.held = true;
            match self.deleted {
                true => self.settle_appends(),
                false if self.chain.is_none() => self.read_chain(),
                false => {}
            }
        }
    }

    /// Gives records to the last loglet.
    fn send(&mut self, records: Records) -> State {
        let request = self.next_append();
        let loglet = self.last().loglet.id();
        self.open_last();
        self.request(Request::Loglet { loglet, id: request, op: LogletOp::Append { records } });
        State::UnderWay { loglet, request }
    }

    /// A loglet's answer to the append at this place.
    pub(super) fn append_ended(&mut self, at: usize, result: LogletResult) {
        let State::UnderWay { loglet, .. } = self.appends.pending[at].state else { unreachable!("found as such") };
        let pending = &mut self.appends.pending[at];
        let sign = match result {
            LogletResult::Appended { first, stride, records } => {
                return self.acknowledged(at, loglet, (first, stride), records);
            }
            LogletResult::AppendNoSpace { first, stride, records } => {
                return self.without_space(at, loglet, first.map(|first| (first, stride)), records);
            }
            LogletResult::AppendSealed { first: Some(first), stride, records } => {
                pending.state = State::Unsettled { loglet, first, stride, records };
                Sign::Sealed
            }
            LogletResult::AppendSealed { first: None, records, .. } => {
                pending.state = State::Queued { records };
                Sign::Sealed
            }
            LogletResult::SequencerLost { maybe_stored, records } => {
                pending.state = State::Queued { records };
                pending.maybe_stored |= maybe_stored;
                Sign::SequencerLost
            }
            other => unreachable!("no result of an append: {other:?}"),
        };
        self.appends.held = true;
        self.suspect(loglet, sign);
        // It may have been the last one that the next in line waited for.
        self.settle_appends();
    }

    fn acknowledged(&mut self, at: usize, loglet: LogletId, (first, stride): (Offset, u32), records: Records) {
        let chain = self.chain.as_ref().expect("there was one when it was sent");
        let place = chain.segment_of(loglet).and_then(|segment| chain.position(segment, first));
        let Some(position) = place else {
            // Its segment has left the chain meanwhile, below the trim point: where it was nobody can say any more.
            let pending = &mut self.appends.pending[at];
            (pending.state, pending.maybe_stored) = (State::Queued { records }, true);
            self.appends.held = true;
            return self.settle_appends();
        };
        if chain.last().loglet.id() == loglet {
            self.committed = self.committed.max(first + u64::from(records.count - 1) * u64::from(stride) + 1);
        }
        let run = Run { count: records.count, first: position, stride };
        self.close(at, records, Ok(run));
        if self.appends.held {
            self.settle_appends();
        }
    }

    fn without_space(&mut self, at: usize, loglet: LogletId, given: Option<(Offset, u32)>, records: Records) {
        let chain = self.chain.as_ref().expect("there was one when it was sent");
        let given = given.and_then(|(first, stride)| {
            let first = chain.position(chain.segment_of(loglet)?, first)?;
            Some(Run { count: records.count, first, stride })
        });
        self.close(at, records, Err(AppendFailure::NoSpace { at: given }));
    }

    fn close(&mut self, at: usize, records: Records, end: Result<Run, AppendFailure>) {
        let pending = self.appends.pending.remove(at).expect("an append that is not over");
        let Pending { id, maybe_stored, divided, .. } = pending;
        self.give(id, ended(maybe_stored, divided, records, end));
    }

    /// Gives out what the chain has decided, and the rest, in its order, to a loglet that takes it.
    pub(super) fn settle_appends(&mut self) {
        if !self.appends.held {
            return;
        }
        if self.deleted {
            return self.give_up_appends(|_, maybe_stored| Some(AppendFailure::Deleted { maybe_stored }));
        }
        let Some(last) = self.chain.as_ref().map(|chain| chain.last().loglet.id()) else { return };
        let mut at = 0;
        while at < self.appends.pending.len() {
            match &mut self.appends.pending[at].state {
                State::UnderWay { loglet, .. } if *loglet == last => at += 1,
                // Behind it nothing is sent anew, so that the order stays.
                State::UnderWay { .. } => return,
                State::Queued { .. } if self.trouble.is_some() => return,
                State::Queued { records } => {
                    let records = std::mem::take(records);
                    self.appends.pending[at].state = self.send(records);
                    at += 1;
                }
                State::Unsettled { loglet, first, stride, records } => {
                    let chain = self.chain.as_ref().expect("looked at above");
                    let verdict = settle(chain, *loglet, (*first, *stride), records.count);
                    if matches!(verdict, Verdict::Open) {
                        return;
                    }
                    let records = std::mem::take(records);
                    match verdict {
                        Verdict::Open => unreachable!("looked at above"),
                        Verdict::Whole(run) => self.close(at, records, Ok(run)),
                        Verdict::None { maybe_stored } => {
                            let pending = &mut self.appends.pending[at];
                            pending.state = State::Queued { records };
                            pending.maybe_stored |= maybe_stored;
                        }
                        Verdict::First(run) => self.divide(at, run, records),
                    }
                }
            }
        }
        self.appends.held = false;
    }

    /// The first records of a batch are in the log, the others are not and are tried again.
    fn divide(&mut self, at: usize, run: Run, records: Records) {
        let batch = Batch::new(records.count, &records.bytes).expect("checked when it came in");
        let mut bytes = Vec::new();
        let count = batch.copy_range(run.count, records.count - run.count, usize::MAX, &mut bytes);
        let pending = &mut self.appends.pending[at];
        pending.state = State::Queued { records: Records { count, bytes } };
        let new = || Box::new(Divided { runs: Vec::new(), whole: records });
        pending.divided.get_or_insert_with(new).runs.push(run);
    }

    /// Ends what has waited too long.
    pub(super) fn expire_appends(&mut self) {
        let (now, timeout) = (self.now, self.limits.operation_timeout);
        self.give_up_appends(|since, maybe_stored| {
            (since + timeout <= now).then_some(AppendFailure::Unavailable { maybe_stored })
        });
    }

    /// Ends those that wait, oldest first, as far as there is a failure for who waits since then, and may be stored or surely is not.
    fn give_up_appends(&mut self, failure: impl Fn(Instant, bool) -> Option<AppendFailure>) {
        while let Some(at) = self.appends.pending.iter().position(Pending::waits) {
            let pending = &mut self.appends.pending[at];
            let maybe_stored = matches!(pending.state, State::Unsettled { .. });
            let Some(failure) = failure(pending.since, maybe_stored) else { break };
            let ended = State::Queued { records: Records::default() };
            let records = match std::mem::replace(&mut pending.state, ended) {
                State::Queued { records } | State::Unsettled { records, .. } => records,
                State::UnderWay { .. } => unreachable!("it waits"),
            };
            self.close(at, records, Err(failure));
        }
        self.appends.held &= self.appends.pending.iter().any(Pending::waits);
    }
}

/// What the chain says of a batch that a sealed loglet had given offsets.
enum Verdict {
    /// The loglet has no stop yet.
    Open,
    Whole(Run),
    /// Only these.
    First(Run),
    /// None of it, as far as can be known.
    None {
        maybe_stored: bool,
    },
}

fn settle(chain: &Chain, loglet: LogletId, (first, stride): (Offset, u32), count: u32) -> Verdict {
    let position = match chain.settle(loglet, first) {
        Settled::Open => return Verdict::Open,
        Settled::Never => return Verdict::None { maybe_stored: false },
        Settled::Trimmed => return Verdict::None { maybe_stored: true },
        Settled::At(position) => position,
    };
    let offset = |index: u32| first + u64::from(index) * u64::from(stride);
    let is_in = |index: u32| matches!(chain.settle(loglet, offset(index)), Settled::At(_));
    match (1..count).find(|index| !is_in(*index)) {
        None => Verdict::Whole(Run { count, first: position, stride }),
        Some(count) => Verdict::First(Run { count, first: position, stride }),
    }
}
