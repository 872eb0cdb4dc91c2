//! One background thread for the file operations that block.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Waker;
use std::thread::JoinHandle;

use super::device::{Part, Volume};
use super::files;
use super::op::{FileId, Outcome, Token};

pub(super) enum Job {
    List { directory: PathBuf },
    Open { path: PathBuf },
    Prepare { path: PathBuf, bytes: u64 },
    Remove { path: PathBuf },
}

pub(super) enum Answer {
    Listed(Vec<(String, u64)>),
    Opened(Opened),
    Removed,
}

/// A file that was opened, or the part of a device that stands for one.
pub(super) enum Opened {
    File(OwnedFd, u64),
    Part(Arc<OwnedFd>, Part),
}

/// How an operation has ended; `take_in` numbers a file that it has opened.
pub(super) fn outcome(answer: io::Result<Answer>, take_in: impl FnOnce(Opened) -> FileId) -> Outcome {
    match answer {
        Ok(Answer::Listed(files)) => Outcome::Listed(files),
        Ok(Answer::Opened(opened)) => {
            let bytes = match &opened {
                Opened::File(_, bytes) => *bytes,
                Opened::Part(_, part) => part.bytes,
            };
            Outcome::Opened { file: take_in(opened), bytes }
        }
        Ok(Answer::Removed) => Outcome::Done,
        Err(error) => Outcome::Failed(error),
    }
}

/// Starts its thread with the first job. Dropping it waits for the job in progress and forgets the others.
pub(super) struct Worker {
    waker: Waker,
    running: Option<Running>,
    outstanding: usize,
    /// For the thread, until it is started.
    volume: Option<Volume>,
}

struct Running {
    jobs: Sender<(Token, Job)>,
    answers: Receiver<(Token, io::Result<Answer>)>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// A worker that wakes `waker` after each job.
    pub(super) fn new(waker: Waker) -> Self {
        Self { waker, running: None, outstanding: 0, volume: None }
    }

    /// From now on the files of the volume's directory are on its device.
    ///
    /// # Panics
    /// When a job was started before.
    pub(super) fn mount(&mut self, volume: Volume) {
        assert!(self.running.is_none(), "a volume is mounted before anything is asked for");
        self.volume = Some(volume);
    }

    pub(super) fn start(&mut self, token: Token, job: Job) -> io::Result<()> {
        if self.running.is_none() {
            self.running = Some(Running::spawn(self.waker.clone(), self.volume.take())?);
        }
        let running = self.running.as_ref().expect("started above");
        running.jobs.send((token, job)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.outstanding += 1;
        Ok(())
    }

    /// The next answer, if there is one.
    pub(super) fn poll_answer(&mut self) -> Option<(Token, io::Result<Answer>)> {
        if self.outstanding == 0 {
            return None;
        }
        let answer = self.running.as_ref()?.answers.try_recv().ok()?;
        self.outstanding -= 1;
        Some(answer)
    }
}

impl Running {
    fn spawn(waker: Waker, mut volume: Option<Volume>) -> io::Result<Self> {
        let (jobs, inbox) = channel::<(Token, Job)>();
        let (outbox, answers) = channel();
        let thread = std::thread::Builder::new().name("naxos-files".to_owned()).spawn(move || {
            for (token, job) in inbox {
                if outbox.send((token, run(job, volume.as_mut()))).is_err() {
                    break;
                }
                waker.wake_by_ref();
            }
        })?;
        Ok(Self { jobs, answers, thread })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(Running { jobs, answers, thread }) = self.running.take() {
            // Without a receiver of answers the thread ends after the job in progress.
            drop(answers);
            drop(jobs);
            let _ = thread.join();
        }
    }
}

fn run(job: Job, volume: Option<&mut Volume>) -> io::Result<Answer> {
    let path = match &job {
        Job::List { directory } => directory,
        Job::Open { path } | Job::Prepare { path, .. } | Job::Remove { path } => path,
    };
    match volume {
        Some(volume) if volume.is_of(path) => list(volume, path).map(Answer::Listed),
        Some(volume) if volume.name(path).is_some() => run_on(volume, &job),
        _ => run_in_file_system(job),
    }
}

/// The files on the device, and those beside it.
fn list(volume: &Volume, directory: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = files::list(directory)?;
    files.retain(|(name, _)| volume.is_beside(name));
    files.extend(volume.list());
    files.sort();
    Ok(files)
}

fn run_on(volume: &mut Volume, job: &Job) -> io::Result<Answer> {
    let device = Arc::clone(volume.descriptor());
    let opened = |part| Answer::Opened(Opened::Part(device, part));
    let of = |volume: &Volume, path: &Path| volume.name(path).expect("it is on the volume").to_owned();
    match job {
        Job::List { .. } => unreachable!("a directory is no file of itself"),
        Job::Open { path } => volume.open(&of(volume, path)).map(opened),
        Job::Prepare { path, bytes } => volume.prepare(&of(volume, path), *bytes).map(opened),
        Job::Remove { path } => volume.remove(&of(volume, path)).map(|()| Answer::Removed),
    }
}

fn run_in_file_system(job: Job) -> io::Result<Answer> {
    let opened = |(file, bytes)| Answer::Opened(Opened::File(file, bytes));
    match job {
        Job::List { directory } => files::list(&directory).map(Answer::Listed),
        Job::Open { path } => files::open(&path).map(opened),
        Job::Prepare { path, bytes } => files::prepare(&path, bytes).map(opened),
        Job::Remove { path } => files::remove(&path).map(|()| Answer::Removed),
    }
}
