//! Which loglets this process may sequence (P4).

use std::collections::{BTreeMap, BTreeSet};

use crate::base::mutants::{self, Mutant};
use crate::base::{Incarnation, Instant, Limits, LogletId, NodeId};
use crate::proto::sequencer::Sequencer;
use crate::wire::LogletConfig;

/// Why this process does not sequence a loglet. Every reason is answered `SequencerLost`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refused {
    /// The configuration names another node.
    #[error("node {0} sequences this loglet")]
    OtherNode(NodeId),
    /// The configuration names another life of this node.
    #[error("another incarnation of this node sequenced this loglet")]
    OtherIncarnation(Incarnation),
    /// This process has sequenced the loglet and ended it; starting again at offset 0 would give offsets out twice.
    #[error("this process has ended this loglet")]
    Ended,
    /// This process sequences, or has ended, as many loglets as it may.
    #[error("this process sequences, or has ended, as many loglets as it may")]
    Limit,
    /// The loglet runs here under another configuration.
    #[error("the loglet runs with another configuration")]
    OtherConfig,
}

/// Loglets that one shard's process may end, because it never forgets them: 32 bytes each, about twice that in the set.
pub const ENDED_MAX: usize = 1 << 18;

/// The sequencers of this process, and the loglets that it never sequences again.
#[derive(Clone, Hash, Debug)]
pub struct Sequencers {
    limits: Limits,
    running: BTreeMap<LogletId, Sequencer>,
    /// Disjoint from `running`; kept for the life of the process.
    ended: BTreeSet<LogletId>,
}

impl Sequencers {
    /// No sequencers yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, running: BTreeMap::new(), ended: BTreeSet::new() }
    }

    /// The sequencer of `config`'s loglet, started if it has not been: only the incarnation that the configuration names may,
    /// once.
    ///
    /// # Errors
    /// The reason, to be answered `SequencerLost`.
    pub fn activate(
        &mut self,
        config: &LogletConfig,
        me: NodeId,
        incarnation: Incarnation,
        now: Instant,
    ) -> Result<&mut Sequencer, Refused> {
        if config.sequencer.node != me {
            return Err(Refused::OtherNode(config.sequencer.node));
        }
        if config.sequencer.incarnation != incarnation && !mutants::is(Mutant::SequencerResumes) {
            return Err(Refused::OtherIncarnation(config.sequencer.incarnation));
        }
        if self.ended.contains(&config.id) && !mutants::is(Mutant::SequencerStartsTwice) {
            return Err(Refused::Ended);
        }
        let full = self.running.len() >= self.limits.loglets_max as usize || self.ended.len() >= ENDED_MAX;
        if full && !self.running.contains_key(&config.id) {
            return Err(Refused::Limit);
        }
        let limits = &self.limits;
        let sequencer = self.running.entry(config.id).or_insert_with(|| Sequencer::new(config.clone(), limits, now));
        if sequencer.config() == config { Ok(sequencer) } else { Err(Refused::OtherConfig) }
    }

    /// The sequencer of `loglet`; without one the answer is `SequencerLost`, whatever the reason.
    pub fn get_mut(&mut self, loglet: LogletId) -> Option<&mut Sequencer> {
        self.running.get_mut(&loglet)
    }

    /// As [`Sequencers::get_mut`], to look only.
    pub fn get(&self, loglet: LogletId) -> Option<&Sequencer> {
        self.running.get(&loglet)
    }

    /// Loglets ended for the life of this process.
    pub fn ended(&self) -> usize {
        self.ended.len()
    }

    /// All of them, in the order of their ids.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Sequencer> {
        self.running.values_mut()
    }

    /// Gives the loglet up for the life of this process, and hands out the sequencer, if there was one, for its last replies.
    pub fn end(&mut self, loglet: LogletId) -> Option<Sequencer> {
        let sequencer = self.running.remove(&loglet);
        self.ended.insert(loglet);
        assert!(!self.running.contains_key(&loglet));
        sequencer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sequencer::testing::{LOGLET, config};

    const ME: NodeId = NodeId(100);
    const LIFE: Incarnation = Incarnation(9);

    fn sequencers() -> Sequencers {
        Sequencers::new(Limits::default())
    }

    /// P4 (2): a late append from a stale client must not bring a freed sequencer back at offset 0.
    #[test]
    fn an_ended_loglet_is_never_sequenced_again() {
        let mut all = sequencers();
        all.activate(&config(3), ME, LIFE, Instant::ORIGIN).unwrap();
        assert!(all.end(LOGLET).is_some());
        assert_eq!(all.activate(&config(3), ME, LIFE, Instant::ORIGIN).err(), Some(Refused::Ended));
        assert!(all.get_mut(LOGLET).is_none());
    }

    /// P4 (2): a restarted process has another incarnation.
    #[test]
    fn another_life_or_node_never_sequences_the_loglet() {
        let mut all = sequencers();
        let result = all.activate(&config(3), ME, Incarnation(10), Instant::ORIGIN).err();
        assert_eq!(result, Some(Refused::OtherIncarnation(LIFE)));
        let result = all.activate(&config(3), NodeId(1), LIFE, Instant::ORIGIN).err();
        assert_eq!(result, Some(Refused::OtherNode(ME)));
    }

    #[test]
    fn activation_is_idempotent_and_keeps_the_offsets_given() {
        let mut all = sequencers();
        all.activate(&config(3), ME, LIFE, Instant::ORIGIN).unwrap().lose(crate::proto::sequencer::Lost::Ended);
        let again = all.activate(&config(3), ME, LIFE, Instant::ORIGIN).unwrap();
        assert_ne!(again.state(), crate::proto::sequencer::State::Running);
        assert_eq!(all.activate(&config(5), ME, LIFE, Instant::ORIGIN).err(), Some(Refused::OtherConfig));
    }
}
