use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Command, Inbox, NodeIdentity, node_report, sequencer_report};

/// Asks the shards of a running node how they are, from any thread.
#[derive(Debug, Clone)]
pub struct Reporter {
    pub(super) identity: NodeIdentity,
    /// None: the node only sequences.
    pub(super) durability: Option<&'static str>,
    /// By number of the shard.
    pub(super) inboxes: Vec<Arc<Inbox>>,
}

/// Whether a node does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All of it.
    Ready,
    /// Journals have failed: what they hold can be read, nothing is acknowledged through them. With each shard's reason.
    Poisoned(Vec<(u64, String)>),
    /// These shards have not answered in time.
    Unresponsive(Vec<u64>),
}

impl Reporter {
    /// The node's status document. A shard that does not answer within `timeout` is there with `"responsive": false` and
    /// nothing else.
    pub fn report(&self, timeout: Duration) -> Value {
        let deadline = Instant::now() + timeout;
        // All are asked before the first is waited for.
        let answers: Vec<_> = self
            .inboxes
            .iter()
            .map(|inbox| {
                let (reply, answer) = sync_channel(1);
                inbox.push(Command::Report(reply));
                answer
            })
            .collect();
        let shards = answers.into_iter().enumerate().map(|(shard, answer)| {
            let left = deadline.saturating_duration_since(Instant::now());
            answer.recv_timeout(left).unwrap_or_else(|_| json!({ "shard": shard, "responsive": false }))
        });
        match self.durability {
            Some(durability) => node_report(&self.identity, durability, shards.collect()),
            None => sequencer_report(&self.identity, shards.collect()),
        }
    }
}

impl Health {
    /// Reads it out of a node's status document.
    pub fn of(status: &Value) -> Self {
        let shards = || status["shards"].as_array().into_iter().flatten();
        let number = |shard: &Value| shard["shard"].as_u64().unwrap_or(0);
        let silent: Vec<_> = shards().filter(|shard| shard["responsive"] == false).map(number).collect();
        if !silent.is_empty() {
            return Self::Unresponsive(silent);
        }
        let failed: Vec<_> = shards()
            .filter_map(|shard| Some((number(shard), shard["journal"]["failure"].as_str()?.to_owned())))
            .collect();
        if failed.is_empty() { Self::Ready } else { Self::Poisoned(failed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_the_worst_of_the_shards() {
        let well = json!({ "shard": 0, "responsive": true, "journal": { "failure": null } });
        let ill = json!({ "shard": 1, "responsive": true, "journal": { "failure": "EIO" } });
        let gone = json!({ "shard": 2, "responsive": false });
        let health = |shards: &[&Value]| Health::of(&json!({ "shards": shards }));
        assert_eq!(health(&[&well]), Health::Ready);
        assert_eq!(health(&[&well, &ill]), Health::Poisoned(vec![(1, "EIO".to_owned())]));
        assert_eq!(health(&[&well, &ill, &gone]), Health::Unresponsive(vec![2]));
    }
}
