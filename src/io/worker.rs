//! One background thread for the file operations that block.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Waker;
use std::thread::JoinHandle;

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
    Opened(OwnedFd, u64),
    Removed,
}

/// How an operation has ended; `take_in` numbers a file that it has opened.
pub(super) fn outcome(answer: io::Result<Answer>, take_in: impl FnOnce(OwnedFd) -> FileId) -> Outcome {
    match answer {
        Ok(Answer::Listed(files)) => Outcome::Listed(files),
        Ok(Answer::Opened(descriptor, bytes)) => Outcome::Opened { file: take_in(descriptor), bytes },
        Ok(Answer::Removed) => Outcome::Done,
        Err(error) => Outcome::Failed(error),
    }
}

/// Starts its thread with the first job. Dropping it waits for the job in progress and forgets the others.
pub(super) struct Worker {
    waker: Waker,
    running: Option<Running>,
    outstanding: usize,
}

struct Running {
    jobs: Sender<(Token, Job)>,
    answers: Receiver<(Token, io::Result<Answer>)>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// A worker that wakes `waker` after each job.
    pub(super) fn new(waker: Waker) -> Self {
        Self { waker, running: None, outstanding: 0 }
    }

    pub(super) fn start(&mut self, token: Token, job: Job) -> io::Result<()> {
        if self.running.is_none() {
            self.running = Some(Running::spawn(self.waker.clone())?);
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
    fn spawn(waker: Waker) -> io::Result<Self> {
        let (jobs, inbox) = channel::<(Token, Job)>();
        let (outbox, answers) = channel();
        let thread = std::thread::Builder::new().name("naxos-files".to_owned()).spawn(move || {
            for (token, job) in inbox {
                if outbox.send((token, run(job))).is_err() {
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

fn run(job: Job) -> io::Result<Answer> {
    match job {
        Job::List { directory } => files::list(&directory).map(Answer::Listed),
        Job::Open { path } => files::open(&path).map(|(file, bytes)| Answer::Opened(file, bytes)),
        Job::Prepare { path, bytes } => files::prepare(&path, bytes).map(|(file, bytes)| Answer::Opened(file, bytes)),
        Job::Remove { path } => files::remove(&path).map(|()| Answer::Removed),
    }
}
