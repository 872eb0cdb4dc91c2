//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use super::bench_paper::PaperOptions;
use super::bench_profile::ProfileLoad;
use super::bench_stall::StallLoad;
use super::bench_sweep::SweepOptions;
use super::bench_tail::TailLoad;
use super::load_args::Load;
use super::log::LogCommand;
use super::metastore::MetaStoreChoice;
use super::status_latency::StatusOptions;
use super::{exit, help};
use crate::base::ClusterId;
use crate::client::shown_name;
use crate::io::DriverChoice;
use crate::sim::Profile;

/// A replicated, durable, totally ordered log.
#[derive(Debug, Parser)]
#[command(name = "naxos", version, after_help = exit::HELP, max_term_width = 110)]
#[command(after_long_help = long_help())]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// The cluster file, as written by `naxos dev`, or the directory that holds it [default: $NAXOS_CLUSTER, else
    /// ./naxos-dev/cluster.json]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) cluster: Option<PathBuf>,
    /// The log, by its name [default: the default log of the cluster file]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) log: Option<String>,
    /// Print results as JSON, one object on one line; errors too, on standard error
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// How long one operation may take before it fails
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(super) timeout: f64,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a whole cluster on this machine, in the foreground, with a log named `default`
    #[command(after_long_help = help::DEV)]
    Dev(Dev),
    /// Run one node
    #[command(after_long_help = help::SERVE)]
    Serve(Serve),
    /// Begin a cluster with nodes that run, or find one
    #[command(after_long_help = help::CLUSTER)]
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Show the nodes of a cluster, and take them out of it
    #[command(after_long_help = help::NODE)]
    Node {
        #[command(subcommand)]
        command: NodeCommand,
    },
    /// Append records: from the arguments, from a file, or from standard input, one a line
    #[command(after_long_help = help::APPEND)]
    Append(Append),
    /// Write records to standard output exactly as they were appended, each followed by a newline
    #[command(after_long_help = help::READ)]
    Read(Read),
    /// Show where the log ends
    #[command(after_long_help = help::TAIL)]
    Tail,
    /// Create logs, and look at and change what they are made of
    #[command(after_long_help = help::LOG)]
    Log {
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Say what blocks the appends or the reads of a log, since when, and who can change it
    #[command(after_long_help = help::WHY)]
    Why(OneLog),
    /// Give up the beginning of the log
    #[command(after_long_help = help::TRIM)]
    Trim(Trim),
    /// Show what is wrong, and the state of every node and log
    #[command(after_long_help = help::STATUS)]
    Status(StatusOptions),
    /// Look at the data directory of a node that is not running: what is in it, what its next start will make of it, and
    /// every damage with its place and meaning. Nothing is written
    #[command(after_long_help = help::INSPECT)]
    Inspect(Inspect),
    /// Measure: a cluster of its own in a temporary directory, appends, reads back, compares with the hardware
    #[command(after_long_help = help::BENCH)]
    Bench(Bench),
    /// Try the protocols: whole clusters in one thread, in virtual time, under faults drawn from a seed. Touches no disk and no
    /// network
    #[command(after_long_help = help::SIM)]
    Sim(Sim),
    /// Write the manual pages of all commands into a directory
    #[command(after_long_help = help::MAN)]
    Man(Man),
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Where the pages go; made if it does not exist
    #[arg(value_name = "DIR")]
    pub(super) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Sim {
    /// Run this seed alone [default: a random one, which the result names]
    #[arg(long, value_name = "N", conflicts_with = "seeds", allow_hyphen_values = true, value_parser = seed)]
    pub(super) seed: Option<u64>,
    /// Run the seeds 0 to COUNT - 1, on all cores
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) seeds: Option<u64>,
    /// What goes wrong
    #[arg(long, value_name = "PROFILE", default_value = "mixed", value_parser = profile_parser())]
    pub(super) profile: Profile,
    /// Operations of the clients in each run
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) ops: u64,
    /// Nodes of each cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(super) nodes: u16,
    /// Fail also when a branch of the protocol was never taken: a thousand seeds of the default profile take all
    #[arg(long, requires = "seeds")]
    pub(super) all_branches: bool,
    /// Break this rule, to see whether that is noticed
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME", value_parser = mutant_parser())]
    pub(super) mutant: Option<crate::base::mutants::Mutant>,
    /// Write everything that happens to standard output; with --seed
    #[arg(long, requires = "seed", conflicts_with_all = ["json", "seeds"])]
    pub(super) trace: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Make a cluster of these nodes, all of which have to run, and write its cluster file
    Init(InitCluster),
    /// Write the cluster file of the cluster that these nodes belong to; one that answers is enough
    Find(FindCluster),
}

#[derive(Debug, Args)]
pub(super) struct FindCluster {
    /// Addresses of nodes
    #[arg(value_name = "ADDRESS", required = true, num_args = 1..=31)]
    pub(super) nodes: Vec<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Show the nodes: where they are, whether they answer, and what they may be used for
    List,
    /// Prepare a node for its end: nothing new is placed on it, and logs that append to it go on without it
    Drain(OneNode),
    /// Take a node back into use
    Undrain(OneNode),
    /// Take a node that has been drained, and that nothing names any more, out of the cluster
    Remove(OneNode),
}

#[derive(Debug, Args)]
pub(super) struct OneNode {
    /// The beginning of its identity, or its address
    #[arg(value_name = "NODE")]
    pub(super) node: String,
}

#[derive(Debug, Args)]
pub(super) struct InitCluster {
    /// The address of each node, as the others reach it
    #[arg(value_name = "ADDRESS", required = true, num_args = 1..=31)]
    pub(super) nodes: Vec<SocketAddr>,
}

#[derive(Debug, Args)]
pub(super) struct OneLog {
    /// The log [default: --log, else the default log of the cluster file]
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
}

impl OneLog {
    /// The log that is meant, if one is named.
    pub(super) fn name<'a>(&'a self, global: &'a Global) -> anyhow::Result<Option<&'a str>> {
        only_log(self.name.as_deref(), global)
    }
}

/// The log that is meant, where a command takes its name as `--log` and in a place of its own; refuses two of them.
pub(super) fn only_log<'a>(name: Option<&'a str>, global: &'a Global) -> anyhow::Result<Option<&'a str>> {
    match (name, global.log.as_deref()) {
        (Some(name), Some(other)) if name != other => {
            let (name, other) = (shown_name(name), shown_name(other));
            Err(exit::coded(exit::USAGE, format!("`{name}` and --log `{other}` are two logs: name one")))
        }
        (name, other) => Ok(name.or(other)),
    }
}

#[derive(Debug, Args)]
pub(super) struct Dev {
    /// Where the nodes keep their data, and where the cluster file is written
    #[arg(long, value_name = "DIR", default_value = "naxos-dev")]
    pub(super) dir: PathBuf,
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=15))]
    pub(super) nodes: u16,
    /// Shards of each node
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) shards: u16,
    /// Allow a directory in memory, where acknowledged records are lost with the power
    #[arg(long)]
    pub(super) allow_volatile: bool,
    #[command(flatten)]
    pub(super) driver: Driver,
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print the configuration that would be used, as a file with every key explained, and exit
    #[arg(long)]
    pub(super) print_config: bool,
    /// Where the node keeps its data: a directory on a disk
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// A block device for the node's journals, instead of files in --dir: a disk or a partition with nothing on it. It belongs to
    /// the node from its first start on, and is named at each
    #[arg(long, value_name = "PATH")]
    pub(super) device: Option<PathBuf>,
    /// Lose what the device carries, when a new node is made on it. A device that is mounted or in use is refused all the same
    #[arg(long)]
    pub(super) destroy: bool,
    /// Come to the cluster that the nodes at these addresses belong to; one that answers is enough. A node that is in it already tells
    /// it where it is now
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    pub(super) join: Vec<SocketAddr>,
    /// Begin a cluster of this many nodes, all of which are started so, with the same --peers, and with no or the same --cluster-id
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=31))]
    pub(super) bootstrap_expect: Option<u16>,
    /// The addresses of all of them, this one among them
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    pub(super) peers: Vec<SocketAddr>,
    /// What the node fails together with, such as a rack: copies are spread over zones; with --join or --bootstrap-expect
    #[arg(long, value_name = "ZONE")]
    pub(super) zone: Option<String>,
    /// Where the registers are kept that say which nodes and logs there are: `paxos`, by the nodes, or `file:DIR`, in files of this
    /// machine, for a cluster of one node, which begins it at its first start [default: paxos]
    #[arg(long, value_name = "STORE")]
    pub(super) metastore: Option<MetaStoreChoice>,
    /// The cluster that the node belongs to: 32 hexadecimal digits, the same for all its nodes; those that begin a cluster with their
    /// peers, or join one, need not be told
    #[arg(long, value_name = "ID")]
    pub(super) cluster_id: Option<ClusterId>,
    /// Address to listen on; port 0 takes a free one. There is no TLS yet: keep it on a network that you trust [default:
    /// 127.0.0.1:4100]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
    /// Address of the admin endpoint, with /metrics, /status and /healthz over HTTP, such as 127.0.0.1:4101; it has no
    /// authentication [default: off]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin: Option<SocketAddr>,
    /// Shards [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) shards: Option<u16>,
    /// Do not pin shards to cores; for several nodes on one machine
    #[arg(long)]
    pub(super) no_pin: bool,
    /// Do not measure where appends spend their time
    #[arg(long)]
    pub(super) no_profile: bool,
    /// On how many shards appends of one log may enter while it is sequenced here, or `all` [default: 1]
    #[arg(long, value_name = "N|all", value_parser = super::lanes::parse)]
    pub(super) lanes: Option<u32>,
    /// Allow a directory in memory, where acknowledged records are lost with the power
    #[arg(long)]
    pub(super) allow_volatile: bool,
    /// Take no part in healing the cluster's logs
    #[arg(long)]
    pub(super) no_control: bool,
    /// Journal bytes to prepare at the start, instead of the usual reserve
    #[arg(long, value_name = "BYTES")]
    pub(super) prepare_bytes: Option<u64>,
    /// How to do input and output: `auto` is io_uring, or epoll where io_uring is refused [default: auto]
    #[arg(long, value_name = "DRIVER", value_parser = driver_parser())]
    pub(super) driver: Option<DriverChoice>,
    /// Stop when standard input ends or the parent process dies
    #[arg(long, hide = true)]
    pub(super) exit_with_parent: bool,
}

#[derive(Debug, Args)]
pub(super) struct Append {
    /// Records; without any, and without --from, they are read from standard input
    #[arg(value_name = "RECORD")]
    pub(super) records: Vec<OsString>,
    /// A file of records, one a line; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "records")]
    pub(super) from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Read {
    /// First position [default: the oldest record kept]
    #[arg(long, value_name = "POSITION")]
    pub(super) from: Option<u64>,
    /// Stop after this many records
    #[arg(long, value_name = "RECORDS")]
    pub(super) count: Option<u64>,
    /// Wait for more records at the end of the log
    #[arg(long)]
    pub(super) follow: bool,
    /// Write the bytes of the records and nothing between them
    #[arg(long, conflicts_with = "json")]
    pub(super) raw: bool,
}

#[derive(Debug, Args)]
pub(super) struct Trim {
    /// First position to keep
    #[arg(value_name = "POSITION")]
    pub(super) point: u64,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The node's directory, as given to `naxos serve --dir`; of `naxos dev`, one of its node directories
    #[arg(value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// The device that its journals are on, as given to `naxos serve --device`
    #[arg(long, value_name = "PATH")]
    pub(super) device: Option<PathBuf>,
    /// Show every segment file
    #[arg(long)]
    pub(super) segments: bool,
    /// Show every unit, one row each; at most a million
    #[arg(long)]
    pub(super) units: bool,
    /// Show the units of this segment alone
    #[arg(long, value_name = "NUMBER", requires = "units")]
    pub(super) segment: Option<u64>,
    /// Show every loglet and its holes
    #[arg(long)]
    pub(super) loglets: bool,
    /// Show every cell
    #[arg(long)]
    pub(super) cells: bool,
    /// Look even though a node runs on the directory: the ends of its journals may look torn, or damaged
    #[arg(long)]
    pub(super) live: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Bench {
    #[command(subcommand)]
    pub(super) command: Option<BenchCommand>,
    #[command(flatten)]
    pub(super) load: Load,
}

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Append under load, and read everything back
    Append(Load),
    /// Append under load, and see where the time of an append goes, stage by stage
    Profile(ProfileLoad),
    /// Append under every load of a matrix, again and again, and keep all results in a directory
    #[command(after_long_help = help::SWEEP)]
    Sweep(SweepOptions),
    /// Catch up with a log from the disk, and see what readers cost those who append
    Read(ReadLoad),
    /// Append from one client, and see how soon another one, which subscribes, has each record
    Tail(TailLoad),
    /// Replace the loglet of a log again and again while it is appended to
    Reconfigure(ReconfigureLoad),
    /// Kill, stop or cut off the node of a log's sequencer again and again while the log is appended to
    Failover(FailoverLoad),
    /// Stop one of the LogServers for a while, and see what that does to appends at half of the peak
    Stall(StallLoad),
    /// Append to a virtual log and to a bare loglet in turn, and see what the chain costs
    Virtualization(VirtualizationLoad),
    /// Open, show, read and trim a log of many chain segments
    Chain(ChainLoad),
    /// Repeat what the Delos publication has measured, on this machine, with the published figures beside
    #[command(after_long_help = help::PAPER)]
    Paper(PaperOptions),
    /// Only measure what the disk and the loopback can do
    Floor(FloorOptions),
}

#[derive(Debug, Clone, Args)]
pub(super) struct ReadLoad {
    /// How long the log that is read is filled; the rate of the filling is the peak that appends beside readers are offered a
    /// share of
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub(super) fill: f64,
    /// Measured time of each load of appends
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub(super) seconds: f64,
    /// How often each is measured; the medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) rounds: u16,
    /// Size of every record; at least 24, which tell where it comes from
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(super) record_bytes: usize,
    /// Connections of the appends
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(super) clients: u32,
    /// Appends a second beside the readers [default: a quarter of the rate of the filling]
    #[arg(long, value_name = "APPENDS_PER_S", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// Slow subscribers beside the appends: every second one never takes what comes, the others 10 deliveries a second
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) subscribers: u16,
    /// Journal bytes of each node to prepare before the load [default: estimated from the floor]
    #[arg(long, value_name = "BYTES")]
    pub(super) prepare_bytes: Option<u64>,
    #[command(flatten)]
    pub(super) site: Site,
}

/// What becomes of the sequencer's node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Fault {
    /// Its process is killed
    Kill,
    /// Its process is stopped (SIGSTOP): its connections stay, and nothing is answered
    Stop,
    /// Its machine, a network namespace, is cut off: what is sent is lost; needs root
    Blackhole,
    /// Nothing: a calm run in which nobody may be replaced, with busy processors
    None,
}

#[derive(Debug, Clone, Args)]
pub(super) struct FailoverLoad {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(3..=15))]
    pub(super) nodes: u16,
    /// What becomes of the node
    #[arg(long, value_enum, default_value_t = Fault::Kill)]
    pub(super) fault: Fault,
    /// Stripes of the log, of which one loses its sequencer
    #[arg(long, default_value_t = 1, value_parser = super::stripes::parse)]
    pub(super) stripes: u8,
    /// How often [default: 20]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) rounds: Option<u16>,
    /// With `--fault none`: how long [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) calm: Option<f64>,
    /// With `--fault none`: threads that keep the processors busy beside the load [default: one for each processor]
    #[arg(long, value_name = "THREADS")]
    pub(super) busy: Option<u16>,
    /// Appends a second, from one client
    #[arg(long, value_name = "APPENDS_PER_S", default_value = "5000", value_parser = rate)]
    pub(super) rate: f64,
    #[command(flatten)]
    pub(super) driver: Driver,
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ReconfigureLoad {
    /// How many extends
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) rounds: u16,
    /// Time from the end of one to the next
    #[arg(long, value_name = "SECONDS", default_value = "0.1", value_parser = seconds)]
    pub(super) pause: f64,
    /// Share of the measured peak that is offered meanwhile
    #[arg(long, value_name = "SHARE", default_value = "0.55", value_parser = share)]
    pub(super) share: f64,
    /// Size of every record; at least 8, its number
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(super) record_bytes: usize,
    /// Journal bytes of each node to prepare before the load [default: estimated from the floor]
    #[arg(long, value_name = "BYTES")]
    pub(super) prepare_bytes: Option<u64>,
    #[command(flatten)]
    pub(super) site: Site,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ChainLoad {
    /// How many segments
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    pub(super) segments: u16,
    /// Records in each of them
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) records: u32,
    /// Size of every record; at least 8, its number
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(super) record_bytes: usize,
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) rounds: u16,
    /// Journal bytes of each node to prepare before the load [default: what the records take]
    #[arg(long, value_name = "BYTES")]
    pub(super) prepare_bytes: Option<u64>,
    #[command(flatten)]
    pub(super) site: Site,
}

#[derive(Debug, Clone, Args)]
pub(super) struct VirtualizationLoad {
    /// How many pairs of blocks, of 100 ms each: as many with one append in flight as with many
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) pairs: u16,
    /// Appends in flight in the blocks that measure throughput
    #[arg(long, default_value_t = 2500, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(super) inflight: u32,
    /// Size of every record; at least 8, its number
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(super) record_bytes: usize,
    /// Compare two bare loglets instead, to see what the comparison shows where there is no difference
    #[arg(long)]
    pub(super) null: bool,
    /// Journal bytes of each node to prepare before the load [default: estimated from the floor]
    #[arg(long, value_name = "BYTES")]
    pub(super) prepare_bytes: Option<u64>,
    #[command(flatten)]
    pub(super) site: Site,
}

/// Where a benchmark runs, and on how much.
#[derive(Debug, Clone, Args)]
pub(super) struct Site {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=15))]
    pub(super) nodes: u16,
    #[command(flatten)]
    pub(super) driver: Driver,
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Debug, Clone, Args)]
pub(super) struct FloorOptions {
    /// How many nodes, and so copies
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=15))]
    pub(super) nodes: u16,
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Place {
    /// Directory to make the temporary directory in; made if it does not exist, and removed with it [default: $TMPDIR or /tmp if it is on a disk,
    /// else the current one]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Keep the temporary directory
    #[arg(long)]
    pub(super) keep: bool,
    /// Allow a directory in memory; the result says that it is not durable
    #[arg(long)]
    pub(super) allow_volatile: bool,
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Driver {
    /// How to do input and output: `auto` is io_uring, or epoll where io_uring is refused
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = driver_parser())]
    pub(super) driver: DriverChoice,
}

#[cfg(feature = "mutants")]
fn mutant_parser() -> impl TypedValueParser<Value = crate::base::mutants::Mutant> {
    use crate::base::mutants::Mutant;
    PossibleValuesParser::new(Mutant::ALL.iter().map(|mutant| mutant.name()))
        .map(|name| *Mutant::ALL.iter().find(|mutant| mutant.name() == name).expect("one of the possible values"))
}

fn profile_parser() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::NAMES).try_map(|name| name.parse::<Profile>())
}

/// A decimal number.
fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a number from 0 to {}", u64::MAX))
}

fn driver_parser() -> impl TypedValueParser<Value = DriverChoice> {
    PossibleValuesParser::new(DriverChoice::NAMES).try_map(|name| name.parse::<DriverChoice>())
}

/// Examples, environment and exit codes.
fn long_help() -> String {
    format!("{}\n{}", help::NAXOS, exit::HELP)
}

fn positive(text: &str, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= most => Ok(value),
        Ok(_) => Err(format!("it must be above 0 and at most {most}")),
        Err(_) => Err("it is not a number".to_owned()),
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    positive(text, 86_400.0)
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    positive(text, 1.0)
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    positive(text, 1e8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn json_may_stand_first_or_last() {
        for line in ["naxos --json bench append", "naxos bench append --json", "naxos bench --json"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert!(arguments.global.json, "{line}");
        }
    }
}
