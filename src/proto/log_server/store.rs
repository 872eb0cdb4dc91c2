use super::loglet::{Fate, Loglet};
use super::shared::{Shared, What};
use super::{Disk, Refused};
use crate::base::Offset;
use crate::base::mutants::{self, Mutant};
use crate::proto::peer::PeerId;
use crate::wire::{Batch, Message};

/// Runs of stored records of one loglet. Each gap makes one more; a server with so many takes no further one before some are filled.
pub(super) const RUNS_MAX: usize = 4096;

impl Loglet {
    /// Records from the configured sequencer, which the caller has checked.
    pub(super) fn store(
        &mut self,
        peer: PeerId,
        first: Offset,
        known_tail: Offset,
        batch: Batch<'_>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        self.hear_store(peer, first, first + u64::from(batch.count()));
        self.known_tail = self.known_tail.max(known_tail);
        if (self.fate != Fate::Open && !mutants::is(Mutant::AckAfterSeal)) || self.deleting {
            self.owe(peer, |owes| owes.sealed = true);
        } else if !self.cell.written {
            // No record may become durable before the loglet is.
            self.owe(peer, |owes| owes.behind = true);
        } else {
            self.take(peer, first, batch, shared, disk);
            self.drain_early(shared, disk);
        }
        self.settle(shared, disk);
    }

    fn take(&mut self, peer: PeerId, first: Offset, batch: Batch<'_>, shared: &mut Shared, disk: &mut impl Disk) {
        assert!(self.is_open() || mutants::is(Mutant::AckAfterSeal), "records are taken only while open");
        let end = first + u64::from(batch.count());
        self.skip_known(first, shared, disk);
        if first > self.next && mutants::is(Mutant::StoreEarlyArrivals) {
            self.next = first;
        }
        if first > self.next {
            if shared.full {
                self.lack_space(shared);
            } else if !self.early.insert(first, batch, shared) {
                self.owe_behind(peer);
            }
            return;
        }
        let present = self.next.min(end);
        if first < present && !self.compare(peer, first, present, batch, shared, disk) {
            return;
        }
        if end > self.next && shared.full {
            self.lack_space(shared);
        } else if end > self.next {
            if self.journal.len() >= RUNS_MAX && self.journal.end() != self.next {
                shared.unavailable(peer, 0, self.id, "too many gaps wait to be filled");
                return;
            }
            match self.append(first, batch, shared, disk) {
                Ok(()) => {}
                Err(Refused::Busy) => self.hold(peer, first, batch, shared),
                Err(Refused::Space) => {
                    shared.fill_up();
                    self.lack_space(shared);
                }
                Err(Refused::Failed) => shared.failed = true,
            }
        }
        // Below the local tail everything is a success, with or without a copy (P14); above it the answer comes with durability.
        if first < self.local_tail() {
            self.owe(peer, |owes| owes.stored = true);
        }
    }

    /// A store cannot be taken for want of space. Nothing is held for later: the sequencer has it, and sends it again from where
    /// it is told to.
    pub(super) fn lack_space(&mut self, shared: &mut Shared) {
        assert!(shared.full && self.is_open(), "space is lacked by what would take records");
        self.early.clear(shared);
        self.no_space = true;
        self.lanes.each(|owes| owes.no_space = true);
    }

    /// There is space again: the sequencer is told from where on to send.
    pub(super) fn regain_space(&mut self, shared: &mut Shared, disk: &mut impl Disk) {
        if std::mem::take(&mut self.no_space) {
            self.lanes.each(|owes| (owes.no_space, owes.behind) = (false, true));
        }
        self.settle(shared, disk);
    }

    /// The journal has no room for a store whose turn it is. It waits here, first in line, and is offered when the journal moves:
    /// sent again after a while, it would find the room taken by whoever sends more.
    fn hold(&mut self, peer: PeerId, first: Offset, batch: Batch<'_>, shared: &mut Shared) {
        if !self.early.insert(first, batch, shared) {
            self.owe_behind(peer);
        }
        shared.refused(self.id, Refused::Busy);
    }

    /// A store begins beyond the next offset: what is known to be committed on others need not be waited for, and becomes a gap. Only
    /// as far as the stream has skipped it: a record below the known tail that is still on its way is worth having. Of several lanes each
    /// has a stream of its own; one that has nothing more to send goes on nowhere, and what it has skipped is found to be missing by
    /// [`Loglet::work`].
    fn skip_known(&mut self, first: Offset, shared: &mut Shared, disk: &mut impl Disk) {
        let to = first.min(self.known_tail).min(self.lanes.position());
        self.skip_to(to, shared, disk);
    }

    /// Moves the next offset up to `to`, which is committed, taking early arrivals on the way.
    pub(super) fn skip_to(&mut self, to: Offset, shared: &mut Shared, disk: &mut impl Disk) {
        assert!(to <= self.known_tail, "only what is committed may be skipped");
        loop {
            self.drain_early(shared, disk);
            let step = self.early.first().map_or(to, |first| first.min(to));
            if step <= self.next {
                break;
            }
            self.next = step;
        }
    }

    /// Puts what `batch` has at and beyond the next offset into the journal.
    pub(super) fn append(
        &mut self,
        first: Offset,
        batch: Batch<'_>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) -> Result<(), Refused> {
        let end = first + u64::from(batch.count());
        assert!(first <= self.next && self.next < end, "records are taken in offset order (P14)");
        assert!(self.cell.written, "the loglet is durable before its records");
        let at = self.next;
        if at == first {
            self.write(at, batch, shared, disk)?;
        } else {
            let mut rest = shared.buffer();
            let skip = u32::try_from(at.since(first)).expect("within the batch");
            let count = batch.copy_range(skip, batch.count() - skip, usize::MAX, &mut rest);
            let written = self.write(at, Batch::new(count, &rest).expect("a range of a batch"), shared, disk);
            shared.recycle(rest);
            written?;
        }
        self.next = end;
        Ok(())
    }

    fn write(
        &mut self,
        first: Offset,
        batch: Batch<'_>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) -> Result<(), Refused> {
        let end = first + u64::from(batch.count());
        // On a sealed server it can only be a repair.
        let write = match self.fate {
            Fate::Open => disk.write_records(self.id, first, batch)?,
            Fate::Sealing | Fate::Sealed => disk.write_repair(self.id, first, batch)?,
        };
        shared.taken(write, self.id, What::Records { first, end });
        self.journal.insert(first, end);
        self.recent.push(first, batch);
        Ok(())
    }

    /// The records `first..end` are durable, and everything that was taken before them.
    pub(super) fn records_durable(&mut self, first: Offset, end: Offset, shared: &mut Shared, disk: &mut impl Disk) {
        assert!(first < end, "an entry has records");
        let repaired = self.fate == Fate::Sealed;
        if repaired && (mutants::is(Mutant::RepairRaisesKnownTail) || mutants::is(Mutant::WaitForKnownTail)) {
            self.known_tail = self.known_tail.max(end);
        }
        let tail = self.local_tail();
        self.stored.insert(first.max(self.trim_point), end);
        self.durable_end = self.durable_end.max(end);
        assert!(self.durable_end <= self.next, "only what was taken becomes durable");
        self.fill_durable(first, end);
        if self.local_tail() > tail && mutants::is(Mutant::AckAfterSeal) {
            self.lanes.each(|owes| owes.stored = true);
        }
        self.settle(shared, disk);
    }

    /// A bare known tail (L3). A sequencer that was not heard on this connection before learns where this server stands.
    pub(super) fn known_tail_told(
        &mut self,
        peer: PeerId,
        sequencer: bool,
        known_tail: Offset,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        let tail = self.local_tail();
        self.known_tail = self.known_tail.max(known_tail);
        if sequencer {
            let (new, is_open) = (!self.lanes.contains(peer), self.is_open());
            self.hear(peer);
            if new || self.local_tail() > tail {
                self.owe(peer, |owes| if is_open { owes.stored = true } else { owes.sealed = true });
            }
        }
        self.settle(shared, disk);
    }

    /// A record of another value is stored at `at`.
    pub(super) fn conflict(&self, peer: PeerId, at: Offset, shared: &mut Shared) {
        shared.send(peer, Message::Conflict { request: 0, loglet: self.id, at });
    }
}
