//! What clients do: they append, ask for tails, read, trim and subscribe, on the segments that they know of, and extend the chain when
//! the last of them is at its end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::super::recording::{PENDING_MAX, Question};
use super::super::run::Run;
use super::super::stream::{STREAMS_MAX, Stream};
use super::Loglets;
use crate::base::{Instant, Offset};
use crate::client::{self, AppendError, Filled, Log, OpError, Operation, ReadResult, Tail};
use crate::history::{AppendOutcome, Moment, Seal, Segment, Trim};
use crate::wire::LogletConfig;

/// Loglets that are kept for the end of a run.
const LAST_LOGLETS: u64 = 10;

enum Pending {
    Append { index: usize, append: client::Append },
    Tail { segment: usize, invoked: Moment, operation: Operation<Tail> },
    Read { question: Question, operation: Operation<ReadResult> },
    Trim { operation: Operation<Offset> },
    Fill { segment: usize, operation: Operation<Filled> },
}

/// How far a client has come in extending the chain.
enum Step {
    Create(Operation<()>),
    Seal(Operation<()>),
    Tail(Moment, Operation<Tail>),
}

struct Extend {
    old: usize,
    config: LogletConfig,
    step: Step,
    new_log: Log,
}

/// One client, with its own idea of the chain.
#[derive(Default)]
pub(super) struct Client {
    /// How many segments it knows.
    known: usize,
    logs: BTreeMap<usize, Log>,
    pending: Vec<Pending>,
    streams: Vec<Stream<Offset>>,
    extend: Option<Extend>,
    /// When it looks for a new chain, or makes one.
    turn_at: Option<Instant>,
    /// The largest offset of each segment that it knows to be committed.
    committed: BTreeMap<usize, Offset>,
    /// An append was refused for want of space.
    wants_space: bool,
}

impl Client {
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.extend.is_none() && self.turn_at.is_none()
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether every stream of a segment before this one has ended.
    pub(super) fn has_read_up_to(&self, segment: usize) -> bool {
        self.streams.iter().all(|stream| stream.segment() >= Some(segment))
    }

    /// Whether it is not extending the chain, for now or at all.
    pub(super) fn is_extended(&self) -> bool {
        self.extend.is_none()
    }

    /// Whether an append has been refused for want of space since the last question.
    pub(super) fn take_want_of_space(&mut self) -> bool {
        std::mem::take(&mut self.wants_space)
    }

    /// Gives up extending.
    pub(super) fn settle_down(&mut self) {
        self.turn_at = None;
    }
}

impl Loglets {
    /// The client learns of the whole chain.
    pub(super) fn refresh(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.known = self.chain.links.len();
        for (segment, log) in &state.logs {
            if let Some(stop) = self.chain.links[*segment].stop {
                log.set_stop(stop).expect("a segment has one stop");
            }
        }
    }

    pub(super) fn log(&mut self, run: &mut Run, client: usize, segment: usize) -> Log {
        let link = &self.chain.links[segment];
        let known = self.clients[client].known;
        let cluster = &run.cluster;
        let log = self.clients[client].logs.entry(segment).or_insert_with(|| {
            let log = cluster.open_at(client, &link.config);
            if let Some(stop) = link.stop.filter(|_| segment + 1 < known) {
                log.set_stop(stop).expect("a segment has one stop");
            }
            log
        });
        log.clone()
    }

    /// One or some operations, of the client's choice.
    pub(super) fn operate(&mut self, run: &mut Run, client: usize) {
        if self.clients[client].pending.len() >= PENDING_MAX {
            return;
        }
        match run.rng.u8(..100) {
            0..70 => {
                for _ in 0..run.draw_burst() {
                    self.append(run, client);
                }
            }
            70..78 => self.check_tail(run, client),
            78..82 => self.fill(run, client),
            82..95 => self.read(run, client),
            95..97 => self.trim(run, client),
            97 | 98 => self.subscribe(run, client),
            _ => self.schedule_turn(run, client),
        }
    }

    /// Mostly the last one that it knows.
    fn some_segment(&mut self, run: &mut Run, client: usize) -> usize {
        let known = self.clients[client].known;
        if run.rng.u8(..4) == 0 { run.rng.usize(..known) } else { known - 1 }
    }

    pub(super) fn append(&mut self, run: &mut Run, client: usize) {
        let bytes = run.draw_record_bytes();
        self.append_record(run, client, bytes);
    }

    pub(super) fn append_record(&mut self, run: &mut Run, client: usize, bytes: usize) {
        let segment = self.clients[client].known - 1;
        let log = self.log(run, client, segment);
        let (index, record) = run.append_begins(client, Some(segment), bytes);
        self.clients[client].pending.push(Pending::Append { index, append: log.append(&record) });
    }

    fn check_tail(&mut self, run: &mut Run, client: usize) {
        let segment = self.some_segment(run, client);
        let operation = self.log(run, client, segment).start_check_tail();
        run.issued += 1;
        let invoked = run.moment();
        run.note(format_args!("client {client} asks for the tail of segment {segment}"));
        self.clients[client].pending.push(Pending::Tail { segment, invoked, operation });
    }

    /// Mostly for something, as far as the client knows.
    fn fill(&mut self, run: &mut Run, client: usize) {
        let segment = self.some_segment(run, client);
        let committed = self.clients[client].committed.get(&segment).copied().unwrap_or_default();
        let offset = committed + run.rng.u64(..40);
        let operation = self.log(run, client, segment).start_fill_to(offset);
        run.issued += 1;
        run.note(format_args!("client {client} fills segment {segment} up to {offset}"));
        self.clients[client].pending.push(Pending::Fill { segment, operation });
    }

    fn read(&mut self, run: &mut Run, client: usize) {
        let segment = self.some_segment(run, client);
        let link = &self.chain.links[segment];
        let (start, stop) = (link.start, link.stop.filter(|_| segment + 1 < self.clients[client].known));
        let upper = stop.or(self.clients[client].committed.get(&segment).copied()).unwrap_or_default();
        let min = Offset(run.rng.u64(..=upper.0));
        let max = stop.unwrap_or(Offset::MAX);
        let bytes = *run.rng.choice(&[1, 600, 4 << 10]).expect("some sizes");
        let operation = self.log(run, client, segment).start_read(min, max, bytes);
        run.issued += 1;
        let invoked = run.moment();
        run.note(format_args!("client {client} reads segment {segment} from {min}"));
        let (min, max) = (start + min.0, start.saturating_add(max.0));
        let question = Question { client, segment: Some(segment), invoked, min, max };
        self.clients[client].pending.push(Pending::Read { question, operation });
    }

    fn trim(&mut self, run: &mut Run, client: usize) {
        let segment = self.some_segment(run, client);
        let Some(&committed) = self.clients[client].committed.get(&segment) else { return };
        let point = Offset(run.rng.u64(..=committed.0) / 2);
        let invoked = run.moment();
        run.issued += 1;
        run.history.trims.push(Trim { point: self.chain.links[segment].start + point.0, invoked });
        run.note(format_args!("client {client} trims segment {segment} to {point}"));
        for earlier in 0..segment {
            let stop = self.chain.links[earlier].stop.expect("only the last segment has none");
            let operation = self.log(run, client, earlier).start_trim(stop);
            self.clients[client].pending.push(Pending::Trim { operation });
        }
        let operation = self.log(run, client, segment).start_trim(point);
        self.clients[client].pending.push(Pending::Trim { operation });
    }

    fn subscribe(&mut self, run: &mut Run, client: usize) {
        if self.clients[client].streams.len() >= STREAMS_MAX {
            return;
        }
        let segment = self.some_segment(run, client);
        let committed = self.clients[client].committed.get(&segment).copied().unwrap_or_default();
        let from = Offset(run.rng.u64(..=committed.0));
        let subscription = self.log(run, client, segment).subscribe(from);
        run.issued += 1;
        run.note(format_args!("client {client} follows segment {segment} from {from}"));
        let start = self.chain.links[segment].start;
        let stream = Stream::new(run, client, Some((segment, start)), start + from.0, subscription);
        self.clients[client].streams.push(stream);
    }

    /// It will look for a new chain, and make one if there is none.
    pub(super) fn schedule_turn(&mut self, run: &mut Run, client: usize) {
        let delay = Duration::from_micros(run.rng.u64(..20_000));
        let now = run.cluster.world.now();
        self.clients[client].turn_at.get_or_insert(now + delay);
    }

    /// Takes in what has ended.
    pub(super) fn look(&mut self, run: &mut Run) {
        run.look_at_recovered();
        for client in 0..self.clients.len() {
            let mut pending = std::mem::take(&mut self.clients[client].pending);
            pending.retain_mut(|pending| !self.has_ended(run, client, pending));
            self.clients[client].pending.append(&mut pending);
            let mut streams = std::mem::take(&mut self.clients[client].streams);
            streams.retain_mut(|stream| !stream.follow(run));
            self.clients[client].streams.append(&mut streams);
            self.go_on_extending(run, client);
            let now = run.cluster.world.now();
            if self.clients[client].extend.is_none() && self.clients[client].turn_at.take_if(|at| *at <= now).is_some()
            {
                match self.clients[client].known < self.chain.links.len() {
                    true => self.refresh(client),
                    false => self.extend(run, client),
                }
            }
        }
    }

    fn has_ended(&mut self, run: &mut Run, client: usize, pending: &mut Pending) -> bool {
        match pending {
            Pending::Append { index, append } => {
                let mut context = Context::from_waker(Waker::noop());
                let Poll::Ready(result) = Pin::new(append).poll(&mut context) else { return false };
                self.append_ended(run, client, *index, result);
            }
            Pending::Tail { segment, invoked, operation } => {
                let Some(result) = operation.try_take() else { return false };
                self.tail_ended(run, client, *segment, *invoked, result);
            }
            Pending::Read { question, operation } => {
                let Some(result) = operation.try_take() else { return false };
                self.read_ended(run, *question, result);
            }
            Pending::Trim { operation } => {
                let Some(result) = operation.try_take() else { return false };
                run.took(if result.is_ok() { "trim done" } else { "trim unavailable" });
            }
            Pending::Fill { segment, operation } => {
                let Some(result) = operation.try_take() else { return false };
                self.fill_ended(run, client, *segment, result);
            }
        }
        true
    }

    fn append_ended(&mut self, run: &mut Run, client: usize, index: usize, result: Result<Offset, AppendError>) {
        let segment = run.history.appends[index].segment.expect("it was sent to one") as usize;
        let start = self.chain.links[segment].start;
        let outcome = match &result {
            Ok(offset) => {
                self.learn(client, segment, *offset + 1);
                AppendOutcome::Acknowledged(start + offset.0)
            }
            Err(AppendError::Sealed { record_at: Some(offset) }) => {
                run.took("append ends as sealed with its offset");
                AppendOutcome::Settled(start + offset.0)
            }
            Err(AppendError::Sealed { record_at: None }) => {
                run.took("append ends as sealed without offset");
                AppendOutcome::NotStored
            }
            Err(AppendError::NoSpace { record_at: Some(offset) }) => {
                run.took("append ends for want of space with its offset");
                AppendOutcome::Settled(start + offset.0)
            }
            Err(AppendError::NoSpace { record_at: None }) => {
                run.took("append ends for want of space without offset");
                AppendOutcome::NotStored
            }
            Err(AppendError::SequencerLost { maybe_stored: false }) => {
                run.took("append ends with its sequencer, not stored");
                AppendOutcome::NotStored
            }
            Err(AppendError::SequencerLost { maybe_stored: true }) => {
                run.took("append ends with its sequencer, outcome unknown");
                AppendOutcome::Unknown
            }
            Err(AppendError::TooLarge { .. } | AppendError::Gone | AppendError::Closed) => AppendOutcome::Unknown,
        };
        let wants_space = matches!(result, Err(AppendError::NoSpace { .. }));
        self.clients[client].wants_space |= wants_space;
        run.append_ends(client, index, outcome);
        // Space comes back by itself once everything is healed; and of an earlier segment's end the client knows.
        let is_last = segment + 1 == self.clients[client].known;
        if result.is_err() && is_last && !(wants_space && run.is_healed) {
            self.schedule_turn(run, client);
        }
    }

    fn fill_ended(&mut self, run: &mut Run, client: usize, segment: usize, result: Result<Filled, OpError>) {
        match result {
            Ok(Filled { known_tail, placed }) => {
                run.took(if placed > 0 { "no-ops placed" } else { "nothing to fill" });
                run.note(format_args!(
                    "client {client}: segment {segment} has {placed} more no-ops, up to {known_tail}"
                ));
                return self.learn(client, segment, known_tail);
            }
            Err(OpError::Sealed) => run.took("fill ends as sealed"),
            Err(OpError::SequencerLost) => run.took("fill ends with its sequencer"),
            Err(OpError::NoSpace) => return,
            Err(OpError::Unavailable { .. } | OpError::Unreadable { .. } | OpError::Gone | OpError::Closed) => {}
        }
        if segment + 1 == self.clients[client].known {
            self.schedule_turn(run, client);
        }
    }

    fn learn(&mut self, client: usize, segment: usize, tail: Offset) {
        let committed = self.clients[client].committed.entry(segment).or_default();
        *committed = tail.max(*committed);
    }

    fn tail_ended(
        &mut self,
        run: &mut Run,
        client: usize,
        segment: usize,
        invoked: Moment,
        result: Result<Tail, OpError>,
    ) {
        let Ok(Tail { tail, sealed }) = result else {
            run.took("checkTail unavailable");
            return;
        };
        run.took(if sealed { "checkTail sealed" } else { "checkTail open" });
        if sealed {
            self.schedule_turn(run, client);
        } else {
            self.learn(client, segment, tail);
        }
        run.note(format_args!("client {client}: the tail of segment {segment} is {tail}, sealed: {sealed}"));
        let tail = self.chain.links[segment].start + tail.0;
        run.tail_told(client, Some(segment), invoked, tail, sealed);
    }

    fn read_ended(&mut self, run: &mut Run, question: Question, result: Result<ReadResult, OpError>) {
        let segment = question.segment.expect("one was asked");
        let start = self.chain.links[segment].start;
        match result {
            Ok(ReadResult::Records(delivery)) => {
                run.records_read(question, start + delivery.first().0, delivery.values());
            }
            Ok(ReadResult::NothingYet) => run.took("read finds nothing yet"),
            Ok(ReadResult::Trimmed(point)) => {
                run.took("read ends as trimmed");
                run.trim_point_told(start + point.0);
            }
            Err(_) => run.took("read unavailable"),
        }
    }

    /// Begins to put a new segment behind the last one.
    pub(super) fn extend(&mut self, run: &mut Run, client: usize) {
        self.refresh(client);
        // The last ones are for the time after the healing.
        if self.chain.minted() + LAST_LOGLETS >= run.room.loglets && !run.is_healed {
            return;
        }
        let ready: Vec<_> = (0..run.cluster.nodes()).filter(|&node| run.cluster.is_ready(node)).collect();
        let Some(&sequencer) = run.rng.choice(&ready) else { return self.schedule_turn(run, client) };
        let id = self.chain.mint();
        let config = run.cluster.configuration(id, sequencer);
        run.watch(&config);
        let new_log = run.cluster.open_at(client, &config);
        run.note(format_args!("client {client} creates {id} with node {sequencer} as sequencer"));
        let step = Step::Create(new_log.start_create());
        self.clients[client].extend = Some(Extend { old: self.chain.last(), config, step, new_log });
    }

    fn go_on_extending(&mut self, run: &mut Run, client: usize) {
        let Some(mut extend) = self.clients[client].extend.take() else { return };
        let old = extend.old;
        let result = match &mut extend.step {
            Step::Create(operation) => match operation.try_take() {
                None => Ok(None),
                Some(Ok(())) => {
                    let seal = self.log(run, client, old).start_seal();
                    Ok(Some(Step::Seal(seal)))
                }
                Some(Err(error)) => {
                    run.took(match error {
                        OpError::SequencerLost => "creation meets a lost sequencer",
                        _ => "creation unavailable",
                    });
                    Err(())
                }
            },
            Step::Seal(operation) => match operation.try_take() {
                None => Ok(None),
                Some(Ok(())) => {
                    let ended = run.moment();
                    run.history.seals.push(Seal { segment: old as u32, ended });
                    let tail = self.log(run, client, old).start_check_tail();
                    Ok(Some(Step::Tail(run.moment(), tail)))
                }
                Some(Err(_)) => {
                    run.took("seal unavailable");
                    Err(())
                }
            },
            Step::Tail(invoked, operation) => match operation.try_take() {
                None => Ok(None),
                Some(result) => {
                    let tail = result.as_ref().ok().filter(|tail| tail.sealed).map(|tail| tail.tail);
                    self.tail_ended(run, client, old, *invoked, result);
                    self.clients[client].turn_at = None;
                    match tail {
                        Some(tail) => return self.close_segment(run, client, extend, tail),
                        None => Err(()),
                    }
                }
            },
        };
        match result {
            Ok(step) => {
                extend.step = step.unwrap_or(extend.step);
                self.clients[client].extend = Some(extend);
            }
            Err(()) => self.schedule_turn(run, client),
        }
    }

    /// The conditional write of the chain.
    fn close_segment(&mut self, run: &mut Run, client: usize, extend: Extend, tail: Offset) {
        let Extend { old, config, new_log, .. } = extend;
        let id = config.id;
        if self.chain.extend(old, tail, config) {
            run.took("segment of the chain closed");
            let at = run.moment();
            let start = self.chain.links[old + 1].start;
            run.history.segments[old].stop = Some((start, at));
            run.history.segments.push(Segment { start, ..Segment::default() });
            self.clients[client].logs.insert(old + 1, new_log);
            run.note(format_args!("client {client} ends segment {old} at {tail}; {id} begins at {start}"));
            run.segment_closed();
        } else {
            run.took("chain race lost");
        }
        self.refresh(client);
    }
}
