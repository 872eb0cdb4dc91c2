//! From the command line to what it asks for.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use super::{
    admin, append, args, bench, cluster, dev, exit, inspect, log, man, node, output, read, serve, sim, status, why,
};
use crate::node::raise_descriptors;

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors, and a closed pipe is nobody's problem here.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::SUCCESS });
        }
    };
    let json = arguments.global.json;
    // Of connections and files there may be many, here and in what is started from here.
    raise_descriptors();
    output::log_to_standard_error(match arguments.command {
        args::Command::Serve(_) => LevelFilter::INFO,
        args::Command::Sim(_) => LevelFilter::OFF,
        _ => LevelFilter::WARN,
    });
    match run(arguments) {
        Ok(()) => ExitCode::from(exit::SUCCESS),
        Err(error) => exit::report(&error, json),
    }
}

fn run(arguments: args::Arguments) -> anyhow::Result<()> {
    let global = arguments.global;
    match arguments.command {
        args::Command::Dev(options) => dev::run(&global, &options),
        args::Command::Serve(options) => serve::run(&global, &options),
        args::Command::Cluster { command } => cluster::run(&global, &command),
        args::Command::Node { command } => node::run(&global, &command),
        args::Command::Append(options) => append::run(&global, &options),
        args::Command::Read(options) => read::run(&global, &options),
        args::Command::Tail => admin::tail(&global),
        args::Command::Log { command } => log::run(&global, &command),
        args::Command::Why(options) => why::run(&global, &options),
        args::Command::Trim(options) => admin::trim(&global, &options),
        args::Command::Status(options) => status::run(&global, &options),
        args::Command::Inspect(options) => inspect::run(&global, &options),
        args::Command::Bench(options) => bench::run(&global, &options),
        args::Command::Sim(options) => sim::run(&global, &options),
        args::Command::Man(options) => man::run(&global, &options),
    }
}
