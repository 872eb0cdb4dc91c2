//! Everything in a world, and the one queue of what will happen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{DiskEvent, OpenFile};
use super::net::{Endpoint, Listener, NetEvent};
use super::store::Disk;
use super::trace::{Record, Trace};
use super::world::{Config, DiskSeen, DiskStep, Link, NetworkFaults, Seen, Sent};
use crate::base::{Instant, Rng};
use crate::io::op::{ConnId, FileId, Op, Outcome, Token};
use crate::ring::WakeFlag;

/// One driver of a world. Ids are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverId(pub u32);

/// A completion on its way to its driver; received bytes become a chunk only there.
pub(super) enum Mail {
    Outcome(Token, Outcome),
    Received(Token, ConnId, Vec<u8>),
}

pub(super) enum Event {
    Mail(DriverId, Mail),
    Disk(DriverId, Token, DiskEvent),
    Net(NetEvent),
    /// A paused driver goes on.
    Resume(DriverId),
}

/// How often something has gone wrong, by its kind.
pub type Counts = BTreeMap<&'static str, u64>;

/// Sees what drivers send, and what disks do.
pub(super) type Tap = Box<dyn FnMut(&Seen<'_>)>;

#[derive(Default)]
pub(super) struct Node {
    pub(super) crashed: bool,
    pub(super) disk: Disk,
    pub(super) listeners: BTreeMap<u16, Listener>,
    pub(super) ports_taken: u16,
    pub(super) paused: bool,
    /// How much faster the node's clock runs than time, in a million.
    pub(super) drift_per_million: i32,
}

pub(super) struct DriverState {
    pub(super) node: IpAddr,
    pub(super) alive: bool,
    pub(super) mailbox: VecDeque<Mail>,
    /// In the world's time.
    pub(super) deadline: Option<Instant>,
    pub(super) drift_per_million: i32,
    pub(super) wake: Arc<WakeFlag>,
    pub(super) files: BTreeMap<FileId, OpenFile>,
    pub(super) files_opened: u32,
    /// Ports, by listener id.
    pub(super) listeners: Vec<u16>,
}

pub(super) struct State {
    pub(super) now: Instant,
    pub(super) config: Config,
    pub(super) rng: Rng,
    sequence: u64,
    pub(super) queue: BTreeMap<(Instant, u64), Event>,
    pub(super) nodes: BTreeMap<IpAddr, Node>,
    pub(super) drivers: Vec<DriverState>,
    /// The drivers that are not gone, in order.
    alive: Vec<usize>,
    pub(super) endpoints: BTreeMap<u64, Endpoint>,
    pub(super) endpoints_made: u64,
    pub(super) cuts: BTreeSet<(IpAddr, IpAddr)>,
    /// What a cut holds up, in order.
    pub(super) parked: Vec<NetEvent>,
    pub(super) trace: Trace,
    pub(super) faults: NetworkFaults,
    pub(super) links: BTreeMap<(IpAddr, IpAddr), Link>,
    pub(super) counts: Counts,
    pub(super) tap: Option<Tap>,
}

impl State {
    pub(super) fn new(seed: u64, config: Config) -> Self {
        Self {
            now: Instant::ORIGIN,
            config,
            rng: Rng::with_seed(seed),
            sequence: 0,
            queue: BTreeMap::new(),
            nodes: BTreeMap::new(),
            drivers: Vec::new(),
            alive: Vec::new(),
            endpoints: BTreeMap::new(),
            endpoints_made: 0,
            cuts: BTreeSet::new(),
            parked: Vec::new(),
            trace: Trace::default(),
            faults: NetworkFaults::default(),
            links: BTreeMap::new(),
            counts: Counts::new(),
            tap: None,
        }
    }

    pub(super) fn add_driver(&mut self, node: IpAddr) -> DriverId {
        let drift_per_million = self.nodes[&node].drift_per_million;
        self.alive.push(self.drivers.len());
        self.drivers.push(DriverState {
            node,
            alive: true,
            mailbox: VecDeque::new(),
            deadline: None,
            drift_per_million,
            wake: Arc::new(WakeFlag::new()),
            files: BTreeMap::new(),
            files_opened: 0,
            listeners: Vec::new(),
        });
        DriverId(self.drivers.len() as u32 - 1)
    }

    pub(super) fn driver(&mut self, id: DriverId) -> &mut DriverState {
        &mut self.drivers[id.0 as usize]
    }

    pub(super) fn schedule(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }

    /// Completes an operation without anything to wait for.
    pub(super) fn reply(&mut self, driver: DriverId, token: Token, outcome: Outcome) {
        self.schedule(self.now, Event::Mail(driver, Mail::Outcome(token, outcome)));
    }

    pub(super) fn draw(&mut self, (least, greatest): (Duration, Duration)) -> Duration {
        Duration::from_nanos(self.rng.u64(least.as_nanos() as u64..=greatest.as_nanos() as u64))
    }

    pub(super) fn chance(&mut self, per_million: u32) -> bool {
        self.rng.u32(0..1_000_000) < per_million
    }

    pub(super) fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// What drivers ask for is history too: two runs that differ in a single byte differ at once, and not when it returns.
    pub(super) fn note_submission(&mut self, driver: DriverId, token: Token, op: &Op) {
        let (kind, size, contents): (_, _, &[u8]) = match op {
            Op::List { directory } => (32, 0, directory.as_os_str().as_bytes()),
            Op::Open { path } => (33, 0, path.as_os_str().as_bytes()),
            Op::Prepare { path, bytes } => (34, *bytes, path.as_os_str().as_bytes()),
            Op::Remove { path } => (35, 0, path.as_os_str().as_bytes()),
            Op::CloseFile { file } => (36, file.0.into(), &[]),
            Op::Read { offset, .. } => (37, *offset, &[]),
            Op::Write { offset, buf, .. } => (38, *offset, buf),
            Op::Accept { listener } => (39, listener.0.into(), &[]),
            Op::Connect { address } => (40, address.port().into(), &[]),
            Op::Receive { conn } => (41, conn.0, &[]),
            Op::StopReceive { conn } => (42, conn.0, &[]),
            Op::Send { conn, data } => (43, conn.0, data),
            Op::Detach { conn } => (44, conn.0, &[]),
            Op::CloseConn { conn } => (45, conn.0, &[]),
        };
        let record = Record { at: self.now, place: driver.0.into(), kind, token: token_bits(token), size, contents };
        self.trace.add(&record);
        let (at, node) = (self.now, self.driver(driver).node);
        match op {
            Op::Send { conn, data } => {
                let to = self.endpoints.get(&conn.0).map(|endpoint| endpoint.remote);
                self.show(to.map(|to| Seen::Sent(Sent { at, from: node, to, bytes: data })));
            }
            Op::List { .. }
            | Op::Open { .. }
            | Op::Prepare { .. }
            | Op::Remove { .. }
            | Op::Read { .. }
            | Op::Write { .. } => self.show(Some(Seen::Disk(DiskSeen { at, node, token, step: DiskStep::Asked(op) }))),
            _ => {}
        }
    }

    fn show(&mut self, seen: Option<Seen<'_>>) {
        if let (Some(tap), Some(seen)) = (&mut self.tap, seen) {
            tap(&seen);
        }
    }

    pub(super) fn submit(&mut self, driver: DriverId, token: Token, op: Op) {
        match op {
            Op::Accept { listener } => self.accept(driver, token, listener),
            Op::Connect { address } => self.connect(driver, token, address),
            Op::Receive { conn } => self.receive(driver, token, conn),
            Op::StopReceive { conn } => self.stop_receive(driver, conn),
            Op::Send { conn, data } => self.send(driver, token, conn, data),
            Op::Detach { .. } => self.reply(driver, token, Outcome::Failed(std::io::ErrorKind::Unsupported.into())),
            Op::CloseConn { conn } => self.close_connection(driver, token, conn),
            op => self.start_disk(driver, token, op),
        }
    }

    pub(super) fn step(&mut self, limit: Option<Instant>) -> Option<DriverId> {
        loop {
            for &index in &self.alive {
                if !self.nodes[&self.drivers[index].node].paused && self.drivers[index].wake.awake() {
                    return Some(DriverId(index as u32));
                }
            }
            let event = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let waits = self.alive.iter().filter(|&&index| !self.nodes[&self.drivers[index].node].paused);
            let deadline = waits.filter_map(|&index| Some((self.drivers[index].deadline?, index))).min();
            let next = event.into_iter().chain(deadline.map(|(at, _)| at)).min();
            if let Some(limit) = limit
                && next.is_none_or(|at| at > limit)
            {
                self.now = self.now.max(limit);
                return None;
            }
            self.now = self.now.max(next?);
            match deadline {
                Some((at, index)) if event.is_none_or(|event| at < event) => {
                    self.drivers[index].deadline = None;
                    return Some(DriverId(index as u32));
                }
                _ => {}
            }
            let (_, event) = self.queue.pop_first().expect("an event is next");
            if let Some(driver) = self.carry_out(event) {
                return Some(driver);
            }
        }
    }

    fn carry_out(&mut self, event: Event) -> Option<DriverId> {
        match event {
            Event::Mail(driver, mail) => self.deliver(driver, mail),
            Event::Disk(driver, token, event) => {
                let outcome = self.finish_disk(driver, event);
                self.deliver(driver, Mail::Outcome(token, outcome))
            }
            Event::Net(event) => self.carry_out_net(event),
            Event::Resume(driver) => self.drivers[driver.0 as usize].alive.then_some(driver),
        }
    }

    /// Puts a completion into its driver's mailbox. `None` when the driver has gone.
    pub(super) fn deliver(&mut self, driver: DriverId, mail: Mail) -> Option<DriverId> {
        let (token, kind, size, contents): (_, _, u64, &[u8]) = match &mail {
            Mail::Received(token, _, bytes) => (*token, 1, bytes.len() as u64, bytes),
            Mail::Outcome(token, outcome) => match outcome {
                Outcome::Read { buf, result } => (*token, 2, result.as_ref().map_or(u64::MAX, |&n| n as u64), buf),
                Outcome::Written { buf, result } => (*token, 3, result.as_ref().map_or(u64::MAX, |&n| n as u64), buf),
                Outcome::Sent { data, result, .. } => (*token, 4, u64::from(result.is_ok()), data),
                Outcome::Listed(files) => (*token, 5, files.len() as u64, &[]),
                Outcome::Opened { bytes, .. } => (*token, 6, *bytes, &[]),
                Outcome::Accepted { conn, .. } => (*token, 7, conn.0, &[]),
                Outcome::Connected { conn } => (*token, 8, conn.0, &[]),
                Outcome::Done => (*token, 9, 0, &[]),
                Outcome::Failed(error) => (*token, 10, error.kind() as u64, &[]),
                Outcome::Received { .. } | Outcome::Detached { .. } => unreachable!("made only at a driver"),
            },
        };
        let record = Record { at: self.now, place: driver.0.into(), kind, token: token_bits(token), size, contents };
        self.trace.add(&record);
        let state = &self.drivers[driver.0 as usize];
        if !state.alive {
            return None;
        }
        if let Mail::Outcome(
            token,
            outcome @ (Outcome::Read { .. } | Outcome::Written { .. } | Outcome::Listed(_) | Outcome::Opened { .. }),
        ) = &mail
        {
            let step = DiskStep::Ended(outcome);
            self.show(Some(Seen::Disk(DiskSeen { at: self.now, node: state.node, token: *token, step })));
        }
        let state = &mut self.drivers[driver.0 as usize];
        state.mailbox.push_back(mail);
        // One that is paused finds it later.
        (!self.nodes[&state.node].paused).then_some(driver)
    }

    pub(super) fn resume(&mut self, address: IpAddr) {
        let Some(node) = self.nodes.get_mut(&address).filter(|node| node.paused) else { return };
        node.paused = false;
        let theirs = self.alive.iter().copied().filter(|&index| self.drivers[index].node == address);
        for index in theirs.collect::<Vec<_>>() {
            self.schedule(self.now, Event::Resume(DriverId(index as u32)));
        }
    }

    pub(super) fn crash(&mut self, address: IpAddr) {
        let at = self.now;
        self.trace.add(&Record {
            at,
            place: u64::MAX,
            kind: 0,
            token: 0,
            size: 0,
            contents: address.to_string().as_bytes(),
        });
        let node = self.nodes.entry(address).or_default();
        assert!(!node.crashed, "{address} has crashed already");
        node.crashed = true;
        node.paused = false;
        self.crash_disk(address);
        for index in self.alive.clone() {
            if self.drivers[index].node == address {
                self.end_driver(DriverId(index as u32), true);
            }
        }
    }

    /// Takes a driver out of the world: its connections end, and nothing comes to it any more.
    pub(super) fn end_driver(&mut self, id: DriverId, crashed: bool) {
        let driver = self.driver(id);
        driver.alive = false;
        driver.mailbox.clear();
        driver.deadline = None;
        let ports = std::mem::take(&mut driver.listeners);
        let address = driver.node;
        self.alive.retain(|&index| index != id.0 as usize);
        let node = self.nodes.get_mut(&address).expect("a driver is on a node");
        ports.iter().for_each(|port| drop(node.listeners.remove(port)));
        let theirs: Vec<u64> = self.endpoints.iter().filter(|(_, end)| end.driver == id).map(|(&key, _)| key).collect();
        for key in theirs {
            let reset = crashed && self.rng.bool();
            self.remove_endpoint(key, reset);
        }
    }
}

fn token_bits(token: Token) -> u64 {
    u64::from(token.owner()) << 56 | token.value()
}
