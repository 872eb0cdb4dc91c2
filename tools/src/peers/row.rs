//! A row of the comparison: what one system does in one shape, as a JSON object or a line of a table.

use serde::Serialize;
use serde_json::Value;

use super::options::Shape;

/// Field meanings are those of the printed names; times are microseconds, null is unknown or not applicable. The values at
/// the top are those of one round, the median; `rounds` has them of all.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// 1.
    pub(super) schema: u32,
    /// `peers`.
    pub(super) bench: &'static str,
    pub(super) system: &'static str,
    pub(super) version: String,
    /// What an acknowledgement means: `quorum-dsync` and `quorum-fsync`, on the disks of a majority; `fsync`, on one disk;
    /// `quorum-page-cache`, in the memory of a majority.
    pub(super) durability: String,
    /// Of every record.
    pub(super) copies: usize,
    #[serde(serialize_with = "name")]
    pub(super) shape: Shape,
    pub(super) record_bytes: usize,
    /// Acknowledged in the measured time.
    pub(super) appends_per_s: f64,
    /// Of an open loop, from the time at which an append was due.
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Of as many copies, measured just before.
    pub(super) floor_us: Value,
    /// False when an append failed, the verification did, or less was appended than offered, in any round.
    pub(super) valid: bool,
    /// Why it is not.
    pub(super) problem: Option<String>,
    /// Everything that was appended, warm-up included, read back and compared.
    pub(super) verified: Value,
    /// Appends that failed.
    pub(super) failed: u64,
    /// Why the first of them did.
    pub(super) first_error: Option<String>,
    /// The rate of an open loop.
    pub(super) offered_per_s: Option<f64>,
    /// 99th percentile of how late the load took up the appends of an open loop; it is part of their latency.
    pub(super) client_lag_us: Option<f64>,
    pub(super) seconds: f64,
    pub(super) warm_up_seconds: f64,
    pub(super) settings: Settings,
    pub(super) note: &'static str,
    /// Processor time of the load's own process, in processors.
    pub(super) client_cpus: Option<f64>,
    pub(super) rounds: Vec<Round>,
    pub(super) spread: Option<Spread>,
    pub(super) machine: Value,
    /// The command that has measured it.
    pub(super) run: String,
    /// Of the checkout that the program lies in; of a row of Naxos, of the one that `naxos` lies in.
    pub(super) commit: Option<String>,
}

/// How it was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Settings {
    pub(super) connections: usize,
    /// Requests in flight on each connection, at most; null when nothing but the system bounds them.
    pub(super) inflight: Option<usize>,
    /// Records of one request, at most.
    pub(super) records_per_request: usize,
    /// Where the servers differ from their defaults.
    pub(super) server: String,
}

/// The numbers of one round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Round {
    pub(super) appends_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) valid: bool,
}

/// The least and the most of all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) appends_per_s: [f64; 2],
    pub(super) p50_us: [f64; 2],
    pub(super) p99_us: [f64; 2],
}

fn name<S: serde::Serializer>(shape: &Shape, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(shape.name())
}

/// More digits than the measurement has would only pretend.
pub(super) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Share of the offered load that has to be acknowledged: a system that does less is not measured at that rate. What it does
/// late is in its latencies.
const KEPT_UP: f64 = 0.9;

/// Likewise.
pub(super) fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

impl Row {
    /// Why the numbers mean nothing, if they do not; `holds` is the verdict of the verification.
    pub(super) fn judged(mut self, holds: bool) -> Self {
        let offered = self.offered_per_s.unwrap_or(0.0);
        self.problem = if self.failed > 0 || self.first_error.is_some() {
            let error = self.first_error.as_deref().unwrap_or("nobody knows why");
            Some(format!("{} appends failed: {error}", self.failed))
        } else if !holds {
            Some(format!("the verification failed: {}", self.verified))
        } else if self.appends_per_s == 0.0 {
            Some("nothing was acknowledged in the measured time".to_owned())
        } else if self.appends_per_s < KEPT_UP * offered {
            Some(format!("{} appends/s were acknowledged of {offered} that were offered", self.appends_per_s))
        } else {
            None
        };
        self.valid = self.problem.is_none();
        self
    }

    fn round(&self) -> Round {
        Round { appends_per_s: self.appends_per_s, p50_us: self.p50_us, p99_us: self.p99_us, valid: self.valid }
    }

    /// One row of the same row of several rounds: the median by appends a second, of an open loop by its median latency.
    pub(super) fn of_rounds(rows: Vec<Self>) -> Option<Self> {
        let rounds: Vec<Round> = rows.iter().map(Self::round).collect();
        let problem = rows.iter().find_map(|row| row.problem.clone());
        let extent = |value: fn(&Round) -> f64| {
            let values = rounds.iter().map(value);
            [values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max)]
        };
        let spread = Spread {
            appends_per_s: extent(|round| round.appends_per_s),
            p50_us: extent(|round| round.p50_us),
            p99_us: extent(|round| round.p99_us),
        };
        let mut sorted = rows;
        sorted.sort_by(|a, b| match a.shape {
            Shape::OpenLoop => a.p50_us.total_cmp(&b.p50_us),
            _ => a.appends_per_s.total_cmp(&b.appends_per_s),
        });
        let middle = sorted.len().checked_sub(1)? / 2;
        let mut row = sorted.swap_remove(middle);
        row.valid = rounds.iter().all(|round| round.valid);
        (row.problem, row.rounds, row.spread) = (problem, rounds, Some(spread));
        Some(row)
    }
}

const TITLES: [&str; 9] =
    ["system", "version", "shape", "appends/s", "p50 us", "p99 us", "p50 / floor", "copies", "durability"];
/// Columns that are numbers.
const NUMBERS: std::ops::Range<usize> = 3..8;

/// The rows for people, with what has to be known about each system below them.
pub(super) fn table(rows: &[Row]) -> String {
    let mut lines = vec![TITLES.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line: &[String; 9]| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..TITLES.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            if NUMBERS.contains(&column) {
                text += &format!("{cell:>width$}  ");
            } else {
                text += &format!("{cell:<width$}  ");
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    let mut noted = Vec::new();
    for row in rows {
        if let Some(problem) = &row.problem {
            text += &format!("{} {} is not valid: {problem}\n", row.system, row.shape.name());
        }
        if !noted.contains(&row.system) {
            noted.push(row.system);
            text += &format!("{}: {} ({})\n", row.system, row.note, row.settings.server);
        }
    }
    text
}

fn cells(row: &Row) -> [String; 9] {
    let over_floor = row.floor_us["append_p50"].as_f64().map(|floor| format!("{:.1}", row.p50_us / floor));
    [
        row.system.to_owned(),
        row.version.clone(),
        row.shape.name().to_owned(),
        format!("{:.0}", row.appends_per_s),
        format!("{:.1}", row.p50_us),
        format!("{:.1}", row.p99_us),
        over_floor.unwrap_or_default(),
        row.copies.to_string(),
        row.durability.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(shape: Shape, appends_per_s: f64, p50_us: f64) -> Row {
        Row {
            schema: 1,
            bench: "peers",
            system: "redis",
            version: "7.0.15".to_owned(),
            durability: "fsync".to_owned(),
            copies: 1,
            shape,
            record_bytes: 100,
            appends_per_s,
            p50_us,
            p99_us: 2.0 * p50_us,
            floor_us: json!({"append_p50": 50.0}),
            valid: true,
            problem: None,
            verified: json!({"acked": 3, "read_back": 3}),
            failed: 0,
            first_error: None,
            offered_per_s: None,
            client_lag_us: None,
            seconds: 4.0,
            warm_up_seconds: 2.0,
            settings: Settings {
                connections: 1,
                inflight: Some(1),
                records_per_request: 1,
                server: "as is".to_owned(),
            },
            note: "one copy",
            client_cpus: Some(0.5),
            rounds: Vec::new(),
            spread: None,
            machine: json!({}),
            run: "naxos-tools peers".to_owned(),
            commit: None,
        }
    }

    #[test]
    fn a_row_of_rounds_is_the_median_one() {
        let rows = [300.0, 100.0, 200.0].map(|rate| row(Shape::Single, rate, 1e6 / rate)).to_vec();
        let merged = Row::of_rounds(rows).unwrap();
        assert_eq!((merged.appends_per_s, merged.p50_us), (200.0, 5000.0));
        assert_eq!(merged.rounds.len(), 3);
        assert_eq!(merged.spread.unwrap().appends_per_s, [100.0, 300.0]);
        assert!(Row::of_rounds(Vec::new()).is_none());
    }

    #[test]
    fn of_open_loops_the_median_is_that_of_the_latency() {
        let rows = [(50.0, 30.0), (50.0, 10.0), (50.0, 20.0)].map(|(rate, p50)| row(Shape::OpenLoop, rate, p50));
        assert_eq!(Row::of_rounds(rows.to_vec()).unwrap().p50_us, 20.0);
    }

    #[test]
    fn one_round_that_is_not_valid_spoils_the_row() {
        let mut bad = row(Shape::Batched, 1.0, 1.0);
        (bad.valid, bad.problem) = (false, Some("2 missing".to_owned()));
        let merged = Row::of_rounds(vec![row(Shape::Batched, 3.0, 1.0), row(Shape::Batched, 2.0, 1.0), bad]).unwrap();
        assert!(!merged.valid);
        assert!(table(&[merged]).contains("redis batched is not valid: 2 missing"));
    }

    #[test]
    fn what_spoils_a_row_is_said() {
        let problem = |holds, change: fn(&mut Row)| {
            let mut row = row(Shape::OpenLoop, 1000.0, 1.0);
            change(&mut row);
            row.judged(holds).problem
        };
        assert_eq!(problem(true, |_| {}), None);
        assert_eq!(problem(true, |row| row.offered_per_s = Some(1100.0)), None);
        assert!(problem(true, |row| row.offered_per_s = Some(2000.0)).unwrap().contains("2000"));
        assert!(problem(true, |row| row.appends_per_s = 0.0).unwrap().contains("nothing"));
        assert!(problem(true, |row| row.failed = 3).unwrap().starts_with("3 appends failed"));
        assert!(problem(false, |_| {}).unwrap().contains("read_back"));
    }

    #[test]
    fn a_row_is_one_object_with_the_names_that_are_documented() {
        let text = serde_json::to_string(&row(Shape::ManyClients, 1.0, 2.0)).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(!text.contains('\n'));
        assert_eq!(value["shape"], "many-clients");
        for field in ["system", "version", "durability", "copies", "record_bytes", "appends_per_s", "p50_us", "p99_us"]
        {
            assert!(!value[field].is_null(), "{field}");
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_row_and_one_note_for_each_system() {
        let text = table(&[row(Shape::Single, 1234.56, 100.0), row(Shape::Batched, 2.0, 100.0)]);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("1235") && text.contains("2.0"));
        assert_eq!(text.matches("one copy").count(), 1);
    }
}
