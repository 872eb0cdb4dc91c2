use super::Disk;
use super::loglet::Loglet;
use super::shared::Shared;
use super::waiters::Until;
use crate::base::Offset;
use crate::proto::peer::PeerId;

impl Loglet {
    /// Answers the local tail, after the client's known tail has been merged (L3).
    pub(super) fn check_tail(
        &mut self,
        peer: PeerId,
        request: u64,
        known_tail: Offset,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        self.known_tail = self.known_tail.max(known_tail);
        assert!(self.local_tail() >= known_tail, "the local tail counts the known tail (P3)");
        self.settle(shared, disk);
        self.answer_when(peer, request, Until::TailOrSealed(Offset::ZERO), shared);
    }

    /// Answers the local tail once it has reached `at_least` while open here, or once sealed.
    pub(super) fn await_tail(&mut self, peer: PeerId, request: u64, at_least: Offset, shared: &mut Shared) {
        self.answer_when(peer, request, Until::TailOrSealed(at_least), shared);
    }
}
