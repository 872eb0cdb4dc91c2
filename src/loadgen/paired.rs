//! What pairs of measurements say: their median, and how sure that is.

use serde::Serialize;

use crate::base::Rng;

/// Samples of the pairs that are drawn anew, each with replacement.
const RESAMPLES: usize = 10_000;

/// The median of a number of pairs, with the interval that holds the median of such pairs in 95 of 100 cases (percentile bootstrap, Efron
/// 1979).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Paired {
    /// The median.
    pub median: f64,
    /// The interval.
    pub ci95: [f64; 2],
}

impl Paired {
    /// Of the differences, or ratios, of some pairs; the same every time. None of nothing.
    pub fn of(pairs: &[f64]) -> Option<Self> {
        let median = median(pairs)?;
        let mut random = Rng::with_seed(pairs.len() as u64);
        let mut resample = || {
            let drawn: Vec<f64> = pairs.iter().map(|_| pairs[random.usize(..pairs.len())]).collect();
            self::median(&drawn).expect("as many as there are pairs")
        };
        let mut medians: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
        medians.sort_by(f64::total_cmp);
        let rank = |share: f64| medians[(RESAMPLES as f64 * share) as usize];
        Some(Self { median, ci95: [rank(0.025), rank(0.975)] })
    }

    /// With so many digits after the point as people look at.
    pub fn rounded(self) -> Self {
        let round = |number: f64| (number * 1e3).round() / 1e3;
        Self { median: round(self.median), ci95: self.ci95.map(round) }
    }
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(Paired::of(&[]), None);
        assert_eq!(Paired::of(&[7.0]), Some(Paired { median: 7.0, ci95: [7.0, 7.0] }));
    }

    /// One wild pair moves neither the median nor the interval by much; more pairs make the interval narrower.
    #[test]
    fn the_interval_is_around_the_median_and_shrinks() {
        let mut random = Rng::with_seed(1);
        let mut pairs: Vec<f64> = (0..40).map(|_| 5.0 + random.f64()).collect();
        pairs[7] = 1e9;
        let few = Paired::of(&pairs).unwrap();
        assert!(few.ci95[0] <= few.median && few.median <= few.ci95[1] && few.ci95[1] < 6.0, "{few:?}");
        pairs.extend((0..1000).map(|_| 5.0 + random.f64()));
        let many = Paired::of(&pairs).unwrap();
        assert!(many.ci95[1] - many.ci95[0] < few.ci95[1] - few.ci95[0], "{many:?} of {few:?}");
        assert_eq!(Paired::of(&pairs), Some(many));
    }
}
