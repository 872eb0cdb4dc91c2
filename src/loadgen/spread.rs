//! A few durations, summed up.

use std::time::Duration;

use serde::Serialize;

/// How durations are spread, in milliseconds, by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of these; none of nothing.
    pub fn of(samples: &[Duration]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let at = |share: f64| sorted.get(((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
        let millis = |duration: Duration| (duration.as_secs_f64() * 1e5).round() / 1e2;
        Some(Self { p50: millis(at(0.5)?), p99: millis(at(0.99)?), max: millis(at(1.0)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let samples: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(Spread::of(&samples), Some(Spread { p50: 100.0, p99: 198.0, max: 200.0 }));
        assert_eq!(Spread::of(&samples[..1]), Some(Spread { p50: 200.0, p99: 200.0, max: 200.0 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
