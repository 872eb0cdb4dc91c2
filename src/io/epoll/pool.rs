//! Threads that read and write files for one driver.
//!
//! An operation goes to them with everything it uses, and comes back with it: nobody can free memory or close a file that a
//! thread, or the kernel for it, still needs.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Wake;
use std::thread::JoinHandle;

use rustix::io::{Errno, ReadWriteFlags};

use super::wake::WakeUp;
use crate::base::Buf;
use crate::io::op::{FileId, Token};
use crate::ring::WorkQueue;

/// Transfers for which the queues have memory from the start; with more of them they grow.
const QUEUED: usize = 32;

/// A read or write of a file.
pub(super) struct Transfer {
    pub(super) token: Token,
    pub(super) file: FileId,
    pub(super) direction: Direction,
    pub(super) descriptor: Arc<OwnedFd>,
    pub(super) offset: u64,
    /// From the start of `buf`.
    pub(super) bytes: usize,
    pub(super) buf: Buf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// A transfer that has ended.
pub(super) struct Transferred {
    pub(super) transfer: Transfer,
    pub(super) result: io::Result<usize>,
}

/// A bounded number of threads, started when there is work for them.
///
/// They run where the thread of the driver may run: pinning a shard pins what it writes. Dropping the pool waits for the
/// transfers that a thread has taken, since a transfer cannot be interrupted, and forgets those behind them.
pub(super) struct Pool {
    name: &'static str,
    threads_max: usize,
    threads: Vec<JoinHandle<()>>,
    wake: Arc<WakeUp>,
    jobs: Arc<WorkQueue<Transfer>>,
    results: Arc<WorkQueue<Transferred>>,
    /// Transfers handed to the threads and not yet collected.
    outstanding: usize,
}

impl Pool {
    /// A pool that wakes the driver through `wake` after each transfer.
    pub(super) fn new(name: &'static str, threads_max: u16, wake: &Arc<WakeUp>) -> Self {
        assert!(threads_max > 0, "somebody has to work");
        let threads_max = usize::from(threads_max);
        Self {
            name,
            threads_max,
            threads: Vec::with_capacity(threads_max),
            wake: Arc::clone(wake),
            jobs: Arc::new(WorkQueue::with_capacity(QUEUED)),
            results: Arc::new(WorkQueue::with_capacity(QUEUED)),
            outstanding: 0,
        }
    }

    /// Starts a transfer, now or when there is a thread for it.
    ///
    /// # Errors
    /// There is no thread, and none can be started.
    pub(super) fn start(&mut self, transfer: Transfer) -> Result<(), Transferred> {
        if self.outstanding >= self.threads.len()
            && self.threads.len() < self.threads_max
            && let Err(error) = self.spawn()
            && self.threads.is_empty()
        {
            return Err(Transferred { transfer, result: Err(error) });
        }
        self.outstanding += 1;
        self.jobs.push(transfer);
        Ok(())
    }

    /// How many threads have been started.
    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    fn spawn(&mut self) -> io::Result<()> {
        let (jobs, results, wake) = (Arc::clone(&self.jobs), Arc::clone(&self.results), Arc::clone(&self.wake));
        let thread = std::thread::Builder::new().name(self.name.to_owned()).spawn(move || {
            while let Some(transfer) = jobs.pop() {
                results.push(carry_out(transfer));
                wake.wake_by_ref();
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// The next transfer that has ended, if there is one.
    pub(super) fn poll_transferred(&mut self) -> Option<Transferred> {
        if self.outstanding == 0 {
            return None;
        }
        let transferred = self.results.try_pop()?;
        self.outstanding -= 1;
        Some(transferred)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(name = self.name, "a thread had panicked");
            }
        }
    }
}

fn carry_out(mut transfer: Transfer) -> Transferred {
    let result = loop {
        let result = match transfer.direction {
            Direction::Read => {
                rustix::io::pread(&*transfer.descriptor, &mut transfer.buf[..transfer.bytes], transfer.offset)
            }
            Direction::Write => rustix::io::pwritev2(
                &*transfer.descriptor,
                &[IoSlice::new(&transfer.buf[..transfer.bytes])],
                transfer.offset,
                ReadWriteFlags::DSYNC,
            ),
        };
        if result != Err(Errno::INTR) {
            break result;
        }
    };
    Transferred { transfer, result: result.map_err(io::Error::from) }
}
