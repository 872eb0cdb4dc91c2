//! The result of `bench read`: what readers get, and what they cost those who append.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::catch_up::Pass;
use super::explain::{bytes, count, counted, micros};
use super::machine::Machine;
use super::report::{Latency, Report};

/// The object that `bench read --json` prints. Times are microseconds; every list has one entry for each round, in order.
#[derive(Clone, Debug, Serialize)]
pub struct ReadReport {
    /// 1.
    pub schema: u32,
    /// "read".
    pub bench: &'static str,
    /// I/O driver of the nodes.
    pub driver: String,
    /// What an acknowledgement means.
    pub durability: &'static str,
    /// LogServers.
    pub nodes: usize,
    /// Of every record.
    pub record_bytes: usize,
    /// Of the log that is read.
    pub log_records: u64,
    /// Payload of the log that is read.
    pub log_bytes: u64,
    /// One subscription on one connection, from the beginning to the end, with nothing beside it.
    pub catch_up: CatchUp,
    /// The rate of filling the log: a closed loop.
    pub peak_appends_per_s: f64,
    /// The rate of the open loop of appends beside readers.
    pub offered_per_s: f64,
    /// Appends with no readers.
    pub alone: Vec<Latency>,
    /// Appends while one reader catches up with another log on the same nodes.
    pub beside_catch_up: Vec<Latency>,
    /// What that reader got.
    pub catch_up_beside_appends_bytes_per_s: Vec<f64>,
    /// Appends while slow subscribers hang on the log that is appended to.
    pub beside_slow: Vec<Latency>,
    /// How many.
    pub slow_subscribers: u16,
    /// Median over the rounds of `beside_catch_up.p99 / alone.p99`.
    pub p99_beside_catch_up_ratio: f64,
    /// Median over the rounds of `beside_slow.p99 / alone.p99`.
    pub p99_beside_slow_ratio: f64,
    /// The largest `alone.p99` over the smallest: what is noise.
    pub p99_alone_spread: f64,
    /// The most memory that a node ever had resident; null when the nodes run in this process.
    pub node_memory_peak_bytes: Option<u64>,
    /// Whether every load kept its timetable and verified.
    pub valid: bool,
    /// Which did not, and why.
    pub invalid: Vec<String>,
    /// Where it ran.
    pub machine: Machine,
    /// Of the checkout that the program was built in.
    pub commit: Option<String>,
}

/// Passes of one reader.
#[derive(Clone, Debug, Serialize)]
pub struct CatchUp {
    /// Median payload bytes a second.
    pub bytes_per_s: f64,
    /// Of each pass.
    pub passes: Vec<f64>,
    /// Bytes that the nodes read from the disk in all passes, by their own count.
    pub disk_read_bytes: Option<u64>,
    /// Sequential direct reads of the same files, four at once.
    pub floor_bytes_per_s: f64,
    /// `bytes_per_s / floor_bytes_per_s`.
    pub share_of_floor: f64,
    /// Processor time of the reading process for each KiB, in nanoseconds.
    pub client_ns_per_kib: f64,
    /// Processor time of all nodes for each KiB, in nanoseconds.
    pub server_ns_per_kib: Option<f64>,
}

/// Loads of one round.
#[derive(Clone, Debug)]
pub struct Round {
    /// With no readers.
    pub alone: Report,
    /// Beside a reader that catches up.
    pub beside_catch_up: Report,
    /// What that reader got.
    pub catch_up: Pass,
    /// Beside slow subscribers.
    pub beside_slow: Report,
}

/// The middle value, or the mean of the two in the middle; 0 of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

/// Why a load's numbers mean nothing.
pub fn fault(report: &Report) -> Option<String> {
    if report.valid {
        None
    } else if let Some(error) = &report.first_error {
        Some(format!("{} failed; the first: {error}", counted(report.failed, "append")))
    } else if !report.verified.holds() {
        Some("what was acknowledged is not what was read back".to_owned())
    } else {
        let late = micros(report.generator_lag_us.unwrap_or(0.0));
        Some(format!("the generator fell behind its own timetable (p99 {late} late)"))
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl ReadReport {
    /// Takes in the rounds.
    pub fn set_rounds(&mut self, rounds: &[Round]) {
        let p99 = |report: &Report| report.latency_us.p99;
        let ratio = |part: fn(&Round) -> &Report| {
            thousandths(median(rounds.iter().map(|round| p99(part(round)) / p99(&round.alone).max(1e-3))))
        };
        self.alone = rounds.iter().map(|round| round.alone.latency_us).collect();
        self.beside_catch_up = rounds.iter().map(|round| round.beside_catch_up.latency_us).collect();
        self.beside_slow = rounds.iter().map(|round| round.beside_slow.latency_us).collect();
        self.catch_up_beside_appends_bytes_per_s =
            rounds.iter().map(|round| round.catch_up.bytes_per_s().round()).collect();
        self.p99_beside_catch_up_ratio = ratio(|round| &round.beside_catch_up);
        self.p99_beside_slow_ratio = ratio(|round| &round.beside_slow);
        let alone = || rounds.iter().map(|round| p99(&round.alone));
        let (least, most) = (alone().fold(f64::MAX, f64::min), alone().fold(0.0, f64::max));
        self.p99_alone_spread = thousandths(most / least.max(1e-3));
        for (number, round) in (1..).zip(rounds) {
            let loads = [
                ("with no readers", &round.alone),
                ("beside a catch-up", &round.beside_catch_up),
                ("beside slow subscribers", &round.beside_slow),
            ];
            let faults = loads.iter().filter_map(|(load, report)| Some((load, fault(report)?)));
            self.invalid.extend(faults.map(|(load, fault)| format!("round {number}, {load}: {fault}")));
        }
        self.valid = self.invalid.is_empty();
    }
}

impl Display for ReadReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let catch_up = &self.catch_up;
        writeln!(
            f,
            "{}, a log of {} records of {} B ({})",
            counted(self.nodes, "node"),
            count(self.log_records as f64),
            self.record_bytes,
            bytes(self.log_bytes as f64)
        )?;
        writeln!(
            f,
            "  catch-up    {}/s through one connection, checksums verified; {:.0} % of what plain sequential reads of the \
             same files give ({}/s)",
            bytes(catch_up.bytes_per_s),
            catch_up.share_of_floor * 100.0,
            bytes(catch_up.floor_bytes_per_s)
        )?;
        let p99 = |latencies: &[Latency]| micros(median(latencies.iter().map(|latency| latency.p99)));
        writeln!(
            f,
            "  appends     {}/s offered ({}/s is the peak): p99 {} with no readers (x{:.2} between rounds)",
            count(self.offered_per_s),
            count(self.peak_appends_per_s),
            p99(&self.alone),
            self.p99_alone_spread
        )?;
        writeln!(
            f,
            "              p99 {} (x{:.2}) while one reader catches up at {}/s",
            p99(&self.beside_catch_up),
            self.p99_beside_catch_up_ratio,
            bytes(median(self.catch_up_beside_appends_bytes_per_s.iter().copied()))
        )?;
        writeln!(
            f,
            "              p99 {} (x{:.2}) beside {} slow subscribers",
            p99(&self.beside_slow),
            self.p99_beside_slow_ratio,
            self.slow_subscribers
        )?;
        if let Some(peak) = self.node_memory_peak_bytes {
            writeln!(f, "  memory      a node had at most {} resident", bytes(peak as f64))?;
        }
        if self.valid {
            return Ok(());
        }
        self.invalid.iter().try_for_each(|fault| writeln!(f, "  INVALID: {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([]), 0.0);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
