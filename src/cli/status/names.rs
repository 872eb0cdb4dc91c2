//! Which log and stripe a loglet is of, for `naxos status`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::cluster_file::Session;
use super::loglet_id;
use crate::base::LogletId;
use crate::client::{Chain, Client, Root};

/// How long the names of logs are waited for when all nodes have answered, or have had their time.
const PATIENCE: Duration = Duration::from_secs(1);

/// What loglets are called.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By the number.
    pub(super) logs: BTreeMap<u64, String>,
    /// The places of those that are stripes.
    pub(super) stripes: BTreeMap<LogletId, usize>,
}

/// Something that has been read.
pub(super) enum Found {
    Root(Root),
    Chain(Chain),
}

/// Reads the root register, and the chains of logs that may have stripes, as long as it takes.
pub(super) fn start_names(session: &Session) -> Receiver<Found> {
    let (found, names) = channel();
    let (client, seeds) = (session.client.clone(), session.file.addresses());
    // Who asked may be over by then.
    thread::spawn(move || read(&client, &seeds, &found));
    names
}

fn read(client: &Client, seeds: &[SocketAddr], found: &Sender<Found>) -> Option<()> {
    let cluster = client.cluster(seeds).ok()?;
    let root = cluster.root().ok()?;
    let striped = root.logs.iter().filter(|(_, record)| record.range().most > 1).map(|(name, _)| name.clone());
    let striped: Vec<String> = striped.collect();
    found.send(Found::Root(root)).ok()?;
    let logs: Vec<_> = striped.iter().filter_map(|name| cluster.open_log(name).ok()).collect();
    let chains: Vec<_> = logs.iter().map(|log| log.start_chain()).collect();
    for chain in chains.into_iter().filter_map(|chain| chain.wait().ok()) {
        found.send(Found::Chain(chain)).ok()?;
    }
    Some(())
}

impl Names {
    /// What can be read soon. Without the root register loglets are known by their numbers, without the chain stripes as well.
    pub(super) fn gather(found: &Receiver<Found>) -> Self {
        let (mut names, until) = (Self::default(), Instant::now() + PATIENCE);
        while let Ok(found) = found.recv_timeout(until.saturating_duration_since(Instant::now())) {
            names.learn(found);
        }
        names
    }

    fn learn(&mut self, found: Found) {
        match found {
            Found::Root(root) => {
                self.logs = root.logs.into_iter().map(|(name, record)| (record.log, name)).collect();
            }
            Found::Chain(chain) => {
                let striped = chain.segments.iter().map(|segment| segment.loglet.stripes());
                let striped = striped.filter(|stripes| stripes.len() > 1);
                let placed = striped.flat_map(|stripes| stripes.iter().enumerate());
                self.stripes.extend(placed.map(|(at, stripe)| (stripe.id, at)));
            }
        }
    }

    /// The logs, by their names.
    pub(super) fn sorted(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.logs.values().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// A loglet by the name of its log, if it has one here, and with its stripe, if it is one.
    pub(super) fn title(&self, id: &Value) -> String {
        let text = loglet_id(id);
        let Ok(id) = serde_json::from_value::<LogletId>(id.clone()) else { return text };
        let stripe = self.stripes.get(&id).map_or_else(String::new, |stripe| format!(" stripe {stripe}"));
        match self.logs.get(&id.log) {
            Some(name) => format!("{name} {text}{stripe}"),
            None => format!("{text}{stripe}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, NodeId, Nonce};
    use crate::client::LogletSpec;
    use crate::wire::{Member, Sequencer};
    use serde_json::json;

    #[test]
    fn a_stripe_is_named_by_its_log_and_its_place() {
        let member = Member { node: NodeId(1), address: ([10, 0, 0, 1], 1).into() };
        let sequencer = Sequencer { node: member.node, incarnation: Incarnation(1), address: member.address };
        let id = LogletId { log: 1, version: 2, nonce: 3 };
        let striped = LogletSpec::new(id, vec![(sequencer, vec![member]); 2]);
        let stripe = striped.stripes()[1].id;
        let root = Root::begin(&[member]).with_log("orders", 1, Nonce(1), Vec::new()).unwrap();
        let mut names = Names::default();
        assert_eq!(names.title(&json!(stripe)), stripe.to_string());
        [Found::Root(root), Found::Chain(Chain::begin(striped))].into_iter().for_each(|found| names.learn(found));
        assert_eq!(names.title(&json!(stripe)), format!("orders {stripe} stripe 1"));
        let native = LogletId { nonce: 9, ..id };
        assert_eq!(names.title(&json!(native)), format!("orders {native}"));
        assert_eq!(names.sorted(), ["orders"]);
    }
}
