//! Nodes as processes that begin a cluster or join one by themselves, and the commands that show and change who belongs to it.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use naxos::base::NodeId;
use naxos::client::{Client, ClusterError, GenesisError};
use serde_json::Value;
use support::process::program;
use support::{CLUSTER, scratch};

const FAILURE: i32 = 1;
const USAGE: i32 = 2;
const BLOCKED: i32 = 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// Addresses that were free a moment ago: who is to be found by others needs one that they know before.
fn addresses(count: usize) -> Vec<SocketAddr> {
    // Of a loopback address of its own: nobody else comes to have one while its node is away.
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, high | 1, low, NEXT.fetch_add(1, Ordering::Relaxed));
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind((own, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// `naxos serve`, killed when it goes out of scope.
struct Node {
    child: Child,
    /// Its identity.
    id: NodeId,
}

fn serve(directory: &Path, listen: SocketAddr, options: &[&str]) -> Command {
    let mut command = program();
    command.args(["--json", "serve", "--no-pin", "--shards", "1", "--exit-with-parent", "--dir"]).arg(directory);
    command.args(["--listen", &listen.to_string()]).args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

impl Node {
    fn start(directory: &Path, listen: SocketAddr, options: &[&str]) -> Self {
        Self::ready(serve(directory, listen, options).spawn().unwrap())
    }

    fn ready(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("a node says when it is ready");
        let id = ready["node"].as_str().unwrap().parse().unwrap();
        Self { child, id }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SIGKILL: nothing is finished on the way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it says when it ends by itself; it runs as long as its standard input is open.
fn ended(mut command: Command) -> Output {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let _input = child.stdin.take();
    let mut node = Node { child, id: NodeId(0) };
    eventually("it ends by itself", || node.child.try_wait().unwrap().is_some());
    let read = |mut from: Box<dyn Read>| {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let (stdout, stderr) = (node.child.stdout.take().unwrap(), node.child.stderr.take().unwrap());
    let status = node.child.wait().unwrap();
    Output { status, stdout: read(Box::new(stdout)), stderr: read(Box::new(stderr)) }
}

fn naxos(file: &Path, arguments: &[&str]) -> Output {
    let mut command = program();
    command.arg("--cluster").arg(file).args(arguments).env_remove("NAXOS_CLUSTER").stdin(Stdio::null());
    command.output().unwrap()
}

fn json(file: &Path, arguments: &[&str]) -> Value {
    let output = naxos(file, &[&["--json"], arguments].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Expects this exit code and these words on standard error.
fn refused(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn quick() -> Client {
    let limits = naxos::base::Limits { operation_timeout: Duration::from_secs(2), ..support::small_limits() };
    support::client_with(limits)
}

/// How many nodes the cluster has that this one belongs to; none if it is in none, or it is not founded.
fn size_of(client: &Client, node: SocketAddr) -> Option<usize> {
    let root = client.cluster(&[node]).ok()?.root().ok()?;
    Some(root.nodes.len())
}

/// Three nodes that are to begin a cluster with each other.
struct Founders {
    directory: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
    peers: String,
    /// The cluster, if they are told.
    id: Option<String>,
}

impl Founders {
    fn new() -> Self {
        let addresses = addresses(3);
        let peers = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Self { directory: scratch(), addresses, peers, id: Some(CLUSTER.to_string()) }
    }

    /// Nobody tells them which cluster it is to be.
    fn without_id() -> Self {
        Self { id: None, ..Self::new() }
    }

    /// The one that names the cluster.
    fn first(&self) -> usize {
        (0..3).min_by_key(|node| self.addresses[*node]).unwrap()
    }

    fn path(&self, node: usize) -> PathBuf {
        self.directory.path().join(node.to_string())
    }

    /// All at once: they may wait for each other.
    fn start_all(&self) -> Vec<Node> {
        let spawned: Vec<_> = (0..3).map(|node| self.serve(node).spawn().unwrap()).collect();
        spawned.into_iter().map(Node::ready).collect()
    }

    fn options(&self) -> Vec<&str> {
        let id = self.id.iter().flat_map(|id| ["--cluster-id", id]);
        id.chain(["--bootstrap-expect", "3", "--peers", &self.peers, "--zone", "z"]).collect()
    }

    fn serve(&self, node: usize) -> Command {
        serve(&self.path(node), self.addresses[node], &self.options())
    }

    fn start(&self, node: usize) -> Node {
        Node::ready(self.serve(node).spawn().unwrap())
    }
}

#[test]
fn nodes_begin_one_cluster_when_all_are_there() {
    let founders = Founders::new();
    let client = quick();
    let mut nodes: Vec<_> = (0..2).map(|node| founders.start(node)).collect();
    let missing = client.bootstrap(CLUSTER, founders.addresses[0], &founders.addresses).unwrap_err();
    assert!(matches!(missing, ClusterError::Node(GenesisError::Unreached(_))), "{missing}");
    assert_eq!(size_of(&client, founders.addresses[0]), None, "nothing begins with a part of them");
    nodes.push(founders.start(2));
    for address in &founders.addresses {
        eventually("one cluster of three", || size_of(&client, *address) == Some(3));
    }
    let root = || client.cluster(&founders.addresses).unwrap().root().unwrap();
    eventually("with their zones", || root().nodes.iter().all(|node| node.zone.as_deref() == Some("z")));
    let before = root();
    // Again, without one of them: whoever has begun waits for nobody.
    nodes.clear();
    let _again: Vec<_> = (0..2).map(|node| founders.start(node)).collect();
    eventually("they go on", || size_of(&client, founders.addresses[1]) == Some(3));
    assert_eq!(root(), before);
    let stranger = addresses(1)[0];
    let id = CLUSTER.to_string();
    let _stranger = Node::start(&founders.directory.path().join("stranger"), stranger, &["--cluster-id", &id]);
    let peers = [founders.addresses[0], founders.addresses[1], stranger];
    let late = client.bootstrap(CLUSTER, stranger, &peers).unwrap_err();
    assert!(matches!(late, ClusterError::Node(GenesisError::BegunWithout(_))) && late.is_final(), "{late}");
}

#[test]
fn nodes_that_nobody_has_told_agree_on_one_cluster() {
    let founders = Founders::without_id();
    let client = quick();
    let (first, other) = (founders.first(), (founders.first() + 1) % 3);
    let _waiting = Node { child: founders.serve(other).spawn().unwrap(), id: NodeId(0) };
    // It is killed before anybody has heard of the name that it has drawn, and keeps it.
    drop(founders.start(first));
    let drawn = cluster_in(&founders.path(first));
    assert_ne!(drawn, CLUSTER.to_string());
    let mut nodes: Vec<_> = [first, (first + 2) % 3].into_iter().map(|node| founders.start(node)).collect();
    for address in &founders.addresses {
        eventually("one cluster of three", || size_of(&client, *address) == Some(3));
        assert_eq!(client.cluster(&[*address]).unwrap().id().to_string(), drawn);
    }
    let root = || client.cluster(&founders.addresses).unwrap().root().unwrap();
    eventually("with their zones", || root().nodes.iter().all(|node| node.zone.as_deref() == Some("z")));
    let before = root();

    // Another list with the same first node, which has begun by now.
    let late = addresses(2);
    let peers = format!("{},{},{}", founders.addresses[first], late[0], late[1]);
    let path = founders.directory.path().join("late");
    let late = serve(&path, late[0], &["--bootstrap-expect", "3", "--peers", &peers]);
    refused(&ended(late), FAILURE, &["the cluster has begun without the node at"]);
    // The first has lost its directory: the others do not follow it into a second cluster.
    nodes.remove(0);
    std::fs::remove_dir_all(founders.path(first)).unwrap();
    refused(&ended(founders.serve(first)), FAILURE, &["the cluster has begun without the node at"]);
    assert!(!path.join("node.json").exists() && !founders.path(first).join("node.json").exists(), "no node was made");
    assert_eq!(root(), before);
}

/// Nodes of two lists that name one node each, which is in the other list too or not: what begins, begins once.
#[test]
fn lists_of_peers_that_disagree_make_no_two_clusters() {
    let directory = scratch();
    let client = quick();
    let mut at = addresses(3);
    at.sort();
    let [one, two, three] = [at[0], at[1], at[2]];
    let start = |node: SocketAddr, peers: [SocketAddr; 2]| {
        let peers = peers.map(|peer| peer.to_string()).join(",");
        let options = ["--bootstrap-expect", "2", "--peers", &peers];
        Node::start(&directory.path().join(node.port().to_string()), node, &options)
    };
    // Both are the first of their lists, and draw.
    let _two = start(two, [two, three]);
    let first =
        serve(&directory.path().join("1"), one, &["--bootstrap-expect", "2", "--peers", &format!("{one},{two}")]);
    drop(start(one, [one, three]));
    let _three = start(three, [two, three]);
    for node in [two, three] {
        eventually("they begin", || size_of(&client, node) == Some(2));
    }
    refused(&ended(first), FAILURE, &["has begun without the node at"]);
    // It has drawn a name of its own before, and is of no use to anybody else.
    let foreign = ["--bootstrap-expect", "2", "--peers", &format!("{one},{three}")];
    refused(
        &ended(serve(&directory.path().join(one.port().to_string()), one, &foreign)),
        FAILURE,
        &["belongs to cluster"],
    );
    let root = client.cluster(&[two]).unwrap().root().unwrap();
    assert_eq!(root, client.cluster(&[three]).unwrap().root().unwrap());
    assert_eq!(root.nodes.len(), 2);
}

/// The one that begins the cluster is killed as soon as somebody has heard of it, and comes back.
#[test]
fn a_beginning_that_is_cut_short_ends_in_one_cluster() {
    for founders in [Founders::new(), Founders::without_id(), Founders::without_id()] {
        let client = quick();
        let mut nodes = founders.start_all();
        let first = (0..3).min_by_key(|node| nodes[*node].id).unwrap();
        eventually("it begins", || founders.addresses.iter().any(|address| client.cluster(&[*address]).is_ok()));
        nodes[first].child.kill().unwrap();
        nodes[first].child.wait().unwrap();
        nodes[first] = founders.start(first);
        for address in &founders.addresses {
            eventually("one cluster of three", || size_of(&client, *address) == Some(3));
        }
        client.cluster(&founders.addresses[..1]).unwrap().create_log("x", 3).unwrap();
        let logs = |address: &SocketAddr| client.cluster(&[*address]).unwrap().root().unwrap().logs;
        assert!(founders.addresses.iter().all(|address| logs(address).contains_key("x")), "it is the same one");
    }
}

#[test]
fn options_that_cannot_be_meant_are_refused() {
    let directory = scratch();
    let listen = addresses(1)[0];
    let run = |name: &str, options: &[&str]| ended(serve(&directory.path().join(name), listen, options));
    let own = listen.to_string();
    refused(&run("a", &["--cluster-id", "5", "--bootstrap-expect", "3", "--peers", &own]), USAGE, &["names 1 nodes"]);
    let other = ["--cluster-id", "5", "--bootstrap-expect", "1", "--peers", "127.0.0.1:9"];
    refused(&run("b", &other), USAGE, &["--peers does not name", &own]);
    refused(&run("c", &["--cluster-id", "5", "--zone", "z"]), USAGE, &["--zone needs --join"]);
    refused(&run("d", &[]), USAGE, &["--cluster-id is needed"]);
    let late = ["--bootstrap-expect", "1", "--cluster-id", "5"];
    refused(&run("f", &late), USAGE, &["--peers names 0 nodes"]);
    refused(&run("g", &["--peers", &own, "--cluster-id", "5"]), USAGE, &["--peers needs --bootstrap-expect"]);
    // What the file says is held against the flags: neither is silently given up.
    let config = directory.path().join("naxos.toml");
    std::fs::write(&config, format!("[node]\nbootstrap_expect = 1\npeers = [\"{own}\"]\ncluster_id = \"5\"\n"))
        .unwrap();
    let both = run("h", &["--config", config.to_str().unwrap(), "--join", &own]);
    refused(&both, USAGE, &["--join and --bootstrap-expect exclude each other"]);
    assert!(!directory.path().join("h").exists(), "nothing was made");
    refused(
        &run("e", &["--cluster-id", "5", "--join", &own, "--bootstrap-expect", "1", "--peers", &own]),
        USAGE,
        &["--join"],
    );
}

#[test]
fn a_node_joins_is_used_drained_and_removed_by_command() {
    let directory = scratch();
    let path = |name: &str| directory.path().join(name);
    let file = path("cluster.json");
    let at = addresses(4);
    let one = at[0].to_string();
    let id = CLUSTER.to_string();
    let alone = ["--cluster-id", &id, "--bootstrap-expect", "1", "--peers", &one];
    let _first = Node::start(&path("1"), at[0], &alone);
    let client = quick();
    eventually("it begins alone", || size_of(&client, at[0]) == Some(1));
    let found = json(&file, &["cluster", "find", &one]);
    assert_eq!(found["nodes"].as_array().unwrap().len(), 1);

    // Nobody has told them which cluster it is.
    let _second = Node::start(&path("2"), at[1], &["--join", &one]);
    let third = Node::start(&path("3"), at[2], &["--join", &one, "--zone", "east"]);
    eventually("they join", || size_of(&client, at[0]) == Some(3));
    let listed = json(&file, &["node", "list"]);
    let nodes = listed["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|node| node["up"] == true && node["state"] == "active"), "{listed}");
    assert!(nodes.iter().any(|node| node["zone"] == "east"));

    // A node of another cluster is turned away before it does anything.
    drop(Node::start(&path("foreign"), at[3], &["--cluster-id", "77"]));
    let foreign = ended(serve(&path("foreign"), at[3], &["--join", &one]));
    refused(&foreign, USAGE, &["is of cluster", "--join"]);

    json(&file, &["log", "create", "default", "--replicas", "2"]);
    refused(&naxos(&file, &["log", "create", "default"]), USAGE, &["there is a log `default` already"]);
    refused(&naxos(&file, &["log", "create", "wide", "--replicas", "4"]), USAGE, &["4 replicas need 4 nodes"]);
    refused(&naxos(&file, &["why", "nothing"]), USAGE, &["there is no log `nothing`"]);
    assert!(naxos(&file, &["append", "a", "b"]).status.success());
    let why = json(&file, &["why"]);
    assert_eq!(
        (why["appends_blocked"].as_bool(), why["findings"].as_array().unwrap().len()),
        (Some(false), 0),
        "{why}"
    );

    let third_id = third.id.to_string();
    refused(&naxos(&file, &["node", "remove", &third_id]), USAGE, &["is not draining"]);
    refused(&naxos(&file, &["node", "drain", "zzz"]), USAGE, &["0 nodes begin with `zzz`"]);
    json(&file, &["node", "drain", &at[2].to_string()]);
    refused(&naxos(&file, &["node", "drain", &at[1].to_string()]), USAGE, &["log `default` is stored on 2"]);
    let busy = ["log", "reconfigure", "--log-servers", &third_id, "--sequencer", &third_id];
    refused(&naxos(&file, &busy), USAGE, &["is draining"]);
    json(&file, &["node", "undrain", &third_id]);
    json(&file, &["node", "drain", &third_id]);
    json(&file, &["trim", "2"]);
    json(&file, &["log", "reconfigure"]);
    json(&file, &["trim", "2"]);
    json(&file, &["node", "remove", &third_id]);
    assert_eq!(json(&file, &["node", "list"])["nodes"].as_array().unwrap().len(), 2);
    drop(third);

    assert!(naxos(&file, &["append", "c"]).status.success());
    refused(&naxos(&file, &["log", "delete", "default"]), USAGE, &["--yes"]);
    json(&file, &["log", "delete", "default", "--yes"]);
    refused(&naxos(&file, &["log", "delete", "default", "--yes"]), USAGE, &["there is no log `default`"]);
    json(&file, &["log", "create", "default", "--replicas", "2"]);
    assert_eq!(json(&file, &["tail"])["tail"], 0);
}

#[test]
fn why_names_what_blocks_appends() {
    let founders = Founders::new();
    let client = quick();
    let mut nodes: Vec<Node> = (0..3).map(|node| founders.start(node)).collect();
    eventually("one cluster of three", || size_of(&client, founders.addresses[0]) == Some(3));
    let file = founders.directory.path().join("cluster.json");
    let addresses: Vec<String> = founders.addresses.iter().map(ToString::to_string).collect();
    json(&file, &["cluster", "find", &addresses[0], &addresses[1], &addresses[2]]);
    json(&file, &["log", "create", "default"]);
    assert!(naxos(&file, &["append", "a"]).status.success());
    let sequencer = json(&file, &["log", "show"])["chain"]["segments"][0]["loglet"]["sequencer"]["node"].clone();
    let sequencer = nodes.iter().position(|node| sequencer == node.id.to_string()).unwrap();
    let why = |timeout: &str| naxos(&file, &["--timeout", timeout, "--json", "why"]);
    json(&file, &["log", "seal"]);
    let sealed = why("10");
    refused(&sealed, BLOCKED, &["appends of log `default` are blocked"]);
    let findings: Value = serde_json::from_slice(&sealed.stdout).unwrap();
    assert!(findings["findings"][0]["cause"].as_str().unwrap().contains("is sealed on"), "{findings}");
    assert!(naxos(&file, &["append", "b"]).status.success(), "the remedy is the next append");
    let well = why("10");
    assert!(well.status.success(), "{}", String::from_utf8_lossy(&well.stdout));

    let other = (0..3).find(|node| *node != sequencer).unwrap();
    nodes[other].child.kill().unwrap();
    nodes[other].child.wait().unwrap();
    let minority = why("2");
    assert!(minority.status.success(), "{}", String::from_utf8_lossy(&minority.stdout));
    assert!(String::from_utf8_lossy(&minority.stdout).contains("2 of 3 LogServers can store"));
    let last = (0..3).find(|node| ![sequencer, other].contains(node)).unwrap();
    nodes[last].child.kill().unwrap();
    nodes[last].child.wait().unwrap();
    let majority = why("2");
    refused(&majority, BLOCKED, &["are blocked"]);
    let text = String::from_utf8_lossy(&majority.stdout).into_owned();
    assert!(text.contains("2 of 3 members") && text.contains("2 are needed"), "{text}");
    nodes[last] = founders.start(last);
    eventually("it goes on", || naxos(&file, &["append", "c"]).status.success());
    assert_ne!(why("2").status.code(), Some(FAILURE));
}

/// The cluster that a node's directory belongs to.
fn cluster_in(directory: &Path) -> String {
    let identity: Value = serde_json::from_slice(&std::fs::read(directory.join("node.json")).unwrap()).unwrap();
    identity["cluster"].as_str().unwrap().to_owned()
}

/// What `naxos read --raw` prints.
fn records(file: &Path) -> String {
    String::from_utf8(naxos(file, &["read", "--raw"]).stdout).unwrap()
}

#[test]
fn one_node_keeps_its_registers_in_files() {
    let directory = scratch();
    let path = |name: &str| directory.path().join(name);
    let (file, registers, at) = (path("cluster.json"), path("registers"), addresses(2));
    let (one, store) = (at[0].to_string(), format!("file:{}", registers.display()));
    // Nobody tells it which cluster it is.
    let first = Node::start(&path("1"), at[0], &["--metastore", &store]);
    let id = first.id;
    let found = json(&file, &["cluster", "find", &one]);
    assert_eq!(found["metastore"], format!("file:{}", registers.canonicalize().unwrap().display()));
    let cluster = found["cluster"].as_str().unwrap().to_owned();

    json(&file, &["log", "create", "default"]);
    assert!(naxos(&file, &["append", "a", "b"]).status.success());
    json(&file, &["log", "reconfigure"]);
    assert!(naxos(&file, &["append", "c"]).status.success());
    json(&file, &["trim", "1"]);
    assert_eq!(records(&file), "bc");
    let shown = json(&file, &["log", "show"]);
    assert_eq!(shown["chain"]["segments"].as_array().unwrap().len(), 2);
    let register = std::fs::read_to_string(registers.join("register-0000000000000001")).unwrap();
    let kept: Value = serde_json::from_str(register.lines().nth(1).unwrap()).unwrap();
    assert_eq!(kept["version"], shown["chain"]["version"], "the chain is in the files");
    let status = json(&file, &["status"]);
    let of_node = status["nodes"][0]["status"]["shards"][0]["metastore"]["registers"].as_array().unwrap();
    assert_eq!(of_node.len(), 1, "and the node keeps nothing but where they are: {status}");
    assert_eq!(json(&file, &["why"])["findings"].as_array().unwrap().len(), 0);
    assert_eq!(json(&file, &["node", "list"])["nodes"].as_array().unwrap().len(), 1);

    // Killed, and back under another address: where the registers are is known without being told.
    drop(first);
    let first = Node::start(&path("1"), at[1], &["--cluster-id", &cluster, "--join", &at[1].to_string()]);
    assert_eq!(first.id, id);
    drop(first);
    let _first = Node::start(&path("1"), at[0], &["--metastore", &store, "--zone", "z"]);
    assert_eq!(json(&file, &["node", "list"])["nodes"][0]["zone"], "z");
    assert!(naxos(&file, &["append", "d"]).status.success());
    assert_eq!(records(&file), "bcd");
    json(&file, &["log", "delete", "default", "--yes"]);
    json(&file, &["log", "create", "default"]);
    assert_eq!(json(&file, &["tail"])["tail"], 0);
    assert_eq!(json(&file, &["cluster", "init", &one])["cluster"], *cluster, "it has begun, and stays as it is");
    assert!(json(&file, &["log", "list"])["logs"].get("default").is_some());
}

#[test]
fn registers_in_files_are_for_one_node_and_one_cluster() {
    let directory = scratch();
    let path = |name: &str| directory.path().join(name);
    let at = addresses(2);
    let (own, store) = (at[0].to_string(), |name: &str| format!("file:{}", path(name).display()));
    let run = |name: &str, listen: SocketAddr, options: &[&str]| ended(serve(&path(name), listen, options));
    let files = store("r");
    let cases: [(&[&str], &str); 6] = [
        (&["--metastore", &files, "--join", &own], "does not go with --join"),
        (&["--metastore", &files, "--bootstrap-expect", "2", "--peers", "127.0.0.1:1,127.0.0.1:2"], "one node"),
        (&["--metastore", &files, "--bootstrap-expect", "1", "--peers", "127.0.0.1:1"], "--peers does not name"),
        (&["--metastore", "etcd:here"], "`etcd:here` is no MetaStore"),
        (&["--metastore", "file:/proc/naxos"], "/proc/naxos"),
        (&["--metastore", &store("refused")], "is the node's own"),
    ];
    for (options, words) in cases {
        refused(&run("refused", at[0], options), USAGE, &[words]);
        assert!(!path("refused").exists() && !path("r").exists(), "nothing was made: {options:?}");
    }
    std::fs::create_dir(path("used")).unwrap();
    std::fs::write(path("used").join("letter"), "x").unwrap();
    refused(&run("refused-2", at[0], &["--metastore", &store("used")]), USAGE, &["a directory of their own", "letter"]);

    let first = Node::start(&path("1"), at[0], &["--metastore", &store("1r")]);
    refused(&run("2", at[1], &["--metastore", &store("1r")]), USAGE, &["holds the registers of cluster"]);
    refused(&run("2", at[1], &["--join", &own]), USAGE, &["registers in files", "one node for ever"]);
    assert!(!path("2").join("node.json").exists(), "no node was made");
    drop(first);
    // What it has begun with is what it goes on with.
    refused(&run("1", at[0], &["--metastore", &store("other")]), USAGE, &["has its registers in files in", "1r"]);
    let id = cluster_in(&path("1"));
    refused(&run("1", at[0], &["--metastore", "paxos", "--cluster-id", &id]), USAGE, &["registers in files in", "1r"]);
    std::fs::rename(path("1r"), path("moved")).unwrap();
    refused(&run("1", at[0], &["--metastore", &store("1r")]), 4, &["does not hold the registers of cluster"]);
    std::fs::remove_dir_all(path("1r")).unwrap();
    std::fs::rename(path("moved"), path("1r")).unwrap();
    drop(Node::start(&path("1"), at[0], &["--metastore", &store("1r")]));

    let other = at[1].to_string();
    let alone = ["--bootstrap-expect", "1", "--peers", &other, "--cluster-id", "5"];
    let paxos = Node::start(&path("paxos"), at[1], &alone);
    eventually("it begins alone", || size_of(&quick(), at[1]) == Some(1));
    drop(paxos);
    refused(&run("paxos", at[1], &["--metastore", &store("late")]), USAGE, &["keep its registers themselves"]);
}
