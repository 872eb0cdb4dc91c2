//! How a node comes into a cluster while it starts: it joins one, or begins one with others.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::config::Settings;
use super::exit;
use super::interrupt::Interrupt;
use super::metastore::{self, MetaStoreChoice};
use crate::base::{ClusterId, Limits};
use crate::client::{Client, ClientOptions, Cluster, ClusterError, RootRefusal};
use crate::io::DriverChoice;
use crate::node::{Node, NodeFacts};
use crate::wire::Member;

/// How long others are waited for in one try.
const TRY: Duration = Duration::from_secs(3);
/// How long others are waited for who may not have been started yet.
const LOOK: Duration = Duration::from_secs(1);
/// Pause before the next one.
const PAUSE: Duration = Duration::from_millis(500);

/// What the settings say.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    way: Way,
    /// Where this node listens.
    listen: SocketAddr,
    /// Addresses of those that begin a cluster.
    peers: Vec<SocketAddr>,
    /// Where the registers are to be kept, as far as somebody has said so.
    metastore: Option<MetaStoreChoice>,
    zone: Option<String>,
    driver: DriverChoice,
}

#[derive(Debug, Clone)]
enum Way {
    /// To the cluster of these nodes.
    Join(Vec<SocketAddr>),
    /// With its peers, itself among them.
    Bootstrap,
    /// Alone, with registers in files of this directory.
    Alone(PathBuf),
    /// By other means: it is only looked at.
    Other,
}

impl Entry {
    /// None if the node is to come into a cluster by other means.
    pub(super) fn from_settings(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let Settings { join, bootstrap_expect, peers, zone, metastore, listen, driver, .. } = settings;
        let refuse = |text: String| Err(exit::coded(exit::USAGE, text));
        let files = match metastore {
            Some(MetaStoreChoice::Files(directory)) => Some(directory),
            _ => None,
        };
        let way = match (bootstrap_expect, files) {
            (Some(_), _) if !join.is_empty() => {
                let text = "--join and --bootstrap-expect exclude each other: a cluster is there, or begins";
                return refuse(text.to_owned());
            }
            (Some(expected), _) if peers.len() != usize::from(*expected) => {
                return refuse(format!("--peers names {} nodes, and --bootstrap-expect {expected}", peers.len()));
            }
            (None, _) if !peers.is_empty() => return refuse("--peers needs --bootstrap-expect".to_owned()),
            (_, Some(_)) if !join.is_empty() || peers.len() > 1 => {
                let with = if join.is_empty() { "--bootstrap-expect" } else { "--join" };
                return refuse(format!("--metastore file: is for a cluster of one node, and does not go with {with}"));
            }
            (_, Some(directory)) => Way::Alone(directory.clone()),
            (Some(_), None) => Way::Bootstrap,
            (None, None) if !join.is_empty() => Way::Join(join.clone()),
            (None, None) if zone.is_some() => return refuse("--zone needs --join or --bootstrap-expect".to_owned()),
            (None, None) if metastore.is_some() => Way::Other,
            (None, None) => return Ok(None),
        };
        if listen.ip().is_unspecified() && !matches!(way, Way::Other) {
            return refuse(format!("others cannot reach {listen}: name an address with --listen"));
        }
        if !peers.is_empty() && !peers.contains(listen) {
            return refuse(format!("--peers does not name {listen}, where this node listens"));
        }
        let (peers, metastore) = (peers.clone(), metastore.clone());
        let listen = *listen;
        Ok(Some(Self { way, listen, peers, metastore, zone: zone.clone(), driver: *driver }))
    }

    /// Whether the cluster's id has to be given: nobody else is asked for it, and none is drawn.
    pub(super) fn needs_cluster_id(&self) -> bool {
        matches!(self.way, Way::Other)
    }

    /// Looks at, and makes, what there has to be besides the node's directory.
    pub(super) fn prepare(&mut self, directory: &Path, allow_volatile: bool) -> anyhow::Result<()> {
        if let Way::Alone(registers) = &mut self.way {
            *registers = metastore::prepare(registers, directory, allow_volatile)?.into();
        }
        Ok(())
    }

    /// Whether the registers, if there are any yet, are kept as it was said.
    fn check_metastore(&self, client: &Client, own: SocketAddr) -> anyhow::Result<()> {
        if self.metastore == Some(MetaStoreChoice::Paxos)
            && let Ok(begun) = client.cluster(&[own])
            && let Some(files) = begun.registers_in()
        {
            return Err(ClusterError::KeptInFiles(files.display().to_string()).into());
        }
        Ok(())
    }

    fn client(&self, timeout: Duration) -> anyhow::Result<Client> {
        let limits = Limits { operation_timeout: timeout, ..Limits::default() };
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
        let facts = NodeFacts::read(directory).with_context(|| format!("cannot serve {}", directory.display()))?;
        let own = facts.map(|facts| facts.cluster).or(told);
        let seeds = match &self.way {
            Way::Join(seeds) => seeds,
            Way::Other => return Ok(told),
            Way::Alone(_) => return Ok(told.or(own).or_else(|| Some(ClusterId::random()))),
            Way::Bootstrap => match told.or(own) {
                Some(known) => return Ok(Some(known)),
                None => return self.agree_on_cluster(interrupt),
            },
        };
        let client = self.client(TRY)?;
        loop {
            match (client.cluster(seeds), own) {
                (Ok(cluster), Some(own)) if cluster.id() != own => {
                    let (found, directory) = (cluster.id(), directory.display());
                    let text =
                        format!("{directory} is of cluster {own}, and the nodes of --join are of cluster {found}");
                    return Err(exit::coded(exit::USAGE, text));
                }
                (Ok(cluster), own) => {
                    // Found out before there is a directory of that cluster.
                    if let (Some(files), None) = (cluster.registers_in(), own) {
                        let text = RootRefusal::OneNode(files.display().to_string()).to_string();
                        return Err(exit::coded(exit::USAGE, text));
                    }
                    return Ok(Some(cluster.id()));
                }
                // It is known here already: who comes back with all the others must not wait for them.
                (Err(_), Some(own)) => return Ok(Some(own)),
                (Err(error), None) => tracing::info!(%error, "waiting for a node of the cluster"),
            }
            if interrupt.wait(PAUSE) {
                return Ok(None);
            }
        }
    }

    /// The id of a cluster that begins, where nobody was told one: the node at the smallest address draws it, and the others take it from
    /// whoever has it. It says nothing of who is in the cluster: that is decided once, when all are there (P8 f). So two lists of peers that
    /// disagree come to different ids, and refuse each other, or to one id and one beginning that all its members hold. An id made from the
    /// addresses would come back with them, and a directory of one cluster would pass for one of the other.
    fn agree_on_cluster(&self, interrupt: &Interrupt) -> anyhow::Result<Option<ClusterId>> {
        let first = self.peers.iter().min().expect("as many as are expected");
        let others: Vec<_> = self.peers.iter().copied().filter(|peer| *peer != self.listen).collect();
        let client = self.client(LOOK)?;
        let mut told = false;
        loop {
            match client.cluster_of_founders(self.listen, &others)? {
                Some(cluster) => return Ok(Some(cluster)),
                None if *first == self.listen => return Ok(Some(ClusterId::random())),
                None if !told => tracing::info!("waiting for the node at {first}, which names the cluster"),
                None => {}
            }
            told = true;
            if interrupt.wait(PAUSE) {
                return Ok(None);
            }
        }
    }

    /// Brings the node into its cluster, beside its work.
    pub(super) fn start(self, running: &Node, cluster: ClusterId) -> anyhow::Result<Entering> {
        let own = Member { node: running.node(), address: running.address() };
        let client = self.client(TRY)?;
        let (end, ended) = channel();
        self.check_metastore(&client, own.address)?;
        if matches!(self.way, Way::Alone(_)) {
            // Nobody else is waited for: who is told that the node is ready finds the cluster begun.
            self.try_to_enter(&client, own, cluster).context("cannot begin the cluster")?;
        }
        if matches!(self.way, Way::Alone(_) | Way::Other) {
            return Ok(Entering { ended });
        }
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
            Way::Other => return Ok(None),
            Way::Join(seeds) => seeds.as_slice(),
            Way::Alone(directory) => {
                let directory = directory.to_str().expect("it has been checked when it was prepared");
                client.begin_in_files(cluster, own.address, directory)?;
                std::slice::from_ref(&own.address)
            }
            Way::Bootstrap => match client.bootstrap(cluster, own.address, &self.peers)? {
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
