//! `naxos log`: the logs of a cluster, and what they are made of.

use std::io::IsTerminal;
use std::str::FromStr;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::args::{Global, OneLog, only_log};
use super::cluster_file::{NamedLog, Session};
use super::node::{find, short};
use super::{exit, output};
use crate::client::{
    Chain, ChainSegment, Cluster, ClusterError, Extended, NodeState, OpError, Root, Seat, StripeRange, Stripes, Wanted,
    WantedStripe, rotate, shown_name,
};
use crate::loadgen::explain::counted;
use crate::wire::{LogletConfig, Member};

#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// Create a log
    Create(CreateLog),
    /// Show which logs there are
    List,
    /// Show what a log is made of: its chain of loglets, and where it ends
    Show(OneLog),
    /// End the loglet that the log appends to, and put another behind it, without downtime
    Reconfigure(Reconfigure),
    /// Seal the loglet that the log appends to: whoever uses the log next puts another behind it
    Seal(OneLog),
    /// Delete a log and all its records, for ever
    Delete(DeleteLog),
}

#[derive(Debug, Args)]
pub(super) struct DeleteLog {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct CreateLog {
    /// Its name: up to 64 letters, digits, `-`, `_` and `.`
    #[arg(value_name = "NAME")]
    name: String,
    /// On how many nodes each record is stored [default: 3, or as many nodes as there are]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u16).range(1..=31))]
    replicas: Option<u16>,
    /// Over how many stripes its loglets go, each with a sequencer of its own, on different nodes as far as there are; of MIN..MAX, over as
    /// many as its load needs
    #[arg(long, value_name = "K|MIN..MAX", default_value = "1", value_parser = range)]
    stripes: StripeRange,
    /// Store each stripe on nodes of its own, which takes K times as many
    #[arg(long)]
    sharded: bool,
}

/// A number of stripes that a log may have, or a range of them.
fn range(text: &str) -> Result<StripeRange, String> {
    checked(numbers(text)?)
}

fn checked(range: StripeRange) -> Result<StripeRange, String> {
    range.check().map(|()| range).map_err(|error| error.to_string())
}

fn numbers(text: &str) -> Result<StripeRange, String> {
    let number = |text: &str| {
        text.parse()
            .map_err(|_| format!("`{text}` is no number of stripes: say K, or MIN..MAX with MIN no more than MAX"))
    };
    let (least, most) = match text.split_once("..") {
        Some((least, most)) => (number(least)?, number(most)?),
        None => (number(text)?, number(text)?),
    };
    Ok(StripeRange { least: Stripes { count: least, sharded: false }, most })
}

/// Over how many stripes a loglet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogletKind {
    stripes: StripeRange,
}

impl FromStr for LogletKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let stripes = match text.split_once(':') {
            None if text == "native" => Some(Stripes::ONE.into()),
            Some(("striped", count)) => {
                let range = numbers(count)?;
                let is_most = (2..=Stripes::MAX).contains(&range.most);
                is_most.then(|| checked(range)).transpose()?
            }
            _ => None,
        };
        let unknown = || {
            let most = Stripes::MAX;
            format!(
                "a loglet is `native`, or `striped:K` with 2 to {most} stripes, or `striped:MIN..MAX` with MAX from 2 to {most}"
            )
        };
        stripes.map(|stripes| Self { stripes }).ok_or_else(unknown)
    }
}

// A usage that is made up from what was given calls a name needed because it was given.
#[derive(Debug, Args)]
#[command(override_usage = "naxos log reconfigure [OPTIONS] [NAME]")]
pub(super) struct Reconfigure {
    #[command(flatten)]
    log: OneLog,
    /// The kind of loglet: `native`, or `striped:K`, with K sequencers, or `striped:MIN..MAX`, with as many as the log's load needs [default: the
    /// present one]
    #[arg(long, value_name = "KIND")]
    to: Option<LogletKind>,
    /// Store each stripe on nodes of its own
    #[arg(long, requires = "to", conflicts_with = "log_servers")]
    sharded: bool,
    /// The node that gives out positions in a native loglet, by the beginning of its identity [default: the present one, if it answers]
    #[arg(long, value_name = "NODE")]
    sequencer: Option<String>,
    /// The nodes that store the records, by the beginnings of their identities [default: the present ones]
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    log_servers: Vec<String>,
    /// Change nothing unless the chain has this version, as `naxos log show` has told it
    #[arg(long, value_name = "VERSION")]
    expect_version: Option<u64>,
}

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
    NamedLog::named(global, options.name(global)?)
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
    only_log(Some(name), global)?;
    let stripes = stripes(options.stripes, options.sharded)?;
    let created = cluster.create_striped_log(name, replicas, stripes);
    let log = created.with_context(|| format!("create `{}`", shown_name(name)))?;
    let chain = log.chain().with_context(|| format!("the chain of `{name}`"))?;
    let printed = if global.json {
        let (stripes, stripes_max) = (stripes.least, stripes.most);
        output::json(&json!({
            "log": name, "replicas": replicas, "stripes": stripes, "stripes_max": stripes_max, "chain": chain,
        }))
    } else {
        output::text(format_args!(
            "log `{name}` is ready, with {}{}",
            counted(replicas, "replica"),
            and_stripes(stripes)
        ))
    };
    output::after(format_args!("log `{name}` has been created"), printed)
}

fn stripes(range: StripeRange, sharded: bool) -> anyhow::Result<StripeRange> {
    if sharded && range.most == 1 {
        let text = "one stripe cannot be stored apart from others: --sharded needs several";
        return Err(exit::coded(exit::USAGE, text));
    }
    Ok(StripeRange { least: Stripes { sharded, ..range.least }, ..range })
}

fn and_stripes(range: StripeRange) -> String {
    let apart = if range.least.sharded { " on nodes of their own" } else { "" };
    match range.most {
        1 => String::new(),
        _ => format!(", {range} stripes{apart}"),
    }
}

fn list(global: &Global) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    let root = session.cluster()?.root()?;
    if global.json {
        return output::json(&json!({ "default_log": session.file.default_log, "logs": root.logs }));
    }
    for (name, record) in &root.logs {
        let default = if *name == session.file.default_log { " (default)" } else { "" };
        let (replicas, stripes) = (counted(record.replicas, "replica"), and_stripes(record.range()));
        output::text(format_args!("{name}{default}: {replicas}{stripes}"))?;
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
    let wanted = match (options.to, &options.sequencer, options.log_servers.is_empty()) {
        (None, None, true) => None,
        _ => Some(wanted(&session.cluster()?, &seen, options, &name)?),
    };
    let intent = wanted.is_some();
    let extended = match (wanted, divided(options)?) {
        (Some(wanted), Some(stripes)) => log.redivide(&seen, wanted, stripes),
        (wanted, _) if options.expect_version.is_some() => log.extend_seen(&seen, wanted, intent),
        (wanted, _) => log.extend(wanted, intent),
    };
    let extended = extended.map_err(|error| not_reconfigured(&name, error))?;
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
    // Also what somebody before was cut short at.
    let followed = session.cluster()?.follow_chain(&name);
    followed.with_context(|| format!("`{name}` is reconfigured, and the list of logs does not say so yet"))?;
    let (start, loglet) = (chain.last().start, chain.last().loglet.id());
    let printed = match global.json {
        true => output::json(&json!({ "log": name, "chain": chain })),
        false => output::text(format_args!("`{name}` goes on at {start} in loglet {loglet}")),
    };
    output::after(format_args!("`{name}` has been reconfigured and goes on at {start} in loglet {loglet}"), printed)
}

/// What was cut short others go on with (P15), so that it is not over with the answer.
fn not_reconfigured(name: &str, error: OpError) -> anyhow::Error {
    let is_open = matches!(error, OpError::Unavailable { .. });
    let still = if is_open { ", which may still be carried out; `naxos log show` says what became of it" } else { "" };
    anyhow::Error::new(error).context(format!("reconfigure `{name}`{still}"))
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

/// How the next loglet is to be divided, if it is said.
fn divided(options: &Reconfigure) -> anyhow::Result<Option<StripeRange>> {
    options.to.map(|to| stripes(to.stripes, options.sharded)).transpose()
}

/// What is to come behind the last loglet.
fn wanted(cluster: &Cluster, chain: &Chain, options: &Reconfigure, name: &str) -> anyhow::Result<Wanted> {
    let root = cluster.root()?;
    let present = &chain.last().loglet;
    let range = divided(options)?;
    // Also of what it is to be able to have later nothing is begun that the nodes do not allow.
    range.map(|range| root.with_stripes(name, range)).transpose().map_err(ClusterError::from)?;
    let wanted = range.map(|range| range.stripes(present.stripes().len()));
    let named = log_servers(&root, options, name)?;
    let sequencer = options.sequencer.as_deref().map(|text| usable(&root, text)).transpose()?;
    let count = wanted.map_or(present.stripes().len(), |stripes| stripes.count);
    if sequencer.is_some() && count > 1 {
        let text = format!("a loglet of {count} stripes has as many sequencers; --sequencer is for a native one");
        return Err(exit::coded(exit::USAGE, text));
    }
    let begun = match wanted {
        Some(stripes) => cluster.divided(name, present, stripes)?,
        None => Wanted::like(present, present.sequencers().map(|sequencer| sequencer.member()).collect()),
    };
    let seat = |stripe: &WantedStripe| {
        let others = if named.is_empty() { stripe.log_servers.clone() } else { named.clone() };
        let stays = named.is_empty() || named.iter().any(|member| member.node == stripe.sequencer.node);
        Seat { kept: sequencer.or_else(|| stays.then_some(stripe.sequencer)), others, last: None }
    };
    let seats: Vec<Seat> = begun.stripes().iter().map(seat).collect();
    let sequencers = rotate(&seats, |_| true).expect("a stripe has LogServers");
    let stripe = |(sequencer, seat): (Member, Seat)| WantedStripe { sequencer, log_servers: seat.others };
    Ok(Wanted::new(sequencers.into_iter().zip(seats).map(stripe).collect()))
}

/// The LogServers that were named, of which there have to be enough; none if none were.
fn log_servers(root: &Root, options: &Reconfigure, name: &str) -> anyhow::Result<Vec<Member>> {
    let named = options.log_servers.iter().map(|text| usable(root, text)).collect::<anyhow::Result<Vec<_>>>()?;
    let replicas = root.log(name)?.replicas;
    let mut nodes: Vec<_> = named.iter().map(|member| member.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.len() != named.len() {
        return Err(exit::coded(exit::USAGE, "a node stands twice among the LogServers"));
    }
    if !named.is_empty() && named.len() < replicas {
        let named = match named.len() {
            1 => "1 LogServer is".to_owned(),
            count => format!("{count} LogServers are"),
        };
        let text = format!("`{name}` has {replicas} replicas, and {named} too few for them");
        return Err(exit::coded(exit::USAGE, text));
    }
    Ok(named)
}

fn seal(global: &Global, options: &OneLog) -> anyhow::Result<()> {
    let NamedLog { name, log, session: _session } = open(global, options)?;
    let loglet = log.chain().with_context(|| format!("the chain of `{name}`"))?.last().loglet.id();
    log.seal().with_context(|| format!("seal `{name}`"))?;
    let text = format!("loglet {loglet} of `{name}` is sealed; the next append puts another one behind it");
    let printed = match global.json {
        true => output::json(&json!({ "log": name, "sealed": loglet })),
        false => output::text(&text),
    };
    output::after(text, printed)
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
    output::aside(format_args!("All records of `{name}` will be lost. Type its name to delete it: "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim_end() != name {
        return Err(exit::coded(exit::USAGE, "nothing was deleted"));
    }
    Ok(())
}

fn delete(global: &Global, options: &DeleteLog) -> anyhow::Result<()> {
    let name = &options.name;
    only_log(Some(name), global)?;
    let session = Session::open(global)?;
    let cluster = session.cluster()?;
    cluster.root()?.log(name).map_err(ClusterError::from)?;
    confirm(name, options)?;
    let deleted = cluster.delete_log(name).with_context(|| format!("delete `{name}`"))?;
    let kept: Vec<_> = deleted.failures.iter().map(|(loglet, error)| format!("{loglet}: {error}")).collect();
    let printed = if global.json {
        output::json(&json!({ "deleted": name, "loglets": deleted.loglets, "not_deleted": kept }))
    } else {
        output::text(format_args!("log `{name}` is deleted, and {} of it", counted(deleted.loglets.len(), "loglet")))
    };
    for line in kept {
        output::note(format_args!("a loglet takes nothing any more, and its space does not come back: {line}"));
    }
    output::after(format_args!("log `{name}` has been deleted"), printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reconfiguration_that_others_may_carry_out_has_not_failed_for_good() {
        let text = |error| format!("{:#}", not_reconfigured("b", error));
        let timed_out = text(OpError::Unavailable { reason: "timed out".to_owned() });
        assert!(
            timed_out.contains("`b`, which may still be carried out") && timed_out.contains("timed out"),
            "{timed_out}"
        );
        assert!(!text(OpError::Closed).contains("still"));
    }
}
