//! Where a number lies on an axis, and which numbers have a mark there.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// Marks of a linear axis, about.
const MARKS: f64 = 7.0;

/// The coordinates of one axis. Those of plotters have marks at powers of ten only when they are logarithmic, and so often none.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    range: Range<f64>,
    logarithmic: bool,
}

impl Scale {
    /// Around these values, some room included; from zero on where a length means an amount. None when no value has a place.
    pub(super) fn around(values: impl Iterator<Item = f64>, logarithmic: bool) -> Option<Self> {
        let (least, most) = values.filter(|&value| has_place(value, logarithmic)).fold(None, |bounds, value| {
            let (least, most): (f64, f64) = bounds.unwrap_or((value, value));
            Some((least.min(value), most.max(value)))
        })?;
        let range = match logarithmic {
            true => least / 1.3..most * 1.3,
            false => least.min(0.0)..if most > 0.0 { most * 1.08 } else { 1.0 },
        };
        Some(Self { range, logarithmic })
    }

    /// Whether a value can be drawn.
    pub(super) fn holds(&self, value: f64) -> bool {
        has_place(value, self.logarithmic)
    }

    fn marks(&self) -> Vec<f64> {
        let Range { start, end } = self.range;
        let span = end - start;
        let marks: Vec<f64> = if self.logarithmic {
            let (first, last) = (start.log10().floor() as i32, end.log10().ceil() as i32);
            let steps: &[f64] = match end / start {
                ratio if ratio < 8.0 => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
                ratio if ratio < 3_000.0 => &[1.0, 2.0, 5.0],
                _ => &[1.0],
            };
            (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power))).collect()
        } else {
            let rough = span / MARKS;
            let power = 10_f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|&step| step >= rough);
            let step = step.expect("ten times the power is more");
            ((start / step).ceil() as i64..=(end / step).floor() as i64).map(|mark| mark as f64 * step).collect()
        };
        marks.into_iter().filter(|mark| self.range.contains(mark)).collect()
    }
}

fn has_place(value: f64, logarithmic: bool) -> bool {
    value.is_finite() && (!logarithmic || value > 0.0)
}

impl From<Range<f64>> for Scale {
    fn from(range: Range<f64>) -> Self {
        Self { range, logarithmic: false }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let place = |value: f64| if self.logarithmic { value.ln() } else { value };
        let (start, end) = (place(self.range.start), place(self.range.end));
        let share = (place(*value) - start) / (end - start);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(values: [f64; 2], logarithmic: bool) -> Scale {
        Scale::around(values.into_iter(), logarithmic).unwrap()
    }

    #[test]
    fn every_range_has_marks_and_not_too_many() {
        for (least, most) in
            [(500.0, 510.0), (500.0, 500.0), (1.0, 7.0), (3.0, 90.0), (185.0, 1e5), (1.0, 1e7), (0.2, 3e6)]
        {
            for logarithmic in [true, false] {
                let marks = scale([least, most], logarithmic).marks();
                assert!((2..=12).contains(&marks.len()), "{least} {most} {logarithmic}: {marks:?}");
            }
        }
        assert_eq!(scale([3.0, 90.0], true).marks(), [5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(scale([3.0, 90.0], false).marks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
    }

    #[test]
    fn places_are_shares_of_the_axis_or_of_its_logarithm() {
        let linear = Scale { range: 0.0..100.0, logarithmic: false };
        let logarithmic = Scale { range: 1.0..10_000.0, logarithmic: true };
        assert_eq!((linear.map(&25.0, (0, 200)), logarithmic.map(&10.0, (0, 200))), (50, 50));
        assert_eq!(logarithmic.map(&100.0, (300, 100)), 200, "upwards on a screen");
        assert!(Scale::around([0.0, -1.0].into_iter(), true).is_none() && !logarithmic.holds(0.0) && linear.holds(0.0));
    }
}
