//! What the command line of `peers` can say.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use naxos::loadgen::payload::NUMBERS_BYTES;

/// The largest record: what every system takes as it comes from its package.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// Which systems are measured, how, and where.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Print one JSON object for each row instead of a table
    #[arg(long)]
    pub(super) json: bool,
    /// The systems, in turn
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = System::value_variants().to_vec())]
    pub(super) systems: Vec<System>,
    /// The shapes of the load
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Shape::value_variants().to_vec())]
    pub(super) shapes: Vec<Shape>,
    /// Measured time of each row and round
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Load before the measured time, once more after each start of a system
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(super) warm_up: Duration,
    /// How often all systems are measured in turn; a row is the round of the median, and names the spread of all
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) rounds: u32,
    /// Size of every record; the first 24 bytes tell where it comes from
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = record_bytes)]
    pub(super) record_bytes: usize,
    /// Of the shape open-loop: appends a second, the same for all systems [default: half of what each system does in the
    /// shape batched]
    #[arg(long, value_name = "APPENDS_PER_S", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// A directory on the disk to measure; a temporary directory is made in it, and removed
    #[arg(long, default_value = ".")]
    pub(super) dir: PathBuf,
    /// The program `naxos` [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    pub(super) naxos: Option<PathBuf>,
}

/// What is measured, in the order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum System {
    /// Three nodes
    Naxos,
    /// Three members
    Etcd,
    /// Three servers
    Zookeeper,
    /// One server with `appendfsync always`
    Redis,
    /// JetStream, three servers; its acknowledgements are not durable ones
    Nats,
}

impl System {
    /// The name in rows and options.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Naxos => "naxos",
            Self::Etcd => "etcd",
            Self::Zookeeper => "zookeeper",
            Self::Redis => "redis",
            Self::Nats => "nats",
        }
    }
}

/// How load is offered, in the order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Shape {
    /// One client, one append in flight
    Single,
    /// 64 connections, each with one append in flight
    ManyClients,
    /// As many appends in flight, and in one request, as suit the system
    Batched,
    /// Appends at fixed times whatever the system does; latencies count from those times
    OpenLoop,
}

impl Shape {
    /// The name in rows and options.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::ManyClients => "many-clients",
            Self::Batched => "batched",
            Self::OpenLoop => "open-loop",
        }
    }
}

impl Options {
    /// In the order of the rows, each once: an open loop wants to know what the batched shape has reached.
    pub(super) fn ordered(mut self) -> Self {
        self.systems.sort_unstable();
        self.systems.dedup();
        self.shapes.sort_unstable();
        self.shapes.dedup();
        self
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.1 to 3600".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1.0..=1e8).contains(&rate) => Ok(rate),
        _ => Err("appends a second, from 1 to 100000000".to_owned()),
    }
}

fn record_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (NUMBERS_BYTES..=RECORD_BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("bytes from {NUMBERS_BYTES} to {RECORD_BYTES_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let line = [&["peers"], arguments].concat();
        Program::try_parse_from(line).map(|program| program.options.ordered()).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_is_measured_unless_it_is_said() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.systems, System::value_variants());
        assert_eq!(options.shapes, Shape::value_variants());
        assert_eq!(options.record_bytes, 100);
    }

    #[test]
    fn names_are_those_of_the_rows() {
        for system in System::value_variants() {
            assert_eq!(system.to_possible_value().unwrap().get_name(), system.name());
        }
        for shape in Shape::value_variants() {
            assert_eq!(shape.to_possible_value().unwrap().get_name(), shape.name());
        }
    }

    #[test]
    fn lists_are_put_in_order_without_repeats() {
        let options = parse(&["--systems", "redis,etcd,redis", "--shapes", "open-loop,single"]).unwrap();
        assert_eq!(options.systems, [System::Etcd, System::Redis]);
        assert_eq!(options.shapes, [Shape::Single, Shape::OpenLoop]);
    }

    #[test]
    fn wrong_values_are_refused_with_what_would_be_right() {
        let error = |arguments: &[&str]| parse(arguments).unwrap_err();
        assert!(error(&["--systems", "kafka"]).contains("zookeeper"));
        assert!(error(&["--shapes", "burst"]).contains("open-loop"));
        assert!(error(&["--seconds", "0"]).contains("from 0.1"));
        assert!(error(&["--rate", "0"]).contains("from 1"));
        assert!(error(&["--record-bytes", "23"]).contains("from 24"));
        assert!(error(&["--rounds", "0"]).contains("1..=100"));
    }
}
