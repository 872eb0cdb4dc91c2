//! The runs of each point taken together.

use std::collections::BTreeMap;

use super::row::Row;

/// The middle of some runs, and how far they are apart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Summary {
    /// Of an even number, the mean of the two in the middle.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

impl Summary {
    /// Of these; none of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        Some(Self { median: median_of_sorted(&sorted), min, max })
    }

    /// `(max - min) / median`; zero where everything is.
    pub fn spread(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / self.median }
    }
}

/// The median of values in ascending order, of which there is one.
pub fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// All runs of one point.
#[derive(Clone, PartialEq, Debug)]
pub struct PointRuns {
    /// In the order of time; all have the same parameters.
    pub rows: Vec<Row>,
}

impl PointRuns {
    /// Groups rows by their points, in the order in which those first come.
    pub fn group(rows: &[Row]) -> Vec<Self> {
        let (mut places, mut groups) = (BTreeMap::new(), Vec::<Self>::new());
        for row in rows {
            let place = *places.entry(&row.point).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Self { rows: Vec::new() });
            }
            groups[place].rows.push(row.clone());
        }
        groups
    }

    /// The parameters, as the first run has them.
    pub fn first(&self) -> &Row {
        &self.rows[0]
    }

    /// The runs whose numbers mean something.
    pub fn valid(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.valid)
    }

    /// Of a number of the valid runs.
    pub fn summary(&self, number: impl Fn(&Row) -> Option<f64>) -> Option<Summary> {
        Summary::of(self.valid().filter_map(number))
    }

    /// The median of a number of the valid runs.
    pub fn median(&self, number: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
        Some(self.summary(number)?.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_middle_and_both_ends() {
        assert_eq!(Summary::of([3.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Summary::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Summary::of([3.0, 1.0, 2.0]).unwrap().spread(), 1.0);
        assert_eq!(Summary::of([]), None);
    }

    #[test]
    fn only_valid_runs_count() {
        let row = |point: &str, valid, rate| Row {
            point: point.to_owned(),
            valid,
            appends_per_s: Some(rate),
            ..Row::default()
        };
        let rows = [row("b", true, 1.0), row("a", true, 10.0), row("b", false, 100.0), row("b", true, 3.0)];
        let groups = PointRuns::group(&rows);
        assert_eq!(groups.iter().map(|group| group.rows.len()).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(groups[0].median(|row| row.appends_per_s), Some(2.0));
    }
}
