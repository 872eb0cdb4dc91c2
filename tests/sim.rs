//! The simulator: every profile under some seeds, the same bytes for the same seed, and wrong usage of the program.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use naxos::sim::{Options, Profile, Progress, run, run_seeds};

const SEEDS: u64 = 25;

fn options(profile: Profile) -> Options {
    Options { profile, ..Options::default() }
}

#[test]
fn no_profile_violates_an_invariant() {
    for profile in Profile::ALL {
        let summary = run_seeds(0, SEEDS, &options(profile), 2, |_| true);
        assert_eq!(summary.violations, [], "{profile}");
        assert_eq!(summary.runs, SEEDS);
        assert!(summary.ops >= 200 * SEEDS && summary.acked > 10 * SEEDS, "{profile}: {summary:?}");
        let faults: Vec<_> = summary.faults.keys().map(String::as_str).collect();
        let expected: &[&str] = match profile {
            Profile::Calm => &[],
            Profile::Network => &["latency_spike", "one_way_cut", "partition", "reset", "slow_link"],
            Profile::Disk => &["bit_rot", "blank_disk", "crash", "restart"],
            Profile::Crash => &["clock_drift", "crash", "pause", "restart", "torn_write", "unflushed_write_lost"],
            Profile::Chaos => &["blank_disk", "crash", "partition", "reset", "torn_write"],
            Profile::Reconfigure | Profile::Striped => {
                &["client_end", "crash", "one_way_cut", "partition", "reset", "slow_link"]
            }
            Profile::Mixed => unreachable!("it is no profile of its own"),
        };
        assert!(expected.iter().all(|kind| faults.contains(kind)), "{profile}: {faults:?}");
        assert!(profile != Profile::Calm || faults.is_empty(), "{faults:?}");
    }
}

#[test]
fn five_nodes_and_one_node_hold_as_well() {
    for nodes in [1, 5] {
        let options = Options { nodes, ops: 100, ..options(Profile::Mixed) };
        let summary = run_seeds(0, 16, &options, 2, |_| true);
        assert_eq!(summary.violations, [], "{nodes} nodes");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for profile in Profile::ALL {
        let options = Options { trace: true, ..options(profile) };
        let mut traces = Vec::new();
        for seed in 0..3 {
            let trace = run(seed, &options).trace.expect("it was asked for");
            assert!(trace.lines().count() > 500, "{profile}");
            assert!(trace == run(seed, &options).trace.expect("it was asked for"), "{profile}: seed {seed} differs");
            traces.push(trace);
        }
        traces.dedup();
        assert_eq!(traces.len(), 3, "{profile}: other seeds, other histories");
    }
}

#[test]
fn threads_do_not_change_what_comes_out() {
    let options = options(Profile::Chaos);
    let [one, four] = [1, 4].map(|threads| run_seeds(100, 12, &options, threads, |_| true));
    assert_eq!((one.ops, one.acked, &one.faults), (four.ops, four.acked, &four.faults));
    assert_eq!(one.virtual_time, four.virtual_time);
    assert_eq!(one.coverage.missing(), four.coverage.missing());
}

#[test]
fn whoever_has_enough_gets_what_was_done() {
    let options = Options { ops: 20, ..options(Profile::Calm) };
    let summary = run_seeds(0, 1_000_000, &options, 2, |Progress { done, .. }| done < 5);
    assert!((5..20).contains(&summary.runs), "{}", summary.runs);
}

fn naxos(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_naxos")).args(arguments).output().expect("the program runs")
}

#[test]
fn the_program_prints_one_line_of_json() {
    let output = naxos(&["sim", "--seeds", "3", "--profile", "crash", "--ops", "50", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    assert_eq!(text.lines().count(), 1);
    let report: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).expect("it is an object");
    let keys: Vec<_> = report.keys().map(String::as_str).collect();
    let expected =
        ["acked", "branches", "faults", "ops", "profile", "runs", "schema", "seconds", "violations", "virtual_seconds"];
    assert_eq!(keys, expected);
    assert_eq!((report["schema"].as_u64(), report["runs"].as_u64()), (Some(1), Some(3)));
    assert_eq!(report["profile"], "crash");
    assert!(report["branches"]["reached"].as_u64() < report["branches"]["total"].as_u64());
    assert!(report["branches"]["missing"].as_array().is_some_and(|missing| !missing.is_empty()));
}

#[test]
fn the_program_repeats_a_trace() {
    let arguments = ["sim", "--seed", "7", "--ops", "40", "--trace"];
    let [first, second] = [naxos(&arguments), naxos(&arguments)];
    assert!(first.status.success() && first.stdout == second.stdout);
    let text = String::from_utf8_lossy(&first.stdout);
    assert!(text.contains(" appends #0") && text.contains("Store "), "{text}");
}

#[test]
fn wrong_usage_is_told_with_the_valid_names() {
    for (arguments, words) in [
        (&["sim", "--profile", "storm"][..], "calm, network, disk, crash, chaos, reconfigure, striped, mixed"),
        (&["sim", "--seed", "x"], "a seed is a number"),
        (&["sim", "--seed", "-1"], "a seed is a number"),
        (&["sim", "--seeds", "0"], "1..="),
        (&["sim", "--seed", "1", "--seeds", "2"], "cannot be used with"),
        (&["sim", "--seeds", "2", "--trace"], "--seed"),
        (&["sim", "--nodes", "0"], "1..=9"),
        (&["sim", "--mutant", "none"], "--mutant"),
    ] {
        let output = naxos(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}
