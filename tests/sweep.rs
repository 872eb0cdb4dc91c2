//! `naxos bench sweep`: small sweeps of real clusters, what they leave, and what they refuse.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use naxos::loadgen::sweep::record::{Recorder, Sweep};
use naxos::loadgen::sweep::row::Row;
use rustix::process::{Pid, Signal, kill_process};
use support::disk::TinyDisk;
use support::process::program;

const USAGE: i32 = 2;
const INVALID: i32 = 6;
const INTERRUPTED: i32 = 130;
const PATIENCE: Duration = Duration::from_secs(120);
const SHORT: &str = "seconds = 0.3\nwarm_up = 0.05\nprepare_bytes = 1\n";

fn sweep(directory: &Path, matrix: &str, arguments: &[&str]) -> Command {
    let file = directory.join("matrix.toml");
    fs::write(&file, matrix).unwrap();
    let data = directory.join("data");
    fs::create_dir_all(&data).unwrap();
    let mut command = program();
    command.args(["bench", "sweep"]).arg(file).args(arguments).stdin(Stdio::null()).current_dir(directory);
    if !arguments.contains(&"--dir") {
        command.arg("--dir").arg(data);
    }
    command
}

/// A program that ends with its test, which its nodes follow.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// As Ctrl-C does; the exit code.
    fn interrupt(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        self.0.wait().unwrap().code()
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn a_sweep_leaves_a_record_that_can_be_read_and_touches_no_earlier_one() {
    let directory = support::scratch();
    let longer = SHORT.replace("seconds = 0.3", "seconds = 1.2");
    let matrix = format!("{longer}repeats = 2\n[[load]]\nnodes = [1]\nclients = [2]\ninflight = [1, 8]\n");
    let arguments = ["--out", "out", "--json", "--cores", "0"];
    let output = sweep(directory.path(), &matrix, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((printed["directory"].as_str(), printed["complete"].as_bool()), (Some("out"), Some(true)));

    let out = directory.path().join("out");
    let sweep_read = Sweep::read(&out).unwrap();
    let order: Vec<_> = sweep_read.rows.iter().map(|row| (row.repeat, row.inflight.unwrap())).collect();
    assert_eq!(order, [(1, 1), (1, 8), (2, 1), (2, 8)], "all points once, then again");
    assert!(sweep_read.rows.iter().all(|row| row.valid && row.acked > Some(0) && row.acked == row.read_back));
    let stages = |row: &Row| row.stages().expect("where the time of appends went is known").iter().sum::<f64>();
    for row in &sweep_read.rows {
        // Of the oldest record of each batch, and not of each record; a wide bound, against a factor of a thousand.
        let (sum, p50) = (stages(row), row.p50_us.unwrap());
        assert!(row.batches > Some(0) && sum > p50 / 10.0 && sum < p50 * 10.0, "{sum} of {p50}");
    }
    assert_eq!(sweep_read.manifest.drift[0].measured, 4);
    assert_eq!(sweep_read.manifest.matrix, matrix);
    assert_eq!(sweep_read.manifest.cores.as_ref().unwrap().nodes, "0");
    assert!(is_empty(&directory.path().join("data")), "the clusters' data has gone");

    // With the parser of the format alone, and not with what has written it.
    let text = fs::read(out.join("1-nodes-1-shards-auto-100b-2-clients-8-in-flight.hlog")).unwrap();
    let entries = IntervalLogIterator::new(&text).map(|entry| entry.unwrap());
    let intervals = entries.filter(|entry| matches!(entry, LogEntry::Interval(_))).count();
    assert_eq!(intervals, 2 * 2, "the seconds of each run");

    let before = fs::read(out.join("results.csv")).unwrap();
    let again = sweep(directory.path(), &matrix, &arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(USAGE));
    assert!(errors(&again).contains("never overwritten"), "{}", errors(&again));
    assert_eq!(fs::read(out.join("results.csv")).unwrap(), before);
}

#[test]
fn an_interrupted_sweep_keeps_the_runs_that_have_ended_and_nothing_else() {
    let directory = support::scratch();
    let matrix = format!("{SHORT}repeats = 100\n[[load]]\nnodes = [1]\nclients = [1]\ninflight = [1]\n");
    let interrupted = |name: &str, lines: usize| {
        let out = directory.path().join(name);
        let mut running = Running::start(&mut sweep(directory.path(), &matrix, &["--out", name]));
        let since = Instant::now();
        while fs::read_to_string(out.join("results.csv")).map_or(0, |text| text.lines().count()) < lines
            || !out.join("manifest.json").exists()
        {
            assert!(since.elapsed() < PATIENCE && !running.has_ended(), "no run has ended");
            thread::yield_now();
        }
        assert_eq!(running.interrupt(), Some(INTERRUPTED));
        assert!(is_empty(&directory.path().join("data")), "the clusters' data has gone");
        out
    };
    let sweep = Sweep::read(&interrupted("cut", 2)).unwrap();
    assert!(!sweep.manifest.complete && !sweep.rows.is_empty() && sweep.rows.iter().all(|row| row.valid));
    assert_eq!(sweep.manifest.ended_by.as_deref(), Some("interrupted"));
    assert!(!interrupted("early", 0).exists(), "what has come to nothing leaves nothing");
}

#[test]
fn a_point_that_has_no_space_is_a_row_with_its_error_and_the_rest_goes_on() {
    let disk = match TinyDisk::mount(420 << 20) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: no file system can be mounted here: {why}"),
    };
    let directory = support::scratch();
    let matrix = format!("{SHORT}repeats = 1\n[[load]]\nnodes = [5, 1]\nclients = [1]\ninflight = [1]\n");
    let arguments = ["--out", "out", "--dir", disk.mounted.to_str().unwrap()];
    let output = sweep(directory.path(), &matrix, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(INVALID), "{}", errors(&output));
    let sweep = Sweep::read(&directory.path().join("out")).unwrap();
    let error = &sweep.rows[0].error;
    assert!(error.contains("free") && error.contains("--dir"), "{error}");
    assert!(sweep.rows[1].valid, "{}", sweep.rows[1].error);
    assert!(sweep.manifest.complete && sweep.manifest.runs_failed == 1);
}

#[test]
fn an_open_loop_at_a_share_of_the_peak_has_the_same_rate_in_every_repeat() {
    let directory = support::scratch();
    let loads = "nodes = [1]\nclients = [2]\ninflight = [8]\nrates = [\"5% of the peak\"]\n";
    let matrix = format!("{SHORT}repeats = 2\n[[load]]\n{loads}");
    let output = sweep(directory.path(), &matrix, &["--out", "out"]).output().unwrap();
    let sweep = Sweep::read(&directory.path().join("out")).unwrap();
    let [peak, first, again, second] = &sweep.rows[..] else { panic!("{}", errors(&output)) };
    let share = (peak.appends_per_s.unwrap() * 0.05).round();
    assert_eq!((first.offered_per_s, second.offered_per_s), (Some(share), Some(share)));
    assert!(peak.valid && again.valid && first.rate == "5% of the peak" && first.inflight.is_none());
    // On a machine that is busy the generator may be late, and nothing else.
    for open in [first, second].into_iter().filter(|open| !open.valid) {
        assert!(open.error.contains("fell behind") && output.status.code() == Some(INVALID), "{}", open.error);
    }
    let command = &sweep.manifest.points[1].command;
    assert!(command.contains(&format!("--rate={share}")) && command.contains("--nodes=1"), "{command}");
}

/// Cores that each thread of a process may use.
fn cores_of(process: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let status = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    let cores = |status: String| {
        let line =
            status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:").map(str::trim).map(str::to_owned));
        line.unwrap_or_default()
    };
    status.map(cores).collect()
}

#[test]
fn the_load_and_the_nodes_run_on_the_cores_that_they_are_given() {
    if thread::available_parallelism().unwrap().get() < 2 {
        return eprintln!("skipped: there is one core");
    }
    let directory = support::scratch();
    let mut command = program();
    let line = "bench append --nodes 1 --seconds 600 --prepare-bytes 1 --cores 0:1 --dir";
    command.args(line.split(' '));
    let mut running = Running::start(command.arg(directory.path()));
    let (since, own) = (Instant::now(), running.0.id());
    let nodes = || -> Vec<u32> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
        let parent = format!("\nPPid:\t{own}\n");
        let is_child = |process: &u32| {
            fs::read_to_string(format!("/proc/{process}/status")).is_ok_and(|status| status.contains(&parent))
        };
        numbers.filter(is_child).collect()
    };
    loop {
        assert!(since.elapsed() < PATIENCE && !running.has_ended(), "the load has not begun");
        let (load, nodes): (Vec<_>, Vec<_>) = (cores_of(own), nodes().into_iter().flat_map(cores_of).collect());
        // The thread that waits for signals was there before, on all cores.
        let elsewhere = load.iter().filter(|cores| *cores != "0").count();
        if load.len() > 3 && elsewhere == 1 && !nodes.is_empty() {
            assert!(nodes.iter().all(|cores| cores == "1"), "{nodes:?}");
            break;
        }
        thread::yield_now();
    }
    assert_eq!(running.interrupt(), Some(INTERRUPTED));
}

#[test]
fn results_on_a_disk_that_is_full_end_where_the_last_whole_run_does() {
    let disk = match TinyDisk::mount(4 << 20) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: no file system can be mounted here: {why}"),
    };
    let mut recorder = Recorder::create(&disk.mounted.join("out")).unwrap();
    let row = Row { point: "p".to_owned(), error: "x".repeat(3000), ..Row::default() };
    recorder.push(row.clone(), &[]).unwrap();
    let filler = disk.mounted.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    // What was set aside for blocks that have no place yet comes back when they have one, so that it takes a few turns.
    while file.write_all(&[1; 4096]).is_ok() || (file.sync_all().is_ok() && file.write_all(&[1; 512]).is_ok()) {}
    let pushed = (0..100).take_while(|_| recorder.push(row.clone(), &[]).is_ok()).count();
    assert!(pushed < 10, "the disk is full");
    let text = fs::read_to_string(recorder.directory().join("results.csv")).unwrap();
    assert_eq!((text.lines().count(), recorder.rows().len()), (pushed + 2, pushed + 1));
    assert!(text.ends_with('\n'));
    file.set_len(0).unwrap();
    file.sync_all().unwrap();
    recorder.push(row, &[]).unwrap();
}

#[test]
fn impossible_matrices_are_refused_before_anything_starts() {
    let directory = support::scratch();
    for (matrix, words) in [
        ("[[load]]\nclient = [1]", "unknown field `client`"),
        ("[[load]]\nclients = []", "empty list"),
        ("[[load]]\nclients = [0]", "--clients"),
        ("[[load]]\nclients = [99999999]", "--clients"),
        ("[[load]]\nrecord_bytes = [3]", "--record-bytes 3"),
        ("[[load]]\ndrivers = [\"rdma\"]", "rdma"),
        ("repeats = 0\n[[load]]", "repeats = 0"),
    ] {
        let output = sweep(directory.path(), matrix, &["--out", "out"]).output().unwrap();
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(USAGE), "{matrix}: {text}");
        assert!(text.contains(words) && text.contains("matrix.toml"), "{matrix}: {text}");
    }
    for arguments in [["--cores", "0:4000"], ["--machine", "../up"], ["--dir", "/proc/nowhere"]] {
        let output = sweep(directory.path(), "[[load]]", &[&arguments[..], &["--json"]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}: {}", errors(&output));
    }
    assert!(!directory.path().join("out").exists() && !directory.path().join("bench-results").exists());
}

/// What is committed can be run, and says what it means.
#[test]
fn the_matrices_that_come_along_hold() {
    let directory = support::scratch();
    let matrices = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/matrices");
    let paths: Vec<_> = fs::read_dir(matrices).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(paths.len() >= 2, "{paths:?}");
    for path in paths {
        let output = sweep(directory.path(), &fs::read_to_string(&path).unwrap(), &["--dry-run", "--json"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}: {}", path.display(), errors(&output));
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let (runs, points) = (plan["runs"].as_u64().unwrap(), plan["points"].as_array().unwrap().len() as u64);
        assert!(runs >= 4 * points, "two of {} can be told apart from chance", path.display());
        assert!(plan["load_seconds"].as_f64().unwrap() < 1000.0);
    }
}
