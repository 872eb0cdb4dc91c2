//! What tests of the MetaStore share.

use std::collections::{BTreeMap, VecDeque};

use super::Cells;
use crate::base::{CellKey, NodeId, Nonce, Version, Write};
use crate::proto::log_server::Refused;
use crate::wire::{Decision, Member};

/// Members of these numbers.
pub(super) fn members(nodes: &[u128]) -> Vec<Member> {
    let member = |node: &u128| Member {
        node: NodeId(*node),
        address: format!("10.0.0.{node}:4100").parse().expect("an address"),
    };
    nodes.iter().map(member).collect()
}

/// A decision of these parts.
pub(super) fn decision(version: u64, nonce: u128, members: &[Member], value: &[u8]) -> Decision {
    Decision { version: Version(version), nonce: Nonce(nonce), members: members.to_vec(), value: value.to_vec() }
}

/// A journal's cells, whose writes become durable when the test says so.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct MemoryCells {
    /// What would be found after a restart.
    pub(super) durable: BTreeMap<CellKey, Vec<u8>>,
    /// Writes on their way, oldest first.
    pub(super) in_flight: VecDeque<(CellKey, Vec<u8>)>,
    /// How many have become durable.
    landed: u64,
    /// What every write is answered with.
    pub(super) refuse: Option<Refused>,
}

impl Cells for MemoryCells {
    fn write_cell(&mut self, key: CellKey, value: &[u8]) -> Result<Write, Refused> {
        match self.refuse {
            Some(refused) => Err(refused),
            None => {
                self.in_flight.push_back((key, value.to_vec()));
                Ok(Write(self.landed + self.in_flight.len() as u64))
            }
        }
    }
}

impl MemoryCells {
    /// The oldest write becomes durable. Returns through where everything is.
    pub(super) fn land(&mut self) -> Option<Write> {
        let (key, value) = self.in_flight.pop_front()?;
        self.durable.insert(key, value);
        self.landed += 1;
        Some(Write(self.landed))
    }

    /// Power is lost: the writes on their way are as if they had never been, after the oldest `survive` of them.
    pub(super) fn lose_power(&mut self, survive: usize) {
        (0..survive).for_each(|_| {
            self.land();
        });
        (self.in_flight, self.landed, self.refuse) = (VecDeque::new(), 0, None);
    }

    /// What a start finds.
    pub(super) fn found(&self) -> Vec<(CellKey, Vec<u8>)> {
        self.durable.iter().map(|(key, value)| (*key, value.clone())).collect()
    }
}
