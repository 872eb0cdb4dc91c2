//! Virtual logs whose loglets go over several stripes, over real nodes: made so, reconfigured while they are used, healed, drained, trimmed
//! and deleted.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use naxos::base::{Limits, LogPos, LogletId, NodeId};
use naxos::client::{Chain, Cluster, Extended, LogletSpec, ReadResult, Stripes, VirtualLog};
use naxos::wire::Member;
use support::{CLUSTER, record};

const LOG: &str = "default";
const NATIVE: Stripes = Stripes::ONE;

fn rotating(count: usize) -> Stripes {
    Stripes { count, sharded: false }
}

fn sharded(count: usize) -> Stripes {
    Stripes { count, sharded: true }
}

/// What was appended, each record at its position.
type Appended = BTreeMap<LogPos, Vec<u8>>;

struct Rig {
    nodes: support::Cluster,
    cluster: Cluster,
    log: VirtualLog,
}

impl Rig {
    fn start(nodes: usize, replicas: usize, stripes: Stripes) -> Self {
        let nodes = support::Cluster::start(nodes, 1);
        let addresses = nodes.addresses();
        nodes.client.begin_cluster(CLUSTER, &addresses).unwrap();
        let cluster = nodes.client.cluster(&addresses[..1]).unwrap();
        cluster.found().unwrap();
        let log = cluster.create_striped_log(LOG, replicas, stripes).unwrap();
        Self { nodes, cluster, log }
    }

    fn chain(&self) -> Chain {
        self.log.chain().unwrap()
    }

    fn last(&self) -> LogletSpec {
        self.chain().last().loglet.clone()
    }

    /// Ends the last loglet; the next one is divided so.
    fn divide(&self, stripes: Stripes) {
        loop {
            let wanted = self.cluster.divided(LOG, &self.last(), stripes).unwrap();
            match self.log.extend(Some(wanted), true).unwrap() {
                Extended::Done(_) => break,
                Extended::Overtaken(_) | Extended::Pending(_) => {}
            }
        }
        self.cluster.note_stripes(LOG, stripes).unwrap();
    }

    fn append(&self, writer: u64, count: u64, appended: &mut Appended) {
        append(&self.log, writer, 0..count, appended);
    }

    /// Everything from the first position on, by a client that knows nothing yet.
    fn read_all(&self) -> Appended {
        let running: Vec<_> = self.nodes.nodes.iter().flatten().map(|node| node.address()).collect();
        let client = support::client();
        let log = client.cluster(&running).unwrap().open_log(LOG).unwrap();
        let tail = log.check_tail().unwrap();
        read(&log, log.chain().unwrap().first_position(), tail)
    }

    fn index(&self, node: NodeId) -> usize {
        (0..self.nodes.nodes.len()).find(|index| self.nodes.node_id(*index) == node).unwrap()
    }
}

fn append(log: &VirtualLog, writer: u64, numbers: std::ops::Range<u64>, appended: &mut Appended) {
    let appends: Vec<_> = numbers.map(|number| (number, log.append(&record(writer, number)))).collect();
    for (number, append) in appends {
        let position = append.wait().unwrap();
        assert!(appended.insert(position, record(writer, number)).is_none(), "{position} is given once");
    }
}

fn read(log: &VirtualLog, mut at: LogPos, end: LogPos) -> Appended {
    let mut found = Appended::new();
    while at < end {
        match log.read(at, end, 4 << 10).unwrap() {
            ReadResult::Records(delivery) => {
                found.extend(delivery.entries().map(|(position, bytes)| (position, bytes.to_vec())));
                at = delivery.end();
            }
            other => panic!("at {at} of {end}: {other:?}"),
        }
    }
    found
}

fn sequencers(loglet: &LogletSpec) -> Vec<NodeId> {
    loglet.sequencers().map(|sequencer| sequencer.node).collect()
}

#[test]
fn a_log_gets_stripes_and_loses_them_while_it_is_appended_to() {
    let rig = Rig::start(4, 2, NATIVE);
    let (mut appended, is_over) = (Appended::new(), AtomicBool::new(false));
    let writer = support::client();
    let log = writer.cluster(&rig.nodes.addresses()).unwrap().open_log(LOG).unwrap();
    let by_writer = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut appended = Appended::new();
            for round in 0.. {
                append(&log, 1, round * 20..round * 20 + 20, &mut appended);
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
            appended
        });
        for (round, stripes) in [rotating(3), sharded(2), rotating(2), NATIVE].into_iter().enumerate() {
            rig.append(2 + round as u64, 50, &mut appended);
            rig.divide(stripes);
            let last = rig.last();
            assert_eq!((last.stripes().len(), last.is_sharded()), (stripes.count, stripes.sharded));
            assert_eq!(rig.cluster.root().unwrap().log(LOG).unwrap().stripes, stripes);
        }
        is_over.store(true, Ordering::Relaxed);
        writing.join().unwrap()
    });
    rig.append(9, 50, &mut appended);
    appended.extend(by_writer);
    assert_eq!(rig.read_all(), appended, "each is where it was acknowledged, and nothing else is there");
}

/// Whoever asks for other stripes may be gone before they are there, and others carry it out: the root register says so all the same.
#[test]
fn a_log_that_others_have_divided_keeps_no_node_from_leaving() {
    let mut rig = Rig::start(6, 3, sharded(2));
    let mut appended = Appended::new();
    rig.append(1, 20, &mut appended);
    let before = rig.last();
    let away: Vec<usize> = before.stripes()[1].log_servers[1..].iter().map(|at| rig.index(at.node)).collect();
    let away: Vec<_> = away.into_iter().map(|node| (node, rig.nodes.stop(node))).collect();
    let hasty = support::client_with(Limits { operation_timeout: Duration::from_secs(2), ..support::small_limits() });
    let cluster = hasty.cluster(&rig.nodes.addresses()).unwrap();
    let wanted = cluster.divided(LOG, &before, NATIVE).unwrap();
    let asked = cluster.open_log(LOG).unwrap().redivide(&rig.chain(), wanted, NATIVE.into());
    assert!(asked.is_err(), "a stripe cannot be sealed (L10): {asked:?}");
    drop(hasty);
    assert_eq!(rig.chain().intent.and_then(|intent| intent.stripes), Some(NATIVE.into()), "it is written down");
    away.into_iter().for_each(|(node, address)| rig.nodes.restart(node, address));
    // Nothing was sealed, so that appends go on as before until somebody wants another loglet, whichever.
    rig.append(2, 20, &mut appended);
    rig.log.extend(None, false).unwrap();
    rig.append(3, 20, &mut appended);
    assert_eq!((rig.last().stripes().len(), rig.chain().stripes), (1, Some(NATIVE.into())));
    let leaving = before.stripes()[1].log_servers[0].node;
    let drained = rig.cluster.drain(leaving).unwrap();
    assert!(drained.failures.is_empty(), "{drained:?}");
    assert_eq!(rig.cluster.root().unwrap().log(LOG).unwrap().range(), NATIVE.into());
    assert_eq!(rig.read_all(), appended);
}

#[test]
fn a_lost_sequencer_of_one_stripe_costs_neither_records_nor_stripes() {
    let mut rig = Rig::start(3, 3, rotating(3));
    let mut appended = Appended::new();
    rig.append(1, 100, &mut appended);
    let first = sequencers(&rig.last());
    let lost = first[1];
    rig.nodes.stop(rig.index(lost));
    rig.append(2, 100, &mut appended);
    let now = sequencers(&rig.last());
    assert_eq!((now.len(), now.contains(&lost)), (3, false), "{now:?}");
    assert_eq!((now[0], now[2]), (first[0], first[2]), "the others stay where they are");
    let found = rig.read_all();
    assert!(appended.iter().all(|(position, bytes)| found.get(position) == Some(bytes)));
}

#[test]
fn a_stripe_gets_another_log_server_and_is_read_from_it() {
    let mut rig = Rig::start(4, 3, rotating(2));
    let mut appended = Appended::new();
    rig.append(1, 101, &mut appended);
    let closed = rig.last();
    assert!(matches!(rig.log.extend(None, false).unwrap(), Extended::Done(_)));
    let stripe = &closed.stripes()[1];
    let members: Vec<Member> = rig.cluster.root().unwrap().nodes.iter().map(|node| node.member).collect();
    let spare = members.iter().find(|member| !closed.stores_on(member.node)).unwrap();
    let log_servers = [stripe.log_servers[0], stripe.log_servers[1], *spare];
    let chain = rig.log.modify(stripe.id, log_servers.to_vec()).unwrap();
    let changed = &chain.segments[0].loglet;
    assert_eq!(
        (changed.stripes()[1].log_servers.as_slice(), &changed.stripes()[0]),
        (&log_servers[..], &closed.stripes()[0])
    );
    assert_eq!(rig.read_all(), appended, "the other stripe is still there (P5)");
    // Of the second stripe the spare has the only copy left, and of the first somebody else.
    for member in &log_servers[..2] {
        rig.nodes.stop(rig.index(member.node));
    }
    assert_eq!(read(&rig.log, LogPos::ZERO, chain.segments[0].stop.unwrap()), appended);
}

#[test]
fn a_node_that_is_drained_is_left_by_all_stripes() {
    let rig = Rig::start(4, 3, rotating(3));
    let mut appended = Appended::new();
    rig.append(1, 50, &mut appended);
    let leaving = sequencers(&rig.last())[0];
    let drained = rig.cluster.drain(leaving).unwrap();
    assert!(drained.failures.is_empty(), "{drained:?}");
    let last = rig.last();
    assert_eq!((last.stripes().len(), last.nodes().contains(&leaving)), (3, false));
    rig.append(2, 50, &mut appended);
    assert_eq!(rig.read_all(), appended);
}

/// P5: what a log does not name is gone from its LogServers, and what it names stays.
#[test]
fn a_trim_deletes_the_stripes_that_leave_the_chain_and_no_others() {
    let rig = Rig::start(3, 3, rotating(2));
    let mut appended = Appended::new();
    rig.append(1, 60, &mut appended);
    let first = rig.last();
    rig.divide(rotating(3));
    rig.append(2, 60, &mut appended);
    let stop = rig.chain().segments[0].stop.unwrap();
    assert_eq!(rig.log.trim(stop).unwrap(), stop);
    assert_eq!(rig.chain().live(), rig.last().stripes().iter().map(|stripe| stripe.id).collect::<Vec<_>>());
    let named: BTreeSet<LogletId> = rig.chain().live().into_iter().collect();
    let stored = |status: &serde_json::Value| {
        let loglets = status["shards"][0]["loglets"].as_array().unwrap().iter();
        loglets.map(|loglet| serde_json::from_value(loglet["id"].clone()).unwrap()).collect::<BTreeSet<LogletId>>()
    };
    let statuses = rig.nodes.client.statuses(&rig.nodes.addresses());
    let stored: Vec<_> = statuses.into_iter().map(|status| stored(&status.unwrap())).collect();
    assert!(stored.iter().all(|stored| stored.is_superset(&named)), "{named:?}: {stored:?}");
    // One may be told later.
    assert!(stored.iter().filter(|stored| **stored == named).count() >= 2, "{first:?} and {named:?}: {stored:?}");
    assert_eq!(rig.read_all(), appended.split_off(&stop));
    let names: Vec<_> = rig.last().stripes().iter().map(|stripe| stripe.id).collect();
    let deleted = rig.cluster.delete_log(LOG).unwrap();
    assert_eq!((deleted.loglets, deleted.failures.len()), (names, 0), "each stripe for itself");
}
