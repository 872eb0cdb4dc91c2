//! How busy the shards of the nodes are, out of what two of a node's status documents differ in.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::base::{LogletId, NodeId};

/// What a shard has done from one measurement to the next.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Load {
    /// Share of a core that its thread has used.
    pub busy: f64,
    /// How long appends have waited in the shard before their unit was submitted, on the average.
    pub queueing: Duration,
    /// How much of the units that may be on the way to the disk at once was.
    pub disk: f64,
}

/// A shard, as its node has told it last.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ShardLoad {
    /// What it has done.
    pub load: Load,
    /// The loglets, or stripes of them, that it sequences, with all lanes or one.
    pub sequences: Vec<LogletId>,
    /// Those that it stores.
    pub stores: Vec<LogletId>,
}

/// A node that has been measured.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NodeLoad {
    /// Cores of its machine that it may use.
    pub cores: usize,
    /// How often it has been measured, in this life of it or another.
    pub measured: u64,
    /// Its shards.
    pub shards: Vec<ShardLoad>,
}

/// Sums since the start of a shard.
#[derive(Clone, Copy, Debug)]
struct Sums {
    at: u64,
    used: u64,
    queued: u64,
    appends: u64,
    device: u64,
    depth: u64,
}

#[derive(Clone, Debug)]
struct Known {
    incarnation: Value,
    begin: Vec<Sums>,
    load: NodeLoad,
}

/// What the nodes have told.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    nodes: BTreeMap<NodeId, Known>,
}

/// Nothing where the shard does not know how much of its core it has used, or has not answered.
fn sums(shard: &Value) -> Option<Sums> {
    let processor = &shard["processor"];
    let profile = &shard["latency_profile"];
    let waits = ["sequencing", "batch_wait"].map(|stage| &profile["stages"][stage]);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    Some(Sums {
        at: processor["at_ns"].as_u64()?,
        used: processor["used_ns"].as_u64()?,
        queued: waits.iter().map(|wait| number(&wait["sum_ns"])).sum(),
        appends: number(&waits[0]["events"]),
        device: number(&profile["store"]["device"]["sum_ns"]),
        depth: number(&shard["journal"]["unit_depth"]).max(1),
    })
}

impl Sums {
    fn load_since(&self, begin: &Self) -> Load {
        let elapsed = (self.at - begin.at) as f64;
        let appends = self.appends.saturating_sub(begin.appends).max(1);
        Load {
            busy: self.used.saturating_sub(begin.used) as f64 / elapsed,
            queueing: Duration::from_nanos(self.queued.saturating_sub(begin.queued) / appends),
            disk: self.device.saturating_sub(begin.device) as f64 / elapsed / self.depth as f64,
        }
    }
}

fn loglets(list: &Value, name: &str) -> Vec<LogletId> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| serde_json::from_value(item[name].clone()).ok()).collect()
}

impl Loads {
    /// A node has told its status. It is measured once `span` of its own time has passed since it was measured before.
    pub fn told(&mut self, node: NodeId, status: &Value, span: Duration) {
        let shards = status["shards"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(now) = shards.iter().map(sums).collect::<Option<Vec<Sums>>>().filter(|sums| !sums.is_empty()) else {
            return;
        };
        let incarnation = status["incarnation"].clone();
        let known = self.nodes.entry(node).or_insert_with(|| Known {
            incarnation: Value::Null,
            begin: Vec::new(),
            load: NodeLoad::default(),
        });
        if known.incarnation != incarnation || known.begin.len() != now.len() {
            (known.incarnation, known.begin) = (incarnation, now);
            return;
        }
        let is_over = |(now, begin): (&Sums, &Sums)| now.at.saturating_sub(begin.at) >= span.as_nanos().max(1) as u64;
        if !now.iter().zip(&known.begin).all(is_over) {
            return;
        }
        let shard = |((shard, now), begin): ((&Value, &Sums), &Sums)| ShardLoad {
            load: now.load_since(begin),
            sequences: loglets(&shard["sequencers"], "loglet"),
            stores: loglets(&shard["loglets"], "id"),
        };
        known.load = NodeLoad {
            cores: shards[0]["processor"]["cores"].as_u64().unwrap_or(1).max(1) as usize,
            measured: known.load.measured + 1,
            shards: shards.iter().zip(&now).zip(&known.begin).map(shard).collect(),
        };
        known.begin = now;
    }

    /// Those that are in the cluster no more are forgotten.
    pub fn retain(&mut self, nodes: &[NodeId]) {
        self.nodes.retain(|node, _| nodes.contains(node));
    }

    /// A node, if it has been measured.
    pub fn node(&self, node: NodeId) -> Option<&NodeLoad> {
        self.nodes.get(&node).map(|known| &known.load).filter(|load| load.measured > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NODE: NodeId = NodeId(1);
    const STRIPE: LogletId = LogletId { log: 1, version: 2, nonce: 3 };
    const SPAN: Duration = Duration::from_secs(10);

    /// At this second of the shard's clock, after so many seconds on its core; each second it takes 100 appends.
    fn status(life: u64, second: u64, used: f64) -> Value {
        let nanos = |seconds: f64| (seconds * 1e9) as u64;
        let wait = |us: u64| json!({ "events": second * 100, "sum_ns": second * 100 * us * 1000 });
        json!({ "incarnation": life, "shards": [{
            "processor": { "cores": 4, "at_ns": second * 1_000_000_000, "used_ns": nanos(used) },
            "latency_profile": {
                "stages": { "sequencing": wait(20), "batch_wait": wait(5) },
                "store": { "device": { "sum_ns": nanos(second as f64) } },
            },
            "journal": { "unit_depth": 4 },
            "sequencers": [{ "loglet": STRIPE }],
            "loglets": [{ "id": STRIPE }],
        }] })
    }

    #[test]
    fn a_load_is_what_has_been_done_in_a_span_and_not_before() {
        let mut loads = Loads::default();
        loads.told(NODE, &status(1, 100, 70.0), SPAN);
        assert_eq!(loads.node(NODE), None, "there is nothing to compare it with");
        loads.told(NODE, &status(1, 109, 79.0), SPAN);
        assert_eq!(loads.node(NODE), None, "too short");
        loads.told(NODE, &status(1, 120, 75.0), SPAN);
        let load = loads.node(NODE).unwrap();
        let expected = Load { busy: 0.25, queueing: Duration::from_micros(25), disk: 0.25 };
        assert_eq!((load.cores, load.measured, load.shards.len()), (4, 1, 1));
        let ShardLoad { load, sequences, stores } = &load.shards[0];
        assert_eq!((*load, &sequences[..], &stores[..]), (expected, &[STRIPE][..], &[STRIPE][..]));
        loads.told(NODE, &status(1, 130, 85.0), SPAN);
        assert_eq!((loads.node(NODE).unwrap().shards[0].load.busy, loads.node(NODE).unwrap().measured), (1.0, 2));
    }

    #[test]
    fn another_life_begins_anew_and_a_shard_that_says_nothing_is_not_measured() {
        let mut loads = Loads::default();
        loads.told(NODE, &status(1, 100, 70.0), SPAN);
        loads.told(NODE, &status(2, 200, 90.0), SPAN);
        assert_eq!(loads.node(NODE), None, "sums of two lives say nothing");
        let mut silent = status(2, 220, 100.0);
        silent["shards"][0]["processor"] = Value::Null;
        loads.told(NODE, &silent, SPAN);
        assert_eq!(loads.node(NODE), None);
        loads.told(NODE, &status(2, 210, 95.0), SPAN);
        assert_eq!(loads.node(NODE).unwrap().shards[0].load.busy, 0.5);
        loads.retain(&[]);
        assert_eq!(loads.node(NODE), None);
    }
}
