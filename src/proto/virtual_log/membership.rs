//! Changes of the list of nodes: who joins, who is to leave, and who has left (L9).

use super::root::{NodeRecord, NodeState, Root, RootRefusal, is_name};
use crate::base::NodeId;
use crate::wire::{Decision, Member};

/// Keepers of a register, where there are nodes enough: one may be lost.
const KEEPERS_USUAL: usize = 3;

impl Root {
    /// The nodes that something may be placed on.
    pub fn active(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.iter().filter(|node| node.state.is_active())
    }

    /// With this node. One that is there already keeps its state, and its zone if none is named; the same again changes nothing.
    ///
    /// # Errors
    /// Not the name of a zone, or the cluster has no place for a second node.
    pub fn with_node(&self, member: Member, zone: Option<String>) -> Result<Self, RootRefusal> {
        if let Some(bad) = zone.as_ref().filter(|zone| !is_name(zone)) {
            return Err(RootRefusal::BadZone(bad.clone()));
        }
        let mut next = self.clone();
        match next.nodes.iter_mut().find(|node| node.member.node == member.node) {
            Some(known) => {
                known.member = member;
                known.zone = zone.or(known.zone.take());
            }
            None if let Some(files) = &self.registers_in => return Err(RootRefusal::OneNode(files.clone())),
            None => next.nodes.push(NodeRecord::new(member, zone)),
        }
        Ok(next)
    }

    /// With this node about to leave: nothing new is placed on it.
    ///
    /// # Errors
    /// There is no such node, or fewer active ones would be left than a log is stored on, or none.
    pub fn draining(&self, node: NodeId) -> Result<Self, RootRefusal> {
        let record = self.known(node)?;
        if record.state.is_active() {
            self.check_left(node)?;
        }
        Ok(self.in_state(node, NodeState::Draining))
    }

    /// With this node active again.
    ///
    /// # Errors
    /// There is no such node.
    pub fn undrained(&self, node: NodeId) -> Result<Self, RootRefusal> {
        self.known(node)?;
        Ok(self.in_state(node, NodeState::Active))
    }

    /// Without this node, which `users` name: chains, registers, and logs of which nobody can tell.
    ///
    /// # Errors
    /// There is no such node, or it is not draining, or it is used, or too few would be left.
    pub fn without_node(&self, node: NodeId, users: &[String]) -> Result<Self, RootRefusal> {
        if self.known(node)?.state.is_active() {
            return Err(RootRefusal::NotDraining(node));
        }
        if !users.is_empty() {
            return Err(RootRefusal::InUse { node, users: users.to_vec() });
        }
        // Others may have been removed, or logs made, since it was drained.
        self.check_left(node)?;
        let mut next = self.clone();
        next.nodes.retain(|record| record.member.node != node);
        Ok(next)
    }

    /// Who is to keep a register that `present` keep: those of them that are active, where they are now, and others in the place of those
    /// that are not. As many as before, at least three where there are so many, and an odd number beyond two: one more would outlive no
    /// loss more.
    pub fn keepers(&self, turn: u64, present: &[Member]) -> Vec<Member> {
        let most = self.active().count().min(Decision::MEMBERS_MAX);
        let count = present.len().max(KEEPERS_USUAL).min(most);
        let count = if count > 2 && count.is_multiple_of(2) { count - 1 } else { count };
        let present: Vec<NodeId> = present.iter().map(|member| member.node).collect();
        self.spread(turn, &present, count)
    }

    /// As [`Root::keepers`], with others in the place of those that are lost, as far as there are others: who is not replaced stays.
    pub fn keepers_without(&self, lost: &[NodeId], turn: u64, present: &[Member]) -> Vec<Member> {
        let without = lost.iter().fold(self.clone(), |root, node| root.in_state(*node, NodeState::Draining));
        let (with, without) = (self.keepers(turn, present), without.keepers(turn, present));
        if without.len() < with.len() { with } else { without }
    }

    /// With these keepers of a log's register; the same root if the log is not there any more.
    pub fn with_keepers(&self, log: u64, keepers: &[Member]) -> Self {
        let mut next = self.clone();
        for record in next.logs.values_mut().filter(|record| record.log == log) {
            let is_birth = record.members == keepers;
            record.keepers = if is_birth { Vec::new() } else { keepers.to_vec() };
        }
        next
    }

    fn known(&self, node: NodeId) -> Result<&NodeRecord, RootRefusal> {
        self.node(node).ok_or(RootRefusal::NoSuchNode(node))
    }

    fn in_state(&self, node: NodeId, state: NodeState) -> Self {
        let mut next = self.clone();
        next.nodes.iter_mut().filter(|record| record.member.node == node).for_each(|record| record.state = state);
        next
    }

    /// Whether enough nodes may be used without this one.
    fn check_left(&self, node: NodeId) -> Result<(), RootRefusal> {
        let left = self.active().filter(|record| record.member.node != node).count();
        let largest = self.logs.iter().max_by_key(|(_, log)| log.nodes());
        let (needed, log) = largest.map_or((1, None), |(name, log)| (log.nodes(), Some(name.clone())));
        if left < needed {
            return Err(RootRefusal::LastReplica { node, left, needed, log });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::root::Stripes;
    use super::*;
    use crate::base::Nonce;

    fn member(node: u128) -> Member {
        Member { node: NodeId(node), address: ([10, 0, 0, node as u8], 7000).into() }
    }

    fn root(nodes: u128) -> Root {
        Root::begin(&(1..=nodes).map(member).collect::<Vec<_>>())
    }

    #[test]
    fn joining_again_updates_where_and_changes_nothing_else() {
        let joined = root(3).with_node(member(4), Some("east".to_owned())).unwrap();
        assert_eq!(joined.nodes[3], NodeRecord::new(member(4), Some("east".to_owned())));
        assert_eq!(joined.with_node(member(4), None).unwrap(), joined);
        let moved = Member { address: ([10, 0, 9, 9], 7000).into(), ..member(4) };
        let draining = joined.draining(NodeId(4)).unwrap().with_node(moved, Some("west".to_owned())).unwrap();
        let expected = NodeRecord { member: moved, state: NodeState::Draining, zone: Some("west".to_owned()) };
        assert_eq!((draining.nodes.len(), &draining.nodes[3]), (4, &expected));
        assert_eq!(Root::from_json(&draining.to_json()).unwrap(), draining);
        assert_eq!(root(1).with_node(member(2), Some("a b".to_owned())), Err(RootRefusal::BadZone("a b".to_owned())));
    }

    #[test]
    fn a_drained_node_can_come_back() {
        let root = root(3);
        let draining = root.draining(NodeId(2)).unwrap();
        assert_eq!(draining.active().count(), 2);
        assert_eq!(draining.draining(NodeId(2)).unwrap(), draining, "the same again changes nothing");
        assert_eq!(draining.undrained(NodeId(2)).unwrap(), root);
        assert_eq!(root.draining(NodeId(9)), Err(RootRefusal::NoSuchNode(NodeId(9))));
        assert_eq!(root.undrained(NodeId(9)), Err(RootRefusal::NoSuchNode(NodeId(9))));
    }

    #[test]
    fn registers_are_kept_by_an_odd_number_of_active_nodes() {
        let keepers = |root: &Root, present: &[u128]| {
            let present: Vec<_> = present.iter().map(|node| member(*node)).collect();
            root.keepers(0, &present).iter().map(|member| member.node.0).collect::<Vec<_>>()
        };
        assert_eq!(keepers(&root(3), &[1, 2, 3]), [1, 2, 3]);
        assert_eq!(keepers(&root(3), &[1]), [1, 2, 3], "a register grows with its cluster");
        assert_eq!(keepers(&root(2), &[1]), [1, 2]);
        assert_eq!(keepers(&root(4), &[1, 2, 3, 4]), [1, 2, 3]);
        assert_eq!(keepers(&root(7), &[1, 2, 3, 4, 5]), [1, 2, 3, 4, 5]);
        let draining = root(4).draining(NodeId(2)).unwrap();
        assert_eq!(keepers(&draining, &[1, 2, 3]), [1, 3, 4], "the others stay");
        let two = root(3).draining(NodeId(2)).unwrap();
        assert_eq!(keepers(&two, &[1, 2, 3]), [1, 3], "a second copy is worth more than an odd number");
        assert_eq!(keepers(&root(40), &(1..=40).collect::<Vec<_>>()).len(), 31);
    }

    #[test]
    fn who_keeps_a_register_is_said_beside_its_birth() {
        let root = root(4).with_log("one", 1, Nonce(1), vec![member(1), member(2)]).unwrap();
        let moved = root.with_keepers(1, &[member(3)]);
        let record = moved.log("one").unwrap();
        assert_eq!((record.keepers(), record.birth()), (&[member(3)][..], root.log("one").unwrap().birth()));
        assert_eq!(moved.with_keepers(1, &[member(1), member(2)]), root);
        assert_eq!(root.with_keepers(7, &[member(3)]), root);
    }

    #[test]
    fn the_last_replica_is_not_drained() {
        let logs = root(4).with_log("small", 1, Nonce(1), vec![member(1)]).unwrap();
        let logs = logs.with_log("large", 3, Nonce(2), vec![member(1)]).unwrap();
        let one = logs.draining(NodeId(1)).unwrap();
        // Each alone would be fine (L9).
        let refused = one.draining(NodeId(2)).unwrap_err();
        let log = Some("large".to_owned());
        assert_eq!(refused, RootRefusal::LastReplica { node: NodeId(2), left: 2, needed: 3, log });
        let text = refused.to_string();
        assert!(text.ends_with("2 nodes are left to be used, and log `large` is stored on 3"), "{text}");
        assert!(one.draining(NodeId(1)).is_ok(), "it is draining already");
        let sharded = logs.with_stripes("small", Stripes { count: 4, sharded: true }).unwrap();
        let refused = sharded.draining(NodeId(1)).unwrap_err().to_string();
        assert!(refused.ends_with("3 nodes are left to be used, and log `small` is stored on 4"), "{refused}");
        let alone = root(1).draining(NodeId(1)).unwrap_err();
        assert!(alone.to_string().ends_with("0 nodes are left to be used, and a cluster needs 1"), "{alone}");
    }

    #[test]
    fn only_a_drained_node_that_nothing_names_is_removed() {
        let root = root(3).with_log("two", 2, Nonce(1), vec![member(1)]).unwrap();
        assert_eq!(root.without_node(NodeId(3), &[]), Err(RootRefusal::NotDraining(NodeId(3))));
        assert_eq!(root.without_node(NodeId(9), &[]), Err(RootRefusal::NoSuchNode(NodeId(9))));
        let draining = root.draining(NodeId(3)).unwrap();
        let used = draining.without_node(NodeId(3), &["log `two`".to_owned()]).unwrap_err();
        assert!(used.to_string().ends_with("is still used by log `two`"), "{used}");
        let gone = draining.without_node(NodeId(3), &[]).unwrap();
        assert_eq!(gone.nodes.iter().map(|node| node.member).collect::<Vec<_>>(), [member(1), member(2)]);
        // A log made since it was drained cannot be refused its nodes: the number is checked again.
        let mut crowded = draining.clone();
        crowded.logs.get_mut("two").unwrap().replicas = 3;
        assert!(matches!(crowded.without_node(NodeId(3), &[]), Err(RootRefusal::LastReplica { left: 2, .. })));
    }
}
