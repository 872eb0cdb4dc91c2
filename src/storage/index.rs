//! From a loglet's offset to the place of its record. Holds only what is durable.

use std::collections::{BTreeMap, VecDeque};

use super::format::SegmentNumber;
use crate::base::{LogletId, Offset};

/// Records `[first, end)` in the units within `[position, position + span)` of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub(super) first: Offset,
    pub(super) end: Offset,
    pub(super) segment: SegmentNumber,
    pub(super) position: u64,
    pub(super) span: u32,
}

impl Extent {
    /// Where its units end at the latest. Saturates: the bytes may come from a disk.
    pub(super) fn data_end(&self) -> u64 {
        self.position.saturating_add(u64::from(self.span))
    }
}

/// The extents of one loglet.
#[derive(Default)]
struct Extents {
    queue: VecDeque<Extent>,
    /// Sum of their spans, kept so that a report need not walk through them.
    span_bytes: u64,
}

/// Extents of every loglet, sorted and disjoint: `extents[i].end <= extents[i + 1].first`.
#[derive(Default)]
pub(super) struct Index {
    loglets: BTreeMap<LogletId, Extents>,
    /// Extents in each segment; a segment without is not needed for its records.
    live: BTreeMap<SegmentNumber, usize>,
    granularity_bytes: u64,
}

impl Index {
    pub(super) fn new(granularity_bytes: u32) -> Self {
        Self { granularity_bytes: u64::from(granularity_bytes), ..Self::default() }
    }

    /// Adds what has become durable. A newer copy of an offset hides the older one.
    pub(super) fn insert(&mut self, loglet: LogletId, new: Extent) {
        assert!(new.first < new.end && new.span > 0, "an extent holds records");
        let Extents { queue: extents, span_bytes } = self.loglets.entry(loglet).or_default();
        if let Some(last) = extents.back_mut()
            && last.end == new.first
            && last.segment == new.segment
            && new.position >= last.position
            && new.position + u64::from(new.span) - last.position <= self.granularity_bytes
        {
            last.end = new.end;
            *span_bytes -= u64::from(last.span);
            last.span =
                u32::try_from(new.position + u64::from(new.span) - last.position).expect("granularity is 32 bits");
            *span_bytes += u64::from(last.span);
            return;
        }
        let at = Self::cut(extents, span_bytes, &mut self.live, new.first, new.end);
        *span_bytes += u64::from(new.span);
        extents.insert(at, new);
        *self.live.entry(new.segment).or_default() += 1;
    }

    /// Removes `[first, end)`; returns where an extent with these offsets belongs.
    fn cut(
        extents: &mut VecDeque<Extent>,
        span_bytes: &mut u64,
        live: &mut BTreeMap<SegmentNumber, usize>,
        first: Offset,
        end: Offset,
    ) -> usize {
        let mut at = extents.partition_point(|extent| extent.end <= first);
        if let Some(extent) = extents.get(at).copied()
            && extent.first < first
        {
            extents[at].end = first;
            at += 1;
            if extent.end > end {
                extents.insert(at, Extent { first: end, ..extent });
                *live.entry(extent.segment).or_default() += 1;
                *span_bytes += u64::from(extent.span);
                return at;
            }
        }
        while let Some(extent) = extents.get_mut(at)
            && extent.first < end
        {
            if extent.end > end {
                extent.first = end;
                break;
            }
            *span_bytes -= u64::from(extent.span);
            Self::forget(live, extent.segment);
            extents.remove(at);
        }
        at
    }

    fn forget(live: &mut BTreeMap<SegmentNumber, usize>, segment: SegmentNumber) {
        let count = live.get_mut(&segment).expect("counted when inserted");
        *count -= 1;
        if *count == 0 {
            live.remove(&segment);
        }
    }

    /// Forgets all below `point`.
    pub(super) fn trim(&mut self, loglet: LogletId, point: Offset) {
        let Some(Extents { queue: extents, span_bytes }) = self.loglets.get_mut(&loglet) else { return };
        while let Some(front) = extents.front_mut() {
            if front.end > point {
                front.first = front.first.max(point);
                break;
            }
            *span_bytes -= u64::from(front.span);
            Self::forget(&mut self.live, front.segment);
            extents.pop_front();
        }
        if extents.is_empty() {
            assert_eq!(*span_bytes, 0, "every extent is counted once");
            self.loglets.remove(&loglet);
        }
    }

    pub(super) fn remove(&mut self, loglet: LogletId) {
        self.trim(loglet, Offset::MAX);
        self.loglets.remove(&loglet);
    }

    /// The extent that holds `offset`, or the first offset above it that is stored.
    pub(super) fn find(&self, loglet: LogletId, offset: Offset) -> Result<Extent, Option<Offset>> {
        let Some(Extents { queue: extents, .. }) = self.loglets.get(&loglet) else { return Err(None) };
        let at = extents.partition_point(|extent| extent.end <= offset);
        match extents.get(at) {
            Some(extent) if extent.first <= offset => Ok(*extent),
            Some(extent) => Err(Some(extent.first)),
            None => Err(None),
        }
    }

    /// Extents in this segment.
    pub(super) fn live_in(&self, segment: SegmentNumber) -> usize {
        self.live.get(&segment).copied().unwrap_or(0)
    }

    /// What is stored of a segment, for its index block.
    pub(super) fn of_segment(&self, segment: SegmentNumber) -> impl Iterator<Item = (LogletId, Extent)> + '_ {
        self.loglets.iter().flat_map(move |(loglet, extents)| {
            extents.queue.iter().filter(move |extent| extent.segment == segment).map(|extent| (*loglet, *extent))
        })
    }

    pub(super) fn loglets(&self) -> impl Iterator<Item = LogletId> + '_ {
        self.loglets.keys().copied()
    }

    /// Bytes of the units that hold records of the loglet; a unit shared by several loglets counts for each.
    pub(super) fn span_bytes(&self, loglet: LogletId) -> u64 {
        self.loglets.get(&loglet).map_or(0, |extents| extents.span_bytes)
    }

    /// The ranges present, merged.
    pub(super) fn stored(&self, loglet: LogletId) -> impl Iterator<Item = (Offset, Offset)> + '_ {
        let mut extents = self.loglets.get(&loglet).into_iter().flat_map(|extents| &extents.queue).peekable();
        std::iter::from_fn(move || {
            let Extent { first, mut end, .. } = *extents.next()?;
            while let Some(next) = extents.next_if(|next| next.first == end) {
                end = next.end;
            }
            Some((first, end))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(first: u64, end: u64, segment: u64, position: u64) -> Extent {
        let (first, end, segment) = (Offset(first), Offset(end), SegmentNumber(segment));
        Extent { first, end, segment, position, span: 4096 }
    }

    fn ranges(index: &Index) -> Vec<(u64, u64)> {
        index.stored(LogletId::default()).map(|(from, to)| (from.0, to.0)).collect()
    }

    #[test]
    fn neighbours_coalesce_up_to_the_granularity_and_within_a_segment() {
        let mut index = Index::new(8192);
        let loglet = LogletId::default();
        for (n, segment) in [(0, 1), (1, 1), (2, 1), (3, 2)] {
            index.insert(loglet, extent(n, n + 1, segment, n * 4096));
        }
        assert_eq!(index.of_segment(SegmentNumber(1)).count(), 2);
        assert_eq!(index.live_in(SegmentNumber(2)), 1);
        assert_eq!(ranges(&index), [(0, 4)]);
    }

    #[test]
    fn a_newer_copy_hides_the_older_and_trimming_frees_segments() {
        let mut index = Index::new(0);
        let loglet = LogletId::default();
        index.insert(loglet, extent(0, 10, 1, 0));
        index.insert(loglet, extent(12, 20, 2, 0));
        index.insert(loglet, extent(4, 6, 3, 0));
        assert_eq!(ranges(&index), [(0, 10), (12, 20)]);
        assert_eq!(index.find(loglet, Offset(5)).unwrap().segment, SegmentNumber(3));
        assert_eq!(index.find(loglet, Offset(6)).unwrap().segment, SegmentNumber(1));
        assert_eq!(index.find(loglet, Offset(11)), Err(Some(Offset(12))));
        index.insert(loglet, extent(5, 13, 4, 0));
        assert_eq!(ranges(&index), [(0, 20)]);
        index.trim(loglet, Offset(13));
        assert_eq!((index.live_in(SegmentNumber(1)), index.live_in(SegmentNumber(4))), (0, 0));
        assert_eq!(ranges(&index), [(13, 20)]);
        index.remove(loglet);
        assert_eq!(index.loglets().count(), 0);
    }

    #[test]
    fn spans_are_counted_through_merges_cuts_and_trims() {
        let mut random = crate::base::Rng::with_seed(3);
        let loglet = LogletId::default();
        let mut index = Index::new(16 << 10);
        for step in 0..5_000u64 {
            let first = random.u64(..200);
            index.insert(loglet, extent(first, first + 1 + random.u64(..20), 1 + step / 50, step % 50 * 4096));
            if random.u8(..20) == 0 {
                index.trim(loglet, Offset(random.u64(..220)));
            }
            let walked = index.loglets.get(&loglet).into_iter().flat_map(|extents| &extents.queue);
            assert_eq!(index.span_bytes(loglet), walked.map(|extent| u64::from(extent.span)).sum::<u64>());
        }
        index.remove(loglet);
        assert_eq!(index.span_bytes(loglet), 0);
    }
}
