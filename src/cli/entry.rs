//! How a node comes into a cluster while it starts: it joins one, or begins one with others.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::config::Settings;
use super::exit;
use super::interrupt::Interrupt;
use crate::base::{ClusterId, Limits};
use crate::client::{Client, ClientOptions, Cluster, ClusterError};
use crate::io::DriverChoice;
use crate::node::{Node, NodeFacts};
use crate::wire::Member;

/// How long others are waited for in one try.
const TRY: Duration = Duration::from_secs(3);
/// Pause before the next one.
const PAUSE: Duration = Duration::from_millis(500);

/// What the settings say.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    way: Way,
    zone: Option<String>,
    driver: DriverChoice,
}

#[derive(Debug, Clone)]
enum Way {
    /// To the cluster of these nodes.
    Join(Vec<SocketAddr>),
    /// With these nodes, itself among them.
    Bootstrap(Vec<SocketAddr>),
}

impl Entry {
    /// None if the node is to come into a cluster by other means.
    pub(super) fn from_settings(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let Settings { join, bootstrap_expect, peers, zone, driver, .. } = settings;
        let refuse = |text: String| Err(exit::coded(exit::USAGE, text));
        let way = match bootstrap_expect {
            Some(_) if !join.is_empty() => {
                return refuse(
                    "--join and --bootstrap-expect exclude each other: a cluster is there, or begins".to_owned(),
                );
            }
            Some(expected) if peers.len() != usize::from(*expected) => {
                return refuse(format!("--peers names {} nodes, and --bootstrap-expect {expected}", peers.len()));
            }
            Some(_) => Way::Bootstrap(peers.clone()),
            None if !peers.is_empty() => return refuse("--peers needs --bootstrap-expect".to_owned()),
            None if !join.is_empty() => Way::Join(join.clone()),
            None if zone.is_some() => return refuse("--zone needs --join or --bootstrap-expect".to_owned()),
            None => return Ok(None),
        };
        Ok(Some(Self { way, zone: zone.clone(), driver: *driver }))
    }

    fn client(&self) -> anyhow::Result<Client> {
        let limits = Limits { operation_timeout: TRY, ..Limits::default() };
        Client::start(ClientOptions { limits, driver: self.driver, ..ClientOptions::default() })
            .context("cannot start the client")
    }

    /// The cluster that the node belongs to: its directory's, else the one that it is told, else, waiting for an answer, the one it joins.
    /// None if it was asked to end meanwhile.
    pub(super) fn cluster_id(
        &self,
        directory: &Path,
        told: Option<ClusterId>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<ClusterId>> {
        let Way::Join(seeds) = &self.way else { return Ok(told) };
        let facts = NodeFacts::read(directory).with_context(|| format!("cannot serve {}", directory.display()))?;
        let own = facts.map(|facts| facts.cluster).or(told);
        let client = self.client()?;
        loop {
            match (client.cluster(seeds), own) {
                (Ok(cluster), Some(own)) if cluster.id() != own => {
                    let (found, directory) = (cluster.id(), directory.display());
                    let text =
                        format!("{directory} is of cluster {own}, and the nodes of --join are of cluster {found}");
                    return Err(exit::coded(exit::USAGE, text));
                }
                (Ok(cluster), _) => return Ok(Some(cluster.id())),
                // It is known here already: who comes back with all the others must not wait for them.
                (Err(_), Some(own)) => return Ok(Some(own)),
                (Err(error), None) => tracing::info!(%error, "waiting for a node of the cluster"),
            }
            if interrupt.wait(PAUSE) {
                return Ok(None);
            }
        }
    }

    /// Brings the node into its cluster, beside its work.
    pub(super) fn start(self, running: &Node, cluster: ClusterId) -> anyhow::Result<Entering> {
        let own = Member { node: running.node(), address: running.address() };
        if own.address.ip().is_unspecified() {
            let text = format!("others cannot reach {}: name an address with --listen", own.address);
            return Err(exit::coded(exit::USAGE, text));
        }
        if let Way::Bootstrap(peers) = &self.way
            && !peers.contains(&own.address)
        {
            let text = format!("--peers does not name {}, where this node listens", own.address);
            return Err(exit::coded(exit::USAGE, text));
        }
        let client = self.client()?;
        let (end, ended) = channel();
        let work = move || {
            // Whoever waits may have gone.
            let _ = end.send(self.enter(&client, own, cluster));
        };
        thread::Builder::new().name("naxos-entry".to_owned()).spawn(work).context("cannot start a thread")?;
        Ok(Entering { ended })
    }

    fn enter(&self, client: &Client, own: Member, cluster: ClusterId) -> Result<(), ClusterError> {
        let mut said = String::new();
        loop {
            let waiting = match self.try_to_enter(client, own, cluster) {
                Ok(Some(entered)) => {
                    tracing::info!(cluster = %entered.id(), node = %own.node, "in the cluster");
                    return Ok(());
                }
                Ok(None) => "the node with the smallest identity begins the cluster".to_owned(),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => error.to_string(),
            };
            if waiting != said {
                tracing::info!("not in the cluster yet: {waiting}");
                said = waiting;
            }
            thread::sleep(PAUSE);
        }
    }

    fn try_to_enter(&self, client: &Client, own: Member, cluster: ClusterId) -> Result<Option<Cluster>, ClusterError> {
        let seeds = match &self.way {
            Way::Join(seeds) => seeds.as_slice(),
            Way::Bootstrap(peers) => match client.bootstrap(cluster, own.address, peers)? {
                Some(_) => std::slice::from_ref(&own.address),
                None => return Ok(None),
            },
        };
        client.join_cluster(seeds, own, self.zone.as_deref()).map(Some)
    }
}

/// A node on its way into its cluster.
#[derive(Debug)]
pub(super) struct Entering {
    ended: Receiver<Result<(), ClusterError>>,
}

impl Entering {
    /// Whether it has turned out that it cannot come in.
    ///
    /// # Errors
    /// Why.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match self.ended.try_recv() {
            Ok(Err(error)) => Err(error).context("cannot come into the cluster"),
            Ok(Ok(())) | Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(()),
        }
    }
}
