//! Control over real nodes: what is lost is replaced, without anybody asking.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use naxos::base::{LogPos, NodeId};
use naxos::client::{Chain, Client, ReadResult, VirtualLog, Wanted};
use naxos::control::Patience;
use naxos::node::{ControlOptions, Node, NodeConfig};
use support::CLUSTER;

/// How long anything here may take: the detector's bounds, and a machine that does other things as well.
const ENOUGH: Duration = Duration::from_secs(90);

struct Rig {
    nodes: Vec<Option<Node>>,
    addresses: Vec<SocketAddr>,
    client: Client,
    log: VirtualLog,
    _directory: tempfile::TempDir,
}

fn patience() -> Patience {
    let second = Duration::from_secs(1);
    Patience { sequencer: second, log_server: 2 * second, copies: 3 * second, intent: second }
}

impl Rig {
    /// So many nodes, and a log of three copies with some records in two closed segments and the active one.
    fn start(nodes: usize) -> Self {
        let directory = support::scratch();
        let start = |index: usize| {
            let control = Some(ControlOptions { patience: patience(), ..ControlOptions::default() });
            let config = support::node_config(&directory.path().join(index.to_string()));
            Node::start(NodeConfig { control, ..config }).unwrap()
        };
        let nodes: Vec<_> = (0..nodes).map(start).collect();
        let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
        let client = support::client();
        client.begin_cluster(CLUSTER, &addresses).unwrap();
        let cluster = client.cluster(&addresses).unwrap();
        cluster.found().unwrap();
        let log = cluster.create_log("default", 3).unwrap();
        let rig = Self { nodes: nodes.into_iter().map(Some).collect(), addresses, client, log, _directory: directory };
        for round in 0..3 {
            rig.append(round * 50..round * 50 + 50);
            if round < 2 {
                rig.log.extend(None, false).unwrap();
            }
        }
        rig
    }

    fn append(&self, range: std::ops::Range<u64>) {
        let appends: Vec<_> = range.map(|number| (number, self.log.append(&record(number)))).collect();
        for (number, append) in appends {
            assert_eq!(append.wait().unwrap(), LogPos(number));
        }
    }

    fn index(&self, node: NodeId) -> usize {
        let is_it = |running: &Option<Node>| running.as_ref().is_some_and(|running| running.node() == node);
        self.nodes.iter().position(is_it).expect("a running node")
    }

    fn stop(&mut self, node: NodeId) {
        let index = self.index(node);
        self.nodes[index].take().unwrap().stop();
    }

    /// Waits until the chain is so.
    fn await_chain(&self, what: &str, is_so: impl Fn(&Chain) -> bool) -> Chain {
        let deadline = Instant::now() + ENOUGH;
        loop {
            match self.log.chain() {
                Ok(chain) if is_so(&chain) => return chain,
                other => assert!(Instant::now() < deadline, "{what}: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Everything, by a client that knows nothing yet.
    fn read_all(&self, end: u64) {
        let log = self.client.cluster(&self.addresses).unwrap().open_log("default").unwrap();
        let mut at = LogPos::ZERO;
        while at < LogPos(end) {
            match log.read(at, LogPos(end), 4 << 10).unwrap() {
                ReadResult::Records(delivery) => {
                    delivery.records().zip(at.0..).for_each(|(bytes, number)| assert_eq!(bytes, record(number)));
                    at = delivery.end();
                }
                other => panic!("at {at}: {other:?}"),
            }
        }
    }
}

fn record(number: u64) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

fn names(chain: &Chain, node: NodeId) -> usize {
    let has = |members: &[naxos::wire::Member]| members.iter().any(|member| member.node == node);
    chain.segments.iter().filter(|segment| has(&segment.loglet.first().log_servers)).count()
}

#[test]
fn a_lost_log_server_is_replaced_and_its_copies_are_restored_while_nobody_uses_the_log() {
    let mut rig = Rig::start(4);
    let chain = rig.log.chain().unwrap();
    let active = &chain.last().loglet;
    let lost =
        active.log_servers().map(|member| member.node).find(|node| *node != active.first().sequencer.node).unwrap();
    rig.stop(lost);
    let healed = rig.await_chain("nothing names it any more", |chain| names(chain, lost) == 0);
    assert!(healed.segments.iter().all(|segment| segment.loglet.first().log_servers.len() == 3));
    // L8: the registers have other keepers as well, and outlive another loss.
    let deadline = Instant::now() + ENOUGH;
    let keeps = || {
        let cluster = rig.client.cluster(&rig.addresses).unwrap();
        cluster.uses(lost).unwrap().len()
    };
    while keeps() > 0 {
        assert!(Instant::now() < deadline, "registers still name it");
        std::thread::sleep(Duration::from_millis(200));
    }
    // Two of four are enough to read all of it, for each record has three copies again.
    let mut members = healed.last().loglet.first().log_servers.iter().map(|member| member.node);
    let is_new = |node: &NodeId| !active.log_servers().any(|member| member.node == *node);
    let spare = members.find(is_new).unwrap();
    assert_eq!(names(&healed, spare), healed.segments.len());
    rig.append(150..160);
    rig.read_all(160);
    // Only the one that got the copies has those that are read now.
    let others: Vec<NodeId> = rig.nodes.iter().flatten().map(Node::node).filter(|node| *node != spare).collect();
    let log = rig.log.clone();
    others.into_iter().for_each(|node| rig.stop(node));
    match log.read(LogPos(0), LogPos(50), 1 << 20).unwrap() {
        ReadResult::Records(delivery) => assert_eq!(delivery.records().next().unwrap(), record(0)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sequencer_of_a_log_that_nobody_uses_is_replaced() {
    let mut rig = Rig::start(3);
    let sequencer = rig.log.chain().unwrap().last().loglet.first().sequencer.node;
    rig.stop(sequencer);
    let chain = rig.await_chain("another one", |chain| chain.last().loglet.first().sequencer.node != sequencer);
    assert_eq!(chain.segments.len(), 4);
    rig.append(150..160);
    rig.read_all(160);
    // And then nothing more, however long the node stays away: there is nobody in its place.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(rig.log.chain().unwrap().segments.len(), 4);
}

#[test]
fn an_intent_whose_writer_has_died_is_carried_out() {
    let rig = Rig::start(4);
    let chain = rig.log.chain().unwrap();
    let active = chain.last().loglet.clone();
    let spare = rig.nodes.iter().flatten().find(|node| active.log_servers().all(|member| member.node != node.node()));
    let spare = spare.unwrap();
    // None of the LogServers: where it is nobody knows but by the intent.
    let sequencer = naxos::wire::Member { node: spare.node(), address: spare.address() };
    let wanted = Wanted::native(sequencer, active.first().log_servers.clone());
    // A client that dies once it has written its intent: whichever step it is at, somebody finishes it.
    let client = support::client();
    let log = client.cluster(&rig.addresses).unwrap().open_log("default").unwrap();
    let mut extending = log.start_extend(Some(wanted.clone()), true).unwrap();
    let deadline = Instant::now() + ENOUGH;
    while rig.log.chain().unwrap().intent.is_none() && extending.try_take().is_none() {
        assert!(Instant::now() < deadline);
    }
    drop((extending, log, client));
    let chain =
        rig.await_chain("as it was intended", |chain| chain.last().loglet.first().sequencer.node == spare.node());
    assert_eq!(chain.last().loglet.first().log_servers, wanted.stripes()[0].log_servers);
    assert!(chain.intent.is_none() && chain.last().fulfils.is_some());
    rig.append(150..160);
    rig.read_all(160);
}
