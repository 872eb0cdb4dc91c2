//! A whole shard on the simulated driver, and peers that send it whatever the input says.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::input::Input;
use super::messages::{ADDRESS, CLUSTER, INCARNATION, NODE, frame, reseal};
use crate::base::{Instant, Limits, LogletId, NodeId};
use crate::io::Driver;
use crate::io::mem::{Config, MemDriver, World};
use crate::io::op::{Completion, ConnId, Op, Outcome, Token};
use crate::net::{Flow, FrameReader};
use crate::server::{Command, NodeIdentity, Shard, ShardConfig};
use crate::wire::{HEADER_BYTES, Hello, Message, Role};

const EVENTS_MAX: usize = 100;
/// Connections of one input, one after another or at once.
const PEERS_MAX: usize = 6;
/// Turns that one event may lead to before the shard counts as spinning.
const TURNS_MAX: usize = 20_000;
/// A deadline that stands is looked at again after this.
const POLL: Duration = Duration::from_micros(1);
const PEERS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));

/// Owners of the peers' tokens; the value is the peer.
mod owner {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const RECEIVE: u8 = 2;
    pub(super) const SEND: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
}

fn limits() -> Limits {
    Limits {
        record_bytes_max: 4 << 10,
        batch_bytes_max: 4 << 10,
        batch_records_max: 3,
        frame_body_bytes_max: 8 << 10,
        register_bytes_max: 4 << 10,
        unit_bytes_max: 8 << 10,
        segment_bytes: 96 << 10,
        segments_max: 12,
        segments_prepared: 3,
        index_granularity_bytes: 4 << 10,
        early_window_bytes: 8 << 10,
        early_pool_bytes: 12 << 10,
        sequencer_window_bytes: 16 << 10,
        sequencer_pool_bytes: 24 << 10,
        store_window_bytes: 8 << 10,
        outbound_bytes_max: 8 << 10,
        connection_pool_bytes: 64 << 10,
        connections_max: 4,
        loglets_max: 2,
        read_bytes_max: 8 << 10,
        client_window_bytes: 32 << 10,
        stall: Duration::from_millis(500),
        reconnect_delay: Duration::from_millis(5),
        ..Limits::default()
    }
}

struct Peer {
    conn: Option<ConnId>,
    reader: FrameReader,
    /// Requests that were made. None when it has sent what may be any request.
    asked: Option<BTreeSet<u64>>,
    queue: Vec<u8>,
    sending: bool,
    reads: bool,
}

struct Stage {
    world: World,
    shard: Shard<MemDriver>,
    stopped: bool,
    driver: MemDriver,
    peers: Vec<Peer>,
    completions: Vec<Completion>,
    turn_at: Instant,
}

/// Lets peers connect, greet, ask, send nonsense, stall and vanish, in the order that the input says.
pub(super) fn shard_under_peers(input: &mut Input<'_>) {
    let mut stage = Stage::new();
    for _ in 0..EVENTS_MAX {
        if input.is_empty() {
            break;
        }
        stage.event(input);
    }
    stage.stop();
}

impl Stage {
    fn new() -> Self {
        let world = World::new(1, Config::default());
        let mut driver = world.node(ADDRESS.0.into());
        let (listener, _) = driver.listen(ADDRESS.into()).expect("the port is free");
        let config = ShardConfig {
            identity: NodeIdentity { cluster: CLUSTER, node: NODE, incarnation: INCARNATION },
            shard: 0,
            shards: 1,
            directory: "/data".into(),
            block_bytes: 4096,
            limits: limits(),
            seed: 1,
            durability: "quorum-dsync",
            driver: "mem",
            prepare_bytes: 0,
            cores: 1,
        };
        let driver_of_peers = world.node(PEERS);
        let mut stage = Self {
            shard: Shard::new(driver, config, Some(listener)),
            stopped: false,
            driver: driver_of_peers,
            peers: Vec::new(),
            completions: Vec::new(),
            turn_at: Instant::ORIGIN,
            world,
        };
        stage.run(Duration::from_millis(100));
        assert!(stage.shard.is_ready(), "a new journal opens");
        // One that has said who it is, so that every input gets that far.
        stage.connect();
        let hello = Hello {
            cluster: CLUSTER,
            node: NodeId(0),
            incarnation: INCARNATION,
            to: NodeId(0),
            role: Role::Client,
            route: LogletId::default(),
        };
        Message::Hello(hello).encode(&mut stage.peers[0].queue);
        stage.run(Duration::from_millis(2));
        stage
    }

    fn connect(&mut self) {
        let token = Token::new(owner::CONNECT, self.peers.len() as u64);
        self.driver.submit(token, Op::Connect { address: ADDRESS.into() });
        self.peers.push(Peer {
            conn: None,
            reader: FrameReader::new(u32::MAX),
            asked: Some(BTreeSet::new()),
            queue: Vec::new(),
            sending: false,
            reads: true,
        });
    }

    fn event(&mut self, input: &mut Input<'_>) {
        let kind = input.byte();
        let count = self.peers.len();
        let number = usize::from(kind >> 4) % count;
        let peer = &mut self.peers[number];
        match kind % 16 {
            0..=6 => {
                let request = frame(input, &mut peer.queue);
                peer.asked.as_mut().map(|asked| asked.insert(request));
            }
            7 => {
                let start = peer.queue.len();
                frame(input, &mut peer.queue);
                let at = start + input.below(peer.queue.len() - start);
                peer.queue[at] = input.byte();
                reseal(&mut peer.queue[start..]);
                peer.asked = None;
            }
            8 if input.byte() < 64 => {
                let bytes = input.below(HEADER_BYTES * 2);
                peer.queue.extend_from_slice(input.take(bytes));
                peer.asked = None;
            }
            9 if count < PEERS_MAX => self.connect(),
            10 if input.byte() < 128 => self.close(number),
            11 => self.set_reads(number, input.bool()),
            12 => self.run(Duration::from_millis(600)),
            _ => self.run(Duration::from_micros(100 * u64::from(input.byte() % 64))),
        }
    }

    fn close(&mut self, peer: usize) {
        if let Some(conn) = self.peers[peer].conn.take() {
            self.driver.submit(Token::new(owner::CLOSE, peer as u64), Op::CloseConn { conn });
        }
    }

    /// A peer that does not read holds the shard back.
    fn set_reads(&mut self, peer: usize, reads: bool) {
        let before = std::mem::replace(&mut self.peers[peer].reads, reads);
        if let Some(conn) = self.peers[peer].conn
            && before != reads
        {
            let op = if reads { Op::Receive { conn } } else { Op::StopReceive { conn } };
            self.driver.submit(Token::new(owner::RECEIVE, peer as u64), op);
        }
    }

    /// Lets this much time pass, and everybody run who has something to do.
    fn run(&mut self, time: Duration) {
        let end = self.world.now() + time;
        for _ in 0..TURNS_MAX {
            self.send();
            let due = self.shard.deadline().filter(|_| !self.stopped).map(|at| at.max(self.turn_at + POLL));
            let due = due.filter(|at| *at <= end);
            match self.world.step_until(due.unwrap_or(end)) {
                Some(driver) if driver == self.driver.id() => self.turn_of_peers(),
                Some(_) => self.turn_of_shard(),
                None if due.is_some() => self.turn_of_shard(),
                None => return,
            }
        }
        panic!("the shard spins");
    }

    fn turn_of_shard(&mut self) {
        if !self.stopped {
            self.turn_at = self.world.now();
            self.stopped = !self.shard.turn(true).expect("the simulated driver works");
        }
    }

    /// Sends what waits.
    fn send(&mut self) {
        for (number, peer) in self.peers.iter_mut().enumerate() {
            if let Some(conn) = peer.conn
                && !peer.sending
                && !peer.queue.is_empty()
            {
                peer.sending = true;
                let op = Op::Send { conn, data: std::mem::take(&mut peer.queue) };
                self.driver.submit(Token::new(owner::SEND, number as u64), op);
            }
        }
    }

    fn turn_of_peers(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        self.driver.wait(None, &mut completions).expect("the simulated driver works");
        for Completion { token, outcome } in completions.drain(..) {
            let number = token.value() as usize;
            match (token.owner(), outcome) {
                (owner::CONNECT, Outcome::Connected { conn }) => {
                    self.peers[number].conn = Some(conn);
                    if self.peers[number].reads {
                        self.driver.submit(Token::new(owner::RECEIVE, number as u64), Op::Receive { conn });
                    }
                }
                (owner::RECEIVE, Outcome::Received { chunk, .. }) if chunk.is_end() => self.close(number),
                (owner::RECEIVE, Outcome::Received { chunk, .. }) => {
                    self.peers[number].hear(self.driver.chunk(&chunk));
                    self.driver.release(chunk);
                }
                (owner::RECEIVE, Outcome::Failed(_)) => self.close(number),
                (owner::SEND, Outcome::Sent { .. }) => self.peers[number].sending = false,
                (owner::CLOSE, Outcome::Done) | (owner::CONNECT, Outcome::Failed(_)) => {}
                (owner, outcome) => panic!("{owner} does not end as {outcome:?}"),
            }
        }
        self.completions = completions;
    }

    fn stop(mut self) {
        self.shard.inbox().push(Command::Stop);
        for _ in 0..60 {
            self.run(Duration::from_secs(1));
            if self.stopped {
                return;
            }
        }
        panic!("a shard that is to stop does");
    }
}

impl Peer {
    /// # Panics
    /// When it is told something that is no frame, or an answer to what was never asked.
    fn hear(&mut self, bytes: &[u8]) {
        let asked = &self.asked;
        let sound = self.reader.feed(bytes, |header, message| {
            let request = header.request.get();
            let fits = request == 0 || asked.as_ref().is_none_or(|asked| asked.contains(&request));
            assert!(fits, "nobody has asked {request}, answered by {message:?}");
            Flow::Continue
        });
        sound.expect("a shard sends frames");
    }
}
