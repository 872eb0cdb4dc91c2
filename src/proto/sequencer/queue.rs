use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use crate::base::Offset;
use crate::wire::{Batch, HEADER_BYTES};

/// The smallest memory worth having; most idle loglets never need more.
const MEMORY_BYTES_MIN: usize = 16 << 10;

/// Where a batch lies, and what is known about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) first: Offset,
    pub(super) count: u32,
    /// CRC-32C of the frame body as the client sent it, so that no hop sums the bytes again.
    pub(super) body_checksum: u32,
    at: usize,
    bytes: usize,
    /// Weight of everything pushed before this entry, ever: differences are weights of ranges.
    before: u64,
}

impl Entry {
    /// First offset after the batch.
    pub(super) fn end(&self) -> Offset {
        self.first + u64::from(self.count)
    }

    fn weight(&self) -> u64 {
        weight(self.bytes)
    }
}

/// What a batch counts in the window: a header's worth more than its bytes, so that empty records are bounded too.
fn weight(bytes: usize) -> u64 {
    (bytes + HEADER_BYTES) as u64
}

/// Batches in offset order, each a contiguous piece of one circular memory that grows to its working size and is then reused:
/// nothing is allocated per append. Entries are numbered for ever, `begin <= index < end`.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    memory: Vec<u8>,
    entries: VecDeque<Entry>,
    begin: u64,
    /// Weight of everything ever pushed.
    pushed: u64,
    dropped_end: Offset,
}

/// What is held, wherever it lies in memory: no behaviour depends on that.
impl Hash for Queue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { memory: _, entries, begin, pushed, dropped_end } = self;
        (entries.len(), begin, pushed, dropped_end).hash(state);
        for entry in entries {
            let Entry { first, count, body_checksum, at: _, bytes: _, before } = entry;
            (first, count, body_checksum, before, self.batch(entry).parts()).hash(state);
        }
    }
}

impl Queue {
    /// Number of the first entry held.
    pub(super) fn begin(&self) -> u64 {
        self.begin
    }

    /// Number of the next entry to be pushed.
    pub(super) fn end(&self) -> u64 {
        self.begin + self.entries.len() as u64
    }

    /// The entry of this number, if it is held.
    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.begin)?).ok()?)
    }

    /// The records of an entry that is held.
    pub(super) fn batch(&self, entry: &Entry) -> Batch<'_> {
        Batch::new(entry.count, &self.memory[entry.at..entry.at + entry.bytes]).expect("pushed as a batch")
    }

    /// Weight of everything held.
    pub(super) fn weight(&self) -> u64 {
        self.weight_between(self.begin, self.end())
    }

    /// Weight of the entries `from..to`, both within `begin..=end`.
    pub(super) fn weight_between(&self, from: u64, to: u64) -> u64 {
        assert!(self.begin <= from && from <= to && to <= self.end(), "{from}..{to} is held");
        let before = |index| self.get(index).map_or(self.pushed, |entry| entry.before);
        before(to) - before(from)
    }

    /// Number of the first held entry that reaches beyond `tail`, or the end.
    pub(super) fn index_of(&self, tail: Offset) -> u64 {
        self.begin + self.entries.partition_point(|entry| entry.end() <= tail) as u64
    }

    /// First offset after everything that was ever dropped.
    pub(super) fn dropped_end(&self) -> Offset {
        self.dropped_end
    }

    /// Adds a copy of `batch` at `first`, which is not below the end of what is held.
    pub(super) fn push(&mut self, first: Offset, batch: Batch<'_>, body_checksum: u32) {
        assert!(self.entries.back().is_none_or(|last| last.end() <= first), "batches are in offset order");
        let bytes = batch.len();
        let at = self.place(bytes).unwrap_or_else(|| self.grow(bytes));
        let [table, payload] = batch.parts();
        let (for_table, for_payload) = self.memory[at..at + bytes].split_at_mut(table.len());
        for_table.copy_from_slice(table);
        for_payload.copy_from_slice(payload);
        self.entries.push_back(Entry { first, count: batch.count(), body_checksum, at, bytes, before: self.pushed });
        self.pushed += weight(bytes);
    }

    /// Drops the first entry.
    pub(super) fn pop(&mut self) {
        let entry = self.entries.pop_front().expect("only what is held is dropped");
        self.begin += 1;
        self.dropped_end = entry.end();
        assert!(entry.before + entry.weight() <= self.pushed);
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.len() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Gives up memory that is far more than what is held needs.
    pub(super) fn fit(&mut self) {
        let used: usize = self.entries.iter().map(|entry| entry.bytes).sum();
        if used == 0 {
            self.memory = Vec::new();
        } else if used <= self.memory.len() / 4 && self.memory.len() > MEMORY_BYTES_MIN {
            self.compact(used);
        }
        if self.entries.len() <= self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
        }
    }

    /// Drops everything and the memory: nothing will be sent any more.
    pub(super) fn clear(&mut self) {
        self.begin = self.end();
        self.entries = VecDeque::new();
        self.memory = Vec::new();
    }

    /// A contiguous free piece. An empty queue starts over at the front, which keeps a lightly used memory small and warm.
    fn place(&self, bytes: usize) -> Option<usize> {
        let (Some(front), Some(back)) = (self.entries.front(), self.entries.back()) else {
            return (bytes <= self.memory.len()).then_some(0);
        };
        let after = back.at + back.bytes;
        let wrapped = back.at < front.at;
        let room = if wrapped { front.at - after } else { self.memory.len() - after };
        match () {
            () if bytes <= room => Some(after),
            () if !wrapped && bytes <= front.at => Some(0),
            () => None,
        }
    }

    /// Moves to a larger memory, compacted; returns where the next `bytes` go.
    fn grow(&mut self, bytes: usize) -> usize {
        let used: usize = self.entries.iter().map(|entry| entry.bytes).sum();
        self.compact((used + bytes).max(2 * self.memory.len()).max(MEMORY_BYTES_MIN))
    }

    /// Moves what is held to the front of a memory of this size; returns where it ends there.
    fn compact(&mut self, memory_bytes: usize) -> usize {
        let mut memory = vec![0; memory_bytes];
        let mut at = 0;
        for entry in &mut self.entries {
            memory[at..at + entry.bytes].copy_from_slice(&self.memory[entry.at..entry.at + entry.bytes]);
            entry.at = at;
            at += entry.bytes;
        }
        self.memory = memory;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::BatchBuilder;

    fn batch(payload: &[u8]) -> Vec<u8> {
        let (mut builder, mut bytes) = (BatchBuilder::default(), Vec::new());
        builder.push(payload);
        builder.write_to(&mut bytes);
        bytes
    }

    #[test]
    fn batches_come_back_intact_through_wrapping_and_growth() {
        let mut random = crate::base::Rng::with_seed(7);
        let (mut queue, mut model) = (Queue::default(), VecDeque::new());
        for offset in 0..5000u64 {
            let bytes = batch(&vec![offset as u8; random.usize(..3000)]);
            queue.push(Offset(offset), Batch::new(1, &bytes).unwrap(), offset as u32);
            model.push_back(bytes);
            while model.len() > 20 || (!model.is_empty() && random.u8(..3) == 0) {
                queue.pop();
                model.pop_front();
            }
            for (index, bytes) in (queue.begin()..queue.end()).zip(&model) {
                let entry = queue.get(index).unwrap();
                assert_eq!(queue.batch(entry).parts().concat(), *bytes);
                assert_eq!(u64::from(entry.body_checksum), entry.first.0);
            }
        }
        assert!(queue.memory.len() <= 20 * 3100 * 4, "the memory stays near what was held at once");
    }

    #[test]
    fn a_drained_queue_needs_no_new_memory() {
        let mut queue = Queue::default();
        let bytes = batch(&[1; 1000]);
        for offset in 0..1000 {
            queue.push(Offset(offset), Batch::new(1, &bytes).unwrap(), 0);
            queue.pop();
        }
        assert_eq!(queue.memory.len(), MEMORY_BYTES_MIN);
        assert_eq!(queue.weight(), 0);
    }

    #[test]
    fn an_offset_is_found_in_the_batch_that_holds_it() {
        let mut queue = Queue::default();
        let (mut builder, mut bytes) = (BatchBuilder::default(), Vec::new());
        (0..3).for_each(|_| builder.push(b"x"));
        builder.write_to(&mut bytes);
        (0..4).for_each(|n| queue.push(Offset(3 * n), Batch::new(3, &bytes).unwrap(), 0));
        queue.pop();
        let found: Vec<u64> = [0, 3, 4, 6, 11, 12].map(|tail| queue.index_of(Offset(tail))).to_vec();
        assert_eq!(found, [1, 1, 1, 2, 3, 4]);
    }
}
