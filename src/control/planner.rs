//! The planner: what is to be done about the nodes that are lost or are to leave. A pure function of what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::{Incarnation, IntentId, LogletId, NodeId, quorum};
use crate::client::{Chain, Intent, LogRecord, LogletSpec, Root, Seat, Wanted, WantedStripe, rotate};
use crate::wire::{LogletConfig, Member};

/// How long something has to be wrong before it is acted upon. Clients that use a log replace its sequencer much sooner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// A sequencer is missed, or was restarted.
    pub sequencer: Duration,
    /// A LogServer of the last loglet is missed. It costs nothing but redundancy, and most come back.
    pub log_server: Duration,
    /// One of a closed loglet is missed: replacing it means copying. Likewise one that keeps registers.
    pub copies: Duration,
    /// An intent is not carried out by who wrote it (P15).
    pub intent: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            sequencer: Duration::from_secs(3),
            log_server: Duration::from_secs(15),
            copies: Duration::from_secs(60),
            intent: Duration::from_secs(10),
        }
    }
}

/// What is known of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Condition {
    /// How long this node has missed it; nothing while it has not.
    pub missed: Option<Duration>,
    /// How many nodes miss it, this one included.
    pub votes: usize,
    /// Since when it says that its journal has failed: what it holds can be read, and it takes nothing any more.
    pub failed: Option<Duration>,
    /// Whether something new may be placed on it.
    pub steady: bool,
    /// The life that has answered last.
    pub incarnation: Option<Incarnation>,
}

/// All that a plan is made from.
#[derive(Debug)]
pub struct View<'a> {
    /// The nodes and logs.
    pub root: &'a Root,
    /// The logs' chains, by their names, as far as they could be read.
    pub chains: &'a BTreeMap<String, Chain>,
    /// The nodes. One that is not here is as one that nobody misses and nobody knows.
    pub nodes: &'a BTreeMap<NodeId, Condition>,
    /// Since when this node knows of the intents that are pending.
    pub intents: &'a BTreeMap<IntentId, Duration>,
    /// How long to wait.
    pub patience: Patience,
    /// The logs that should have another number of stripes, by their names, and how many.
    pub scaling: &'a BTreeMap<String, usize>,
}

/// Something to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// To this log.
    pub log: String,
    /// About this loglet: void when the chain has changed (L7). A change of a closed segment names the stripe.
    pub loglet: LogletId,
    /// What.
    pub change: Change,
    /// What it is for.
    pub aim: Aim,
    /// For people.
    pub reason: String,
}

/// What something is done for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aim {
    /// Something is wrong.
    Mend,
    /// Nothing is: the log is to have as many stripes as its load needs, or as it may have.
    Scale,
    /// Nothing is: its stripes are to lie on more nodes.
    Spread,
}

/// What is done to a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The last loglet is ended, and this put behind it.
    Extend(Wanted),
    /// What somebody has intended is carried out.
    Fulfil(Intent),
    /// A stripe of a closed segment gets these LogServers.
    Modify(Vec<Member>),
}

/// The nodes that are lost for as long as the copies on them are to be replaced.
pub fn lost(view: &View<'_>) -> Vec<NodeId> {
    let nodes = view.root.nodes.iter().map(|record| record.member.node);
    nodes.filter(|node| view.is_missed(*node, view.patience.copies)).collect()
}

/// What should be done now, the most urgent of each log first.
pub fn plan(view: &View<'_>) -> Vec<Action> {
    let logs = view.root.logs.iter().filter_map(|(name, record)| Some((name, record, view.chains.get(name)?)));
    logs.flat_map(|(name, record, chain)| {
        let active = view.fulfil(chain).or_else(|| view.replace_active(record, chain));
        let mended = active.or_else(|| view.restore(record, chain)).map(|found| (Aim::Mend, found));
        let scaled = || view.divide(name, record, chain).map(|found| (Aim::Scale, found));
        let spread = || view.spread(record, chain).map(|found| (Aim::Spread, found));
        let found = mended.or_else(scaled).or_else(spread);
        found.map(|(aim, (loglet, change, reason))| Action { log: name.clone(), loglet, change, aim, reason })
    })
    .collect()
}

pub(super) type Found = (LogletId, Change, String);

impl View<'_> {
    fn condition(&self, node: NodeId) -> Condition {
        self.nodes.get(&node).copied().unwrap_or_default()
    }

    /// Evidence counts when a majority of the nodes has it, or all others where there are only two (L7).
    fn is_missed(&self, node: NodeId, patience: Duration) -> bool {
        let nodes = self.root.nodes.len();
        let needed = quorum(nodes).min(nodes.saturating_sub(1)).max(1);
        let Condition { missed, votes, .. } = self.condition(node);
        missed.is_some_and(|missed| missed >= patience) && votes >= needed
    }

    /// Whether a LogServer is to be replaced: lost, failed, about to leave, or gone from the cluster.
    fn why_lost(&self, node: NodeId, patience: Duration) -> Option<&'static str> {
        match self.root.node(node) {
            None => Some("is not in the cluster any more"),
            Some(record) if !record.state.is_active() => Some("is to leave"),
            Some(_) if self.condition(node).failed.is_some_and(|failed| failed >= patience) => {
                Some("has a failed journal")
            }
            Some(_) if self.is_missed(node, patience) => Some("is missed"),
            Some(_) => None,
        }
    }

    /// The cluster as far as something new may be placed on it.
    pub(super) fn placeable(&self) -> Root {
        let mut root = self.root.clone();
        root.nodes.retain(|record| self.is_steady(record.member.node));
        root
    }

    fn is_steady(&self, node: NodeId) -> bool {
        let Condition { steady, failed, missed, .. } = self.condition(node);
        steady && failed.is_none() && missed.is_none()
    }

    /// Whether a node may be given something new.
    pub(super) fn can_take(&self, node: NodeId) -> bool {
        self.root.node(node).is_some_and(|record| record.state.is_active()) && self.is_steady(node)
    }

    /// The LogServers that each stripe of a loglet should have instead of those that it has; nothing where that changes nothing. Where no
    /// node stores two stripes, none will.
    fn instead_of_all(
        &self,
        record: &LogRecord,
        loglet: &LogletSpec,
        lost: impl Fn(NodeId) -> bool,
    ) -> Vec<Option<Vec<Member>>> {
        let is_apart = loglet.is_sharded();
        let mut taken: BTreeSet<NodeId> = loglet.log_servers().map(|member| member.node).filter(|_| is_apart).collect();
        let instead = |stripe: &LogletConfig| {
            let wanted = self.instead(record, &stripe.log_servers, &lost, &taken);
            taken.extend(wanted.iter().flatten().map(|member| member.node).filter(|_| is_apart));
            wanted
        };
        loglet.stripes().iter().map(instead).collect()
    }

    /// The LogServers that a stripe should have instead of `present`, of which these are lost: those that are well stay where they are
    /// well, and the others are replaced as far as there is anybody who is not taken; nothing if that changes nothing.
    fn instead(
        &self,
        record: &LogRecord,
        present: &[Member],
        lost: impl Fn(NodeId) -> bool,
        taken: &BTreeSet<NodeId>,
    ) -> Option<Vec<Member>> {
        let is_present = |node| present.iter().any(|member| member.node == node);
        let root = self.placeable().without(|node| taken.contains(&node) && !is_present(node));
        let kept: Vec<&Member> = present.iter().filter(|member| !lost(member.node)).collect();
        let count = present.len().max(record.replicas);
        // Those that are kept count for the zones, whether or not something new would be placed on them today.
        let mut known = root.clone();
        for member in &kept {
            if known.node(member.node).is_none() {
                known.nodes.extend(self.root.node(member.node).cloned());
            }
        }
        let kept_nodes: Vec<NodeId> = kept.iter().map(|member| member.node).collect();
        let spread = known.spread(record.log, &kept_nodes, count);
        // Whom nobody can replace stays (P12): they count, and may come back.
        let missing = count.saturating_sub(spread.len());
        let stay = present.iter().filter(|member| lost(member.node)).take(missing);
        let wanted: Vec<Member> = spread.into_iter().chain(stay.copied()).collect();
        let is_same = wanted.iter().all(|member| present.iter().any(|other| other.node == member.node));
        (!is_same || wanted.len() > present.len()).then_some(wanted)
    }

    fn fulfil(&self, chain: &Chain) -> Option<Found> {
        let intent = chain.intent.as_ref()?;
        let pending = *self.intents.get(&intent.id)?;
        let reason = || format!("its reconfiguration {} is pending since {} s", intent.id, pending.as_secs());
        (pending >= self.patience.intent).then(|| (intent.replaces, Change::Fulfil(intent.clone()), reason()))
    }

    /// Why a stripe of the last loglet needs another sequencer, or another life of it.
    fn why_unsequenced(&self, stripe: &LogletConfig) -> Option<&'static str> {
        let sequencer = stripe.sequencer.node;
        match () {
            () if self.is_restarted(stripe) => Some("was restarted"),
            // No member can leave while a log appends to it. One that is none sequences for the process that it is in, where nobody here
            // may be able to reach it: whoever appends next replaces it if it is gone.
            () if self.root.node(sequencer).is_none() => None,
            () => self.why_lost(sequencer, self.patience.sequencer),
        }
    }

    fn is_restarted(&self, stripe: &LogletConfig) -> bool {
        let life = self.condition(stripe.sequencer.node).incarnation;
        life.is_some_and(|life| life != stripe.sequencer.incarnation)
    }

    /// What is wrong with the last loglet: one stripe without a sequencer is enough (P6).
    fn replace_active(&self, record: &LogRecord, chain: &Chain) -> Option<Found> {
        let loglet = &chain.last().loglet;
        let lost = |node: NodeId| self.why_lost(node, self.patience.log_server);
        let instead = self.instead_of_all(record, loglet, |node| lost(node).is_some());
        let unsequenced = |stripe: &LogletConfig| Some((stripe.sequencer.node, self.why_unsequenced(stripe)?));
        let reason = match loglet.stripes().iter().find_map(unsequenced) {
            Some((sequencer, why)) => format!("its sequencer {sequencer} {why}"),
            None if instead.iter().any(Option::is_some) => {
                let mut members = loglet.log_servers();
                let first = members.find_map(|member| Some(format!("{} {}", member.node, lost(member.node)?)));
                format!("its LogServer {}", first.unwrap_or_else(|| "count is below its replicas".to_owned()))
            }
            None => return None,
        };
        let is_well = |member: &Member| {
            let Condition { missed, failed, incarnation, .. } = self.condition(member.node);
            let active = self.root.node(member.node).is_some_and(|record| record.state.is_active());
            active && missed.is_none() && failed.is_none() && incarnation.is_some()
        };
        let seat = |(stripe, log_servers): (&LogletConfig, Option<Vec<Member>>)| {
            let others = log_servers.unwrap_or_else(|| stripe.log_servers.clone());
            let stays = self.why_unsequenced(stripe).is_none() || self.is_restarted(stripe);
            let is_same = |member: &&Member| member.node == stripe.sequencer.node && is_well(member);
            Seat { kept: others.iter().find(is_same).filter(|_| stays).copied(), others, last: None }
        };
        let seats: Vec<Seat> = loglet.stripes().iter().zip(instead).map(seat).collect();
        let sequencers = rotate(&seats, is_well)?;
        let stripe = |(sequencer, seat): (Member, Seat)| WantedStripe { sequencer, log_servers: seat.others };
        let wanted = Wanted::new(sequencers.into_iter().zip(seats).map(stripe).collect());
        Some((loglet.id(), Change::Extend(wanted), reason))
    }

    /// The first stripe of a closed segment that has lost a copy.
    fn restore(&self, record: &LogRecord, chain: &Chain) -> Option<Found> {
        let closed = chain.segments.iter().filter(|segment| segment.stop.is_some_and(|stop| stop > chain.trim_point));
        let why = |node: NodeId| self.why_lost(node, self.patience.copies);
        let restored = |(stripe, wanted): (&LogletConfig, Option<Vec<Member>>)| {
            let (present, wanted) = (&stripe.log_servers, wanted?);
            // One at a time, and somebody who has it stays.
            let is_kept = |member: &Member| wanted.iter().any(|other| other.node == member.node);
            if !present.iter().any(is_kept) {
                return None;
            }
            let mut lost = present.iter().filter_map(|member| Some(format!("{} {}", member.node, why(member.node)?)));
            let reason = lost.next().unwrap_or_else(|| "fewer copies than replicas".to_owned());
            Some((stripe.id, Change::Modify(wanted), format!("a copy of {}: {reason}", stripe.id)))
        };
        closed.into_iter().find_map(|segment| {
            let instead = self.instead_of_all(record, &segment.loglet, |node| why(node).is_some());
            segment.loglet.stripes().iter().zip(instead).find_map(restored)
        })
    }
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
