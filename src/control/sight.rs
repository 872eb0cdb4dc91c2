//! What other nodes say of themselves and of each other, out of their status.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::{Instant, NodeId};

/// What one node has said.
#[derive(Clone, Debug)]
struct Said {
    at: Instant,
    /// Since when it says that a journal of it has failed.
    failed_since: Option<Instant>,
    /// Whom it misses.
    misses: Vec<NodeId>,
}

/// What the nodes have said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    nodes: BTreeMap<NodeId, Said>,
}

fn shards(status: &Value) -> impl Iterator<Item = &Value> {
    status["shards"].as_array().into_iter().flatten()
}

impl Sight {
    /// A node has told its status.
    pub(super) fn told(&mut self, node: NodeId, status: &Value, now: Instant) {
        let failed = shards(status).any(|shard| !shard["journal"]["failure"].is_null());
        let before = self.nodes.get(&node).and_then(|said| said.failed_since);
        let failed_since = failed.then(|| before.unwrap_or(now));
        let ids = |shard: &Value| serde_json::from_value::<Vec<NodeId>>(shard["misses"].clone()).unwrap_or_default();
        let mut misses: Vec<NodeId> = shards(status).flat_map(ids).collect();
        misses.sort_unstable();
        misses.dedup();
        self.nodes.insert(node, Said { at: now, failed_since, misses });
    }

    /// How many of these nodes say, since `since`, that they miss it.
    pub(super) fn votes(&self, accused: NodeId, voters: &[NodeId], since: Instant) -> usize {
        let says = |node: &&NodeId| {
            self.nodes.get(node).is_some_and(|said| said.at >= since && said.misses.contains(&accused))
        };
        voters.iter().filter(|node| **node != accused).filter(says).count()
    }

    /// Since when a node says that a journal of it has failed.
    pub(super) fn failed_since(&self, node: NodeId) -> Option<Instant> {
        self.nodes.get(&node)?.failed_since
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn votes_are_of_others_and_recent() {
        let accused = NodeId(3);
        let status = |misses: Vec<NodeId>| json!({ "shards": [{ "journal": { "failure": null }, "misses": misses }] });
        let mut sight = Sight::default();
        sight.told(NodeId(1), &status(vec![accused]), at(10));
        sight.told(NodeId(2), &status(vec![]), at(10));
        sight.told(accused, &status(vec![accused]), at(10));
        let voters = [NodeId(1), NodeId(2), accused];
        assert_eq!(sight.votes(accused, &voters, at(5)), 1);
        assert_eq!(sight.votes(accused, &voters, at(11)), 0, "that was before");
    }

    #[test]
    fn a_failed_journal_is_known_since_it_was_said_first() {
        let status = |failure: Value| json!({ "shards": [{ "journal": { "failure": failure } }] });
        let mut sight = Sight::default();
        sight.told(NodeId(1), &status(json!("EIO")), at(10));
        sight.told(NodeId(1), &status(json!("EIO")), at(20));
        assert_eq!(sight.failed_since(NodeId(1)), Some(at(10)));
        sight.told(NodeId(1), &status(Value::Null), at(30));
        assert_eq!(sight.failed_since(NodeId(1)), None);
    }
}
