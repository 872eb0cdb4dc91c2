//! The choice of the driver, from outside: what a cluster does where io_uring is refused. The refusal is a seccomp filter
//! over a child process and its children, as a container has it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::Value;
use tempfile::TempDir;

const USAGE: i32 = 2;
const IO_URING: [i64; 3] = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// A filter under which these system calls fail with `errno`.
fn refusing(calls: &[i64], errno: i32) -> BpfProgram {
    let rules = calls.iter().map(|&call| (call, Vec::new())).collect();
    let refusal = SeccompAction::Errno(errno as u32);
    let target = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, refusal, target).unwrap().try_into().unwrap()
}

fn naxos(arguments: &[&str], filter: Option<&BpfProgram>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naxos"));
    command.args(arguments).env_remove("NAXOS_CLUSTER").stdin(Stdio::null());
    if let Some(filter) = filter.cloned() {
        // SAFETY: between fork and exec the filter is only read and handed to two system calls; nothing is allocated or
        // locked.
        #[expect(unsafe_code, reason = "a filter over the child alone is set by the child")]
        unsafe {
            command.pre_exec(move || apply_filter(&filter).map_err(|_| std::io::Error::last_os_error()));
        }
    }
    command
}

fn run(arguments: &[&str], filter: Option<&BpfProgram>) -> Output {
    naxos(arguments, filter).output().unwrap()
}

fn succeeds(arguments: &[&str], filter: Option<&BpfProgram>) -> Vec<u8> {
    let output = run(arguments, filter);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// On the disk that holds the build, where direct I/O works.
fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A cluster that is ended when the test does: its nodes follow it.
struct Dev(Child);

impl Dev {
    /// Starts three nodes and waits until they serve.
    fn start(directory: &Path, more: &[&str], filter: Option<&BpfProgram>) -> Self {
        let arguments = [&["--json", "dev", "--dir", text(directory)], more].concat();
        let mut command = naxos(&arguments, filter);
        let mut dev = Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(dev.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if serde_json::from_str::<Value>(&line).is_err() {
            panic!("`{line}`: {}", dev.errors());
        }
        dev
    }

    /// Ends the cluster; what it has said on standard error.
    fn errors(&mut self) -> String {
        let _ = self.0.kill();
        let mut text = String::new();
        self.0.stderr.as_mut().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn drivers_in_status(cluster: &Path, filter: Option<&BpfProgram>) -> Vec<String> {
    let status = succeeds(&["--cluster", text(cluster), "--json", "status"], filter);
    let status: Value = serde_json::from_slice(&status).unwrap();
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes.map(|node| node["status"]["driver"].as_str().unwrap().to_owned()).collect()
}

/// Appends and reads back through a cluster.
fn works(cluster: &Path, filter: Option<&BpfProgram>) {
    let cluster = ["--cluster", text(cluster)];
    assert_eq!(succeeds(&[&cluster[..], &["append", "one", "two"]].concat(), filter), b"0\n1\n");
    let large = "x".repeat(100_000);
    assert_eq!(succeeds(&[&cluster[..], &["append", &large]].concat(), filter), b"2\n");
    let all = succeeds(&[&cluster[..], &["read"]].concat(), filter);
    assert!(all == format!("one\ntwo\n{large}\n").as_bytes());
}

fn falls_back(calls: &[i64], errno: i32, reason: &str) {
    let filter = refusing(calls, errno);
    let directory = directory();
    let mut dev = Dev::start(directory.path(), &[], Some(&filter));
    works(directory.path(), Some(&filter));
    assert_eq!(drivers_in_status(directory.path(), Some(&filter)), ["epoll", "epoll", "epoll"]);
    for log in [dev.errors(), std::fs::read_to_string(directory.path().join("node-1.log")).unwrap()] {
        assert_eq!(log.matches("io_uring is refused").count(), 1, "once for each process: {log}");
        assert!(log.contains("WARN") && log.contains(reason) && log.contains("epoll is used"), "{log}");
    }
    // What was written without io_uring is read with it, and the other way round.
    drop(dev);
    let again = Dev::start(directory.path(), &[], None);
    let cluster = ["--cluster", text(directory.path())];
    let old = succeeds(&[&cluster[..], &["read", "--count", "2"]].concat(), None);
    assert_eq!(old, b"one\ntwo\n");
    assert_eq!(drivers_in_status(directory.path(), None), ["uring", "uring", "uring"]);
    drop(again);
}

#[test]
fn where_a_profile_hides_io_uring_epoll_is_used() {
    falls_back(&IO_URING, libc::ENOSYS, "seccomp profile");
}

#[test]
fn where_a_profile_forbids_io_uring_epoll_is_used() {
    falls_back(&IO_URING, libc::EPERM, "io_uring_disabled");
}

#[test]
fn where_a_kernel_is_too_old_for_the_set_up_epoll_is_used() {
    falls_back(&IO_URING, libc::EINVAL, "too old");
}

#[test]
fn a_ring_that_may_be_made_and_not_entered_is_a_refusal_too() {
    falls_back(&[libc::SYS_io_uring_enter], libc::EPERM, "io_uring_enter");
}

#[test]
fn a_driver_that_was_asked_for_and_is_refused_is_an_error() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        let filter = refusing(&IO_URING, errno);
        let directory = directory();
        let path = text(directory.path());
        let lines: [&[&str]; 3] = [
            &["dev", "--dir", path, "--driver", "uring"],
            &["serve", "--dir", path, "--cluster-id", "5", "--listen", "127.0.0.1:0", "--driver", "uring"],
            &["bench", "append", "--dir", path, "--driver", "uring"],
        ];
        for line in lines {
            let output = run(line, Some(&filter));
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(USAGE), "{line:?}: {errors}");
            for words in ["`uring`", "io_uring is refused", "seccomp profile"] {
                assert!(errors.contains(words), "{line:?} should mention `{words}`: {errors}");
            }
            assert!(!errors.contains("panicked"), "{errors}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was begun");
    }
}

#[test]
fn a_driver_that_does_not_exist_is_a_usage_error() {
    let output = run(&["dev", "--driver", "kqueue"], None);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(errors.contains("auto") && errors.contains("uring") && errors.contains("epoll"), "{errors}");
}

#[test]
fn either_driver_can_be_asked_for_by_name() {
    for name in ["uring", "epoll"] {
        let directory = directory();
        let mut dev = Dev::start(directory.path(), &["--driver", name], None);
        works(directory.path(), None);
        assert_eq!(drivers_in_status(directory.path(), None), [name; 3]);
        assert_eq!(dev.errors(), "", "nothing is refused");
    }
}

#[test]
fn connections_find_their_shard_on_epoll() {
    // Each loglet lives on one of the shards, and its connections are handed to it.
    let directory = directory();
    let mut dev = Dev::start(directory.path(), &["--driver", "epoll", "--shards", "4"], None);
    works(directory.path(), None);
    assert_eq!(dev.errors(), "");
}

#[test]
fn a_benchmark_on_epoll_says_so_and_verifies_every_record() {
    let directory = directory();
    let load = ["--seconds", "0.5", "--warm-up", "0.2", "--clients", "2", "--inflight", "16", "--prepare-bytes", "1"];
    let arguments =
        [&["--json", "bench", "append", "--driver", "epoll", "--dir", text(directory.path())], &load[..]].concat();
    let filter = refusing(&IO_URING, libc::EPERM);
    for filter in [None, Some(&filter)] {
        let report: Value = serde_json::from_slice(&succeeds(&arguments, filter)).unwrap();
        assert_eq!((&report["driver"], &report["valid"]), (&"epoll".into(), &true.into()));
        let verified = &report["verified"];
        assert!(verified["acked"].as_u64().unwrap() > 0);
        assert_eq!(verified["acked"], verified["read_back"]);
        assert_eq!((&verified["missing"], &verified["corrupt"]), (&0.into(), &0.into()));
    }
}
