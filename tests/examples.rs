//! Every example, run to its end on three nodes in this process.
#![allow(clippy::duplicate_mod, reason = "each example brings its own copy of what the examples share")]

#[path = "../examples/embedded_sequencer.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "an example is a program: it has a main function, and may have more than is used here"
)]
mod embedded_sequencer;
#[path = "../examples/failover_pair.rs"]
#[allow(dead_code, unreachable_pub, reason = "as above")]
mod failover_pair;
#[path = "../examples/key_value.rs"]
#[allow(dead_code, unreachable_pub, reason = "as above")]
mod key_value;
#[path = "../examples/tail.rs"]
#[allow(dead_code, unreachable_pub, reason = "as above")]
mod tail;

use std::path::Path;

fn disk() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

#[test]
fn key_value_recovers_what_its_replicas_wrote() {
    let home = key_value::support::Home::start(disk()).unwrap();
    let recovered = key_value::run(&home).unwrap();
    let recovered: Vec<_> = recovered.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(recovered, [("colour", "green"), ("size", "7")]);
}

#[test]
fn tail_goes_on_from_its_saved_position() {
    let home = tail::support::Home::start(disk()).unwrap();
    let records = |range: std::ops::Range<u32>| range.map(|number| format!("record {number}")).collect::<Vec<_>>();
    assert_eq!(tail::run(&home).unwrap(), [records(0..4), records(4..10)]);
}

#[test]
fn failover_pair_lets_one_write_at_a_time() {
    let home = failover_pair::support::Home::start(disk()).unwrap();
    let [first, second] = failover_pair::run(&home).unwrap();
    assert_eq!(first, second);
    assert_eq!(first, ["first 1", "first 2", "first 3", "second 1", "second 2"]);
}

#[test]
fn embedded_sequencer_writes_and_leaves_the_log_to_others() {
    let home = embedded_sequencer::support::Home::start(disk()).unwrap();
    let log = embedded_sequencer::run(&home).unwrap();
    assert_eq!(log, ["record 1", "record 2", "record 3", "from somebody else"]);
}
