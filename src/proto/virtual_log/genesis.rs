use crate::base::{Nonce, Version};
use crate::wire::{Decision, Member};

/// What a node holds of the root register.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Held {
    /// Nothing.
    Fresh,
    /// This, decided.
    Decided(Decision),
}

/// A node holds the beginning of another cluster, whose root register has so many members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OtherGenesis {
    /// How many.
    pub members: usize,
}

/// How a cluster begins: once, or not at all (P8 f).
///
/// Every seed is asked what it holds ([`Genesis::hear`]) before any is told ([`Genesis::beginning`]), and the beginning is in force when
/// all of them hold it ([`Genesis::is_held`]).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Genesis {
    members: Vec<Member>,
    /// What some of them hold already: a beginning that was not finished.
    begun: Option<Decision>,
    heard: usize,
}

impl Genesis {
    /// The beginning of a cluster of these nodes.
    pub fn new(members: Vec<Member>) -> Self {
        Self { members, begun: None, heard: 0 }
    }

    /// What the next seed holds. Returns a decision if the cluster has begun long ago: nothing is to be done then.
    ///
    /// # Errors
    /// It holds the beginning of a cluster of others.
    pub fn hear(&mut self, held: Held) -> Result<Option<Decision>, OtherGenesis> {
        self.heard += 1;
        let Held::Decided(decision) = held else { return Ok(None) };
        if decision.version > Version::BIRTH {
            return Ok(Some(decision));
        }
        let is_same = self.begun.as_ref().is_none_or(|known| known.nonce == decision.nonce);
        if !is_same || !self.is_of_these(&decision) {
            return Err(OtherGenesis { members: decision.members.len() });
        }
        self.begun = Some(decision);
        Ok(None)
    }

    /// What every seed is to be told: what some of them hold, or else a new beginning of this name.
    pub fn beginning(&self, nonce: Nonce) -> Decision {
        assert_eq!(self.heard, self.members.len(), "every seed is asked before any is told (P8 f)");
        let new = || Decision { version: Version::BIRTH, nonce, members: self.members.clone(), value: Vec::new() };
        self.begun.clone().unwrap_or_else(new)
    }

    /// Whether a seed that was told, and holds this version now, holds the beginning. A newer one says nothing of what came before it: the
    /// seed may have begun with others meanwhile.
    pub fn is_held(version: Version) -> bool {
        version == Version::BIRTH
    }

    fn is_of_these(&self, decision: &Decision) -> bool {
        decision.members.len() == self.members.len() && self.members.iter().all(|member| decision.names(member.node))
    }
}
