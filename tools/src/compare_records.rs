//! Two sweeps beside each other: what differs by more than chance, and what else differs.

use std::path::Path;

use anyhow::{Context, bail};
use naxos::loadgen::explain::{count, micros};
use naxos::loadgen::paired::Paired;
use naxos::loadgen::sweep::manifest::Manifest;
use naxos::loadgen::sweep::matrix::Matrix;
use naxos::loadgen::sweep::record::Sweep;
use naxos::loadgen::sweep::row::Row;
use naxos::loadgen::sweep::summary::{PointRuns, Summary};
use serde::Serialize;

/// Valid runs of each side below which nothing is said: of three runs on each side, one side is wholly above the other by chance in one
/// comparison of ten, of four in one of thirty-five.
const REPEATS_MIN: usize = 4;

/// A number that is compared.
struct Number {
    name: &'static str,
    of: fn(&Row) -> Option<f64>,
    more_is_better: bool,
    show: fn(f64) -> String,
}

const NUMBERS: [Number; 3] = [
    Number { name: "appends_per_s", of: |row| row.appends_per_s, more_is_better: true, show: count },
    Number { name: "p50_us", of: |row| row.p50_us, more_is_better: false, show: micros },
    Number { name: "p99_us", of: |row| row.p99_us, more_is_better: false, show: micros },
];

const FLOOR: Number =
    Number { name: "floor_append_p50_us", of: |row| row.floor_append_p50_us, more_is_better: false, show: micros };

/// What the runs say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// By more than chance.
    Better,
    /// By more than chance.
    Worse,
    /// Chance could have done it.
    NoDifference,
    /// Fewer than [`REPEATS_MIN`] valid runs on one side.
    TooFewRuns,
}

/// One number of one point.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) point: String,
    pub(crate) number: &'static str,
    /// Median of the first record.
    pub(crate) base: f64,
    /// Median of the second.
    pub(crate) other: f64,
    /// `other / base`, and what holds it in 95 of 100 cases.
    pub(crate) ratio: f64,
    pub(crate) ratio_ci95: [f64; 2],
    pub(crate) verdict: Verdict,
    #[serde(skip)]
    show: fn(f64) -> String,
}

/// Everything that there is to say.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    schema: u32,
    bench: &'static str,
    base: String,
    other: String,
    /// What differs beside the program: a ratio is then not the program's alone.
    differences: Vec<String>,
    /// The machine itself, as the floor shows it.
    floor: Vec<Line>,
    pub(crate) lines: Vec<Line>,
    only_in_base: Vec<String>,
    only_in_other: Vec<String>,
}

/// Compares two sweeps.
///
/// # Errors
/// One cannot be read, or they have no point in common.
pub(crate) fn compare(base: &Path, other: &Path) -> anyhow::Result<Comparison> {
    let read = |path: &Path| Sweep::read(path).with_context(|| format!("{} is no sweep", path.display()));
    let (base, other) = (read(base)?, read(other)?);
    let (of_base, of_other) = (base.points(), other.points());
    let find = |points: &[PointRuns], name: &str| points.iter().position(|point| point.first().point == name);
    let names = |points: &[PointRuns], others: &[PointRuns]| -> Vec<String> {
        let names = points.iter().map(|point| point.first().point.clone());
        names.filter(|name| find(others, name).is_none()).collect()
    };
    let mut differences = differences(&base.manifest, &other.manifest);
    let mut lines = Vec::new();
    let mut common = 0;
    for point in &of_base {
        let name = &point.first().point;
        let Some(index) = find(&of_other, name) else { continue };
        common += 1;
        let (ours, theirs) = (point, &of_other[index]);
        let offered = |point: &PointRuns| point.median(|row| row.offered_per_s);
        if let (Some(before), Some(after)) = (offered(ours), offered(theirs))
            && before != after
        {
            differences.push(format!("{name}: {before} and {after} appends/s were offered"));
        }
        // An open loop does what it is offered.
        let numbers = NUMBERS.iter().filter(|number| !number.more_is_better || ours.first().inflight.is_some());
        lines.extend(numbers.filter_map(|number| {
            line(name, number, ours.valid().filter_map(number.of), theirs.valid().filter_map(number.of))
        }));
    }
    if common == 0 {
        bail!("{} and {} have no point in common", base.directory.display(), other.directory.display());
    }
    let floors = |rows: &[Row], nodes: i64| -> Vec<f64> {
        rows.iter().filter(|row| row.nodes == nodes).filter_map(FLOOR.of).collect()
    };
    let floor = base.manifest.drift.iter().filter_map(|drift| {
        let (before, after) = (floors(&base.rows, drift.nodes), floors(&other.rows, drift.nodes));
        line(&format!("{} copies", drift.nodes), &FLOOR, before.into_iter(), after.into_iter())
    });
    let floor: Vec<Line> = floor.collect();
    for line in floor.iter().filter(|line| matches!(line.verdict, Verdict::Better | Verdict::Worse)) {
        differences.push(format!(
            "the floor of {} is x {:.3}: the machine itself, or its disk, was {} at the second time",
            line.point,
            line.ratio,
            if line.verdict == Verdict::Better { "faster" } else { "slower" }
        ));
    }
    Ok(Comparison {
        schema: 1,
        bench: "compare-records",
        base: base.directory.display().to_string(),
        other: other.directory.display().to_string(),
        differences,
        floor,
        lines,
        only_in_base: names(&of_base, &of_other),
        only_in_other: names(&of_other, &of_base),
    })
}

fn line(
    point: &str,
    number: &Number,
    base: impl Iterator<Item = f64>,
    other: impl Iterator<Item = f64>,
) -> Option<Line> {
    let (base, other): (Vec<f64>, Vec<f64>) = (base.collect(), other.collect());
    let ratio = Paired::ratio_of_medians(&other, &base)?;
    let [least, most] = ratio.ci95;
    let verdict = if base.len().min(other.len()) < REPEATS_MIN {
        Verdict::TooFewRuns
    } else if least <= 1.0 && most >= 1.0 {
        Verdict::NoDifference
    } else if (least > 1.0) == number.more_is_better {
        Verdict::Better
    } else {
        Verdict::Worse
    };
    let Paired { median: ratio, ci95 } = ratio.rounded();
    Some(Line {
        point: point.to_owned(),
        number: number.name,
        base: Summary::of(base)?.median,
        other: Summary::of(other)?.median,
        ratio,
        ratio_ci95: ci95,
        verdict,
        show: number.show,
    })
}

/// What is not the program's, and differs.
fn differences(base: &Manifest, other: &Manifest) -> Vec<String> {
    let facts = |manifest: &Manifest| {
        let Manifest { machine, host, .. } = manifest;
        let cores = match &manifest.cores {
            Some(cores) => format!("load on {}, nodes on {}", cores.load, cores.nodes),
            None => "all, shared".to_owned(),
        };
        let times = match Matrix::parse(&manifest.matrix) {
            Ok(matrix) => format!("{} s after {} s", matrix.seconds, matrix.warm_up),
            Err(_) => "unknown".to_owned(),
        };
        [
            ("processor", machine.cpu.clone()),
            ("number of cores", machine.cores.to_string()),
            ("kernel", machine.kernel.clone()),
            ("disk", machine.disk.clone()),
            ("write cache", machine.write_cache.clone()),
            ("driver", manifest.drivers.join(", ")),
            ("durability", manifest.durability.clone()),
            ("build", manifest.build.clone()),
            ("governor", host.governor.clone()),
            ("frequency boost", host.boost.clone()),
            ("clock", host.clock_source.clone()),
            ("setting of huge pages", host.transparent_hugepages.clone()),
            ("choice of cores", cores),
            ("measured time", times),
        ]
    };
    let all = facts(base).into_iter().zip(facts(other)).map(|((what, before), (_, after))| (what, before, after));
    let mut differences: Vec<_> = all
        .filter(|(_, before, after)| before != after)
        .map(|(what, before, after)| format!("another {what}: {before} and {after}"))
        .collect();
    for (manifest, which) in [(base, "first"), (other, "second")] {
        if !manifest.complete {
            differences.push(format!("the {which} is incomplete: {} of {} runs", manifest.runs_done, manifest.runs));
        }
    }
    differences
}

impl Comparison {
    /// Whether a number of a point has become worse by more than chance.
    pub(crate) fn has_worse(&self) -> bool {
        self.lines.iter().any(|line| line.verdict == Verdict::Worse)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![format!("first:  {}", self.base), format!("second: {}", self.other)];
        lines.extend(self.differences.iter().map(|difference| format!("WARNING: {difference}")));
        let all: Vec<_> = self.floor.iter().chain(&self.lines).collect();
        let width = all.iter().map(|line| line.point.len()).max().unwrap_or(0);
        lines.extend(all.iter().map(|line| line.text(width)));
        for (points, which) in [(&self.only_in_base, "first"), (&self.only_in_other, "second")] {
            lines.extend(points.iter().map(|point| format!("only in the {which}: {point}")));
        }
        let decided = |verdict| self.lines.iter().filter(|line| line.verdict == verdict).count();
        lines.push(format!(
            "{} better, {} worse, {} without a difference, {} with fewer than {REPEATS_MIN} valid runs on a side; of numbers that are the \
             same, some 5 in 100 look different by chance",
            decided(Verdict::Better),
            decided(Verdict::Worse),
            decided(Verdict::NoDifference),
            decided(Verdict::TooFewRuns)
        ));
        lines.join("\n")
    }
}

impl Line {
    fn text(&self, width: usize) -> String {
        let percent = (self.ratio - 1.0).abs() * 100.0;
        let verdict = match self.verdict {
            Verdict::Better => format!("BETTER by {percent:.1} %"),
            Verdict::Worse => format!("WORSE by {percent:.1} %"),
            Verdict::NoDifference => "no difference".to_owned(),
            Verdict::TooFewRuns => "too few runs to say".to_owned(),
        };
        let [least, most] = self.ratio_ci95;
        format!(
            "{:width$}  {:19}  {:>9} -> {:>9}  x {:.3} ({least:.3} to {most:.3})  {verdict}",
            self.point,
            self.number,
            (self.show)(self.base),
            (self.show)(self.other),
            self.ratio
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: &Number = &NUMBERS[0];
    const P50: &Number = &NUMBERS[1];

    fn verdict(number: &Number, base: &[f64], other: &[f64]) -> Verdict {
        line("p", number, base.iter().copied(), other.iter().copied()).unwrap().verdict
    }

    #[test]
    fn more_throughput_is_better_and_more_latency_is_worse() {
        let (one, more) = ([100.0, 101.0, 99.0, 100.5, 99.5], [110.0, 111.0, 109.0, 110.5, 109.5]);
        assert_eq!(verdict(RATE, &one, &more), Verdict::Better);
        assert_eq!(verdict(RATE, &more, &one), Verdict::Worse);
        assert_eq!(verdict(P50, &one, &more), Verdict::Worse);
        assert_eq!(verdict(P50, &one, &one), Verdict::NoDifference);
        assert_eq!(verdict(P50, &one[..3], &more), Verdict::TooFewRuns);
    }

    /// Runs that differ by noise alone, many times: the interval is as wide as it says, or nearly.
    #[test]
    fn what_is_the_same_rarely_looks_different() {
        let mut random = naxos::base::Rng::with_seed(7);
        for repeats in [4, 5, 10] {
            let mut wrong = 0;
            for _ in 0..100 {
                // The sum of four is nearly normal.
                let mut run = || 100.0 + (0..4).map(|_| random.f64()).sum::<f64>();
                let (one, same): (Vec<_>, Vec<_>) = (0..repeats).map(|_| (run(), run())).unzip();
                wrong += usize::from(verdict(RATE, &one, &same) != Verdict::NoDifference);
            }

            assert!(wrong <= 10, "{repeats} repeats: {wrong} of 100");
        }
    }
}
