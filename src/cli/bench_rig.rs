//! What every benchmark stands on: a measured floor, a cluster with prepared space, and a client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::args::Global;
use super::bench_cluster::BenchCluster;
use super::directory::Scratch;
use super::interrupt::Interrupt;
use super::load_args::{Load, SequencerThread};
use super::progress::Progress;
use super::serve::Ready;
use super::stripes::{away, copies, spec};
use super::{dev, exit, lanes, output};
use crate::base::{Limits, quorum};
use crate::client::{Client, ClientOptions, Log, LogletSpec, Stripes, VirtualLog};
use crate::io::DriverChoice;
use crate::loadgen::cores::{CoreList, Cores};
use crate::loadgen::counters::sum;
use crate::loadgen::explain::bytes;
use crate::loadgen::floor::{Floor, measure};
use crate::loadgen::generator::Plan;
use crate::loadgen::machine::{BlockDevice, Machine, commit};
use crate::loadgen::network::Network;
use crate::loadgen::report::{Report, Setup};
use crate::loadgen::run::{Measured, Observer, Target, run};
use crate::node::{SequencerConfig, SequencerNode, raise_descriptors};
use crate::wire::LogletConfig;

/// How long preparing may take for each gibibyte, on a slow disk.
const PREPARE_PER_GIB: Duration = Duration::from_secs(30);
/// How long the sequencer of this process may take to say how it is.
const REPORT_TIME: Duration = Duration::from_secs(5);
/// Descriptors beside those of the clients' connections, generously: standard streams, rings, wake-ups, and the pipes of the nodes.
const DESCRIPTORS_BESIDE: u64 = 64;
/// Share of the free space that a benchmark may fill.
const FREE_SHARE_MAX: f64 = 0.8;

/// Where a benchmark ran, and on what: a part of its report.
#[derive(Serialize)]
pub(super) struct Ran {
    pub(super) nodes: usize,
    pub(super) quorum: usize,
    processes: usize,
    driver: String,
    pub(super) durability: &'static str,
    pub(super) floor_us: Floor,
    pub(super) machine: Machine,
    commit: Option<String>,
    /// Of the payloads.
    seed: u64,
}

/// A cluster to be measured, in a directory of its own.
pub(super) struct Rig<'a> {
    pub(super) floor: Floor,
    pub(super) machine: Machine,
    pub(super) client: Client,
    pub(super) setup: Setup,
    /// In this process, if that is wanted.
    sequencer: Option<SequencerNode>,
    options: &'a Load,
    cluster: BenchCluster,
    /// Last, so that the directory goes after those who write to it.
    scratch: Scratch,
}

impl<'a> Rig<'a> {
    /// Measures the floor, starts the cluster and waits until each node has prepared `journal_bytes`.
    pub(super) fn start(
        options: &'a Load,
        journal_bytes: impl FnOnce(&Floor) -> u64,
        progress: &Progress<'_>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        Self::start_on(None, options, journal_bytes, progress, interrupt)
    }

    /// As [`Rig::start`], each node on a machine of a network of its own.
    pub(super) fn start_on(
        network: Option<Arc<Network>>,
        options: &'a Load,
        journal_bytes: impl FnOnce(&Floor) -> u64,
        progress: &Progress<'_>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        options.site.driver.driver.resolve()?;
        lanes::check(options.lanes, options.shards, options.embedded_sequencer.is_some())?;
        let stripes = options.stripes()?;
        check_descriptors(options, stripes, raise_descriptors())?;
        let scratch = Scratch::create(&options.site.place)?;
        progress.step("floor", 0.0, "measuring the disk and the loopback");
        // The floor of all cores that take part, and of no others.
        let (floor, machine) = on(options.cores.as_ref().map(Cores::all), || {
            (measure(scratch.path(), options.site.nodes.into()), Machine::describe(scratch.path()))
        })?;
        let floor = floor.with_context(|| format!("measure the floor in {}", scratch.path().display()))?;
        let floor = floor.with_round_trips(if options.embedded_sequencer.is_some() { 1 } else { 2 });
        interrupt.check()?;
        let prepare_bytes = space(options, journal_bytes(&floor), &scratch)?;
        let cluster = BenchCluster::start(options, &scratch, prepare_bytes, network, interrupt)?;
        let (client, sequencer) = on(options.load_cores(), || start_client(options, &cluster))??;
        let statuses = await_prepared(&client, &cluster, prepare_bytes, progress, interrupt)?;
        let setup = Setup {
            sequencer: match options.embedded_sequencer {
                None => "node",
                Some(SequencerThread::Client) => "embedded",
                Some(SequencerThread::Own) => "embedded-own-thread",
            },
            driver: text(&statuses, "driver").context("no node says in its status which driver it uses")?,
            durability: if scratch.volatile { "volatile" } else { "quorum-dsync" },
            processes: 1 + cluster.pids().len(),
            nodes: options.site.nodes.into(),
            quorum: quorum(copies(stripes, options.site.nodes.into())),
            stripes: stripes.count,
            idle_stripes: if options.near { away(&spec(stripes, cluster.ready(), 0)) } else { 0 },
            clients: options.clients as usize,
            prepared_bytes: prepared(&statuses),
            commit: commit(),
        };
        Ok(Self { floor, machine, client, setup, sequencer, options, cluster, scratch })
    }

    /// How the nodes and the clients were told to do input and output.
    pub(super) fn driver(&self) -> DriverChoice {
        self.options.site.driver.driver
    }

    /// Where the nodes keep their data.
    pub(super) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Creates a log; `number` must be new.
    pub(super) fn create_log(&self, number: u64) -> anyhow::Result<Target> {
        let Some(sequencer) = &self.sequencer else {
            return self.create_log_on(self.cluster.ready(), self.options.stripes()?, number);
        };
        let sequencer = sequencer.sequencer();
        let loglet = LogletConfig { sequencer, ..dev::loglet(self.cluster.ready(), number) };
        let mut target = self.target(loglet.into())?;
        target.nodes.push(sequencer.address);
        Ok(target)
    }

    /// Creates a log on some of the nodes; `number` must be new.
    pub(super) fn create_log_on(&self, nodes: &[Ready], stripes: Stripes, number: u64) -> anyhow::Result<Target> {
        self.target(spec(stripes, nodes, number))
    }

    fn target(&self, loglet: LogletSpec) -> anyhow::Result<Target> {
        self.client.create(&loglet, self.cluster.id()).context("cannot create the log")?;
        Ok(Target {
            loglet,
            cluster: self.cluster.id(),
            nodes: self.cluster.addresses(),
            server_pids: self.cluster.pids(),
            device: BlockDevice::of(self.scratch.path()).ok(),
        })
    }

    /// Creates a loglet, and opens it without a chain.
    pub(super) fn open_loglet(&self, config: &LogletConfig) -> anyhow::Result<Log> {
        let log = self.client.open(config, self.cluster.id());
        log.create().context("cannot create the loglet")?;
        Ok(log)
    }

    /// Begins a cluster with all nodes, and creates a virtual log on all of them.
    pub(super) fn create_virtual_log(&self, name: &str) -> anyhow::Result<VirtualLog> {
        self.create_striped_log(name, 1)
    }

    /// As [`Rig::create_virtual_log`], over so many stripes.
    pub(super) fn create_striped_log(&self, name: &str, stripes: usize) -> anyhow::Result<VirtualLog> {
        let addresses = self.addresses();
        self.client.begin_cluster(self.cluster.id(), &addresses).context("cannot begin the cluster")?;
        let cluster = self.client.cluster(&addresses).context("cannot find the cluster")?;
        cluster.found().context("cannot write the list of nodes")?;
        let stripes = Stripes { count: stripes, sharded: false };
        cluster.create_striped_log(name, addresses.len(), stripes).context("cannot create the log")
    }

    /// The nodes.
    pub(super) fn cluster(&self) -> &BenchCluster {
        &self.cluster
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.cluster.addresses()
    }

    /// Puts a load on a log that is still empty, and reads everything back.
    pub(super) fn load(
        &self,
        target: &Target,
        plan: &Plan,
        clients: u32,
        observer: &mut dyn Observer,
    ) -> anyhow::Result<Measured> {
        let measured = on(self.options.load_cores(), || run(&self.client, target, plan, clients as usize, observer))?;
        measured.map_err(|error| self.explain(error.into()))
    }

    /// A node that has ended explains more than the client's error does.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        self.cluster.explain(error)
    }

    /// What a load amounts to.
    pub(super) fn report(&self, plan: &Plan, clients: u32, measured: &Measured) -> Report {
        let setup = Setup { clients: clients as usize, ..self.setup.clone() };
        Report::new(&setup, plan, measured, self.floor, self.machine.clone())
    }

    /// For the report of a benchmark that has one of its own.
    pub(super) fn ran(&self, plan: &Plan) -> Ran {
        let Setup { nodes, quorum, processes, durability, ref driver, ref commit, .. } = self.setup;
        let (floor_us, machine, seed) = (self.floor.rounded(), self.machine.clone(), plan.seed);
        Ran {
            nodes,
            quorum,
            processes,
            driver: driver.clone(),
            durability,
            floor_us,
            machine,
            commit: commit.clone(),
            seed,
        }
    }

    /// What every node says of itself, the one that only sequences included.
    pub(super) fn statuses(&self) -> anyhow::Result<Vec<Value>> {
        let mut statuses = statuses(&self.client, &self.cluster)?;
        statuses.extend(self.sequencer.as_ref().map(|sequencer| sequencer.reporter().report(REPORT_TIME)));
        Ok(statuses)
    }

    /// Ends the cluster.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        // Before those that it stores on.
        drop(self.sequencer);
        self.cluster.stop()?;
        if self.options.site.place.keep {
            output::note(format_args!("the data is kept in {}", self.scratch.path().display()));
        }
        Ok(())
    }

    /// Ends the nodes when the benchmark is over, and prints its report: as an object, or as `text` puts it.
    pub(super) fn conclude<R: Serialize>(
        self,
        global: &Global,
        progress: &Progress<'_>,
        report: anyhow::Result<R>,
        text: impl FnOnce(&R) -> String,
    ) -> anyhow::Result<R> {
        let report = report.map_err(|error| self.explain(error));
        progress.clear();
        let report = report?;
        self.stop()?;
        if global.json {
            output::json(&report)?;
        } else {
            output::text(text(&report))?;
        }
        Ok(report)
    }
}

/// The client, and the sequencer of this process if there is to be one.
fn start_client(options: &Load, cluster: &BenchCluster) -> anyhow::Result<(Client, Option<SequencerNode>)> {
    let driver = options.site.driver.driver;
    let limits = Limits { profile: !options.no_profile, ..Limits::default() };
    let of_sequencer = SequencerConfig { limits: limits.clone(), driver, ..SequencerConfig::new(cluster.id()) };
    let near = options.near.then(|| cluster.ready()[0].node);
    let of_client = ClientOptions { limits, driver, near, ..ClientOptions::default() };
    let (cannot, cannot_sequence) = ("cannot start the client", "cannot start the sequencer");
    Ok(match options.embedded_sequencer {
        None => (Client::start(of_client).context(cannot)?, None),
        Some(SequencerThread::Client) => {
            let started = SequencerNode::start_with_client(of_sequencer, of_client);
            let (sequencer, client) = started.context(cannot_sequence)?;
            (client, Some(sequencer))
        }
        Some(SequencerThread::Own) => {
            let sequencer = SequencerNode::start(of_sequencer).context(cannot_sequence)?;
            let of_client = ClientOptions { collocated: Some(sequencer.collocated()), ..of_client };
            (Client::start(of_client).context(cannot)?, Some(sequencer))
        }
    })
}

/// Acts on these cores, or where it is.
pub(super) fn on<T>(cores: Option<CoreList>, act: impl FnOnce() -> T) -> anyhow::Result<T> {
    match cores {
        Some(cores) => cores.run(act).with_context(|| format!("cannot run on the cores {cores}")),
        None => Ok(act()),
    }
}

/// Refuses more connections than this process may have open: it would come to an end in the middle of the load.
fn check_descriptors(options: &Load, stripes: Stripes, limit: u64) -> anyhow::Result<()> {
    let (clients, count) = (u64::from(options.clients), stripes.count as u64);
    let each = match count {
        1 => 1,
        // To its sequencer, and to each of its LogServers.
        stripes_of_it => stripes_of_it * (1 + copies(stripes, options.site.nodes.into()) as u64),
    };
    // Both ends are here where the nodes are.
    let ends = if options.in_process { 2 } else { 1 };
    let needed = DESCRIPTORS_BESIDE + clients * each * ends;
    if needed <= limit {
        return Ok(());
    }
    Err(exit::coded(
        exit::USAGE,
        format!(
            "--clients {clients} with --stripes {count} need {needed} open descriptors, and the limit is {limit}: ask for fewer, or \
             raise it with `ulimit -n`"
        ),
    ))
}

/// Journal bytes to prepare on each node; fails when the disk has no room for all of them.
fn space(options: &Load, estimate: u64, scratch: &Scratch) -> anyhow::Result<u64> {
    let wanted = options.prepare_bytes.unwrap_or(estimate);
    let limits = Limits::default();
    let segments = wanted.div_ceil(limits.segment_bytes);
    // One segment is in use, and the next life needs a reserve of its own: the rest is the most that can be prepared.
    let most = u64::from(limits.segments_max - limits.segments_prepared - 1);
    let wanted = limits.segment_bytes * segments.clamp(limits.segments_prepared.into(), most);
    let (all, free) = (wanted * u64::from(options.site.nodes), scratch.free_bytes()?);
    if all as f64 > free as f64 * FREE_SHARE_MAX {
        return Err(exit::coded(
            exit::USAGE,
            format!(
                "{} has {} free, and the load wants to prepare {}; name another directory with --dir, or less with \
                 --prepare-bytes or --seconds",
                scratch.path().display(),
                bytes(free as f64),
                bytes(all as f64)
            ),
        ));
    }
    Ok(wanted)
}

/// Bytes that the nodes have prepared; zero when none says.
fn prepared(statuses: &[Value]) -> u64 {
    statuses.iter().filter_map(|status| sum(status, "prepared_bytes")).sum()
}

fn statuses(client: &Client, cluster: &BenchCluster) -> anyhow::Result<Vec<Value>> {
    cluster
        .addresses()
        .into_iter()
        .map(|node| client.status(node).with_context(|| format!("node {node} does not report its status")))
        .collect::<anyhow::Result<Vec<_>>>()
        .map_err(|error| cluster.explain(error))
}

/// Waits until every node has prepared what it was told, and gives their status.
fn await_prepared(
    client: &Client,
    cluster: &BenchCluster,
    prepare_bytes: u64,
    progress: &Progress<'_>,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Value>> {
    let nodes = cluster.addresses().len() as u64;
    let all = prepare_bytes * nodes;
    let deadline = Instant::now() + PREPARE_PER_GIB * (1 + (all >> 30) as u32);
    loop {
        let statuses = statuses(client, cluster)?;
        if statuses.iter().any(|status| sum(status, "prepared_bytes").is_none()) {
            anyhow::bail!("a node does not say in its status how much it has prepared (`prepared_bytes`)");
        }
        let ready = prepared(&statuses);
        // A journal's segment in use was prepared too, and is not counted any more.
        if ready + Limits::default().segment_bytes * nodes >= all {
            return Ok(statuses);
        }
        if Instant::now() > deadline {
            anyhow::bail!("the nodes have prepared only {} of {} in time", bytes(ready as f64), bytes(all as f64));
        }
        progress.step(
            "preparing",
            ready as f64 / all as f64,
            format!("{} of {}", bytes(ready as f64), bytes(all as f64)),
        );
        if interrupt.wait(Duration::from_millis(50)) {
            return Err(exit::interrupted());
        }
    }
}

/// The first text of this name at the top of the nodes' status.
fn text(statuses: &[Value], name: &str) -> Option<String> {
    statuses.iter().find_map(|status| Some(status.get(name)?.as_str()?.to_owned()))
}
