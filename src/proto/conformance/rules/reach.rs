use super::super::cluster::{Cluster, End};

/// Runs an execution in many orders of what it leaves open.
pub(super) fn over_seeds(execution: impl Fn(u64)) {
    (0..30).for_each(execution);
}

/// Cuts the sequencer off from all LogServers but these.
pub(super) fn sequencer_reaches(cluster: &mut Cluster, servers: &[usize]) {
    reaches(cluster, End::Sequencer, servers);
}

/// Cuts the client off from all LogServers but these.
pub(super) fn client_reaches(cluster: &mut Cluster, client: usize, servers: &[usize]) {
    reaches(cluster, End::Client(client), servers);
}

pub(super) fn reaches(cluster: &mut Cluster, from: End, servers: &[usize]) {
    for server in 0..cluster.servers.len() {
        match servers.contains(&server) {
            true => cluster.heal(from, End::Server(server)),
            false => cluster.cut(from, End::Server(server)),
        }
    }
}

/// A client's process is gone, as far as anybody can tell.
pub(super) fn silence(cluster: &mut Cluster, client: usize) {
    client_reaches(cluster, client, &[]);
    cluster.cut(End::Client(client), End::Sequencer);
}
