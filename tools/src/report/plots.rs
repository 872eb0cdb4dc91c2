//! Which plots a sweep has.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use naxos::loadgen::sweep::record::Sweep;
use naxos::loadgen::sweep::row::Row;
use naxos::loadgen::sweep::summary::PointRuns;

use super::plot::{Axis, COLOURS, Dot, Plot, Series, short, time};

const RATE: Axis = Axis { label: "appends/s", logarithmic: true, format: short };
const RATE_FROM_ZERO: Axis = Axis { logarithmic: false, ..RATE };
const P50: Axis = Axis { label: "p50 of an append", logarithmic: true, format: time };
const P99: Axis = Axis { label: "p99 of an append", ..P50 };
const LATENCY: Axis = Axis { label: "latency of an append", ..P50 };
const FLOOR: Axis = Axis { label: "floor of an append, p50", logarithmic: false, format: time };
const MINUTES: Axis =
    Axis { label: "minutes since the start", logarithmic: false, format: |value| format!("{value:.1}") };
/// The place of a percentile is how rare what lies beyond it is.
const RARITY: Axis = Axis { label: "percentile", logarithmic: true, format: percentile };

fn percentile(rarity: f64) -> String {
    let nines = (100.0 * (1.0 - 1.0 / rarity) * 1e5).round() / 1e5;
    format!("{nines} %")
}

/// What the points of one colour share, beside how load is offered.
pub(super) fn group(row: &Row) -> String {
    let shards = if row.shards == 1 { "1 shard".to_owned() } else { format!("{} shards", row.shards) };
    let nodes = if row.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", row.nodes) };
    format!("{nodes}, {shards}, {}, {} B", row.driver, row.record_bytes)
}

fn is_open(row: &Row) -> bool {
    row.inflight.is_none()
}

/// How load was offered, in a word.
pub(super) fn offer(row: &Row) -> String {
    match row.inflight {
        Some(inflight) => format!("{}×{inflight}", row.clients),
        None => format!("{} clients at {}", row.clients, row.rate),
    }
}

/// All plots, in the order of the page.
pub(super) fn plots(sweep: &Sweep) -> Vec<Plot> {
    let points = sweep.points();
    let mut plots = vec![
        throughput_against_latency("Throughput against p50", P50, |row| row.p50_us, &points),
        throughput_against_latency("Throughput against p99", P99, |row| row.p99_us, &points),
    ];
    plots.extend(percentile_curves(sweep, &points));
    plots.extend(scaling(&points));
    plots.push(drift(&sweep.rows));
    plots
}

fn throughput_against_latency(title: &str, y: Axis, latency: fn(&Row) -> Option<f64>, points: &[PointRuns]) -> Plot {
    let mut groups: BTreeMap<(String, bool), Vec<&PointRuns>> = BTreeMap::new();
    for point in points {
        groups.entry((group(point.first()), is_open(point.first()))).or_default().push(point);
    }
    let dot = |point: &&PointRuns| {
        let range = point.summary(latency)?;
        Some(Dot {
            x: point.median(|row| row.appends_per_s)?,
            y: range.median,
            range: Some((range.min, range.max)),
            label: if is_open(point.first()) { point.first().rate.clone() } else { offer(point.first()) },
        })
    };
    let series = groups.into_iter().map(|((name, open), points)| Series {
        name: if open { format!("{name}, open loop") } else { format!("{name}, clients×in flight") },
        chains: chains(&points).iter().map(|chain| chain.iter().filter_map(dot).collect()).collect(),
        marks: true,
    });
    // What has no valid run would be a colour without a dot.
    let series = series.filter(|series| series.chains.iter().any(|chain| !chain.is_empty())).collect();
    Plot { title: title.to_owned(), x: RATE, y, series }
}

/// Points that follow from each other: with the same clients and more in flight or at higher rates; of those that are alone so, with the
/// same in flight and more clients.
fn chains<'p>(points: &[&'p PointRuns]) -> Vec<Vec<&'p PointRuns>> {
    let by = |points: &[&'p PointRuns], key: fn(&Row) -> i64, order: fn(&PointRuns) -> f64| {
        let mut chains: BTreeMap<i64, Vec<&'p PointRuns>> = BTreeMap::new();
        points.iter().for_each(|point| chains.entry(key(point.first())).or_default().push(*point));
        chains.values_mut().for_each(|chain| chain.sort_by(|a, b| order(a).total_cmp(&order(b))));
        chains.into_values()
    };
    let order = |point: &PointRuns| match point.first().inflight {
        Some(inflight) => inflight as f64,
        None => point.median(|row| row.offered_per_s).unwrap_or(0.0),
    };
    let (long, alone): (Vec<_>, Vec<_>) = by(points, |row| row.clients, order).partition(|chain| chain.len() > 1);
    let alone: Vec<_> = alone.into_iter().flatten().collect();
    let rest = by(&alone, |row| row.inflight.unwrap_or(-1), |point| point.first().clients as f64);
    long.into_iter().chain(rest).collect()
}

/// The curves of all valid runs of each point, a plot for each group and as many as there are colours.
fn percentile_curves(sweep: &Sweep, points: &[PointRuns]) -> Vec<Plot> {
    let mut groups: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    for point in points {
        let Some(chain) = curve(sweep, point) else { continue };
        let series = Series { name: offer(point.first()), chains: vec![chain], marks: false };
        groups.entry(group(point.first())).or_default().push(series);
    }
    let plot = |name: &str, series: &[Series]| Plot {
        title: format!("Percentiles: {name}"),
        x: RARITY,
        y: LATENCY,
        series: series.to_vec(),
    };
    groups.iter().flat_map(|(name, series)| series.chunks(COLOURS.len()).map(move |part| plot(name, part))).collect()
}

/// Percentiles as far as the samples reach. Histograms are added, percentiles never averaged.
fn curve(sweep: &Sweep, point: &PointRuns) -> Option<Vec<Dot>> {
    let intervals = sweep.intervals.get(&point.first().point)?;
    let valid = |repeat: u32| point.valid().any(|row| row.repeat == repeat);
    let mut all: Option<Histogram<u64>> = None;
    for interval in intervals.iter().filter(|interval| valid(interval.repeat)) {
        match &mut all {
            None => all = Some(interval.latency.clone()),
            Some(all) => all.add(&interval.latency).ok()?,
        }
    }
    let all = all.filter(|all| !all.is_empty())?;
    let steps = ((all.len() as f64).log10() * 10.0).floor() as i32;
    let dot = |step: i32| {
        let rarity = 10_f64.powf(f64::from(step) / 10.0);
        let y = all.value_at_quantile(1.0 - 1.0 / rarity) as f64 / 1e3;
        Dot { x: rarity, y, range: None, label: String::new() }
    };
    Some((0..=steps).map(dot).collect())
}

/// A parameter of a point.
type Parameter = (&'static str, fn(&Row) -> i64);

const PARAMETERS: [Parameter; 5] = [
    ("clients", |row| row.clients),
    ("appends in flight of each client", |row| row.inflight.unwrap_or(0)),
    ("nodes", |row| row.nodes),
    ("shards of each node", |row| row.shards),
    ("bytes of a record", |row| row.record_bytes),
];

/// Throughput of closed loops over each parameter, where all others stay the same.
fn scaling(points: &[PointRuns]) -> Vec<Plot> {
    let plot = |(over, (label, parameter)): (usize, Parameter)| {
        let mut lines: BTreeMap<String, Vec<Dot>> = BTreeMap::new();
        for point in points.iter().filter(|point| !is_open(point.first())) {
            let Some(rate) = point.summary(|row| row.appends_per_s) else { continue };
            let row = point.first();
            let others = PARAMETERS.iter().enumerate().filter(|(index, _)| *index != over);
            let name = others.map(|(_, (label, value))| format!("{} {label}", value(row))).collect::<Vec<_>>();
            lines.entry(format!("{}, {}", name.join(", "), row.driver)).or_default().push(Dot {
                x: parameter(row) as f64,
                y: rate.median,
                range: Some((rate.min, rate.max)),
                label: parameter(row).to_string(),
            });
        }
        lines.retain(|_, dots| dots.len() > 1);
        lines.values_mut().for_each(|dots| dots.sort_by(|a, b| a.x.total_cmp(&b.x)));
        let series = lines.into_iter().map(|(name, chain)| Series { name, chains: vec![chain], marks: true });
        let x = Axis { label, logarithmic: true, format: short };
        Plot { title: format!("Throughput over {label}"), x, y: RATE_FROM_ZERO, series: series.collect() }
    };
    PARAMETERS.into_iter().enumerate().map(plot).filter(|plot| !plot.series.is_empty()).collect()
}

/// The floor before each run: what moves here moves everything.
fn drift(rows: &[Row]) -> Plot {
    let mut nodes: BTreeMap<i64, Vec<Dot>> = BTreeMap::new();
    for row in rows {
        let Some(y) = row.floor_append_p50_us else { continue };
        nodes.entry(row.nodes).or_default().push(Dot { x: row.started_s / 60.0, y, range: None, label: String::new() });
    }
    let series = nodes.into_iter().map(|(nodes, chain)| Series {
        name: format!("{nodes} copies"),
        chains: vec![chain],
        marks: true,
    });
    Plot { title: "The floor over the sweep".to_owned(), x: MINUTES, y: FLOOR, series: series.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(clients: i64, inflight: i64, rate: f64) -> PointRuns {
        let point = format!("{clients}-{inflight}");
        let row =
            Row { point, clients, inflight: Some(inflight), valid: true, appends_per_s: Some(rate), ..Row::default() };
        PointRuns { rows: vec![row] }
    }

    #[test]
    fn chains_join_what_follows_from_each_other() {
        let points = [point(4, 256, 1.0), point(64, 1, 1.0), point(4, 16, 1.0), point(16, 1, 1.0), point(2, 7, 1.0)];
        let refs: Vec<_> = points.iter().collect();
        let names = |chain: &Vec<&PointRuns>| chain.iter().map(|point| point.first().point.clone()).collect::<Vec<_>>();
        let chains: Vec<_> = chains(&refs).iter().map(names).collect();
        assert_eq!(chains, [vec!["4-16", "4-256"], vec!["16-1", "64-1"], vec!["2-7"]]);
    }

    #[test]
    fn a_kind_of_load_without_a_valid_run_has_no_colour() {
        let open = PointRuns { rows: vec![Row { valid: false, rate: "5".to_owned(), ..Row::default() }] };
        let closed = point(4, 16, 9.0);
        let closed = PointRuns { rows: vec![Row { p50_us: Some(1.0), ..closed.rows[0].clone() }] };
        let plot = throughput_against_latency("", P50, |row| row.p50_us, &[open, closed]);
        assert_eq!(
            plot.series.iter().map(|series| series.name.ends_with("clients×in flight")).collect::<Vec<_>>(),
            [true]
        );
    }

    #[test]
    fn scaling_is_over_what_changes_alone() {
        let points = [point(1, 1, 10.0), point(64, 1, 90.0), point(4, 16, 50.0)];
        let plots = scaling(&points);
        assert_eq!(plots.len(), 1);
        assert_eq!(plots[0].title, "Throughput over clients");
        assert_eq!(plots[0].series[0].chains[0].iter().map(|dot| dot.y).collect::<Vec<_>>(), [10.0, 90.0]);
    }

    #[test]
    fn percentiles_have_their_names() {
        assert_eq!([1.0, 2.0, 10.0, 1000.0, 1e5].map(percentile), ["0 %", "50 %", "90 %", "99.9 %", "99.999 %"]);
    }
}
