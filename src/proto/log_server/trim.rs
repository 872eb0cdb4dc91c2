use super::Disk;
use super::loglet::Loglet;
use super::shared::Shared;
use super::waiters::Until;
use crate::base::Offset;
use crate::proto::peer::PeerId;

impl Loglet {
    /// Gives up everything below `point`, as far as it is known to be committed here or there (P3).
    pub(super) fn trim(
        &mut self,
        (peer, request): (PeerId, u64),
        point: Offset,
        committed: Offset,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        let point = point.min(committed.max(self.known_tail));
        self.raise_trim(point, shared, disk);
        self.answer_when(peer, request, Until::Trimmed(point), shared);
        self.settle(shared, disk);
    }

    /// Makes a committed trim point durable; nothing is dropped before.
    pub(super) fn raise_trim(&mut self, point: Offset, shared: &mut Shared, disk: &mut impl Disk) {
        if point > self.trim_wanted {
            self.trim_wanted = point;
            self.write_cell(shared, disk);
        }
        assert!(self.trim_point <= self.trim_wanted, "a trim point is wanted first");
    }

    /// The trim point is durable: only now may records go (P3).
    pub(super) fn trim_durable(&mut self, point: Offset, shared: &mut Shared, disk: &mut impl Disk) {
        assert!(self.trim_point < point && point <= self.trim_wanted, "trim points only rise");
        self.trim_point = point;
        self.stored.remove(Offset::ZERO, point);
        self.journal.remove(Offset::ZERO, point);
        self.next = self.next.max(point);
        disk.trim(self.id, point);
        self.drain_early(shared, disk);
    }
}
