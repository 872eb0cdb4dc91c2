//! The world as its simulator sees it.

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::disk::DiskFault;
use super::driver::MemDriver;
use super::state::{Counts, DriverId, State};
use super::store::{Disk, DiskFaults};
use super::trace::Trace;
use crate::base::Instant;
use crate::io::op::{Op, Outcome, Token};

/// The bounds within which a world draws its times and sizes. Each pair is the least and the greatest value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One way through the network.
    pub network_latency: (Duration, Duration),
    /// One operation of a disk.
    pub disk_latency: (Duration, Duration),
    /// Most bytes that are received at once.
    pub chunk_bytes_max: usize,
    /// Bytes of one direction of a connection that were sent and not yet received; beyond it a send waits.
    pub window_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network_latency: (Duration::from_micros(20), Duration::from_micros(400)),
            disk_latency: (Duration::from_micros(30), Duration::from_micros(900)),
            chunk_bytes_max: 16 << 10,
            window_bytes: 256 << 10,
        }
    }
}

/// What goes wrong in the network by itself, beside what a caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkFaults {
    /// Connections that are reset, as seen from both ends, in a million pieces that were sent.
    pub resets: u32,
    /// Pieces that take longer by a draw from `spike`, in a million. They hold up their connection and are overtaken by others.
    pub spikes: u32,
    /// How much longer.
    pub spike: (Duration, Duration),
}

/// A way through the network that is not like the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// How many times as long everything takes on it.
    pub slower: u32,
}

/// What a tap is shown ([`World::set_tap`]).
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// Something is sent.
    Sent(Sent<'a>),
    /// Something happens at a disk.
    Disk(DiskSeen<'a>),
}

/// An operation of a disk.
#[derive(Debug, Clone, Copy)]
pub struct DiskSeen<'a> {
    /// When.
    pub at: Instant,
    /// The node whose disk it is.
    pub node: IpAddr,
    /// The same when it is asked for and when it ends.
    pub token: Token,
    /// Asked for, or ended.
    pub step: DiskStep<'a>,
}

/// How far an operation of a disk has come.
#[derive(Debug, Clone, Copy)]
pub enum DiskStep<'a> {
    /// It is asked for.
    Asked(&'a Op),
    /// Its driver is told of its end.
    Ended(&'a Outcome),
}

/// Bytes that a driver sends.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// When.
    pub at: Instant,
    /// The node that sends.
    pub from: IpAddr,
    /// The node at the other end of the connection.
    pub to: IpAddr,
    /// All of one [`crate::io::op::Op::Send`].
    pub bytes: &'a [u8],
}

/// Nodes with disks, the network between them, and time.
///
/// A node is named by its address and has one disk and any number of drivers, one for each of its shards. The contract:
///
///  - Nothing happens but in [`World::step`]: operations that are submitted only make events for later. Each step carries
///    out the earliest event, in the order of submission among equals, and names the driver that has something to do:
///    completions, a wake-up, or the deadline of its last `wait`. Let exactly that shard run, until its next `wait`.
///  - `wait` never blocks. A deadline that has passed makes the shard run again a microsecond later, so that a shard that
///    polls does not stop time.
///  - A completed write is durable. One in flight at a crash leaves any subset of its 512-byte sectors. A preparation in
///    flight leaves nothing, a `.tmp` file or the file; a removal in flight happens or not.
///  - Bytes of one direction of a connection arrive in order, in pieces of drawn sizes. A cut delays what comes on a path
///    until it is healed, as retransmission does; it does not end connections.
///  - A connection neither loses nor repeats anything. Loss is a connection that is reset, with whatever was on its way, and
///    repetition is what its two ends then do over the next one. Connections overtake one another.
///  - A node's clock may run faster or slower than time; a paused node does nothing, and finds what has come when it goes on.
///  - A driver that is dropped closes its connections, and its writes end. The driver of a crashed node does nothing, and
///    its `wait` fails.
///
/// Clones refer to the same world.
#[derive(Clone)]
pub struct World {
    state: Rc<RefCell<State>>,
}

impl World {
    /// An empty world at time zero. Everything it draws comes from `seed`.
    pub fn new(seed: u64, config: Config) -> Self {
        Self { state: Rc::new(RefCell::new(State::new(seed, config))) }
    }

    /// A further driver on the node at `address`, which comes into being with an empty disk if it is new.
    ///
    /// # Panics
    /// When the node has crashed: [`World::restart`] it.
    pub fn node(&self, address: IpAddr) -> MemDriver {
        let id = {
            let mut state = self.state.borrow_mut();
            let node = state.nodes.entry(address).or_default();
            assert!(!node.crashed, "{address} has crashed");
            state.add_driver(address)
        };
        MemDriver::new(Rc::clone(&self.state), id)
    }

    /// Tells when a driver wants to run without any event, by its own clock; [`MemDriver`] tells it by `wait`, which
    /// is before the turn that finds out.
    pub fn set_deadline(&self, driver: DriverId, deadline: Option<Instant>) {
        self.state.borrow_mut().set_deadline(driver, deadline);
    }

    /// Shows everything that is sent, and asked of disks, from now on.
    pub fn set_tap(&self, tap: impl FnMut(&Seen<'_>) + 'static) {
        self.state.borrow_mut().tap = Some(Box::new(tap));
    }

    /// How often something has gone wrong by itself, by its kind.
    pub fn counts(&self) -> Counts {
        self.state.borrow().counts.clone()
    }

    /// Goes on to the next event that gives a driver something to do, and says which. `None` when nothing will ever happen
    /// without a further call.
    pub fn step(&self) -> Option<DriverId> {
        self.state.borrow_mut().step(None)
    }

    /// Like [`World::step`], but not beyond `limit`: with nothing left to do before it, time is then `limit`.
    pub fn step_until(&self, limit: Instant) -> Option<DriverId> {
        self.state.borrow_mut().step(Some(limit))
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.state.borrow().now
    }

    /// What has happened so far.
    pub fn trace(&self) -> Trace {
        self.state.borrow().trace
    }

    /// Ends a node between two of its steps, with all its drivers. Each peer sees the end of its connection, or a reset.
    pub fn crash(&self, address: IpAddr) {
        self.state.borrow_mut().crash(address);
    }

    /// How many writes of a node's disk are on their way.
    pub fn writes_in_flight(&self, address: IpAddr) -> usize {
        self.state.borrow().writes_in_flight(address)
    }

    /// How many operations of a node's disk have begun, and how many of them are writes.
    pub fn disk_operations(&self, address: IpAddr) -> (u64, u64) {
        self.state.borrow().nodes.get(&address).map_or((0, 0), |node| (node.disk.operations, node.disk.writes))
    }

    /// Starts a crashed node again, with its disk and nothing else.
    ///
    /// # Panics
    /// When the node has not crashed.
    pub fn restart(&self, address: IpAddr) -> MemDriver {
        {
            let mut state = self.state.borrow_mut();
            let node = state.nodes.get_mut(&address).filter(|node| node.crashed);
            node.unwrap_or_else(|| panic!("{address} has not crashed")).crashed = false;
        }
        self.node(address)
    }

    /// Takes everything off a node's disk. Of use only while the node is down.
    pub fn wipe(&self, address: IpAddr) {
        self.with_disk(address, |disk| *disk = Disk::default());
    }

    /// Stops a node between two of its steps; it knows nothing of it.
    pub fn pause(&self, address: IpAddr) {
        self.state.borrow_mut().nodes.entry(address).or_default().paused = true;
    }

    /// Lets a paused node go on.
    pub fn resume(&self, address: IpAddr) {
        self.state.borrow_mut().resume(address);
    }

    /// How much faster than time the clocks of drivers run that the node has from now on, in a million; less than zero is
    /// slower.
    ///
    /// # Panics
    /// When a clock would stand still, or run backwards.
    pub fn set_drift(&self, address: IpAddr, per_million: i32) {
        assert!(per_million > -1_000_000, "clocks go on");
        self.state.borrow_mut().nodes.entry(address).or_default().drift_per_million = per_million;
    }

    /// Cuts the path from one node to another; the opposite path stays.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        self.state.borrow_mut().cuts.insert((from, to));
    }

    /// Cuts both paths between two nodes.
    pub fn partition(&self, a: IpAddr, b: IpAddr) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Opens both paths between two nodes; what was held up arrives now, in order.
    pub fn heal(&self, a: IpAddr, b: IpAddr) {
        self.state.borrow_mut().heal(a, b);
    }

    /// Resets every connection between two nodes, as seen from both ends.
    pub fn reset_connections(&self, a: IpAddr, b: IpAddr) {
        self.state.borrow_mut().reset_connections(a, b);
    }

    /// Makes the next operation of its kind on a node's disk go wrong.
    pub fn inject(&self, address: IpAddr, fault: DiskFault) {
        self.with_disk(address, |disk| disk.once.push(fault));
    }

    /// How often operations of a node's disk go wrong from now on.
    pub fn set_disk_faults(&self, address: IpAddr, faults: DiskFaults) {
        self.with_disk(address, |disk| disk.faults = faults);
    }

    /// How often the network goes wrong from now on.
    pub fn set_network_faults(&self, faults: NetworkFaults) {
        self.state.borrow_mut().faults = faults;
    }

    /// Makes one way different from now on; `None` makes it like all others.
    pub fn set_link(&self, from: IpAddr, to: IpAddr, link: Option<Link>) {
        let links = &mut self.state.borrow_mut().links;
        match link {
            Some(link) => links.insert((from, to), link),
            None => links.remove(&(from, to)),
        };
    }

    /// Puts a file onto a node's disk, whole, instead of one of that name.
    pub fn put_file(&self, address: IpAddr, path: &Path, bytes: &[u8]) {
        self.with_disk(address, |disk| disk.put(path, bytes));
    }

    /// Bounds what can still be prepared on a node's disk; `None` is no bound.
    pub fn set_free_bytes(&self, address: IpAddr, bytes: Option<u64>) {
        self.with_disk(address, |disk| disk.free_bytes = bytes);
    }

    /// Turns one bit of a file over. False when there is no such file.
    pub fn flip_bit(&self, address: IpAddr, path: &Path, offset: u64, bit: u8) -> bool {
        self.with_disk(address, |disk| disk.flip_bit(path, offset, bit))
    }

    fn with_disk<T>(&self, address: IpAddr, change: impl FnOnce(&mut Disk) -> T) -> T {
        change(&mut self.state.borrow_mut().nodes.entry(address).or_default().disk)
    }
}
