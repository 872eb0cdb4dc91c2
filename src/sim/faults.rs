//! What goes wrong by itself, at rates drawn for each seed: disks and the network.

use std::time::Duration;

use super::cluster::node_address;
use super::profile::Weights;
use super::run::Run;
use crate::base::Rng;
use crate::io::mem::{Config, DiskFaults, NetworkFaults};
use crate::storage::ANCHOR_FILE;

/// Clocks are wrong by at most this much: far more than real ones.
const DRIFT_MAX_PER_MILLION: i32 = 50_000;

/// How the world is when nothing is wrong.
pub(super) fn world_config(rng: &mut Rng) -> Config {
    let network = rng.u64(50..1_500);
    let disk = rng.u64(50..2_000);
    Config {
        network_latency: (Duration::from_micros(10), Duration::from_micros(network)),
        disk_latency: (Duration::from_micros(20), Duration::from_micros(disk)),
        chunk_bytes_max: *rng.choice(&[256, 2 << 10, 16 << 10]).expect("some sizes"),
        window_bytes: *rng.choice(&[16 << 10, 64 << 10, 256 << 10]).expect("some sizes"),
    }
}

fn network_faults(rng: &mut Rng) -> NetworkFaults {
    NetworkFaults {
        resets: *rng.choice(&[0, 100, 2_000]).expect("some rates"),
        spikes: *rng.choice(&[0, 2_000, 30_000]).expect("some rates"),
        spike: (Duration::from_millis(1), Duration::from_millis(rng.u64(2..120))),
    }
}

/// What may go wrong with any disk. Nothing that was acknowledged is lost by it.
fn harmless(rng: &mut Rng) -> DiskFaults {
    DiskFaults {
        write_errors: *rng.choice(&[0, 0, 500]).expect("some rates"),
        short_writes: *rng.choice(&[0, 0, 300]).expect("some rates"),
        read_errors: *rng.choice(&[0, 0, 2_000]).expect("some rates"),
        flush_errors: *rng.choice(&[0, 0, 4_000]).expect("some rates"),
        ..slow(rng)
    }
}

fn slow(rng: &mut Rng) -> DiskFaults {
    DiskFaults {
        slow_per_million: *rng.choice(&[0, 10_000]).expect("some rates"),
        slow_factor: rng.u32(5..60),
        ..DiskFaults::default()
    }
}

/// What may go wrong with the disks that the plan gives up: at most f of 2f + 1, so that a quorum of good copies is left.
fn lossy(rng: &mut Rng) -> DiskFaults {
    // The anchor guards the newest segment, so the two do not go bad together. It is one file among many writes.
    let only = rng.u8(..4) == 0;
    let rates: &[u32] = if only { &[300_000, 900_000] } else { &[0, 10_000, 60_000] };
    DiskFaults {
        read_errors: *rng.choice(&[0, 2_000, 20_000]).expect("some rates"),
        lost_writes: *rng.choice(&[0, 2_000, 20_000]).expect("some rates"),
        misdirected_writes: *rng.choice(&[0, 2_000, 20_000]).expect("some rates"),
        rot: *rng.choice(rates).expect("some rates"),
        unreadable: *rng.choice(rates).expect("some rates"),
        only,
        name: ANCHOR_FILE,
        ..harmless(rng)
    }
}

impl Run {
    /// Begins the phase in which things go wrong.
    pub(super) fn begin_faults(&mut self, weights: &Weights) {
        if weights.network {
            self.cluster.world.set_network_faults(network_faults(&mut self.rng));
        }
        for node in 0..self.cluster.nodes() {
            if weights.disk {
                let faults = if self.plan.is_lossy(node) { lossy(&mut self.rng) } else { harmless(&mut self.rng) };
                self.cluster.world.set_disk_faults(node_address(node), faults);
            } else if weights.slow_disk {
                let faults = slow(&mut self.rng);
                self.cluster.world.set_disk_faults(node_address(node), faults);
            }
        }
    }

    /// Ends them all.
    pub(super) fn end_faults(&mut self) {
        self.cluster.world.set_network_faults(NetworkFaults::default());
        for node in 0..self.cluster.nodes() {
            let address = node_address(node);
            self.cluster.world.set_disk_faults(address, DiskFaults::default());
            self.cluster.world.set_free_bytes(address, None);
            self.cluster.world.set_drift(address, 0);
            self.cluster.world.resume(address);
        }
        for (from, to) in self.plan.take_slow_links() {
            self.cluster.world.set_link(from, to, None);
        }
    }

    /// The clock of a node's next life.
    pub(super) fn draw_drift(&mut self, node: usize) {
        let drift = self.rng.i32(-DRIFT_MAX_PER_MILLION..=DRIFT_MAX_PER_MILLION);
        self.cluster.world.set_drift(node_address(node), drift);
        self.count("clock_drift");
    }
}
