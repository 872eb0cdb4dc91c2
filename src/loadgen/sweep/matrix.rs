//! What a sweep measures: a TOML file of lists, every combination of which is a point.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// Values of one list.
const VALUES_MAX: usize = 64;
/// Points of a matrix.
const POINTS_MAX: usize = 1_000;
/// Runs of each point.
const REPEATS_MAX: u32 = 100;
/// Load of the whole sweep: a week. What takes longer was meant otherwise.
const SECONDS_MAX: f64 = 7.0 * 86_400.0;
/// Beyond this a share of the peak says nothing but that it is too much.
const SHARE_MAX: f64 = 2.0;

/// A matrix that can be run.
#[derive(Clone, PartialEq, Debug)]
pub struct Matrix {
    /// Measured time of each run.
    pub seconds: f64,
    /// Load before it.
    pub warm_up: f64,
    /// Runs of each point.
    pub repeats: u32,
    /// Journal bytes of each node to prepare before a load, instead of an estimate.
    pub prepare_bytes: Option<i64>,
    /// Whether the thread that makes the appends of an open loop has real-time priority.
    pub realtime: bool,
    /// What is measured; an open loop at a share of a peak comes behind the loads that find the peak.
    pub points: Vec<Point>,
}

/// The rate of an open loop.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rate {
    /// Appends a second.
    Fixed(f64),
    /// A share of what the closed loops of the same group have reached in the first repeat.
    OfPeak(f64),
}

/// How load is offered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Offer {
    /// So many appends in flight on each connection.
    Inflight(i64),
    /// Appends at fixed times.
    Rate(Rate),
}

/// One combination.
#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    /// Nodes of the cluster.
    pub nodes: i64,
    /// Shards of each.
    pub shards: i64,
    /// I/O driver, as asked for.
    pub driver: String,
    /// Of every record.
    pub record_bytes: i64,
    /// Connections.
    pub clients: i64,
    /// How load is offered.
    pub offer: Offer,
}

/// Why a matrix cannot be run, with the place in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MatrixError(String);

fn refuse<T>(why: impl Into<String>) -> Result<T, MatrixError> {
    Err(MatrixError(why.into()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "four")]
    seconds: f64,
    #[serde(default = "one")]
    warm_up: f64,
    #[serde(default = "five")]
    repeats: i64,
    prepare_bytes: Option<i64>,
    #[serde(default)]
    realtime: bool,
    #[serde(default)]
    load: Vec<Block>,
}

fn four() -> f64 {
    4.0
}

fn one() -> f64 {
    1.0
}

fn five() -> i64 {
    5
}

/// A `[[load]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    #[serde(default = "three_nodes")]
    nodes: Vec<i64>,
    #[serde(default = "one_shard")]
    shards: Vec<i64>,
    #[serde(default = "auto")]
    drivers: Vec<String>,
    #[serde(default = "hundred_bytes")]
    record_bytes: Vec<i64>,
    #[serde(default = "four_clients")]
    clients: Vec<i64>,
    inflight: Option<Vec<i64>>,
    rates: Option<Vec<Rate>>,
}

fn three_nodes() -> Vec<i64> {
    vec![3]
}

fn one_shard() -> Vec<i64> {
    vec![1]
}

fn auto() -> Vec<String> {
    vec!["auto".to_owned()]
}

fn hundred_bytes() -> Vec<i64> {
    vec![100]
}

fn four_clients() -> Vec<i64> {
    vec![4]
}

impl Matrix {
    /// Reads a matrix, and refuses one that cannot be run. The bounds of single values are those of `bench append`, and are checked
    /// where its arguments are.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, MatrixError> {
        let file: File = toml::from_str(text).map_err(|error| MatrixError(error.to_string().trim_end().to_owned()))?;
        let repeats = match u32::try_from(file.repeats) {
            Ok(repeats @ 1..=REPEATS_MAX) => repeats,
            _ => return refuse(format!("repeats = {}: it is from 1 to {REPEATS_MAX}", file.repeats)),
        };
        for (name, value, least) in [("seconds", file.seconds, 0.1), ("warm_up", file.warm_up, 0.01)] {
            if !(least..=86_400.0).contains(&value) {
                return refuse(format!("{name} = {value}: it is from {least} to 86400"));
            }
        }
        if file.load.is_empty() {
            return refuse("there is no [[load]], so nothing to measure");
        }
        let mut points = Vec::new();
        for (index, block) in file.load.iter().enumerate() {
            block
                .points(&mut points)
                .map_err(|error| MatrixError(format!("[[load]] number {}: {error}", index + 1)))?;
        }
        let mut names = BTreeSet::new();
        for point in &points {
            if !names.insert(point.name()) {
                return refuse(format!("{} is there twice, in two [[load]]s", point.name()));
            }
        }
        // Stable, so that within each kind the order is the file's.
        points.sort_by_key(|point| matches!(point.offer, Offer::Rate(Rate::OfPeak(_))));
        let File { seconds, warm_up, prepare_bytes, realtime, .. } = file;
        let matrix = Self { seconds, warm_up, repeats, prepare_bytes, realtime, points };
        if matrix.points.len() > POINTS_MAX {
            return refuse(format!("{} points are too many: at most {POINTS_MAX}", matrix.points.len()));
        }
        if matrix.load_seconds() > SECONDS_MAX {
            return refuse(format!(
                "{} points, {repeats} times, are {:.0} hours of load: at most a week",
                matrix.points.len(),
                matrix.load_seconds() / 3600.0
            ));
        }
        Ok(matrix)
    }

    /// Runs of the whole sweep.
    pub fn runs(&self) -> usize {
        self.points.len() * self.repeats as usize
    }

    /// Load of the whole sweep, without what is around it: the floor, the nodes' start, preparing, reading back.
    pub fn load_seconds(&self) -> f64 {
        self.runs() as f64 * (self.seconds + self.warm_up)
    }
}

impl Block {
    /// Adds every combination.
    fn points(&self, points: &mut Vec<Point>) -> Result<(), MatrixError> {
        list("nodes", &self.nodes)?;
        list("shards", &self.shards)?;
        list("drivers", &self.drivers)?;
        list("record_bytes", &self.record_bytes)?;
        list("clients", &self.clients)?;
        let default = if self.rates.is_none() { vec![4096] } else { Vec::new() };
        let inflight = self.inflight.as_ref().unwrap_or(&default);
        if self.inflight.is_some() {
            list("inflight", inflight)?;
        }
        let rates = self.rates.as_deref().unwrap_or_default();
        if self.rates.is_some() {
            list("rates", rates)?;
        }
        if inflight.is_empty()
            && let Some(share) = rates.iter().find(|rate| matches!(rate, Rate::OfPeak(_)))
        {
            return refuse(format!("rates has \"{share}\", and there is no peak to take it of: give inflight as well"));
        }
        let offers: Vec<_> =
            inflight.iter().map(|&n| Offer::Inflight(n)).chain(rates.iter().map(|&r| Offer::Rate(r))).collect();
        // Before they are made: a small file can ask for very many.
        let lists = [self.nodes.len(), self.shards.len(), self.drivers.len(), self.record_bytes.len()];
        let count = lists.iter().product::<usize>() * self.clients.len() * offers.len();
        if count > POINTS_MAX {
            return refuse(format!("{count} points are too many: at most {POINTS_MAX}"));
        }
        for (&nodes, &shards, driver) in product(&self.nodes, &self.shards, &self.drivers) {
            for (&record_bytes, &clients, &offer) in product(&self.record_bytes, &self.clients, &offers) {
                points.push(Point { nodes, shards, driver: driver.clone(), record_bytes, clients, offer });
            }
        }
        Ok(())
    }
}

fn product<'a, A, B, C>(a: &'a [A], b: &'a [B], c: &'a [C]) -> impl Iterator<Item = (&'a A, &'a B, &'a C)> {
    a.iter().flat_map(move |a| b.iter().flat_map(move |b| c.iter().map(move |c| (a, b, c))))
}

/// A list has something in it, nothing twice, and not too much.
fn list<T: PartialEq + fmt::Display>(name: &str, values: &[T]) -> Result<(), MatrixError> {
    if values.is_empty() {
        return refuse(format!("{name} is an empty list; leave it out for the default"));
    }
    if values.len() > VALUES_MAX {
        return refuse(format!("{name} has {} values: at most {VALUES_MAX}", values.len()));
    }
    match values.iter().enumerate().find(|(index, value)| values[..*index].contains(value)) {
        Some((_, twice)) => refuse(format!("{name} has {twice} twice")),
        None => Ok(()),
    }
}

impl Point {
    /// Short and unique: it is the name of a file, and by it the points of two sweeps are matched.
    pub fn name(&self) -> String {
        let Self { nodes, shards, driver, record_bytes, clients, offer } = self;
        let offer = match offer {
            Offer::Inflight(inflight) => format!("{inflight}-in-flight"),
            Offer::Rate(Rate::Fixed(rate)) => format!("{rate}-per-s"),
            Offer::Rate(Rate::OfPeak(share)) => format!("{}pct-of-peak", percent(*share)),
        };
        format!("{nodes}-nodes-{shards}-shards-{driver}-{record_bytes}b-{clients}-clients-{offer}")
    }

    /// What the points have in common whose peak a share is taken of.
    pub fn group(&self) -> (i64, i64, &str, i64) {
        (self.nodes, self.shards, &self.driver, self.record_bytes)
    }

    /// The arguments of the `bench append` that is one run of this point. `offered` is the rate of an open loop at a share of the peak;
    /// without one the arguments are of a closed loop.
    pub fn arguments(&self, matrix: &Matrix, offered: Option<f64>) -> Vec<String> {
        let mut arguments = vec![
            format!("--nodes={}", self.nodes),
            format!("--shards={}", self.shards),
            format!("--driver={}", self.driver),
            format!("--record-bytes={}", self.record_bytes),
            format!("--clients={}", self.clients),
            format!("--seconds={}", matrix.seconds),
            format!("--warm-up={}", matrix.warm_up),
        ];
        arguments.extend(matrix.prepare_bytes.map(|bytes| format!("--prepare-bytes={bytes}")));
        match (self.offer, offered) {
            (Offer::Inflight(inflight), _) => arguments.push(format!("--inflight={inflight}")),
            (Offer::Rate(Rate::Fixed(rate)), _) | (Offer::Rate(Rate::OfPeak(_)), Some(rate)) => {
                arguments.push(format!("--rate={rate}"));
                arguments.extend(matrix.realtime.then(|| "--realtime".to_owned()));
            }
            (Offer::Rate(Rate::OfPeak(_)), None) => {}
        }
        arguments
    }
}

/// Without the dust of binary fractions.
fn percent(share: f64) -> f64 {
    (share * 1e4).round() / 1e2
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(rate) => write!(f, "{rate}"),
            Self::OfPeak(share) => write!(f, "{}% of the peak", percent(*share)),
        }
    }
}

impl Rate {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("rate \"{text}\": it is a number of appends a second, or a share such as \"50% of the peak\"");
        let share = text.trim().strip_suffix("of the peak").ok_or_else(wrong)?.trim();
        let share = match share.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0,
            None if share == "half" => 0.5,
            None => return Err(wrong()),
        };
        if share > 0.0 && share <= SHARE_MAX {
            Ok(Self::OfPeak(share))
        } else {
            Err(format!("rate \"{text}\": a share is above 0 % and at most {} %", SHARE_MAX * 100.0))
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RateVisitor;
        impl Visitor<'_> for RateVisitor {
            type Value = Rate;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of appends a second, or a share such as \"50% of the peak\"")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Rate, E> {
                Ok(Rate::Fixed(value as f64))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Rate, E> {
                Ok(Rate::Fixed(value))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
                Rate::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(RateVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Matrix::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_combination_is_a_point() {
        let matrix = Matrix::parse(
            "repeats = 2\nseconds = 0.3\n[[load]]\nclients = [1, 64]\ninflight = [1, 16]\nrates = [\"half of the peak\", 500]\n\
             [[load]]\nclients = [2]",
        )
        .unwrap();
        let names: Vec<_> = matrix.points.iter().map(Point::name).collect();
        let point = |end: &str| format!("3-nodes-1-shards-auto-100b-{end}");
        assert_eq!(
            names,
            [
                "1-clients-1-in-flight",
                "1-clients-16-in-flight",
                "1-clients-500-per-s",
                "64-clients-1-in-flight",
                "64-clients-16-in-flight",
                "64-clients-500-per-s",
                "2-clients-4096-in-flight",
                "1-clients-50pct-of-peak",
                "64-clients-50pct-of-peak",
            ]
            .map(point)
        );
        assert_eq!(matrix.runs(), 18);
        let arguments = matrix.points[2].arguments(&matrix, None);
        assert!(arguments.contains(&"--rate=500".to_owned()) && arguments.contains(&"--seconds=0.3".to_owned()));
        assert!(matrix.points[7].arguments(&matrix, Some(12.5)).contains(&"--rate=12.5".to_owned()));
        assert!(!matrix.points[0].arguments(&matrix, None).iter().any(|argument| argument.contains("rate")));
    }

    #[test]
    fn unknown_fields_are_named_with_their_line() {
        let unknown = error("repeats = 2\n[[load]]\nclient = [1]");
        assert!(
            unknown.contains("`client`") && unknown.contains("line 3") && unknown.contains("`clients`"),
            "{unknown}"
        );
        assert!(error("repeat = 2\n[[load]]").contains("`repeat`"));
    }

    #[test]
    fn matrices_that_cannot_be_are_refused_with_the_place() {
        for (text, words) in [
            ("", "no [[load]]"),
            ("repeats = 0\n[[load]]", "repeats = 0"),
            ("repeats = 101\n[[load]]", "1 to 100"),
            ("seconds = 0\n[[load]]", "seconds = 0"),
            ("seconds = nan\n[[load]]", "seconds"),
            ("[[load]]\nclients = []", "number 1: clients is an empty list"),
            ("[[load]]\n[[load]]\ninflight = []", "number 2: inflight is an empty list"),
            ("[[load]]\nclients = [2, 4, 2]", "clients has 2 twice"),
            ("[[load]]\n[[load]]", "is there twice"),
            ("[[load]]\nrates = [\"50% of the peak\"]", "no peak"),
            ("[[load]]\nrates = [\"fast\"]", "\"fast\""),
            ("[[load]]\nrates = [\"0% of the peak\"]", "above 0 %"),
            ("[[load]]\nclients = \"four\"", "line 2"),
            ("seconds = 80000\nrepeats = 100\n[[load]]", "at most a week"),
            ("[[load", "line 1"),
        ] {
            let error = error(text);
            assert!(error.contains(words), "{text}: {error}");
        }
        let many: Vec<_> = (1..=64).map(|n| n.to_string()).collect();
        let many = many.join(",");
        assert!(
            error(&format!("[[load]]\nclients = [{many}]\ninflight = [{many}]")).contains("4096 points are too many")
        );
        assert!(error(&format!("[[load]]\nclients = [{many},65]")).contains("65 values"));
    }
}
