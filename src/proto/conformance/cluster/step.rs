use std::time::Duration;

use super::Cluster;
use super::connection::{End, Pair, target};
use super::pump::decode;
use crate::base::Instant;
use crate::proto::PeerId;
use crate::wire::Message;

/// Something that can happen next, without time or a fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Event {
    Connect(Pair),
    /// The next request of a connection arrives.
    Forth(Pair),
    /// The next answer of a connection arrives.
    Back(Pair),
    /// The next request of a connection that the other side has given up arrives, or its loss is noticed.
    Remains(usize),
    /// The oldest write of a disk becomes durable.
    Land(usize),
    /// The oldest read of a disk completes.
    Read(usize),
    /// A lane of the sequencer is told that another one has stopped.
    LaneStopped,
}

/// Far more events than any test has.
const EVENTS_MAX: usize = 2_000_000;

impl Cluster {
    /// All that can happen next without time or a fault.
    pub(crate) fn possible(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.missing_connections().into_iter().map(Event::Connect).collect();
        for (pair, connection) in &self.connections {
            if self.held.contains(pair) {
                continue;
            }
            if connection.forth.front().is_some_and(|frame| self.has_room(*pair, frame)) {
                events.push(Event::Forth(*pair));
            }
            if !connection.back.is_empty() {
                events.push(Event::Back(*pair));
            }
        }
        events.extend((0..self.remains.len()).map(Event::Remains));
        events.extend(self.process.owes_stop().then_some(Event::LaneStopped));
        for (index, server) in self.servers.iter().enumerate().filter(|(_, server)| server.core.is_some()) {
            if server.in_flight() > 0 && !server.disk_held {
                events.push(Event::Land(index));
            }
            if server.disk.reads_waiting() > 0 {
                events.push(Event::Read(index));
            }
        }
        events
    }

    /// A sequencer without room leaves appends and fills unread.
    fn has_room(&self, (_, to): Pair, frame: &[u8]) -> bool {
        let Some(sequencer) = to.lane().and_then(|lane| self.process.lane(lane)) else { return true };
        match decode(frame).1 {
            Message::Append { .. } => sequencer.has_room(),
            Message::FillTo { .. } => sequencer.has_room_to_fill(),
            _ => true,
        }
    }

    /// One of the possible events happens. Returns false if there is none.
    pub(crate) fn step(&mut self) -> bool {
        let events = self.possible();
        if events.is_empty() {
            return false;
        }
        let event = events[self.random.usize(..events.len())];
        self.happen(event);
        self.pump();
        true
    }

    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Connect(pair) => self.connect(pair),
            Event::Forth(pair) => {
                let connection = self.connections.get_mut(&pair).expect("it is there");
                let (peer, frame) = (connection.peer, connection.forth.pop_front().expect("it has one"));
                self.arrive(pair, peer, &frame);
            }
            Event::Back(pair) => {
                let connection = self.connections.get_mut(&pair).expect("it is there");
                let frame = connection.back.pop_front().expect("it has one");
                self.answer(pair, &frame);
            }
            Event::Remains(index) => {
                let remains = &mut self.remains[index];
                let (pair, peer) = (remains.pair, remains.peer);
                match remains.forth.pop_front() {
                    Some(frame) if self.has_room(pair, &frame) => self.arrive(pair, peer, &frame),
                    _ => self.notice_loss(index),
                }
            }
            Event::Land(server) => self.servers[server].land(self.now),
            Event::Read(server) => self.complete_read(server),
            Event::LaneStopped => self.process.tell_stop(),
        }
    }

    /// A request arrives at the side that was connected to.
    fn arrive(&mut self, (_, to): Pair, peer: PeerId, frame: &[u8]) {
        let ((header, message), now) = (decode(frame), self.now);
        match to {
            End::Server(index) => {
                let server = &mut *self.servers[index];
                if let Some(core) = &mut server.core {
                    core.handle(peer, message, now, &mut server.disk);
                }
            }
            End::Sequencer | End::Lane(_) => {
                let (node, incarnation) = (self.config.sequencer.node, self.process.incarnation);
                let lane = to.lane().expect("it is one");
                match message {
                    Message::Activate { request, config } => {
                        let loglet = config.id;
                        let answer = match self.process.sequencers.activate(&config, node, incarnation, now) {
                            Ok(_) => {
                                self.process.open_lanes(self.lanes, &config, &self.limits, now);
                                Message::Done { request, loglet }
                            }
                            Err(_) => Message::SequencerLost { request, loglet },
                        };
                        self.send_back(peer, &answer);
                    }
                    Message::Append { request, loglet, batch } => match self.process.lane(lane) {
                        Some(_) => {
                            self.process.append(lane, peer, request, batch, header.body_checksum.get(), now);
                        }
                        None => self.send_back(peer, &Message::SequencerLost { request, loglet }),
                    },
                    Message::FillTo { request, loglet, offset } => match self.process.lane(lane) {
                        Some(_) => self.process.fill(lane, peer, request, offset, now),
                        None => self.send_back(peer, &Message::SequencerLost { request, loglet }),
                    },
                    other => unreachable!("nobody sends a sequencer {other:?}"),
                }
                self.process.exchange(lane, now);
            }
            End::Client(_) => unreachable!("nobody connects to a client"),
        }
    }

    /// An answer arrives at the side that connected.
    fn answer(&mut self, pair: Pair, frame: &[u8]) {
        let ((_, message), now) = (decode(frame), self.now);
        match pair {
            (End::Client(client), to) => self.clients[client].handle(target(to), message, now),
            (End::Sequencer | End::Lane(_), End::Server(server)) => {
                let lane = pair.0.lane().expect("it is one");
                self.process.exchange(lane, now);
                if let Some(sequencer) = self.process.lane_mut(lane) {
                    sequencer.handle(server, message, now);
                }
                self.process.exchange(lane, now);
            }
            (End::Server(from), End::Server(to)) => {
                let node = self.servers[to].node;
                let server = &mut *self.servers[from];
                if let Some(core) = &mut server.core {
                    core.handle_member(node, message, now, &mut server.disk);
                }
            }
            _ => unreachable!("nobody connects {pair:?}"),
        }
    }

    fn complete_read(&mut self, index: usize) {
        let server = &mut *self.servers[index];
        let read = server.disk.next_read().expect("it has one");
        let found = server.disk.serve(read);
        let core = server.core.as_mut().expect("it runs");
        let answer = core.handle_read(read.id, found.outcome(), self.now, &mut server.disk);
        if let Some((peer, message)) = answer {
            self.send_back(peer, &message);
        }
    }

    /// Lets everything happen that can without time; returns whether there was anything.
    pub(crate) fn settle(&mut self) -> bool {
        let mut any = false;
        for _ in 0..EVENTS_MAX {
            if !self.step() {
                return any;
            }
            any = true;
        }
        panic!("the exchange does not end: {:?}", self.possible());
    }

    /// Up to `count` requests arrive on one connection, and no answer does.
    pub(crate) fn deliver_requests(&mut self, from: End, to: End, count: usize) {
        let pair = (from, to);
        if self.could_connect(pair) {
            self.connect(pair);
            self.pump();
        }
        for _ in 0..count {
            if self.connections.get(&pair).is_none_or(|connection| connection.forth.is_empty()) {
                return;
            }
            self.happen(Event::Forth(pair));
            self.pump();
        }
    }

    /// As [`Cluster::settle`], on one connection only.
    pub(crate) fn settle_between(&mut self, from: End, to: End) {
        let pair = (from, to);
        if self.could_connect(pair) {
            self.connect(pair);
            self.pump();
        }
        loop {
            let Some(connection) = self.connections.get(&pair) else { return };
            let event = match () {
                () if !connection.forth.is_empty() => Event::Forth(pair),
                () if !connection.back.is_empty() => Event::Back(pair),
                () => return,
            };
            self.happen(event);
            self.pump();
        }
    }

    /// The earliest deadline of any core.
    pub(crate) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let servers = self.servers.iter().filter_map(|server| server.core.as_ref()?.poll_timeout());
        let clients = self.clients.iter().filter_map(|client| client.poll_timeout());
        let lanes = (0..self.lanes).filter_map(|lane| self.process.lane(lane)?.poll_timeout());
        servers.chain(clients).chain(lanes).min_by_key(|(at, _)| *at)
    }

    /// The clock goes on to `now`, and every core whose deadline has passed is told.
    pub(crate) fn set_clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let (now, due) = (self.now, |timeout: Option<(Instant, &str)>| timeout.is_some_and(|(at, _)| at <= now));
        for server in self.servers.iter_mut().map(|server| &mut **server) {
            if let Some(core) = server.core.as_mut().filter(|core| due(core.poll_timeout())) {
                core.handle_timeout(now, &mut server.disk);
            }
        }
        for client in self.clients.iter_mut().filter(|client| due(client.poll_timeout())) {
            client.handle_timeout(now);
        }
        for lane in 0..self.lanes {
            if self.process.lane(lane).is_some_and(|core| due(core.poll_timeout())) {
                self.process.exchange(lane, now);
                self.process.lane_mut(lane).expect("looked at just now").handle_timeout(now);
                self.process.exchange(lane, now);
            }
        }
        self.pump();
    }

    /// Lets time pass, deadline by deadline, with everything that follows.
    pub(crate) fn pass_time(&mut self, duration: Duration) {
        let (end, mut at_once) = (self.now + duration, 0);
        self.settle();
        while let Some((at, reason)) = self.deadline().filter(|(at, _)| *at <= end) {
            at_once = if at <= self.now { at_once + 1 } else { 0 };
            assert!(at_once < 1000, "a deadline that nothing moves: {reason}");
            self.set_clock(at);
            self.settle();
        }
        self.set_clock(end);
        self.settle();
    }
}
