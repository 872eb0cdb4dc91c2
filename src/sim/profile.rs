//! How much of what goes wrong.

use std::fmt;
use std::str::FromStr;

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
    /// Whether the network is bad by itself.
    pub(super) network: bool,
    /// Whether disks are bad by themselves.
    pub(super) disk: bool,
    pub(super) drift: bool,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Calm, Self::Network, Self::Disk, Self::Crash, Self::Chaos];
    /// Their names.
    pub const NAMES: [&str; 5] = ["calm", "network", "disk", "crash", "chaos"];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    pub(super) fn weights(self) -> Weights {
        let none = Weights::default();
        match self {
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
            },
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
        let found = Self::ALL.into_iter().find(|profile| profile.name() == text);
        found.ok_or_else(|| UnknownProfile { name: text.to_owned() })
    }
}
