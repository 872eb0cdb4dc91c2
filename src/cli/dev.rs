//! `naxos dev`: a whole cluster on this machine, in the foreground.

use std::collections::BTreeMap;
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
use crate::wire::{LogletConfig, Member, Sequencer};

const LOG_NAME: &str = "main";

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
        listen: &before.iter().flat_map(|file| &file.nodes).map(|node| node.address).collect::<Vec<_>>(),
    };
    let mut supervisor = Supervisor::start(&node_options, &interrupt)?;
    let nodes: Vec<Ready> = supervisor.ready().cloned().collect();
    let mut logs = before.map_or_else(BTreeMap::new, |file| file.logs);
    refresh_addresses(&mut logs, &nodes);
    // A sequencer is one life of one process, so the logs of an earlier start can only be read; this one gets its own.
    let name = free_name(&logs);
    let config = loglet(&nodes, logs.len() as u64 + 1);
    start_client(global, options.driver.driver)?.create(&config, cluster).context("cannot create the log")?;
    let older = logs.keys().cloned().collect::<Vec<_>>();
    logs.insert(name.clone(), config);
    let entry = |ready: &Ready| NodeEntry { node: ready.node, address: ready.address, pid: Some(ready.pid) };
    let file = ClusterFile { cluster, default_log: name, nodes: nodes.iter().map(entry).collect(), logs };
    file.save(&path)?;
    announce(global, &file, &path, &older)?;
    watch(&mut supervisor, &interrupt)?;
    supervisor.stop()
}

/// Reports nodes that end, until all have ended or the program is asked to.
fn watch(supervisor: &mut Supervisor, interrupt: &Interrupt) -> anyhow::Result<()> {
    while !interrupt.wait(Duration::from_millis(100)) {
        for failure in supervisor.failures()? {
            eprintln!("naxos: {failure}");
        }
        if supervisor.all_ended() {
            bail!("no node is left");
        }
    }
    Ok(())
}

fn announce(global: &Global, file: &ClusterFile, path: &Path, older: &[String]) -> anyhow::Result<()> {
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
    if !older.is_empty() {
        output::text(format_args!("logs of earlier starts can be read, not appended to: {}", older.join(", ")))?;
    }
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

/// A node whose port was taken listens on another one after a restart; identity is the node's.
fn refresh_addresses(logs: &mut BTreeMap<String, LogletConfig>, nodes: &[Ready]) {
    let address = |id| nodes.iter().find(|node| node.node == id).map(|node| node.address);
    for config in logs.values_mut() {
        if let Some(found) = address(config.sequencer.node) {
            config.sequencer.address = found;
        }
        for member in &mut config.log_servers {
            member.address = address(member.node).unwrap_or(member.address);
        }
    }
}

fn free_name(logs: &BTreeMap<String, LogletConfig>) -> String {
    let numbered = (2..).map(|number| format!("{LOG_NAME}-{number}"));
    std::iter::once(LOG_NAME.to_owned())
        .chain(numbered)
        .find(|name| !logs.contains_key(name))
        .expect("names do not end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeId;

    fn ready(id: u128, port: u16) -> Ready {
        let address = ([127, 0, 0, 1], port).into();
        Ready { address, admin: None, cluster: ClusterId(1), node: NodeId(id), incarnation: Incarnation(9), pid: 1 }
    }

    #[test]
    fn a_restart_keeps_the_old_logs_under_new_addresses() {
        let mut logs = BTreeMap::from([(free_name(&BTreeMap::new()), loglet(&[ready(1, 10), ready(2, 20)], 1))]);
        refresh_addresses(&mut logs, &[ready(1, 11), ready(2, 21)]);
        assert_eq!(logs["main"].sequencer.address.port(), 11);
        assert_eq!(logs["main"].log_servers[1].address.port(), 21);
        assert_eq!(free_name(&logs), "main-2");
    }
}
