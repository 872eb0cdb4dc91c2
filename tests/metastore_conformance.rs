//! The MetaStore conformance suite over the trait: the store that nodes keep themselves, on real nodes, and the one in files.

mod support;

/// The suite names what it tests as the library does.
use naxos::{base, proto, wire};
#[path = "../src/proto/metastore/conformance/suite.rs"]
mod suite;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use base::{Limits, NodeId, Nonce, RegisterId, Version};
use naxos::client::{Client, EmbeddedMetaStore, FileMetaStore, MetaStore};
use proto::metastore::contract::{MetaStoreOp, MetaStoreResult, OpId};
use suite::{MetaStoreUnderTest, metastore_conformance};
use support::CLUSTER;
use wire::{Decision, Member};

const REGISTERS: [RegisterId; 2] = [RegisterId(70), RegisterId(80)];

/// Each operation blocks a thread of its own.
#[derive(Default)]
struct Threads(BTreeMap<OpId, JoinHandle<MetaStoreResult>>);

impl Threads {
    fn start(&mut self, store: Arc<dyn MetaStore>, id: OpId, op: MetaStoreOp) {
        self.0.insert(id, std::thread::spawn(move || store.carry_out(op)));
    }

    fn finish(&mut self, id: OpId) -> MetaStoreResult {
        self.0.remove(&id).unwrap().join().unwrap()
    }
}

struct Files {
    directory: tempfile::TempDir,
    stores: [Arc<FileMetaStore>; 2],
    threads: Threads,
}

fn file_members() -> [Vec<Member>; 2] {
    let member = |node: u128| Member { node: NodeId(node), address: format!("10.0.0.{node}:4100").parse().unwrap() };
    [(1..=3).map(member).collect(), (3..=7).map(member).collect()]
}

fn open(directory: &Path) -> Arc<FileMetaStore> {
    let store = FileMetaStore::open(directory, &Limits::default()).unwrap();
    for register in REGISTERS {
        store.create(register, file_members()[0].clone(), b"birth".to_vec()).unwrap();
    }
    Arc::new(store)
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stores = [open(directory.path()), open(directory.path())];
        Self { directory, stores, threads: Threads::default() }
    }
}

impl MetaStoreUnderTest for Files {
    fn start(&mut self, client: usize, id: OpId, op: MetaStoreOp) {
        self.threads.start(self.stores[client].clone(), id, op);
    }

    fn finish(&mut self, id: OpId) -> MetaStoreResult {
        self.threads.finish(id)
    }

    fn registers(&self) -> [RegisterId; 2] {
        REGISTERS
    }

    fn memberships(&self) -> [Vec<Member>; 2] {
        file_members()
    }

    fn value_bytes_max(&self) -> usize {
        Limits::default().register_bytes_max as usize
    }

    fn restart(&mut self) -> bool {
        self.stores = [open(self.directory.path()), open(self.directory.path())];
        true
    }
}

/// Four nodes, of which three are a register's first members.
struct Nodes {
    nodes: support::Cluster,
    members: Vec<Member>,
    stores: [Arc<EmbeddedMetaStore>; 2],
    threads: Threads,
    _clients: [Client; 2],
}

impl Nodes {
    fn new() -> Self {
        let nodes = support::Cluster::start(4, 1);
        let addresses = nodes.addresses();
        nodes.client.begin_cluster(CLUSTER, &addresses).unwrap();
        let members = nodes.config.log_servers.clone();
        let clients = [support::client(), support::client()];
        let stores = clients.each_ref().map(|client| {
            let mut store = EmbeddedMetaStore::new(client.cluster(&addresses).unwrap());
            for register in REGISTERS {
                let (nonce, value) = (Nonce(u128::from(register.0)), b"birth".to_vec());
                store
                    .open(register, Decision { version: Version::BIRTH, nonce, members: members[..3].to_vec(), value });
            }
            Arc::new(store)
        });
        Self { nodes, members, stores, threads: Threads::default(), _clients: clients }
    }
}

impl MetaStoreUnderTest for Nodes {
    fn start(&mut self, client: usize, id: OpId, op: MetaStoreOp) {
        self.threads.start(self.stores[client].clone(), id, op);
    }

    fn finish(&mut self, id: OpId) -> MetaStoreResult {
        self.threads.finish(id)
    }

    fn registers(&self) -> [RegisterId; 2] {
        REGISTERS
    }

    fn memberships(&self) -> [Vec<Member>; 2] {
        [self.members[..3].to_vec(), self.members[1..].to_vec()]
    }

    fn value_bytes_max(&self) -> usize {
        Limits::default().register_bytes_max as usize
    }

    fn restart(&mut self) -> bool {
        let addresses: Vec<_> = (0..4).map(|node| self.nodes.stop(node)).collect();
        addresses.into_iter().enumerate().for_each(|(node, address)| self.nodes.restart(node, address));
        true
    }
}

#[test]
fn files_are_a_metastore() {
    metastore_conformance(Files::new);
}

#[test]
fn the_nodes_are_a_metastore() {
    metastore_conformance(Nodes::new);
}

#[test]
fn a_register_that_was_not_opened_is_unknown() {
    let op = MetaStoreOp::Read { register: RegisterId(99) };
    assert_eq!(Files::new().stores[0].carry_out(op.clone()), MetaStoreResult::UnknownRegister);
    assert_eq!(Nodes::new().stores[0].carry_out(op), MetaStoreResult::UnknownRegister);
}
