//! Clusters over network namespaces, with packets that get lost one way or both: nobody hangs, and no log has two histories.
//!
//! They need root, `ip` and `nft`; without them each says why it is skipped. With `NAXOS_NETWORK_TESTS=required` that is a failure.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use naxos::base::LogPos;
use naxos::client::{Client, LogAppend, LogAppendError, ReadResult, VirtualLog};
use naxos::loadgen::network::{Network, NetworkError};
use naxos::node::{Node, NodeConfig};
use support::CLUSTER;

const NODES: usize = 3;
/// The machines of two clients.
const NEAR: usize = 3;
const FAR: usize = 4;
const PORT: u16 = 7000;
/// How long anything here may take.
const ENOUGH: Duration = Duration::from_secs(60);

struct Rig {
    network: Network,
    nodes: Vec<Node>,
    addresses: Vec<SocketAddr>,
    _directory: tempfile::TempDir,
}

/// The network, or why there is none.
fn network() -> Option<Network> {
    // The first rule shows whether there is `nft`.
    let try_out = |network: Network| network.lose_some(0, 0).and_then(|()| network.lose_nothing(0)).map(|()| network);
    match Network::start(5).and_then(try_out) {
        Ok(network) => Some(network),
        Err(error @ (NetworkError::Refused(_) | NetworkError::Missing { .. })) => {
            assert!(std::env::var_os("NAXOS_NETWORK_TESTS").is_none_or(|need| need != "required"), "{error}");
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

impl Rig {
    fn start() -> Option<Self> {
        let network = network()?;
        let directory = support::scratch();
        let start = |index: usize| {
            let config = support::node_config(&directory.path().join(index.to_string()));
            let listen = SocketAddr::new(network.address(index), PORT);
            network.on(index, move || Node::start(NodeConfig { listen, ..config }).unwrap())
        };
        let nodes: Vec<Node> = (0..NODES).map(start).collect();
        let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
        let rig = Self { network, nodes, addresses, _directory: directory };
        let client = rig.client(NEAR);
        client.begin_cluster(CLUSTER, &rig.addresses).unwrap();
        let cluster = client.cluster(&rig.addresses).unwrap();
        cluster.found().unwrap();
        cluster.create_log("default", NODES).unwrap();
        Some(rig)
    }

    fn client(&self, machine: usize) -> Client {
        self.network.on(machine, support::client)
    }

    fn writer(&self, machine: usize, name: u8) -> Writer {
        let client = self.client(machine);
        let log = client.cluster(&self.addresses).unwrap().open_log("default").unwrap();
        Writer::start(client, log, name)
    }

    /// The machine of the log's sequencer.
    fn sequencer(&self, log: &VirtualLog) -> usize {
        let sequencer = log.chain().unwrap().last().loglet.first().sequencer.node;
        self.nodes.iter().position(|node| node.node() == sequencer).unwrap()
    }

    /// Nothing goes from any of `some` to any of `others`.
    fn cut_one_way(&self, some: &[usize], others: &[usize]) {
        for to in others {
            some.iter().for_each(|from| self.network.lose_from(*to, self.network.address(*from)).unwrap());
        }
    }

    fn cut(&self, some: &[usize], others: &[usize]) {
        self.cut_one_way(some, others);
        self.cut_one_way(others, some);
    }

    fn heal(&self, machines: &[usize]) {
        machines.iter().for_each(|machine| self.network.lose_nothing(*machine).unwrap());
    }

    /// Everything in the log, by a client that knows nothing yet.
    fn read_all(&self) -> Vec<Vec<u8>> {
        let log = self.client(NEAR).clone();
        let opened = log.cluster(&self.addresses).unwrap().open_log("default").unwrap();
        let tail = opened.check_tail().unwrap();
        let (mut at, mut records) = (LogPos::ZERO, Vec::new());
        while at < tail {
            match opened.read(at, tail, 64 << 10).unwrap() {
                ReadResult::Records(delivery) => {
                    records.extend(delivery.records().map(<[u8]>::to_vec));
                    at = delivery.end();
                }
                other => panic!("at {at} of {tail}: {other:?}"),
            }
        }
        records
    }
}

/// Where a record was acknowledged, the record, and when.
type Told = Vec<(LogPos, Vec<u8>, Instant)>;

/// A client that appends one record after another.
struct Writer {
    log: VirtualLog,
    acknowledged: Arc<Mutex<Told>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Vec<LogAppendError>>,
    _client: Client,
}

impl Writer {
    fn start(client: Client, log: VirtualLog, name: u8) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (told, stop, writing) = (acknowledged.clone(), ends.clone(), log.clone());
        let thread = std::thread::spawn(move || {
            let mut failed = Vec::new();
            for number in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let record = [&[name][..], &number.to_le_bytes()].concat();
                let append: LogAppend = writing.append(&record);
                match append.wait() {
                    Ok(position) => told.lock().unwrap().push((position, record, Instant::now())),
                    Err(error) => failed.push(error),
                }
            }
            failed
        });
        Self { log, acknowledged, ends, thread, _client: client }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until more has been acknowledged, and returns how long that took.
    fn goes_on(&self, what: &str) -> Duration {
        let (begin, before) = (Instant::now(), self.count());
        while self.count() < before + 3 {
            assert!(begin.elapsed() < ENOUGH, "{what}: nothing is acknowledged");
            std::thread::sleep(Duration::from_millis(5));
        }
        begin.elapsed()
    }

    fn stop(self) -> (Told, Vec<LogAppendError>) {
        self.ends.store(true, Ordering::Relaxed);
        let failed = self.thread.join().unwrap();
        (std::mem::take(&mut *self.acknowledged.lock().unwrap()), failed)
    }
}

/// All that was acknowledged is where it was said to be.
fn check(records: &[Vec<u8>], acknowledged: &[(LogPos, Vec<u8>, Instant)]) {
    for (position, record, _) in acknowledged {
        assert_eq!(records.get(position.0 as usize), Some(record), "at {position}");
    }
}

#[test]
fn clients_go_on_without_a_sequencer_that_only_the_log_servers_reach() {
    let Some(rig) = Rig::start() else { return };
    let (near, far) = (rig.writer(NEAR, b'n'), rig.writer(FAR, b'f'));
    near.goes_on("before");
    far.goes_on("before");
    let sequencer = rig.sequencer(&near.log);
    rig.cut(&[sequencer], &[NEAR]);
    let took = near.goes_on("cut off");
    assert!(took < Duration::from_secs(20), "{took:?}");
    // The other one has reached the old sequencer all the time, and found it sealed.
    far.goes_on("cut off");
    assert_ne!(rig.sequencer(&near.log), sequencer);
    rig.heal(&[sequencer, NEAR]);
    near.goes_on("healed");
    let (near, far) = (near.stop(), far.stop());
    assert!(near.1.is_empty() && far.1.is_empty(), "{:?} {:?}", near.1, far.1);
    let records = rig.read_all();
    check(&records, &near.0);
    check(&records, &far.0);
    let mut places: Vec<LogPos> = near.0.iter().chain(&far.0).map(|(position, ..)| *position).collect();
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "no position was acknowledged twice");
}

#[test]
fn answers_that_are_lost_one_way_hold_up_nobody_for_long() {
    let Some(rig) = Rig::start() else { return };
    let near = rig.writer(NEAR, b'n');
    near.goes_on("before");
    let sequencer = rig.sequencer(&near.log);
    // What the client sends arrives; what is answered does not.
    rig.cut_one_way(&[sequencer], &[NEAR]);
    let took = near.goes_on("one way");
    assert!(took < Duration::from_secs(20), "{took:?}");
    rig.heal(&[NEAR]);
    // A lossy line is no reason to stand still either.
    let lossy = rig.sequencer(&near.log);
    rig.network.lose_some(lossy, 10).unwrap();
    near.goes_on("ten percent are lost");
    rig.heal(&[lossy]);
    near.goes_on("healed");
    let (acknowledged, failed) = near.stop();
    assert!(failed.is_empty(), "{failed:?}");
    check(&rig.read_all(), &acknowledged);
}

#[test]
fn a_client_on_the_side_of_the_minority_is_told_nothing_that_is_not_so() {
    let Some(rig) = Rig::start() else { return };
    let near = rig.writer(NEAR, b'n');
    near.goes_on("before");
    let minority = rig.sequencer(&near.log);
    let majority: Vec<usize> = (0..NODES).filter(|node| *node != minority).collect();
    let others: Vec<usize> = majority.iter().copied().chain([FAR]).collect();
    rig.cut(&[minority, NEAR], &others);
    let cut_at = Instant::now();
    let far = rig.writer(FAR, b'f');
    far.goes_on("the majority goes on");
    std::thread::sleep(Duration::from_secs(2));
    let healed_at = Instant::now();
    let told =
        near.acknowledged.lock().unwrap().iter().filter(|(_, _, at)| *at > cut_at + Duration::from_secs(1)).count();
    assert_eq!(told, 0, "the minority acknowledges nothing");
    rig.heal(&[minority, NEAR, majority[0], majority[1], FAR]);
    near.goes_on("healed");
    assert!(healed_at.elapsed() < ENOUGH);
    let (near, far) = (near.stop(), far.stop());
    let records = rig.read_all();
    check(&records, &near.0);
    check(&records, &far.0);
}

/// What the nodes of `naxos bench paper --link-mbit` stand on.
#[test]
fn a_limited_link_passes_no_more_than_its_rate() {
    let Some(network) = network() else { return };
    const BYTES: usize = 2 << 20;
    let pass = |from: usize, to: usize| {
        let listener = network.on(to, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
        let to = SocketAddr::new(network.address(to), PORT);
        let receiver = std::thread::spawn(move || listener.accept().unwrap().0.read_to_end(&mut Vec::new()).unwrap());
        let begin = Instant::now();
        network.on(from, move || TcpStream::connect(to).unwrap().write_all(&[7; BYTES]).unwrap());
        assert_eq!(receiver.join().unwrap(), BYTES);
        begin.elapsed()
    };
    pass(0, 1);
    network.limit(0, 16).unwrap();
    // Without what passes at once at both ends of the cable.
    let least = Duration::from_secs_f64((BYTES - (512 << 10)) as f64 * 8.0 / 16e6);
    let (out, back, beside) = (pass(0, 1), pass(1, 0), pass(1, 2));
    assert!(out > least && back > least, "{out:?} and {back:?} at 16 Mbit/s, {least:?} at least");
    assert!(beside < out && beside < back, "{beside:?} between two that have no limit, {out:?} and {back:?} with one");
}
