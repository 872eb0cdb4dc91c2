//! What an operator meets: the admin endpoint under good and bad requests, the exported metrics against their documentation and
//! the dashboard, the configuration file, the service manager's notice.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use naxos::metrics::METRICS;
use naxos::node::{Admin, AdminListener};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Cluster, scratch};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of one with a record in it, and its admin endpoint.
fn watched() -> (Cluster, Admin) {
    let cluster = Cluster::start(1, 2);
    cluster.log().append(b"one").wait().unwrap();
    let listener = AdminListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let admin = listener.start(cluster.nodes[0].as_ref().unwrap().reporter()).unwrap();
    (cluster, admin)
}

fn connect(admin: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends these bytes and returns everything that comes back.
fn exchange(admin: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(admin);
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until a crowd before has been served: a connection that finds no place is closed at once.
fn answers_again(admin: SocketAddr) {
    let start = Instant::now();
    loop {
        let mut answer = String::new();
        let mut stream = connect(admin);
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n");
        if asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 ") {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "the endpoint has not come back: {answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The status line's code, and the body.
fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    let answer = exchange(admin, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = format!("Content-Length: {}", body.len());
    assert!(head.contains(&length), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn the_endpoint_tells_status_health_and_metrics() {
    let (_cluster, admin) = watched();
    assert_eq!(get(admin.address(), "/healthz"), (200, "ready\n".to_owned()));
    let (code, status) = get(admin.address(), "/status");
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!((code, status["shards"].as_array().unwrap().len()), (200, 2));
    assert_eq!(get(admin.address(), "/nothing").0, 404);
    let (code, metrics) = get(admin.address(), "/metrics");
    assert_eq!(code, 200);
    assert!(metrics.ends_with("# EOF\n"));
    let sum = |name: &str| -> f64 {
        let values = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    assert_eq!(sum("naxos_append_records_total"), 1.0);
    assert_eq!(sum("naxos_sequencer_append_seconds_count"), 1.0);
    assert_eq!(sum("naxos_loglet_tail_records"), 1.0);
    assert!(sum("naxos_loglet_stored_bytes") >= 512.0);
    let timed =
        ["naxos_journal_write_seconds_count", "naxos_sequencer_append_seconds_sum", "naxos_journal_units_total"];
    let traffic = ["naxos_received_frames_total", "naxos_received_bytes_total", "naxos_sent_frames_total"];
    for name in timed.iter().chain(&traffic) {
        assert!(sum(name) > 0.0, "{name}");
    }
}

/// Every name of the table, with the suffixes that Prometheus sees, and the info beside it.
fn sample_names() -> BTreeSet<String> {
    let names = METRICS.iter().flat_map(|metric| metric.sample_names());
    names.chain(["naxos_node_info".to_owned()]).collect()
}

#[test]
fn every_metric_is_really_exported() {
    let (_cluster, admin) = watched();
    let (_, metrics) = get(admin.address(), "/metrics");
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let exported: BTreeSet<String> = lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect();
    // Both ways: a path that leads nowhere would silently export nothing.
    assert_eq!(exported, sample_names());
}

fn file(path: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path, text)
}

/// Words that look like the name of a metric.
fn metric_words(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with("naxos_"))
        .map(str::to_owned)
        .collect()
}

fn expressions(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" || name == "definition" => {
                        into.push(text.clone());
                    }
                    other => expressions(other, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, into)),
        _ => {}
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_exist() {
    let (path, text) = file("tools/packaging/grafana/naxos.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() >= 15, "{}: {} expressions", path.display(), found.len());
    let (alerts, text) = file("tools/packaging/prometheus/naxos.rules.yml");
    found.extend(text.lines().filter_map(|line| line.trim().strip_prefix("expr:")).map(str::to_owned));
    for expression in &found {
        let used = metric_words(expression);
        assert!(!used.is_empty(), "`{expression}` asks for nothing");
        let unknown: Vec<_> = used.difference(&sample_names()).collect::<Vec<_>>().into_iter().cloned().collect();
        assert!(unknown.is_empty(), "{} or {}: {unknown:?} in `{expression}`", path.display(), alerts.display());
    }
}

#[test]
fn every_metric_is_documented_with_its_meaning() {
    let (path, text) = file("docs/OPERATING.md");
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| `naxos_")).collect();
    for metric in METRICS {
        let name = metric.sample_names().remove(0);
        let name = name.strip_suffix("_bucket").unwrap_or(&name);
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{} has no row for `{name}`", path.display()));
        assert!(row.contains(metric.help), "{name}: `{}` is not what the row says: {row}", metric.help);
    }
    assert_eq!(rows.len(), METRICS.len() + 1, "a row for each metric, and for naxos_node_info");
}

#[test]
fn garbage_is_answered_with_an_error_and_harms_nobody() {
    let (_cluster, admin) = watched();
    let address = admin.address();
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"[..], b"\r\n\r\n", b"GET\r\n\r\n", b"a b c d\r\n\r\n"] {
        assert!(exchange(address, garbage).starts_with("HTTP/1.1 400 "), "{garbage:?}");
    }
    assert!(exchange(address, b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(exchange(address, b"HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..50 {
        let mut stream = connect(address);
        let bytes: Vec<u8> = (0..random.usize(1..2000)).map(|_| random.u8(..)).collect();
        // The answer may come, and the connection close, before all is sent.
        let _ = stream.write_all(&bytes);
    }
    answers_again(address);
}

#[test]
fn a_huge_request_is_cut_off() {
    let (_cluster, admin) = watched();
    let mut stream = connect(admin.address());
    let mut sent = 0;
    let line = [b'x'; 4096];
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    while sent < 64 << 20 && stream.write_all(&line).is_ok() {
        sent += line.len();
    }
    assert!(sent < 64 << 20, "the node does not swallow any amount");
    assert_eq!(get(admin.address(), "/healthz").0, 200);
    // One that is just too long and waits gets its answer.
    let request = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'y'; 9000], b"\r\n\r\n"].concat();
    assert!(exchange(admin.address(), &request).starts_with("HTTP/1.1 431 "));
}

#[test]
fn slow_requests_end_and_others_are_served_meanwhile() {
    let (_cluster, admin) = watched();
    // All workers but one are kept busy by peers that never finish their request.
    let slow: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = connect(admin.address());
            stream.write_all(b"GET /met").unwrap();
            stream
        })
        .collect();
    assert_eq!(get(admin.address(), "/healthz").0, 200);
    for mut stream in slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    assert_eq!(get(admin.address(), "/healthz").0, 200);
}

#[test]
fn a_crowd_is_turned_away_and_leaves_no_trace() {
    let (_cluster, admin) = watched();
    let crowd: Vec<TcpStream> = (0..200).map(|_| connect(admin.address())).collect();
    drop(crowd);
    answers_again(admin.address());
}

#[test]
fn a_dropped_endpoint_frees_its_address() {
    let (_cluster, admin) = watched();
    let address = admin.address();
    drop(admin);
    assert!(TcpStream::connect(address).is_err());
    AdminListener::bind(address).unwrap();
}

// The program.

fn naxos(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naxos"));
    command.args(arguments).env_remove("NAXOS_CLUSTER").env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    naxos(arguments).output().unwrap()
}

struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> (Self, Value) {
        let mut running = Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut text = String::new();
            running.0.stderr.as_mut().unwrap().read_to_string(&mut text).unwrap();
            panic!("`{line}`: {text}")
        });
        (running, ready)
    }

    fn stop(&mut self) {
        kill_process(Pid::from_raw(self.0.id() as i32).unwrap(), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_printed_configuration_is_the_packaged_one_and_reads_back() {
    let printed = run(&["serve", "--print-config"]);
    assert!(printed.status.success());
    let (path, packaged) = file("tools/packaging/naxos.toml");
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed, packaged, "write it anew: naxos serve --print-config > {}", path.display());
    let again = run(&["serve", "--print-config", "--config", text(&path)]);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), packaged);
}

#[test]
fn flags_override_the_file_and_the_file_the_defaults() {
    let directory = scratch();
    let config = directory.path().join("naxos.toml");
    fs::write(&config, "[node]\nlisten = \"127.0.0.1:1\"\nshards = 3\n[limits]\nstall_ms = 77\n").unwrap();
    let output =
        run(&["--json", "serve", "--print-config", "--config", text(&config), "--listen", "127.0.0.1:2", "--no-pin"]);
    let values: Value = serde_json::from_slice(&output.stdout).unwrap();
    let node = &values["node"];
    assert_eq!((&node["listen"], &node["shards"], &node["pin"]), (&"127.0.0.1:2".into(), &3.into(), &false.into()));
    fs::write(&config, "[node]\njoin = [\"127.0.0.1:3\", \"127.0.0.1:4\"]\nzone = \"file\"\n").unwrap();
    let output = run(&["--json", "serve", "--print-config", "--config", text(&config), "--join", "127.0.0.1:5"]);
    let joining: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(joining["node"]["join"], serde_json::json!(["127.0.0.1:5"]), "a list is replaced as a whole");
    assert_eq!(joining["node"]["zone"], "file");
    assert_eq!((&values["limits"]["stall_ms"], &values["limits"]["unit_depth"]), (&77.into(), &2.into()));
}

#[test]
fn a_wrong_file_is_refused_with_its_line_before_anything_is_touched() {
    let directory = scratch();
    let config = directory.path().join("naxos.toml");
    let data = directory.path().join("data");
    let cases = [
        ("[node]\nlistn = \"127.0.0.1:0\"\n", ":2:", "did you mean `listen`"),
        ("[node]\nshards = true\n", ":2:", "`shards`"),
        ("\n\n[limits]\nunit_depth = 3\n", ":4:", "unit_depth"),
        ("[scaling]\nquiet_percent = 60\n", ":2:", "quiet_percent is below half of busy_percent"),
        ("[node\n", ":1:", ""),
        ("\u{0}", ":1:", ""),
    ];
    for (content, line, words) in cases {
        fs::write(&config, content).unwrap();
        let output = run(&["serve", "--config", text(&config), "--dir", text(&data), "--cluster-id", "5"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        for word in ["naxos.toml", line, words] {
            assert!(errors.contains(word), "{word}: {errors}");
        }
    }
    let output = run(&["serve", "--config", "/nonexistent/naxos.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!data.exists());
}

#[test]
fn a_node_runs_from_its_file_alone_and_tells_its_service_manager() {
    let directory = scratch();
    let config = directory.path().join("naxos.toml");
    let data = directory.path().join("data");
    let content = format!(
        "[node]\ndir = \"{}\"\nmetastore = \"file:{}\"\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         shards = 1\npin = false\n[limits]\nsegment_bytes = \"8 MiB\"\nsegments_prepared = 2\n",
        data.display(),
        directory.path().join("registers").display()
    );
    fs::write(&config, content).unwrap();
    // A socket's path is short, which the build directory's need not be.
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 512];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let mut command = naxos(&["--json", "serve", "--config", text(&config)]);
    let (mut node, ready) = Running::start(command.env("NOTIFY_SOCKET", &path));
    let said = told();
    assert!(said.starts_with("READY=1\n") && said.contains(ready["node"].as_str().unwrap()), "{said}");
    let admin: SocketAddr = ready["admin"].as_str().unwrap().parse().unwrap();
    assert_eq!(get(admin, "/healthz"), (200, "ready\n".to_owned()));
    node.stop();
    assert_eq!(told(), "STOPPING=1\n");
}

#[test]
fn an_admin_address_in_use_is_named_and_nothing_is_left() {
    let directory = scratch();
    let data = directory.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = ["serve", "--dir", text(&data), "--cluster-id", "5", "--listen", "127.0.0.1:0", "--admin", &address];
    let output = run(&line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for word in [address.as_str(), "admin", "in use"] {
        assert!(errors.contains(word), "{word}: {errors}");
    }
    assert!(!data.exists(), "nothing was made");
}

#[test]
fn the_manual_is_written_as_pages() {
    let directory = scratch();
    let output = run(&["--json", "man", text(directory.path())]);
    assert!(output.status.success());
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    for page in listed["pages"].as_array().unwrap() {
        let text = fs::read_to_string(directory.path().join(page.as_str().unwrap())).unwrap();
        assert!(text.contains(".TH ") && text.contains(".SH NAME"), "{page}");
    }
}

#[test]
fn the_unit_starts_what_exists_and_keeps_io_uring_allowed() {
    let (_, unit) = file("tools/packaging/systemd/naxos.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap_or_default();
    assert_eq!(value("Type"), "notify");
    assert!(value("ExecStart").ends_with("naxos serve --config /etc/naxos/naxos.toml"));
    // The calls of io_uring are in @aio, and that is in @system-service.
    assert_eq!(value("SystemCallFilter"), "@system-service");
    let excluded = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=~"));
    assert_eq!(excluded.collect::<Vec<_>>(), ["@privileged"]);
    assert!(!value("LimitMEMLOCK").is_empty() && !value("LimitNOFILE").is_empty());
}
