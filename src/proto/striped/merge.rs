use std::collections::VecDeque;

use super::Layout;
use crate::base::Offset;
use crate::proto::loglet::Records;
use crate::wire::{BatchBuilder, RecordCursor};

/// Records of all stripes, put in the order of the whole.
#[derive(Clone, Hash, Debug)]
pub(super) struct Merge {
    layout: Layout,
    /// The next offset to take.
    next: Offset,
    /// What has come of each stripe and was not taken, in its order.
    stripes: Vec<VecDeque<Queued>>,
}

#[derive(Clone, Hash, Debug)]
struct Queued {
    /// The stripe's own offset of the next record.
    next: Offset,
    records: RecordCursor,
}

impl Merge {
    /// From `next` on.
    pub(super) fn new(layout: Layout, next: Offset) -> Self {
        Self { layout, next, stripes: vec![VecDeque::new(); layout.stripes()] }
    }

    /// The next offset to be taken.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// Adds what a stripe has brought, behind what it has brought before.
    pub(super) fn push(&mut self, stripe: usize, first: Offset, records: Records) {
        let expected = self.stripes[stripe].back().map_or_else(|| self.layout.below(stripe, self.next), Queued::end);
        assert_eq!(first, expected, "stripe {stripe} leaves nothing out");
        let records = RecordCursor::new(records.count, records.bytes);
        self.stripes[stripe].push_back(Queued { next: first, records });
    }

    /// The last record that has come of any stripe and was not taken.
    pub(super) fn last(&self) -> Option<Offset> {
        let of = |(stripe, queue): (usize, &VecDeque<Queued>)| {
            let last = queue.back()?.end().0 - 1;
            Some(self.layout.logical(stripe, Offset(last)))
        };
        self.stripes.iter().enumerate().filter_map(of).max()
    }

    /// Whether this stripe has brought nothing that was not taken.
    pub(super) fn lacks(&self, stripe: usize) -> bool {
        self.stripes[stripe].is_empty()
    }

    /// Takes records from the next offset on, below `max`, as far as none is missing, within `bytes_max` but for the first: that one's offset,
    /// the records, and the bytes of each stripe among them.
    pub(super) fn take(&mut self, max: Offset, bytes_max: usize) -> Option<(Offset, Records, Vec<usize>)> {
        let (first, mut builder) = (self.next, BatchBuilder::default());
        let mut taken = vec![0; self.stripes.len()];
        while self.next < max {
            let (stripe, local) = self.layout.place(self.next);
            let Some(front) = self.stripes[stripe].front_mut() else { break };
            assert_eq!(front.next, local, "stripe {stripe} leaves nothing out");
            let bytes = front.records.next_bytes();
            if !builder.is_empty() && builder.len() + bytes > bytes_max {
                break;
            }
            front.records.take_into(&mut builder);
            front.next = front.next + 1;
            taken[stripe] += bytes;
            if front.records.is_empty() {
                self.stripes[stripe].pop_front();
            }
            self.next = self.next + 1;
        }
        if builder.is_empty() {
            return None;
        }
        let mut bytes = Vec::with_capacity(builder.len());
        builder.write_to(&mut bytes);
        Some((first, Records { count: builder.count(), bytes }, taken))
    }
}

impl Queued {
    /// The stripe's own offset behind the last record.
    fn end(&self) -> Offset {
        self.next + u64::from(self.records.len())
    }
}
