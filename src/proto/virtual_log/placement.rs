//! On which nodes something is kept.

use std::cmp::Reverse;

use super::root::{LogRecord, NodeRecord, Root, Stripes};
use crate::base::NodeId;
use crate::wire::Member;

impl Root {
    /// Where a log's records may be stored, those of each stripe: as many active nodes as it has replicas, over as many zones as there are,
    /// beginning with another node for each log, so that logs spread. Fewer, if there are not so many.
    pub fn place(&self, log: &LogRecord) -> Vec<Vec<Member>> {
        match log.stripes {
            Stripes { count, sharded: true } => self.spread_apart(log.log, count, log.replicas),
            Stripes { count, sharded: false } => vec![self.spread(log.log, &[], log.replicas); count],
        }
    }

    /// So many times `count` nodes, none of them twice, or as many as there are.
    fn spread_apart(&self, turn: u64, stripes: usize, count: usize) -> Vec<Vec<Member>> {
        let mut free = self.in_turns(turn);
        let mut next = |chosen: &[&NodeRecord]| {
            let in_zone =
                |among: &[&NodeRecord], zone: &Option<String>| among.iter().filter(|node| node.zone == *zone).count();
            // Of zones that would do equally well the one with most nodes left: else those that are left last are all in it.
            let key = |node: &&NodeRecord| (in_zone(chosen, &node.zone), Reverse(in_zone(&free, &node.zone)));
            let at = (0..free.len()).min_by_key(|at| key(&free[*at]))?;
            Some(free.remove(at))
        };
        let mut stripe = || {
            let mut chosen = Vec::new();
            while chosen.len() < count
                && let Some(node) = next(&chosen)
            {
                chosen.push(node);
            }
            chosen.into_iter().map(|node| node.member).collect()
        };
        (0..stripes).map(|_| stripe()).collect()
    }

    /// Those of `present` that are in the cluster and active, where they are now, and others in the place of those that are not: `count`
    /// nodes or as many as there are. `turn` says where to begin.
    pub fn spread(&self, turn: u64, present: &[NodeId], count: usize) -> Vec<Member> {
        let kept = present.iter().filter_map(|node| self.node(*node)).filter(|node| node.state.is_active());
        let mut chosen: Vec<&NodeRecord> = kept.take(count).collect();
        let order = self.in_turns(turn);
        while chosen.len() < count {
            let in_zone = |zone: &Option<String>| chosen.iter().filter(|node| node.zone == *zone).count();
            let is_free = |node: &&&NodeRecord| !chosen.iter().any(|chosen| chosen.member.node == node.member.node);
            // The first of the smallest: ties are broken by whose turn it is.
            let Some(next) = order.iter().filter(is_free).min_by_key(|node| in_zone(&node.zone)) else { break };
            chosen.push(next);
        }
        chosen.into_iter().map(|node| node.member).collect()
    }

    /// The cluster as it would be if it did not have these nodes.
    pub fn without(&self, is_out: impl Fn(NodeId) -> bool) -> Self {
        let mut root = self.clone();
        root.nodes.retain(|record| !is_out(record.member.node));
        root
    }

    /// The active nodes, neighbours in different zones as far as possible, beginning with the one whose turn it is.
    fn in_turns(&self, turn: u64) -> Vec<&NodeRecord> {
        let active: Vec<&NodeRecord> = self.active().collect();
        let rank = |at: usize| active[..at].iter().filter(|node| node.zone == active[at].zone).count();
        let mut order: Vec<(usize, &NodeRecord)> =
            active.iter().enumerate().map(|(at, node)| (rank(at), *node)).collect();
        order.sort_by_key(|(rank, _)| *rank);
        if !order.is_empty() {
            let first = turn as usize % order.len();
            order.rotate_left(first);
        }
        order.into_iter().map(|(_, node)| node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nonce;
    use std::collections::BTreeMap;

    /// Nodes 1, 2, ... in these zones, and a log of so many replicas for each number below 12.
    fn placed(zones: &[&str], replicas: usize) -> (Root, Vec<Vec<u128>>) {
        let member = |node: usize| Member { node: NodeId(node as u128), address: ([10, 0, 0, node as u8], 1).into() };
        let mut root = Root::begin(&[]);
        for (index, zone) in zones.iter().enumerate() {
            let zone = Some((*zone).to_owned()).filter(|zone| !zone.is_empty());
            root = root.with_node(member(index + 1), zone).unwrap();
        }
        let place = |log| striped(&root, log, replicas, Stripes::ONE).remove(0);
        let places = (0..12).map(place).collect();
        (root, places)
    }

    /// The nodes of each stripe of this log.
    fn striped(root: &Root, log: u64, replicas: usize, stripes: Stripes) -> Vec<Vec<u128>> {
        let (stripes_max, members, keepers) = (None, Vec::new(), Vec::new());
        let record = LogRecord { log, replicas, stripes, stripes_max, nonce: Nonce(1), members, keepers };
        let places = root.place(&record);
        places.iter().map(|stripe| stripe.iter().map(|member| member.node.0).collect()).collect()
    }

    #[test]
    fn stripes_are_on_the_same_nodes_or_each_on_its_own() {
        let (root, places) = placed(&[""; 7], 3);
        for log in 0..12 {
            let rotating = striped(&root, log, 3, Stripes { count: 4, sharded: false });
            assert_eq!(rotating, vec![places[log as usize].clone(); 4], "as one without stripes");
            let sharded = striped(&root, log, 3, Stripes { count: 2, sharded: true });
            let mut nodes = sharded.concat();
            nodes.sort_unstable();
            nodes.dedup();
            assert_eq!((sharded[0].len(), sharded[1].len(), nodes.len()), (3, 3, 6), "{sharded:?}");
        }
        let draining = root.draining(NodeId(2)).unwrap();
        let sharded = striped(&draining, 0, 3, Stripes { count: 2, sharded: true }).concat();
        assert!(sharded.len() == 6 && !sharded.contains(&2), "{sharded:?}");
    }

    /// However uneven the zones are, as long as it can be done.
    #[test]
    fn the_copies_of_each_stripe_are_in_different_zones() {
        let layouts: [(&[&str], usize, usize); 4] = [
            (&["a", "a", "b", "b", "c", "c"], 2, 3),
            (&["a", "a", "a", "b", "b", "b", "c", "c", "c"], 3, 3),
            (&["a", "b", "a", "c"], 2, 2),
            (&["a", "b", "c", "a", "a", "d"], 2, 3),
        ];
        for (zones, replicas, count) in layouts {
            let (root, _) = placed(zones, 1);
            for log in 0..12 {
                for stripe in striped(&root, log, replicas, Stripes { count, sharded: true }) {
                    let mut found: Vec<_> = stripe.iter().map(|node| zones[*node as usize - 1]).collect();
                    found.sort_unstable();
                    found.dedup();
                    assert_eq!(found.len(), replicas, "log {log} has a stripe on {stripe:?} in {zones:?}");
                }
            }
        }
    }

    fn uses(places: &[Vec<u128>]) -> Vec<usize> {
        let mut uses = BTreeMap::new();
        places.iter().flatten().for_each(|node| *uses.entry(*node).or_insert(0) += 1);
        uses.into_values().collect()
    }

    #[test]
    fn logs_without_zones_spread_over_all_nodes() {
        let (_, places) = placed(&["", "", ""], 2);
        assert_eq!(places[..3], [vec![1, 2], vec![2, 3], vec![3, 1]]);
        assert_eq!(uses(&places), [8, 8, 8]);
    }

    #[test]
    fn copies_are_in_different_zones_first() {
        let zones = ["a", "a", "a", "b", "b", "b"];
        let (_, places) = placed(&zones, 2);
        let zone = |node: u128| zones[node as usize - 1];
        assert!(places.iter().all(|place| zone(place[0]) != zone(place[1])), "{places:?}");
        assert_eq!(uses(&places), [4; 6], "and balanced");
        let (_, places) = placed(&zones, 4);
        let in_a = |place: &Vec<u128>| place.iter().filter(|node| zone(**node) == "a").count();
        assert!(places.iter().all(|place| in_a(place) == 2), "{places:?}");
        // One zone has a single node: it is in every log of two copies, the others take turns.
        let (_, places) = placed(&["a", "b", "b", "b"], 2);
        assert!(places.iter().all(|place| place.contains(&1)), "{places:?}");
        assert!(uses(&places)[1..].iter().all(|uses| *uses >= 3), "{places:?}");
    }

    #[test]
    fn nothing_is_placed_on_a_draining_node() {
        let (root, _) = placed(&["", "", "", ""], 3);
        let draining = root.draining(NodeId(2)).unwrap();
        for turn in 0..8 {
            let nodes: Vec<_> = draining.spread(turn, &[], 3).iter().map(|member| member.node.0).collect();
            assert!(nodes.len() == 3 && !nodes.contains(&2), "{nodes:?}");
        }
        assert_eq!(draining.spread(0, &[], 4).len(), 3, "there are no more");
        assert!(Root::begin(&[]).spread(5, &[], 3).is_empty());
    }

    #[test]
    fn who_stays_stays_and_others_come_from_other_zones() {
        let (root, _) = placed(&["a", "b", "c", "a", "c"], 3);
        let draining = root.draining(NodeId(3)).unwrap();
        let present = [NodeId(1), NodeId(2), NodeId(3), NodeId(77)];
        for turn in 0..5 {
            let nodes: Vec<_> = draining.spread(turn, &present, 3).iter().map(|member| member.node.0).collect();
            assert_eq!(nodes, [1, 2, 5]);
        }
    }
}
