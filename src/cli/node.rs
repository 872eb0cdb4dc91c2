//! `naxos node`: the nodes of a cluster, and how they leave it.

use std::net::SocketAddr;

use anyhow::Context;
use serde_json::json;

use super::args::{Global, NodeCommand};
use super::cluster_file::Session;
use super::status_table::Table;
use super::{exit, output};
use crate::base::NodeId;
use crate::client::{Cluster, ClusterError, Drained, NodeRecord, NodeState, Root};

/// Rows of a table; a cluster has no more.
const ROWS_MAX: usize = 255;

pub(super) fn run(global: &Global, command: &NodeCommand) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    let cluster = session.cluster()?;
    let root = cluster.root()?;
    let named = |text: &str| find(&root, text).map(|record| record.member.node);
    match command {
        NodeCommand::List => list(global, &cluster, &root),
        NodeCommand::Drain(options) => drain(global, &cluster, named(&options.node)?),
        NodeCommand::Undrain(options) => {
            let node = named(&options.node)?;
            cluster.undrain(node).with_context(|| format!("undrain node {}", short(node)))?;
            done(global, node, "active", format_args!("node {} is used again", short(node)))
        }
        NodeCommand::Remove(options) => {
            let node = named(&options.node)?;
            cluster.remove(node).with_context(|| format!("remove node {}", short(node)))?;
            done(
                global,
                node,
                "removed",
                format_args!("node {} is no node of the cluster any more; stop it", short(node)),
            )
        }
    }
}

/// Enough of an identity to tell a cluster's nodes apart.
pub(super) fn short(node: NodeId) -> String {
    node.to_string().chars().take(8).collect()
}

/// The node whose identity begins with this, or that is at this address.
pub(super) fn find<'a>(root: &'a Root, text: &str) -> anyhow::Result<&'a NodeRecord> {
    let address: Option<SocketAddr> = text.parse().ok();
    let is_it = |node: &&NodeRecord| match address {
        Some(address) => node.member.address == address,
        None => node.member.node.to_string().starts_with(text),
    };
    let found: Vec<_> = root.nodes.iter().filter(is_it).collect();
    match found[..] {
        [one] => Ok(one),
        _ => {
            let known: Vec<_> = root.nodes.iter().map(|node| short(node.member.node)).collect();
            let (count, known) = (found.len(), known.join(", "));
            let how = if address.is_some() { "are at" } else { "begin with" };
            Err(exit::coded(exit::USAGE, format!("{count} nodes {how} `{text}`; the cluster has: {known}")))
        }
    }
}

fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "active",
        NodeState::Draining => "draining",
    }
}

fn list(global: &Global, cluster: &Cluster, root: &Root) -> anyhow::Result<()> {
    let living = cluster.living(root);
    let is_up = |record: &NodeRecord| living.contains(&record.member.node);
    if global.json {
        let node = |record: &NodeRecord| {
            json!({
                "node": record.member.node, "address": record.member.address, "state": state_name(record.state),
                "zone": record.zone, "up": is_up(record)
            })
        };
        let nodes: Vec<_> = root.nodes.iter().map(node).collect();
        return output::json(&json!({ "cluster": cluster.id(), "nodes": nodes }));
    }
    let mut table = Table::new(&["NODE", "ADDRESS", "STATE", "ZONE", "UP"], ROWS_MAX);
    for record in &root.nodes {
        let zone = record.zone.clone().unwrap_or_else(|| "-".to_owned());
        let up = if is_up(record) { "yes" } else { "NO" };
        let address = record.member.address.to_string();
        let state = state_name(record.state).to_owned();
        table.row(vec![short(record.member.node), address, state, zone, up.to_owned()]);
    }
    output::text(table)
}

fn done(global: &Global, node: NodeId, state: &str, text: impl std::fmt::Display) -> anyhow::Result<()> {
    let printed = match global.json {
        true => output::json(&json!({ "node": node, "state": state })),
        false => output::text(text),
    };
    output::after(format_args!("node {} is {state} now", short(node)), printed)
}

fn drain(global: &Global, cluster: &Cluster, node: NodeId) -> anyhow::Result<()> {
    let Drained { left, failures } = cluster.drain(node).with_context(|| format!("drain node {}", short(node)))?;
    let name = |log: &Option<String>| match log {
        Some(log) => format!("log `{log}`"),
        None => "the root register".to_owned(),
    };
    let failed: Vec<_> = failures.iter().map(|(log, error)| format!("{}: {error}", name(log))).collect();
    let printed = if global.json {
        output::json(&json!({ "node": node, "state": "draining", "left": left, "failures": failed }))
    } else {
        let what = match left.len() {
            0 => "nothing is left on it: `naxos node remove` takes it out of the cluster",
            _ => "it can be removed when nothing of this is on it any more:",
        };
        let lines = left.iter().map(|user| format!("\n  {user}"));
        output::text(format_args!("node {} is draining; {what}{}", short(node), lines.collect::<String>()))
    };
    if failed.is_empty() {
        return output::after(format_args!("node {} is draining now", short(node)), printed);
    }
    let unavailable = failures.iter().any(|(_, error)| matches!(error, ClusterError::Op(_) | ClusterError::Unknown));
    let code = if unavailable { exit::UNAVAILABLE } else { exit::FAILURE };
    Err(exit::coded(code, format!("not everything could be moved; do it again: {}", failed.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Member;

    #[test]
    fn a_node_is_named_by_its_beginning_or_its_address() {
        let member = |node: u128, port: u16| Member { node: NodeId(node << 96), address: ([10, 0, 0, 1], port).into() };
        let root = Root::begin(&[member(0xabc0_0000, 1), member(0xabd0_0000, 2)]);
        let found = |text: &str| find(&root, text).map(|record| record.member.address.port());
        assert_eq!((found("abc").unwrap(), found("abd0").unwrap(), found("10.0.0.1:2").unwrap()), (1, 2, 2));
        let many = found("ab").unwrap_err().to_string();
        assert_eq!(many, "2 nodes begin with `ab`; the cluster has: abc00000, abd00000");
        assert!(found("10.0.0.1:3").unwrap_err().to_string().starts_with("0 nodes are at `10.0.0.1:3`"));
    }
}
