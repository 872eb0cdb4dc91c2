//! What every benchmark with a load is told.

use std::path::PathBuf;

use clap::Args;

use super::args::{Site, rate, seconds};
use super::{exit, stripes};
use crate::client::Stripes;
use crate::loadgen::cores::{CoreList, Cores};

/// The least that a load may keep: a record of any size.
const TRIM_BEHIND_MIN: u64 = 1 << 20;

/// The most that one may: behind more, nothing is ever trimmed. A journal has up to 512 segments of 64 MiB, and a log 64 stripes.
const TRIM_BEHIND_MAX: u64 = 1 << 41;

/// A load on a log, and the cluster that it goes to.
#[derive(Debug, Clone, Args)]
pub(super) struct Load {
    /// Measured time
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = seconds)]
    pub(super) seconds: f64,
    /// Load before the measured time
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(super) warm_up: f64,
    /// Size of every record; at least 24, which tell where it comes from
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(super) record_bytes: usize,
    /// Connections
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(super) clients: u32,
    /// Closed loop: appends in flight on each connection
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) inflight: u32,
    /// Open loop: appends a second over all connections, whatever the cluster does
    #[arg(long, value_name = "APPENDS_PER_S", conflicts_with = "inflight", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// Give the thread that makes the appends of an open loop real-time priority, so that it is not late where it shares processors with the
    /// nodes: needs root, CAP_SYS_NICE or `ulimit -r`
    #[arg(long, requires = "rate")]
    pub(super) realtime: bool,
    /// Shards of each node
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) shards: u16,
    /// On how many shards of the sequencer's node appends enter, or `all`
    #[arg(long, value_name = "N|all", default_value = "1", value_parser = super::lanes::parse)]
    pub(super) lanes: u32,
    /// Journal bytes of each node to prepare before the load [default: estimated from the floor]
    #[arg(long, value_name = "BYTES")]
    pub(super) prepare_bytes: Option<u64>,
    /// Keep about so many payload bytes of the log: what is older is trimmed while the load goes on, so that it writes into segments that
    /// were used before and may go on for longer than there is space. What was trimmed is not read back
    #[arg(long, value_name = "BYTES", conflicts_with = "check_history", value_parser = clap::value_parser!(u64).range(TRIM_BEHIND_MIN..=TRIM_BEHIND_MAX))]
    pub(super) trim_behind: Option<u64>,
    /// Seed of the payloads [default: a random one, which the result names]
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Run the nodes in this process instead of child processes
    #[arg(long)]
    pub(super) in_process: bool,
    /// Stripes of the log: so many sequencers on different nodes, over which its appends go in turns
    #[arg(long, default_value_t = 1, value_parser = stripes::parse)]
    pub(super) stripes: u8,
    /// Give each stripe nodes of its own, of which there have to be as many for each
    #[arg(long)]
    pub(super) sharded: bool,
    /// Append to the stripes of the first node alone, as its neighbours do; the others are idle, and are filled
    #[arg(long, conflicts_with = "embedded_sequencer")]
    pub(super) near: bool,
    /// Sequence in this process, on a node that stores nothing and is reached through memory: an append is one round trip, and so is the
    /// floor that it is compared with. Its thread is the client's if nothing else is said
    #[arg(long, value_enum, value_name = "THREAD", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub(super) embedded_sequencer: Option<SequencerThread>,
    /// Keep the history of all appends, with a client beside them that asks for tails and reads, and check it against every rule
    /// that histories obey; takes some 110 bytes of memory for each append
    #[arg(long)]
    pub(super) check_history: bool,
    /// Do not measure where appends spend their time, neither in the nodes nor in the client: to see what that costs
    #[arg(long)]
    pub(super) no_profile: bool,
    /// Cores of the load and of the nodes, such as 0-1:2-7, or one list for both; each node has its own part where there are enough
    /// [default: all, shared]
    #[arg(long, value_name = "LOAD:NODES")]
    pub(super) cores: Option<Cores>,
    /// Also append the result, as JSON, to this file; `no` for none
    #[arg(long, value_name = "FILE|no", default_value = "no")]
    pub(super) history: PathBuf,
    #[command(flatten)]
    pub(super) site: Site,
}

impl Load {
    /// The load of a benchmark that has its own options: one connection, for this long.
    pub(super) fn plain(seconds: f64, site: Site) -> Self {
        Self {
            seconds,
            warm_up: 0.0,
            record_bytes: 100,
            clients: 1,
            inflight: 1,
            rate: None,
            realtime: false,
            shards: 1,
            lanes: 1,
            prepare_bytes: None,
            trim_behind: None,
            seed: None,
            in_process: false,
            stripes: 1,
            sharded: false,
            near: false,
            embedded_sequencer: None,
            check_history: false,
            no_profile: false,
            cores: None,
            history: "no".into(),
            site,
        }
    }

    /// How its log is divided; refused where the nodes are too few.
    pub(super) fn stripes(&self) -> anyhow::Result<Stripes> {
        let stripes = Stripes { count: self.stripes.into(), sharded: self.sharded };
        if self.near && stripes.count == 1 {
            return Err(exit::coded(exit::USAGE, "--near needs --stripes 2 or more"));
        }
        stripes::check(stripes, self.site.nodes.into(), self.embedded_sequencer.is_some())
    }

    /// Cores of the clients and the generator.
    pub(super) fn load_cores(&self) -> Option<CoreList> {
        self.cores.as_ref().map(|cores| cores.load.clone())
    }
}

/// The thread of a sequencer in the process of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SequencerThread {
    /// The client's I/O thread: nobody is woken between the two
    Client,
    /// One of its own, which works beside the client's
    Own,
}
