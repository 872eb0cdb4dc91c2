use crate::base::mutants::{self, Mutant};
use crate::base::{CellKey, LogletId, RegisterId};
use crate::wire::{Ballot, Decision, Fields, Vote};

/// The kind of the cell that holds what an acceptor must not forget of one register.
pub const REGISTER_CELL: u8 = 4;
/// The kind of the cell that says that this acceptor has lost cells and votes no more (P10). Its key is all zero.
pub const RETIRED_CELL: u8 = 5;

/// The first byte of the cell.
const FORMAT: u8 = 1;

/// What an acceptor must not forget of one register, for the life of the data directory (P8).
///
/// `accepted.version == decided.version + 1`, and `promised` is about that instance too.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct RegisterCell {
    /// The highest decision known: the floor. Nothing is voted on at or below its version.
    pub(super) decided: Decision,
    /// No ballot below this one is accepted.
    pub(super) promised: Ballot,
    /// What was accepted last.
    pub(super) accepted: Option<Vote>,
}

/// The key of a register's cell.
pub(super) fn register_key(register: RegisterId) -> CellKey {
    CellKey { loglet: register.key(), kind: REGISTER_CELL }
}

/// The key of the mark of an acceptor that votes no more.
pub(super) fn retired_key() -> CellKey {
    CellKey { loglet: LogletId::default(), kind: RETIRED_CELL }
}

impl RegisterCell {
    /// A register of which nothing but this decision is known.
    pub(super) fn of(decided: Decision) -> Self {
        Self { decided, promised: Ballot::NONE, accepted: None }
    }

    /// The bytes of the cell: a format number, whether something was accepted, the decision, the promise, the vote.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT, u8::from(self.accepted.is_some())];
        self.decided.encode(&mut bytes);
        let kept = self.accepted.as_ref().map_or(Ballot::NONE, |vote| vote.ballot);
        let promised = if mutants::is(Mutant::PaxosForgetsPromise) { kept } else { self.promised };
        promised.encode(&mut bytes);
        if let Some(vote) = &self.accepted {
            vote.encode(&mut bytes);
        }
        bytes
    }

    /// The cell that these bytes stand for, if they are one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.byte()? != FORMAT {
            return None;
        }
        let has_vote = u32::from(fields.byte()?);
        let decided = fields.decision()?;
        let promised = fields.ballot()?;
        let accepted = fields.vote_if(has_vote)?;
        let follows = |vote: &Vote| vote.decision.version == decided.version.next() && vote.ballot <= promised;
        let sound = accepted.as_ref().is_none_or(follows) && fields.0.is_empty();
        sound.then_some(Self { decided, promised, accepted })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::base::{ProposerId, Version};
    use crate::proto::metastore::testing::{decision, members};

    fn cells() -> impl Strategy<Value = RegisterCell> {
        let ballot = || {
            (1..99_u64, any::<u128>()).prop_map(|(round, proposer)| Ballot { round, proposer: ProposerId(proposer) })
        };
        (0..1000_u64, ballot(), ballot(), any::<bool>(), vec(any::<u8>(), 0..50)).prop_map(
            |(version, one, other, has_vote, value)| {
                let decided = decision(version, 7, &members(&[1, 2, 3]), &value);
                let next = decision(version + 1, 8, &members(&[4, 5]), &value);
                let accepted = has_vote.then(|| Vote { ballot: one.min(other), decision: next });
                RegisterCell { decided, promised: one.max(other), accepted }
            },
        )
    }

    proptest! {
        #[test]
        fn a_cell_survives_its_bytes(cell in cells()) {
            prop_assert_eq!(RegisterCell::decode(&cell.encode()), Some(cell));
        }

        #[test]
        fn a_cell_that_is_cut_short_is_none(cell in cells(), cut in any::<prop::sample::Index>()) {
            let bytes = cell.encode();
            prop_assert_eq!(RegisterCell::decode(&bytes[..cut.index(bytes.len())]), None);
        }

        #[test]
        fn changed_or_arbitrary_bytes_make_a_cell_or_none(
            cell in cells(),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
            any in vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = cell.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            for bytes in [bytes, any] {
                if let Some(cell) = RegisterCell::decode(&bytes) {
                    prop_assert!(cell.accepted.is_none_or(|vote| vote.decision.version > cell.decided.version));
                }
            }
        }
    }

    #[test]
    fn a_vote_of_another_instance_is_no_cell() {
        let decided = decision(4, 7, &members(&[1]), b"");
        let ballot = Ballot { round: 1, proposer: ProposerId(1) };
        for version in [4, 6] {
            let accepted = Some(Vote { ballot, decision: decision(version, 8, &members(&[1]), b"") });
            let cell = RegisterCell { decided: decided.clone(), promised: ballot, accepted };
            assert_eq!(RegisterCell::decode(&cell.encode()), None, "{}", Version(version));
        }
    }
}
