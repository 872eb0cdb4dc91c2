//! Programs of other systems: found, started, waited for, and ended with everything that they have started.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::sleep;

/// Where Debian puts servers, which is not on everybody's path.
const MORE_PLACES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// Between two looks at whether something has happened.
const PAUSE: Duration = Duration::from_millis(20);
/// For one attempt to reach a server that is starting.
const ATTEMPT: Duration = Duration::from_secs(6);
/// Characters at the end of a log that are worth showing.
const LOG_CHARACTERS: usize = 600;

/// A program, a file, or a whole system is not there.
#[derive(Debug)]
pub(super) struct Missing {
    /// What was looked for.
    what: String,
    /// How to get it.
    remedy: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} was not found: {}", self.what, self.remedy)
    }
}

impl std::error::Error for Missing {}

impl Missing {
    /// Something that a Debian package has.
    pub(super) fn package(what: impl Into<String>, package: &str) -> Self {
        Self { what: what.into(), remedy: format!("apt-get install {package}") }
    }

    /// Something that is to be had in another way.
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// Looks for a program on the path.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(MORE_PLACES.map(PathBuf::from));
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

/// Looks for a program that a Debian package has.
pub(super) fn program(program: &str, package: &str) -> Result<PathBuf, Missing> {
    find(program).ok_or_else(|| Missing::package(program, package))
}

/// The first word with a digit that a program prints about its version, without what is before the first digit.
pub(super) fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    version_in(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{} --version names no version", program.display()))
}

fn version_in(text: &str) -> Option<String> {
    let word =
        text.split_whitespace().find(|word| word.contains('.') && word.contains(|c: char| c.is_ascii_digit()))?;
    Some(word[word.find(|c: char| c.is_ascii_digit())?..].to_owned())
}

/// As many free ports of the loopback. They are free again when they are told, so that somebody else may be faster; what is
/// started on them then says so.
pub(super) fn free_ports(count: usize) -> io::Result<Vec<SocketAddr>> {
    let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held = (0..count).map(listen).collect::<io::Result<Vec<_>>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}

/// A command that ends when this program does, even when it is killed.
pub(super) fn command(program: &Path) -> Command {
    match find("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A process, in a group of its own so that Ctrl-C reaches only this program; ended when dropped.
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// What is asked of it before it is killed, and how long it has.
    polite: Option<(Signal, Duration)>,
}

impl Process {
    /// Starts a command that writes what it has to say to `NAME.log` in the directory.
    pub(super) fn start(name: impl Into<String>, mut command: Command, directory: &Path) -> anyhow::Result<Self> {
        let name = name.into();
        let log = directory.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .current_dir(directory)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log, polite: None })
    }

    /// Asks it to end, with a signal, before it is killed.
    pub(super) fn ends_on(mut self, signal: Signal, patience: Duration) -> Self {
        self.polite = Some((signal, patience));
        self
    }

    /// An error with what it has said last, when it has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended with {status}: {}", self.name, self.last_words()),
        }
    }

    /// What it has written.
    pub(super) fn said(&self) -> anyhow::Result<String> {
        let text = fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The end of it.
    pub(super) fn last_words(&self) -> String {
        let text = self.said().unwrap_or_else(|error| error.to_string());
        let from = text.char_indices().rev().nth(LOG_CHARACTERS - 1).map_or(0, |(at, _)| at);
        match text[from..].trim() {
            "" => "it has said nothing".to_owned(),
            words => words.to_owned(),
        }
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> io::Result<std::process::ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            sleep(PAUSE).await;
        }
    }

    fn signal(&self, signal: Signal) {
        // It may have gone in the meantime, which is as well.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some((signal, patience)) = self.polite
            && matches!(self.child.try_wait(), Ok(None))
        {
            self.signal(signal);
            let begin = Instant::now();
            while begin.elapsed() < patience && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(PAUSE);
            }
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Tries until it succeeds, while all of these processes run.
pub(super) async fn until<T, F: Future<Output = anyhow::Result<T>>>(
    processes: &mut [Process],
    patience: Duration,
    mut attempt: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        let error = match tokio::time::timeout(ATTEMPT, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer"),
        };
        processes.iter_mut().try_for_each(Process::check)?;
        if begin.elapsed() >= patience {
            let words = processes.iter().map(|process| format!("{}: {}", process.name, process.last_words()));
            let words = words.collect::<Vec<_>>().join("\n");
            return Err(error.context(format!("not ready after {} s\n{words}", patience.as_secs())));
        }
        sleep(PAUSE).await;
    }
}

/// Makes a directory for one of several servers.
pub(super) fn make(directory: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, version) in [
            ("etcd Version: 3.4.23\nGit SHA: Not provided", "3.4.23"),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", "7.0.15"),
            ("nats-server: v2.9.10", "2.9.10"),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version));
        }
        assert_eq!(version_in("nothing here."), None);
    }

    #[test]
    fn ports_are_different_ones() {
        let mut ports = free_ports(5).unwrap();
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), 5);
    }

    fn shell(script: &str) -> Command {
        let mut command = command(Path::new("/bin/sh"));
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_process_that_ends_too_early_is_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let process = Process::start("peer", shell("echo no disk today; exit 3"), directory.path()).unwrap();
        let mut processes = [process];
        let never = || async { anyhow::bail!("not yet") };
        let error = until::<(), _>(&mut processes, Duration::from_secs(60), never).await.unwrap_err().to_string();
        assert!(error.contains("peer has ended") && error.contains("no disk today"), "{error}");
    }

    #[tokio::test]
    async fn a_dropped_process_takes_its_children_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let script = "sleep 1000 & echo $! > pid.new; mv pid.new pid; wait";
        let mut processes = [Process::start("parent", shell(script), directory.path()).unwrap()];
        let read = || async { Ok(fs::read_to_string(&pid_file)?.trim().parse::<u32>()?) };
        let pid = until(&mut processes, Duration::from_secs(60), read).await.unwrap();
        drop(processes);
        // A killed process whose parent has gone may stay as a zombie, which runs no more.
        let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        while !state().is_empty() && !state().contains(") Z ") {
            thread::yield_now();
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let missing = program("no-such-server", "no-such-package").unwrap_err().to_string();
        assert!(missing.contains("no-such-server") && missing.contains("apt-get install no-such-package"));
    }
}
