//! A network of machines on this one: a network namespace for each, joined by a bridge, from which each can be cut off.
//!
//! Nothing of it has a name in the file system: it is gone with the threads and processes that live in it, however they end.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;

use rustix::thread::{Pid, UnshareFlags, gettid};

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel does not let this process make namespaces.
    #[error("making a network namespace is refused ({0}): this needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN")]
    Refused(io::Error),
    /// A program is missing.
    #[error("cannot run `{program}` ({error}): install {package}")]
    Missing {
        /// Which.
        program: &'static str,
        /// What contains it.
        package: &'static str,
        /// As the system says it.
        error: io::Error,
    },
    /// A program has failed.
    #[error("`{0}`: {1}")]
    Failed(String, String),
}

type Job = Box<dyn FnOnce() + Send>;

/// Machines that reach each other, and the thread that has made them.
#[derive(Debug)]
pub struct Network {
    machines: Vec<Sender<Job>>,
}

const BRIDGE: &str = "bridge";
/// A machine's end of its cable.
const CABLE: &str = "eth0";
/// What passes a link of limited rate at once: several of the largest packets that the kernel hands to a device.
const LINK_BURST: &str = "256kb";
/// How much waits at such a link, in the time that it takes to pass; what comes then is lost, as at a switch.
const LINK_QUEUE: &str = "50ms";

/// The address of the thread that has made the network.
pub const HUB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 213, 0, 254));

impl Network {
    /// Most machines of one network.
    pub const MACHINES_MAX: u16 = 250;

    /// A network of so many machines. The calling thread moves out of the network that it is in into this one, for ever, together with
    /// the threads and processes that it starts from now on.
    ///
    /// # Errors
    /// Namespaces are not permitted, or the program `ip` is missing or fails.
    pub fn start(machines: u16) -> Result<Self, NetworkError> {
        assert!(machines <= Self::MACHINES_MAX, "an address for each");
        leave()?;
        ip("link set lo up")?;
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("addr add {HUB}/24 dev {BRIDGE}"))?;
        ip(&format!("link set {BRIDGE} up"))?;
        let hub = gettid();
        let mut network = Self { machines: Vec::new() };
        for index in 0..usize::from(machines) {
            network.machines.push(inhabit(index, hub)?);
            network.join(index)?;
            ip(&format!("link set {} up", port(index)))?;
        }
        Ok(network)
    }

    /// The address of a machine, counted from 0.
    pub fn address(&self, machine: usize) -> IpAddr {
        assert!(machine < self.machines.len(), "one of the machines");
        address(machine)
    }

    /// Does something on a machine: what it opens or starts belongs there.
    ///
    /// # Panics
    /// When it panics.
    pub fn on<T: Send + 'static>(&self, machine: usize, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (reply, result) = sync_channel(1);
        let job = move || {
            // Whoever asked waits for it.
            let _ = reply.send(job());
        };
        self.machines[machine].send(Box::new(job)).expect("a machine lives as long as the network");
        result.recv().expect("what is done on a machine does not panic")
    }

    /// Cuts a machine off: what it sends, and what is sent to it, is lost without a word.
    ///
    /// # Errors
    /// The program `ip` fails.
    pub fn cut(&self, machine: usize) -> Result<(), NetworkError> {
        ip(&format!("link set {} nomaster", port(machine)))
    }

    /// Joins it to the others, again.
    ///
    /// # Errors
    /// The program `ip` fails.
    pub fn join(&self, machine: usize) -> Result<(), NetworkError> {
        ip(&format!("link set {} master {BRIDGE}", port(machine)))
    }

    /// Gives a machine a link of so many megabits a second, in each direction: token buckets at both ends of its cable.
    ///
    /// # Errors
    /// The program `tc` is missing or fails.
    pub fn limit(&self, machine: usize, megabits_per_s: u32) -> Result<(), NetworkError> {
        let limit = move |device: &str| {
            tc(&format!(
                "qdisc add dev {device} root tbf rate {megabits_per_s}mbit burst {LINK_BURST} latency {LINK_QUEUE}"
            ))
        };
        limit(&port(machine))?;
        self.on(machine, move || limit(CABLE))
    }

    /// Has a machine lose what comes from another one, and nothing else: `nftables`' rule, in the machine's own namespace.
    ///
    /// # Errors
    /// The program `nft` is missing or fails.
    pub fn lose_from(&self, machine: usize, from: IpAddr) -> Result<(), NetworkError> {
        self.on(machine, move || {
            nft("add table inet faults")?;
            nft("add chain inet faults input { type filter hook input priority 0 ; }")?;
            nft(&format!("add rule inet faults input ip saddr {from} drop"))
        })
    }

    /// Has a machine lose a share of what comes from anywhere.
    ///
    /// # Errors
    /// The program `nft` is missing or fails.
    pub fn lose_some(&self, machine: usize, percent: u8) -> Result<(), NetworkError> {
        self.on(machine, move || {
            nft("add table inet faults")?;
            nft("add chain inet faults input { type filter hook input priority 0 ; }")?;
            nft(&format!("add rule inet faults input meta l4proto tcp numgen random mod 100 < {percent} drop"))
        })
    }

    /// Ends what [`Network::lose_from`] and [`Network::lose_some`] have begun on a machine.
    ///
    /// # Errors
    /// The program `nft` is missing or fails.
    pub fn lose_nothing(&self, machine: usize) -> Result<(), NetworkError> {
        self.on(machine, || nft("delete table inet faults"))
    }
}

fn address(machine: usize) -> IpAddr {
    Ipv4Addr::new(10, 213, 0, machine as u8 + 1).into()
}

/// The bridge's end of a machine's cable.
fn port(machine: usize) -> String {
    format!("machine{machine}")
}

/// Starts a thread in a namespace of its own, with a cable to the hub's.
fn inhabit(index: usize, hub: Pid) -> Result<Sender<Job>, NetworkError> {
    let (machine, jobs) = channel::<Job>();
    let (reply, ready) = sync_channel(1);
    let live = move || {
        let _ = reply.send(furnish(index, hub));
        jobs.into_iter().for_each(|job| job());
    };
    let started = thread::Builder::new().name(port(index)).spawn(live);
    started.map_err(NetworkError::Refused)?;
    ready.recv().expect("the thread answers first")?;
    Ok(machine)
}

fn furnish(index: usize, hub: Pid) -> Result<(), NetworkError> {
    leave()?;
    ip("link set lo up")?;
    ip(&format!("link add {CABLE} type veth peer name {} netns {hub}", port(index)))?;
    ip(&format!("addr add {}/24 dev {CABLE}", address(index)))?;
    ip(&format!("link set {CABLE} up"))
}

/// Moves the calling thread into a new network namespace.
#[expect(unsafe_code, reason = "the system call can be misused with other flags")]
fn leave() -> Result<(), NetworkError> {
    // SAFETY: a network namespace of its own changes nothing that other code relies on for its soundness; open sockets stay as they are.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|error| NetworkError::Refused(error.into()))
}

fn ip(arguments: &str) -> Result<(), NetworkError> {
    run("ip", "iproute2", arguments)
}

fn tc(arguments: &str) -> Result<(), NetworkError> {
    run("tc", "iproute2", arguments)
}

fn nft(arguments: &str) -> Result<(), NetworkError> {
    run("nft", "nftables", arguments)
}

fn run(program: &'static str, package: &'static str, arguments: &str) -> Result<(), NetworkError> {
    let output = Command::new(program).args(arguments.split(' ')).output();
    let output = output.map_err(|error| NetworkError::Missing { program, package, error })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NetworkError::Failed(format!("{program} {arguments}"), said))
}
