use super::loglet::Loglet;
use super::shared::Shared;
use crate::base::Offset;
use crate::wire::Batch;

/// A store that came before its predecessor.
#[derive(Debug)]
struct Arrival {
    first: Offset,
    count: u32,
    bytes: Vec<u8>,
}

impl Arrival {
    fn end(&self) -> Offset {
        self.first + u64::from(self.count)
    }
}

/// Stores beyond the next offset, held in memory only and ascending by offset. They are a favour: dropping one is always right, as
/// long as `Behind` says so (L6).
#[derive(Debug, Default)]
pub(super) struct Early {
    arrivals: Vec<Arrival>,
    bytes: usize,
}

impl Early {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lowest offset held.
    pub(super) fn first(&self) -> Option<Offset> {
        self.arrivals.first().map(|arrival| arrival.first)
    }

    /// Holds a store; returns false when it, or a higher one in its favour, had to be dropped.
    pub(super) fn insert(&mut self, first: Offset, batch: Batch<'_>, shared: &mut Shared) -> bool {
        let index = self.arrivals.partition_point(|arrival| arrival.first < first);
        if let Some(same) = self.arrivals.get(index)
            && same.first == first
        {
            if same.count >= batch.count() {
                return true;
            }
            self.drop_at(index, shared);
        }
        let mut bytes = shared.buffer();
        batch.write_to(&mut bytes);
        self.bytes += bytes.len();
        shared.early_bytes += bytes.len();
        self.arrivals.insert(index, Arrival { first, count: batch.count(), bytes });
        let mut kept_all = true;
        while self.bytes > shared.limits.early_window_bytes as usize
            || shared.early_bytes > shared.limits.early_pool_bytes as usize
        {
            self.drop_at(self.arrivals.len() - 1, shared);
            kept_all = false;
        }
        assert!(self.bytes <= shared.limits.early_window_bytes as usize, "the window is bounded");
        kept_all
    }

    fn drop_at(&mut self, index: usize, shared: &mut Shared) {
        let arrival = self.arrivals.remove(index);
        self.bytes -= arrival.bytes.len();
        shared.early_bytes -= arrival.bytes.len();
        shared.recycle(arrival.bytes);
    }

    /// The lowest arrival, if the order rule lets it be taken when `next` is the next offset.
    fn take(&mut self, next: Offset, shared: &mut Shared) -> Option<Arrival> {
        if self.first()? > next {
            return None;
        }
        let arrival = self.arrivals.remove(0);
        self.bytes -= arrival.bytes.len();
        shared.early_bytes -= arrival.bytes.len();
        Some(arrival)
    }

    pub(super) fn clear(&mut self, shared: &mut Shared) {
        while !self.arrivals.is_empty() {
            self.drop_at(self.arrivals.len() - 1, shared);
        }
        assert_eq!(self.bytes, 0, "bytes are counted as they come and go");
    }
}

impl Loglet {
    /// Takes the early arrivals whose turn it is.
    pub(super) fn drain_early(&mut self, shared: &mut Shared, disk: &mut impl super::Disk) {
        while let Some(arrival) = self.early.take(self.next, shared) {
            if arrival.end() > self.next {
                let batch = Batch::new(arrival.count, &arrival.bytes).expect("checked when it arrived");
                if let Err(refused) = self.append(arrival.first, batch, shared, disk) {
                    // It stays first in line, and the journal is asked again when it has moved.
                    shared.refused(self.id, refused);
                    self.early.bytes += arrival.bytes.len();
                    shared.early_bytes += arrival.bytes.len();
                    self.early.arrivals.insert(0, arrival);
                    return;
                }
            }
            shared.recycle(arrival.bytes);
        }
    }
}
