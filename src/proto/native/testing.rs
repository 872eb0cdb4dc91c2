//! A loglet's client with LogServers that keep just enough state to answer like real ones, one message at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{NativeLoglet, Target};
use crate::base::{Instant, Limits, LogletId, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
pub(super) use crate::proto::sequencer::testing::{LOGLET, config};
use crate::wire::{Batch, BatchBuilder, Message};

pub(super) fn records(payloads: &[&[u8]]) -> Records {
    let (mut builder, mut bytes) = (BatchBuilder::default(), Vec::new());
    payloads.iter().for_each(|payload| builder.push(payload));
    builder.write_to(&mut bytes);
    Records { count: builder.count(), bytes }
}

/// The payload that every honest server has at an offset.
pub(super) fn payload(offset: u64) -> Vec<u8> {
    format!("record {offset}").into_bytes()
}

/// The records of `range`, as they are delivered.
pub(super) fn honest(range: std::ops::Range<u64>) -> Records {
    let payloads: Vec<Vec<u8>> = range.map(payload).collect();
    records(&payloads.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[derive(Clone, Default)]
pub(super) struct Server {
    pub(super) stored: BTreeMap<u64, Vec<u8>>,
    pub(super) sealed: bool,
    pub(super) known: u64,
    pub(super) trim: u64,
    /// Answers reads with a wrong byte.
    pub(super) rotten: bool,
    /// Answers everything with a refusal.
    pub(super) full: bool,
    /// Takes no records, and says so when it is asked for more.
    pub(super) no_space: bool,
    pub(super) gone: bool,
    /// Records per answer.
    pub(super) chunk: u64,
    pub(super) awaits: Vec<(u64, u64)>,
    /// (request, next, limit)
    pub(super) streams: Vec<(u64, u64, u64)>,
}

impl Server {
    pub(super) fn with(range: std::ops::Range<u64>) -> Self {
        Self { stored: range.map(|offset| (offset, payload(offset))).collect(), chunk: 4, ..Self::default() }
    }

    pub(super) fn sealed(mut self) -> Self {
        self.sealed = true;
        self
    }

    pub(super) fn tail(&self) -> u64 {
        self.stored.keys().last().map_or(0, |last| last + 1).max(self.known).max(self.trim)
    }

    fn position(&self, request: u64) -> Message<'static> {
        let (loglet, tail) = (LOGLET, Offset(self.tail()));
        let (known_tail, trim_point) = (Offset(self.known), Offset(self.trim));
        match self.sealed {
            true => Message::Sealed { request, loglet, tail, known_tail, trim_point },
            false => Message::Tail { request, loglet, tail, known_tail, trim_point },
        }
    }

    fn read(&self, min: u64, upper: u64) -> Result<Records, Message<'static>> {
        let (request, loglet) = (0, LOGLET);
        if min < self.trim {
            return Err(Message::Trimmed { request, loglet, trim_point: Offset(self.trim) });
        }
        let held =
            (min..upper.min(min + self.chunk)).take_while(|offset| self.stored.contains_key(offset)).count() as u64;
        if held > 0 {
            let payloads: Vec<&[u8]> = (min..min + held).map(|offset| &self.stored[&offset][..]).collect();
            let mut records = records(&payloads);
            if self.rotten {
                *records.bytes.last_mut().unwrap() ^= 1;
            }
            return Ok(records);
        }
        if min < self.tail() && min < upper {
            return Err(Message::Gap { request, loglet, from: Offset(min), to: Offset(min + 1) });
        }
        Err(Message::Behind { request, loglet, tail: Offset(self.tail()), known_tail: Offset(self.known) })
    }
}

fn numbered(message: Message<'static>, number: u64) -> Message<'static> {
    match message {
        Message::Trimmed { loglet, trim_point, .. } => Message::Trimmed { request: number, loglet, trim_point },
        Message::Gap { loglet, from, to, .. } => Message::Gap { request: number, loglet, from, to },
        Message::Behind { loglet, tail, known_tail, .. } => {
            Message::Behind { request: number, loglet, tail, known_tail }
        }
        other => other,
    }
}

/// What a server sends: a message, or records.
#[derive(Clone)]
pub(super) enum Answer {
    Plain(Message<'static>),
    Records { request: u64, first: u64, known: u64, records: Records },
}

pub(super) struct Rig {
    pub(super) core: NativeLoglet,
    pub(super) now: Instant,
    pub(super) servers: Vec<Server>,
    up: Vec<bool>,
    /// Every request that reached a server, for assertions.
    pub(super) log: Vec<(usize, String)>,
    /// (request, count) of appends that reached the sequencer.
    pub(super) appends: Vec<(u64, u32)>,
    pub(super) activations: Vec<u64>,
    /// (request, offset) of fills that reached the sequencer.
    pub(super) fills: Vec<(u64, Offset)>,
}

impl Rig {
    pub(super) fn new(servers: Vec<Server>) -> Self {
        let limits = Limits { batch_bytes_max: 64, ..Limits::default() };
        let now = Instant::from_nanos(1_000_000);
        let core = NativeLoglet::new(config(servers.len()), &limits);
        let up = vec![false; servers.len()];
        let mut rig = Self { core, now, servers, up, log: vec![], appends: vec![], activations: vec![], fills: vec![] };
        (0..rig.servers.len()).for_each(|server| rig.connect(server));
        rig
    }

    pub(super) fn connect(&mut self, server: usize) {
        self.up[server] = true;
        self.core.handle_connected(Target::LogServer(server), self.now);
    }

    pub(super) fn disconnect(&mut self, server: usize) {
        self.up[server] = false;
        self.servers[server].awaits.clear();
        self.servers[server].streams.clear();
        self.core.handle_disconnected(Target::LogServer(server), self.now);
    }

    pub(super) fn start(&mut self, id: u64, op: LogletOp) {
        self.core.handle_op(OpId(id), op, self.now);
    }

    /// Runs one operation as far as it goes.
    pub(super) fn run_op(&mut self, op: LogletOp) -> Vec<LogletResult> {
        self.start(1, op);
        self.run();
        self.results()
    }

    pub(super) fn results(&mut self) -> Vec<LogletResult> {
        std::iter::from_fn(|| self.core.poll_result()).map(|(_, result)| result).collect()
    }

    /// Delivers messages until there are none.
    pub(super) fn run(&mut self) {
        for _ in 0..1000 {
            let mut quiet = true;
            for server in 0..self.servers.len() {
                while self.step(server) {
                    quiet = false;
                }
            }
            self.run_sequencer();
            if quiet {
                return;
            }
        }
        panic!("the exchange does not end: {:?}", &self.log[self.log.len() - 10..]);
    }

    /// One request of one server, with its answers.
    pub(super) fn step(&mut self, server: usize) -> bool {
        let answers = self.fetch(server);
        let any = answers.is_some();
        for answer in answers.unwrap_or_default() {
            self.deliver(server, &answer);
        }
        let woken = self.wake(server);
        any || woken
    }

    /// One request of one server; the answers are in the caller's hands.
    pub(super) fn fetch(&mut self, server: usize) -> Option<Vec<Answer>> {
        if !self.up[server] {
            return None;
        }
        let message = self.core.poll_send(Target::LogServer(server))?;
        self.log.push((server, format!("{message:?}")));
        Some(self.servers[server].respond(&message))
    }

    pub(super) fn deliver(&mut self, server: usize, answer: &Answer) {
        let from = Target::LogServer(server);
        match answer {
            Answer::Plain(message) => self.core.handle(from, message.clone(), self.now),
            Answer::Records { request, first, known, records } => {
                let batch = Batch::new(records.count, &records.bytes).unwrap();
                let (first, known_tail) = (Offset(*first), Offset(*known));
                let message = Message::Records { request: *request, loglet: LOGLET, first, known_tail, batch };
                self.core.handle(from, message, self.now);
            }
        }
    }

    /// Answers to waits and streams whose time has come.
    fn wake(&mut self, server: usize) -> bool {
        if !self.up[server] {
            return false;
        }
        let state = &mut self.servers[server];
        let (tail, sealed) = (state.tail(), state.sealed);
        let due: Vec<u64> =
            state.awaits.iter().filter(|(_, at)| tail >= *at || sealed).map(|(request, _)| *request).collect();
        state.awaits.retain(|(_, at)| tail < *at && !sealed);
        let mut answers: Vec<Answer> = due.iter().map(|request| Answer::Plain(state.position(*request))).collect();
        for (request, next, limit) in std::mem::take(&mut state.streams) {
            match state.read(next, limit.max(state.known)) {
                Ok(records) => {
                    state.streams.push((request, next + u64::from(records.count), limit));
                    answers.push(Answer::Records { request, first: next, known: state.known, records });
                }
                Err(Message::Behind { .. }) if state.sealed => answers.push(Answer::Plain(state.position(request))),
                Err(Message::Behind { .. }) => state.streams.push((request, next, limit)),
                Err(message) => answers.push(Answer::Plain(numbered(message, request))),
            }
        }
        answers.iter().for_each(|answer| self.deliver(server, answer));
        !answers.is_empty()
    }

    fn run_sequencer(&mut self) {
        while let Some(message) = self.core.poll_send(Target::Sequencer) {
            match message {
                Message::Append { request, batch, .. } => self.appends.push((request, batch.count())),
                Message::Activate { request, .. } => self.activations.push(request),
                Message::FillTo { request, offset, .. } => self.fills.push((request, offset)),
                other => panic!("nobody sends a sequencer {other:?}"),
            }
        }
    }

    pub(super) fn sequencer(&mut self, message: Message<'_>) {
        self.core.handle(Target::Sequencer, message, self.now);
    }

    /// Lets time pass in the steps that the core asks for.
    pub(super) fn pass_time(&mut self, duration: Duration) {
        let (end, mut wakes) = (self.now + duration, 0);
        while let Some((at, _)) = self.core.poll_timeout().filter(|(at, _)| *at <= end) {
            wakes += 1;
            assert!(wakes < 10_000, "a deadline that nothing moves: {:?}", self.core.poll_timeout());
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.run();
        }
        self.now = end;
    }

    /// How many requests with this name reached a server.
    pub(super) fn count(&self, server: usize, name: &str) -> usize {
        self.log.iter().filter(|(to, text)| *to == server && text.starts_with(&format!("{name} "))).count()
    }
}

impl Server {
    fn respond(&mut self, message: &Message<'_>) -> Vec<Answer> {
        let loglet: LogletId = LOGLET;
        let plain = |message| vec![Answer::Plain(message)];
        if let (true, Some(request)) = (self.full || self.gone, request_of(message)) {
            return plain(match self.gone {
                true => Message::Gone { request, loglet },
                false => Message::Unavailable { request, loglet, reason: "no space is left" },
            });
        }
        match *message {
            Message::Create { request, .. } if self.sealed => plain(self.position(request)),
            Message::Create { request, .. } => plain(Message::Done { request, loglet }),
            Message::Delete { request, .. } => {
                self.gone = true;
                plain(Message::Gone { request, loglet })
            }
            Message::CheckTail { request, known_tail, .. } => {
                self.known = self.known.max(known_tail.0);
                plain(self.position(request))
            }
            Message::AwaitTail { request, at_least, .. } if self.no_space && self.tail() < at_least.0 => {
                plain(Message::NoSpace { request, loglet })
            }
            Message::AwaitTail { request, at_least, .. } => {
                self.awaits.push((request, at_least.0));
                vec![]
            }
            Message::Seal { request, .. } => {
                self.sealed = true;
                plain(self.position(request))
            }
            Message::Read { request, min, max, limit, .. } => {
                match self.read(min.0, max.0.min(limit.0.max(self.known))) {
                    Ok(records) => vec![Answer::Records { request, first: min.0, known: self.known, records }],
                    Err(message) => plain(numbered(message, request)),
                }
            }
            Message::Subscribe { request, credit: 0, .. } => {
                self.streams.retain(|(stream, ..)| *stream != request);
                vec![]
            }
            Message::Subscribe { request, from, limit, .. } => {
                self.streams.push((request, from.0, limit.0));
                vec![]
            }
            Message::Credit { request, limit, .. } => {
                self.streams.iter_mut().filter(|stream| stream.0 == request).for_each(|stream| stream.2 = limit.0);
                vec![]
            }
            Message::Trim { request, point, committed, .. } => {
                self.trim = self.trim.max(point.0.min(committed.0.max(self.known)));
                let trim = self.trim;
                self.stored.retain(|offset, _| *offset >= trim);
                plain(Message::Trimmed { request, loglet, trim_point: Offset(trim) })
            }
            Message::Repair { request, first, batch, .. } => {
                assert!(self.sealed, "an unsealed server refuses repairs");
                if first.0 > self.tail() {
                    let (tail, known_tail) = (Offset(self.tail()), Offset(self.known));
                    return plain(Message::Behind { request, loglet, tail, known_tail });
                }
                for (offset, (bytes, _)) in (first.0..).zip(batch.records()) {
                    self.stored.entry(offset).or_insert_with(|| bytes.to_vec());
                }
                plain(self.position(request))
            }
            ref other => panic!("nobody sends a LogServer {other:?}"),
        }
    }
}

fn request_of(message: &Message<'_>) -> Option<u64> {
    match *message {
        Message::Create { request, .. }
        | Message::Delete { request, .. }
        | Message::CheckTail { request, .. }
        | Message::AwaitTail { request, .. }
        | Message::Seal { request, .. }
        | Message::Read { request, .. }
        | Message::Trim { request, .. }
        | Message::Repair { request, .. } => Some(request),
        _ => None,
    }
}
