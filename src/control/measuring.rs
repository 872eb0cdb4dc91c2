//! What was measured of the logs that may change their number of stripes: out of the loads of all nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::loads::{Loads, NodeLoad};
use super::scaling::{CORES_FULL, DISK_FULL, Obstacle, Rounds, Sample, Scaling, Sequenced};
use crate::base::{Instant, LogletId, NodeId, quorum};
use crate::client::{Chain, LogRecord, LogletSpec, Root};
use crate::wire::LogletConfig;

/// The rounds of all logs that may change their number of stripes.
#[derive(Debug, Default)]
pub(super) struct Scaler {
    logs: BTreeMap<String, Measured>,
}

#[derive(Debug)]
struct Measured {
    rounds: Rounds,
    /// How often each node had been measured at the last round.
    seen: BTreeMap<NodeId, u64>,
    /// When the last round was, or else since when there is none.
    since: Instant,
    /// Why there is none now, and for how long.
    gap: Option<(Gap, Duration)>,
}

/// So many rounds without a measurement end what was decided by the last one. A node that answers a moment before its round is over is
/// measured with its next answer, so that one may pass with nobody at fault.
const STALE_ROUNDS: u32 = 3;

/// Why a log is not measured.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Gap {
    /// Its chain cannot be read.
    Unread,
    /// Somebody is missed, whose part others may take over.
    Missed(NodeId),
    /// These have not told what they have done since the last round.
    Silent(Vec<NodeId>),
    /// A stripe is not sequenced where it is to be.
    Unsequenced,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => write!(f, "its chain cannot be read"),
            Self::Missed(node) => write!(f, "node {node} is missed"),
            Self::Silent(nodes) => {
                let nodes: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
                let several = if nodes.len() == 1 { "" } else { "s" };
                write!(f, "the load of node{several} {} is not told", nodes.join(", "))
            }
            Self::Unsequenced => write!(f, "a stripe is not sequenced where it should be"),
        }
    }
}

impl Measured {
    fn new(now: Instant) -> Self {
        Self { rounds: Rounds::new(), seen: BTreeMap::new(), since: now, gap: None }
    }

    /// How often each node of the loglet has been measured, if all have been since the last round.
    fn round(&self, loglet: &LogletSpec, missed: &[NodeId], loads: &Loads) -> Result<BTreeMap<NodeId, u64>, Gap> {
        let nodes = loglet.nodes();
        if let Some(node) = nodes.iter().find(|node| missed.contains(node)) {
            return Err(Gap::Missed(*node));
        }
        let times = |node: &NodeId| loads.node(*node).map_or(0, |load| load.measured);
        let now: BTreeMap<NodeId, u64> = nodes.iter().map(|node| (*node, times(node))).collect();
        let is_silent = |(node, times): (&NodeId, &u64)| *times <= self.seen.get(node).copied().unwrap_or(0);
        let silent: Vec<NodeId> = now.iter().filter(|of| is_silent(*of)).map(|(node, _)| *node).collect();
        if silent.is_empty() { Ok(now) } else { Err(Gap::Silent(silent)) }
    }

    /// Takes in a round, or that there is none. Returns whether something else follows than before.
    fn take(&mut self, round: Result<Sample, Gap>, scaling: &Scaling, now: Instant) -> bool {
        let gap = match round {
            Ok(sample) => {
                (self.since, self.gap) = (now, None);
                return self.rounds.measured(sample, scaling).is_some();
            }
            Err(gap) => gap,
        };
        let age = now.since(self.since);
        if age < scaling.round * STALE_ROUNDS && !matches!(gap, Gap::Missed(_)) {
            return false;
        }
        let is_new = self.gap.is_none();
        self.rounds.interrupted();
        // In whole rounds, so that it is not told anew all the time.
        let rounds = age.as_nanos().checked_div(scaling.round.as_nanos()).unwrap_or(0);
        self.gap = Some((gap, scaling.round * u32::try_from(rounds).unwrap_or(u32::MAX)));
        is_new
    }

    fn reason(&self, scaling: &Scaling) -> String {
        match &self.gap {
            None => self.rounds.reason(scaling),
            Some((gap, Duration::ZERO)) => format!("not scaled, because it cannot be measured: {gap}"),
            Some((gap, age)) => {
                format!("not scaled, because it has not been measured for {} s: {gap}", age.as_secs())
            }
        }
    }
}

impl Scaler {
    /// Takes in a round of each log all of whose nodes have been measured since the last one, and are not missed. What was decided ends
    /// when there has been none for some time. Returns the logs of which something else follows than before.
    pub(super) fn look(
        &mut self,
        root: &Root,
        missed: &[NodeId],
        chains: &BTreeMap<String, Chain>,
        loads: &Loads,
        scaling: &Scaling,
        now: Instant,
    ) -> Vec<String> {
        let is_free = |name: &String| root.logs.get(name).is_some_and(|record| !record.range().is_fixed());
        self.logs.retain(|name, _| is_free(name));
        let mut decided = Vec::new();
        for (name, record) in root.logs.iter().filter(|(name, _)| is_free(name)) {
            let log = self.logs.entry(name.clone()).or_insert_with(|| Measured::new(now));
            let loglet = chains.get(name).map(|chain| &chain.last().loglet).ok_or(Gap::Unread);
            let round = loglet.and_then(|loglet| {
                log.seen = log.round(loglet, missed, loads)?;
                sample(root, record, loglet, loads, scaling).ok_or(Gap::Unsequenced)
            });
            if log.take(round, scaling, now) {
                decided.push(name.clone());
            }
        }
        decided
    }

    /// The logs that should have another number of stripes than they have now.
    pub(super) fn wanted(&self, chains: &BTreeMap<String, Chain>) -> BTreeMap<String, usize> {
        let wanted = |(name, log): (&String, &Measured)| {
            Some((name.clone(), log.rounds.wanted(chains.get(name)?.last().loglet.id())?))
        };
        self.logs.iter().filter_map(wanted).collect()
    }

    /// The last decision about each log, with its reason.
    pub(super) fn reasons(&self, scaling: &Scaling) -> BTreeMap<String, String> {
        self.logs.iter().map(|(name, log)| (name.clone(), log.reason(scaling))).collect()
    }
}

/// A round of a log; nothing while a stripe of it is not sequenced where it is to be.
fn sample(root: &Root, record: &LogRecord, loglet: &LogletSpec, loads: &Loads, scaling: &Scaling) -> Option<Sample> {
    // All that a shard does for the log: whatever stripe it is for, the log has that much less of the shard to itself.
    let own: Vec<LogletId> = loglet.stripes().iter().map(|stripe| stripe.id).collect();
    let busier = |a: &Sequenced, b: &Sequenced| {
        let need = |of: &Sequenced| of.is_busy(scaling);
        need(a).cmp(&need(b)).then(a.busy.total_cmp(&b.busy))
    };
    let of_stripe = |stripe: &LogletConfig| {
        let shards = &loads.node(stripe.sequencer.node)?.shards;
        let lanes = shards.iter().filter(|shard| shard.sequences.contains(&stripe.id));
        lanes.map(|shard| Sequenced { busy: shard.busy_for(&own), shard: shard.load }).max_by(busier)
    };
    let sequencers = loglet.stripes().iter().map(of_stripe).collect::<Option<Vec<_>>>()?;
    let busiest = sequencers.into_iter().max_by(busier).expect("a loglet has stripes");
    let is_sharded = record.stripes.sharded;
    let candidates: Vec<NodeId> = match is_sharded {
        true => root.active().map(|node| node.member.node).collect(),
        false => loglet.first().log_servers.iter().map(|member| member.node).collect(),
    };
    let known: Vec<(NodeId, &NodeLoad)> =
        candidates.iter().filter_map(|node| Some((*node, loads.node(*node)?))).collect();
    let room = match is_sharded {
        true => candidates.len() / record.replicas,
        false => known.iter().map(|(_, load)| load.shards.len()).sum(),
    };
    Some(Sample {
        loglet: loglet.id(),
        stripes: loglet.stripes().len(),
        range: record.range(),
        room,
        busiest,
        obstacle: disks(loglet, loads).filter(|_| !is_sharded).or_else(|| cores(root, &known, loads, scaling)),
    })
}

/// Whether the disks of a majority have no more to give.
fn disks(loglet: &LogletSpec, loads: &Loads) -> Option<Obstacle> {
    let full = |stripe: &LogletConfig| {
        let share = |node: NodeId| {
            let shards = loads.node(node)?.shards.iter().filter(|shard| shard.stores.contains(&stripe.id));
            shards.map(|shard| shard.load.disk).max_by(f64::total_cmp)
        };
        let mut shares: Vec<f64> = stripe.log_servers.iter().filter_map(|member| share(member.node)).collect();
        shares.sort_by(f64::total_cmp);
        // A majority acknowledges: the slowest of the fastest says how fast.
        shares.get(quorum(stripe.log_servers.len()) - 1).copied().filter(|share| *share >= DISK_FULL)
    };
    loglet.stripes().iter().find_map(full).map(Obstacle::Disk)
}

/// Why none of these nodes has a shard with a core to spare, if none has. Nodes at one address are on one machine.
fn cores(root: &Root, known: &[(NodeId, &NodeLoad)], loads: &Loads, scaling: &Scaling) -> Option<Obstacle> {
    let machine = |node: NodeId| root.node(node).map(|record| record.member.address.ip());
    let mut machines: BTreeMap<IpAddr, (f64, usize)> = BTreeMap::new();
    for node in root.nodes.iter().map(|record| record.member.node) {
        let (Some(load), Some(machine)) = (loads.node(node), machine(node)) else { continue };
        let (used, cores) = machines.entry(machine).or_default();
        *used += load.shards.iter().map(|shard| shard.load.busy).sum::<f64>();
        *cores = (*cores).max(load.cores);
    }
    let full = |node: NodeId| {
        let machine = machine(node)?;
        let (used, cores) = *machines.get(&machine)?;
        let is_full = used >= cores as f64 * CORES_FULL;
        is_full.then(|| Obstacle::Cores { machine: machine.to_string(), used, cores })
    };
    let has_spare = |load: &NodeLoad| load.shards.iter().any(|shard| shard.load.busy < scaling.high);
    if known.iter().any(|(node, load)| full(*node).is_none() && has_spare(load)) {
        return None;
    }
    let all_full: Option<Vec<Obstacle>> = known.iter().map(|(node, _)| full(*node)).collect();
    all_full.and_then(|full| full.into_iter().next()).or(Some(Obstacle::Shards))
}

#[cfg(test)]
#[path = "measuring_tests.rs"]
mod tests;
