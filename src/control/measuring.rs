//! What was measured of the logs that may change their number of stripes: out of the loads of all nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::loads::{Load, Loads, NodeLoad};
use super::scaling::{CORES_FULL, DISK_FULL, Obstacle, Rounds, Sample, Scaling};
use crate::base::{NodeId, quorum};
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
}

impl Scaler {
    /// Takes in a round of each log all of whose nodes have been measured since the last one, and are not missed. Returns the logs of
    /// which something else follows than before.
    pub(super) fn look(
        &mut self,
        root: &Root,
        missed: &[NodeId],
        chains: &BTreeMap<String, Chain>,
        loads: &Loads,
        scaling: &Scaling,
    ) -> Vec<String> {
        let is_free = |name: &String| root.logs.get(name).is_some_and(|record| !record.range().is_fixed());
        self.logs.retain(|name, _| is_free(name));
        let mut decided = Vec::new();
        for (name, record) in root.logs.iter().filter(|(name, _)| is_free(name)) {
            let measured = self.logs.entry(name.clone());
            let measured = measured.or_insert_with(|| Measured { rounds: Rounds::new(), seen: BTreeMap::new() });
            let Some(chain) = chains.get(name) else { continue };
            let nodes = chain.last().loglet.nodes();
            if nodes.iter().any(|node| missed.contains(node)) {
                measured.rounds.interrupted();
                continue;
            }
            let now = |node: &NodeId| Some((*node, loads.node(*node)?.measured));
            let Some(now) = nodes.iter().map(now).collect::<Option<BTreeMap<_, _>>>() else { continue };
            if now.iter().any(|(node, times)| measured.seen.get(node).is_some_and(|seen| seen == times)) {
                continue;
            }
            measured.seen = now;
            let Some(sample) = sample(root, record, &chain.last().loglet, loads, scaling) else { continue };
            if measured.rounds.measured(sample, scaling).is_some() {
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
        self.logs.iter().map(|(name, log)| (name.clone(), log.rounds.reason(scaling))).collect()
    }
}

/// A round of a log; nothing while a stripe of it is not sequenced where it is to be.
fn sample(root: &Root, record: &LogRecord, loglet: &LogletSpec, loads: &Loads, scaling: &Scaling) -> Option<Sample> {
    let busier = |a: &Load, b: &Load| a.busy.total_cmp(&b.busy);
    let of_stripe = |stripe: &LogletConfig| {
        let shards = &loads.node(stripe.sequencer.node)?.shards;
        let lanes = shards.iter().filter(|shard| shard.sequences.contains(&stripe.id));
        lanes.map(|shard| shard.load).max_by(busier)
    };
    let sequencers = loglet.stripes().iter().map(of_stripe).collect::<Option<Vec<Load>>>()?;
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
        busiest: sequencers.into_iter().max_by(busier).expect("a loglet has stripes"),
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
