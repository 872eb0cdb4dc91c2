//! Where appends spend their time, on real nodes: the parts make up the whole.

mod support;

use std::time::Instant;

use serde_json::Value;
use support::Cluster;

const APPENDS: u64 = 400;
const SERVER_STAGES: [&str; 6] = ["sequencing", "batch_wait", "submit", "device", "quorum_wait", "release"];

fn shard(cluster: &Cluster, node: usize) -> Value {
    let address = cluster.nodes[node].as_ref().unwrap().address();
    cluster.client.status(address).unwrap()["shards"][0].take()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number: {value}"))
}

#[test]
fn the_stages_of_the_sequencers_node_add_up_to_an_appends_time_there() {
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    let begin = Instant::now();
    for _ in 0..APPENDS {
        log.append(&[1; 100]).wait().unwrap();
    }
    let elapsed = begin.elapsed().as_nanos() as u64;
    let sequencing = shard(&cluster, 0);
    let profile = &sequencing["latency_profile"];
    let residence = &profile["residence"];
    assert_eq!(number(&residence["events"]), APPENDS);
    let stages: Vec<u64> = SERVER_STAGES.iter().map(|stage| number(&profile["stages"][stage]["sum_ns"])).collect();
    assert_eq!(stages.iter().sum::<u64>(), number(&residence["sum_ns"]));
    assert!(number(&residence["sum_ns"]) < elapsed, "{residence} of {elapsed}");
    // A durable write takes most of it, whichever node's was waited for.
    assert!(stages[3] + stages[4] > elapsed / 10, "{stages:?} of {elapsed}");
    for slow in profile["slowest"].as_array().unwrap() {
        let parts: f64 = SERVER_STAGES.iter().map(|stage| slow["stages_us"][stage].as_f64().unwrap()).sum();
        let total = slow["total_us"].as_f64().unwrap();
        assert!((parts - total).abs() < 0.01 * total, "{slow}");
        let last = slow["last_node"].as_str().unwrap().parse().unwrap();
        assert!(cluster.config.log_servers.iter().any(|member| member.node == last), "{slow}");
    }
    let servers = sequencing["sequencers"][0]["log_servers"].as_array().unwrap();
    assert_eq!(servers.len(), 3);
    // The slowest of them may still owe its last answers.
    for server in servers {
        assert!(number(&server["answer_latency"]["events"]) > APPENDS / 2, "{server}");
    }
    for node in 0..3 {
        let store = &shard(&cluster, node)["latency_profile"]["store"];
        for part in ["batch_wait", "submit", "device"] {
            assert!(number(&store[part]["events"]) >= APPENDS / 2, "node {node}: {store}");
        }
    }
}
