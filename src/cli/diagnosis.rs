//! What blocks a log, judged by its chain and by what the nodes say of themselves.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::node::short;
use crate::base::{Incarnation, LogletId, NodeId};
use crate::client::{Chain, NodeState, Root};
use crate::loadgen::explain::counted;
use crate::wire::LogletConfig;

/// A watermark that has stood still for less is one that moves.
const BLOCKED_MS_MIN: u64 = 1000;

/// What a finding keeps from working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Blocks {
    Everything,
    Appends,
    Reads,
    /// Nothing now; the next loss may.
    Nothing,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) blocks: Blocks,
    pub(super) cause: String,
    /// For how long, if somebody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since_ms: Option<u64>,
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn new(blocks: Blocks, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { blocks, cause: cause.into(), since_ms: None, remedy: remedy.into() }
    }

    fn since(self, since_ms: u64) -> Self {
        Self { since_ms: Some(since_ms), ..self }
    }

    /// Whether it says the same, for however long.
    fn is_like(&self, other: &Self) -> bool {
        (self.blocks, &self.cause, &self.remedy) == (other.blocks, &other.cause, &other.remedy)
    }
}

/// What is known of a log.
pub(super) struct Facts<'a> {
    pub(super) chain: &'a Chain,
    pub(super) root: &'a Root,
    /// What each node that the chain names has answered.
    pub(super) statuses: BTreeMap<NodeId, Result<Value, Untold>>,
    pub(super) now_unix_ms: u64,
}

/// Why a node has told nothing, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Untold {
    /// It does not answer.
    Silent(String),
    /// It is there, and its answer cannot be read.
    Unreadable(String),
}

/// What is wrong with it, the worst first.
pub(super) fn findings(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = facts.of_active();
    found.extend(facts.of_unreadable());
    found.extend(facts.of_reads());
    found.extend(facts.of_intent());
    found.extend(facts.of_given_up());
    found.extend(facts.of_draining());
    // Stable, so that causes come before what follows from them.
    found.sort_by_key(|finding| finding.blocks);
    found
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn stripes_text(stripes: &[usize]) -> String {
    let numbers: Vec<String> = stripes.iter().map(ToString::to_string).collect();
    format!("stripe{} {}", if stripes.len() == 1 { "" } else { "s" }, numbers.join(", "))
}

fn is_loglet(value: &Value, loglet: LogletId) -> bool {
    serde_json::from_value(value.clone()).is_ok_and(|id: LogletId| id == loglet)
}

/// What a LogServer can do for a loglet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Server {
    /// It stores and is read.
    Well { sealed: bool, tail: u64, missing: u64 },
    /// It takes everything but records, for want of disk space.
    Full,
    /// It is read, and stores nothing, not even a seal.
    ReadsOnly(String),
    /// It does neither.
    Away(String),
    /// Nobody knows.
    Untold,
}

impl Server {
    /// Whether it has all that it should have of the loglet.
    fn is_whole(&self) -> bool {
        matches!(self, Self::Well { missing: 0, .. } | Self::Full | Self::ReadsOnly(_))
    }

    /// Why it does not store, if that is known.
    fn trouble(&self) -> Option<&str> {
        match self {
            Self::Well { .. } | Self::Untold => None,
            Self::Full => Some("has no disk space left"),
            Self::ReadsOnly(why) | Self::Away(why) => Some(why),
        }
    }

    /// Whether it takes a seal, as far as is known.
    fn seals(&self) -> bool {
        matches!(self, Self::Well { .. } | Self::Full | Self::Untold)
    }
}

/// How often the records of a stripe are there.
#[derive(Debug, PartialEq, Eq)]
struct Copies {
    whole: usize,
    /// With those of which nothing is known.
    known: usize,
    of: usize,
    /// Who has not all of them, and why.
    lacking: String,
}

impl Facts<'_> {
    fn status(&self, node: NodeId) -> Result<&Value, Untold> {
        match self.statuses.get(&node) {
            Some(Ok(status)) => Ok(status),
            Some(Err(untold)) => Err(untold.clone()),
            None => Err(Untold::Silent("it was not asked".to_owned())),
        }
    }

    /// Whoever answers is there, whatever he says.
    fn of_unreadable(&self) -> Vec<Finding> {
        let unreadable = |(node, status): (&NodeId, &Result<Value, Untold>)| match status {
            Err(Untold::Unreadable(why)) => {
                let cause = format!(
                    "node {} is there, and nothing is known of it: its answer cannot be read ({why})",
                    short(*node)
                );
                Some(Finding::new(Blocks::Nothing, cause, "ask with a program of the node's version"))
            }
            Ok(_) | Err(Untold::Silent(_)) => None,
        };
        self.statuses.iter().filter_map(unreadable).collect()
    }

    fn server(&self, node: NodeId, id: LogletId) -> Server {
        let status = match self.status(node) {
            Ok(status) => status,
            Err(Untold::Silent(why)) => return Server::Away(format!("does not answer ({why})")),
            Err(Untold::Unreadable(_)) => return Server::Untold,
        };
        let shards = items(&status["shards"]);
        let all = shards.flat_map(|shard| items(&shard["loglets"]).map(move |loglet| (shard, loglet)));
        let Some((shard, loglet)) = all.into_iter().find(|(_, loglet)| is_loglet(&loglet["id"], id)) else {
            let silent = items(&status["shards"]).find(|shard| shard["responsive"] == false);
            return Server::Away(match silent {
                Some(shard) => format!("has a shard that does not answer ({})", shard["shard"]),
                None => "has nothing of the loglet".to_owned(),
            });
        };
        let journal = &shard["journal"];
        if let Some(failure) = journal["failure"].as_str() {
            return Server::ReadsOnly(format!("has a journal that has failed ({failure})"));
        }
        if loglet["catching_up"] == true {
            return Server::Away("is copying what it lost from the others".to_owned());
        }
        if journal["no_space"] == true {
            return Server::Full;
        }
        let count = |name: &str| loglet[name].as_u64().unwrap_or(0);
        Server::Well { sealed: loglet["sealed"] == true, tail: count("local_tail"), missing: count("missing") }
    }

    fn servers(&self, loglet: &LogletConfig) -> Vec<(NodeId, Server)> {
        let nodes = loglet.log_servers.iter().map(|member| member.node);
        nodes.map(|node| (node, self.server(node, loglet.id))).collect()
    }

    /// The loglet that the log appends to. One stripe that cannot go on, or cannot be sealed, is enough to stop it (L10).
    fn of_active(&self) -> Vec<Finding> {
        let (stripes, go_on) = (self.chain.last().loglet.stripes(), self.go_on());
        let of_stripes = stripes.iter().enumerate();
        let of_stripes = of_stripes
            .flat_map(|(at, stripe)| self.of_stripe(stripe, &go_on).into_iter().map(move |found| (at, found)));
        if stripes.len() == 1 {
            return of_stripes.map(|(_, found)| found).collect();
        }
        // What holds for several is said once.
        let mut found: Vec<(Vec<usize>, Finding)> = Vec::new();
        for (stripe, new) in of_stripes {
            match found.iter_mut().find(|(_, known)| known.is_like(&new)) {
                Some((on, known)) => {
                    on.push(stripe);
                    known.since_ms = known.since_ms.max(new.since_ms);
                }
                None => found.push((vec![stripe], new)),
            }
        }
        let named = |(on, found): (Vec<usize>, Finding)| Finding {
            cause: format!("{}: {}", stripes_text(&on), found.cause),
            ..found
        };
        found.into_iter().map(named).collect()
    }

    /// The stripes of the last loglet that cannot be sealed: as long as there is one, nothing can be put behind it (L10).
    fn stuck(&self) -> Vec<usize> {
        let stripes = self.chain.last().loglet.stripes().iter().enumerate();
        let seals = |loglet| self.servers(loglet).iter().filter(|(_, server)| server.seals()).count();
        stripes.filter(|(_, stripe)| seals(stripe) < stripe.quorum()).map(|(at, _)| at).collect()
    }

    /// What helps where another loglet does.
    fn go_on(&self) -> String {
        let of = match (&self.stuck()[..], self.chain.last().loglet.stripes().len()) {
            ([], _) => {
                return "the next append puts another loglet behind it, and so does `naxos log reconfigure`".to_owned();
            }
            (_, 1) => "its LogServers".to_owned(),
            (stuck, _) => format!("the LogServers of {}", stripes_text(stuck)),
        };
        format!("bring a majority of {of} back: before, it cannot be sealed, and nothing can be put behind it")
    }

    fn of_stripe(&self, loglet: &LogletConfig, go_on: &str) -> Vec<Finding> {
        let servers = self.servers(loglet);
        let mut found = Vec::from_iter(of_majority(&servers, loglet.quorum()));
        let is_sealed = |server: &Server| matches!(server, Server::Well { sealed: true, .. });
        let sealed = servers.iter().filter(|(_, server)| is_sealed(server)).map(|(node, _)| short(*node));
        let sealed: Vec<String> = sealed.collect();
        if !sealed.is_empty() {
            let on = sealed.join(", ");
            let cause = format!("loglet {} is sealed on {on}, and nothing stands behind it yet", loglet.id);
            found.push(Finding::new(Blocks::Appends, cause, go_on));
        }
        found.extend(self.of_sequencer(loglet, go_on));
        found.extend(of_laggards(&servers));
        found
    }

    fn of_sequencer(&self, loglet: &LogletConfig, go_on: &str) -> Vec<Finding> {
        let blocked = |cause: String, remedy: &str| Finding::new(Blocks::Appends, cause, remedy);
        let node = short(loglet.sequencer.node);
        if !loglet.sequencer.listens() {
            let cause = format!(
                "node {node} sequences for the process that it is in, and cannot be asked: the log takes appends of that process only"
            );
            return vec![Finding::new(
                Blocks::Nothing,
                cause,
                "`naxos log reconfigure`, if that process is gone or others append",
            )];
        }
        let status = match self.status(loglet.sequencer.node) {
            Ok(status) => status,
            Err(Untold::Silent(why)) => {
                return vec![blocked(format!("the sequencer, node {node}, does not answer ({why})"), go_on)];
            }
            Err(Untold::Unreadable(_)) => return Vec::new(),
        };
        let lives: Option<Incarnation> = serde_json::from_value(status["incarnation"].clone()).ok();
        if lives != Some(loglet.sequencer.incarnation) {
            return vec![blocked(format!("the sequencer is lost: node {node} has been started again since"), go_on)];
        }
        let mut found = Vec::new();
        let sequencers = items(&status["shards"]).flat_map(|shard| items(&shard["sequencers"]));
        for sequencer in sequencers.filter(|sequencer| is_loglet(&sequencer["loglet"], loglet.id)) {
            if let Some(reason) = sequencer["lost_because"].as_str() {
                found.push(blocked(format!("the sequencer on node {node} has given up: {reason}"), go_on));
            }
            if sequencer["no_space"] == true {
                let cause = format!("the sequencer on node {node} refuses appends: no majority has disk space left");
                found.push(blocked(cause, "`naxos trim`, or make room on the disks"));
            }
            let since = sequencer["blocked_ms"].as_u64().filter(|since| *since >= BLOCKED_MS_MIN);
            if let (Some(since), Some(reason)) = (since, sequencer["blocked_because"].as_str()) {
                let remedy = "the LogServers named have to answer; a sequencer that waits too long gives up by itself";
                found.push(blocked(reason.to_owned(), remedy).since(since));
            }
        }
        found
    }

    /// Whether all segments can be read: one LogServer that has all of a stripe is enough. What holds for several is said once.
    fn of_reads(&self) -> Vec<Finding> {
        let mut found: Vec<(Copies, Vec<(usize, usize)>)> = Vec::new();
        for (at, segment) in self.chain.segments.iter().enumerate() {
            for (stripe, config) in segment.loglet.stripes().iter().enumerate() {
                let copies = self.copies(config);
                // What the active loglet lacks is said with its majority.
                let is_short = segment.stop.is_some() && copies.known < config.log_servers.len();
                match found.iter_mut().find(|(other, _)| *other == copies) {
                    _ if copies.known > 0 && !is_short => {}
                    Some((_, places)) => places.push((at, stripe)),
                    None => found.push((copies, vec![(at, stripe)])),
                }
            }
        }
        let finding = |(copies, places): (Copies, Vec<(usize, usize)>)| {
            let (places, Copies { whole, known, of, lacking }) = (self.places(&places), copies);
            if known == 0 {
                let cause = format!("no LogServer that answers has all records{places}: {lacking}");
                return Finding::new(Blocks::Reads, cause, "bring one of these nodes back");
            }
            let copies = if whole == 1 { "copy" } else { "copies" };
            let cause = format!("all records{places} have {whole} {copies} of {of}: {lacking}");
            Finding::new(Blocks::Nothing, cause, "bring the others back, or have them replaced")
        };
        found.into_iter().map(finding).collect()
    }

    /// Which records these stripes of segments have, which are in their order.
    fn places(&self, places: &[(usize, usize)]) -> String {
        let (first, last) = (places[0].0, places[places.len() - 1].0);
        let (from, last_segment) = (&self.chain.segments[first], &self.chain.segments[last]);
        let stop = last_segment.stop.map_or_else(|| "the end".to_owned(), |stop| stop.to_string());
        let stripes: Vec<usize> = places.iter().map(|(_, stripe)| *stripe).collect();
        let of = match first == last {
            true if stripes.len() == from.loglet.stripes().len() => String::new(),
            true => format!(" of {}", stripes_text(&stripes)),
            false => {
                let mut segments: Vec<usize> = places.iter().map(|(segment, _)| *segment).collect();
                segments.dedup();
                format!(" in {} segments", segments.len())
            }
        };
        format!("{of} from {} to {stop}", from.start)
    }

    fn copies(&self, stripe: &LogletConfig) -> Copies {
        let servers = self.servers(stripe);
        let whole = servers.iter().filter(|(_, server)| server.is_whole()).count();
        let untold = servers.iter().filter(|(_, server)| *server == Server::Untold).count();
        let says = |(node, server): &(NodeId, Server)| match server {
            Server::Well { missing, .. } => Some(format!("node {} lacks {}", short(*node), counted(missing, "record"))),
            other => Some(format!("node {} {}", short(*node), other.trouble()?)),
        };
        let lacking: Vec<_> = servers.iter().filter(|(_, server)| !server.is_whole()).filter_map(says).collect();
        Copies { whole, known: whole + untold, of: servers.len(), lacking: lacking.join("; ") }
    }

    fn of_intent(&self) -> Option<Finding> {
        let intent = self.chain.intent.as_ref()?;
        let sequencers: Vec<String> = intent.wanted.sequencers().into_iter().map(short).collect();
        let cause = format!("reconfiguration {} is pending, to sequencer {}", intent.id, sequencers.join(", "));
        let usual = "whoever reconfigures next, or appends when the loglet is sealed, carries it out".to_owned();
        let remedy = if self.stuck().is_empty() { usual } else { self.go_on() };
        let since = self.now_unix_ms.saturating_sub(intent.since_unix_ms);
        Some(Finding::new(Blocks::Nothing, cause, remedy).since(since))
    }

    fn of_given_up(&self) -> Option<Finding> {
        let given_up = self.chain.given_up.as_ref()?;
        let cause = format!("reconfiguration {} was given up: {}", given_up.intent, given_up.reason);
        Some(Finding::new(Blocks::Nothing, cause, "`naxos log reconfigure` again, once that is mended"))
    }

    fn of_draining(&self) -> Vec<Finding> {
        let nodes = self.chain.last().loglet.nodes();
        let is_draining = |node: &NodeId| self.root.node(*node).is_some_and(|found| found.state == NodeState::Draining);
        let usual = "`naxos node drain` again, or `naxos log reconfigure`".to_owned();
        let remedy = if self.stuck().is_empty() { usual } else { self.go_on() };
        let finding = |node: NodeId| {
            let cause = format!("node {} is draining, and the log still appends to it", short(node));
            Finding::new(Blocks::Nothing, cause, remedy.clone())
        };
        nodes.into_iter().filter(is_draining).map(finding).collect()
    }
}

fn of_majority(servers: &[(NodeId, Server)], quorum: usize) -> Option<Finding> {
    let says = |(node, server): &(NodeId, Server)| Some(format!("node {} {}", short(*node), server.trouble()?));
    let troubled: Vec<String> = servers.iter().filter_map(says).collect();
    let (count, well) = (servers.len(), servers.len() - troubled.len());
    let troubled_text = troubled.join("; ");
    if well < quorum {
        let seals = servers.iter().filter(|(_, server)| server.seals()).count();
        let more = if seals < quorum { "; tails, and reads that need them, wait as well" } else { "" };
        let cause =
            format!("only {well} of {count} LogServers can store, and {quorum} are needed: {troubled_text}{more}");
        let remedy = format!("bring {} of these nodes back, or give them space", quorum - well);
        return Some(Finding::new(Blocks::Appends, cause, remedy));
    }
    let cause = format!("{well} of {count} LogServers can store, and {quorum} are needed: {troubled_text}");
    (well < count).then(|| Finding::new(Blocks::Nothing, cause, "bring the others back, or `naxos node drain` them"))
}

/// LogServers that lack something of what others have.
fn of_laggards(servers: &[(NodeId, Server)]) -> Vec<Finding> {
    let tails = servers.iter().filter_map(|(node, server)| match server {
        Server::Well { tail, .. } => Some((*node, *tail)),
        _ => None,
    });
    let largest = tails.clone().map(|(_, tail)| tail).max().unwrap_or(0);
    let finding = |(node, tail): (NodeId, u64)| {
        let cause = format!("node {} is {} behind the others", short(node), counted(largest - tail, "record"));
        Finding::new(Blocks::Nothing, cause, "it catches up by itself, if its disk and its network keep up")
    };
    tails.filter(|(_, tail)| *tail < largest).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{IntentId, Offset};
    use crate::client::{ChainSegment, GivenUp, LogletSpec};
    use crate::wire::{Member, Sequencer};
    use serde_json::json;

    fn member(node: u128) -> Member {
        Member { node: NodeId(node << 96), address: ([10, 0, 0, node as u8], 1).into() }
    }

    fn loglet(version: u64) -> LogletConfig {
        let Member { node, address } = member(1);
        LogletConfig {
            id: LogletId { log: 1, version, nonce: version },
            sequencer: Sequencer { node, incarnation: Incarnation(7), address },
            log_servers: (1..=3).map(member).collect(),
        }
    }

    /// A closed segment of ten records, and one that is appended to, on three nodes.
    fn chain() -> Chain {
        Chain::begin(loglet(1)).extended(loglet(1).id, Offset(10), loglet(2), None).unwrap()
    }

    fn status() -> Value {
        let stored = |version: u64, sealed: bool| json!({ "id": loglet(version).id, "sealed": sealed, "local_tail": 10, "missing": 0, "catching_up": false });
        json!({
            "incarnation": Incarnation(7),
            "shards": [{
                "shard": 0, "responsive": true, "journal": { "failure": null, "no_space": false },
                "loglets": [stored(1, true), stored(2, false)],
                "sequencers": [{ "loglet": loglet(2).id, "lost_because": null, "no_space": false, "blocked_ms": null }]
            }]
        })
    }

    fn found(chain: &Chain, change: impl Fn(u128, Value) -> Result<Value, String>) -> Vec<(Blocks, String)> {
        told(chain, |node, status| change(node, status).map_err(Untold::Silent))
    }

    fn told(chain: &Chain, change: impl Fn(u128, Value) -> Result<Value, Untold>) -> Vec<(Blocks, String)> {
        let root = Root::begin(&(1..=3).map(member).collect::<Vec<_>>());
        let statuses = (1..=3).map(|node| (member(node).node, change(node, status()))).collect();
        let facts = Facts { chain, root: &root, statuses, now_unix_ms: 5000 };
        findings(&facts).into_iter().map(|finding| (finding.blocks, finding.cause)).collect()
    }

    #[test]
    fn nothing_is_said_of_what_is_well() {
        assert_eq!(found(&chain(), |_, status| Ok(status)), []);
    }

    #[test]
    fn a_minority_that_is_missing_blocks_nothing() {
        let causes = found(&chain(), |node, status| if node == 3 { Err("refused".to_owned()) } else { Ok(status) });
        assert!(causes.iter().all(|(blocks, _)| *blocks == Blocks::Nothing), "{causes:?}");
        let expected = "2 of 3 LogServers can store, and 2 are needed: node 00000003 does not answer (refused)";
        assert_eq!(causes[0].1, expected);
        assert!(causes[1].1.starts_with("all records from 0 to 10 have 2 copies of 3"), "{causes:?}");
    }

    #[test]
    fn who_answers_what_cannot_be_read_is_not_away() {
        let causes = told(&chain(), |_, _| Err(Untold::Unreadable("a long frame".to_owned())));
        assert!(causes.iter().all(|(blocks, _)| *blocks == Blocks::Nothing), "{causes:?}");
        let each = |(_, cause): &(Blocks, String)| cause.contains("is there") && cause.contains("a long frame");
        assert!(causes.len() == 3 && causes.iter().all(each), "{causes:?}");
    }

    #[test]
    fn a_lost_majority_blocks_appends_and_one_server_is_enough_to_read() {
        let causes = found(&chain(), |node, mut status| {
            match node {
                1 => status["shards"][0]["journal"]["no_space"] = json!(true),
                2 => status["shards"][0]["journal"]["failure"] = json!("EIO"),
                _ => {}
            }
            Ok(status)
        });
        let blocked: Vec<_> = causes.iter().filter(|(blocks, _)| *blocks != Blocks::Nothing).collect();
        assert_eq!(blocked.len(), 1);
        assert!(blocked[0].1.starts_with("only 1 of 3 LogServers can store, and 2 are needed"), "{causes:?}");
        assert!(blocked[0].1.contains("no disk space left") && blocked[0].1.contains("failed (EIO)"), "{causes:?}");
        let causes = found(&chain(), |_, _| Err("refused".to_owned()));
        let reads: Vec<_> = causes.iter().filter(|(blocks, _)| *blocks == Blocks::Reads).collect();
        assert_eq!(reads.len(), 1, "both segments lack the same: {causes:?}");
        assert!(reads[0].1.contains("has all records in 2 segments from 0 to the end"), "{causes:?}");
        let stored = causes.iter().find(|(_, cause)| cause.starts_with("only 0 of 3")).unwrap();
        assert!(stored.1.ends_with("tails, and reads that need them, wait as well"), "{causes:?}");
    }

    /// Two stripes on nodes 1 to 3, and one on nodes that are all away.
    fn stuck() -> Chain {
        let id = LogletId { log: 1, version: 2, nonce: 20 };
        let stripe =
            |servers: std::ops::RangeInclusive<u128>| (loglet(1).sequencer, servers.map(member).collect::<Vec<_>>());
        Chain::begin(LogletSpec::new(id, [stripe(1..=3), stripe(4..=6), stripe(1..=3)]))
    }

    fn remedies(chain: &Chain, change: impl Fn(u128, Value) -> Result<Value, Untold>) -> Vec<(String, String)> {
        let root = Root::begin(&(1..=3).map(member).collect::<Vec<_>>());
        let statuses = (1..=3).map(|node| (member(node).node, change(node, status()))).collect();
        let facts = Facts { chain, root: &root, statuses, now_unix_ms: 5000 };
        findings(&facts).into_iter().map(|finding| (finding.cause, finding.remedy)).collect()
    }

    #[test]
    fn where_a_loglet_cannot_be_sealed_nobody_is_told_to_put_another_behind_it() {
        let restarted = |_, mut status: Value| {
            status["incarnation"] = json!(Incarnation(8));
            let id = stuck().last().loglet.id();
            let sealed = |at: usize| json!({ "id": id.stripe(at), "sealed": true, "local_tail": 3, "missing": 0, "catching_up": false });
            status["shards"][0]["loglets"].as_array_mut().unwrap().extend([sealed(0), sealed(2)]);
            Ok(status)
        };
        let told = remedies(&stuck(), restarted);
        let expected = "bring a majority of the LogServers of stripe 1 back: before, it cannot be sealed, and nothing can be put behind it";
        let about = |what: &str| told.iter().filter(|(cause, _)| cause.contains(what)).collect::<Vec<_>>();
        for what in ["is sealed on", "the sequencer is lost"] {
            assert!(!about(what).is_empty() && about(what).iter().all(|(_, remedy)| remedy == expected), "{told:?}");
        }
        assert!(told.iter().all(|(_, remedy)| !remedy.contains("next append")), "{told:?}");
        let whole = remedies(&chain(), restarted);
        assert!(whole.iter().any(|(_, remedy)| remedy.starts_with("the next append puts another")), "{whole:?}");
    }

    #[test]
    fn stripes_that_lack_the_same_copies_are_told_together() {
        let id = stuck().last().loglet.id();
        let chain = stuck().extended(id, Offset(7), loglet(3), None).unwrap();
        let of = |segments: &[ChainSegment]| -> Vec<String> {
            let chain = Chain { segments: segments.to_vec(), ..chain.clone() };
            let causes = found(&chain, |_, _| Err("refused".to_owned()));
            causes.into_iter().map(|(_, cause)| cause).filter(|cause| cause.contains("all records")).collect()
        };
        let [two, one] = &of(&chain.segments[..1])[..] else { panic!("{:?}", of(&chain.segments)) };
        assert!(two.contains("has all records of stripes 0, 2 from 0 to 7"), "{two}");
        assert!(one.contains("has all records of stripe 1 from 0 to 7"), "{one}");
        assert!(of(&chain.segments)[0].contains("has all records in 2 segments from 0 to the end"));
    }

    /// L10: the whole waits for one stripe, which is the one to look at.
    #[test]
    fn a_stripe_without_its_majority_is_named() {
        let id = stuck().last().loglet.id();
        let chain = stuck().extended(id, Offset(7), loglet(3), None).unwrap();
        let mut active = Chain { segments: chain.segments[..1].to_vec(), ..chain.clone() };
        active.segments[0].stop = None;
        let well = |at: usize| json!({ "id": id.stripe(at), "sealed": false, "local_tail": 3, "missing": 0, "catching_up": false });
        let answer = |node: u128, mut status: Value| {
            let stored = status["shards"][0]["loglets"].as_array_mut().unwrap();
            stored.extend([well(0), well(2)]);
            if node == 3 {
                stored[2]["local_tail"] = json!(1);
                stored[3]["local_tail"] = json!(1);
            }
            Ok(status)
        };
        let causes = found(&active, answer);
        assert_eq!((causes[0].0, causes[1].0), (Blocks::Appends, Blocks::Reads), "{causes:?}");
        assert!(causes[0].1.starts_with("stripe 1: only 0 of 3 LogServers can store"), "{causes:?}");
        assert!(causes[1].1.contains("has all records of stripe 1 from 0 to the end"), "{causes:?}");
        let behind = "stripes 0, 2: node 00000003 is 2 records behind the others".to_owned();
        assert_eq!(causes[2..], [(Blocks::Nothing, behind)], "what holds for several is said once");
        let closed = Chain { segments: chain.segments[..1].to_vec(), ..chain };
        let causes = found(&closed, answer);
        assert!(causes.iter().any(|(_, cause)| cause.contains("records of stripe 1 from 0 to 7")), "{causes:?}");
    }

    #[test]
    fn an_intent_that_was_given_up_is_told_with_its_reason() {
        let given_up = GivenUp::new(IntentId(5), "no majority");
        let chain = Chain { given_up: Some(given_up), ..chain() };
        let expected = format!("reconfiguration {} was given up: no majority", IntentId(5));
        assert_eq!(found(&chain, |_, status| Ok(status)), [(Blocks::Nothing, expected)]);
    }

    #[test]
    fn a_sequencer_that_only_its_own_process_reaches_is_no_fault() {
        let mut embedded = loglet(3);
        embedded.sequencer =
            Sequencer { node: member(9).node, incarnation: Incarnation(1), address: Sequencer::NOWHERE };
        let chain = chain().extended(loglet(2).id, Offset(10), embedded, None).unwrap();
        let causes = found(&chain, |_, mut status| {
            let stored = status["shards"][0]["loglets"].as_array_mut().unwrap();
            stored.push(
                json!({ "id": loglet(3).id, "sealed": false, "local_tail": 0, "missing": 0, "catching_up": false }),
            );
            Ok(status)
        });
        let [(Blocks::Nothing, cause)] = &causes[..] else { panic!("{causes:?}") };
        assert!(cause.contains("cannot be asked"), "{cause}");
    }

    #[test]
    fn a_sequencer_of_another_life_or_a_seal_blocks_appends() {
        let causes = found(&chain(), |node, mut status| {
            if node == 1 {
                status["incarnation"] = json!(Incarnation(8));
            }
            Ok(status)
        });
        let lost = "the sequencer is lost: node 00000001 has been started again since".to_owned();
        assert_eq!(causes, [(Blocks::Appends, lost)]);
        let causes = found(&chain(), |_, mut status| {
            status["shards"][0]["loglets"][1]["sealed"] = json!(true);
            status["shards"][0]["sequencers"][0]["blocked_ms"] = json!(1500);
            status["shards"][0]["sequencers"][0]["blocked_because"] = json!("record 3 is on 1 of 2");
            Ok(status)
        });
        assert_eq!(causes.len(), 2, "{causes:?}");
        assert!(causes[0].1.contains("is sealed on 00000001, 00000002, 00000003"), "{causes:?}");
        assert_eq!(causes[1].1, "record 3 is on 1 of 2");
    }
}
