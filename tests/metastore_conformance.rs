//! The MetaStore conformance suite over the trait: the store that nodes keep themselves, on real nodes, and the one in files.

mod support;

/// The suite names what it tests as the library does.
use naxos::{base, proto, wire};
#[path = "../src/proto/metastore/conformance/suite.rs"]
mod suite;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use base::{Limits, NodeId, Nonce, RegisterId, Version};
use naxos::client::{EmbeddedMetaStore, FileMetaStore, MetaStore};
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

/// Two clients' stores of the same registers.
type Stores = [Arc<dyn MetaStore>; 2];

/// A kind of store whose operations block.
struct Blocking {
    stores: Stores,
    memberships: [Vec<Member>; 2],
    threads: Threads,
    /// Ends what keeps the registers, and starts it again.
    restart: Box<dyn FnMut(&mut Stores)>,
}

impl MetaStoreUnderTest for Blocking {
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
        self.memberships.clone()
    }

    fn value_bytes_max(&self) -> usize {
        Limits::default().register_bytes_max as usize
    }

    fn restart(&mut self) -> bool {
        (self.restart)(&mut self.stores);
        true
    }
}

fn files() -> Blocking {
    let member = |node: u128| Member { node: NodeId(node), address: format!("10.0.0.{node}:4100").parse().unwrap() };
    let memberships: [Vec<Member>; 2] = [(1..=3).map(member).collect(), (3..=7).map(member).collect()];
    let (directory, first) = (tempfile::tempdir().unwrap(), memberships[0].clone());
    let open = move || -> Arc<dyn MetaStore> {
        let store = FileMetaStore::open(directory.path(), &Limits::default()).unwrap();
        for register in REGISTERS {
            store.create(register, first.clone(), b"birth".to_vec()).unwrap();
        }
        Arc::new(store)
    };
    let stores = [open(), open()];
    let restart = Box::new(move |stores: &mut Stores| *stores = [open(), open()]);
    Blocking { stores, memberships, threads: Threads::default(), restart }
}

/// Four nodes, of which three are a register's first members.
fn nodes() -> Blocking {
    let mut nodes = support::Cluster::start(4, 1);
    let addresses = nodes.addresses();
    nodes.client.begin_cluster(CLUSTER, &addresses).unwrap();
    let members = nodes.config.log_servers.clone();
    let stores = [support::client(), support::client()].map(|client| -> Arc<dyn MetaStore> {
        let mut store = EmbeddedMetaStore::new(client.cluster(&addresses).unwrap());
        for register in REGISTERS {
            let (nonce, value) = (Nonce(u128::from(register.0)), b"birth".to_vec());
            store.open(register, Decision { version: Version::BIRTH, nonce, members: members[..3].to_vec(), value });
        }
        Arc::new(store)
    });
    let restart = Box::new(move |_: &mut Stores| {
        let addresses: Vec<_> = (0..4).map(|node| nodes.stop(node)).collect();
        addresses.into_iter().enumerate().for_each(|(node, address)| nodes.restart(node, address));
    });
    let memberships = [members[..3].to_vec(), members[1..].to_vec()];
    Blocking { stores, memberships, threads: Threads::default(), restart }
}

#[test]
fn files_are_a_metastore() {
    metastore_conformance(files);
}

#[test]
fn the_nodes_are_a_metastore() {
    metastore_conformance(nodes);
}

#[test]
fn a_register_that_was_not_opened_is_unknown() {
    let op = MetaStoreOp::Read { register: RegisterId(99) };
    assert_eq!(files().stores[0].carry_out(op.clone()), MetaStoreResult::UnknownRegister);
    assert_eq!(nodes().stores[0].carry_out(op), MetaStoreResult::UnknownRegister);
}
