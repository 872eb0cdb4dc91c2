//! Nodes that make a cluster, or come to one, by themselves.

use std::net::SocketAddr;

use super::cluster::ClusterError;
use super::gather::gather;
use super::{Client, Cluster, GenesisError, NodeInfo, OpError};
use crate::base::{ClusterId, NodeId};
use crate::wire::Member;

impl ClusterError {
    /// Whether trying again is of no use: what is in the way goes by no time.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Files(_) | Self::KeptInFiles(_) | Self::KeptByNodes => true,
            Self::Node(error) => {
                use GenesisError::{Meanwhile, Unexpected, Unreached};
                !matches!(error, Unreached(_) | Unexpected(..) | Meanwhile(_))
            }
            _ => false,
        }
    }
}

impl Client {
    /// The cluster that those of the nodes at `others` who answer belong to, for the node at `own` in an empty directory, which is to begin one
    /// with them; none if nobody answers.
    ///
    /// # Errors
    /// They are of different clusters, or theirs has begun: without this node, which nobody can name yet.
    pub fn cluster_of_founders(
        &self,
        own: SocketAddr,
        others: &[SocketAddr],
    ) -> Result<Option<ClusterId>, GenesisError> {
        let answers = gather(others.iter().map(|other| (*other, self.start_hello(*other))).collect());
        let Some(&(_, NodeInfo { cluster, .. })) = answers.first() else { return Ok(None) };
        if let Some((address, other)) = answers.iter().find(|(_, info)| info.cluster != cluster) {
            return Err(GenesisError::OtherCluster { address: *address, found: other.cluster, wanted: cluster });
        }
        let answering: Vec<_> = answers.iter().map(|(address, _)| *address).collect();
        match self.find_root(&answering) {
            Ok(_) => Err(GenesisError::BegunWithout(own)),
            Err(_) => Ok(Some(cluster)),
        }
    }

    /// One try of the node at `own` to begin a cluster with the nodes at `peers`, itself among them, all of which try the same. The one
    /// with the smallest identity begins it, once all have answered (P8 f); the others see it begun. None: not yet, try again.
    ///
    /// A node that is in a cluster already does nothing, whoever else is there.
    ///
    /// # Errors
    /// Somebody does not answer: try again. Or somebody is, or was, in another cluster: no second one comes of it, however often it is
    /// tried.
    pub fn bootstrap(
        &self,
        cluster: ClusterId,
        own: SocketAddr,
        peers: &[SocketAddr],
    ) -> Result<Option<Cluster>, ClusterError> {
        if let Ok(begun) = self.cluster(&[own]) {
            match begun.root() {
                Ok(_) => return Ok(Some(begun)),
                // Its list of nodes is still to be written, by whoever has begun it.
                Err(ClusterError::NoRoot(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let asked: Vec<_> = peers.iter().map(|peer| (*peer, self.start_hello(*peer))).collect();
        let mut nodes: Vec<(NodeId, SocketAddr)> = Vec::new();
        for (address, answer) in asked {
            let info: NodeInfo = answer.recv().map_err(|_| OpError::Closed)?.map_err(GenesisError::Unreached)?;
            info.check_member(address, cluster)?;
            nodes.push((info.node, address));
        }
        let own_node = nodes.iter().find(|(_, address)| *address == own).map(|(node, _)| *node);
        if let Ok((_, root)) = self.find_root(peers)
            && own_node.is_none_or(|node| !root.names(node))
        {
            return Err(GenesisError::BegunWithout(own).into());
        }
        match nodes.iter().min() {
            Some((_, first)) if *first == own => {
                self.begin_cluster(cluster, peers)?;
                let begun = self.cluster(&[own])?;
                begun.found()?;
                Ok(Some(begun))
            }
            _ => Ok(None),
        }
    }

    /// Begins a cluster of the one node at `own`, whose registers are in files of this directory, or finds it begun so.
    ///
    /// # Errors
    /// It has begun in another way, or the directory, whose full name it is, cannot be used; or the node does not answer.
    pub fn begin_in_files(
        &self,
        cluster: ClusterId,
        own: SocketAddr,
        directory: &str,
    ) -> Result<Cluster, ClusterError> {
        let begun = match self.cluster(&[own]) {
            Ok(begun) => begun,
            Err(_) => {
                self.begin_cluster(cluster, &[own])?;
                self.cluster(&[own])?
            }
        };
        begun.found_in_files(directory)?;
        Ok(begun)
    }

    /// Makes `member`, a node that runs, one of the cluster that the nodes at `seeds` belong to, or tells that cluster where it is now.
    ///
    /// # Errors
    /// Nobody answers: try again. Or the node is of another cluster.
    pub fn join_cluster(
        &self,
        seeds: &[SocketAddr],
        member: Member,
        zone: Option<&str>,
    ) -> Result<Cluster, ClusterError> {
        let cluster = self.cluster(seeds)?;
        self.hello(member.address)?.check_member(member.address, cluster.id())?;
        cluster.join(member, zone)?;
        Ok(cluster)
    }
}
