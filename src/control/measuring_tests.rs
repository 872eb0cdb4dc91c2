use super::super::loads::ShardLoad;
use super::*;
use crate::base::{Incarnation, Instant, LogletId, Nonce};
use crate::client::{StripeRange, Stripes};
use crate::wire::{Member, Sequencer};
use serde_json::{Value, json};
use std::time::Duration;

const LOG: &str = "a";
const NEIGHBOUR: LogletId = LogletId { log: 2, version: 1, nonce: 1 };
const MARKS: Scaling = Scaling {
    round: Duration::from_secs(1),
    high: 0.75,
    high_rounds: 2,
    waits: 4.0,
    low: 0.25,
    low_rounds: 4,
    rest: Duration::from_secs(30),
};

/// Nodes with one shard each: how much of a core each uses in a second, and how much of its disk's queue.
struct Stage {
    root: Root,
    chains: BTreeMap<String, Chain>,
    loads: Loads,
    second: u64,
    used: BTreeMap<NodeId, (f64, f64)>,
    cores: usize,
    /// How much each shard does for the log, and for a neighbour that the same nodes sequence and store, in each second.
    work: (u64, u64),
    /// How long each shard has waited for a core in each second.
    delayed: f64,
    /// How many durable writes the appends of the sequencer's shard wait for.
    waits: u64,
}

/// On machines of their own, or all on one.
fn member(node: u128, is_alone: bool) -> Member {
    Member { node: NodeId(node), address: ([10, 0, 0, if is_alone { node as u8 } else { 0 }], node as u16).into() }
}

impl Stage {
    /// A log of one stripe, sequenced by the first of three nodes, and of as many more as it may have.
    fn new(nodes: u128, is_alone: bool, cores: usize, sharded: bool) -> Self {
        let members: Vec<Member> = (1..=nodes).map(|node| member(node, is_alone)).collect();
        let range = StripeRange { least: Stripes { count: 1, sharded }, most: if sharded { 2 } else { 8 } };
        let root = Root::begin(&members).with_log(LOG, 3, Nonce(1), members.clone()).unwrap();
        let root = root.with_stripes(LOG, range).unwrap();
        let Member { node, address } = members[0];
        let sequencer = Sequencer { node, incarnation: Incarnation(1), address };
        let id = LogletId { log: 1, version: 1, nonce: 1 };
        let chain = Chain::begin(LogletSpec::new(id, [(sequencer, members[..3].to_vec())]));
        let chains = [(LOG.to_owned(), chain)].into();
        Self {
            root,
            chains,
            loads: Loads::default(),
            second: 0,
            used: BTreeMap::new(),
            cores,
            work: (1, 0),
            delayed: 0.0,
            waits: 0,
        }
    }

    fn status(&self, node: NodeId) -> Value {
        let (used, disk) = self.used[&node];
        let nanos = |seconds: f64| (seconds * 1e9) as u64;
        let (own, others) = self.work;
        let both = [(self.chains[LOG].last().loglet.id(), own), (NEIGHBOUR, others)];
        let sum = |each: u64| self.second * each * 1_000_000;
        let sequenced = |(id, each): (LogletId, u64)| json!({ "loglet": id, "append_bytes": sum(each) });
        let stored = |(id, each): (LogletId, u64)| json!({ "id": id, "work": { "entry_bytes": sum(each) } });
        let sequencers = if node == NodeId(1) { both.map(sequenced).to_vec() } else { Vec::new() };
        let loglets = if node.0 <= 3 { both.map(stored).to_vec() } else { Vec::new() };
        json!({ "incarnation": 1, "shards": [{
            "processor": { "cores": self.cores, "at_ns": self.second * 1_000_000_000, "used_ns": nanos(used),
                "delayed_ns": nanos(self.delayed * self.second as f64) },
            "latency_profile": {
                "stages": { "sequencing": { "events": 1_000_000 * self.second, "sum_ns": self.waits * nanos(disk) } },
                "store": { "device": { "events": 1_000_000 * self.second, "sum_ns": nanos(disk) } },
            },
            "journal": { "unit_depth": 1 },
            "sequencers": sequencers,
            "loglets": loglets,
        }] })
    }

    fn look(&self, scaler: &mut Scaler, missed: &[NodeId]) -> Vec<String> {
        let now = Instant::from_nanos(self.second * 1_000_000_000);
        scaler.look(&self.root, missed, &self.chains, &self.loads, &MARKS, now)
    }

    /// A second passes, and all nodes but these say what they have done in it.
    fn pass(&mut self, busy: &[f64], disk: f64, silent: &[u128]) {
        self.second += 1;
        for record in self.root.nodes.clone() {
            let node = record.member.node;
            let sums = self.used.entry(node).or_default();
            (sums.0, sums.1) = (sums.0 + busy[node.0 as usize - 1], sums.1 + disk);
            let status = self.status(node);
            if !silent.contains(&node.0) {
                self.loads.told(node, &status, MARKS.round);
            }
        }
    }

    /// So much in each of so many rounds, of all nodes but these. What follows for the log in the end.
    fn rounds(&mut self, rounds: usize, busy: &[f64], disk: f64, silent: &[u128]) -> (Option<usize>, String) {
        let mut scaler = Scaler::default();
        for _ in 0..=rounds {
            self.pass(busy, disk, silent);
            self.look(&mut scaler, &[]);
            assert!(self.look(&mut scaler, &[]).is_empty(), "a round counts once");
        }
        let (wanted, reason) = (scaler.wanted(&self.chains), scaler.reasons(&MARKS)[LOG].clone());
        self.look(&mut scaler, &[NodeId(2)]);
        assert!(scaler.wanted(&self.chains).is_empty(), "somebody is missed");
        assert!(scaler.reasons(&MARKS)[LOG].contains("is missed"));
        (wanted.get(LOG).copied(), reason)
    }
}

#[test]
fn a_busy_sequencer_makes_a_log_grow_where_another_node_has_a_core() {
    let mut stage = Stage::new(3, true, 1, false);
    assert_eq!(stage.rounds(1, &[0.8, 0.2, 0.2], 0.1, &[]).0, None);
    let (wanted, reason) = stage.rounds(2, &[0.8, 0.2, 0.2], 0.1, &[]);
    assert_eq!(wanted, Some(2), "{reason}");
    assert!(reason.contains("0.80 of a core") && reason.contains("10 % of the disk"), "{reason}");
    let (wanted, reason) = Stage::new(3, true, 1, false).rounds(3, &[0.2, 0.9, 0.9], 0.1, &[]);
    assert_eq!(wanted, None, "others than its sequencers are busy: {reason}");
}

#[test]
fn a_busy_neighbour_is_no_reason_to_grow_and_a_busy_log_is_with_any_neighbour() {
    let busy = [0.95, 0.2, 0.2];
    let decided = |work: (u64, u64)| {
        let mut stage = Stage::new(3, true, 1, false);
        stage.work = work;
        stage.rounds(3, &busy, 0.1, &[])
    };
    let (wanted, reason) = decided((0, 1));
    assert_eq!(wanted, None);
    assert!(reason.contains("has used 0.00 of a core") && reason.contains("its shard 0.95 in all"), "{reason}");
    assert!(reason.contains("quiet for 3 of 4 rounds"), "{reason}");
    assert_eq!(decided((1, 1)).0, None, "half of a shard is not too much for one sequencer");
    let (wanted, reason) = decided((8, 2));
    assert_eq!(wanted, Some(2), "{reason}");
    assert!(reason.contains("has used 0.76 of a core"), "{reason}");
}

#[test]
fn a_machine_without_a_core_to_spare_is_no_reason_to_grow() {
    let busy = [0.95, 0.5, 0.4];
    let (wanted, reason) = Stage::new(3, false, 2, false).rounds(3, &busy, 0.1, &[]);
    assert_eq!(wanted, None);
    assert!(reason.contains("another sequencer would have no core: 1.85 of the 2 of 10.0.0.0"), "{reason}");
    assert_eq!(Stage::new(3, false, 4, false).rounds(3, &busy, 0.1, &[]).0, Some(2), "it has two more");
    assert_eq!(Stage::new(3, true, 2, false).rounds(3, &busy, 0.1, &[]).0, Some(2), "each is on another one");
    let (wanted, reason) = Stage::new(3, true, 2, false).rounds(3, &[0.95, 0.8, 0.75], 0.1, &[]);
    assert_eq!(wanted, None);
    assert!(reason.contains("all shards that could take a stripe are as busy"), "{reason}");
}

/// Shards may share cores with each other, with clients, and with other programs.
#[test]
fn appends_that_wait_because_the_shard_has_no_core_are_no_reason_to_grow() {
    let decided = |delayed: f64| {
        let mut stage = Stage::new(3, true, 4, false);
        (stage.delayed, stage.waits) = (delayed, 5);
        stage.rounds(3, &[0.6, 0.2, 0.2], 0.1, &[])
    };
    let (wanted, reason) = decided(0.05);
    assert_eq!(wanted, Some(2), "{reason}");
    assert!(reason.contains("its appends wait long for 3 rounds"), "{reason}");
    let (wanted, reason) = decided(0.15);
    assert_eq!(wanted, None);
    assert!(reason.contains("had none for 15 % of the time"), "{reason}");
}

/// An idle log does not suffer from its neighbour's queue so much that it would be worth a sequencer.
#[test]
fn appends_that_wait_behind_a_neighbours_are_no_reason_to_grow() {
    let decided = |work: (u64, u64)| {
        let mut stage = Stage::new(3, true, 1, false);
        (stage.work, stage.waits) = (work, 50);
        stage.rounds(3, &[0.95, 0.2, 0.2], 0.1, &[])
    };
    assert_eq!([decided((0, 1)).0, decided((1, 9)).0, decided((1, 1)).0], [None; 3]);
    let (wanted, reason) = decided((2, 1));
    assert_eq!(wanted, Some(2), "it does most of what there is to do, and its own appends wait: {reason}");
}

/// More sequencers give the same disks no more to do, unless each stripe has its own.
#[test]
fn full_disks_are_no_reason_to_grow_unless_there_are_others() {
    let busy = [0.8, 0.2, 0.2, 0.1, 0.1, 0.1];
    let (wanted, reason) = Stage::new(6, true, 1, false).rounds(3, &busy, 0.95, &[]);
    assert_eq!(wanted, None);
    assert!(reason.contains("disks take no more (95 %"), "{reason}");
    assert_eq!(Stage::new(6, true, 1, true).rounds(3, &busy, 0.95, &[]).0, Some(2));
}

#[test]
fn nothing_is_decided_by_old_measurements_or_about_a_stripe_that_nobody_sequences() {
    let mut stage = Stage::new(3, true, 1, false);
    let (wanted, reason) = stage.rounds(9, &[0.9; 3], 0.1, &[3]);
    assert_eq!(wanted, None);
    let text = format!("has not been measured for 9 s: the load of node {} is not told", NodeId(3));
    assert!(reason.contains(&text), "{reason}");
    let sample = |loads: &Loads, stage: &Stage| {
        sample(&stage.root, &stage.root.logs[LOG], &stage.chains[LOG].last().loglet, loads, &MARKS)
    };
    stage.rounds(2, &[0.9, 0.1, 0.1], 0.1, &[]);
    let whole = sample(&stage.loads, &stage).unwrap();
    assert_eq!((whole.stripes, whole.room, whole.obstacle), (1, 3, None));
    let is_sequenced = |shard: &ShardLoad| !shard.sequences.is_empty();
    assert!(stage.loads.node(NodeId(1)).unwrap().shards.iter().any(is_sequenced));
    let other = LogletSpec::new(
        LogletId { log: 1, version: 2, nonce: 2 },
        stage.chains[LOG].last().loglet.stripes().iter().map(|stripe| (stripe.sequencer, stripe.log_servers.clone())),
    );
    stage.chains.insert(LOG.to_owned(), Chain::begin(other));
    assert_eq!(sample(&stage.loads, &stage), None);
}

/// A node that has hung is no sign of load, and what it had told before is not either.
#[test]
fn a_verdict_ends_when_there_are_no_rounds_any_more_and_it_is_said_since_when() {
    let (mut stage, mut scaler) = (Stage::new(3, true, 1, false), Scaler::default());
    let busy = [0.9, 0.1, 0.1];
    for _ in 0..=MARKS.high_rounds {
        stage.pass(&busy, 0.1, &[]);
        stage.look(&mut scaler, &[]);
    }
    let decided = |scaler: &Scaler, stage: &Stage| scaler.wanted(&stage.chains).get(LOG).copied();
    let reason = |scaler: &Scaler| scaler.reasons(&MARKS)[LOG].clone();
    assert_eq!(decided(&scaler, &stage), Some(2));
    for seconds in 1..=9 {
        stage.pass(&busy, 0.1, &[2]);
        let changed = stage.look(&mut scaler, &[]);
        let is_over = seconds >= u64::from(STALE_ROUNDS);
        assert_eq!(decided(&scaler, &stage), if is_over { None } else { Some(2) }, "{seconds}");
        assert_eq!(changed, if seconds == u64::from(STALE_ROUNDS) { vec![LOG] } else { vec![] }, "it is logged once");
        if is_over {
            let text = format!("not been measured for {seconds} s: the load of node {} is not told", NodeId(2));
            assert!(reason(&scaler).contains(&text), "{}", reason(&scaler));
        }
    }
    for _ in 1..MARKS.high_rounds {
        stage.pass(&busy, 0.1, &[]);
        stage.look(&mut scaler, &[]);
        assert_eq!(decided(&scaler, &stage), None, "it begins anew");
        assert!(reason(&scaler).contains("busy for 1 of 2 rounds"), "{}", reason(&scaler));
    }
    stage.pass(&busy, 0.1, &[]);
    stage.look(&mut scaler, &[]);
    assert_eq!(decided(&scaler, &stage), Some(2));
    let chains = std::mem::take(&mut stage.chains);
    (0..STALE_ROUNDS).for_each(|_| {
        stage.second += 1;
        stage.look(&mut scaler, &[]);
    });
    assert_eq!(scaler.wanted(&chains), BTreeMap::new());
    assert!(reason(&scaler).contains("its chain cannot be read"), "{}", reason(&scaler));
}
