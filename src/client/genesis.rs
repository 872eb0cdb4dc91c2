//! How a cluster begins: once, or not at all (P8 f).

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use super::{Client, NodeInfo, OpError};
use crate::base::{ClusterId, Nonce, RegisterId, Version};
use crate::proto::virtual_log::{Genesis, Held, OtherGenesis};
use crate::wire::{Decision, Member, RegisterMessage};

/// Why no cluster has been made of some nodes.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// One of them did not answer: all of them have to (P8 f).
    #[error("every node has to answer before a cluster begins: {0}")]
    Unreached(#[from] OpError),
    /// One of them belongs to another cluster.
    #[error("the node at {address} belongs to cluster {found}, not to {wanted}")]
    OtherCluster {
        /// Which.
        address: SocketAddr,
        /// Its cluster.
        found: ClusterId,
        /// The cluster that is to begin.
        wanted: ClusterId,
    },
    /// One of them can be no member of a cluster.
    #[error("the node at {0} only sequences: it stores nothing, keeps no registers, and is no member of a cluster")]
    SequencesOnly(SocketAddr),
    /// One node under two addresses.
    #[error("{0} and {1} are the same node")]
    Twice(SocketAddr, SocketAddr),
    /// A cluster of other nodes has begun with one of them.
    #[error("the node at {address} holds the beginning of a cluster of {members} nodes, and not of these")]
    OtherGenesis {
        /// Which.
        address: SocketAddr,
        /// Members of that cluster's root register.
        members: usize,
    },
    /// It holds nothing of the cluster that the others have begun.
    #[error("the cluster has begun without the node at {0}, which can join it")]
    BegunWithout(SocketAddr),
    /// Somebody else has begun a cluster with one of them between the question and the answer; asked again, it says which.
    #[error("another cluster has begun with the node at {0} meanwhile, or the same one: try again")]
    Meanwhile(SocketAddr),
    /// A node answered with something else.
    #[error("the node at {0} answered with something else: {1}")]
    Unexpected(SocketAddr, String),
    /// No nodes, or too many.
    #[error("a cluster begins with 1 to {} nodes", Decision::MEMBERS_MAX)]
    Count,
}

fn held(address: SocketAddr, answer: RegisterMessage) -> Result<Held, GenesisError> {
    match answer {
        RegisterMessage::Behind { .. } => Ok(Held::Fresh),
        RegisterMessage::Decided { decision } => Ok(Held::Decided(decision)),
        other => Err(GenesisError::Unexpected(address, format!("{other:?}"))),
    }
}

impl NodeInfo {
    /// That the node at this address may be a member of the cluster, as far as it says itself.
    pub(super) fn check_member(&self, address: SocketAddr, wanted: ClusterId) -> Result<(), GenesisError> {
        if self.cluster != wanted {
            return Err(GenesisError::OtherCluster { address, found: self.cluster, wanted });
        }
        if self.sequences_only { Err(GenesisError::SequencesOnly(address)) } else { Ok(()) }
    }
}

/// What a node is being asked: which cluster it belongs to, and then what it holds.
enum Asked {
    Hello(Receiver<Result<NodeInfo, OpError>>),
    Root(ClusterId, Receiver<Result<RegisterMessage, OpError>>),
}

/// How often those who have been asked are looked at.
const TURN: Duration = Duration::from_millis(1);

impl Client {
    fn ask(
        &self,
        address: SocketAddr,
        cluster: ClusterId,
        message: RegisterMessage,
    ) -> Result<RegisterMessage, OpError> {
        self.ask_register(address, cluster, RegisterId::ROOT, message).recv().map_err(|_| OpError::Closed)?
    }

    fn root_at(&self, address: SocketAddr, cluster: ClusterId) -> Result<Held, GenesisError> {
        held(address, self.ask(address, cluster, RegisterMessage::Query { instance: Version::BIRTH })?)
    }

    /// Begins a cluster with the nodes at these addresses, all of which have to be there, and returns what its root register is born
    /// with. Doing it again, also after a part of it was done, ends the same.
    ///
    /// # Errors
    /// A node does not answer, or belongs elsewhere. No second cluster comes of it.
    pub fn begin_cluster(&self, cluster: ClusterId, addresses: &[SocketAddr]) -> Result<Decision, GenesisError> {
        if !(1..=Decision::MEMBERS_MAX).contains(&addresses.len()) {
            return Err(GenesisError::Count);
        }
        let mut members: Vec<Member> = Vec::new();
        for &address in addresses {
            let info = self.hello(address)?;
            info.check_member(address, cluster)?;
            if let Some(same) = members.iter().find(|member| member.node == info.node) {
                return Err(GenesisError::Twice(same.address, address));
            }
            members.push(Member { node: info.node, address });
        }
        let other = |address| move |OtherGenesis { members }| GenesisError::OtherGenesis { address, members };
        let mut genesis = Genesis::new(members);
        for &address in addresses {
            if let Some(begun) = genesis.hear(self.root_at(address, cluster)?).map_err(other(address))? {
                return Ok(begun);
            }
        }
        let beginning = genesis.beginning(Nonce::random());
        for &address in addresses {
            match self.ask(address, cluster, RegisterMessage::Learn { decision: beginning.clone() })? {
                RegisterMessage::Learned { version } if Genesis::is_held(version) => {}
                RegisterMessage::Learned { .. } => return Err(GenesisError::Meanwhile(address)),
                other => return Err(GenesisError::Unexpected(address, format!("{other:?}"))),
            }
        }
        Ok(beginning)
    }

    /// What the first of these nodes that answers knows of the root register, and its cluster. All are asked at once: those that are
    /// not there cost no time.
    pub(super) fn find_root(&self, addresses: &[SocketAddr]) -> Result<(ClusterId, Decision), OpError> {
        let ask = |address: &SocketAddr| (*address, Asked::Hello(self.start_hello(*address)));
        let mut asked: Vec<_> = addresses.iter().map(ask).collect();
        let mut failure = OpError::Unavailable { reason: "no node is named".to_owned() };
        while !asked.is_empty() {
            for (address, question) in std::mem::take(&mut asked) {
                match self.next_question(address, question) {
                    Ok(Found::Root(cluster, decision)) => return Ok((cluster, decision)),
                    Ok(Found::Nothing(question)) => asked.push((address, question)),
                    Err(GenesisError::Unreached(error)) => failure = error,
                    Err(other) => failure = OpError::Unavailable { reason: other.to_string() },
                }
            }
            thread::sleep(TURN);
        }
        Err(failure)
    }

    fn next_question(&self, address: SocketAddr, question: Asked) -> Result<Found, GenesisError> {
        match question {
            Asked::Hello(answer) => match answer.try_recv() {
                Err(TryRecvError::Empty) => Ok(Found::Nothing(Asked::Hello(answer))),
                Err(TryRecvError::Disconnected) => Err(OpError::Closed.into()),
                Ok(info) => {
                    let (cluster, instance) = (info?.cluster, Version::BIRTH);
                    let query = RegisterMessage::Query { instance };
                    let root = self.ask_register(address, cluster, RegisterId::ROOT, query);
                    Ok(Found::Nothing(Asked::Root(cluster, root)))
                }
            },
            Asked::Root(cluster, answer) => match answer.try_recv() {
                Err(TryRecvError::Empty) => Ok(Found::Nothing(Asked::Root(cluster, answer))),
                Err(TryRecvError::Disconnected) => Err(OpError::Closed.into()),
                Ok(answer) => match held(address, answer?)? {
                    Held::Decided(decision) => Ok(Found::Root(cluster, decision)),
                    Held::Fresh => {
                        let reason = format!("no cluster has begun with the node at {address}");
                        Err(OpError::Unavailable { reason }.into())
                    }
                },
            },
        }
    }
}

/// What a look at a question has brought.
enum Found {
    Root(ClusterId, Decision),
    /// No answer yet, or the next question.
    Nothing(Asked),
}
