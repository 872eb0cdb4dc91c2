//! The root register's value: which nodes and which logs a cluster has (P8 a).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::range::StripeRange;
use crate::base::{NodeId, Nonce, RegisterId, Version};
use crate::proto::striped::Layout;
use crate::wire::{Decision, Member};

/// Most bytes of a name: of a log, or of a zone.
const NAME_BYTES_MAX: usize = 64;

/// What a node may be used for (L9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// For everything.
    #[default]
    Active,
    /// It is to leave: nothing new is placed on it.
    Draining,
}

impl NodeState {
    /// Whether something new may be placed on it.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

/// A node of the cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Who it is, and where to look for it.
    #[serde(flatten)]
    pub member: Member,
    /// What it may be used for.
    #[serde(default, skip_serializing_if = "NodeState::is_active")]
    pub state: NodeState,
    /// What it fails together with, such as a rack: copies are spread over zones. Nodes that name none are in one zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl NodeRecord {
    /// A node that has just joined.
    pub fn new(member: Member, zone: Option<String>) -> Self {
        Self { member, state: NodeState::Active, zone }
    }
}

/// How the loglets of a log are divided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripes {
    /// Over how many stripes; over one they are native.
    pub count: usize,
    /// Whether each stripe is stored on nodes of its own; else all are stored on the same nodes, and sequenced on different ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sharded: bool,
}

impl Stripes {
    /// Native loglets.
    pub const ONE: Self = Self { count: 1, sharded: false };
    /// Most of them.
    pub const MAX: usize = Layout::STRIPES_MAX;

    /// How they are divided of which nobody has said anything.
    pub fn is_one(&self) -> bool {
        *self == Self::ONE
    }

    /// Nodes that it takes to store each record so many times.
    pub fn nodes(self, replicas: usize) -> usize {
        if self.sharded { replicas * self.count } else { replicas }
    }
}

impl Default for Stripes {
    fn default() -> Self {
        Self::ONE
    }
}

/// A log of the cluster: its register begins in no other way (P8 a).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRecord {
    /// The log's number, and its register's.
    pub log: u64,
    /// On how many nodes each record is stored; the number of LogServers never falls below it (P12).
    pub replicas: usize,
    /// How the loglets that it is given are to be divided; over so many stripes at least where there is a most.
    #[serde(default, skip_serializing_if = "Stripes::is_one")]
    pub stripes: Stripes,
    /// Over how many stripes at the most, if control may choose; none if they stay as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripes_max: Option<usize>,
    /// Names the birth of the register.
    pub nonce: Nonce,
    /// The register's first members, which never change: they are a part of what it is born with.
    pub members: Vec<Member>,
    /// Who decides the register's next version since it was handed over, for those who look for it when the first members are gone;
    /// nobody if it was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keepers: Vec<Member>,
}

impl LogRecord {
    /// The register that holds the log's chain.
    pub fn register(&self) -> RegisterId {
        RegisterId(self.log)
    }

    /// What the register is born with, the same for everybody.
    pub fn birth(&self) -> Decision {
        Decision { version: Version::BIRTH, nonce: self.nonce, members: self.members.clone(), value: Vec::new() }
    }

    fn set_range(&mut self, range: StripeRange) {
        self.stripes = range.least;
        self.stripes_max = Some(range.most).filter(|_| !range.is_fixed());
    }

    /// Over how many stripes its loglets may go.
    pub fn range(&self) -> StripeRange {
        StripeRange { least: self.stripes, most: self.stripes_max.unwrap_or(self.stripes.count) }
    }

    /// Nodes that it takes to store the log, over the fewest stripes.
    pub fn nodes(&self) -> usize {
        self.stripes.nodes(self.replicas)
    }

    /// Whom to ask for the register.
    pub fn keepers(&self) -> &[Member] {
        if self.keepers.is_empty() { &self.members } else { &self.keepers }
    }
}

/// What a cluster consists of. Written as JSON, so that an operator can read it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// The nodes.
    pub nodes: Vec<NodeRecord>,
    /// The logs, by their names.
    pub logs: BTreeMap<String, LogRecord>,
    /// The number of the next log; none is used twice.
    pub next_log: u64,
    /// The directory of the one node's machine with the files that hold all registers, this one's successor among them; none if the nodes
    /// keep them, which is usual. It never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers_in: Option<String>,
}

/// A change that the cluster does not allow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RootRefusal {
    /// There is such a log.
    #[error("there is a log `{}` already", shown_name(.0))]
    NameTaken(String),
    /// There is no such log.
    #[error("there is no log `{}`; the cluster has: {}", shown_name(name), known.join(", "))]
    NoSuchLog {
        /// The name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Not a name.
    #[error(
        "`{}` is no name of a log: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`, and neither `.` nor `..`",
        shown_name(.0)
    )]
    BadName(String),
    /// Not the name of a zone.
    #[error("`{}` is no name of a zone: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`", shown_name(.0))]
    BadZone(String),
    /// Fewer nodes than copies.
    #[error("{wanted} replicas need {wanted} nodes, and the cluster has {active}{}", draining_too(*draining))]
    TooFewNodes {
        /// Copies asked for.
        wanted: usize,
        /// Nodes that may be used.
        active: usize,
        /// Nodes that are to leave, which are not.
        draining: usize,
    },
    /// Fewer nodes than copies of stripes that are to be stored apart.
    #[error(
        "{stripes} stripes of {replicas} replicas on nodes of their own need {} nodes, and the cluster has {active}{}",
        stripes * replicas, draining_too(*draining)
    )]
    TooFewNodesApart {
        /// Stripes asked for.
        stripes: usize,
        /// Copies of each.
        replicas: usize,
        /// Nodes that may be used.
        active: usize,
        /// Nodes that are to leave, which are not.
        draining: usize,
    },
    /// No stripe, or too many.
    #[error("a log has 1 to {max} stripes, and not {0}", max = Stripes::MAX)]
    StripeCount(usize),
    /// A range with nothing in it.
    #[error("a range of stripes begins with the smaller number, and {least}..{most} does not")]
    StripeRange {
        /// Its beginning.
        least: usize,
        /// Its end.
        most: usize,
    },
    /// No copy at all.
    #[error("a log needs at least one replica")]
    NoReplicas,
    /// The node is in no list.
    #[error("the cluster has no node {0}")]
    NoSuchNode(NodeId),
    /// Fewer nodes would be left than a log has copies, or none at all.
    #[error("without node {node} {} left to be used, and {}", nodes_are(*left), needed_by(*needed, log.as_deref()))]
    LastReplica {
        /// The node that was to leave.
        node: NodeId,
        /// Active nodes without it.
        left: usize,
        /// Fewest that there have to be.
        needed: usize,
        /// The log that is stored on as many; none if it is the cluster itself that needs them.
        log: Option<String>,
    },
    /// Its registers are in files of one machine.
    #[error("the cluster has its registers in files of one machine ({0}), and one node for ever")]
    OneNode(String),
    /// A node is drained before it is removed.
    #[error("node {0} is not draining; drain it first")]
    NotDraining(NodeId),
    /// Something would look for it.
    #[error("node {node} is still used by {}", users.join(", "))]
    InUse {
        /// The node.
        node: NodeId,
        /// What names it.
        users: Vec<String>,
    },
}

fn draining_too(draining: usize) -> String {
    if draining == 0 { String::new() } else { format!(", and {draining} more that are draining") }
}

fn nodes_are(count: usize) -> String {
    if count == 1 { "1 node is".to_owned() } else { format!("{count} nodes are") }
}

fn needed_by(needed: usize, log: Option<&str>) -> String {
    match log {
        Some(log) => format!("log `{log}` is stored on {needed}"),
        None => format!("a cluster needs {needed}"),
    }
}

/// What names of logs and zones look like.
pub(super) fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_fine)
}

/// A text that was given as a name, as a message shows it: on one line, no longer than a name may be, and without what a terminal obeys.
pub fn shown_name(name: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let beginning: String = name.chars().take(NAME_BYTES_MAX).map(shown).collect();
    let rest = if name.chars().nth(NAME_BYTES_MAX).is_some() { "..." } else { "" };
    beginning + rest
}

impl Root {
    /// The first version: these nodes and no logs.
    pub fn begin(members: &[Member]) -> Self {
        let nodes = members.iter().map(|member| NodeRecord::new(*member, None)).collect();
        Self { nodes, logs: BTreeMap::new(), next_log: 1, registers_in: None }
    }

    /// The first version where the registers are in files of this directory: it is the last that the node keeps itself.
    ///
    /// # Errors
    /// Other machines than one do not see the files.
    pub fn in_files(members: &[Member], directory: &str) -> Result<Self, RootRefusal> {
        match members {
            [_] => Ok(Self { registers_in: Some(directory.to_owned()), ..Self::begin(members) }),
            _ => Err(RootRefusal::OneNode(directory.to_owned())),
        }
    }

    /// As it is stored.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a root is always serialisable")
    }

    /// A stored root.
    ///
    /// # Errors
    /// Not JSON of this shape.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The record of a log.
    ///
    /// # Errors
    /// There is no such log.
    pub fn log(&self, name: &str) -> Result<&LogRecord, RootRefusal> {
        let known = || self.logs.keys().cloned().collect();
        self.logs.get(name).ok_or_else(|| RootRefusal::NoSuchLog { name: name.to_owned(), known: known() })
    }

    /// With another log, whose register begins with these members.
    ///
    /// # Errors
    /// The name is taken or none, or there are not nodes enough.
    pub fn with_log(
        &self,
        name: &str,
        replicas: usize,
        nonce: Nonce,
        members: Vec<Member>,
    ) -> Result<Self, RootRefusal> {
        // What other programs take for directories, when they name something by the log.
        if !is_name(name) || [".", ".."].contains(&name) {
            return Err(RootRefusal::BadName(name.to_owned()));
        }
        if self.logs.contains_key(name) {
            return Err(RootRefusal::NameTaken(name.to_owned()));
        }
        if replicas == 0 {
            return Err(RootRefusal::NoReplicas);
        }
        let active = self.active().count();
        if replicas > active {
            let draining = self.nodes.len() - active;
            return Err(RootRefusal::TooFewNodes { wanted: replicas, active, draining });
        }
        let mut next = self.clone();
        let (stripes, stripes_max, keepers) = (Stripes::ONE, None, Vec::new());
        let record = LogRecord { log: self.next_log, replicas, stripes, stripes_max, nonce, members, keepers };
        next.logs.insert(name.to_owned(), record);
        next.next_log += 1;
        Ok(next)
    }

    /// With other stripes of the loglets that a log is given from now on; the same again changes nothing.
    ///
    /// # Errors
    /// There is no such log, or nobody can have so many stripes, or there are not nodes enough to store the most of them apart.
    pub fn with_stripes(&self, name: &str, stripes: impl Into<StripeRange>) -> Result<Self, RootRefusal> {
        let range = stripes.into();
        let record = self.log(name)?;
        range.check()?;
        self.check_apart(range.stripes(range.most), record.replicas)?;
        let mut next = self.clone();
        next.logs.entry(name.to_owned()).and_modify(|record| record.set_range(range));
        Ok(next)
    }

    /// With the stripes of a log as its chain says, if it says anything. Not checked: they have been before the chain got them, and it is so,
    /// whatever has become of the nodes since.
    pub fn following(&self, name: &str, chain: &Chain) -> Self {
        let mut next = self.clone();
        let record = next.logs.get_mut(name).filter(|record| record.log == chain.last().loglet.id().log);
        if let (Some(record), Some(range)) = (record, chain.stripes) {
            record.set_range(range);
        }
        next
    }

    /// Says whether there are nodes enough to store stripes apart, if they are to be.
    ///
    /// # Errors
    /// There are not.
    pub fn check_apart(&self, stripes: Stripes, replicas: usize) -> Result<(), RootRefusal> {
        let active = self.active().count();
        if stripes.sharded && stripes.nodes(replicas) > active {
            let draining = self.nodes.len() - active;
            return Err(RootRefusal::TooFewNodesApart { stripes: stripes.count, replicas, active, draining });
        }
        Ok(())
    }

    /// Without a log. Its number is not used again.
    ///
    /// # Errors
    /// There is no such log.
    pub fn without_log(&self, name: &str) -> Result<Self, RootRefusal> {
        self.log(name)?;
        let mut next = self.clone();
        next.logs.remove(name);
        Ok(next)
    }

    /// Where to look for a node.
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.iter().find(|record| record.member.node == node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u128) -> Vec<Member> {
        let member = |node: u128| Member { node: NodeId(node), address: ([10, 0, 0, node as u8], 7000).into() };
        (1..=count).map(member).collect()
    }

    #[test]
    fn logs_have_names_and_numbers_of_their_own_and_spread() {
        let root = Root::begin(&members(3));
        let one = root.with_log("one", 2, Nonce(1), members(3)).unwrap();
        let two = one.with_log("two", 2, Nonce(2), members(3)).unwrap();
        assert_eq!((two.log("one").unwrap().log, two.log("two").unwrap().log), (1, 2));
        assert_ne!(two.place(&two.logs["one"])[0], two.place(&two.logs["two"])[0]);
        assert_eq!(Root::from_json(&two.to_json()).unwrap(), two);
        assert_eq!(two.with_log("one", 1, Nonce(3), members(3)), Err(RootRefusal::NameTaken("one".to_owned())));
        let missing = two.log("three").unwrap_err();
        assert_eq!(missing.to_string(), "there is no log `three`; the cluster has: one, two");
        let without = two.without_log("one").unwrap();
        assert!(without.log("one").is_err() && without.log("two").is_ok());
        assert_eq!(two.without_log("three"), Err(missing));
        let again = without.with_log("one", 2, Nonce(3), members(3)).unwrap();
        assert_eq!(again.log("one").unwrap().log, 3, "a name can come back, a number cannot");
    }

    /// What was written before nodes had states and zones is read, and what has none is written as before.
    #[test]
    fn a_root_without_states_and_zones_is_compact() {
        let node = NodeId(0x1f);
        let json = format!(r#"{{"nodes":[{{"node":"{node}","address":"10.0.0.1:7000"}}],"logs":{{}},"next_log":1}}"#);
        let root = Root::from_json(json.as_bytes()).unwrap();
        assert_eq!(root.nodes[0].state, NodeState::Active);
        assert_eq!(String::from_utf8(root.to_json()).unwrap(), json);
        let unknown = json.replace(r#""address""#, r#""colour":1,"address""#);
        assert!(Root::from_json(unknown.as_bytes()).is_err(), "a field that nobody knows may mean something");
    }

    /// What was stored before there were stripes is read, and written as it was.
    #[test]
    fn a_log_has_one_stripe_where_nothing_is_said() {
        let one = Root::begin(&members(6)).with_log("one", 3, Nonce(1), members(3)).unwrap();
        let json = String::from_utf8(one.to_json()).unwrap();
        assert!(!json.contains("stripes"), "{json}");
        assert_eq!(Root::from_json(json.as_bytes()).unwrap().log("one").unwrap().stripes, Stripes::ONE);
        let stripes = Stripes { count: 2, sharded: true };
        let two = one.with_stripes("one", stripes).unwrap();
        assert_eq!((two.log("one").unwrap().stripes, two.log("one").unwrap().nodes()), (stripes, 6));
        assert_eq!(Root::from_json(&two.to_json()).unwrap(), two);
        assert_eq!(two.with_stripes("one", Stripes::ONE).unwrap(), one);
    }

    #[test]
    fn stripes_that_cannot_be_are_refused() {
        let root = Root::begin(&members(5)).with_log("one", 2, Nonce(1), members(3)).unwrap();
        let with = |count, sharded| root.with_stripes("one", Stripes { count, sharded });
        assert_eq!(with(0, false).unwrap_err(), RootRefusal::StripeCount(0));
        assert_eq!(with(65, false).unwrap_err().to_string(), "a log has 1 to 64 stripes, and not 65");
        assert!(with(64, false).is_ok() && with(2, true).is_ok());
        let refused = RootRefusal::TooFewNodesApart { stripes: 3, replicas: 2, active: 5, draining: 0 };
        assert_eq!(with(3, true).unwrap_err(), refused);
        let draining = root.draining(NodeId(5)).unwrap().draining(NodeId(4)).unwrap();
        let refused = draining.with_stripes("one", Stripes { count: 2, sharded: true }).unwrap_err();
        assert!(refused.to_string().ends_with("the cluster has 3, and 2 more that are draining"), "{refused}");
        assert!(matches!(root.with_stripes("none", Stripes::ONE), Err(RootRefusal::NoSuchLog { .. })));
    }

    /// A log may have as many as the nodes allow of the most that it is ever given.
    #[test]
    fn a_range_of_stripes_is_kept_with_its_most_and_checked_by_it() {
        let root = Root::begin(&members(6)).with_log("one", 2, Nonce(1), members(6)).unwrap();
        let range = |count, most, sharded| StripeRange { least: Stripes { count, sharded }, most };
        let ranged = root.with_stripes("one", range(1, 3, true)).unwrap();
        let json = String::from_utf8(ranged.to_json()).unwrap();
        assert!(json.contains(r#""stripes":{"count":1,"sharded":true},"stripes_max":3"#), "{json}");
        let read = Root::from_json(json.as_bytes()).unwrap();
        assert_eq!((read.log("one").unwrap().range(), read.log("one").unwrap().nodes()), (range(1, 3, true), 2));
        let fixed = ranged.with_stripes("one", Stripes { count: 2, sharded: false }).unwrap();
        assert_eq!((fixed.logs["one"].stripes_max, fixed.logs["one"].range()), (None, range(2, 2, false)));
        let refused = |range| root.with_stripes("one", range).unwrap_err().to_string();
        assert!(refused(range(1, 4, true)).contains("4 stripes of 2 replicas on nodes of their own need 8 nodes"));
        assert_eq!(refused(range(3, 2, false)), "a range of stripes begins with the smaller number, and 3..2 does not");
        assert_eq!(refused(range(0, 2, false)), "a log has 1 to 64 stripes, and not 0");
        assert_eq!(refused(range(2, 65, false)), "a log has 1 to 64 stripes, and not 65");
        assert_eq!([0, 1, 2, 3, 9].map(|count| range(2, 3, true).stripes(count).count), [2, 2, 2, 3, 3]);
    }

    #[test]
    fn a_cluster_with_registers_in_files_has_one_node() {
        let root = Root::in_files(&members(1), "/r").unwrap();
        assert_eq!(Root::from_json(&root.to_json()).unwrap(), root);
        let other = members(2)[1];
        assert_eq!(root.with_node(other, None), Err(RootRefusal::OneNode("/r".to_owned())));
        let moved = Member { address: other.address, ..members(1)[0] };
        assert_eq!(root.with_node(moved, None).unwrap().nodes[0].member, moved, "it may say where it is now");
        assert!(Root::in_files(&members(2), "/r").is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let root = Root::begin(&members(3));
        let with = |name: &str, replicas| root.with_log(name, replicas, Nonce(1), members(3)).unwrap_err();
        assert_eq!(with("x", 4), RootRefusal::TooFewNodes { wanted: 4, active: 3, draining: 0 });
        assert_eq!(with("x", 0), RootRefusal::NoReplicas);
        for name in ["", "a b", "ä", "a/b", ".", "..", "a\n", "\u{1b}[2J", &"x".repeat(65)] {
            assert_eq!(with(name, 1), RootRefusal::BadName(name.to_owned()));
        }
        for name in ["...", ".a", "-", "_", "A.b-c_9", &"x".repeat(64)] {
            assert!(root.with_log(name, 1, Nonce(1), members(3)).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_message_shows_a_name_as_one_short_line_of_what_can_be_seen() {
        let refused = |name: &str| RootRefusal::BadName(name.to_owned()).to_string();
        assert!(
            refused("a\u{1b}[2J\n\u{9b}").starts_with("`a\\u{1b}[2J\\n\\u{9b}` is no name of a log: 1 to 64 letters")
        );
        assert!(refused(&"ä".repeat(9000)).starts_with(&format!("`{}...` is no name", "ä".repeat(64))));
        let missing = Root::begin(&members(3)).log("\u{7}").unwrap_err();
        assert!(missing.to_string().starts_with("there is no log `\\u{7}`"), "{missing}");
        assert_eq!(shown_name(&"x".repeat(64)), "x".repeat(64));
    }
}
