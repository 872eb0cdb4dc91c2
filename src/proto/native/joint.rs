//! A sequencer, clients and small LogServers joined by reordered, breaking connections: the rules of safety over many seeds.

use std::collections::{BTreeMap, VecDeque};

use super::testing::{LOGLET, config, payload, records};
use super::{NativeLoglet, Target};
use crate::base::{Instant, Limits, Offset, Rng};
use crate::proto::PeerId;
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::proto::sequencer::Sequencer;
use crate::wire::{Batch, FrameHeader, HEADER_BYTES, Message};

const SERVERS: usize = 3;
/// Party 0 is the sequencer, the others are clients; client 1 appends, 2 subscribes, all check the tail.
const PARTIES: usize = 4;

fn decode(frame: &[u8]) -> Message<'_> {
    let header = FrameHeader::decode(frame, u32::MAX).unwrap();
    Message::decode(&header, &frame[HEADER_BYTES..]).unwrap()
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode(&mut frame);
    frame
}

/// A LogServer with writes in flight that may become durable after the seal (zombies).
#[derive(Default)]
struct Server {
    stored: BTreeMap<u64, Vec<u8>>,
    in_flight: VecDeque<(u64, Vec<u8>)>,
    sealed: bool,
    known: u64,
    awaits: Vec<(usize, u64, u64)>,
    streams: Vec<(usize, u64, u64)>,
}

impl Server {
    fn tail(&self) -> u64 {
        self.stored.keys().last().map_or(0, |last| last + 1).max(self.known)
    }

    fn position(&self, request: u64) -> Vec<u8> {
        let (loglet, tail, known_tail) = (LOGLET, Offset(self.tail()), Offset(self.known));
        let trim_point = Offset::ZERO;
        encode(&match self.sealed {
            true => Message::Sealed { request, loglet, tail, known_tail, trim_point },
            false => Message::Tail { request, loglet, tail, known_tail, trim_point },
        })
    }

    fn stored(&self) -> Vec<u8> {
        encode(&Message::Stored { loglet: LOGLET, tail: Offset(self.tail()), followed: false })
    }

    fn behind(&self, request: u64) -> Vec<u8> {
        let (tail, known_tail) = (Offset(self.tail()), Offset(self.known));
        encode(&Message::Behind { request, loglet: LOGLET, tail, known_tail })
    }

    fn read(&self, request: u64, min: u64, upper: u64) -> Vec<u8> {
        let held: Vec<&[u8]> =
            (min..upper.min(min + 2)).map_while(|offset| self.stored.get(&offset)).map(|v| &v[..]).collect();
        let loglet = LOGLET;
        if !held.is_empty() {
            let records = records(&held);
            let batch = Batch::new(records.count, &records.bytes).unwrap();
            let (first, known_tail) = (Offset(min), Offset(self.known));
            return encode(&Message::Records { request, loglet, first, known_tail, batch });
        }
        match min < self.tail() && min < upper {
            true => encode(&Message::Gap { request, loglet, from: Offset(min), to: Offset(min + 1) }),
            false => self.behind(request),
        }
    }

    fn respond(&mut self, party: usize, message: &Message<'_>) -> Option<Vec<u8>> {
        match *message {
            Message::Create { request, .. } if self.sealed => Some(self.position(request)),
            Message::Create { request, .. } => Some(encode(&Message::Done { request, loglet: LOGLET })),
            Message::Store { known_tail, .. } | Message::KnownTail { known_tail, .. } if self.sealed => {
                let _refused = known_tail;
                Some(self.position(0))
            }
            Message::KnownTail { known_tail, .. } => {
                self.known = self.known.max(known_tail.0);
                None
            }
            Message::Store { first, known_tail, batch, .. } => {
                self.known = self.known.max(known_tail.0);
                for (offset, (bytes, _)) in (first.0..).zip(batch.records()) {
                    let next = self.in_flight.back().map_or(self.tail(), |(last, _)| self.tail().max(last + 1));
                    if offset > next {
                        return Some(self.behind(0));
                    }
                    if offset == next {
                        self.in_flight.push_back((offset, bytes.to_vec()));
                    }
                }
                Some(self.stored())
            }
            Message::CheckTail { request, known_tail, .. } => {
                self.known = self.known.max(known_tail.0);
                Some(self.position(request))
            }
            Message::AwaitTail { request, at_least, .. } => {
                self.awaits.push((party, request, at_least.0));
                None
            }
            Message::Seal { request, .. } => {
                self.sealed = true;
                Some(self.position(request))
            }
            Message::Read { request, min, max, limit, .. } => {
                Some(self.read(request, min.0, max.0.min(limit.0.max(self.known))))
            }
            Message::Subscribe { request, credit: 0, .. } => {
                self.streams.retain(|stream| (stream.0, stream.1) != (party, request));
                None
            }
            Message::Subscribe { request, from, .. } => {
                self.streams.push((party, request, from.0));
                None
            }
            Message::Repair { request, first, batch, .. } => {
                assert!(self.sealed);
                if first.0 > self.tail() {
                    return Some(self.behind(request));
                }
                for (offset, (bytes, _)) in (first.0..).zip(batch.records()) {
                    self.stored.entry(offset).or_insert_with(|| bytes.to_vec());
                }
                Some(self.position(request))
            }
            _ => None,
        }
    }

    /// One write lands; the answer to the sequencer, if there may be one.
    fn land(&mut self) -> Option<Vec<u8>> {
        let (offset, bytes) = self.in_flight.pop_front()?;
        // Nothing lands on what a repair has put there already: it is the same record.
        let before = self.stored.entry(offset).or_insert_with(|| bytes.clone());
        assert_eq!(*before, bytes, "one offset, one record");
        (!self.sealed).then(|| self.stored())
    }
}

struct World {
    random: Rng,
    now: Instant,
    sequencer: Sequencer,
    clients: Vec<NativeLoglet>,
    servers: Vec<Server>,
    up: [[bool; SERVERS]; PARTIES],
    to_server: [[VecDeque<Vec<u8>>; SERVERS]; PARTIES],
    to_party: [[VecDeque<Vec<u8>>; SERVERS]; PARTIES],
    requests: VecDeque<Vec<u8>>,
    replies: VecDeque<Vec<u8>>,
    next_id: u64,
    appended: u64,
    /// First offsets after acknowledged appends.
    acknowledged: Vec<u64>,
    /// By operation: the acknowledgements there were when it began.
    checks: BTreeMap<u64, u64>,
    /// Appends that met the seal, with the offsets they were given.
    settled: Vec<(Option<u64>, Records)>,
    open: Vec<u64>,
    sealed: Vec<u64>,
    delivered: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let limits =
            Limits { batch_bytes_max: 48, sequencer_window_bytes: 2000, store_window_bytes: 600, ..Limits::default() };
        let now = Instant::from_nanos(1);
        let mut world = Self {
            random: Rng::with_seed(seed),
            now,
            sequencer: Sequencer::new(config(SERVERS), &limits, now),
            clients: (1..PARTIES).map(|_| NativeLoglet::new(config(SERVERS), &limits)).collect(),
            servers: (0..SERVERS).map(|_| Server::default()).collect(),
            up: Default::default(),
            to_server: Default::default(),
            to_party: Default::default(),
            requests: VecDeque::new(),
            replies: VecDeque::new(),
            next_id: 10,
            appended: 0,
            acknowledged: vec![],
            checks: BTreeMap::new(),
            settled: vec![],
            open: vec![],
            sealed: vec![],
            delivered: 0,
        };
        for party in 0..PARTIES {
            (0..SERVERS).for_each(|server| world.connect(party, server));
        }
        world.clients[0].handle_connected(Target::Sequencer, now);
        let op = LogletOp::Subscribe { from: Offset::ZERO, limit: Offset::ZERO, credit: u32::MAX };
        world.clients[1].handle_op(OpId(0), op, now);
        world
    }

    fn connect(&mut self, party: usize, server: usize) {
        self.up[party][server] = true;
        match party {
            0 => self.sequencer.handle_connected(server, self.now),
            _ => self.clients[party - 1].handle_connected(Target::LogServer(server), self.now),
        }
    }

    fn disconnect(&mut self, party: usize, server: usize) {
        self.up[party][server] = false;
        self.to_server[party][server].clear();
        self.to_party[party][server].clear();
        self.servers[server].awaits.retain(|wait| wait.0 != party);
        self.servers[server].streams.retain(|stream| stream.0 != party);
        match party {
            0 => self.sequencer.handle_disconnected(server, self.now),
            _ => self.clients[party - 1].handle_disconnected(Target::LogServer(server), self.now),
        }
    }

    /// A crash: what is in flight and the volatile known tail are forgotten.
    fn crash(&mut self, server: usize) {
        (0..PARTIES).for_each(|party| self.disconnect(party, server));
        self.servers[server].in_flight.clear();
        self.servers[server].known = 0;
        (0..PARTIES).for_each(|party| self.connect(party, server));
    }

    fn append(&mut self) {
        if !self.sequencer.has_room() {
            return;
        }
        let count = self.random.u64(1..4);
        let payloads: Vec<Vec<u8>> = (0..count).map(|n| payload(1000 * self.appended + n)).collect();
        self.appended += 1;
        let records = records(&payloads.iter().map(Vec::as_slice).collect::<Vec<_>>());
        self.next_id += 1;
        self.clients[0].handle_op(OpId(self.next_id), LogletOp::Append { records }, self.now);
    }

    fn check_tail(&mut self, client: usize) {
        self.next_id += 1;
        self.checks.insert(self.next_id, self.acknowledged.iter().copied().max().unwrap_or(0));
        self.clients[client].handle_op(OpId(self.next_id), LogletOp::CheckTail, self.now);
    }

    /// Everything that a core wants to send is put on its way, and every result is judged.
    fn pump(&mut self) {
        for server in 0..SERVERS {
            let state = &mut self.servers[server];
            let (tail, sealed, known) = (state.tail(), state.sealed, state.known);
            for (party, request, at) in std::mem::take(&mut state.awaits) {
                match tail >= at || sealed {
                    true => self.to_party[party][server].push_back(state.position(request)),
                    false => state.awaits.push((party, request, at)),
                }
            }
            for (party, request, next) in std::mem::take(&mut state.streams) {
                let held =
                    (next..known.min(next + 2)).take_while(|offset| state.stored.contains_key(offset)).count() as u64;
                let frame = match () {
                    () if held > 0 || next < known => state.read(request, next, known),
                    () if sealed => state.position(request),
                    () => {
                        state.streams.push((party, request, next));
                        continue;
                    }
                };
                self.to_party[party][server].push_back(frame);
                if held > 0 {
                    state.streams.push((party, request, next + held));
                }
            }
            while let Some((message, _)) = self.sequencer.poll_send(server) {
                self.to_server[0][server].push_back(encode(&message));
            }
            for party in 1..PARTIES {
                while let Some(message) = self.clients[party - 1].poll_send(Target::LogServer(server)) {
                    self.to_server[party][server].push_back(encode(&message));
                }
            }
        }
        while let Some(message) = self.clients[0].poll_send(Target::Sequencer) {
            self.requests.push_back(encode(&message));
        }
        while let Some((_, message)) = self.sequencer.poll_reply() {
            self.replies.push_back(encode(&message));
        }
        for client in 0..self.clients.len() {
            while let Some((id, result)) = self.clients[client].poll_result() {
                self.judge(id, result);
            }
        }
    }

    fn judge(&mut self, id: OpId, result: LogletResult) {
        match result {
            LogletResult::Appended { first, records, .. } => {
                self.acknowledged.push(first.0 + u64::from(records.count));
                for tail in &self.sealed {
                    assert!(first.0 + u64::from(records.count) <= *tail, "acknowledged beyond a sealed tail {tail}");
                }
            }
            LogletResult::Tail { tail, sealed } => {
                let least = self.checks.remove(&id.0).expect("one result for one question");
                assert!(tail.0 >= least, "{tail} does not cover what was acknowledged before: {least}");
                if sealed {
                    assert!(
                        self.acknowledged.iter().chain(&self.open).all(|end| *end <= tail.0),
                        "{tail} loses something"
                    );
                    self.sealed.push(tail.0);
                } else {
                    assert!(self.sealed.iter().all(|stop| tail.0 <= *stop), "{tail} is open beyond a stop");
                    self.open.push(tail.0);
                }
            }
            LogletResult::Records { first, records } => {
                assert_eq!(first.0, self.delivered, "each offset once, in order");
                self.delivered += u64::from(records.count);
                let batch = Batch::new(records.count, &records.bytes).unwrap();
                for (offset, (bytes, _)) in (first.0..).zip(batch.records()) {
                    let copies: Vec<&Vec<u8>> = self.servers.iter().filter_map(|s| s.stored.get(&offset)).collect();
                    assert!(
                        copies.len() >= 2 && copies.iter().all(|copy| copy[..] == *bytes),
                        "{offset} was not committed"
                    );
                }
            }
            LogletResult::AppendSealed { first, records, .. } => {
                self.settled.push((first.map(|first| first.0), records));
            }
            _ => {}
        }
        let known = self.clients.iter().map(NativeLoglet::known_tail).chain([self.sequencer.known_tail()]);
        let known = known.map(|tail| tail.0).chain(self.servers.iter().map(|server| server.known)).max().unwrap();
        assert!(
            self.sealed.iter().all(|stop| known <= *stop),
            "a known tail {known} is beyond a stop {:?}",
            self.sealed
        );
    }

    /// P16: below the stop an append has succeeded where it was put, and one without offsets is nowhere.
    fn check_settlements(&self) {
        for (first, records) in &self.settled {
            let batch = Batch::new(records.count, &records.bytes).unwrap();
            for (n, (bytes, _)) in batch.records().enumerate() {
                for server in &self.servers {
                    match first {
                        Some(first) => {
                            let stored = server.stored.get(&(first + n as u64));
                            assert!(stored.is_none_or(|stored| *stored == bytes), "another record at {first} + {n}");
                        }
                        None => assert!(server.stored.values().all(|stored| *stored != bytes), "stored without offset"),
                    }
                }
            }
        }
    }

    fn deliver(&mut self, party: usize, server: usize, to_server: bool) {
        if to_server {
            let Some(frame) = self.to_server[party][server].pop_front() else { return };
            let answer = self.servers[server].respond(party, &decode(&frame));
            self.to_party[party][server].extend(answer);
        } else if let Some(frame) = self.to_party[party][server].pop_front() {
            match party {
                0 => self.sequencer.handle(server, decode(&frame), self.now),
                _ => self.clients[party - 1].handle(Target::LogServer(server), decode(&frame), self.now),
            }
        }
    }

    fn land(&mut self, server: usize) {
        let answer = self.servers[server].land();
        if self.up[0][server] {
            self.to_party[0][server].extend(answer);
        }
    }

    fn exchange_with_sequencer(&mut self) {
        if self.sequencer.has_room()
            && let Some(frame) = self.requests.pop_front()
        {
            let Message::Append { request, batch, .. } = decode(&frame) else { panic!() };
            let checksum = crate::base::checksum::crc32c(&batch.parts().concat());
            self.sequencer.handle_append(PeerId(1), request, batch, checksum, self.now);
        }
        if let Some(frame) = self.replies.pop_front() {
            self.clients[0].handle(Target::Sequencer, decode(&frame), self.now);
        }
    }

    fn pass_time(&mut self, milliseconds: u64) {
        self.now = self.now + std::time::Duration::from_millis(milliseconds);
        self.sequencer.handle_timeout(self.now);
        self.clients.iter_mut().for_each(|client| client.handle_timeout(self.now));
    }

    fn step(&mut self, faults: bool) {
        let (party, server) = (self.random.usize(..PARTIES), self.random.usize(..SERVERS));
        match self.random.u32(..if faults { 1000 } else { 940 }) {
            0..300 => self.deliver(party, server, true),
            300..600 => self.deliver(party, server, false),
            600..700 => self.land(server),
            700..780 => self.exchange_with_sequencer(),
            780..850 => self.append(),
            850..860 => self.check_tail(party % (PARTIES - 1)),
            860..940 => self.pass_time(5),
            940..960 => self.disconnect(party, server),
            960..990 => (0..PARTIES).for_each(|party| {
                if !self.up[party][server] {
                    self.connect(party, server);
                }
            }),
            990..994 => self.crash(server),
            994 if self.random.u32(..4) == 0 => {
                self.next_id += 1;
                self.clients[party % (PARTIES - 1)].handle_op(OpId(self.next_id), LogletOp::Seal, self.now);
            }
            _ => self.pass_time(300),
        }
        self.pump();
    }
}

fn run(seed: u64) -> (usize, usize, usize, u64) {
    let mut world = World::new(seed);
    (0..3000).for_each(|_| world.step(true));
    // The faults end: whatever is waited for must come, and two clients agree to seal.
    for (party, server) in (0..PARTIES).flat_map(|party| (0..SERVERS).map(move |server| (party, server))) {
        if !world.up[party][server] {
            world.connect(party, server);
        }
    }
    (0..world.clients.len()).for_each(|client| {
        world.clients[client].handle_op(OpId(client as u64 + 1), LogletOp::Seal, world.now);
        world.check_tail(client);
    });
    for _ in 0..20_000 {
        if world.checks.is_empty() {
            break;
        }
        world.step(false);
    }
    let stuck: Vec<_> = world.clients.iter().map(|client| client.poll_timeout()).collect();
    assert!(world.checks.is_empty(), "checkTails {:?} never end: {stuck:?}", world.checks);
    world.check_settlements();
    (world.acknowledged.len(), world.open.len(), world.sealed.len(), world.delivered)
}

#[test]
fn safety_holds_over_many_seeds_and_everything_ends() {
    let mut sum = (0, 0, 0, 0);
    for seed in 0..300 {
        let (acknowledged, open, sealed, delivered) = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|cause| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause)
        });
        sum = (sum.0 + acknowledged, sum.1 + open, sum.2 + sealed, sum.3 + delivered);
    }
    // The runs must be about something.
    assert!(sum.0 > 1000 && sum.1 > 100 && sum.2 > 500 && sum.3 > 1000, "{sum:?}");
}
