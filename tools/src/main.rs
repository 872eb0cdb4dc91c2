//! Development tools of naxos: the records of benchmarks, and the same benchmark on other systems.

mod check;
mod collect;
mod compare;
#[cfg(feature = "peers")]
mod peers;
mod record;
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
    /// Measure Naxos and other systems on this machine, with the same load and the same verification
    ///
    /// Each system runs alone, with its servers on the loopback and its data in a temporary directory. The other systems come
    /// from Debian's packages etcd-server, zookeeper, redis-server and nats-server; what is not installed is said and left out.
    #[cfg(feature = "peers")]
    Peers(peers::Options),
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Records { check, directory } => {
            let records = collect(&directory)?;
            for record in &records {
                check::check(record)?;
            }
            if !check {
                print!("{}", table::table(&records));
            }
            Ok(())
        }
        Command::Record { name, best_of, by, directory, command } => {
            let path = record::record(&name, best_of, by, &directory, &command)?;
            println!("{}", path.display());
            Ok(())
        }
        Command::Compare { name, field, rounds, command, baseline, directory } => {
            let comparison = compare::Comparison { field: &field, rounds, command: &command, baseline: &baseline };
            println!("{}", compare::compare(&name, &directory, &comparison)?.display());
            Ok(())
        }
        #[cfg(feature = "peers")]
        Command::Peers(options) => peers::run(options),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
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
