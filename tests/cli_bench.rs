//! Benchmarks from outside: short ones, what they print and verify, and options that are refused.

mod support;

use std::fs;
use std::process::Command;

use serde_json::Value;
use support::command::{FAILURE, USAGE, refused, run, text};
use support::scratch as directory;

#[test]
fn a_short_benchmark_prints_one_object_and_verifies_every_record() {
    let directory = directory();
    let output =
        run(&[
            &[
                "bench",
                "append",
                "--json",
                "--seconds",
                "0.5",
                "--warm-up",
                "0.2",
                "--clients",
                "2",
                "--inflight",
                "16",
            ][..],
            &["--prepare-bytes", "1", "--dir", text(directory.path())],
        ]
        .concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 1);
    let report: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&report["schema"], &report["loop"], &report["valid"]), (&1.into(), &"closed".into(), &true.into()));
    let verified = &report["verified"];
    assert!(verified["acked"].as_u64().unwrap() > 0);
    assert_eq!(verified["acked"], verified["read_back"]);
    assert_eq!((&verified["missing"], &verified["corrupt"]), (&0.into(), &0.into()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_report_in_words_keeps_together_what_belongs_together() {
    let directory = directory();
    let load = ["bench", "append", "--seconds", "0.2", "--warm-up", "0.1", "--clients", "1", "--nodes", "1"];
    let options = ["--stripes", "2", "--rate", "100", "--prepare-bytes", "1", "--dir", text(directory.path())];
    // Whether it is valid the machine decides, and not the words.
    let report = String::from_utf8(run(&[&load[..], &options].concat()).stdout).unwrap();
    assert!(report.starts_with("1 node, 2 stripes, quorum 1, ") && report.contains(" over 1 connection, "), "{report}");
    let lines: Vec<&str> = report.lines().collect();
    let at = |words: &str| lines.iter().position(|line| line.contains(words));
    let disk = at("  disk  ").unwrap();
    assert!(lines[disk].contains("what 1 durable copy reaches here"), "{report}");
    assert!(at(" flushes, ").is_none_or(|flushes| flushes == disk + 1), "{report}");
    assert!(at("  fillers  ").unwrap() > disk, "{report}");
}

#[test]
fn a_history_that_cannot_be_written_is_refused_or_costs_only_itself() {
    let directory = directory();
    let inside = directory.path().join("made/for/it");
    let nowhere = directory.path().join("no/such/file");
    refused(&["bench", "append", "--dir", text(&inside), "--history", text(&nowhere)], USAGE, &["no/such/file"]);
    let load = ["--json", "bench", "append", "--seconds", "0.2", "--warm-up", "0.1", "--clients", "1", "--nodes", "1"];
    let place = ["--prepare-bytes", "1", "--dir", text(&inside), "--history", "/dev/full"];
    let output = run(&[&load[..], &place].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(FAILURE), "{errors}");
    assert!(errors.contains("/dev/full"), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["verified"]["acked"].as_u64().unwrap() > 0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "what was made is gone");
}

#[test]
fn a_benchmark_has_as_many_descriptors_as_it_may_or_is_refused_before_it_starts() {
    let directory = directory();
    let limited = |limit: &str, options: &[&str]| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_naxos"), "--json"]);
        shell.args(["bench", "append", "--seconds", "0.2", "--warm-up", "0.1", "--nodes", "1", "--inflight", "1"]);
        shell.args(["--prepare-bytes", "1", "--dir", text(directory.path())]).args(options).output().unwrap()
    };
    let raised = limited("-Sn 100", &["--clients", "150"]);
    let errors = String::from_utf8_lossy(&raised.stderr);
    let report: Value = serde_json::from_slice(&raised.stdout).unwrap_or_else(|_| panic!("{errors}"));
    assert_eq!((&report["clients"], &report["failed"]), (&150.into(), &0.into()));
    for (options, needed) in [
        (&["--clients", "150"][..], "214"),
        (&["--clients", "50", "--in-process"], "164"),
        (&["--clients", "20", "--stripes", "2"], "144"),
    ] {
        let refused = limited("-n 140", options);
        let errors = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(USAGE), "{errors}");
        let words = format!(
            "need {needed} open descriptors, and the limit is 140: ask for fewer, or raise it with `ulimit -n`"
        );
        assert!(errors.contains(&words), "{errors}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_benchmark_that_trims_behind_itself_lives_on_recycled_segments_and_verifies_what_is_left() {
    let directory = directory();
    let load = |options: &[&str]| {
        let load = ["bench", "append", "--json", "--nodes", "1", "--clients", "1"];
        let place = ["--record-bytes", "65536", "--trim-behind", "4194304", "--dir", text(directory.path())];
        let output = run(&[&load, options, &place].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.success(), report["valid"] == true, "{}", String::from_utf8_lossy(&output.stderr));
        let [acked, read_back, trimmed] =
            ["acked", "read_back", "trimmed"].map(|name| report["verified"][name].as_u64().unwrap());
        assert_eq!((read_back + trimmed, &report["verified"]["missing"]), (acked, &0.into()), "{report}");
        assert!(read_back >= acked.min(64) && report["trim"]["trim_point"] == trimmed, "{report}");
        report
    };
    let steady = load(&["--warm-up", "1", "--seconds", "2", "--inflight", "16"]);
    assert_eq!((&steady["valid"], &steady["trim"]["segments_prepared"]), (&true.into(), &0.into()), "{steady}");
    assert!(steady["trim"]["segments_recycled"].as_u64().unwrap() > 0, "{steady}");
    // So little fills no segment.
    let short = load(&["--warm-up", "0.01", "--seconds", "0.01", "--inflight", "1"]);
    assert_eq!((&short["valid"], &short["trim"]["segments_recycled"]), (&false.into(), &0.into()), "{short}");
    refused(&["bench", "append", "--trim-behind", "1048576", "--check-history"], USAGE, &["--check-history"]);
    for bytes in ["1000", "18446744073709551614"] {
        refused(&["bench", "append", "--trim-behind", bytes], USAGE, &["--trim-behind", "1048576..="]);
    }
}

/// Runs a benchmark as short as it can be, and gives what it prints: one object, about the nodes and the machine as well.
fn short_benchmark(name: &str, options: &[&str]) -> Value {
    let directory = directory();
    let place = ["--nodes", "1", "--prepare-bytes", "1", "--dir", text(directory.path())];
    let output = run(&[&["bench", name, "--json"], options, &place[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 1);
    let report: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&report["schema"], &report["bench"], &report["nodes"]), (&1.into(), &name.into(), &1.into()));
    for field in ["driver", "durability", "floor_us", "machine", "processes"] {
        assert!(!report[field].is_null(), "{field}: {report}");
    }
    assert_eq!(report["valid"], true, "{report}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    report
}

#[test]
fn a_short_virtualization_benchmark_compares_and_verifies() {
    let null = short_benchmark("virtualization", &["--null", "--pairs", "1", "--inflight", "2", "--record-bytes", "8"]);
    assert_eq!((&null["null"], &null["valid"]), (&true.into(), &true.into()));
    let report = short_benchmark("virtualization", &["--pairs", "1", "--inflight", "2", "--record-bytes", "8"]);
    assert_eq!(report["null"], false);
    for number in ["p50_added_us", "p99_added_us", "throughput_ratio", "bare_p50_us", "bare_appends_per_s"] {
        assert!(report[number].is_number(), "{number}: {report}");
    }
    assert_eq!((&report["pairs"], &report["inflight"], &report["order"]), (&1.into(), &2.into(), &"ABBA".into()));
    let verified = &report["verified"];
    assert!(verified["acked"].as_u64().unwrap() > 0);
    assert_eq!((&verified["read_back"], &verified["missing"]), (&verified["acked"], &0.into()));
    refused(&["bench", "virtualization", "--record-bytes", "7"], USAGE, &["at least 8 bytes"]);
    refused(&["bench", "virtualization", "--pairs", "0"], USAGE, &["--pairs"]);
    refused(&["bench", "virtualization", "--inflight", "1"], USAGE, &["--inflight"]);
}

#[test]
fn a_short_tail_benchmark_times_and_verifies_every_delivery() {
    let times = ["--seconds", "0.3", "--warm-up", "0.1", "--idle", "3"];
    let place = directory();
    let open = ["--json", "bench", "tail", "--rate", "200", "--prepare-bytes", "1", "--dir", text(place.path())];
    let open = run(&[&open[..], &times].concat());
    let open: Value = serde_json::from_slice(&open.stdout).unwrap();
    // A machine with other work may take appends up late, which is no result then; everything is there all the same.
    assert!(open["valid"] == true || open["generator_lag_us"].as_f64().unwrap() > 1000.0, "{open}");
    for (report, expected) in [(short_benchmark("tail", &times), "closed"), (open, "open")] {
        assert_eq!(report["loop"], expected);
        for of in [&report, &report["idle"]] {
            let verified = &of["verified"];
            assert!(verified["acked"].as_u64().unwrap() > 0);
            assert_eq!(verified["delivered"], verified["acked"]);
            assert_eq!((&verified["missing"], &verified["wrong"]), (&0.into(), &0.into()));
            for percentile in ["p50", "p90", "p99", "max"] {
                let [acked, delivered, after] = ["append_us", "after_append_us", "after_ack_us"]
                    .map(|name| of[name][percentile].as_f64().unwrap_or_else(|| panic!("{name}: {of}")));
                assert!(acked > 0.0 && delivered > 0.0 && after <= delivered, "{percentile}: {of}");
            }
            assert!((0.0..=1.0).contains(&of["share_before_ack"].as_f64().unwrap()) && of["p50_over_rtt"].is_number());
        }
        assert_eq!(report["idle"]["after_ack_us"]["n"], 3);
        assert_eq!(report["failed"], 0);
    }
    let none = short_benchmark("tail", &["--seconds", "0.2", "--warm-up", "0.1", "--idle", "0"]);
    assert!(none["idle"].is_null(), "{none}");
    refused(&["bench", "tail", "--record-bytes", "23"], USAGE, &["--record-bytes 23", "24"]);
    refused(&["bench", "tail", "--rate", "0"], USAGE, &["--rate"]);
}

#[test]
fn a_short_chain_benchmark_reads_and_trims_what_it_has_made() {
    let report =
        short_benchmark("chain", &["--segments", "2", "--records", "3", "--rounds", "1", "--record-bytes", "8"]);
    for number in ["read_bytes_per_s", "read_one_segment_bytes_per_s", "read_ratio", "trim_half_ms", "build_s"] {
        assert!(report[number].is_number(), "{number}: {report}");
    }
    assert!(report["open_ms"]["p50"].is_number() && report["show_ms"]["max"].is_number(), "{report}");
    let segments = ["segments", "segments_after_half", "segments_after_all"].map(|name| report[name].as_u64());
    assert_eq!(segments, [Some(2), Some(1), Some(1)]);
    // As many in the log of one segment as in the log of two.
    assert_eq!(report["verified"], serde_json::json!({ "acked": 12, "wrong": 0 }));
    refused(&["bench", "chain", "--record-bytes", "7"], USAGE, &["at least 8 bytes"]);
    refused(&["bench", "chain", "--segments", "1"], USAGE, &["--segments"]);
    refused(&["bench", "chain", "--rounds", "0"], USAGE, &["--rounds"]);
}
