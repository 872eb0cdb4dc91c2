//! Development tools of naxos: the records of benchmarks, and the same benchmark on other systems.

mod check;
mod collect;
mod compare;
mod compare_records;
#[cfg(feature = "peers")]
mod peers;
mod record;
mod report;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use collect::collect;
use record::By;

#[derive(Debug, Parser)]
#[command(name = "naxos-tools", about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read all records and print them as a markdown table
    Records {
        /// Print nothing; fail at the first record that is malformed or not valid
        #[arg(long)]
        check: bool,
        /// Where the records are
        #[arg(default_value = "bench-results")]
        directory: PathBuf,
    },
    /// Run a benchmark a few times and keep the best run, and the numbers of all, as a record
    Record {
        /// The record's name: what was measured, in a few words joined by hyphens
        #[arg(long, value_parser = record::name)]
        name: String,
        /// How many runs to choose from
        #[arg(long, value_name = "RUNS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
        best_of: u32,
        /// What makes a run the best
        #[arg(long, value_enum, default_value_t = By::AppendsPerS)]
        by: By,
        /// Where the records are
        #[arg(long, default_value = "bench-results")]
        directory: PathBuf,
        /// The benchmark, which prints one JSON object
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run two benchmarks in turn and keep the ratios of one of their numbers as a record
    Compare {
        /// The record's name: what was compared, in a few words joined by hyphens
        #[arg(long, value_parser = record::name)]
        name: String,
        /// The number, as the path of its field
        #[arg(long, default_value = "appends_per_s")]
        field: String,
        /// How often each is run
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// The shell command whose number is divided
        #[arg(long)]
        command: String,
        /// The shell command by whose number it is divided
        #[arg(long)]
        baseline: String,
        /// Where the records are
        #[arg(long, default_value = "bench-results")]
        directory: PathBuf,
    },
    /// Compare two sweeps, point by point: what differs by more than chance, and by how much
    ///
    /// The ratio of a number is that of the medians of its valid runs, the second record's by the first's, with the interval that holds
    /// it in 95 of 100 cases (bootstrap over the runs). It is significant when 1 is not in the interval, and there are four runs or more
    /// on both sides. What differs beside the program, such as the machine or its kernel, is said first.
    #[command(
        after_help = "Exit codes:\n  0  no number is worse by more than chance\n  1  a record cannot be read, or they have no point in common\n  2  wrong usage\n  3  a number is worse by more than chance"
    )]
    CompareRecords {
        /// Directory of the sweep that is compared with
        base: PathBuf,
        /// Directory of the sweep that is compared
        other: PathBuf,
        /// Print one JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Make a page of a sweep, with plots, tables and warnings, that needs no other file and no network
    Report {
        /// Directory of the sweep
        directory: PathBuf,
        /// Rows of `naxos-tools peers --json`, to show beside it
        #[arg(long, value_name = "FILE")]
        peers: Option<PathBuf>,
        /// Where the page goes [default: report.html in the sweep's directory]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Measure Naxos and other systems on this machine, with the same load and the same verification
    ///
    /// Each system runs alone, with its servers on the loopback and its data in a temporary directory. The other systems come
    /// from Debian's packages etcd-server, zookeeper, redis-server and nats-server; what is not installed is said and left out.
    #[cfg(feature = "peers")]
    Peers(peers::Options),
}

/// Of a comparison in which something has become worse.
const WORSE: u8 = 3;

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Records { check, directory } => {
            let records = collect(&directory)?;
            for record in &records {
                check::check(record)?;
            }
            if !check {
                print!("{}", table::table(&records));
            }
        }
        Command::Record { name, best_of, by, directory, command } => {
            let path = record::record(&name, best_of, by, &directory, &command)?;
            println!("{}", path.display());
        }
        Command::Compare { name, field, rounds, command, baseline, directory } => {
            let comparison = compare::Comparison { field: &field, rounds, command: &command, baseline: &baseline };
            println!("{}", compare::compare(&name, &directory, &comparison)?.display());
        }
        Command::CompareRecords { base, other, json } => {
            let comparison = compare_records::compare(&base, &other)?;
            let text = if json { serde_json::to_string(&comparison)? } else { comparison.text() };
            println!("{text}");
            if comparison.has_worse() {
                return Ok(ExitCode::from(WORSE));
            }
        }
        Command::Report { directory, peers, out } => {
            println!("{}", report::write(&directory, peers.as_deref(), out.as_deref())?.display());
        }
        #[cfg(feature = "peers")]
        Command::Peers(options) => peers::run(options)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("naxos-tools: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
