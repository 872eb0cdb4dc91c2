//! Logs that change their own number of stripes, and sequencers that spread, over real nodes.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use naxos::base::NodeId;
use naxos::client::{Chain, Client, Cluster, Extended, ReadResult, StripeRange, Stripes, VirtualLog};
use naxos::control::{Patience, Scaling};
use naxos::node::{ControlOptions, Node, NodeConfig};
use naxos::wire::Member;
use serde_json::Value;
use support::process::{NodeProcess, program};
use support::{CLUSTER, record};

const LOG: &str = "default";
/// How long anything here may take, on a machine that does other things as well.
const ENOUGH: Duration = Duration::from_secs(120);
const SECOND: Duration = Duration::from_secs(1);

/// Marks that no sequencer reaches.
const NEVER: Scaling = Scaling {
    round: SECOND,
    high: 9.0,
    high_rounds: 2,
    waits: 1e9,
    low: -1.0,
    low_rounds: 2,
    rest: Duration::from_millis(500),
};

struct Rig {
    nodes: Vec<Option<Node>>,
    addresses: Vec<SocketAddr>,
    scaling: Scaling,
    cluster: Cluster,
    log: VirtualLog,
    client: Client,
    appended: u64,
    directory: tempfile::TempDir,
}

fn config(directory: &std::path::Path, scaling: Scaling) -> NodeConfig {
    let patience = Patience { sequencer: SECOND, log_server: 60 * SECOND, copies: 60 * SECOND, intent: SECOND };
    let control = Some(ControlOptions { patience, scaling, ..ControlOptions::default() });
    NodeConfig { control, ..support::node_config(directory) }
}

impl Rig {
    /// Three nodes of so many shards, and a log of three copies on them.
    fn start(shards: usize, scaling: Scaling, stripes: impl Into<StripeRange>) -> Self {
        Self::start_of(3, shards, scaling, stripes)
    }

    /// Of so many copies.
    fn start_of(replicas: usize, shards: usize, scaling: Scaling, stripes: impl Into<StripeRange>) -> Self {
        let directory = support::scratch();
        let start = |index: usize| {
            let config = config(&directory.path().join(index.to_string()), scaling);
            Node::start(NodeConfig { shards: Some(shards), ..config }).unwrap()
        };
        let nodes: Vec<_> = (0..3).map(start).collect();
        let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
        let client = support::client();
        client.begin_cluster(CLUSTER, &addresses).unwrap();
        let cluster = client.cluster(&addresses).unwrap();
        cluster.found().unwrap();
        let log = cluster.create_striped_log(LOG, replicas, stripes).unwrap();
        let nodes = nodes.into_iter().map(Some).collect();
        Self { nodes, addresses, scaling, cluster, log, client, appended: 0, directory }
    }

    fn append(&mut self, count: u64) {
        let appends: Vec<_> = (0..count).map(|at| self.log.append(&record(1, self.appended + at))).collect();
        for append in appends {
            append.wait().unwrap();
        }
        self.appended += count;
    }

    /// Appends until the chain is so.
    fn append_until(&mut self, what: &str, is_so: impl Fn(&Chain) -> bool) -> Chain {
        let deadline = Instant::now() + ENOUGH;
        loop {
            let chain = self.log.chain().unwrap();
            if is_so(&chain) {
                return chain;
            }
            assert!(Instant::now() < deadline, "{what}: {chain:?}; {:?}", self.reasons());
            self.append(8);
        }
    }

    /// What the nodes have decided about the log.
    fn reasons(&self) -> Vec<String> {
        let running: Vec<_> = self.nodes.iter().flatten().map(Node::address).collect();
        let statuses = self.client.statuses(&running).into_iter().flatten();
        statuses.filter_map(|status| Some(status["shards"][0]["scaling"][LOG].as_str()?.to_owned())).collect()
    }

    /// Everything that was appended is there, to a client that knows nothing yet. Returns how many of them are there twice.
    fn check(&self) -> usize {
        let client = support::client();
        let log = client.cluster(&self.addresses).unwrap().open_log(LOG).unwrap();
        let (mut at, tail) = (log.chain().unwrap().first_position(), log.check_tail().unwrap());
        let (mut found, mut twice) = (BTreeSet::new(), 0);
        while at < tail {
            match log.read(at, tail, 64 << 10).unwrap() {
                ReadResult::Records(delivery) => {
                    delivery.records().for_each(|bytes| twice += usize::from(!found.insert(bytes.to_vec())));
                    at = delivery.end();
                }
                other => panic!("at {at}: {other:?}"),
            }
        }
        assert_eq!(found, (0..self.appended).map(|index| record(1, index)).collect());
        twice
    }
}

fn stripes(chain: &Chain) -> usize {
    chain.last().loglet.stripes().len()
}

fn sequencers(chain: &Chain) -> BTreeSet<NodeId> {
    chain.last().loglet.sequencers().map(|sequencer| sequencer.node).collect()
}

/// By its load: what is busy here is what a shard with appends uses and one without does not.
#[test]
fn a_busy_log_gets_more_stripes_while_it_is_used() {
    let scaling = Scaling { high: 0.05, ..NEVER };
    let range = StripeRange { least: Stripes::ONE, most: 2 };
    let mut rig = Rig::start(4, scaling, range);
    let chain = rig.append_until("two stripes", |chain| stripes(chain) == 2);
    assert_eq!(sequencers(&chain).len(), 2, "on different nodes");
    assert!(chain.segments.iter().all(|segment| segment.loglet.first().log_servers.len() == 3));
    assert!(chain.last().fulfils.is_some(), "it was written down before it was done");
    rig.append(50);
    assert_eq!(rig.check(), 0);
    let deadline = Instant::now() + ENOUGH;
    let is_told =
        |reason: &String| reason.contains("2 stripes of 1..2") && reason.contains("got 2 stripes instead of 1");
    while !rig.reasons().iter().any(is_told) {
        assert!(Instant::now() < deadline, "{:?}", rig.reasons());
        rig.append(8);
    }
}

/// Whatever is measured is quiet here: it goes down to the fewest, and not below.
#[test]
fn a_quiet_log_gets_fewer_stripes_and_a_log_with_a_fixed_number_keeps_it() {
    let scaling = Scaling { low: 4.0, ..NEVER };
    let mut rig = Rig::start(1, scaling, Stripes { count: 4, sharded: false });
    let fixed = rig.cluster.create_striped_log("fixed", 3, Stripes { count: 4, sharded: false }).unwrap();
    rig.append(20);
    rig.cluster.note_stripes(LOG, StripeRange { least: Stripes { count: 2, sharded: false }, most: 4 }).unwrap();
    let chain = rig.append_until("two stripes", |chain| stripes(chain) == 2);
    assert_eq!(sequencers(&chain).len(), 2);
    let deadline = Instant::now() + ENOUGH;
    while !rig.reasons().iter().any(|reason| reason.contains("quiet and has the fewest stripes")) {
        assert!(Instant::now() < deadline, "{:?}", rig.reasons());
        rig.append(8);
    }
    assert_eq!((stripes(&rig.log.chain().unwrap()), stripes(&fixed.chain().unwrap())), (2, 4));
    assert_eq!(rig.check(), 0);
}

/// As one who is gone before he could say so to the root register.
#[test]
fn the_root_register_follows_a_chain_that_says_how_the_log_is_divided() {
    let mut rig = Rig::start(1, NEVER, Stripes { count: 2, sharded: false });
    rig.append(20);
    let range = StripeRange { least: Stripes::ONE, most: 3 };
    let seen = rig.log.chain().unwrap();
    let wanted = rig.cluster.divided(LOG, &seen.last().loglet, Stripes::ONE).unwrap();
    assert!(matches!(rig.log.redivide(&seen, wanted, range).unwrap(), Extended::Done(_)));
    let deadline = Instant::now() + ENOUGH;
    while rig.cluster.root().unwrap().log(LOG).unwrap().range() != range {
        assert!(Instant::now() < deadline, "the root register says still how the log was divided before");
        std::thread::sleep(Duration::from_millis(50));
    }
    rig.append(20);
    assert_eq!(rig.check(), 0);
}

/// They are told apart in the list of logs as soon as there are nodes enough; what comes of it is left to control.
#[test]
fn stripes_that_are_to_be_stored_apart_are_once_a_node_has_joined() {
    let mut rig = Rig::start_of(2, 1, NEVER, Stripes { count: 2, sharded: false });
    let apart = Stripes { count: 2, sharded: true };
    rig.append(20);
    assert!(rig.cluster.note_stripes(LOG, apart).is_err(), "there are three nodes, and it takes four");
    let node = Node::start(config(&rig.directory.path().join("3"), NEVER)).unwrap();
    rig.cluster.join(Member { node: node.node(), address: node.address() }, None).unwrap();
    rig.addresses.push(node.address());
    rig.nodes.push(Some(node));
    rig.cluster.note_stripes(LOG, apart).unwrap();
    let chain = rig.append_until("stored apart", |chain| chain.last().loglet.is_sharded());
    assert_eq!((stripes(&chain), chain.last().loglet.nodes().len()), (2, 4));
    rig.append(20);
    assert_eq!(rig.check(), 0);
}

#[test]
fn a_node_that_is_back_is_given_stripes_again() {
    let mut rig = Rig::start(1, NEVER, Stripes { count: 3, sharded: false });
    assert_eq!(sequencers(&rig.log.chain().unwrap()).len(), 3);
    rig.append(20);
    let away = rig.nodes[2].as_ref().unwrap().node();
    rig.nodes[2].take().unwrap().stop();
    let without = rig.append_until("others sequence its stripe", |chain| !sequencers(chain).contains(&away));
    assert_eq!((stripes(&without), sequencers(&without).len()), (3, 2));
    let directory = rig.directory.path().join("2");
    let config = NodeConfig { shards: None, listen: rig.addresses[2], ..config(&directory, rig.scaling) };
    rig.nodes[2] = Some(Node::start(config).unwrap());
    let spread = rig.append_until("each sequences one", |chain| sequencers(chain).len() == 3);
    assert_eq!(stripes(&spread), 3);
    rig.append(20);
    // What the lost sequencer has not answered may be there twice.
    rig.check();
}

/// What a node's program is told with `naxos`, and answers.
fn told(cluster: &Path, arguments: &[&str]) -> Value {
    let output = program().args(["--json", "--cluster"]).arg(cluster).args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {output:?}"))
}

/// As an operator has it: the marks are in the node's file, the log grows while it is used and shrinks when it is not, and `why` says so.
#[test]
fn a_log_follows_its_load_by_the_marks_of_the_file() {
    let directory = support::scratch();
    let [file, data, cluster] = ["naxos.toml", "data", "cluster.json"].map(|name| directory.path().join(name));
    // Nothing is quiet but what is not used at all.
    let marks = "[scaling]\nround_ms = 1000\nbusy_percent = 3\nbusy_rounds = 2\nquiet_percent = 0\nquiet_rounds = 2\nrest_ms = 500\n";
    fs::write(&file, format!("[limits]\nsegment_bytes = \"8 MiB\"\nsegments_prepared = 2\n{marks}")).unwrap();
    let mut command = program();
    command.args(["--json", "serve", "--no-pin", "--shards", "4", "--exit-with-parent", "--listen", "127.0.0.1:0"]);
    command.args(["--cluster-id", &CLUSTER.to_string(), "--config"]).arg(&file).arg("--dir").arg(&data);
    let node = NodeProcess::start(command);
    told(&cluster, &["cluster", "init", &node.address.to_string()]);
    told(&cluster, &["log", "create", LOG, "--replicas", "1", "--stripes", "1..2"]);
    let client = support::client();
    let log = client.cluster(&[node.address]).unwrap().open_log(LOG).unwrap();
    let until = |count: usize, words: [&str; 2], meanwhile: &dyn Fn()| {
        let deadline = Instant::now() + ENOUGH;
        loop {
            let has = stripes(&log.chain().unwrap());
            let why = told(&cluster, &["why", LOG])["scaling"].as_str().unwrap_or_default().to_owned();
            if has == count && words.iter().all(|words| why.contains(words)) {
                return;
            }
            assert!(Instant::now() < deadline, "{words:?}: {why}");
            meanwhile();
        }
    };
    let append = || {
        for _ in 0..8 {
            let appends: Vec<_> = (0..1000).map(|index| log.append(&record(1, index))).collect();
            for append in appends {
                append.wait().unwrap();
            }
        }
    };
    until(2, ["busy and it has the most stripes", "got 2 stripes instead of 1 at 0."], &append);
    let pause = || std::thread::sleep(Duration::from_millis(100));
    until(1, ["quiet and has the fewest stripes", "got 1 stripe instead of 2 at 0.00"], &pause);
}
