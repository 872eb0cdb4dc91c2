//! Records of sweeps as the program sees them: checked, shown as a page, and compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use naxos::loadgen::machine::Machine;
use naxos::loadgen::sweep::hlog::Interval;
use naxos::loadgen::sweep::host::Host;
use naxos::loadgen::sweep::manifest::{Manifest, NoiseSeen, PointEntry};
use naxos::loadgen::sweep::matrix::Matrix;
use naxos::loadgen::sweep::record::Recorder;
use naxos::loadgen::sweep::row::Row;

const MATRIX: &str =
    "seconds = 0.3\nrepeats = 5\n[[load]]\nclients = [1, 4]\ninflight = [16, 256]\nrates = [\"50% of the peak\"]\n";
/// Of a run by those of another: noise that is the same every time.
const NOISE: [f64; 5] = [1.0, 1.004, 0.997, 1.002, 0.995];

fn tools(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_naxos-tools")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A sweep whose numbers are made up: `change` may change a run, and the manifest's machine is one that is nowhere.
fn recorded(parent: &Path, change: impl Fn(&mut Row)) -> PathBuf {
    let matrix = Matrix::parse(MATRIX).unwrap();
    let mut recorder = Recorder::create_beside(parent, "2026-01-01-0123456789ab").unwrap();
    for repeat in 1..=matrix.repeats {
        for point in &matrix.points {
            let noise = NOISE[repeat as usize - 1];
            let concurrency = (point.clients * 16) as f64;
            let mut row = Row {
                run: recorder.rows().len() as u32 + 1,
                repeat,
                started_s: recorder.rows().len() as f64 * 5.0,
                driver_used: "uring".to_owned(),
                offered_per_s: Row::of(point).inflight.is_none().then_some(25_000.0),
                valid: true,
                appends_per_s: Some(concurrency * 1000.0 * noise),
                p50_us: Some(500.0 * noise),
                p99_us: Some(2000.0 * noise),
                max_us: Some(3000.0),
                samples: Some(100),
                floor_append_p50_us: Some(100.0 * noise),
                acked: Some(100),
                read_back: Some(100),
                missing: Some(0),
                corrupt: Some(0),
                batches: Some(10),
                client_queue_us: Some(50.0),
                network_in_us: Some(20.0),
                sequencing_us: Some(1.0),
                batch_wait_us: Some(4.0),
                submit_us: Some(2.0),
                device_us: Some(300.0 * noise),
                quorum_wait_us: Some(100.0),
                release_us: Some(1.0),
                network_out_us: Some(22.0),
                ..Row::of(point)
            };
            change(&mut row);
            let mut latency = Histogram::new_with_bounds(1, 120_000_000_000, 3).unwrap();
            (1..=50_u64).for_each(|n| latency.record(n * 20_000).unwrap());
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let interval = Interval { repeat, start, duration: Duration::from_millis(150), latency };
            let intervals = if row.samples.is_some() { vec![interval.clone(), interval] } else { Vec::new() };
            recorder.push(row, &intervals).unwrap();
        }
    }
    let point = |point: &naxos::loadgen::sweep::matrix::Point| PointEntry {
        name: point.name(),
        command: format!("naxos bench append {}", point.arguments(&matrix, None).join(" ")),
    };
    let mut manifest = Manifest {
        schema: 1,
        bench: "sweep".to_owned(),
        commit: "0123456789ab".to_owned(),
        build: "release".to_owned(),
        command: "naxos bench sweep 'a <matrix>.toml'".to_owned(),
        complete: false,
        ended_by: None,
        started: "2026-01-01T00:00:00Z".to_owned(),
        ended: Some("2026-01-01T00:10:00Z".to_owned()),
        runs: matrix.runs() as u32,
        runs_done: 0,
        runs_failed: 0,
        runs_invalid: 0,
        machine: Machine {
            cpu: "Example <CPU> & more".to_owned(),
            cores: 8,
            kernel: "6.1.0".to_owned(),
            disk: "nvme0n1 ext4".to_owned(),
            write_cache: "write through".to_owned(),
            fua: None,
        },
        host: Host::describe(Path::new("/")),
        cores: None,
        drivers: Vec::new(),
        durability: "quorum-dsync".to_owned(),
        matrix: MATRIX.to_owned(),
        points: matrix.points.iter().map(point).collect(),
        noise: NoiseSeen::default(),
        drift: Vec::new(),
        warnings: Vec::new(),
    };
    manifest.count(recorder.rows(), &["the governor is <slow>".to_owned()]);
    recorder.describe(&manifest).unwrap();
    recorder.directory().to_owned()
}

#[test]
fn a_sweep_is_a_record_among_others() {
    let parent = tempfile::tempdir().unwrap();
    let machine = parent.path().join("some-machine");
    let directory = recorded(&machine, |_| {});
    let output = tools(&["records", "--check", text(parent.path())]);
    assert!(output.status.success(), "{}", complained(&output));
    let table = said(&tools(&["records", text(parent.path())]));
    assert!(table.contains("some-machine/2026-01-01-0123456789ab: sweep of 6 points, 30 of 30 runs"), "{table}");

    let results = directory.join("results.csv");
    let damaged = fs::read_to_string(&results).unwrap().replacen(",100,100,0,0,", ",100,100,1,0,", 1);
    fs::write(&results, damaged).unwrap();
    let output = tools(&["records", "--check", text(parent.path())]);
    assert!(
        !output.status.success() && complained(&output).contains("manifest.json: run 1: valid"),
        "{}",
        complained(&output)
    );
}

#[test]
fn records_that_were_lost_are_named_even_in_a_run_that_says_it_is_not_valid() {
    let parent = tempfile::tempdir().unwrap();
    recorded(parent.path(), |row| {
        if row.run == 3 {
            (row.valid, row.error, row.missing) = (false, "the verification failed".to_owned(), Some(2));
        }
    });
    let output = tools(&["records", "--check", text(parent.path())]);
    assert!(complained(&output).contains("run 3: missing: 2"), "{}", complained(&output));
}

#[test]
fn the_page_has_every_point_and_every_warning_and_needs_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let directory = recorded(parent.path(), |row| {
        if row.run == 2 {
            *row = Row {
                samples: None,
                appends_per_s: None,
                floor_append_p50_us: None,
                p50_us: None,
                valid: false,
                error: "no space <left> & more".to_owned(),
                ..row.clone()
            };
        }
    });
    let peers = parent.path().join("peers.jsonl");
    let row = serde_json::json!({
        "schema": 1, "bench": "peers", "commit": "0123456789ab", "system": "redis", "version": "7.0.15",
        "durability": "fsync", "shape": "single", "copies": 1, "record_bytes": 100, "appends_per_s": 2000.5,
        "p50_us": 450.1, "p99_us": 900.0, "verified": {"acked": 9}, "valid": true
    });
    fs::write(&peers, format!("{row}\n")).unwrap();
    for _ in 0..2 {
        // The second replaces the first: it is made of the record.
        let output = tools(&["report", text(&directory), "--peers", text(&peers)]);
        assert!(output.status.success(), "{}", complained(&output));
        assert_eq!(said(&output).trim(), text(&directory.join("report.html")));
    }
    let page = fs::read_to_string(directory.join("report.html")).unwrap();
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&page, options).unwrap();
    let words: String = document.descendants().filter_map(|node| node.text()).collect::<Vec<_>>().join("\n");
    let matrix = Matrix::parse(MATRIX).unwrap();
    for point in &matrix.points {
        assert!(words.contains(&point.name()), "{}", point.name());
    }
    for word in
        ["the governor is <slow>", "no space <left> & more", "redis 7.0.15", "naxos bench sweep 'a <matrix>.toml'"]
    {
        assert!(words.contains(word), "{word}");
    }
    let plots = document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "svg"))).count();
    let titles: Vec<_> =
        document.descendants().filter(|node| node.tag_name().name() == "h3").filter_map(|n| n.text()).collect();
    assert_eq!(plots, titles.len());
    let waterfall =
        |point: &naxos::loadgen::sweep::matrix::Point| format!("{}×16, {} nodes", point.clients, point.nodes);
    assert!(titles.iter().any(|title| title.starts_with(&waterfall(&matrix.points[0]))), "{titles:?}");
    assert!(words.contains("quorum_wait: 100 us"), "a stage of a run");
    for title in ["Throughput against p99", "Percentiles: 3 nodes", "Throughput over clients", "The floor", "Beside"] {
        assert!(titles.iter().any(|found| found.starts_with(title)), "{title}: {titles:?}");
    }
    for reference in ["src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(reference), "{reference}");
    }
    fs::write(&peers, "{\"schema\": 1, \"bench\": \"peers\"}\n").unwrap();
    let output = tools(&["report", text(&directory), "--peers", text(&peers)]);
    assert!(complained(&output).contains("peers.jsonl, line 1"), "{}", complained(&output));
}

#[test]
fn a_planted_difference_is_found_and_none_where_there_is_none() {
    let parent = tempfile::tempdir().unwrap();
    let base = recorded(parent.path(), |_| {});
    // Other noise, in another order, around the same middle.
    let same = recorded(parent.path(), |row| {
        let noise = NOISE[row.repeat as usize % 5] / NOISE[row.repeat as usize - 1];
        row.appends_per_s = row.appends_per_s.map(|rate| rate * noise);
    });
    let slower = recorded(parent.path(), |row| {
        if row.clients == 4 && row.inflight == Some(256) {
            row.appends_per_s = row.appends_per_s.map(|rate| rate * 0.9);
        }
        if row.clients == 1 && row.inflight == Some(16) {
            row.p99_us = row.p99_us.map(|p99| p99 * 0.8);
        }
    });
    let output = tools(&["compare-records", text(&base), text(&same)]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("0 better, 0 worse, 16 without a difference"), "{}", said(&output));
    assert!(!said(&output).contains("WARNING"), "{}", said(&output));

    let output = tools(&["compare-records", text(&base), text(&slower)]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let found = said(&output);
    assert!(found.contains("1 better, 1 worse, 14 without"), "{found}");
    let line = |number: &str, verdict: &str| found.lines().find(|line| line.contains(number) && line.contains(verdict));
    let worse = line("appends_per_s", "WORSE by 10.0 %").unwrap_or_else(|| panic!("{found}"));
    assert!(worse.starts_with("3-nodes-1-shards-auto-100b-4-clients-256-in-flight"), "{worse}");
    assert!(line("p99_us", "BETTER by 20.0 %").is_some(), "{found}");
    assert_eq!(said(&tools(&["compare-records", text(&base), text(&slower)])), found, "the same every time");

    let output = tools(&["compare-records", text(&slower), text(&base), "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "what has become better has become worse in the other direction");
    assert_eq!(object["lines"].as_array().unwrap().len(), 16);
}

#[test]
fn another_machine_is_said_first() {
    let parent = tempfile::tempdir().unwrap();
    let (base, other) = (
        recorded(parent.path(), |_| {}),
        recorded(parent.path(), |row| {
            row.floor_append_p50_us = row.floor_append_p50_us.map(|floor| floor * 1.5);
            row.driver_used = "epoll".to_owned();
        }),
    );
    let manifest = other.join("manifest.json");
    let changed = fs::read_to_string(&manifest).unwrap().replace("\"6.1.0\"", "\"6.9.0\"");
    fs::write(manifest, changed).unwrap();
    let found = said(&tools(&["compare-records", text(&base), text(&other)]));
    for words in ["another kernel: 6.1.0 and 6.9.0", "another driver: uring and epoll", "floor of 3 copies is x 1.5"] {
        let place = found.find(words).unwrap_or_else(|| panic!("{words}: {found}"));
        assert!(found[..place].ends_with("WARNING: ") || found[..place].contains("WARNING"), "{found}");
        assert!(place < found.find("appends_per_s").unwrap(), "{found}");
    }
    let output = tools(&["compare-records", text(&base), text(parent.path())]);
    assert!(!output.status.success() && complained(&output).contains("is no sweep"), "{}", complained(&output));
}
