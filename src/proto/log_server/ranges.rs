use crate::base::Offset;

/// A set of offsets as ascending ranges that neither touch nor overlap. Appending at its end, the usual case, neither searches nor
/// allocates.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(super) struct Ranges {
    ranges: Vec<(Offset, Offset)>,
}

impl Ranges {
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// How many offsets are members.
    pub(super) fn total(&self) -> u64 {
        self.ranges.iter().map(|range| range.1.0 - range.0.0).sum()
    }

    /// The first offset above every member; 0 when empty.
    pub(super) fn end(&self) -> Offset {
        self.ranges.last().map_or(Offset::ZERO, |range| range.1)
    }

    pub(super) fn insert(&mut self, from: Offset, to: Offset) {
        if from >= to {
            return;
        }
        match self.ranges.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            Some(last) if last.1 > from => self.merge(from, to),
            _ => self.ranges.push((from, to)),
        }
    }

    fn merge(&mut self, from: Offset, to: Offset) {
        // Every range that touches `from..to` is replaced by one that covers them all.
        let start = self.ranges.partition_point(|range| range.1 < from);
        let stop = self.ranges.partition_point(|range| range.0 <= to);
        assert!(start <= stop, "ranges are ascending");
        let covered = &self.ranges[start..stop];
        let from = covered.first().map_or(from, |range| range.0.min(from));
        let to = covered.last().map_or(to, |range| range.1.max(to));
        self.ranges.splice(start..stop, [(from, to)]);
    }

    pub(super) fn remove(&mut self, from: Offset, to: Offset) {
        if from >= to {
            return;
        }
        let start = self.ranges.partition_point(|range| range.1 <= from);
        let stop = self.ranges.partition_point(|range| range.0 < to);
        if start >= stop {
            return;
        }
        let left = (self.ranges[start].0, from);
        let right = (to, self.ranges[stop - 1].1);
        self.ranges.splice(start..stop, [left, right].into_iter().filter(|range| range.0 < range.1));
    }

    /// The end of the range that holds `offset`.
    pub(super) fn end_of(&self, offset: Offset) -> Option<Offset> {
        let index = self.ranges.partition_point(|range| range.1 <= offset);
        self.ranges.get(index).filter(|range| range.0 <= offset).map(|range| range.1)
    }

    /// The first run of members at or after `from`.
    pub(super) fn next_run(&self, from: Offset) -> Option<(Offset, Offset)> {
        let index = self.ranges.partition_point(|range| range.1 <= from);
        self.ranges.get(index).map(|range| (range.0.max(from), range.1))
    }

    /// The first run of offsets in `from..to` that are no members.
    pub(super) fn first_hole(&self, from: Offset, to: Offset) -> Option<(Offset, Offset)> {
        let start = self.end_of(from).unwrap_or(from);
        if start >= to {
            return None;
        }
        let stop = self.next_run(start).map_or(to, |run| run.0.min(to));
        assert!(start < stop, "a hole has offsets");
        Some((start, stop))
    }

    /// How many runs, and offsets in them, of `from..to` are no members, and where the last of them ends.
    pub(super) fn holes(&self, mut from: Offset, to: Offset) -> (usize, u64, Option<Offset>) {
        let (mut runs, mut offsets, mut end) = (0, 0, None);
        while let Some((start, stop)) = self.first_hole(from, to) {
            runs += 1;
            offsets += stop.since(start);
            end = Some(stop);
            from = stop;
        }
        (runs, offsets, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every set over a few offsets, against a set of bits.
    #[test]
    fn ranges_agree_with_a_set_of_bits() {
        let mut rng = crate::base::Rng::with_seed(7);
        for _ in 0..300 {
            let (mut ranges, mut bits) = (Ranges::default(), [false; 24]);
            for _ in 0..12 {
                let from = rng.u64(0..24);
                let to = rng.u64(from..=24);
                let member = rng.u8(0..3) > 0;
                if member {
                    ranges.insert(Offset(from), Offset(to));
                } else {
                    ranges.remove(Offset(from), Offset(to));
                }
                bits[from as usize..to as usize].fill(member);
                for offset in 0..24 {
                    assert_eq!(ranges.end_of(Offset(offset)).is_some(), bits[offset as usize], "{ranges:?}");
                }
                let hole = (0..24).find(|&offset| !bits[offset]);
                assert_eq!(
                    ranges.first_hole(Offset(0), Offset(24)).map(|hole| hole.0.0 as usize),
                    hole,
                    "{ranges:?} {bits:?}"
                );
                assert!(ranges.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
            }
        }
    }
}
