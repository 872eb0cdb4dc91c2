//! What clients do: they append, ask for tails, read, trim and subscribe, on the segments that they know of, and extend the chain when
//! the last of them is at its end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::run::Run;
use crate::base::{Instant, Offset};
use crate::client::{self, AppendError, Event, Log, OpError, Operation, ReadResult, Subscription, Tail};
use crate::history::{Append, AppendOutcome, Moment, Read, Seal, Segment, TailCheck, Trim, Value};
use crate::wire::LogletConfig;

/// Operations that one client has on the way before it waits for some to end.
const PENDING_MAX: usize = 48;
/// The largest records of a run: mostly small ones, and now and then such that segments roll often.
pub(super) const RECORD_BYTES: [usize; 4] = [64, 700, 700, 4000];
/// Loglets that are kept for the end of a run.
const LAST_LOGLETS: u64 = 10;
/// Streams that one client has.
const STREAMS_MAX: usize = 3;

enum Pending {
    Append { index: usize, append: client::Append },
    Tail { segment: usize, invoked: Moment, operation: Operation<Tail> },
    Read { segment: usize, invoked: Moment, min: u64, max: u64, operation: Operation<ReadResult> },
    Trim { operation: Operation<Offset> },
}

/// A stream of records.
struct Stream {
    segment: usize,
    began: Moment,
    /// The position of the next record.
    next: u64,
    subscription: Subscription,
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
    streams: Vec<Stream>,
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
        self.streams.iter().all(|stream| stream.segment >= segment)
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

/// Bytes that no other record of the run has, checkable one by one.
fn record(number: u64, bytes: usize) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.resize(8 + bytes, number as u8);
    record
}

impl Run {
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

    pub(super) fn log(&mut self, client: usize, segment: usize) -> Log {
        let link = &self.chain.links[segment];
        let known = self.clients[client].known;
        let cluster = &self.cluster;
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
    pub(super) fn operate(&mut self, client: usize) {
        if self.clients[client].pending.len() >= PENDING_MAX {
            return;
        }
        match self.rng.u8(..100) {
            0..70 => {
                let burst = if self.rng.u8(..4) == 0 { self.rng.u64(4..16) } else { self.rng.u64(1..4) };
                for _ in 0..burst.min(self.options.ops - self.issued) {
                    self.append(client);
                }
            }
            70..82 => self.check_tail(client),
            82..95 => self.read(client),
            95..97 => self.trim(client),
            97 | 98 => self.subscribe(client),
            _ => self.schedule_turn(client),
        }
    }

    /// Mostly the last one that it knows.
    fn some_segment(&mut self, client: usize) -> usize {
        let known = self.clients[client].known;
        if self.rng.u8(..4) == 0 { self.rng.usize(..known) } else { known - 1 }
    }

    pub(super) fn append(&mut self, client: usize) {
        let bytes = if self.rng.bool() { self.rng.usize(..64) } else { self.rng.usize(..self.record_bytes_max) };
        self.append_record(client, bytes);
    }

    pub(super) fn append_record(&mut self, client: usize, bytes: usize) {
        let segment = self.clients[client].known - 1;
        let log = self.log(client, segment);
        let record = record(self.history.appends.len() as u64, bytes);
        let index = self.history.appends.len();
        let invoked = self.moment();
        self.history.appends.push(Append {
            client: client as u32,
            segment: segment as u32,
            value: Value::of(&record),
            invoked,
            ended: None,
        });
        self.issued += 1;
        self.note(format_args!("client {client} appends #{index}, {} bytes, to segment {segment}", record.len()));
        self.clients[client].pending.push(Pending::Append { index, append: log.append(&record) });
    }

    fn check_tail(&mut self, client: usize) {
        let segment = self.some_segment(client);
        let operation = self.log(client, segment).start_check_tail();
        self.issued += 1;
        let invoked = self.moment();
        self.note(format_args!("client {client} asks for the tail of segment {segment}"));
        self.clients[client].pending.push(Pending::Tail { segment, invoked, operation });
    }

    fn read(&mut self, client: usize) {
        let segment = self.some_segment(client);
        let link = &self.chain.links[segment];
        let (start, stop) = (link.start, link.stop.filter(|_| segment + 1 < self.clients[client].known));
        let upper = stop.or(self.clients[client].committed.get(&segment).copied()).unwrap_or_default();
        let min = Offset(self.rng.u64(..=upper.0));
        let max = stop.unwrap_or(Offset::MAX);
        let bytes = *self.rng.choice(&[1, 600, 4 << 10]).expect("some sizes");
        let operation = self.log(client, segment).start_read(min, max, bytes);
        self.issued += 1;
        let invoked = self.moment();
        self.note(format_args!("client {client} reads segment {segment} from {min}"));
        let (min, max) = (start + min.0, start.saturating_add(max.0));
        self.clients[client].pending.push(Pending::Read { segment, invoked, min, max, operation });
    }

    fn trim(&mut self, client: usize) {
        let segment = self.some_segment(client);
        let Some(&committed) = self.clients[client].committed.get(&segment) else { return };
        let point = Offset(self.rng.u64(..=committed.0) / 2);
        let invoked = self.moment();
        self.issued += 1;
        self.history.trims.push(Trim { point: self.chain.links[segment].start + point.0, invoked });
        self.note(format_args!("client {client} trims segment {segment} to {point}"));
        for earlier in 0..segment {
            let stop = self.chain.links[earlier].stop.expect("only the last segment has none");
            let operation = self.log(client, earlier).start_trim(stop);
            self.clients[client].pending.push(Pending::Trim { operation });
        }
        let operation = self.log(client, segment).start_trim(point);
        self.clients[client].pending.push(Pending::Trim { operation });
    }

    fn subscribe(&mut self, client: usize) {
        if self.clients[client].streams.len() >= STREAMS_MAX {
            return;
        }
        let segment = self.some_segment(client);
        let committed = self.clients[client].committed.get(&segment).copied().unwrap_or_default();
        let from = Offset(self.rng.u64(..=committed.0));
        let subscription = self.log(client, segment).subscribe(from);
        self.issued += 1;
        self.note(format_args!("client {client} follows segment {segment} from {from}"));
        let (began, next) = (self.moment(), self.chain.links[segment].start + from.0);
        self.clients[client].streams.push(Stream { segment, began, next, subscription });
    }

    /// Takes in what has come. Says whether the stream has ended.
    fn follow(&mut self, client: usize, stream: &mut Stream) -> bool {
        let start = self.chain.links[stream.segment].start;
        loop {
            let event = stream.subscription.next_timeout(Duration::ZERO);
            let ended = self.moment();
            match event {
                Ok(None) => return false,
                Ok(Some(Event::Records(delivery))) => {
                    self.took("subscription delivers");
                    let first = start + delivery.first().0;
                    let values: Vec<_> = delivery.records().map(Value::of).collect();
                    let (min, max) = (std::mem::replace(&mut stream.next, first + values.len() as u64), u64::MAX);
                    let (client, segment, invoked) = (client as u32, stream.segment as u32, stream.began);
                    self.history.reads.push(Read { client, segment, invoked, ended, min, max, first, values });
                }
                Ok(Some(Event::Trimmed(point))) => {
                    self.took("subscription ends as trimmed");
                    self.history.trimmed.push((start + point.0, ended));
                    return true;
                }
                Ok(Some(Event::Sealed)) => {
                    self.took("subscription ends as sealed");
                    return true;
                }
                // Where nobody answers, a subscription waits.
                Err(error) => panic!("a subscription ended as {error:?}"),
            }
        }
    }

    /// It will look for a new chain, and make one if there is none.
    pub(super) fn schedule_turn(&mut self, client: usize) {
        let delay = Duration::from_micros(self.rng.u64(..20_000));
        let now = self.cluster.world.now();
        self.clients[client].turn_at.get_or_insert(now + delay);
    }

    /// Takes in what has ended.
    pub(super) fn look(&mut self) {
        self.look_at_recovered();
        for client in 0..self.clients.len() {
            let mut pending = std::mem::take(&mut self.clients[client].pending);
            pending.retain_mut(|pending| !self.has_ended(client, pending));
            self.clients[client].pending.append(&mut pending);
            let mut streams = std::mem::take(&mut self.clients[client].streams);
            streams.retain_mut(|stream| !self.follow(client, stream));
            self.clients[client].streams.append(&mut streams);
            self.go_on_extending(client);
            let now = self.cluster.world.now();
            if self.clients[client].extend.is_none() && self.clients[client].turn_at.take_if(|at| *at <= now).is_some()
            {
                match self.clients[client].known < self.chain.links.len() {
                    true => self.refresh(client),
                    false => self.extend(client),
                }
            }
        }
    }

    fn has_ended(&mut self, client: usize, pending: &mut Pending) -> bool {
        match pending {
            Pending::Append { index, append } => {
                let mut context = Context::from_waker(Waker::noop());
                let Poll::Ready(result) = Pin::new(append).poll(&mut context) else { return false };
                self.append_ended(client, *index, result);
            }
            Pending::Tail { segment, invoked, operation } => {
                let Some(result) = operation.try_take() else { return false };
                self.tail_ended(client, *segment, *invoked, result);
            }
            Pending::Read { segment, invoked, min, max, operation } => {
                let Some(result) = operation.try_take() else { return false };
                self.read_ended(client, *segment, *invoked, (*min, *max), result);
            }
            Pending::Trim { operation } => {
                let Some(result) = operation.try_take() else { return false };
                self.took(if result.is_ok() { "trim done" } else { "trim unavailable" });
            }
        }
        true
    }

    fn append_ended(&mut self, client: usize, index: usize, result: Result<Offset, AppendError>) {
        let segment = self.history.appends[index].segment as usize;
        let start = self.chain.links[segment].start;
        let outcome = match &result {
            Ok(offset) => {
                self.learn(client, segment, *offset + 1);
                AppendOutcome::Acknowledged(start + offset.0)
            }
            Err(AppendError::Sealed { record_at: Some(offset) }) => {
                self.took("append ends as sealed with its offset");
                AppendOutcome::Settled(start + offset.0)
            }
            Err(AppendError::Sealed { record_at: None }) => {
                self.took("append ends as sealed without offset");
                AppendOutcome::NotStored
            }
            Err(AppendError::NoSpace { record_at: Some(offset) }) => {
                self.took("append ends for want of space with its offset");
                AppendOutcome::Settled(start + offset.0)
            }
            Err(AppendError::NoSpace { record_at: None }) => {
                self.took("append ends for want of space without offset");
                AppendOutcome::NotStored
            }
            Err(AppendError::SequencerLost { maybe_stored: false }) => {
                self.took("append ends with its sequencer, not stored");
                AppendOutcome::NotStored
            }
            Err(AppendError::SequencerLost { maybe_stored: true }) => {
                self.took("append ends with its sequencer, outcome unknown");
                AppendOutcome::Unknown
            }
            Err(AppendError::TooLarge { .. } | AppendError::Gone | AppendError::Closed) => AppendOutcome::Unknown,
        };
        let wants_space = matches!(result, Err(AppendError::NoSpace { .. }));
        self.clients[client].wants_space |= wants_space;
        let ended = self.moment();
        self.history.appends[index].ended = Some((ended, outcome));
        self.note(format_args!("client {client}: append #{index} is {outcome:?}"));
        // Space comes back by itself once everything is healed; and of an earlier segment's end the client knows.
        let is_last = segment + 1 == self.clients[client].known;
        if result.is_err() && is_last && !(wants_space && self.is_healed) {
            self.schedule_turn(client);
        }
    }

    fn learn(&mut self, client: usize, segment: usize, tail: Offset) {
        let committed = self.clients[client].committed.entry(segment).or_default();
        *committed = tail.max(*committed);
    }

    fn tail_ended(&mut self, client: usize, segment: usize, invoked: Moment, result: Result<Tail, OpError>) {
        let Ok(Tail { tail, sealed }) = result else {
            self.took("checkTail unavailable");
            return;
        };
        self.took(if sealed { "checkTail sealed" } else { "checkTail open" });
        if sealed {
            self.schedule_turn(client);
        } else {
            self.learn(client, segment, tail);
        }
        let ended = self.moment();
        self.note(format_args!("client {client}: the tail of segment {segment} is {tail}, sealed: {sealed}"));
        let tail = self.chain.links[segment].start + tail.0;
        let (client, segment) = (client as u32, segment as u32);
        self.history.tails.push(TailCheck { client, segment, invoked, ended, tail, sealed });
    }

    fn read_ended(
        &mut self,
        client: usize,
        segment: usize,
        invoked: Moment,
        (min, max): (u64, u64),
        result: Result<ReadResult, OpError>,
    ) {
        let start = self.chain.links[segment].start;
        let ended = self.moment();
        match result {
            Ok(ReadResult::Records(delivery)) => {
                let first = start + delivery.first().0;
                let values = delivery.records().map(Value::of).collect();
                let (client, segment) = (client as u32, segment as u32);
                self.history.reads.push(Read { client, segment, invoked, ended, min, max, first, values });
            }
            Ok(ReadResult::NothingYet) => self.took("read finds nothing yet"),
            Ok(ReadResult::Trimmed(point)) => {
                self.took("read ends as trimmed");
                self.history.trimmed.push((start + point.0, ended));
            }
            Err(_) => self.took("read unavailable"),
        }
    }

    /// Begins to put a new segment behind the last one.
    pub(super) fn extend(&mut self, client: usize) {
        self.refresh(client);
        // The last ones are for the time after the healing.
        if self.chain.minted() + LAST_LOGLETS >= self.room.loglets && !self.is_healed {
            return;
        }
        let ready: Vec<_> = (0..self.cluster.nodes()).filter(|&node| self.cluster.is_ready(node)).collect();
        let Some(&sequencer) = self.rng.choice(&ready) else { return self.schedule_turn(client) };
        let id = self.chain.mint();
        let config = self.cluster.configuration(id, sequencer);
        self.watch(&config);
        let new_log = self.cluster.open_at(client, &config);
        self.note(format_args!("client {client} creates {id} with node {sequencer} as sequencer"));
        let step = Step::Create(new_log.start_create());
        self.clients[client].extend = Some(Extend { old: self.chain.last(), config, step, new_log });
    }

    fn go_on_extending(&mut self, client: usize) {
        let Some(mut extend) = self.clients[client].extend.take() else { return };
        let old = extend.old;
        let result = match &mut extend.step {
            Step::Create(operation) => match operation.try_take() {
                None => Ok(None),
                Some(Ok(())) => {
                    let seal = self.log(client, old).start_seal();
                    Ok(Some(Step::Seal(seal)))
                }
                Some(Err(error)) => {
                    self.took(match error {
                        OpError::SequencerLost => "creation meets a lost sequencer",
                        _ => "creation unavailable",
                    });
                    Err(())
                }
            },
            Step::Seal(operation) => match operation.try_take() {
                None => Ok(None),
                Some(Ok(())) => {
                    let ended = self.moment();
                    self.history.seals.push(Seal { segment: old as u32, ended });
                    let tail = self.log(client, old).start_check_tail();
                    Ok(Some(Step::Tail(self.moment(), tail)))
                }
                Some(Err(_)) => {
                    self.took("seal unavailable");
                    Err(())
                }
            },
            Step::Tail(invoked, operation) => match operation.try_take() {
                None => Ok(None),
                Some(result) => {
                    let tail = result.as_ref().ok().filter(|tail| tail.sealed).map(|tail| tail.tail);
                    self.tail_ended(client, old, *invoked, result);
                    self.clients[client].turn_at = None;
                    match tail {
                        Some(tail) => return self.close_segment(client, extend, tail),
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
            Err(()) => self.schedule_turn(client),
        }
    }

    /// The conditional write of the chain.
    fn close_segment(&mut self, client: usize, extend: Extend, tail: Offset) {
        let Extend { old, config, new_log, .. } = extend;
        let id = config.id;
        if self.chain.extend(old, tail, config) {
            self.took("segment of the chain closed");
            let at = self.moment();
            let start = self.chain.links[old + 1].start;
            self.history.segments[old].stop = Some((start, at));
            self.history.segments.push(Segment { start, ..Segment::default() });
            self.clients[client].logs.insert(old + 1, new_log);
            self.note(format_args!("client {client} ends segment {old} at {tail}; {id} begins at {start}"));
            self.segment_closed();
        } else {
            self.took("chain race lost");
        }
        self.refresh(client);
    }
}
