//! The `naxos` program.

fn main() -> std::process::ExitCode {
    naxos::cli::main()
}
