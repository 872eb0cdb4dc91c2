//! `naxos log`: the logs of a cluster, and what they are made of.

use anyhow::Context;
use serde_json::json;

use super::args::{CreateLog, Global, LogCommand, OneLog, Reconfigure};
use super::cluster_file::{NamedLog, Session};
use super::{exit, output};
use crate::base::NodeId;
use crate::client::{Chain, ChainSegment, Extended, Root, Wanted};

pub(super) fn run(global: &Global, command: &LogCommand) -> anyhow::Result<()> {
    match command {
        LogCommand::Create(options) => create(global, options),
        LogCommand::List => list(global),
        LogCommand::Show(options) => show(global, options),
        LogCommand::Reconfigure(options) => reconfigure(global, options),
        LogCommand::Seal(options) => seal(global, options),
    }
}

fn open(global: &Global, options: &OneLog) -> anyhow::Result<NamedLog> {
    NamedLog::named(global, options.name.as_deref().or(global.log.as_deref()))
}

/// Copies of each record, where nothing is said: as many as outlive the loss of a node, if there are so many.
fn usual_replicas(root: &Root) -> usize {
    root.nodes.len().min(3)
}

fn create(global: &Global, options: &CreateLog) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    let cluster = session.cluster()?;
    let replicas = match options.replicas {
        Some(replicas) => replicas.into(),
        None => usual_replicas(&cluster.root()?),
    };
    let name = &options.name;
    let log = cluster.create_log(name, replicas).with_context(|| format!("create `{name}`"))?;
    let chain = log.chain().with_context(|| format!("the chain of `{name}`"))?;
    if global.json {
        return output::json(&json!({ "log": name, "replicas": replicas, "chain": chain }));
    }
    output::text(format_args!("log `{name}` is ready, with {replicas} replicas"))
}

fn list(global: &Global) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    let root = session.cluster()?.root()?;
    if global.json {
        return output::json(&json!({ "default_log": session.file.default_log, "logs": root.logs }));
    }
    for (name, record) in &root.logs {
        let default = if *name == session.file.default_log { " (default)" } else { "" };
        output::text(format_args!("{name}{default}: {} replicas", record.replicas))?;
    }
    Ok(())
}

fn show(global: &Global, options: &OneLog) -> anyhow::Result<()> {
    let NamedLog { name, log, session } = open(global, options)?;
    let chain = log.chain().with_context(|| format!("the chain of `{name}`"))?;
    // What the chain says is worth showing also when the log stands still.
    let tail = log.check_tail();
    if global.json {
        let (tail, failure) = (tail.as_ref().ok(), tail.as_ref().err().map(ToString::to_string));
        return output::json(&json!({ "log": name, "chain": chain, "tail": tail, "tail_error": failure }));
    }
    let root = session.cluster()?.root()?;
    output::text(format_args!(
        "log `{name}`: version {} of its chain, begins at {}",
        chain.version,
        chain.first_position()
    ))?;
    for segment in &chain.segments {
        output::text(format_args!("  {}", describe(segment, &root)))?;
    }
    if let Some(intent) = &chain.intent {
        output::text(format_args!("  intended: sequencer {}", short(intent.wanted.sequencer)))?;
    }
    match tail {
        Ok(tail) => output::text(format_args!("  ends at {tail}")),
        Err(error) => Err(error).with_context(|| format!("the tail of `{name}`")),
    }
}

fn describe(segment: &ChainSegment, root: &Root) -> String {
    let servers: Vec<_> = segment.loglet.log_servers.iter().map(|member| short(member.node)).collect();
    let stop = segment.stop.map_or_else(String::new, |stop| stop.to_string());
    let sequencer = segment.loglet.sequencer.node;
    let address = root.node(sequencer).map_or(segment.loglet.sequencer.address, |node| node.member.address);
    format!(
        "{}..{stop}  loglet {}, sequencer {} at {address}, on {}",
        segment.start,
        segment.loglet.id,
        short(sequencer),
        servers.join(" ")
    )
}

/// Enough of an identity to tell a cluster's nodes apart.
fn short(node: NodeId) -> String {
    node.to_string().chars().take(8).collect()
}

/// The node whose identity begins with this.
fn node(root: &Root, text: &str) -> anyhow::Result<crate::wire::Member> {
    let found: Vec<_> = root.nodes.iter().filter(|node| node.member.node.to_string().starts_with(text)).collect();
    match found[..] {
        [one] => Ok(one.member),
        _ => {
            let known: Vec<_> = root.nodes.iter().map(|node| short(node.member.node)).collect();
            let (count, known) = (found.len(), known.join(", "));
            Err(exit::coded(exit::USAGE, format!("{count} nodes begin with `{text}`; the cluster has: {known}")))
        }
    }
}

fn reconfigure(global: &Global, options: &Reconfigure) -> anyhow::Result<()> {
    let NamedLog { name, log, session } = open(global, &options.log)?;
    let wanted = match (&options.sequencer, options.log_servers.is_empty()) {
        (None, true) => None,
        (sequencer, _) => {
            Some(wanted(&session.cluster()?.root()?, &log.chain()?, sequencer.as_deref(), options, &name)?)
        }
    };
    let intent = wanted.is_some();
    let extended = log.extend(wanted, intent).with_context(|| format!("reconfigure `{name}`"))?;
    let chain = match extended {
        Extended::Done(chain) => chain,
        Extended::Overtaken(chain) => {
            let last = chain.last().loglet.id;
            let text = format!(
                "somebody else has reconfigured `{name}` at the same time, to loglet {last}; look at it, and do it again"
            );
            return Err(exit::coded(exit::FAILURE, text));
        }
        Extended::Pending(intent) => {
            let text = format!("`{name}` has a reconfiguration pending ({}); nothing was changed", intent.id);
            return Err(exit::coded(exit::FAILURE, text));
        }
    };
    if global.json {
        return output::json(&json!({ "log": name, "chain": chain }));
    }
    output::text(format_args!("`{name}` goes on at {} in loglet {}", chain.last().start, chain.last().loglet.id))
}

fn wanted(
    root: &Root,
    chain: &Chain,
    sequencer: Option<&str>,
    options: &Reconfigure,
    name: &str,
) -> anyhow::Result<Wanted> {
    let present = &chain.last().loglet;
    let log_servers = match options.log_servers.is_empty() {
        true => present.log_servers.clone(),
        false => options.log_servers.iter().map(|text| node(root, text)).collect::<anyhow::Result<Vec<_>>>()?,
    };
    let replicas = root.log(name)?.replicas;
    let mut nodes: Vec<_> = log_servers.iter().map(|member| member.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.len() != log_servers.len() {
        return Err(exit::coded(exit::USAGE, "a node stands twice among the LogServers"));
    }
    if log_servers.len() < replicas {
        let text =
            format!("`{name}` has {replicas} replicas, and {} LogServers are too few for them", log_servers.len());
        return Err(exit::coded(exit::USAGE, text));
    }
    let sequencer = match sequencer {
        Some(text) => node(root, text)?.node,
        None if nodes.contains(&present.sequencer.node) => present.sequencer.node,
        None => log_servers[0].node,
    };
    Ok(Wanted { sequencer, log_servers })
}

fn seal(global: &Global, options: &OneLog) -> anyhow::Result<()> {
    let NamedLog { name, log, session: _session } = open(global, options)?;
    let loglet = log.chain().with_context(|| format!("the chain of `{name}`"))?.last().loglet.id;
    log.seal().with_context(|| format!("seal `{name}`"))?;
    if global.json {
        return output::json(&json!({ "log": name, "sealed": loglet }));
    }
    output::text(format_args!("loglet {loglet} of `{name}` is sealed; the next append puts another one behind it"))
}
