use std::time::{Duration, SystemTime};

use super::*;
use crate::loadgen::generator::histogram;
use crate::loadgen::sweep::host::Host;
use crate::loadgen::sweep::manifest::{NoiseSeen, PointEntry};

fn manifest() -> Manifest {
    Manifest {
        schema: 1,
        bench: "sweep".to_owned(),
        commit: "0123456789ab".to_owned(),
        build: "release".to_owned(),
        command: "naxos bench sweep matrix.toml".to_owned(),
        complete: false,
        ended_by: None,
        started: "2026-01-01T00:00:00Z".to_owned(),
        ended: None,
        runs: 2,
        runs_done: 0,
        runs_failed: 0,
        runs_invalid: 0,
        machine: crate::loadgen::machine::Machine::describe(Path::new("/")),
        host: Host::describe(Path::new("/")),
        cores: None,
        drivers: Vec::new(),
        durability: "quorum-dsync".to_owned(),
        matrix: "[[load]]\n".to_owned(),
        points: vec![PointEntry { name: "p".to_owned(), command: "naxos bench append".to_owned() }],
        noise: NoiseSeen::default(),
        drift: Vec::new(),
        warnings: Vec::new(),
    }
}

fn row(repeat: u32) -> Row {
    Row {
        run: repeat,
        repeat,
        point: "p".to_owned(),
        valid: true,
        appends_per_s: Some(100.5),
        samples: Some(2),
        acked: Some(3),
        read_back: Some(3),
        ..Row::default()
    }
}

/// Two intervals with a sample each.
fn intervals(repeat: u32) -> [Interval; 2] {
    [1, 2].map(|second| {
        let mut latency = histogram();
        latency.record(1_000 * second).unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second);
        Interval { repeat, start, duration: Duration::from_secs(1), latency }
    })
}

/// A directory with two runs, one of which has failed.
fn recorded(parent: &Path) -> PathBuf {
    let mut recorder = Recorder::create_beside(parent, "day").unwrap();
    recorder.push(row(1), &intervals(1)).unwrap();
    let error = "no space, \"really\"\nnone".to_owned();
    let failed = Row { error: error.clone(), valid: false, samples: None, appends_per_s: None, ..row(2) };
    recorder.push(failed, &[]).unwrap();
    let mut manifest = manifest();
    manifest.count(recorder.rows(), &["dirty".to_owned()]);
    recorder.describe(&manifest).unwrap();
    let read = Sweep::read(recorder.directory()).unwrap();
    assert_eq!(read.rows, recorder.rows());
    assert_eq!(read.manifest, manifest);
    assert!(manifest.complete && manifest.runs_failed == 1 && manifest.warnings.len() >= 2);
    recorder.directory().to_owned()
}

#[test]
fn what_is_written_is_read_back_with_the_error_of_a_run_that_has_failed() {
    let parent = tempfile::tempdir().unwrap();
    let sweep = Sweep::read(&recorded(parent.path())).unwrap();
    assert_eq!(sweep.rows[1].error, "no space, \"really\"\nnone");
    assert_eq!(sweep.intervals["p"].iter().map(|interval| interval.latency.max()).collect::<Vec<_>>(), [1_000, 2_000]);
}

#[test]
fn earlier_results_are_never_touched() {
    let parent = tempfile::tempdir().unwrap();
    let first = recorded(parent.path());
    let before = fs::read(first.join(RESULTS)).unwrap();
    assert_eq!(Recorder::create(&first).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(Recorder::create_beside(parent.path(), "day").unwrap().directory(), parent.path().join("day-2"));
    assert_eq!(fs::read(first.join(RESULTS)).unwrap(), before);
    let empty = parent.path().join("empty");
    fs::create_dir(&empty).unwrap();
    Recorder::create(&empty).unwrap().abandon().unwrap();
    assert!(!empty.exists());
}

#[test]
fn files_that_contradict_each_other_are_refused_with_the_place() {
    let parent = tempfile::tempdir().unwrap();
    let change = |file: &str, from: &str, to: &str| {
        let directory = recorded(parent.path());
        let path = directory.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
        Sweep::read(&directory).unwrap_err().to_string()
    };
    assert!(change(MANIFEST, "\"runs_done\": 2", "\"runs_done\": 3").starts_with("runs_done: 3"));
    assert!(change(MANIFEST, "\"complete\": true", "\"complete\": false").starts_with("complete: false"));
    assert!(change(MANIFEST, "\"schema\": 1", "\"schema\": 2").starts_with("schema: 2"));
    assert!(change(MANIFEST, "\"name\": \"p\"", "\"name\": \"q\"").contains("run 1: point"));
    assert!(change(MANIFEST, "\"bench\"", "\"bunch\"").contains("bench"));
    assert!(change(RESULTS, ",true,,100.5", ",true,broken,100.5").contains("run 1: valid"));
    assert!(change(RESULTS, ",3,3,", ",3,2,").contains("read back"));
    assert!(change("p.hlog", "repeat-1", "repeat-2").contains("samples: 2, and p.hlog has 1 of repeat 1"));
    assert!(change(RESULTS, "\n1,1,", "\n1,7,").contains("no repeat 7"));
}
