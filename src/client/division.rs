//! Over how many stripes the loglets of a log go.

use std::collections::BTreeSet;

use super::OpError;
use super::cluster::{Cluster, ClusterError};
use super::keepers::Kept;
use crate::base::NodeId;
use crate::proto::virtual_log::{LogletSpec, Root, Seat, StripeRange, Stripes, Wanted, WantedStripe, rotate};
use crate::wire::Member;

impl Cluster {
    /// What is to come behind this loglet of a log, if the next one is to be divided so. Stripes that are not stored apart are stored where
    /// the first one is.
    ///
    /// # Errors
    /// There is no such log, or it cannot be divided so, or nobody who could sequence it answers.
    pub fn divided(&self, name: &str, present: &LogletSpec, stripes: Stripes) -> Result<Wanted, ClusterError> {
        let root = self.root()?.with_stripes(name, stripes)?;
        let wanted = divided(&root, name, present, &self.living(&root))?;
        let nobody =
            || OpError::Unavailable { reason: format!("none of the nodes that are to store `{name}` answers") };
        Ok(wanted.ok_or_else(nobody)?)
    }

    /// Has a log go over so many stripes: control sees to its loglets. Its chain says so, and the root register after it.
    ///
    /// # Errors
    /// There is no such log, or it cannot be divided so, or a register cannot be changed.
    pub fn note_stripes(&self, name: &str, stripes: impl Into<StripeRange>) -> Result<(), ClusterError> {
        let stripes = stripes.into();
        for () in self.tries() {
            let root = self.root()?.with_stripes(name, stripes)?;
            let record = root.log(name)?;
            let (newest, Kept::Chain(chain)) = self.read_log(record)? else {
                return Err(ClusterError::Unfinished(name.to_owned()));
            };
            let Some(next) = chain.redivided(stripes) else { return self.follow_chain(name) };
            let (register, decided) = (record.register(), self.known_version(record));
            self.write_after(register, decided, &newest, next.to_json(), &newest.members)?;
        }
        Err(ClusterError::Contended)
    }

    /// Has the root register say how a log is divided, as its chain does: how many nodes it takes, for whoever wants one of them to leave.
    ///
    /// # Errors
    /// The root register cannot be changed.
    pub fn follow_chain(&self, name: &str) -> Result<(), ClusterError> {
        // The chain is read after the root that is changed: of two who do so, the one with the older chain cannot be the last.
        self.edit_root(|root| Ok(self.following(root, |log| log == name))).map(drop)
    }

    /// [`Cluster::follow_chain`] of all logs, as far as their chains can be read.
    ///
    /// # Errors
    /// The root register cannot be changed.
    pub fn follow_chains(&self) -> Result<(), ClusterError> {
        self.edit_root(|root| Ok(self.following(root, |_| true))).map(drop)
    }

    /// The root as it is to be after the chains of these logs.
    pub(super) fn following(&self, root: &Root, which: impl Fn(&str) -> bool) -> Root {
        let logs = root.logs.iter().filter(|(name, _)| which(name));
        logs.fold(root.clone(), |next, (name, record)| match self.read_log(record) {
            Ok((_, Kept::Chain(chain))) => next.following(name, &chain),
            Ok((_, Kept::Nothing | Kept::Deleted(_))) | Err(_) => next,
        })
    }
}

/// As the log's record says, from nodes that answer as far as there are so many. None if nobody can sequence some stripe.
pub(super) fn divided(
    root: &Root,
    name: &str,
    present: &LogletSpec,
    living: &BTreeSet<NodeId>,
) -> Result<Option<Wanted>, ClusterError> {
    let record = root.log(name)?;
    let places = match record.stripes {
        Stripes { count, sharded: false } => vec![present.first().log_servers.clone(); count],
        Stripes { sharded: true, .. } => Cluster::useful(root, living, &[], record.nodes()).place(record),
    };
    let can = |member: &Member| living.contains(&member.node);
    let seat = |place: &Vec<Member>| {
        // A native loglet stays where it is sequenced, if that is a node of the cluster.
        let present = present.first().sequencer.member();
        let kept = Some(present).filter(|present| places.len() == 1 && can(present));
        Seat { kept, others: place.clone(), last: None }
    };
    let seats: Vec<Seat> = places.iter().map(seat).collect();
    let stripe = |(sequencer, log_servers)| WantedStripe { sequencer, log_servers };
    let wanted = |sequencers: Vec<Member>| Wanted::new(sequencers.into_iter().zip(places).map(stripe).collect());
    Ok(rotate(&seats, can).map(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, LogletId, Nonce};
    use crate::proto::virtual_log::RootRefusal;
    use crate::wire::Sequencer;

    fn member(node: u128) -> Member {
        Member { node: NodeId(node), address: ([10, 0, 0, node as u8], 7000).into() }
    }

    fn root(nodes: u128) -> Root {
        Root::begin(&(1..=nodes).map(member).collect::<Vec<_>>()).with_log("a", 3, Nonce(1), Vec::new()).unwrap()
    }

    /// On these LogServers, the stripes sequenced by the first of each.
    fn loglet(stripes: &[[u128; 3]]) -> LogletSpec {
        let stripe = |nodes: &[u128; 3]| {
            let Member { node, address } = member(nodes[0]);
            (Sequencer { node, incarnation: Incarnation(1), address }, nodes.map(member).to_vec())
        };
        LogletSpec::new(LogletId { log: 1, version: 1, nonce: 1 }, stripes.iter().map(stripe))
    }

    /// Sequencers and LogServers of what comes behind it, when all nodes but these answer.
    fn behind(nodes: u128, present: &LogletSpec, stripes: Stripes, away: &[u128]) -> Option<Vec<(u128, Vec<u128>)>> {
        let living = (1..=nodes).filter(|node| !away.contains(node)).map(NodeId).collect();
        let root = root(nodes).with_stripes("a", stripes).unwrap();
        let wanted = divided(&root, "a", present, &living).unwrap()?;
        let ids = |log_servers: &[Member]| log_servers.iter().map(|member| member.node.0).collect();
        Some(wanted.stripes().iter().map(|stripe| (stripe.sequencer.node.0, ids(&stripe.log_servers))).collect())
    }

    #[test]
    fn stripes_go_round_the_log_servers_that_there_are() {
        let four = Stripes { count: 4, sharded: false };
        let native = loglet(&[[2, 3, 4]]);
        let on = |sequencer| (sequencer, vec![2, 3, 4]);
        assert_eq!(behind(5, &native, four, &[]).unwrap(), [2, 3, 4, 2].map(on));
        assert_eq!(
            behind(5, &native, four, &[3]).unwrap(),
            [2, 4, 2, 4].map(on),
            "who does not answer stores and counts"
        );
        assert_eq!(behind(5, &native, four, &[2, 3, 4]), None);
    }

    #[test]
    fn a_native_loglet_is_behind_stripes_again() {
        let sharded = loglet(&[[4, 5, 6], [1, 2, 3]]);
        assert_eq!(behind(6, &sharded, Stripes::ONE, &[]).unwrap(), [(4, vec![4, 5, 6])]);
        assert_eq!(behind(6, &sharded, Stripes::ONE, &[4]).unwrap(), [(5, vec![4, 5, 6])]);
    }

    #[test]
    fn stripes_that_are_stored_apart_have_nodes_of_their_own() {
        let two = Stripes { count: 2, sharded: true };
        let wanted = behind(8, &loglet(&[[1, 2, 3]]), two, &[1, 5]).unwrap();
        let mut nodes: Vec<u128> = wanted.iter().flat_map(|(_, log_servers)| log_servers.clone()).collect();
        nodes.sort_unstable();
        assert_eq!(nodes, [2, 3, 4, 6, 7, 8], "those that answer, as far as there are enough");
        assert!(wanted.iter().all(|(sequencer, log_servers)| log_servers.contains(sequencer)));
        let refused = root(5).with_stripes("a", two).unwrap_err();
        let expected = RootRefusal::TooFewNodesApart { stripes: 2, replicas: 3, active: 5, draining: 0 };
        assert_eq!(refused, expected);
        let text = refused.to_string();
        assert_eq!(text, "2 stripes of 3 replicas on nodes of their own need 6 nodes, and the cluster has 5");
    }
}
