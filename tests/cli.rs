//! The program from outside: wrong usage of every command, and what a cluster in child processes leaves behind.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use support::command::{FAILURE, USAGE, json, naxos, refused, run, text};
use support::scratch as directory;

const UNAVAILABLE: i32 = 4;
const TRIMMED: i32 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster file whose only node does not exist.
fn dead_cluster(directory: &Path) -> String {
    // Port 9 (discard) is reserved, and nobody listens there.
    let (node, address) = ("00000000000000000000000000000001", "127.0.0.1:9");
    let file = serde_json::json!({
        "cluster": "05", "default_log": "default",
        "nodes": [{ "node": node, "address": address }]
    });
    let path = directory.join("cluster.json");
    fs::write(&path, file.to_string()).unwrap();
    text(&path).to_owned()
}

#[test]
fn help_documents_the_exit_codes() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for line in ["Exit codes", "8  no majority", "130  interrupted"] {
        assert!(help.contains(line), "{line}");
    }
}

#[test]
fn every_command_on_a_log_names_the_missing_cluster_file() {
    let directory = directory();
    let file = directory.path().join("nothing.json");
    let lines: [&[&str]; 10] = [
        &["append", "x"],
        &["read"],
        &["tail"],
        &["log", "create", "x"],
        &["log", "list"],
        &["log", "show"],
        &["log", "reconfigure"],
        &["log", "seal"],
        &["trim", "1"],
        &["status"],
    ];
    for line in lines {
        let arguments = [&["--cluster", text(&file)], line].concat();
        refused(&arguments, USAGE, &["nothing.json", "naxos dev"]);
    }
}

#[test]
fn a_file_that_is_no_cluster_file_is_named() {
    let directory = directory();
    let file = directory.path().join("cluster.json");
    for content in ["", "{", "{}", "[1]", "\u{0}\u{1}"] {
        fs::write(&file, content).unwrap();
        refused(&["--cluster", text(&file), "tail"], USAGE, &["cluster.json", "no cluster file"]);
    }
}

#[test]
fn wrong_numbers_and_words_are_usage_errors() {
    let lines: [&[&str]; 38] = [
        &[],
        &["frobnicate"],
        &["log"],
        &["log", "unseal"],
        &["log", "create"],
        &["log", "create", "x", "--replicas", "0"],
        &["log", "create", "x", "--stripes", "0"],
        &["log", "create", "x", "--stripes", "65"],
        &["log", "create", "x", "--stripes", "0..4"],
        &["log", "create", "x", "--stripes", "2..65"],
        &["log", "create", "x", "--stripes", "4..2"],
        &["log", "create", "x", "--stripes", "..4"],
        &["log", "create", "x", "--stripes", "2.."],
        &["log", "reconfigure", "--to", "striped:4..2"],
        &["log", "reconfigure", "--to", "striped:1..1"],
        &["log", "reconfigure", "--to", "striped:1..65"],
        &["log", "reconfigure", "--to", "paper"],
        &["log", "reconfigure", "--to", "striped"],
        &["log", "reconfigure", "--to", "striped:0"],
        &["log", "reconfigure", "--to", "striped:1"],
        &["log", "reconfigure", "--sharded"],
        &["log", "reconfigure", "--to", "striped:2", "--sharded", "--log-servers", "1,2"],
        &["trim"],
        &["trim", "-1"],
        &["trim", "x"],
        &["read", "--from", "-3"],
        &["read", "--count", "many"],
        &["read", "--raw", "--json"],
        &["append", "x", "--from", "file"],
        &["--timeout", "0", "tail"],
        &["serve", "--dir", "x"],
        &["serve", "--dir", "x", "--cluster-id", "zebra"],
        &["serve", "--dir", "x", "--cluster-id", "5", "--listen", "here"],
        &["dev", "--nodes", "0"],
        &["bench", "--seconds", "0"],
        &["bench", "append", "--rate", "10", "--inflight", "3"],
        &["bench", "append", "--realtime"],
        &["bench", "append", "--stripes", "2", "--near", "--embedded-sequencer"],
    ];
    for line in lines {
        refused(line, USAGE, &["--help"]);
    }
    refused(&["bench", "append", "--clients", "0"], USAGE, &["--clients"]);
    let lanes = ["--lanes", "all", "--shards", "2", "--embedded-sequencer"];
    refused(&[&["bench", "append"][..], &lanes].concat(), USAGE, &["--lanes all", "--embedded-sequencer"]);
    refused(&["bench", "append", "--rate", "nan"], USAGE, &["--rate"]);
    for command in ["append", "failover"] {
        refused(&["bench", command, "--stripes", "1..3"], USAGE, &["one number of stripes, from 1 to 64"]);
    }
    let failover: [(&[&str], &[&str]); 4] = [
        (&["--fault", "kill", "--calm", "5"], &["--calm goes with --fault none"]),
        (&["--calm", "5"], &["--calm goes with --fault none"]),
        (&["--fault", "stop", "--busy", "1"], &["--busy goes with --fault none"]),
        (&["--fault", "none", "--rounds", "3"], &["--rounds means nothing with --fault none"]),
    ];
    for (options, words) in failover {
        refused(&[&["bench", "failover"], options].concat(), USAGE, words);
    }
    for kind in ["striped:1", "striped:65", "striped:0", "striped:1..1", "striped:1..65"] {
        let words = ["`striped:K` with 2 to 64 stripes, or `striped:MIN..MAX` with MAX from 2 to 64"];
        refused(&["log", "reconfigure", "--to", kind], USAGE, &words);
    }
    refused(&["log", "reconfigure", "--to", "striped:4..2"], USAGE, &["begins with the smaller number"]);
    let usage = "Usage: naxos log reconfigure [OPTIONS] [NAME]\n";
    refused(&["log", "reconfigure", "s1", "--sharded"], USAGE, &["--to <KIND>", usage]);
    refused(&["bench", "append", "--near"], USAGE, &["--near", "--stripes 2"]);
}

#[test]
fn records_that_cannot_be_verified_are_refused_before_anything_starts() {
    for bytes in ["0", "23", "1048577"] {
        refused(&["bench", "append", "--record-bytes", bytes], USAGE, &["--record-bytes", bytes, "24"]);
    }
}

#[test]
fn an_address_in_use_is_named_once() {
    let directory = directory();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["serve", "--dir", text(directory.path()), "--cluster-id", "5", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.matches(&address).count(), 1, "{errors}");
    assert_eq!(errors.matches("in use").count(), 1, "{errors}");
}

#[test]
fn errors_are_json_where_results_are() {
    let output = run(&["--json", "--cluster", "/nonexistent/cluster.json", "tail"]);
    assert_eq!(output.status.code(), Some(USAGE));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["exit_code"], USAGE);
    assert!(error["error"].as_str().unwrap().contains("/nonexistent/cluster.json"));
}

/// As a disk without room, and as a pipe whose reader has gone.
fn unwritable() -> [Stdio; 2] {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let (_, closed) = std::io::pipe().unwrap();
    [full.into(), closed.into()]
}

#[test]
fn an_error_that_cannot_be_told_keeps_its_exit_code() {
    let directory = directory();
    let dead = dead_cluster(directory.path());
    let nowhere = directory.path().join("nothing.json");
    let lines: [(&[&str], i32); 4] = [
        (&["--cluster", text(&nowhere), "log", "show", "nope"], USAGE),
        (&["--cluster", text(&nowhere), "log", "show", "nope", "--json"], USAGE),
        (&["frobnicate"], USAGE),
        (&["--cluster", &dead, "--timeout", "1", "tail"], UNAVAILABLE),
    ];
    for (line, code) in lines {
        for errors in unwritable() {
            assert_eq!(naxos(line).stderr(errors).status().unwrap().code(), Some(code), "{line:?}");
        }
    }
    let mut status = naxos(&["--cluster", &dead, "--timeout", "1", "status"]);
    let [_, closed] = unwritable();
    assert_eq!(status.stdout(Stdio::null()).stderr(closed).status().unwrap().code(), Some(UNAVAILABLE));
}

/// What it tells of the course of its life is no reason to end it.
#[test]
fn a_node_whose_log_cannot_be_written_serves_and_stops_in_order() {
    for log in unwritable() {
        let directory = directory();
        let mut node = naxos(&["--json", "serve", "--dir", text(directory.path()), "--cluster-id", "5"]);
        node.args(["--listen", "0.0.0.0:0", "--shards", "1"]).stdout(Stdio::piped()).stderr(log);
        let mut node = Running(node.env("NOTIFY_SOCKET", "/nonexistent/notify").spawn().unwrap());
        node.first_line();
        kill_process(node.pid(), Signal::TERM).unwrap();
        assert!(node.0.wait().unwrap().success());
    }
}

#[test]
fn a_directory_in_memory_is_refused_by_all_who_store() {
    let memory = Path::new("/dev/shm");
    // Machines without it have nothing to refuse.
    if rustix::fs::statfs(memory).is_ok_and(|kind| kind.f_type == 0x0102_1994) {
        let directory = tempfile::tempdir_in(memory).unwrap();
        let path = text(directory.path());
        let id = "00000000000000000000000000000005";
        let words = ["tmpfs", "--allow-volatile", path];
        refused(&["dev", "--dir", path], USAGE, &words);
        refused(&["serve", "--dir", path, "--cluster-id", id, "--listen", "127.0.0.1:0"], USAGE, &words);
        refused(&["bench", "append", "--dir", path], USAGE, &words);
        refused(&["bench", "floor", "--dir", path], USAGE, &words);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left there");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let inside = file.join("inside");
    refused(&["dev", "--dir", text(&inside)], USAGE, &["file/inside"]);
    refused(&["serve", "--dir", text(&inside), "--cluster-id", "5"], USAGE, &["file/inside"]);
    refused(&["bench", "append", "--dir", text(&inside)], USAGE, &["file/inside"]);
}

#[test]
fn a_cluster_that_is_not_there_is_unavailable_within_the_timeout() {
    let directory = directory();
    let file = dead_cluster(directory.path());
    let lines: [&[&str]; 6] =
        [&["append", "x"], &["tail"], &["log", "show"], &["log", "create", "y"], &["read"], &["status"]];
    for line in lines {
        let start = Instant::now();
        refused(&[&["--cluster", &file, "--timeout", "1"], line].concat(), UNAVAILABLE, &[]);
        assert!(start.elapsed() < Duration::from_secs(20), "{line:?}");
    }
}

/// A program that is ended when the test does.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// The first line of its output, as JSON.
    fn first_line(&mut self) -> Value {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut text = String::new();
            self.0.stderr.as_mut().unwrap().read_to_string(&mut text).unwrap();
            panic!("`{line}`: {text}")
        })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Polls: what is waited for happens in other processes, which cannot tell this one.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn start_dev(directory: &Path) -> (Running, Vec<Pid>) {
    let mut dev = Running::start(&mut naxos(&["--json", "dev", "--dir", text(directory)]));
    let ready = dev.first_line();
    let pid = |node: &Value| Pid::from_raw(node["pid"].as_i64().unwrap() as i32).unwrap();
    let nodes = ready["nodes"].as_array().unwrap().iter().map(pid).collect();
    (dev, nodes)
}

#[test]
fn a_second_node_on_the_same_directory_is_refused() {
    let directory = directory();
    let node = ["--json", "serve", "--dir", text(directory.path()), "--cluster-id", "5", "--listen", "127.0.0.1:0"];
    let mut first = Running::start(&mut naxos(&node));
    first.first_line();
    refused(&node, 1, &[text(directory.path()), "another process"]);
}

#[test]
fn a_stopped_node_frees_its_directory() {
    let directory = directory();
    let node = ["--json", "serve", "--dir", text(directory.path()), "--cluster-id", "5", "--listen", "127.0.0.1:0"];
    for _ in 0..2 {
        let mut running = Running::start(&mut naxos(&node));
        running.first_line();
        kill_process(running.pid(), Signal::TERM).unwrap();
        assert!(running.0.wait().unwrap().success());
    }
}

#[test]
fn an_interrupted_cluster_leaves_no_process() {
    let directory = directory();
    let (mut dev, nodes) = start_dev(directory.path());
    assert_eq!(nodes.len(), 3);
    kill_process(dev.pid(), Signal::INT).unwrap();
    assert!(dev.0.wait().unwrap().success());
    assert!(nodes.iter().all(|&node| test_kill_process(node).is_err()), "the nodes end before the program does");
}

#[test]
fn a_killed_cluster_leaves_no_process() {
    let directory = directory();
    let (mut dev, nodes) = start_dev(directory.path());
    dev.0.kill().unwrap();
    dev.0.wait().unwrap();
    eventually("the nodes follow their parent", || nodes.iter().all(|&node| !is_running(node)));
}

/// A zombie that nobody has waited for yet has ended too.
fn is_running(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_second_cluster_on_the_same_directory_shows_the_nodes_reason() {
    let directory = directory();
    let (_dev, _) = start_dev(directory.path());
    let before = fs::read(directory.path().join("cluster.json")).unwrap();
    refused(&["dev", "--dir", text(directory.path())], 1, &["node-", "another process"]);
    assert_eq!(fs::read(directory.path().join("cluster.json")).unwrap(), before, "the first cluster's file stands");
}

#[test]
fn records_are_read_back_exactly_as_they_were_appended() {
    let directory = directory();
    let (_dev, _) = start_dev(directory.path());
    let cluster = ["--cluster", text(directory.path())];
    let input = b"first\n\n  spaces \t\xff\xfe\nlast without newline";
    let mut append = naxos(&[&cluster[..], &["append"]].concat());
    let mut append = append.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    append.stdin.take().unwrap().write_all(input).unwrap();
    let positions = append.wait_with_output().unwrap();
    assert_eq!(positions.stdout, b"0\n1\n2\n3\n");
    assert!(run(&[&cluster[..], &["append", "more", "--json"]].concat()).status.success());
    let all = run(&[&cluster[..], &["read"]].concat());
    assert_eq!(all.stdout, [&input[..], b"\nmore\n"].concat());
    let some = run(&[&cluster[..], &["read", "--from", "1", "--count", "2", "--json"]].concat());
    assert_eq!(some.stdout, b"{\"position\":1,\"text\":\"\"}\n{\"hex\":\"20207370616365732009fffe\",\"position\":2}\n");
}

#[test]
fn what_was_done_is_told_also_when_the_answer_cannot_be_written() {
    let directory = directory();
    let (_dev, _) = start_dev(directory.path());
    let cluster = ["--cluster", text(directory.path())];
    let done_without_answer = |arguments: &[&str], words: &str| {
        for format in [&[][..], &["--json"]] {
            let [full, _] = unwritable();
            let output = naxos(&[&cluster[..], format, arguments].concat()).stdout(full).output().unwrap();
            let errors = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(FAILURE), "{arguments:?}: {errors}");
            let told = errors.contains(words) && errors.contains("No space left on device");
            assert!(told, "{arguments:?} should say `{words}`: {errors}");
        }
    };
    done_without_answer(&["append", "x"], "the record has been appended to `default` at");
    assert_eq!(json(&[&cluster[..], &["tail"]].concat())["tail"], 2);
    done_without_answer(&["append", "a", "b", "c"], "3 records have been appended to `default`, the first at");
    assert_eq!(json(&[&cluster[..], &["tail"]].concat())["tail"], 8);
    done_without_answer(&["log", "reconfigure"], "`default` has been reconfigured and goes on at 8 in loglet");
    done_without_answer(&["trim", "1"], "`default` has been trimmed to 1");
    let [full, _] = unwritable();
    let output = naxos(&[&cluster[..], &["log", "create", "other"]].concat()).stdout(full).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("log `other` has been created, and only the answer could not be written"), "{errors}");
    // Nobody wants the positions of a stream, so it ends; somebody has taken what he wanted of them, so all is well.
    for (stdout, code) in unwritable().into_iter().zip([FAILURE, 0]) {
        let mut append = naxos(&[&cluster[..], &["append"]].concat());
        let mut append = Running(append.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap());
        let mut input = append.0.stdin.take().unwrap();
        eventually("the program ends", || input.write_all(b"line\n").is_err());
        assert_eq!(append.0.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_file_larger_than_the_window_keeps_its_order() {
    let directory = directory();
    let (_dev, _) = start_dev(directory.path());
    let cluster = ["--cluster", text(directory.path())];
    let input: Vec<u8> = (0..10_000).flat_map(|line| format!("{line:01000}\n").into_bytes()).collect();
    let file = directory.path().join("input");
    fs::write(&file, &input).unwrap();
    assert!(run(&[&cluster[..], &["append", "--from", text(&file)]].concat()).status.success());
    assert!(run(&[&cluster[..], &["read"]].concat()).stdout == input, "every line, in the file's order");
    refused(&[&cluster[..], &["append", "--from", text(directory.path())]].concat(), USAGE, &["directory"]);
}

/// A `naxos read --follow`, and the lines that it prints.
struct Following {
    program: Running,
    lines: BufReader<std::process::ChildStdout>,
}

impl Following {
    fn start(cluster: &[&str], options: &[&str]) -> Self {
        let mut program = Running::start(&mut naxos(&[cluster, &["read", "--follow"], options].concat()));
        let lines = BufReader::new(program.0.stdout.take().unwrap());
        Self { program, lines }
    }

    /// The next line; empty when the program has ended.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    /// What it has said beside the records, once it has ended with this code.
    fn end(mut self, code: i32) -> String {
        let mut errors = String::new();
        self.program.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(self.program.0.wait().unwrap().code(), Some(code), "{errors}");
        errors
    }
}

#[test]
fn a_log_is_followed_from_the_oldest_record_kept() {
    let directory = directory();
    let (_dev, _) = start_dev(directory.path());
    let cluster = ["--cluster", text(directory.path())];
    let done = |arguments: &[&str]| json(&[&cluster, arguments].concat());
    done(&["append", "a", "b"]);
    let mut whole = Following::start(&cluster, &["--count", "4"]);
    assert_eq!([whole.line(), whole.line()], ["a\n", "b\n"]);
    done(&["append", "c"]);
    assert_eq!(whole.line(), "c\n");
    // What it has is trimmed, and what comes is not.
    done(&["trim", "3"]);
    let mut rest = Following::start(&cluster, &["--count", "1"]);
    let mut at_the_end = Following::start(&cluster, &["--from", "3", "--count", "1", "--json"]);
    let mut errors = BufReader::new(rest.program.0.stderr.take().unwrap());
    let mut note = String::new();
    errors.read_line(&mut note).unwrap();
    assert_eq!(note, "naxos: the records before 3 are left out: they have been trimmed\n");
    done(&["append", "d"]);
    assert_eq!([whole.line(), rest.line()], ["d\n", "d\n"]);
    assert_eq!(at_the_end.line(), "{\"position\":3,\"text\":\"d\"}\n");
    assert_eq!([whole.end(0), at_the_end.end(0)], ["", ""]);
    let mut more = String::new();
    errors.read_to_string(&mut more).unwrap();
    assert_eq!((more.as_str(), rest.program.0.wait().unwrap().code()), ("", Some(0)), "it is said once");
    // Who names a position wants that one.
    assert!(Following::start(&cluster, &["--from", "1"]).end(TRIMMED).contains("the oldest record kept is 3"));
}

#[test]
fn who_follows_too_slowly_for_the_trimming_is_told_where_the_records_end() {
    let directory = directory();
    let (_dev, _) = start_dev(directory.path());
    let cluster = ["--cluster", text(directory.path())];
    // Far more than a pipe and a subscription hold.
    let input: Vec<u8> = (0..8_000).flat_map(|line| format!("{line:01023}\n").into_bytes()).collect();
    let file = directory.path().join("input");
    fs::write(&file, &input).unwrap();
    assert!(run(&[&cluster[..], &["append", "--from", text(&file)]].concat()).status.success());
    let mut slow = Following::start(&cluster, &[]);
    let mut read = slow.line();
    json(&[&cluster[..], &["trim", "8000"]].concat());
    slow.lines.read_to_string(&mut read).unwrap();
    assert!(read.len() < input.len() && input.starts_with(read.as_bytes()), "a beginning, and nothing behind a gap");
    let at = format!("position {} has been trimmed; the oldest record kept is 8000", read.len() / 1024);
    let errors = slow.end(TRIMMED);
    assert!(errors.contains(&at), "{at}: {errors}");
}

#[test]
fn logs_are_created_shown_and_reconfigured_by_name() {
    let directory = directory();
    let (_dev, _) = start_dev(directory.path());
    let cluster = ["--json", "--cluster", text(directory.path())];
    let done = |arguments: &[&str]| -> Value {
        let output = run(&[&cluster[..], arguments].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(done(&["log", "create", "other", "--replicas", "2"])["replicas"], 2);
    let listed = done(&["log", "list"]);
    assert_eq!(listed["logs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["default", "other"]);
    done(&["--log", "other", "append", "one", "two"]);
    let chain = done(&["log", "reconfigure", "other"])["chain"].clone();
    assert_eq!(chain["segments"].as_array().unwrap().len(), 2);
    done(&["log", "seal", "other"]);
    done(&["--log", "other", "append", "three"]);
    assert_eq!(done(&["--log", "other", "tail"])["tail"], 3);
    let shown = done(&["log", "show", "other"]);
    assert_eq!((&shown["tail"], shown["chain"]["segments"].as_array().unwrap().len()), (&3.into(), 2));
    let node = listed["logs"]["other"]["members"][0]["node"].as_str().unwrap().to_owned();
    let moved = done(&["log", "reconfigure", "other", "--sequencer", &node[..12]]);
    assert_eq!(moved["chain"]["segments"][2]["loglet"]["sequencer"]["node"], node.as_str());
    assert_eq!(done(&["--log", "default", "tail"])["tail"], 0, "the other log has noticed nothing");
    let cluster = &cluster[1..];
    let long = "x".repeat(300);
    let refusals: [(&[&str], &[&str]); 26] = [
        (&["log", "create", "other"], &["`other`", "already"]),
        (&["log", "create", "."], &["`.`", "no name", "neither `.` nor `..`"]),
        (&["log", "create", ".."], &["`..`", "no name"]),
        (&["log", "create", "\u{1b}[2J\n"], &["create `\\u{1b}[2J\\n`: `\\u{1b}[2J\\n` is no name"]),
        (&["log", "create", &long], &["xxx...` is no name", "1 to 64"]),
        (&["log", "show", "\u{7}\n"], &["open `\\u{7}\\n`: there is no log `\\u{7}\\n`"]),
        (&["status", "--log", "nothing"], &["`nothing`", "default, other"]),
        (&["status", "--latency", "--log", "nothing"], &["`nothing`", "default, other"]),
        (&["why", "other", "--log", "default"], &["`other` and --log `default`"]),
        (&["--log", "default", "log", "delete", "other", "--yes"], &["`other` and --log `default`"]),
        (&["log", "create", "a b"], &["`a b`", "no name"]),
        (&["log", "create", "big", "--replicas", "4"], &["4 replicas", "has 3"]),
        (&["log", "create", "big", "--sharded"], &["--sharded needs several"]),
        (
            &["log", "create", "big", "--stripes", "2", "--sharded"],
            &["2 stripes of 3 replicas", "need 6 nodes", "has 3"],
        ),
        (&["log", "create", "big", "--stripes", "5..2"], &["begins with the smaller number", "5..2"]),
        (&["log", "create", "big", "--stripes", "1..65"], &["1 to 64 stripes, and not 65"]),
        (&["log", "create", "big", "--stripes", "1..2", "--sharded"], &["2 stripes of 3 replicas", "need 6", "has 3"]),
        (&["log", "create", "big", "--stripes", "two"], &["`two`", "MIN..MAX"]),
        (&["log", "reconfigure", "other", "--to", "striped:2", "--sharded"], &["need 4 nodes", "has 3"]),
        (&["log", "reconfigure", "other", "--to", "striped:1..2", "--sharded"], &["need 4 nodes", "has 3"]),
        (&["log", "reconfigure", "other", "--to", "native", "--sharded"], &["--sharded needs several"]),
        (
            &["log", "reconfigure", "other", "--to", "striped:2", "--sequencer", &node],
            &["2 stripes", "--sequencer is for a native one"],
        ),
        (&["log", "show", "nothing"], &["`nothing`", "default, other"]),
        (&["--log", "nothing", "append", "x"], &["`nothing`", "default, other"]),
        (&["log", "reconfigure", "other", "--sequencer", "zz"], &["`zz`"]),
        (&["log", "reconfigure", "other", "--log-servers", &node], &["2 replicas", "too few"]),
    ];
    for (arguments, words) in refusals {
        refused(&[cluster, arguments].concat(), USAGE, words);
    }
    done(&["why", "other", "--log", "other"]);
    done(&["status", "--log", "other"]);
    assert_eq!(done(&["log", "list"]), listed, "nothing was changed");
    assert_eq!(done(&["log", "show", "other"])["chain"], moved["chain"]);
    let native = done(&["log", "reconfigure", "other", "--to", "native"]);
    assert_eq!(
        native["chain"]["segments"][2]["loglet"]["sequencer"]["node"],
        node.as_str(),
        "it was empty, and is as it was"
    );
    assert_eq!(done(&["log", "list"]), listed);
}

#[test]
fn a_log_is_given_stripes_shown_and_made_native_again() {
    let directory = directory();
    let (_dev, _) = start_dev(directory.path());
    let cluster = ["--cluster", text(directory.path())];
    let done = |arguments: &[&str]| json(&[&cluster, arguments].concat());
    let created = done(&["log", "create", "wide", "--stripes", "3"]);
    let stripes = created["chain"]["segments"][0]["loglet"]["stripes"].as_array().unwrap().clone();
    let sequencers: BTreeSet<_> = stripes.iter().map(|stripe| stripe["sequencer"]["node"].to_string()).collect();
    assert_eq!((stripes.len(), sequencers.len()), (3, 3), "each node sequences one: {created}");
    done(&["--log", "wide", "append", "one"]);
    let output = run(&[&cluster[..], &["log", "show", "wide"]].concat());
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(", 3 stripes\n") && shown.contains("  stripe 2, "), "{shown}");
    done(&["log", "reconfigure", "wide", "--to", "native"]);
    done(&["--log", "wide", "append", "two"]);
    done(&["log", "reconfigure", "wide", "--to", "striped:2"]);
    done(&["--log", "wide", "append", "three"]);
    let seconds = done(&["log", "reconfigure", "wide"])["chain"]["segments"].as_array().unwrap().clone();
    let counts = seconds.iter().map(|segment| segment["loglet"]["stripes"].as_array().map(Vec::len));
    assert_eq!(counts.collect::<Vec<_>>(), [Some(3), None, Some(2), Some(2)], "a clone has as many");
    assert_eq!(done(&["log", "list"])["logs"]["wide"]["stripes"]["count"], 2);
    let output = run(&[&cluster[..], &["log", "list"]].concat());
    assert!(String::from_utf8(output.stdout).unwrap().contains("wide: 3 replicas, 2 stripes\n"));
    let output = run(&[&cluster[..], &["--log", "wide", "read", "--from", "0"]].concat());
    let read = String::from_utf8(output.stdout).unwrap();
    let records: Vec<_> =
        read.lines().filter(|line| ["one", "two", "three"].iter().any(|word| line.ends_with(word))).collect();
    assert_eq!((records.len(), read.lines().count()), (3, 3), "{read}");
    let output = run(&[&cluster[..], &["why", "wide"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    done(&["log", "delete", "wide", "--yes"]);
    let created = done(&["log", "create", "elastic", "--stripes", "1..2"]);
    let numbers = (&created["stripes"]["count"], &created["stripes_max"]);
    assert_eq!(numbers, (&1.into(), &2.into()));
    assert!(created["chain"]["segments"][0]["loglet"]["stripes"].is_null(), "it begins with the fewest: {created}");
    done(&["--log", "elastic", "append", "one"]);
    let segments = |chain: Value| -> Vec<Option<usize>> {
        let segments = chain["chain"]["segments"].as_array().unwrap().clone();
        segments.iter().map(|segment| segment["loglet"]["stripes"].as_array().map(Vec::len)).collect()
    };
    let moved = done(&["log", "reconfigure", "elastic", "--to", "striped:2..3"]);
    assert_eq!(segments(moved), [None, Some(2)], "within the range at once");
    done(&["--log", "elastic", "append", "two"]);
    let moved = done(&["log", "reconfigure", "elastic", "--to", "striped:1..3"]);
    assert_eq!(segments(moved), [None, Some(2), Some(2)], "what fits stays");
    let output = run(&[&cluster[..], &["log", "list"]].concat());
    assert!(String::from_utf8(output.stdout).unwrap().contains("elastic: 3 replicas, 1..3 stripes\n"));
    let why = |log: &str| done(&["why", log])["scaling"].as_str().map(str::to_owned);
    let deadline = Instant::now() + Duration::from_secs(90);
    while why("elastic").is_none() {
        assert!(Instant::now() < deadline, "control says nothing of the log");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(why("elastic").unwrap().contains("not scaled, because"), "{:?}", why("elastic"));
    let output = run(&[&cluster[..], &["why", "elastic"]].concat());
    assert!(String::from_utf8(output.stdout).unwrap().contains("\nscaling: "));
    assert_eq!(why("default"), None, "it has as many as it was given");
}

/// Somebody has looked at a log, or has it open, and meanwhile somebody else has changed it.
#[test]
fn a_change_of_what_is_no_longer_there_fails_and_changes_nothing() {
    let directory = directory();
    let (_dev, _) = start_dev(directory.path());
    let cluster = ["--cluster", text(directory.path())];
    let done = |arguments: &[&str]| json(&[&cluster, arguments].concat());
    let fails = |arguments: &[&str], code: i32, words: &[&str]| refused(&[&cluster, arguments].concat(), code, words);
    let show = || done(&["log", "show"])["chain"].clone();
    // It has the log open all the time.
    let mut holding = Running::start(naxos(&[&cluster[..], &["append"]].concat()).stdin(Stdio::piped()));
    let mut input = holding.0.stdin.take().unwrap();
    input.write_all(b"a\n").unwrap();
    let mut positions = BufReader::new(holding.0.stdout.take().unwrap());
    let mut position = String::new();
    positions.read_line(&mut position).unwrap();
    assert_eq!(position, "0\n");

    let seen = show()["version"].to_string();
    let once = done(&["log", "reconfigure", "--expect-version", &seen])["chain"].clone();
    assert_eq!(once["segments"].as_array().unwrap().len(), 2);
    let words = [&format!("and not {seen}; nothing was changed"), "`default` has version"];
    fails(&["log", "reconfigure", "--expect-version", &seen], FAILURE, &words);
    let servers = once["segments"][0]["loglet"]["log_servers"].as_array().unwrap();
    let sequencer = servers[1]["node"].as_str().unwrap();
    fails(&["log", "reconfigure", "--expect-version", &seen, "--sequencer", sequencer], FAILURE, &words);
    fails(&["log", "reconfigure", "--expect-version", "x"], USAGE, &["x"]);
    assert_eq!(show(), once, "nothing was changed");

    assert!(run(&[&cluster[..], &["append", "b", "c"]].concat()).status.success());
    done(&["trim", "2"]);
    fails(&["read", "--from", "0"], TRIMMED, &["trimmed"]);
    assert_eq!(done(&["trim", "1"])["trim_point"], 2, "it does not go back");
    done(&["log", "delete", "default", "--yes"]);
    done(&["log", "create", "default"]);
    input.write_all(b"late\n").unwrap();
    drop(input);
    let mut errors = String::new();
    holding.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(holding.0.wait().unwrap().code(), Some(FAILURE), "{errors}");
    assert!(errors.contains("deleted"), "{errors}");
    assert_eq!(done(&["tail"])["tail"], 0, "the log that has the name now is another one");
}

#[test]
fn nodes_that_run_become_a_cluster_once() {
    let directory = directory();
    let start = |number: u16| {
        let dir = directory.path().join(number.to_string());
        let line =
            ["--json", "serve", "--dir", text(&dir), "--cluster-id", "5", "--listen", "127.0.0.1:0", "--shards", "1"];
        let mut node = Running::start(&mut naxos(&line));
        let address = node.first_line()["address"].as_str().unwrap().to_owned();
        (node, address)
    };
    let (nodes, addresses): (Vec<_>, Vec<_>) = (0..3).map(start).unzip();
    let file = directory.path().join("prod.json");
    let cluster = ["--cluster", text(&file)];
    fn init<'a>(cluster: &[&'a str], addresses: &[&'a str]) -> Vec<&'a str> {
        [cluster, &["--timeout", "2", "cluster", "init"], addresses].concat()
    }
    let all: Vec<&str> = addresses.iter().map(String::as_str).collect();
    refused(&init(&cluster, &[all[0], "127.0.0.1:9"]), UNAVAILABLE, &["every node has to answer"]);
    refused(&init(&cluster, &[all[0], all[0]]), USAGE, &["same node"]);
    refused(&init(&cluster, &[]), USAGE, &["ADDRESS"]);
    for _ in 0..2 {
        let output = run(&init(&cluster, &all));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    refused(&init(&cluster, &all[..2]), USAGE, &["3 nodes"]);
    refused(&[&cluster[..], &["append", "x"]].concat(), USAGE, &["no log `default`"]);
    assert!(run(&[&cluster[..], &["log", "create", "default"]].concat()).status.success());
    assert_eq!(run(&[&cluster[..], &["append", "x"]].concat()).stdout, b"0\n");
    drop(nodes);
}

#[test]
fn a_cluster_goes_on_after_a_restart() {
    let directory = directory();
    let cluster = ["--cluster", text(directory.path())];
    for round in 0..3 {
        let (mut dev, _) = start_dev(directory.path());
        let append = run(&[&cluster[..], &["append", &format!("round {round}")]].concat());
        assert_eq!(append.stdout, format!("{round}\n").into_bytes());
        kill_process(dev.pid(), Signal::INT).unwrap();
        assert!(dev.0.wait().unwrap().success());
    }
    let (_dev, _) = start_dev(directory.path());
    assert_eq!(run(&[&cluster[..], &["read"]].concat()).stdout, b"round 0\nround 1\nround 2\n");
}

#[test]
fn damage_found_at_the_start_is_named_in_the_log_and_in_the_status() {
    let directory = directory();
    let cluster = ["--cluster", text(directory.path())];
    let start = || {
        let mut dev = Running::start(&mut naxos(&["--json", "dev", "--nodes", "1", "--dir", text(directory.path())]));
        dev.first_line();
        dev
    };
    let mut dev = start();
    for _ in 0..20 {
        assert!(run(&[&cluster[..], &["append", &"x".repeat(8000)]].concat()).status.success());
    }
    kill_process(dev.pid(), Signal::INT).unwrap();
    assert!(dev.0.wait().unwrap().success());
    let first = directory.path().join("node-1/journal-0/0000000100000000.seg");
    let mut bytes = fs::read(&first).unwrap();
    let record = bytes.windows(8).position(|window| window == b"xxxxxxxx").unwrap();
    bytes[record] ^= 1;
    fs::write(&first, bytes).unwrap();
    let _dev = start();
    let log = fs::read_to_string(directory.path().join("node-1.log")).unwrap();
    assert!(log.contains("damaged"), "{log}");
    let status = run(&[&cluster[..], &["--json", "status"]].concat());
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("holes"), "{status}");
}

#[test]
fn an_interrupted_benchmark_removes_its_directory() {
    let directory = directory();
    let mut bench = naxos(&["bench", "append", "--seconds", "600", "--dir", text(directory.path())]);
    bench.args(["--prepare-bytes", "1"]);
    let mut bench = Running::start(&mut bench);
    eventually("it makes a directory", || fs::read_dir(directory.path()).unwrap().count() > 0);
    kill_process(bench.pid(), Signal::INT).unwrap();
    assert_eq!(bench.0.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
