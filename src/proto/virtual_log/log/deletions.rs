use std::collections::{BTreeSet, VecDeque};

use super::super::chain::Chain;
use super::super::contract::Request;
use super::super::spec::LogletSpec;
use super::machine::{Purpose, VirtualLog};
use crate::proto::loglet::OpId;

/// Deletions under way at once: each has connections of its own to all of the loglet's nodes, and a trim may drop a thousand loglets.
const UNDER_WAY_MAX: usize = 8;

/// Loglets that no chain names any more and that are to be deleted (P5).
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Deletions {
    /// Made by attempts that came to nothing: the chain may still get a version that names them.
    undecided: Vec<LogletSpec>,
    waiting: VecDeque<LogletSpec>,
    under_way: BTreeSet<OpId>,
}

impl Deletions {
    /// These leave the chain with the version that is about to be known.
    pub(super) fn plan(&mut self, loglets: Vec<LogletSpec>) {
        self.waiting.extend(loglets);
    }

    /// These have been made for some version of the chain, and nobody is putting them there now.
    pub(super) fn note_left_over(&mut self, made: impl IntoIterator<Item = LogletSpec>) {
        self.undecided.extend(made);
    }

    /// What was made for versions that there are now without naming it is named by none (P5).
    fn decide(&mut self, chain: &Chain) {
        let decided = self.undecided.extract_if(.., |loglet| loglet.id().version <= chain.version);
        self.waiting.extend(decided.filter(|loglet| chain.segment_of(loglet.id()).is_none()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }
}

impl VirtualLog {
    /// The answer of a loglet. What could not be deleted now is forgotten here; it costs space, not safety.
    pub(super) fn deletion_ended(&mut self, id: OpId) {
        if self.deletions.under_way.remove(&id) {
            self.delete_next();
            self.go_on_operations();
        }
    }

    /// The chain is known up to a version.
    pub(super) fn decide_left_over(&mut self) {
        let Some(chain) = &self.chain else { return };
        self.deletions.note_left_over(self.spare.take_if(|spare| spare.id().version <= chain.version));
        self.deletions.decide(chain);
    }

    /// Begins as many deletions as may be under way.
    pub(super) fn delete_next(&mut self) {
        while self.deletions.under_way.len() < UNDER_WAY_MAX
            && let Some(spec) = self.deletions.waiting.pop_front()
        {
            let chain = self.chain.as_ref().expect("it was one that named these no more");
            assert!(chain.segment_of(spec.id()).is_none(), "a loglet that has left the chain never comes back (P5)");
            let chain_version = chain.version;
            let live = chain.live();
            self.open(&spec);
            let (loglet, id) = (spec.id(), self.next_request(Purpose::Deletion(spec.id())));
            self.deletions.under_way.insert(id);
            self.request(Request::Delete { loglet, id, chain_version, live });
        }
    }
}
