//! Who belongs to a cluster: nodes join, are drained, and leave (L9).

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::cluster::{Cluster, ClusterError, not_finished};
use super::division::divided;
use super::gather::gather;
use super::keepers::Kept;
use super::{Extended, OpError};
use crate::base::NodeId;
use crate::proto::virtual_log::{
    Chain, LogRecord, LogletSpec, NodeRecord, Root, RootRefusal, Seat, Stripes, Wanted, WantedStripe, rotate,
};
use crate::wire::{LogletConfig, Member};

/// What names a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NodeUse {
    /// It keeps the root register.
    RootRegister,
    /// It keeps the register of a log.
    Register {
        /// The log.
        log: String,
    },
    /// A log appends to a loglet that is stored or sequenced there.
    Active {
        /// The log.
        log: String,
    },
    /// Records of a log are stored there, in loglets that have ended.
    Closed {
        /// The log.
        log: String,
        /// How many loglets.
        segments: usize,
    },
    /// A reconfiguration of a log that somebody has begun.
    Intent {
        /// The log.
        log: String,
    },
    /// A log is half made, or half deleted: nobody knows where its first loglet is.
    Unfinished {
        /// The log.
        log: String,
    },
    /// The chain of a log cannot be read.
    Unknown {
        /// The log.
        log: String,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for NodeUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RootRegister => write!(f, "the root register"),
            Self::Register { log } => write!(f, "the register of log `{log}`"),
            Self::Active { log } => write!(f, "the active loglet of log `{log}`"),
            Self::Closed { log, segments } => write!(f, "{segments} closed segments of log `{log}`"),
            Self::Intent { log } => write!(f, "a pending reconfiguration of log `{log}`"),
            Self::Unfinished { log } => {
                write!(f, "log `{log}`, which is half made or half deleted: create or delete it again")
            }
            Self::Unknown { log, reason } => write!(f, "log `{log}` perhaps, whose chain cannot be read ({reason})"),
        }
    }
}

/// What a drain has come to.
#[derive(Debug)]
pub struct Drained {
    /// What is still on the node. Nothing: it can be removed.
    pub left: Vec<NodeUse>,
    /// What could not be moved, by log, or by none for the root register.
    pub failures: Vec<(Option<String>, ClusterError)>,
}

fn names(loglet: &LogletSpec, node: NodeId) -> bool {
    loglet.nodes().contains(&node)
}

/// What of a log's chain is on a node. The sequencer of a loglet that has ended is not needed any more.
fn uses_of_chain(chain: &Chain, node: NodeId, log: &str) -> Vec<NodeUse> {
    let log = || log.to_owned();
    let mut uses = Vec::new();
    if names(&chain.last().loglet, node) {
        uses.push(NodeUse::Active { log: log() });
    }
    let closed =
        chain.segments.iter().filter(|segment| segment.stop.is_some() && segment.loglet.stores_on(node)).count();
    if closed > 0 {
        uses.push(NodeUse::Closed { log: log(), segments: closed });
    }
    let wanted = chain.intent.as_ref().map(|intent| &intent.wanted);
    if wanted.is_some_and(|wanted| wanted.members().any(|at| at.node == node)) {
        uses.push(NodeUse::Intent { log: log() });
    }
    uses
}

fn nobody_answers(name: &str) -> ClusterError {
    OpError::Unavailable { reason: format!("none of the nodes that are to store `{name}` answers") }.into()
}

/// How many stripes a log is to have that has a range of them, when there are not nodes enough any more to store those apart that it has.
fn fewer_apart(root: &Root, record: &LogRecord, stripes: Stripes) -> Option<Stripes> {
    let (range, count) = (record.range(), root.active().count() / record.replicas);
    let is_too_many = stripes.sharded && root.check_apart(stripes, record.replicas).is_err();
    (is_too_many && !range.is_fixed() && range.counts().contains(&count)).then_some(Stripes { count, ..stripes })
}

/// What is to come behind a loglet when a node leaves: the others, and some that answer in its place.
fn without(
    root: &Root,
    name: &str,
    present: &LogletSpec,
    node: NodeId,
    living: &BTreeSet<NodeId>,
) -> Result<Wanted, ClusterError> {
    let record = root.log(name)?;
    let stored: Vec<NodeId> = present.log_servers().map(|member| member.node).collect();
    // Who does not answer now may do so later, and counts (P12).
    let stripes = Stripes { count: present.stripes().len(), sharded: present.is_sharded() };
    if let Some(fewer) = fewer_apart(root, record, stripes) {
        let others = living.iter().copied().filter(|at| *at != node).collect();
        return divided(&root.with_stripes(name, fewer)?, name, present, &others)?.ok_or_else(|| nobody_answers(name));
    }
    let useful = Cluster::useful(root, living, &stored, stripes.nodes(record.replicas));
    // Stripes that are stored apart stay so.
    let mut taken = if stripes.sharded { stored } else { Vec::new() };
    let can_sequence = |at: &Member| at.node != node && living.contains(&at.node);
    let (mut places, mut seats) = (Vec::new(), Vec::new());
    for LogletConfig { sequencer, log_servers, .. } in present.stripes() {
        let servers: Vec<NodeId> = log_servers.iter().map(|member| member.node).collect();
        let free = useful.without(|node| taken.contains(&node) && !servers.contains(&node));
        let count = servers.len().clamp(record.replicas, free.active().count().max(record.replicas));
        let log_servers = free.spread(record.log, &servers, count);
        if log_servers.len() < record.replicas {
            root.check_apart(stripes, record.replicas)?;
            let active = root.active().count();
            let draining = root.nodes.len() - active;
            return Err(RootRefusal::TooFewNodes { wanted: record.replicas, active, draining }.into());
        }
        if stripes.sharded {
            taken.extend(log_servers.iter().map(|member| member.node));
        }
        let kept = log_servers.iter().find(|at| at.node == sequencer.node && can_sequence(at));
        seats.push(Seat { kept: kept.copied(), others: log_servers.clone(), last: None });
        places.push(log_servers);
    }
    let sequencers = rotate(&seats, can_sequence).ok_or_else(|| nobody_answers(name))?;
    let stripe = |(sequencer, log_servers)| WantedStripe { sequencer, log_servers };
    Ok(Wanted::new(sequencers.into_iter().zip(places).map(stripe).collect()))
}

impl Cluster {
    /// Makes this node one of the cluster's, or says where it is now. Doing it again changes nothing.
    ///
    /// # Errors
    /// The node, or a majority of the root register's members, does not answer; or the zone has no name.
    pub fn join(&self, member: Member, zone: Option<&str>) -> Result<Root, ClusterError> {
        // Who may not come in is told nothing.
        self.root()?.with_node(member, zone.map(str::to_owned))?;
        // First, so that from the moment when it is in the list it can begin no cluster of its own (P8 f).
        self.teach_root(member.address)?;
        let before = self.root()?;
        let root = self.edit_root(|root| root.with_node(member, zone.map(str::to_owned)))?;
        if root.node(member.node) != before.node(member.node) {
            for (log, error) in self.tend_registers(&[])? {
                let what = log.map_or_else(|| "the root register".to_owned(), |log| format!("the register of `{log}`"));
                tracing::warn!(%error, "{what} does not know of the node yet");
            }
        }
        Ok(root)
    }

    /// What names a node.
    ///
    /// # Errors
    /// The root register cannot be read.
    pub fn uses(&self, node: NodeId) -> Result<Vec<NodeUse>, ClusterError> {
        let (newest, root) = self.read_root()?;
        let root = root.ok_or_else(not_finished)?;
        let is_named = |members: &[Member]| members.iter().any(|member| member.node == node);
        let mut uses = Vec::new();
        if is_named(&newest.members) {
            uses.push(NodeUse::RootRegister);
        }
        for (name, record) in &root.logs {
            let log = || name.clone();
            match self.read_log(record) {
                Ok((newest, kept)) => {
                    if is_named(&newest.members) || is_named(record.keepers()) {
                        uses.push(NodeUse::Register { log: log() });
                    }
                    match kept {
                        Kept::Chain(chain) => uses.extend(uses_of_chain(&chain, node, name)),
                        Kept::Nothing | Kept::Deleted(_) => uses.push(NodeUse::Unfinished { log: log() }),
                    }
                }
                Err(error) => uses.push(NodeUse::Unknown { log: log(), reason: error.to_string() }),
            }
        }
        Ok(uses)
    }

    /// Prepares a node for its end: nothing new is placed on it, its registers are given to others, and logs that append to it go on
    /// without it. What is in closed segments stays, and is named in the result. Doing it again goes on.
    ///
    /// # Errors
    /// There is no such node, or too few would be left; or the root register cannot be changed.
    pub fn drain(&self, node: NodeId) -> Result<Drained, ClusterError> {
        // How many nodes a log takes its chain knows first.
        let root = self.edit_root(|root| self.following(root, |_| true).draining(node))?;
        let mut failures = self.tend_registers(&[])?;
        let living = self.living(&root);
        for (name, record) in &root.logs {
            if let Err(error) = self.move_appends(name, record, node, &living) {
                failures.push((Some(name.clone()), error));
            }
        }
        Ok(Drained { left: self.uses(node)?, failures })
    }

    /// Takes a node back into use.
    ///
    /// # Errors
    /// There is no such node, or the root register cannot be changed.
    pub fn undrain(&self, node: NodeId) -> Result<Root, ClusterError> {
        self.edit_root(|root| root.undrained(node))
    }

    /// Takes a node that has been drained out of the cluster. It may run, or be gone for ever.
    ///
    /// # Errors
    /// It is not draining, or something names it, or too few would be left.
    pub fn remove(&self, node: NodeId) -> Result<Root, ClusterError> {
        let root = self.root()?;
        if root.node(node).is_none_or(|record| record.state.is_active()) {
            // Said without asking all logs who uses it.
            return Err(root.without_node(node, &[]).err().unwrap_or(RootRefusal::NotDraining(node)).into());
        }
        let users: Vec<_> = self.uses(node)?.iter().map(ToString::to_string).collect();
        // Nothing can have been placed on it since: it is draining, and a log that is half made counts as a user.
        self.edit_root(|root| root.without_node(node, &users))
    }

    /// Puts a loglet behind the last one of a log, without this node, if the last one names it.
    fn move_appends(
        &self,
        name: &str,
        record: &LogRecord,
        node: NodeId,
        living: &BTreeSet<NodeId>,
    ) -> Result<(), ClusterError> {
        let (_, Kept::Chain(chain)) = self.read_log(record)? else { return Ok(()) };
        if !names(&chain.last().loglet, node) {
            return Ok(());
        }
        let log = self.open_record(record);
        for () in self.tries() {
            let chain = log.chain()?;
            let present = &chain.last().loglet;
            if !names(present, node) {
                return Ok(());
            }
            match log.extend(Some(without(&self.root()?, name, present, node, living)?), true)? {
                Extended::Done(_) | Extended::Overtaken(_) => {}
                // Without a wish of its own this carries out what somebody else has begun (P15).
                Extended::Pending(_) => drop(log.extend(None, false)?),
            }
        }
        Err(ClusterError::Contended)
    }

    /// The nodes that answer, all asked at once; those that need a second longer than the first are not among them.
    pub fn living(&self, root: &Root) -> BTreeSet<NodeId> {
        let ask = |node: &NodeRecord| (node.member.node, self.client().start_hello(node.member.address));
        let answers = gather(root.nodes.iter().map(ask).collect());
        answers.into_iter().filter(|(node, info)| info.node == *node).map(|(node, _)| node).collect()
    }

    /// The cluster without nodes that do not answer and are none of `present`, as far as it has enough of the others.
    pub(super) fn useful(root: &Root, living: &BTreeSet<NodeId>, present: &[NodeId], replicas: usize) -> Root {
        let mut useful = root.clone();
        useful.nodes.retain(|node| living.contains(&node.member.node) || present.contains(&node.member.node));
        if useful.active().count() < replicas { root.clone() } else { useful }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, LogletId, Nonce, Offset};
    use crate::proto::virtual_log::StripeRange;
    use crate::wire::Sequencer;

    fn member(node: u128) -> Member {
        Member { node: NodeId(node), address: ([10, 0, 0, node as u8], 7000).into() }
    }

    /// On these LogServers, with these sequencers.
    fn loglet(stripes: &[(u128, [u128; 2])]) -> LogletSpec {
        let stripe = |(sequencer, nodes): &(u128, [u128; 2])| {
            let Member { node, address } = member(*sequencer);
            (Sequencer { node, incarnation: Incarnation(1), address }, nodes.map(member).to_vec())
        };
        LogletSpec::new(LogletId { log: 1, version: 1, nonce: 1 }, stripes.iter().map(stripe))
    }

    /// What is to come behind it when this one of so many nodes, all of which answer, is drained.
    fn moved(nodes: u128, present: &LogletSpec, leaving: u128) -> Result<Vec<(u128, Vec<u128>)>, ClusterError> {
        let members: Vec<Member> = (1..=nodes).map(member).collect();
        let root = Root::begin(&members).with_log("a", 2, Nonce(1), Vec::new())?;
        moved_of(&root, present, leaving)
    }

    fn moved_of(root: &Root, present: &LogletSpec, leaving: u128) -> Result<Vec<(u128, Vec<u128>)>, ClusterError> {
        let root = root.draining(NodeId(leaving))?;
        let members: Vec<Member> = root.nodes.iter().map(|record| record.member).collect();
        let living = members.iter().map(|member| member.node).collect();
        let wanted = without(&root, "a", present, NodeId(leaving), &living)?;
        let ids = |log_servers: &[Member]| log_servers.iter().map(|member| member.node.0).collect();
        Ok(wanted.stripes().iter().map(|stripe| (stripe.sequencer.node.0, ids(&stripe.log_servers))).collect())
    }

    #[test]
    fn every_stripe_leaves_a_node_that_is_drained() {
        let rotating = loglet(&[(1, [1, 2]), (2, [1, 2]), (1, [1, 2])]);
        let expected = [(3, vec![2, 3]), (2, vec![2, 3]), (2, vec![2, 3])];
        let found = moved(3, &rotating, 1).unwrap();
        assert_eq!(found.iter().map(|(_, on)| on.clone()).collect::<Vec<_>>(), vec![vec![2, 3]; 3]);
        assert_eq!(found, expected, "those that stay count");
        let native = loglet(&[(2, [1, 2])]);
        assert_eq!(moved(3, &native, 1).unwrap(), [(2, vec![2, 3])]);
    }

    #[test]
    fn stripes_that_are_stored_apart_stay_so_when_a_node_is_drained() {
        let sharded = loglet(&[(1, [1, 2]), (3, [3, 4])]);
        assert_eq!(moved(5, &sharded, 1).unwrap(), [(2, vec![2, 5]), (3, vec![3, 4])]);
        let refused = moved(4, &sharded, 1).unwrap_err().to_string();
        assert!(refused.starts_with("2 stripes of 2 replicas on nodes of their own need 4 nodes"), "{refused}");
        assert!(refused.ends_with("the cluster has 3, and 1 more that are draining"), "{refused}");
    }

    /// What its load needs is less than that the node can go.
    #[test]
    fn a_log_with_a_range_has_fewer_stripes_when_a_node_is_drained_that_they_need() {
        let members: Vec<Member> = (1..=6).map(member).collect();
        let sharded = loglet(&[(1, [1, 2]), (3, [3, 4]), (5, [5, 6])]);
        let with = |count: usize, most: usize| {
            let range = StripeRange { least: Stripes { count, sharded: true }, most };
            Root::begin(&members).with_log("a", 2, Nonce(1), Vec::new()).unwrap().with_stripes("a", range).unwrap()
        };
        let fewer = moved_of(&with(1, 3), &sharded, 1).unwrap();
        let mut nodes: Vec<u128> = fewer.iter().flat_map(|(_, on)| on.clone()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        assert_eq!((fewer.len(), nodes.len(), nodes.contains(&1)), (2, 4, false), "{fewer:?}");
        assert!(fewer.iter().all(|(sequencer, on)| on.contains(sequencer)), "{fewer:?}");
        assert!(moved_of(&with(3, 3), &sharded, 1).is_err(), "a fixed number is not changed");
    }

    #[test]
    fn whatever_a_chain_names_is_used() {
        let present = loglet(&[(9, [1, 2]), (3, [3, 4])]);
        let chain = Chain::begin(present.clone()).extended(present.id(), Offset(5), native(), None).unwrap();
        let closed = |node| uses_of_chain(&chain, NodeId(node), "a");
        assert_eq!(closed(4), [NodeUse::Closed { log: "a".to_owned(), segments: 1 }]);
        assert_eq!(closed(9), [], "who has sequenced what has ended is not needed");
        let active = Chain::begin(present);
        assert_eq!(uses_of_chain(&active, NodeId(9), "a"), [NodeUse::Active { log: "a".to_owned() }]);
        assert_eq!(uses_of_chain(&active, NodeId(4), "a"), [NodeUse::Active { log: "a".to_owned() }]);
    }

    fn native() -> LogletSpec {
        let LogletSpec::Native(config) = loglet(&[(7, [7, 8])]) else { panic!("it has one stripe") };
        LogletConfig { id: LogletId { log: 1, version: 2, nonce: 50 }, ..config }.into()
    }
}
