//! Records as a markdown table.

use std::fmt::Write;

use serde_json::Value;

use crate::check::{Kind, find, kind};
use crate::collect::Record;

/// The table for the README: one line for each load, and a list of what else was measured.
pub(crate) fn table(records: &[Record]) -> String {
    let mut out = String::new();
    let appends: Vec<_> = records.iter().filter(|record| kind(&record.result) == Kind::Append).collect();
    if !appends.is_empty() {
        out.push_str("| name | shape | appends/s | p50 µs | p99 µs | p50 / floor | durability | commit |\n");
        out.push_str("|---|---|--:|--:|--:|--:|---|---|\n");
    }
    for record in appends {
        line(&mut out, &record.name, &record.result);
        if let Some(single) = record.result.get("one_at_a_time") {
            line(&mut out, &format!("{}, one at a time", record.name), single);
        }
    }
    for record in records.iter().filter(|record| kind(&record.result) == Kind::Named) {
        // A row of peers brings its command itself.
        let own = find(&record.result, "run").and_then(Value::as_str);
        let command = record.command.as_deref().or(own).unwrap_or("unknown command");
        let (finding, commit) = (finding(&record.result), plain(&record.result, "commit"));
        writeln!(out, "- {}{finding} (`{command}`, {commit})", record.name).expect("a string takes everything");
    }
    out
}

/// The numbers for which the bench is run.
fn finding(result: &Value) -> String {
    let number = |field| find(result, field).and_then(Value::as_f64);
    if let (Some(runs), Some(done)) = (number("runs"), number("runs_done")) {
        let points = find(result, "points").and_then(Value::as_array).map_or(0, Vec::len);
        let (failed, invalid) = (plain(result, "runs_failed"), plain(result, "runs_invalid"));
        return format!(
            ": sweep of {points} points, {done} of {runs} runs, of which {failed} have failed and {invalid} are not valid"
        );
    }
    if let Some(median) = number("median_ms") {
        return format!(": median {median} ms");
    }
    if let Some(ratio) = number("ratio") {
        return format!(": {} x {ratio} ({})", plain(result, "field"), plain(result, "ratios"));
    }
    if let (Some(rate), Some(p50), Some(p99)) = (number("appends_per_s"), number("p50_us"), number("p99_us")) {
        let [system, version, shape] = ["system", "version", "shape"].map(|field| plain(result, field));
        let (durability, copies, rate) = (plain(result, "durability"), plain(result, "copies"), thousands(rate));
        return format!(
            ": {system} {version}, {shape}: {rate} appends/s, p50 {p50:.1} us, p99 {p99:.1} us ({durability}, copies: {copies})"
        );
    }
    if let (Some(after), Some(over_rtt)) = (number("after_ack_us.p50"), number("p50_over_rtt")) {
        let (p99, before) = (plain(result, "after_ack_us.p99"), plain(result, "share_before_ack"));
        let idle = plain(result, "idle.after_ack_us.p50");
        return format!(
            ": delivered p50 {after} us ({over_rtt} round trips), p99 {p99} us after the acknowledgement, {before} of the records before it; on an idle log p50 {idle} us"
        );
    }
    if let (Some(before), Some(stopped)) = (number("before_us.p99"), number("stopped_us.p99")) {
        let (times, caught_up) = (plain(result, "p99_ratio"), plain(result, "caught_up_ms"));
        let rate = thousands(number("offered_per_s").unwrap_or(0.0));
        return format!(
            ": one LogServer stopped under {rate} appends/s: p99 {before} us before, {stopped} us meanwhile (x {times}); at the tail again after {caught_up} ms"
        );
    }
    if let (Some(p50), Some(ratio)) = (number("p50_added_us"), number("throughput_ratio")) {
        let (sure, p99) = (plain(result, "p50_added_us_ci95"), plain(result, "p99_added_us"));
        let what = if plain(result, "null") == "true" { "another bare loglet" } else { "a virtual log" };
        return format!(": {what} adds p50 {p50} us ({sure}), p99 {p99} us; throughput x {ratio}");
    }
    if let (Some(open), Some(share)) = (number("open_ms.p50"), number("read_ratio")) {
        let (segments, show) = (plain(result, "segments"), plain(result, "show_ms.p50"));
        return format!(": {segments} segments: open {open} ms, show {show} ms; full read x {share} of one segment's");
    }
    if let (Some(p50), Some(max)) = (number("unavailable_ms.p50"), number("unavailable_ms.max")) {
        let (times, fault) = (plain(result, "rounds"), plain(result, "fault"));
        return format!(": {times} times {fault}: unavailable p50 {p50} ms, max {max} ms");
    }
    if let (Some(p50), Some(p99)) = (number("extend_ms.p50"), number("extend_ms.p99")) {
        let (gap, without) = (plain(result, "append_gap_ms.p99"), plain(result, "append_gap_without_ms.p99"));
        let (times, share) = (plain(result, "reconfigurations"), plain(result, "load_share"));
        return format!(
            ": {times} live extends at {share} of the peak: p50 {p50} ms, p99 {p99} ms; append gap p99 {gap} ms, without extends {without} ms"
        );
    }
    let (Some(read), Some(beside), Some(slow)) =
        (number("catch_up.bytes_per_s"), number("p99_beside_catch_up_ratio"), number("p99_beside_slow_ratio"))
    else {
        return String::new();
    };
    let read = read / 1e9;
    format!(": catch-up {read:.2} GB/s; p99 of appends beside it x {beside}, beside slow subscribers x {slow}")
}

fn line(out: &mut String, name: &str, result: &Value) {
    let cells = [
        name.to_owned(),
        shape(result),
        thousands(find(result, "appends_per_s").and_then(Value::as_f64).unwrap_or(0.0)),
        plain(result, "latency_us.p50"),
        plain(result, "latency_us.p99"),
        plain(result, "p50_over_floor"),
        plain(result, "durability"),
        plain(result, "commit"),
    ];
    writeln!(out, "| {} |", cells.join(" | ")).expect("a string takes everything");
}

/// How the load was made: nodes, connections, what was in flight, size of a record.
fn shape(result: &Value) -> String {
    let load = match find(result, "offered_per_s").and_then(Value::as_f64) {
        Some(rate) => format!("open loop at {}/s", thousands(rate)),
        None => format!("{} in flight", plain(result, "inflight")),
    };
    let (nodes, clients) = (plain(result, "nodes"), plain(result, "clients"));
    format!("{nodes} nodes, {clients} clients, {load}, {} B", plain(result, "record_bytes"))
}

fn plain(result: &Value, field: &str) -> String {
    match find(result, field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Whole, with spaces between groups of three digits.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let group = |(at, digit): (usize, char)| {
        let space = at > 0 && (digits.len() - at).is_multiple_of(3);
        space.then_some(' ').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            ["1", "12", "1234", "1234567"].map(|text| thousands(text.parse().unwrap())),
            ["1", "12", "1 234", "1 234 567"]
        );
    }

    #[test]
    fn a_row_of_peers_says_what_its_numbers_are_worth() {
        let result = serde_json::json!({
            "bench": "peers", "system": "nats", "version": "2.9.10", "shape": "batched", "appends_per_s": 65000.4,
            "p50_us": 28246.0, "p99_us": 70123.5, "durability": "quorum-page-cache", "copies": 3, "commit": "0123456789ab",
            "run": "naxos-tools peers --json"
        });
        let record = Record { file: "peers.jsonl".into(), name: "peers".to_owned(), command: None, result };
        let expected = "peers: nats 2.9.10, batched: 65 000 appends/s, p50 28246.0 us, p99 70123.5 us (quorum-page-cache, copies: 3) (`naxos-tools peers --json`, 0123456789ab)";
        assert!(table(&[record]).contains(expected));
    }

    #[test]
    fn a_tail_and_a_stall_say_what_they_were_run_for() {
        let named = |mut result: Value| {
            result["commit"] = "0123456789ab".into();
            table(&[Record { file: "x.json".into(), name: "x".to_owned(), command: Some("naxos".to_owned()), result }])
        };
        let tail = named(serde_json::json!({
            "bench": "tail", "after_ack_us": {"p50": 8.5, "p99": 40.0}, "p50_over_rtt": 0.9, "share_before_ack": 0.25,
            "idle": {"after_ack_us": {"p50": 0.0}}
        }));
        let expected = "x: delivered p50 8.5 us (0.9 round trips), p99 40.0 us after the acknowledgement, 0.25 of the records before it; on an idle log p50 0.0 us (`naxos`, 0123456789ab)";
        assert!(tail.contains(expected), "{tail}");
        let stall = named(serde_json::json!({
            "bench": "stall", "before_us": {"p99": 900.0}, "stopped_us": {"p99": 1080.0}, "p99_ratio": 1.2,
            "caught_up_ms": 270.6, "offered_per_s": 1_000_000.0
        }));
        let expected = "x: one LogServer stopped under 1 000 000 appends/s: p99 900 us before, 1080 us meanwhile (x 1.2); at the tail again after 270.6 ms (`naxos`, 0123456789ab)";
        assert!(stall.contains(expected), "{stall}");
    }

    #[test]
    fn a_load_is_one_line_that_says_how_it_was_made() {
        let mut object: Value = serde_json::from_str(include_str!("../tests/fixtures/append.json")).unwrap();
        let (name, file) = ("peak".to_owned(), "peak.json".into());
        let record = Record { file, name, command: None, result: object["result"].take() };
        let table = table(&[record]);
        let expected = "| peak | 3 nodes, 4 clients, 4096 in flight, 100 B | 812 345 | 9800.5 | 15000.0 | 98.005 | quorum-dsync | 0123456789ab |";
        assert_eq!(table.lines().nth(2), Some(expected));
    }
}
