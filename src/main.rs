//! The `naxos` program.

fn main() {}
