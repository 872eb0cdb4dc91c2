//! What is done to the cluster, and what is never done: the plan that keeps recovery possible.
//!
//! - At most f of 2f + 1 nodes are *lossy*, the same ones for the whole run: only their disks rot, lose or misdirect writes, or are
//!   replaced by blank ones. So every acknowledged record keeps a copy on a disk that loses nothing, and every majority
//!   contains a node that forgets nothing.
//! - On a lossy disk only what later writes claim goes bad ([`crate::io::mem::DiskFaults`]). Losing the newest units, which nobody
//!   claims yet, cannot be told from a torn write and counts as a lost copy: it is outside of the plan.
//! - Everything else may happen to all nodes, at once too: crashes, pauses, cuts, write errors, full disks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::cluster::{Cluster, client_address, node_address};
use super::profile::Weights;
use super::run::Run;
use super::workload::Workload;
use crate::base::{Instant, NodeId, Rng};
use crate::io::mem::Link;

/// How long a crash waits for writes.
const CRASH_DELAY: Duration = Duration::from_millis(3);
/// Appends of a client that has much to write.
const BURST: u64 = 100;
const BURST_BYTES: usize = 4000;
/// How far a start may come that is cut short, in operations of its disk, in writes alone, and in time.
const START_STEPS: u64 = 40;
const START_WRITES: u64 = 5;
const START_TIME: Duration = Duration::from_millis(20);

/// How something that was done ends.
#[derive(Debug, Clone, Copy)]
enum Undo {
    Heal(IpAddr, IpAddr),
    Restart(usize),
    RestartBlank(usize),
    Resume(usize),
    Space(usize),
    Link(IpAddr, IpAddr),
}

/// What is under way.
pub(super) struct Plan {
    lossy: Vec<bool>,
    undo: BTreeMap<(Instant, u64), Undo>,
    numbered: u64,
    /// A segment has just been closed: a disk that is lost now shows whether its tail was repaired.
    tail_computed: bool,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng, nodes: usize) -> Self {
        let mut lossy = vec![false; nodes];
        let mut numbers: Vec<_> = (0..nodes).collect();
        rng.shuffle(&mut numbers);
        numbers.truncate((nodes - 1) / 2);
        numbers.into_iter().for_each(|node| lossy[node] = true);
        Self { lossy, undo: BTreeMap::new(), numbered: 0, tail_computed: false }
    }

    pub(super) fn is_lossy(&self, node: usize) -> bool {
        self.lossy.get(node).is_some_and(|lossy| *lossy)
    }

    pub(super) fn take_slow_links(&mut self) -> Vec<(IpAddr, IpAddr)> {
        let links = self.undo.values().filter_map(|undo| match undo {
            Undo::Link(from, to) => Some((*from, *to)),
            _ => None,
        });
        links.collect()
    }

    fn later(&mut self, at: Instant, undo: Undo) {
        self.numbered += 1;
        self.undo.insert((at, self.numbered), undo);
    }

    fn is_paused(&self, node: usize) -> bool {
        self.undo.values().any(|undo| matches!(undo, Undo::Resume(paused) if *paused == node))
    }
}

impl Run {
    /// A segment of the chain has been closed.
    pub(super) fn segment_closed(&mut self) {
        self.plan.tail_computed = true;
    }

    /// Perhaps one thing goes wrong; what has lasted long enough ends.
    pub(super) fn disturb(&mut self, log: &mut dyn Workload, weights: &Weights) {
        let now = self.cluster.world.now();
        while let Some(entry) = self.plan.undo.first_entry().filter(|entry| entry.key().0 <= now) {
            let undo = entry.remove();
            self.undo(undo);
        }
        if weights.blank_disk > 0 && std::mem::take(&mut self.plan.tail_computed) && self.rng.u8(..3) == 0 {
            self.lose_disk();
        }
        // A node whose journal has failed is restarted by whoever watches it, some time later.
        for node in 0..self.cluster.nodes() {
            if self.cluster.is_up(node) && self.cluster.shard(node).failure().is_some() && self.rng.u8(..16) == 0 {
                self.note(format_args!("node {node} has failed and is restarted"));
                self.crash(node);
                self.cluster_restart(node);
            }
        }
        if self.rng.u32(..100) >= weights.actions_percent {
            return;
        }
        let choices = [
            weights.crash,
            weights.pause,
            weights.partition,
            weights.one_way,
            weights.slow_link,
            weights.reset,
            weights.full_disk,
            weights.blank_disk,
            weights.client,
        ];
        let mut drawn = self.rng.u32(..choices.iter().sum::<u32>().max(1));
        let chosen = choices.iter().position(|&weight| {
            let here = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            here
        });
        let Some(chosen) = chosen else { return };
        let node = self.rng.usize(..self.cluster.nodes());
        let address = node_address(node);
        let end = now + self.draw_duration();
        match chosen {
            0 => self.crash_some(node, end),
            1 if self.cluster.is_up(node) && !self.plan.is_paused(node) => {
                self.note(format_args!("node {node} is paused"));
                self.count("pause");
                self.cluster.world.pause(address);
                self.plan.later(end, Undo::Resume(node));
            }
            2..6 => {
                let other = self.other_address(address);
                self.disturb_path(chosen, address, other, end);
            }
            6 => self.fill_disks(log, node, end),
            7 => self.lose_disk(),
            8 => {
                let client = self.rng.usize(..self.cluster.clients());
                log.replace_client(self, client);
            }
            _ => {}
        }
    }

    /// Mostly short, now and then longer than anybody waits.
    fn draw_duration(&mut self) -> Duration {
        let most = match self.rng.u8(..24) {
            0 => self.cluster.limits.operation_timeout * 2,
            1..3 => self.cluster.limits.stall * 2,
            3..10 => Duration::from_millis(80),
            _ => Duration::from_millis(12),
        };
        Duration::from_nanos(self.rng.u64(..most.as_nanos() as u64))
    }

    fn other_address(&mut self, address: IpAddr) -> IpAddr {
        let nodes = self.cluster.nodes();
        loop {
            let other = match self.rng.usize(..nodes + self.cluster.clients()) {
                node if node < nodes => node_address(node),
                client => client_address(client - nodes),
            };
            if other != address {
                return other;
            }
        }
    }

    fn disturb_path(&mut self, chosen: usize, a: IpAddr, b: IpAddr, end: Instant) {
        match chosen {
            2 => {
                self.note(format_args!("{a} and {b} are cut off from one another"));
                self.count("partition");
                self.cluster.world.partition(a, b);
                self.plan.later(end, Undo::Heal(a, b));
            }
            3 => {
                let (from, to) = if self.rng.bool() { (a, b) } else { (b, a) };
                self.note(format_args!("the way from {from} to {to} is cut"));
                self.count("one_way_cut");
                self.cluster.world.cut(from, to);
                self.plan.later(end, Undo::Heal(a, b));
            }
            4 => {
                self.note(format_args!("the way from {a} to {b} is slow"));
                self.count("slow_link");
                self.cluster.world.set_link(a, b, Some(Link { slower: self.rng.u32(5..100) }));
                self.plan.later(end, Undo::Link(a, b));
            }
            _ => {
                self.note(format_args!("connections between {a} and {b} are reset"));
                self.count("reset");
                self.cluster.world.reset_connections(a, b);
            }
        }
    }

    /// One node, or now and then all of them at once, also for longer than anybody waits.
    fn crash_some(&mut self, node: usize, end: Instant) {
        let all = self.rng.u8(..8) == 0;
        let nodes = if all { 0..self.cluster.nodes() } else { node..node + 1 };
        let end = if all && self.rng.bool() { end + self.cluster.limits.operation_timeout * 2 } else { end };
        if !all && self.rng.bool() {
            // A crash shows most while several writes are on their way.
            let (address, wanted) = (node_address(node), self.rng.usize(1..=3));
            self.cluster.run_until_or_for(CRASH_DELAY, |cluster| cluster.world.writes_in_flight(address) >= wanted);
        }
        self.crash_nodes(nodes, end);
    }

    fn crash_nodes(&mut self, nodes: Range<usize>, end: Instant) {
        for node in nodes {
            if self.cluster.is_up(node) {
                self.note(format_args!("node {node} crashes"));
                self.crash(node);
                self.plan.later(end, Undo::Restart(node));
            }
        }
    }

    pub(super) fn crash(&mut self, node: usize) {
        self.take_report(node);
        self.count("crash");
        self.cluster.crash(node);
        self.plan.undo.retain(|_, undo| !matches!(undo, Undo::Resume(paused) if *paused == node));
    }

    /// A node crashes somewhere on the way to being ready, or soon after.
    fn cut_start_short(&mut self, node: usize) {
        let address = node_address(node);
        let writes = self.rng.bool();
        let steps = self.rng.u64(1..=if writes { START_WRITES } else { START_STEPS });
        let taken = |cluster: &Cluster| {
            let (operations, begun) = cluster.world.disk_operations(address);
            if writes { begun } else { operations }
        };
        let last = taken(&self.cluster) + steps;
        self.cluster.run_until_or_for(START_TIME, |cluster| taken(cluster) >= last);
        let end = self.now() + self.draw_duration();
        self.crash_nodes(node..node + 1, end);
    }

    /// One disk, or now and then all of them at once, for long enough that appends wait for space.
    fn fill_disks(&mut self, log: &mut dyn Workload, node: usize, end: Instant) {
        let all = self.rng.u8(..3) == 0;
        let nodes = if all { 0..self.cluster.nodes() } else { node..node + 1 };
        let end = if all { end + self.cluster.limits.stall * 4 } else { end };
        for node in nodes {
            self.note(format_args!("the disk of node {node} is full"));
            self.count("disk_filled");
            let free = if all { 0 } else { self.rng.u64(..3) * self.cluster.limits.segment_bytes };
            self.cluster.world.set_free_bytes(node_address(node), Some(free));
            self.plan.later(end, Undo::Space(node));
        }
        if all && self.rng.bool() {
            self.use_up_reserves(log.sequencer());
            self.append_for_long(log);
        }
    }

    /// Every start takes a file, so that after some of them a node has only the one in use. The sequencer's node goes on.
    fn use_up_reserves(&mut self, sequencer: NodeId) {
        for _ in 0..self.rng.u8(1..=3) {
            let others = 0..self.cluster.nodes();
            let others = others.filter(|&node| self.cluster.is_up(node) && self.cluster.node_id(node) != sequencer);
            for node in others.collect::<Vec<_>>() {
                self.note(format_args!("node {node} is restarted"));
                self.crash(node);
                self.cluster_restart(node);
            }
            self.cluster.run_for(START_TIME);
        }
    }

    /// A client has much to write, and waits for it for longer than a sequencer does.
    fn append_for_long(&mut self, log: &mut dyn Workload) {
        let client = self.rng.usize(..self.cluster.clients());
        for _ in 0..BURST.min(self.options.ops.saturating_sub(self.issued)) {
            log.append(self, client, BURST_BYTES);
        }
        self.cluster.run_for(self.cluster.limits.stall * 2);
        log.look(self);
    }

    /// A lossy node comes back with a blank disk.
    fn lose_disk(&mut self) {
        let lossy: Vec<_> = (0..self.cluster.nodes()).filter(|&node| self.plan.is_lossy(node)).collect();
        let Some(&node) = self.rng.choice(&lossy) else { return };
        if self.cluster.is_up(node) {
            self.note(format_args!("node {node} loses its disk"));
            self.crash(node);
            let end = self.cluster.world.now() + self.draw_duration();
            self.plan.later(end, Undo::RestartBlank(node));
        }
    }

    pub(super) fn cluster_restart(&mut self, node: usize) {
        if self.weights.drift && self.rng.bool() {
            self.draw_drift(node);
        }
        self.count("restart");
        self.cluster.restart(node);
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Heal(a, b) => {
                self.note(format_args!("{a} and {b} reach one another"));
                self.cluster.world.heal(a, b);
            }
            Undo::Restart(node) if !self.cluster.is_up(node) => {
                self.note(format_args!("node {node} starts"));
                self.cluster_restart(node);
                if !self.is_healed && self.rng.u8(..3) == 0 {
                    self.cut_start_short(node);
                }
            }
            Undo::RestartBlank(node) if !self.cluster.is_up(node) => {
                self.count("blank_disk");
                self.cluster.restart_blank(node);
                let id = self.cluster.node_id(node);
                self.note(format_args!("node {node} starts with a blank disk, as {id}"));
                self.observer.borrow_mut().name(node_address(node), id);
            }
            Undo::Restart(_) | Undo::RestartBlank(_) => {}
            Undo::Resume(node) => {
                self.note(format_args!("node {node} goes on"));
                self.cluster.world.resume(node_address(node));
            }
            Undo::Space(node) => {
                self.note(format_args!("the disk of node {node} has space again"));
                self.cluster.world.set_free_bytes(node_address(node), None);
            }
            Undo::Link(from, to) => self.cluster.world.set_link(from, to, None),
        }
    }

    /// Nothing is wrong any more, except what disks have lost.
    pub(super) fn heal(&mut self) {
        self.note(format_args!("everything is healed"));
        self.end_faults();
        self.is_healed = true;
        // A disk that was taken away comes back blank; all else as it was.
        let undo = std::mem::take(&mut self.plan.undo);
        undo.into_values().for_each(|undo| self.undo(undo));
        self.weights = Weights::default();
        for node in 0..self.cluster.nodes() {
            if self.cluster.is_up(node) && self.cluster.shard(node).failure().is_some() {
                self.crash(node);
            }
        }
        self.cluster.heal();
    }
}
