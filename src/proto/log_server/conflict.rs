use std::collections::VecDeque;

use super::loglet::Loglet;
use super::shared::{Purpose, Shared};
use super::{Disk, ReadOutcome};
use crate::base::Offset;
use crate::proto::peer::PeerId;
use crate::wire::Batch;

/// Record checksums kept in memory for each loglet: 32 KiB, more than a sequencer usually has unanswered.
pub(super) const CHECKSUMS_MAX: usize = 8192;
/// Comparisons with the disk that one loglet has under way. A resend beyond it is not compared; the cumulative answer of those under
/// way covers it.
const COMPARES_MAX: u32 = 16;

/// The checksums of the records taken last, at contiguous offsets ([`Batch::fingerprint`]).
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Recent {
    first: Offset,
    checksums: VecDeque<u32>,
}

impl Recent {
    fn end(&self) -> Offset {
        self.first + self.checksums.len() as u64
    }

    /// Notes records that were put into the journal.
    pub(super) fn push(&mut self, first: Offset, batch: Batch<'_>) {
        if first != self.end() {
            self.checksums.clear();
            self.first = first;
        }
        for index in 0..batch.count() {
            if self.checksums.len() == CHECKSUMS_MAX {
                self.checksums.pop_front();
                self.first = self.first + 1;
            }
            self.checksums.push_back(batch.fingerprint(index));
        }
        assert!(self.checksums.len() <= CHECKSUMS_MAX);
    }

    fn get(&self, offset: Offset) -> Option<u32> {
        let index = usize::try_from(offset.0.checked_sub(self.first.0)?).ok()?;
        self.checksums.get(index).copied()
    }
}

impl Loglet {
    /// Compares the part of a store below `present`, which is in the journal already, with the copy here. Returns false when they
    /// differ, which is told, or when the disk has to be asked first, whose completion gives the answer.
    pub(super) fn compare(
        &mut self,
        peer: PeerId,
        first: Offset,
        present: Offset,
        batch: Batch<'_>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) -> bool {
        assert!(first < present && present <= self.next, "only what is present can be compared");
        let count = u32::try_from(present.since(first)).expect("within the batch");
        let mut forgotten = None;
        for index in 0..count {
            let offset = first + u64::from(index);
            match self.recent.get(offset) {
                // A gap inside the remembered range cannot be: the memory starts anew at each jump.
                Some(checksum) if checksum != batch.fingerprint(index) => {
                    self.conflict(peer, offset, shared);
                    return false;
                }
                Some(_) => {}
                None if self.stored.end_of(offset).is_some() => forgotten = Some(offset + 1),
                None => {}
            }
        }
        let Some(to) = forgotten else { return true };
        if self.compares < COMPARES_MAX {
            let checksums = (0..u32::try_from(to.since(first)).expect("within the batch"))
                .map(|index| batch.fingerprint(index))
                .collect();
            self.compare_on_disk(first, to, first, checksums, shared, disk);
        }
        // What lies beyond may be taken meanwhile; the answer to this store waits only for what is not answered yet anyway.
        present < first + u64::from(batch.count())
    }

    fn compare_on_disk(
        &mut self,
        from: Offset,
        to: Offset,
        first: Offset,
        checksums: Vec<u32>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        match self.stored.next_run(from).filter(|run| run.0 < to) {
            Some((start, end)) => {
                let end = end.min(to);
                self.compares += 1;
                let purpose = Purpose::Compare { from: start, to, first, checksums };
                let id = shared.start_read(self.id, purpose);
                disk.read(id, self.id, start, end, shared.limits.read_bytes_max);
            }
            // All compared: below the local tail it is a success (P14).
            None => self.lanes.each(|owes| owes.stored = true),
        }
    }

    /// The stored copy of a store that came again.
    pub(super) fn compare_read(
        &mut self,
        (from, to): (Offset, Offset),
        (first, checksums): (Offset, Vec<u32>),
        outcome: &ReadOutcome<'_>,
        shared: &mut Shared,
        disk: &mut impl Disk,
    ) {
        assert!(self.compares > 0, "a comparison was under way");
        self.compares -= 1;
        let go_on = match outcome {
            ReadOutcome::Records { first: at, batch } => {
                let wanted = |index: u32| checksums[(*at + u64::from(index)).since(first) as usize];
                if let Some(index) = (0..batch.count()).find(|&index| wanted(index) != batch.fingerprint(index)) {
                    // Whichever lane it was: one that is contradicted ends them all (P4).
                    for lane in self.lanes.iter() {
                        self.conflict(lane.peer, *at + u64::from(index), shared);
                    }
                    return;
                }
                *at + u64::from(batch.count())
            }
            // Nothing to compare with: the copy is a hole now, which is filled from others (P10).
            ReadOutcome::Missing { to, .. } | ReadOutcome::Damaged { to, .. } => (*to).max(from + 1),
        };
        self.compare_on_disk(go_on, to, first, checksums, shared, disk);
        self.settle(shared, disk);
    }
}
