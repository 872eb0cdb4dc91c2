//! The executions that the protocol's rules are there for, step by step, on the real cores. Each fails when its rule is broken.
//!
//! Steps are numbered as the rules number them; the LogServers S1..S3 of the rules are 0..2 here. Where connections are not held by
//! a test, their order is drawn from a seed, so each execution runs in many.

mod check_tail_table;
mod damage;
mod known_tail;
mod life;
mod seal;
mod sequencer;
mod store;
mod trim;

use super::cluster::{Cluster, End};

/// Runs an execution in many orders of what it leaves open.
fn over_seeds(execution: impl Fn(u64)) {
    (0..30).for_each(execution);
}

/// Cuts the sequencer off from all LogServers but these.
fn sequencer_reaches(cluster: &mut Cluster, servers: &[usize]) {
    reaches(cluster, End::Sequencer, servers);
}

/// Cuts the client off from all LogServers but these.
fn client_reaches(cluster: &mut Cluster, client: usize, servers: &[usize]) {
    reaches(cluster, End::Client(client), servers);
}

fn reaches(cluster: &mut Cluster, from: End, servers: &[usize]) {
    for server in 0..cluster.servers.len() {
        match servers.contains(&server) {
            true => cluster.heal(from, End::Server(server)),
            false => cluster.cut(from, End::Server(server)),
        }
    }
}

/// A client's process is gone, as far as anybody can tell.
fn silence(cluster: &mut Cluster, client: usize) {
    client_reaches(cluster, client, &[]);
    cluster.cut(End::Client(client), End::Sequencer);
}
