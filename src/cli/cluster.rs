//! `naxos cluster`: how a cluster of nodes on their own machines begins.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;

use super::args::{ClusterCommand, FindCluster, Global, InitCluster};
use super::cluster_file::{ClusterFile, NodeEntry, path, start_client};
use super::metastore::MetaStoreChoice;
use super::{exit, output};
use crate::base::ClusterId;
use crate::client::Root;
use crate::io::DriverChoice;
use crate::loadgen::explain::counted;

/// The log that commands mean when nobody says otherwise.
const DEFAULT_LOG: &str = "default";

pub(super) fn run(global: &Global, command: &ClusterCommand) -> anyhow::Result<()> {
    match command {
        ClusterCommand::Init(options) => init(global, options),
        ClusterCommand::Find(options) => find(global, options),
    }
}

/// Begins a cluster with these nodes, or finishes its beginning, and writes the file by which others find it.
fn init(global: &Global, options: &InitCluster) -> anyhow::Result<()> {
    let client = start_client(global, DriverChoice::Auto)?;
    let first = options.nodes[0];
    let cluster = client.hello(first).with_context(|| format!("ask {first} which cluster it is for"))?.cluster;
    client.begin_cluster(cluster, &options.nodes).context("begin the cluster")?;
    let root = client.cluster(&options.nodes)?.found().context("write the list of nodes")?;
    if root.nodes.len() != options.nodes.len() {
        let text = format!("the cluster has begun before, with {}", counted(root.nodes.len(), "node"));
        return Err(exit::coded(exit::USAGE, text));
    }
    let (file, path) = write_file(global, cluster, &root)?;
    let text =
        format!("cluster {cluster} of {}; {} says where to find it", counted(root.nodes.len(), "node"), path.display());
    let printed = match global.json {
        true => output::json(&json!({ "cluster_file": path, "cluster": cluster, "nodes": file.nodes })),
        false => output::text(format_args!("{text}\nnext: naxos log create default")),
    };
    output::after(text, printed)
}

/// Writes the file by which others find a cluster that is there.
fn find(global: &Global, options: &FindCluster) -> anyhow::Result<()> {
    let client = start_client(global, DriverChoice::Auto)?;
    let found = client.cluster(&options.nodes).context("find the cluster")?;
    let (file, path) = write_file(global, found.id(), &found.root()?)?;
    let metastore = found.registers_in().map_or(MetaStoreChoice::Paxos, |files| MetaStoreChoice::Files(files.into()));
    if global.json {
        let metastore = metastore.to_string();
        return output::json(
            &json!({ "cluster_file": path, "cluster": found.id(), "nodes": file.nodes, "metastore": metastore }),
        );
    }
    let (id, nodes) = (found.id(), counted(file.nodes.len(), "node"));
    output::text(format_args!(
        "cluster {id} of {nodes}, MetaStore {metastore}; {} says where to find it",
        path.display()
    ))
}

fn write_file(global: &Global, cluster: ClusterId, root: &Root) -> anyhow::Result<(ClusterFile, PathBuf)> {
    let nodes = root.nodes.iter().map(|node| &node.member);
    let nodes = nodes.map(|member| NodeEntry { node: member.node, address: member.address, pid: None }).collect();
    let file = ClusterFile { cluster, default_log: DEFAULT_LOG.to_owned(), nodes };
    let path = path(global);
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    file.save(&path)?;
    Ok((file, path))
}
