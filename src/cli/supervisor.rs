//! Nodes as child processes of this one.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::interrupt::Interrupt;
use super::lanes;
use super::serve::Ready;
use crate::base::{ClusterId, Incarnation, Rng};
use crate::io::DriverChoice;
use crate::loadgen::cores::{CoreList, Cores};
use crate::loadgen::network::Network;

/// How long a node may take until it listens: recovery of a large journal included.
const START: Duration = Duration::from_secs(120);
/// How long a node may take to stop in order.
const STOP: Duration = Duration::from_secs(10);
const TURN: Duration = Duration::from_millis(20);
/// Lines of a failed node's log that are shown.
const LOG_LINES: usize = 15;

/// How the nodes are started.
pub(super) struct NodeOptions<'a> {
    pub(super) directory: &'a Path,
    pub(super) cluster: ClusterId,
    pub(super) nodes: u16,
    pub(super) shards: u16,
    pub(super) allow_volatile: bool,
    pub(super) prepare_bytes: Option<u64>,
    pub(super) driver: DriverChoice,
    /// Whether they measure where appends spend their time.
    pub(super) profile: bool,
    /// On how many shards appends of one log may enter.
    pub(super) lanes: u32,
    /// Where the nodes listened before, in order; those for which nothing is given take free ports.
    pub(super) listen: &'a [SocketAddr],
    /// The machines that they run on, if not all on this one.
    pub(super) network: Option<Arc<Network>>,
    /// The cores that the nodes get, if not all.
    pub(super) cores: Option<&'a Cores>,
}

/// Running nodes. Dropping kills what is left of them.
pub(super) struct Supervisor {
    nodes: Vec<NodeProcess>,
}

/// One node. It must be started from a thread that lives as long as the process: the kernel takes the end of that thread
/// for the parent's death.
pub(super) struct NodeProcess {
    child: Child,
    log: PathBuf,
    /// What it was started with.
    arguments: Vec<OsString>,
    place: Place,
    /// Where its threads run; anywhere when none is given.
    cores: Option<CoreList>,
    ready: Option<Ready>,
    reported: bool,
}

/// The machine of a network on which a node runs, by its number; none if it runs where this process does.
type Place = Option<(Arc<Network>, usize)>;

impl Supervisor {
    /// Starts nodes of this program on free ports and waits until all of them listen.
    pub(super) fn start(options: &NodeOptions<'_>, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let mut supervisor = Self { nodes: Vec::new() };
        let ports_until = Instant::now() + PORT_WAIT;
        let mut lines = Vec::new();
        for index in 1..=options.nodes {
            let (node, line) = spawn(options, index, ports_until)?;
            supervisor.nodes.push(node);
            lines.push(line);
        }
        let deadline = Instant::now() + START;
        for (node, line) in supervisor.nodes.iter_mut().zip(lines) {
            node.ready = Some(node.await_ready(&line, deadline, interrupt)?);
        }
        Ok(supervisor)
    }

    /// What the nodes said of themselves.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Ready> {
        self.nodes.iter().filter_map(|node| node.ready.as_ref())
    }

    /// Ends this node, counted from 0, on the spot, as a crash of its process would.
    pub(super) fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        let node = &mut self.nodes[index];
        node.child.kill().context("cannot kill a node")?;
        node.child.wait().context("cannot wait for a node's end")?;
        // Nobody wonders why it has ended.
        node.reported = true;
        Ok(())
    }

    /// Starts a node that was killed again, where it was, and waits until it listens.
    pub(super) fn restart(&mut self, index: usize, interrupt: &Interrupt) -> anyhow::Result<()> {
        let node = &mut self.nodes[index];
        let (child, line) = launch(&node.arguments, &node.log, &node.place, node.cores.as_ref())?;
        (node.child, node.reported) = (child, false);
        node.ready = Some(node.await_ready(&line, Instant::now() + START, interrupt)?);
        Ok(())
    }

    /// Stops this node, as a debugger would, or a machine that hangs: its connections stay, and nothing is answered.
    pub(super) fn pause(&self, index: usize) {
        self.nodes[index].signal(Signal::STOP);
    }

    /// Lets a node that was stopped so go on.
    pub(super) fn resume(&self, index: usize) {
        self.nodes[index].signal(Signal::CONT);
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.child.id()).collect()
    }

    /// Descriptions of the nodes that have ended since the last call.
    pub(super) fn failures(&mut self) -> anyhow::Result<Vec<String>> {
        let mut failures = Vec::new();
        for node in &mut self.nodes {
            if let (Some(status), false) = (node.child.try_wait()?, node.reported) {
                node.reported = true;
                failures.push(node.describe_end(&status.to_string()));
            }
        }
        Ok(failures)
    }

    /// Whether no node is left.
    pub(super) fn all_ended(&self) -> bool {
        self.nodes.iter().all(|node| node.reported)
    }

    /// Stops all nodes in order; those that do not stop in time are killed.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.signal(Signal::CONT);
            node.signal(Signal::TERM);
        }
        let deadline = Instant::now() + STOP;
        while self.nodes.iter_mut().any(|node| matches!(node.child.try_wait(), Ok(None))) {
            if Instant::now() > deadline {
                bail!("a node did not stop within {} s and was killed; its log is in its directory", STOP.as_secs());
            }
            thread::sleep(TURN);
        }
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // A process that has ended already needs no killing, and nothing else can go wrong.
            let _ = node.child.kill();
        }
        for node in &mut self.nodes {
            let _ = node.child.wait();
        }
    }
}

/// Ports below those that the kernel gives to outgoing connections, one of which would be in the way of the next start.
const PORTS: Range<u16> = 10_000..32_000;
/// The port of a node on a machine of its own.
const NETWORK_PORT: u16 = 7000;
/// Tries of a random port.
const PORT_TRIES: usize = 64;
/// How long a port is waited for: the nodes of a program that was killed follow it a moment later.
const PORT_WAIT: Duration = Duration::from_secs(3);

/// Where a node listens: where it did before, because the others know it by that address; else on a port that is free.
fn listen_address(before: &[SocketAddr], index: u16, wait_until: Instant) -> SocketAddr {
    let is_free = |address: SocketAddr| TcpListener::bind(address).is_ok();
    if let Some(&address) = before.get(usize::from(index) - 1) {
        while !is_free(address) && Instant::now() < wait_until {
            thread::sleep(TURN);
        }
        return address;
    }
    let mut random = Rng::with_seed(Incarnation::random().0 as u64);
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut tries = (0..PORT_TRIES).map(|_| local(random.u16(PORTS)));
    tries.find(|address| is_free(*address)).unwrap_or(local(0))
}

/// Starts one node. The receiver gets the first line of its output, and closes when the output does.
fn spawn(
    options: &NodeOptions<'_>,
    index: u16,
    ports_until: Instant,
) -> anyhow::Result<(NodeProcess, Receiver<String>)> {
    let directory = options.directory.join(format!("node-{index}"));
    let log = options.directory.join(format!("node-{index}.log"));
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let place = options.network.clone().map(|network| (network, usize::from(index) - 1));
    let listen = match &place {
        Some((network, machine)) => SocketAddr::from((network.address(*machine), NETWORK_PORT)),
        None => listen_address(options.listen, index, ports_until),
    };
    let listen = listen.to_string();
    let mut arguments: Vec<OsString> =
        ["--json", "serve", "--listen", &listen, "--no-pin", "--exit-with-parent", "--dir"].map(OsString::from).into();
    arguments.push(directory.into());
    arguments.extend(["--cluster-id", &options.cluster.to_string()].map(OsString::from));
    arguments
        .extend(["--shards", &options.shards.to_string(), "--driver", &options.driver.to_string()].map(OsString::from));
    arguments.extend(["--lanes", &lanes::text(options.lanes)].map(OsString::from));
    if !options.profile {
        arguments.push("--no-profile".into());
    }
    if options.allow_volatile {
        arguments.push("--allow-volatile".into());
    }
    if let Some(bytes) = options.prepare_bytes {
        arguments.extend(["--prepare-bytes", &bytes.to_string()].map(OsString::from));
    }
    let cores =
        options.cores.map(|cores| cores.of_node(usize::from(index) - 1, options.nodes.into(), options.shards.into()));
    let (child, line) = launch(&arguments, &log, &place, cores.as_ref())?;
    Ok((NodeProcess { child, log, arguments, place, cores, ready: None, reported: false }, line))
}

/// Starts this program with these arguments, and gives the first line of its output.
fn launch(
    arguments: &[OsString],
    log: &Path,
    place: &Place,
    cores: Option<&CoreList>,
) -> anyhow::Result<(Child, Receiver<String>)> {
    let errors = File::options().create(true).append(true).open(log);
    let errors = errors.with_context(|| format!("cannot write {}", log.display()))?;
    let program = std::env::current_exe().context("cannot find the program's own file")?;
    let mut command = Command::new(program);
    command.args(arguments);
    // The service manager waits for this process, not for one of its nodes.
    command.env_remove("NOTIFY_SOCKET");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
    // A process group of its own, so that Ctrl-C reaches this process alone and it decides the order of the end.
    command.process_group(0);
    let start = move || match place {
        Some((network, machine)) => network.on(*machine, move || command.spawn()),
        None => command.spawn(),
    };
    // A process begins on the cores of the thread that starts it.
    let child = match cores {
        Some(cores) => cores.run(start).with_context(|| format!("cannot run a node on the cores {cores}"))?,
        None => start(),
    };
    let mut child = child.context("cannot start a node")?;
    let output = child.stdout.take().expect("its output is a pipe");
    let (sender, line) = channel();
    thread::Builder::new().name("node-output".to_owned()).spawn(move || {
        let mut text = String::new();
        if BufReader::new(output).read_line(&mut text).is_ok_and(|bytes| bytes > 0) {
            let _ = sender.send(text);
        }
    })?;
    Ok((child, line))
}

impl NodeProcess {
    fn await_ready(
        &mut self,
        line: &Receiver<String>,
        deadline: Instant,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Ready> {
        loop {
            interrupt.check()?;
            match line.recv_timeout(TURN) {
                Ok(text) => {
                    return serde_json::from_str(&text).with_context(|| format!("a node said `{}`", text.trim()));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    bail!("{}", self.describe_end("still starting, and given up"))
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("{}", self.describe_end(&status.to_string()))
                }
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a child has a process id");
        // A child that was not waited for keeps its number, so nobody else can be hit.
        let _ = kill_process(pid, signal);
    }

    fn describe_end(&self, how: &str) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        let name = self.log.file_stem().unwrap_or_default().to_string_lossy();
        let last = if last.is_empty() { "nothing".to_owned() } else { last };
        format!("{name} has ended ({how}); the end of its log {}:\n  {last}", self.log.display())
    }
}
