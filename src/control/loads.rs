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
    /// How long one of them took until it was durable, on the average; zero if there was none.
    pub write: Duration,
    /// Share of the time that its thread was ready to run and had no core, where the kernel tells.
    pub delayed: f64,
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
    /// Which part of what it has done was for each of them, as far as something was: together they are 1.
    pub shares: BTreeMap<LogletId, f64>,
}

impl ShardLoad {
    /// Share of a core that the shard has used for these loglets.
    ///
    /// Nobody measures for whom a core is used: that would take a reading of the clock for each frame. It is shared out by what was done for
    /// each loglet, which the shard counts anyway: frames, and the bytes in them. A loglet for which nothing was done has used nothing, however busy its
    /// neighbours have kept the shard; what the shard does for nobody in particular goes to them all in the same proportion.
    pub fn busy_for(&self, loglets: &[LogletId]) -> f64 {
        // An empty sum of fractions is -0.
        self.load.busy * loglets.iter().filter_map(|loglet| self.shares.get(loglet)).fold(0.0, |sum, share| sum + share)
    }
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

/// As many bytes of records take about as much of a core as one frame does by itself.
const FRAME_BYTES: u64 = 4 << 10;
/// A sequencer takes in what it is sent, and hands it on.
const SEQUENCING: u64 = 2;

/// Sums since the start of a shard.
#[derive(Clone, Debug)]
struct Sums {
    at: u64,
    used: u64,
    queued: u64,
    appends: u64,
    device: u64,
    units: u64,
    depth: u64,
    delayed: u64,
    /// What was done for each loglet, in bytes and frames that cost as much.
    work: BTreeMap<LogletId, u64>,
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
        units: number(&profile["store"]["device"]["events"]),
        delayed: number(&processor["delayed_ns"]),
        depth: number(&shard["journal"]["unit_depth"]).max(1),
        work: work(shard),
    })
}

/// For each loglet: what its sequencer, or a lane of it, has taken in, what was stored of it, and what was read.
fn work(shard: &Value) -> BTreeMap<LogletId, u64> {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let mut work: BTreeMap<LogletId, u64> = BTreeMap::new();
    let mut add = |loglet: &Value, frames: u64, bytes: u64| {
        if let Ok(loglet) = serde_json::from_value(loglet.clone()) {
            let done = frames.saturating_mul(FRAME_BYTES).saturating_add(bytes);
            let sum = work.entry(loglet).or_default();
            *sum = sum.saturating_add(done);
        }
    };
    for sequencer in shard["sequencers"].as_array().into_iter().flatten() {
        let bytes = number(&sequencer["append_bytes"]).saturating_add(number(&sequencer["no_op_bytes"]));
        let frames = number(&sequencer["append_latency"]["events"]);
        add(&sequencer["loglet"], frames.saturating_mul(SEQUENCING), bytes.saturating_mul(SEQUENCING));
    }
    for stored in shard["loglets"].as_array().into_iter().flatten() {
        let done = &stored["work"];
        add(&stored["id"], number(&done["entries"]), number(&done["entry_bytes"]));
        add(&stored["id"], number(&done["reads"]), number(&done["read_bytes"]));
    }
    work
}

impl Sums {
    /// Which part of what was done since then was for each loglet.
    fn shares_since(&self, begin: &Self) -> BTreeMap<LogletId, f64> {
        let before = |loglet| begin.work.get(loglet).copied().unwrap_or(0);
        let done = self.work.iter().map(|(loglet, work)| (*loglet, work.saturating_sub(before(loglet)) as f64));
        let done: Vec<_> = done.filter(|(_, done)| *done > 0.0).collect();
        let all: f64 = done.iter().map(|(_, done)| done).sum();
        done.into_iter().map(|(loglet, done)| (loglet, done / all)).collect()
    }

    fn load_since(&self, begin: &Self) -> Load {
        let elapsed = (self.at - begin.at) as f64;
        let since = |now: u64, begin: u64| now.saturating_sub(begin);
        let share = |nanos: u64| nanos as f64 / elapsed;
        let mean = |sum: u64, events: u64| Duration::from_nanos(sum / events.max(1));
        let device = since(self.device, begin.device);
        Load {
            busy: share(since(self.used, begin.used)),
            queueing: mean(since(self.queued, begin.queued), since(self.appends, begin.appends)),
            disk: share(device) / self.depth as f64,
            write: mean(device, since(self.units, begin.units)),
            delayed: share(since(self.delayed, begin.delayed)),
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
            shares: now.shares_since(begin),
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
    const STORED: LogletId = LogletId { log: 2, version: 2, nonce: 3 };
    const IDLE: LogletId = LogletId { log: 3, version: 2, nonce: 3 };
    const SPAN: Duration = Duration::from_secs(10);

    /// At this second of the shard's clock, after so many seconds on its core; each second it takes 100 appends.
    fn status(life: u64, second: u64, used: f64) -> Value {
        let nanos = |seconds: f64| (seconds * 1e9) as u64;
        let wait = |us: u64| json!({ "events": second * 100, "sum_ns": second * 100 * us * 1000 });
        json!({ "incarnation": life, "shards": [{
            "processor": { "cores": 4, "at_ns": second * 1_000_000_000, "used_ns": nanos(used),
                "delayed_ns": nanos(second as f64 / 8.0) },
            "latency_profile": {
                "stages": { "sequencing": wait(20), "batch_wait": wait(5) },
                "store": { "device": { "events": second * 1000, "sum_ns": nanos(second as f64) } },
            },
            "journal": { "unit_depth": 4 },
            "sequencers": [{ "loglet": STRIPE, "append_bytes": second * 4096, "append_latency": { "events": second } }],
            "loglets": [
                { "id": STRIPE, "work": { "entries": second * 2, "entry_bytes": second * 4096 } },
                { "id": STORED, "work": { "reads": second, "read_bytes": second * 5 * 4096 } },
                { "id": IDLE, "work": { "entries": 70 } },
            ],
        }] })
    }

    /// Frames cost as well as bytes, and a sequencer does more with them than who stores; who did nothing has no share.
    #[test]
    fn what_a_shard_has_done_is_shared_out_by_frames_and_bytes() {
        let mut loads = Loads::default();
        for second in [100, 120] {
            loads.told(NODE, &status(1, second, second as f64 * 0.6), SPAN);
        }
        let shard = &loads.node(NODE).unwrap().shards[0];
        let (sequenced, stored, read) = (2 * (1 + 1), 2 + 1, 1 + 5);
        let share = |of: u32| f64::from(of) / f64::from(sequenced + stored + read);
        assert_eq!(shard.shares, [(STRIPE, share(sequenced + stored)), (STORED, share(read))].into());
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(shard.busy_for(&[STRIPE]), 0.6 * 7.0 / 13.0), "{shard:?}");
        assert!(near(shard.busy_for(&[STRIPE, STORED, IDLE]), 0.6));
        assert_eq!(shard.busy_for(&[IDLE]), 0.0);
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
        let (queueing, write) = (Duration::from_micros(25), Duration::from_millis(1));
        let expected = Load { busy: 0.25, queueing, disk: 0.25, write, delayed: 0.125 };
        assert_eq!((load.cores, load.measured, load.shards.len()), (4, 1, 1));
        let ShardLoad { load, sequences, stores, .. } = &load.shards[0];
        assert_eq!((*load, &sequences[..], &stores[..]), (expected, &[STRIPE][..], &[STRIPE, STORED, IDLE][..]));
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
