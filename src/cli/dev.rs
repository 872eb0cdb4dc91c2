//! `naxos dev`: a whole cluster on this machine, in the foreground.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use super::args::{Dev, Global};
use super::cluster_file::{ClusterFile, FILE_NAME, NodeEntry, start_client};
use super::interrupt::Interrupt;
use super::serve::Ready;
use super::supervisor::{NodeOptions, Supervisor};
use super::{directory, exit, output};
use crate::base::{ClusterId, Incarnation, LogletId};
use crate::client::{Client, VirtualLog};
use crate::wire::{LogletConfig, Member, Sequencer};

const LOG_NAME: &str = "default";

pub(super) fn run(global: &Global, options: &Dev) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    // Asked here as well, so that a refusal is said once, and not by every node in its log.
    options.driver.driver.resolve()?;
    directory::prepare(&options.dir, options.allow_volatile)?;
    let path = options.dir.join(FILE_NAME);
    let before = if path.exists() { Some(ClusterFile::load(&path)?) } else { None };
    if let Some(known) =
        before.as_ref().map(|file| file.nodes.len()).filter(|&known| known != usize::from(options.nodes))
    {
        return Err(exit::coded(
            exit::USAGE,
            format!(
                "{} holds a cluster of {known} nodes; use --nodes {known}, or another --dir",
                options.dir.display()
            ),
        ));
    }
    let cluster = before.as_ref().map_or_else(ClusterId::random, |file| file.cluster);
    let node_options = NodeOptions {
        directory: &options.dir,
        cluster,
        nodes: options.nodes,
        shards: options.shards,
        allow_volatile: options.allow_volatile,
        prepare_bytes: None,
        driver: options.driver.driver,
        profile: true,
        lanes: 1,
        listen: &before.iter().flat_map(|file| &file.nodes).map(|node| node.address).collect::<Vec<_>>(),
        network: None,
        cores: None,
    };
    let mut supervisor = Supervisor::start(&node_options, &interrupt)?;
    let nodes: Vec<Ready> = supervisor.ready().cloned().collect();
    let entry = |ready: &Ready| NodeEntry { node: ready.node, address: ready.address, pid: Some(ready.pid) };
    let file = ClusterFile { cluster, default_log: LOG_NAME.to_owned(), nodes: nodes.iter().map(entry).collect() };
    // Whatever comes next can be gone on with by the next start, which finds the cluster by this file.
    file.save(&path)?;
    let client = start_client(global, options.driver.driver)?;
    let log = default_log(&client, &file)?;
    if before.is_some() {
        // A sequencer is one life of one process: the one of the last start is gone, and the first append would find out.
        log.extend(None, false).context("cannot go on with the log")?;
    }
    announce(global, &file, &path)?;
    watch(&mut supervisor, &interrupt)?;
    supervisor.stop()
}

/// Begins the cluster, or goes on with it, and opens its log.
fn default_log(client: &Client, file: &ClusterFile) -> anyhow::Result<VirtualLog> {
    let addresses = file.addresses();
    client.begin_cluster(file.cluster, &addresses).context("cannot begin the cluster")?;
    let cluster = client.cluster(&addresses).context("cannot find the cluster")?;
    cluster.found().context("cannot write the list of nodes")?;
    // A start that was cut short may have left it half made.
    cluster.open_or_create_log(LOG_NAME, file.nodes.len().min(3)).context("cannot create the log")
}

/// Reports nodes that end, until all have ended or the program is asked to.
fn watch(supervisor: &mut Supervisor, interrupt: &Interrupt) -> anyhow::Result<()> {
    while !interrupt.wait(Duration::from_millis(100)) {
        for failure in supervisor.failures()? {
            output::note(failure);
        }
        if supervisor.all_ended() {
            bail!("no node is left");
        }
    }
    Ok(())
}

fn announce(global: &Global, file: &ClusterFile, path: &Path) -> anyhow::Result<()> {
    if global.json {
        return output::json(
            &json!({ "cluster_file": path, "cluster": file.cluster, "log": file.default_log, "nodes": file.nodes }),
        );
    }
    for node in &file.nodes {
        output::text(format_args!("node {} on {}", node.node, node.address))?;
    }
    let flag = if path == Path::new("naxos-dev").join(FILE_NAME) {
        String::new()
    } else {
        format!(" --cluster {}", path.display())
    };
    output::text(format_args!("log `{}` is ready; in another terminal:", file.default_log))?;
    output::text(format_args!("  naxos{flag} append hello\n  naxos{flag} read --follow\n  naxos{flag} status"))?;
    output::text("Ctrl-C ends the cluster and keeps its data")
}

/// A loglet on all the nodes, sequenced by the first.
pub(super) fn loglet(nodes: &[Ready], log: u64) -> LogletConfig {
    let first = &nodes[0];
    LogletConfig {
        id: LogletId { log, version: 1, nonce: Incarnation::random().0 as u64 },
        sequencer: Sequencer { node: first.node, incarnation: first.incarnation, address: first.address },
        log_servers: nodes.iter().map(|node| Member { node: node.node, address: node.address }).collect(),
    }
}
