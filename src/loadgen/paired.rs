//! What pairs of measurements say: their median, and how sure that is.

use serde::Serialize;

use super::sweep::summary::median_of_sorted;
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
        let mut random = Rng::with_seed(pairs.len() as u64);
        Some(Self { median: median(pairs)?, ci95: interval(|| resampled_median(pairs, &mut random)) })
    }

    /// The median of some samples by that of others, which are in no pairs: each side is drawn anew by itself. The same every time;
    /// none when a side has nothing, or the divisor is zero.
    pub fn ratio_of_medians(of: &[f64], by: &[f64]) -> Option<Self> {
        let ratio = median(of)? / median(by)?;
        let mut random = Rng::with_seed((of.len() + by.len()) as u64);
        let ci95 = interval(|| resampled_median(of, &mut random) / resampled_median(by, &mut random));
        (ratio.is_finite() && ci95.iter().all(|end| end.is_finite())).then_some(Self { median: ratio, ci95 })
    }

    /// With so many digits after the point as people look at.
    pub fn rounded(self) -> Self {
        let round = |number: f64| (number * 1e3).round() / 1e3;
        Self { median: round(self.median), ci95: self.ci95.map(round) }
    }
}

fn resampled_median(samples: &[f64], random: &mut Rng) -> f64 {
    let drawn: Vec<f64> = samples.iter().map(|_| samples[random.usize(..samples.len())]).collect();
    median(&drawn).expect("as many as there are samples")
}

/// What holds the statistic in 95 of 100 resamples.
fn interval(resample: impl FnMut() -> f64) -> [f64; 2] {
    let mut resample = resample;
    let mut statistics: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    statistics.sort_by(f64::total_cmp);
    [0.025, 0.975].map(|share| statistics[(RESAMPLES as f64 * share) as usize])
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| median_of_sorted(&sorted))
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

    #[test]
    fn a_ratio_is_that_of_the_medians_and_its_interval_shows_a_difference() {
        let mut random = Rng::with_seed(2);
        let mut around = |middle: f64| -> Vec<f64> { (0..7).map(|_| middle * (0.98 + 0.04 * random.f64())).collect() };
        let (one, same, more) = (around(100.0), around(100.0), around(120.0));
        let none = Paired::ratio_of_medians(&same, &one).unwrap();
        assert!(none.ci95[0] < 1.0 && none.ci95[1] > 1.0, "{none:?}");
        let some = Paired::ratio_of_medians(&more, &one).unwrap();
        assert!((1.1..1.3).contains(&some.median) && some.ci95[0] > 1.1 && some.ci95[1] < 1.3, "{some:?}");
        assert_eq!(Paired::ratio_of_medians(&more, &one), Some(some));
        assert_eq!(Paired::ratio_of_medians(&more, &[]), None);
        assert_eq!(Paired::ratio_of_medians(&more, &[0.0]), None);
    }
}
