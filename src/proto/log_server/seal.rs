use super::Disk;
use super::loglet::{Fate, Loglet};
use super::shared::Shared;
use super::waiters::Until;
use crate::base::mutants::{self, Mutant};
use crate::proto::peer::PeerId;

impl Loglet {
    /// Seals, and answers when that is durable (P2).
    pub(super) fn seal(&mut self, peer: PeerId, request: u64, shared: &mut Shared, disk: &mut impl Disk) {
        self.begin_seal(shared, disk);
        self.answer_when(peer, request, Until::Sealed, shared);
        self.settle(shared, disk);
    }

    /// Sets the seal bit in memory, from where on neither success nor open leaves, and sends it to the disk.
    pub(super) fn begin_seal(&mut self, shared: &mut Shared, disk: &mut impl Disk) {
        if self.fate != Fate::Open {
            return;
        }
        let early = mutants::is(Mutant::SealedBeforeDurable);
        self.fate = if early { Fate::Sealed } else { Fate::Sealing };
        // What has not entered the journal never will; what is in flight may still become durable, as evidence only.
        self.early.clear(shared);
        // The sequencer hears of it as soon as that may be said, also when its stores are all in flight (L1).
        self.lanes.each(|owes| owes.sealed = !mutants::is(Mutant::AckAfterSeal));
        self.write_cell(shared, disk);
        assert!(
            !self.is_open() && (early || !self.tells_sealed()),
            "between memory and disk neither open nor sealed is said (P2)"
        );
    }
}
