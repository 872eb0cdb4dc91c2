use std::time::Duration;

/// Two buckets for each doubling, from 1 microsecond to about 34 seconds: a quantile is read within a factor of 1.5, which
/// is what an operator acts on, for a quarter of a kilobyte a histogram.
const BUCKETS: usize = 2 * (OCTAVE_LAST - OCTAVE_FIRST) as usize;
const OCTAVE_FIRST: u32 = 10;
const OCTAVE_LAST: u32 = 35;

/// How long something took, counted in fixed buckets: recording allocates nothing and costs a few instructions, so that it may
/// stand in the append path. One thread's; copies are handed out for reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Histogram {
    /// `counts[i]` is what took at most `bound(i)` and more than `bound(i - 1)`; the last one everything longer.
    counts: [u64; BUCKETS + 1],
    sum_nanos: u64,
    max_nanos: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS + 1], sum_nanos: 0, max_nanos: 0 }
    }
}

impl Histogram {
    /// Upper bound of bucket `index`, inclusive, in nanoseconds.
    fn bound_nanos(index: usize) -> u64 {
        let octave = 1u64 << (OCTAVE_FIRST as usize + index / 2);
        if index.is_multiple_of(2) { octave } else { octave + octave / 2 }
    }

    fn bucket_of(nanos: u64) -> usize {
        if nanos <= 1 << OCTAVE_FIRST {
            return 0;
        }
        // The octave is (2^k, 2^(k+1)]: its lower half ends at 1.5 * 2^k, its upper half is the next power of two's bucket.
        let octave = (nanos - 1).ilog2();
        let lower_half = nanos <= (1 << octave) + (1 << (octave - 1));
        let index = 2 * (octave - OCTAVE_FIRST) as usize + if lower_half { 1 } else { 2 };
        index.min(BUCKETS)
    }

    /// Counts one event.
    pub fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[Self::bucket_of(nanos)] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
        self.max_nanos = self.max_nanos.max(nanos);
    }

    /// Events counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Time of all events together, in nanoseconds.
    pub fn sum_nanos(&self) -> u64 {
        self.sum_nanos
    }

    /// The longest event, in nanoseconds.
    pub fn max_nanos(&self) -> u64 {
        self.max_nanos
    }

    /// Each bucket's upper bound in nanoseconds, inclusive, and the events in it. The last bucket has no bound: `u64::MAX`.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let bound = |index| if index == BUCKETS { u64::MAX } else { Self::bound_nanos(index) };
        self.counts.iter().enumerate().map(move |(index, &count)| (bound(index), count))
    }

    /// An upper bound of the time that the fraction `quantile` of all events did not exceed, in nanoseconds; none without
    /// events.
    pub fn quantile_nanos(&self, quantile: f64) -> Option<u64> {
        assert!((0.0..=1.0).contains(&quantile), "a quantile is a fraction");
        let count = self.count();
        let rank = ((count as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        let bucket = self.buckets().find(|(_, events)| {
            below += events;
            below >= rank
        });
        bucket.filter(|_| count > 0).map(|(bound, _)| bound.min(self.max_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_the_bucket_whose_bound_is_the_next() {
        let bounds: Vec<u64> = Histogram::default().buckets().map(|(bound, _)| bound).collect();
        assert!(bounds.is_sorted_by(|left, right| left < right));
        let around = |bound: &u64| [bound.saturating_sub(1), *bound, bound.saturating_add(1)];
        for nanos in bounds.iter().flat_map(around).chain([0, 1, 3_000_000]) {
            let expected = bounds.iter().position(|&bound| nanos <= bound).unwrap();
            assert_eq!(Histogram::bucket_of(nanos), expected, "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_upper_bounds_within_a_half() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_nanos(0.5), None);
        (1..=1000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        for (quantile, exact) in [(0.5, 500_000), (0.99, 990_000), (1.0, 1_000_000)] {
            let found = histogram.quantile_nanos(quantile).unwrap();
            assert!(found >= exact && found as f64 <= exact as f64 * 1.5, "{quantile}: {found}");
        }
        assert_eq!((histogram.count(), histogram.max_nanos()), (1000, 1_000_000));
        assert_eq!(histogram.sum_nanos(), 500_500_000);
    }

    #[test]
    fn what_takes_longer_than_any_bound_is_counted_too() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::MAX);
        histogram.record(Duration::from_secs(3600));
        assert_eq!(histogram.buckets().last(), Some((u64::MAX, 2)));
    }
}
