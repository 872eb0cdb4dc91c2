//! `naxos log`: the logs of a cluster, and what they are made of.

use std::io::IsTerminal;

use anyhow::Context;
use serde_json::json;

use super::args::{CreateLog, DeleteLog, Global, LogCommand, OneLog, Reconfigure};
use super::cluster_file::{NamedLog, Session};
use super::node::{find, short};
use super::{exit, output};
use crate::client::{Chain, ChainSegment, ClusterError, Extended, NodeState, Root, Seat, Wanted, WantedStripe, rotate};
use crate::wire::{LogletConfig, Member};

pub(super) fn run(global: &Global, command: &LogCommand) -> anyhow::Result<()> {
    match command {
        LogCommand::Create(options) => create(global, options),
        LogCommand::List => list(global),
        LogCommand::Show(options) => show(global, options),
        LogCommand::Reconfigure(options) => reconfigure(global, options),
        LogCommand::Seal(options) => seal(global, options),
        LogCommand::Delete(options) => delete(global, options),
    }
}

fn open(global: &Global, options: &OneLog) -> anyhow::Result<NamedLog> {
    NamedLog::named(global, options.name.as_deref().or(global.log.as_deref()))
}

/// Copies of each record, where nothing is said: as many as outlive the loss of a node, if there are so many.
fn usual_replicas(root: &Root) -> usize {
    root.active().count().min(3)
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
        describe(segment, &root).iter().try_for_each(|line| output::text(format_args!("  {line}")))?;
    }
    if let Some(intent) = &chain.intent {
        let sequencers: Vec<_> = intent.wanted.sequencers().into_iter().map(short).collect();
        output::text(format_args!("  intended: sequencer {}", sequencers.join(" ")))?;
    }
    if let Some(given_up) = &chain.given_up {
        output::text(format_args!("  given up: reconfiguration {}: {}", given_up.intent, given_up.reason))?;
    }
    match tail {
        Ok(tail) => output::text(format_args!("  ends at {tail}")),
        Err(error) => Err(error).with_context(|| format!("the tail of `{name}`")),
    }
}

fn describe(segment: &ChainSegment, root: &Root) -> Vec<String> {
    let stop = segment.stop.map_or_else(String::new, |stop| stop.to_string());
    let (start, id, stripes) = (segment.start, segment.loglet.id(), segment.loglet.stripes());
    if let [stripe] = stripes {
        return vec![format!("{start}..{stop}  loglet {id}, {}", describe_stripe(stripe, root))];
    }
    let striped = format!("{start}..{stop}  loglet {id}, {} stripes", stripes.len());
    let lines = stripes.iter().enumerate();
    let lines = lines.map(|(at, stripe)| format!("  stripe {at}, {}: {}", stripe.id, describe_stripe(stripe, root)));
    std::iter::once(striped).chain(lines).collect()
}

fn describe_stripe(stripe: &LogletConfig, root: &Root) -> String {
    let servers: Vec<_> = stripe.log_servers.iter().map(|member| short(member.node)).collect();
    let sequencer = stripe.sequencer;
    let place = match root.node(sequencer.node) {
        Some(node) => format!("at {}", node.member.address),
        None if sequencer.listens() => format!("at {}", sequencer.address),
        None => "in its writer's process".to_owned(),
    };
    format!("sequencer {} {place}, on {}", short(sequencer.node), servers.join(" "))
}

fn reconfigure(global: &Global, options: &Reconfigure) -> anyhow::Result<()> {
    let NamedLog { name, log, session } = open(global, &options.log)?;
    let seen = log.chain().with_context(|| format!("the chain of `{name}`"))?;
    if let Some(expected) = options.expect_version.filter(|expected| seen.version != *expected) {
        let text =
            format!("`{name}` has version {} of its chain, and not {expected}; nothing was changed", seen.version);
        return Err(exit::coded(exit::FAILURE, text));
    }
    let wanted = match (&options.sequencer, options.log_servers.is_empty()) {
        (None, true) => None,
        (sequencer, _) => Some(wanted(&session.cluster()?.root()?, &seen, sequencer.as_deref(), options, &name)?),
    };
    let intent = wanted.is_some();
    let extended = match options.expect_version {
        Some(_) => log.extend_seen(&seen, wanted, intent),
        None => log.extend(wanted, intent),
    };
    let extended = extended.with_context(|| format!("reconfigure `{name}`"))?;
    let chain = match extended {
        Extended::Done(chain) => chain,
        Extended::Overtaken(chain) => {
            let last = chain.last().loglet.id();
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
    output::text(format_args!("`{name}` goes on at {} in loglet {}", chain.last().start, chain.last().loglet.id()))
}

/// A node on which something new may be placed (L9).
fn usable(root: &Root, text: &str) -> anyhow::Result<Member> {
    let node = find(root, text)?;
    match node.state {
        NodeState::Active => Ok(node.member),
        NodeState::Draining => {
            let text = format!("node {} is draining; `naxos node undrain` takes it back", short(node.member.node));
            Err(exit::coded(exit::USAGE, text))
        }
    }
}

fn wanted(
    root: &Root,
    chain: &Chain,
    sequencer: Option<&str>,
    options: &Reconfigure,
    name: &str,
) -> anyhow::Result<Wanted> {
    let present = &chain.last().loglet;
    let named = options.log_servers.iter().map(|text| usable(root, text)).collect::<anyhow::Result<Vec<_>>>()?;
    let replicas = root.log(name)?.replicas;
    let mut nodes: Vec<_> = named.iter().map(|member| member.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.len() != named.len() {
        return Err(exit::coded(exit::USAGE, "a node stands twice among the LogServers"));
    }
    if !named.is_empty() && named.len() < replicas {
        let text = format!("`{name}` has {replicas} replicas, and {} LogServers are too few for them", named.len());
        return Err(exit::coded(exit::USAGE, text));
    }
    let sequencer = sequencer.map(|text| usable(root, text)).transpose()?;
    let seat = |stripe: &LogletConfig| {
        let others = if named.is_empty() { stripe.log_servers.clone() } else { named.clone() };
        let stays = others.iter().any(|member| member.node == stripe.sequencer.node);
        Seat { kept: sequencer.or_else(|| stays.then(|| stripe.sequencer.member())), others, last: None }
    };
    let seats: Vec<Seat> = present.stripes().iter().map(seat).collect();
    let sequencers = rotate(&seats, |_| true).expect("a stripe has LogServers");
    let stripe = |(sequencer, seat): (Member, Seat)| WantedStripe { sequencer, log_servers: seat.others };
    Ok(Wanted::new(sequencers.into_iter().zip(seats).map(stripe).collect()))
}

fn seal(global: &Global, options: &OneLog) -> anyhow::Result<()> {
    let NamedLog { name, log, session: _session } = open(global, options)?;
    let loglet = log.chain().with_context(|| format!("the chain of `{name}`"))?.last().loglet.id();
    log.seal().with_context(|| format!("seal `{name}`"))?;
    if global.json {
        return output::json(&json!({ "log": name, "sealed": loglet }));
    }
    output::text(format_args!("loglet {loglet} of `{name}` is sealed; the next append puts another one behind it"))
}

/// Says what is about to be lost, and waits for a yes, or for the option that says it.
fn confirm(name: &str, options: &DeleteLog) -> anyhow::Result<()> {
    if options.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let text = format!("deleting `{name}` loses all its records; say --yes where nobody can be asked");
        return Err(exit::coded(exit::USAGE, text));
    }
    eprint!("All records of `{name}` will be lost. Type its name to delete it: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim_end() != name {
        return Err(exit::coded(exit::USAGE, "nothing was deleted"));
    }
    Ok(())
}

fn delete(global: &Global, options: &DeleteLog) -> anyhow::Result<()> {
    let (session, name) = (Session::open(global)?, &options.name);
    let cluster = session.cluster()?;
    cluster.root()?.log(name).map_err(ClusterError::from)?;
    confirm(name, options)?;
    let deleted = cluster.delete_log(name).with_context(|| format!("delete `{name}`"))?;
    let kept: Vec<_> = deleted.failures.iter().map(|(loglet, error)| format!("{loglet}: {error}")).collect();
    if global.json {
        output::json(&json!({ "deleted": name, "loglets": deleted.loglets, "not_deleted": kept }))?;
    } else {
        output::text(format_args!("log `{name}` is deleted, and {} loglets of it", deleted.loglets.len()))?;
    }
    for line in kept {
        eprintln!("naxos: a loglet takes nothing any more, and its space does not come back: {line}");
    }
    Ok(())
}
