//! Development tools of naxos.

fn main() {}
