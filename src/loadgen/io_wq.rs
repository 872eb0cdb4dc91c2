//! How many operations io_uring handed to its worker threads, instead of carrying them out inline.
//!
//! Exact where the kernel's tracefs can be read, which takes root: the event `io_uring_queue_async_work` is counted in a
//! trace instance of our own, for the threads of the given processes. The tracefs is used through a detached mount where
//! nobody has mounted it, so that neither the machine's mounts nor its tracing change. Elsewhere the worker threads
//! seen at work are counted, which is a lower bound that tells zero from many.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Counts from [`IoWq::start`] to [`IoWq::stop`].
pub struct IoWq {
    pids: Vec<u32>,
    method: Method,
}

/// The result of a count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoWqCount {
    /// Operations, or threads.
    pub operations: u64,
    /// `tracefs` or `threads`.
    pub method: &'static str,
}

enum Method {
    Trace(TraceInstance),
    Threads { before: BTreeMap<u32, u64>, seen: BTreeMap<u32, u64> },
}

impl IoWq {
    /// Starts to count for these processes.
    pub fn start(pids: &[u32]) -> Self {
        let method = match TraceInstance::start(pids) {
            Ok(instance) => Method::Trace(instance),
            Err(_) => Method::Threads { before: workers(pids), seen: BTreeMap::new() },
        };
        Self { pids: pids.to_vec(), method }
    }

    /// To be called now and then: workers end when they are idle for some seconds, and are seen only in between.
    pub fn observe(&mut self) {
        if let Method::Threads { seen, .. } = &mut self.method {
            seen.extend(workers(&self.pids));
        }
    }

    /// Ends the count.
    pub fn stop(mut self) -> IoWqCount {
        self.observe();
        match self.method {
            Method::Trace(instance) => IoWqCount { operations: instance.count().unwrap_or(0), method: "tracefs" },
            Method::Threads { before, seen } => IoWqCount { operations: worked(&before, &seen), method: "threads" },
        }
    }
}

/// Workers that are new or have run again. An idle worker wakes by itself every five seconds to see whether it is still
/// needed, so a single switch is no work.
fn worked(before: &BTreeMap<u32, u64>, seen: &BTreeMap<u32, u64>) -> u64 {
    let idle = |thread: &u32, switches: u64| before.get(thread).is_some_and(|&then| switches.saturating_sub(then) <= 2);
    seen.iter().filter(|(thread, switches)| !idle(thread, **switches)).count() as u64
}

/// Thread ids of io_uring's workers in these processes, each with its context switches so far.
fn workers(pids: &[u32]) -> BTreeMap<u32, u64> {
    let tasks = pids.iter().flat_map(|pid| threads(*pid).into_iter().map(move |thread| (*pid, thread)));
    tasks
        .filter_map(|(pid, thread)| {
            let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).ok()?;
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            field("Name:")?.starts_with("iou-wrk-").then_some(())?;
            let switches = field("voluntary_ctxt_switches:")?.parse().ok()?;
            Some((thread, switches))
        })
        .collect()
}

fn threads(pid: u32) -> Vec<u32> {
    let Ok(directory) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// A trace instance, removed when dropped.
struct TraceInstance {
    directory: PathBuf,
    // Keeps a detached mount alive.
    _mount: Option<OwnedFd>,
}

impl TraceInstance {
    fn start(pids: &[u32]) -> io::Result<Self> {
        let watched: Vec<u32> = pids.iter().flat_map(|pid| threads(*pid)).collect();
        if watched.is_empty() {
            // An empty filter would count for the whole machine.
            return Err(io::ErrorKind::NotFound.into());
        }
        let (root, mount) = tracefs()?;
        let directory = root.join("instances").join(format!("naxos-{:x}", fastrand::u64(..)));
        fs::create_dir(&directory)?;
        let instance = Self { directory, _mount: mount };
        // Threads that exist now; those that they start later are followed.
        instance.set("options/event-fork", "1")?;
        let mut filter = fs::OpenOptions::new().write(true).truncate(true).open(instance.path("set_event_pid"))?;
        // In one write: with nine nodes, one for each thread took the kernel five seconds.
        let watched: Vec<String> = watched.iter().map(u32::to_string).collect();
        filter.write_all(watched.join(" ").as_bytes())?;
        drop(filter);
        instance.set("events/io_uring/io_uring_queue_async_work/enable", "1")?;
        instance.set("tracing_on", "1")?;
        Ok(instance)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn set(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.path(name), value)
    }

    /// Events recorded and events overwritten for want of room: together, all that have happened.
    fn count(&self) -> io::Result<u64> {
        self.set("tracing_on", "0")?;
        let mut total = 0;
        for core in fs::read_dir(self.path("per_cpu"))? {
            total += events(&fs::read_to_string(core?.path().join("stats"))?);
        }
        Ok(total)
    }
}

impl Drop for TraceInstance {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and an instance left over costs a little memory only.
        let _ = fs::remove_dir(&self.directory);
    }
}

fn events(stats: &str) -> u64 {
    let field = |name: &str| stats.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    ["entries:", "overrun:", "dropped events:"].into_iter().filter_map(field).sum()
}

/// Where tracefs is: mounted by the system, or in a detached mount of our own that nobody else sees.
fn tracefs() -> io::Result<(PathBuf, Option<OwnedFd>)> {
    let mounted = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    if let Some(root) = mounted.map(Path::new).into_iter().find(|root| root.join("instances").is_dir()) {
        return Ok((root.to_owned(), None));
    }
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())), Some(mount)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwritten_events_are_counted_too() {
        assert_eq!(
            events("entries: 12\noverrun: 30\ncommit overrun: 0\nbytes: 9\ndropped events: 1\nread events: 2\n"),
            43
        );
    }

    #[test]
    fn an_idle_worker_has_not_worked() {
        let before = BTreeMap::from([(1, 10), (2, 10)]);
        let seen = BTreeMap::from([(1, 11), (2, 90), (3, 1)]);
        assert_eq!(worked(&before, &seen), 2);
    }

    #[test]
    fn a_process_without_io_uring_counts_nothing() {
        let mut idle = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let count = IoWq::start(&[idle.id()]).stop();
        idle.kill().unwrap();
        idle.wait().unwrap();
        assert_eq!(count.operations, 0);
    }

    /// Zero means something only if work is counted when there is some.
    #[test]
    fn operations_forced_to_workers_are_counted() {
        const OPERATIONS: u64 = 20;
        // Where io_uring is refused there is nothing to count.
        let Ok(mut ring) = io_uring::IoUring::new(4) else { return };
        let file = tempfile::tempfile().unwrap();
        let count = IoWq::start(&[std::process::id()]);
        for _ in 0..OPERATIONS {
            let fsync = io_uring::opcode::Fsync::new(io_uring::types::Fd(file.as_raw_fd())).build();
            let entry = fsync.flags(io_uring::squeue::Flags::ASYNC);
            // SAFETY: an fsync has no memory, and the file outlives its completion, which is waited for.
            #[expect(unsafe_code, reason = "the ring takes raw entries")]
            unsafe {
                ring.submission().push(&entry).unwrap();
            }
            ring.submit_and_wait(1).unwrap();
            ring.completion().for_each(drop);
        }
        let count = count.stop();
        match count.method {
            // Other tests of this process may use workers too.
            "tracefs" => assert!(count.operations >= OPERATIONS, "{count:?}"),
            _ => assert!(count.operations >= 1, "{count:?}"),
        }
    }
}
