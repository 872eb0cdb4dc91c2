//! How much of what goes wrong.

use std::fmt;
use std::str::FromStr;

use super::loglets::Loglets;
use super::virtual_log::VirtualLogs;
use super::workload::Workload;
use crate::base::Rng;

/// Most stripes of a loglet of [`Profile::Striped`].
const STRIPES_MAX: usize = 3;

/// A mixture of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Nothing goes wrong. Segments roll and queues fill all the same.
    Calm,
    /// The network: latencies, resets, partitions, one-way cuts, slow links.
    Network,
    /// Disks: errors, rot, lost and misdirected writes, slow and full disks, a blank disk; and the restarts that show them.
    Disk,
    /// Nodes: crashes with torn writes, restarts, pauses, clocks that drift.
    Crash,
    /// Everything.
    Chaos,
    /// A log with its chain in the nodes, which its clients reconfigure and trim, while clients end, nodes crash and the network is bad.
    Reconfigure,
    /// The same, where every loglet has one stripe to three.
    Striped,
    /// Seeds in turn: `Chaos` for even ones, `Reconfigure` and `Striped` for every other odd one. Together they take every branch.
    Mixed,
}

/// How often each kind of fault is drawn, relative to the others, and the rates of those that happen by themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weights {
    /// How many times in 100 something is drawn between two rounds of operations.
    pub(super) actions_percent: u32,
    pub(super) crash: u32,
    pub(super) pause: u32,
    pub(super) partition: u32,
    pub(super) one_way: u32,
    pub(super) slow_link: u32,
    pub(super) reset: u32,
    pub(super) full_disk: u32,
    pub(super) blank_disk: u32,
    /// A client ends, and another one begins.
    pub(super) client: u32,
    /// Whether the network is bad by itself.
    pub(super) network: bool,
    /// Whether disks are bad by themselves.
    pub(super) disk: bool,
    /// Whether disks are slow now and then, and nothing worse.
    pub(super) slow_disk: bool,
    pub(super) drift: bool,
}

impl Weights {
    /// Whether nothing goes wrong that could keep a client from the answers of a sequencer.
    pub(super) fn spares_sequencers(&self) -> bool {
        let Self { crash, pause, partition, one_way, slow_link, reset, .. } = *self;
        let disturbing = crash + pause + partition + one_way + slow_link + reset;
        disturbing == 0 && !self.network && !self.disk && !self.slow_disk
    }
}

impl Profile {
    /// All of them, but for the mixture.
    pub const ALL: [Self; 7] =
        [Self::Calm, Self::Network, Self::Disk, Self::Crash, Self::Chaos, Self::Reconfigure, Self::Striped];
    /// Their names.
    pub const NAMES: [&str; 8] = ["calm", "network", "disk", "crash", "chaos", "reconfigure", "striped", "mixed"];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The profile of a seed.
    pub(super) fn of_seed(self, seed: u64) -> Self {
        match self {
            Self::Mixed if seed.is_multiple_of(2) => Self::Chaos,
            Self::Mixed if seed % 4 == 1 => Self::Reconfigure,
            Self::Mixed => Self::Striped,
            profile => profile,
        }
    }

    /// How much of it there is in one run.
    pub(super) fn draw_weights(self, rng: &mut Rng) -> Weights {
        let weights = self.weights();
        // Where nothing else goes wrong, no sequencer is out of reach, and no record may be in the log twice.
        if self.has_chains() && rng.u8(..4) == 0 {
            let Weights { actions_percent, client, .. } = weights;
            return Weights { actions_percent, client, ..Weights::default() };
        }
        weights
    }

    /// Whether its log has a chain that its clients change.
    pub(super) fn has_chains(self) -> bool {
        matches!(self, Self::Reconfigure | Self::Striped)
    }

    fn weights(self) -> Weights {
        let none = Weights::default();
        match self {
            Self::Mixed => unreachable!("a seed has a profile of its own"),
            Self::Calm => none,
            Self::Network => {
                Weights { actions_percent: 15, partition: 4, one_way: 3, slow_link: 2, reset: 5, network: true, ..none }
            }
            Self::Disk => Weights { actions_percent: 10, crash: 4, full_disk: 2, blank_disk: 1, disk: true, ..none },
            Self::Crash => Weights { actions_percent: 10, crash: 6, pause: 3, drift: true, ..none },
            Self::Chaos => Weights {
                actions_percent: 12,
                crash: 6,
                pause: 2,
                partition: 3,
                one_way: 2,
                slow_link: 1,
                reset: 4,
                full_disk: 5,
                blank_disk: 1,
                network: true,
                disk: true,
                drift: true,
                ..none
            },
            Self::Reconfigure | Self::Striped => Weights {
                actions_percent: 12,
                crash: 6,
                pause: 2,
                partition: 3,
                one_way: 2,
                slow_link: 1,
                reset: 4,
                client: 4,
                network: true,
                slow_disk: true,
                drift: true,
                ..none
            },
        }
    }

    /// What its clients do.
    pub(super) fn workload(self, clients: usize) -> Box<dyn Workload> {
        match self {
            Self::Reconfigure => Box::new(VirtualLogs::new(clients, 1)),
            Self::Striped => Box::new(VirtualLogs::new(clients, STRIPES_MAX)),
            _ => Box::new(Loglets::new(clients)),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a profile: {}", Profile::NAMES.join(", "))]
pub struct UnknownProfile {
    name: String,
}

impl FromStr for Profile {
    type Err = UnknownProfile;
    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        let found = Self::ALL.into_iter().chain([Self::Mixed]).find(|profile| profile.name() == text);
        found.ok_or_else(|| UnknownProfile { name: text.to_owned() })
    }
}
