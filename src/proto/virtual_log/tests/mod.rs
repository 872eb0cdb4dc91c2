mod chain;
mod extend;
mod log;
mod striped;

use super::{Intent, LogletSpec, Wanted};
use crate::base::{Incarnation, IntentId, LogletId, NodeId};
use crate::wire::{LogletConfig, Member, Sequencer};

fn id(version: u64, nonce: u64) -> LogletId {
    LogletId { log: 7, version, nonce }
}

fn loglet(version: u64, nonce: u64) -> LogletConfig {
    let address = |node: u8| ([10, 0, 0, node], 7000).into();
    LogletConfig {
        id: id(version, nonce),
        sequencer: Sequencer { node: NodeId(1), incarnation: Incarnation(5), address: address(1) },
        log_servers: (1..4).map(|node| Member { node: NodeId(node.into()), address: address(node) }).collect(),
    }
}

/// Stripes on the LogServers of [`loglet`], with these sequencers.
fn striped(version: u64, nonce: u64, sequencers: &[u128]) -> LogletSpec {
    let stripe = |node: &u128| {
        let Member { node, address } = member(*node);
        (Sequencer { node, incarnation: Incarnation(5), address }, loglet(version, nonce).log_servers)
    };
    LogletSpec::new(id(version, nonce), sequencers.iter().map(stripe))
}

fn member(node: u128) -> Member {
    Member { node: NodeId(node), address: ([10, 0, 0, node as u8], 7000).into() }
}

fn intent(number: u128, replaces: LogletId) -> Intent {
    let wanted = Wanted::native(member(2), [2, 3, 4].map(member).to_vec());
    Intent { id: IntentId(number), replaces, wanted, stripes: None, since_unix_ms: 1_700_000_000_000 }
}
