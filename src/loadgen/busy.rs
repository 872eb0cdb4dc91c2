//! Threads that keep processors busy, so that everybody else waits for a turn.

use std::hint::black_box;
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::thread;

/// Busy threads, until it is dropped.
#[derive(Debug)]
pub struct Busy {
    threads: Vec<(Sender<()>, thread::JoinHandle<u64>)>,
}

/// Steps between two looks at whether to end.
const STEPS: u64 = 1 << 20;

impl Busy {
    /// Starts so many; by default one for each processor.
    pub fn start(threads: Option<usize>) -> Self {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            let (stop, stopped) = channel::<()>();
            let spin = move || {
                let mut steps = 0;
                while matches!(stopped.try_recv(), Err(TryRecvError::Empty)) {
                    (0..STEPS).for_each(|step| steps = black_box(steps ^ step));
                }
                steps
            };
            (stop, thread::spawn(spin))
        };
        Self { threads: (0..threads.unwrap_or_else(processors)).map(start).collect() }
    }

    /// How many.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for (stop, thread) in self.threads.drain(..) {
            drop(stop);
            // It computes nothing that could fail.
            let _ = thread.join();
        }
    }
}
