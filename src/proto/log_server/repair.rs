use super::loglet::{Fate, Loglet};
use super::shared::Shared;
use super::waiters::{FAILED, Until};
use super::{Disk, Refused};
use crate::base::Offset;
use crate::proto::peer::PeerId;
use crate::wire::{Batch, Message, RejectCode};

impl Loglet {
    /// A repair's copy of records: only on a sealed server, only on top of what is here (P3), and no evidence for the known tail (P1).
    pub(super) fn repair(
        &mut self,
        (peer, request): (PeerId, u64),
        first: Offset,
        batch: Batch<'_>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        if self.fate != Fate::Sealed {
            shared.reject(peer, request, RejectCode::Malformed, "a repair needs a sealed LogServer");
            return;
        }
        let known_tail = self.known_tail;
        // A known tail is committed, so a repair goes on from there like a store.
        self.skip_to(first.min(known_tail), shared, disk);
        let end = first + u64::from(batch.count());
        if first > self.next {
            self.repair_behind(peer, request, shared);
            return;
        }
        if end > self.next {
            match self.append(first, batch, shared, disk) {
                Ok(()) => {}
                Err(Refused::Busy) => return self.repair_behind(peer, request, shared),
                Err(Refused::Space) => {
                    return shared.unavailable(peer, request, self.id, "no space is left in the journal");
                }
                Err(Refused::Failed) => {
                    shared.failed = true;
                    return shared.unavailable(peer, request, self.id, FAILED);
                }
            }
        }
        assert_eq!(self.known_tail, known_tail, "a repair never raises the known tail (P1)");
        self.answer_when(peer, request, Until::Repaired(end), shared);
        self.settle(shared, disk);
    }

    fn repair_behind(&self, peer: PeerId, request: u64, shared: &mut Shared) {
        if self.tells_sealed() {
            let (loglet, tail) = (self.id, self.local_tail());
            shared.send(peer, Message::Behind { request, loglet, tail, known_tail: self.known_tail });
        } else {
            // It tells no tail before it has caught up (P10).
            shared.unavailable(peer, request, self.id, super::catch_up::CATCHING_UP);
        }
    }
}
