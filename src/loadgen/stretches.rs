//! One client's acknowledgements, summed for each stretch of the log apart, so that those below a trim point can be left out and forgotten.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::base::Offset;

/// Acknowledgements of a part of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sum {
    /// The lowest sequence.
    pub(super) first: u64,
    /// How many.
    pub(super) acknowledged: u64,
    /// Over (sequence, offset).
    pub(super) placed: u64,
}

impl Sum {
    /// Of nothing, before this sequence.
    pub(super) fn none(first: u64) -> Self {
        Self { first, acknowledged: 0, placed: 0 }
    }

    fn with(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            acknowledged: self.acknowledged + other.acknowledged,
            placed: self.placed.wrapping_add(other.placed),
        }
    }
}

/// All stretches that are not forgotten; of equal length, the first one at offset 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stretches {
    records: u64,
    sums: BTreeMap<u64, Sum>,
}

impl Stretches {
    /// Of so many records each. Only whole stretches can be left out.
    pub(super) fn of(records: u64) -> Self {
        assert!(records > 0, "a stretch has records");
        Self { records, sums: BTreeMap::new() }
    }

    /// Adds one acknowledgement, which is worth `placed`.
    pub(super) fn add(&mut self, sequence: u64, offset: Offset, placed: u64) {
        let one = Sum { first: sequence, acknowledged: 1, placed };
        match self.sums.entry(offset.0 / self.records) {
            Entry::Vacant(entry) => drop(entry.insert(one)),
            Entry::Occupied(mut entry) => *entry.get_mut() = entry.get().with(one),
        }
    }

    /// Forgets what lies below.
    pub(super) fn forget_below(&mut self, offset: Offset) {
        self.sums = self.sums.split_off(&self.number(offset));
    }

    /// All from an offset on; `none` where there are none.
    pub(super) fn from(&self, offset: Offset, none: Sum) -> Sum {
        self.sums.range(self.number(offset)..).fold(none, |sum, (_, other)| sum.with(*other))
    }

    fn number(&self, offset: Offset) -> u64 {
        assert!(offset.0.is_multiple_of(self.records), "a log is trimmed by whole stretches");
        offset.0 / self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_takes_no_memory_and_what_is_left_adds_up() {
        let mut stretches = Stretches::of(10);
        for sequence in 0..1_000 {
            stretches.add(sequence, Offset(2 * sequence), 1);
            let trimmed = (2 * sequence).saturating_sub(50) / 10 * 10;
            stretches.forget_below(Offset(trimmed));
            assert!(stretches.sums.len() <= 7, "{}", stretches.sums.len());
        }
        let sum = |offset| stretches.from(Offset(offset), Sum::none(1_000));
        assert_eq!(sum(1_950), Sum { first: 975, acknowledged: 25, placed: 25 });
        assert_eq!(sum(1_990), Sum { first: 995, acknowledged: 5, placed: 5 });
        assert_eq!(sum(2_000), Sum::none(1_000));
    }
}
