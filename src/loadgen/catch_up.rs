//! Readers: one that catches up from the beginning of a log as fast as it can, and some that hardly read at all.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::run::{RunError, Target};
use crate::base::Offset;
use crate::client::{Client, ClientOptions, Event, Log, OpError, Subscription};

/// Between two looks at whether to go on.
const TURN: Duration = Duration::from_millis(50);
/// How long a pass may stand still before it is given up.
const STALL: Duration = Duration::from_secs(30);
/// How often a slow subscriber takes what has come for it, one delivery each time.
const SLOW_TURN: Duration = Duration::from_millis(100);

/// A handle with an I/O thread and connections of its own, so that readers and appenders do not meet in the client.
#[derive(Debug)]
pub struct Reader {
    log: Log,
    /// Its thread ends with it.
    _client: Client,
}

impl Reader {
    /// Of this log.
    ///
    /// # Errors
    /// Its I/O thread cannot be started.
    pub fn start(target: &Target, options: ClientOptions) -> io::Result<Self> {
        let client = Client::start(options)?;
        Ok(Self { log: client.open(&target.loglet, target.cluster), _client: client })
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

/// What one reader has read.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Pass {
    /// Records, each verified by the client library against the checksum that its writer gave it.
    pub records: u64,
    /// Their payloads.
    pub bytes: u64,
    /// From the subscription to the last record.
    pub elapsed: Duration,
}

impl Pass {
    /// Payload bytes a second.
    pub fn bytes_per_s(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Reads a log from offset 0 to `tail` through one subscription. `go_on` is told the records read about 20 times a second,
/// and ends the pass early by saying no.
///
/// # Errors
/// The log cannot be read, or not in order.
pub fn read_through(log: &Log, tail: Offset, mut go_on: impl FnMut(u64) -> bool) -> Result<Pass, RunError> {
    let start = Instant::now();
    let mut subscription = log.subscribe(Offset::ZERO);
    let (mut next, mut records, mut bytes) = (Offset::ZERO, 0, 0);
    let (mut moved, mut looked) = (start, start);
    while next < tail {
        let error = |error| RunError::Read { at: next, tail, error };
        match subscription.next_timeout(TURN).map_err(error)? {
            Some(Event::Records(delivery)) => {
                if delivery.first() != next {
                    return Err(RunError::OutOfOrder { expected: next, got: delivery.first() });
                }
                records += u64::from(delivery.count());
                bytes += delivery.records().map(|record| record.len() as u64).sum::<u64>();
                next = delivery.end();
                moved = Instant::now();
            }
            Some(Event::Trimmed(_) | Event::Sealed) => {
                let reason = "the log ended before its tail".to_owned();
                return Err(RunError::Read { at: next, tail, error: OpError::Unavailable { reason } });
            }
            None if moved.elapsed() > STALL => return Err(RunError::ReadStalled { at: next, tail }),
            None => {}
        }
        if looked.elapsed() >= TURN {
            looked = Instant::now();
            if !go_on(records) {
                break;
            }
        }
    }
    Ok(Pass { records, bytes, elapsed: start.elapsed() })
}

/// A thread of readers beside a load. Dropping it ends them.
#[derive(Debug)]
pub struct Beside {
    /// Its end ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<Pass, RunError>>>,
}

impl Beside {
    /// Catches up with `log` from offset 0 to `tail`, again and again.
    pub fn catch_up(reader: Reader, tail: Offset) -> Self {
        Self::start("bench-catch-up", move |stop| {
            let mut sum = Pass::default();
            while !stopped(stop) {
                let pass = read_through(reader.log(), tail, |_| !stopped(stop))?;
                sum.records += pass.records;
                sum.bytes += pass.bytes;
                sum.elapsed += pass.elapsed;
            }
            Ok(sum)
        })
    }

    /// One subscription for each reader, from the beginning of its log. Every second one never takes what comes for it, the others take one
    /// delivery every 100 ms.
    pub fn slow(readers: Vec<Reader>) -> Self {
        Self::start("bench-slow", move |stop| {
            let start = Instant::now();
            let mut subscriptions: Vec<Subscription> =
                readers.iter().map(|reader| reader.log().subscribe(Offset::ZERO)).collect();
            let mut sum = Pass::default();
            while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(SLOW_TURN) {
                for subscription in subscriptions.iter_mut().step_by(2) {
                    let at = Offset(sum.records);
                    let event = subscription.next_timeout(Duration::ZERO);
                    let event = event.map_err(|error| RunError::Read { at, tail: Offset::MAX, error })?;
                    if let Some(Event::Records(delivery)) = event {
                        sum.records += u64::from(delivery.count());
                        sum.bytes += delivery.records().map(|record| record.len() as u64).sum::<u64>();
                    }
                }
            }
            sum.elapsed = start.elapsed();
            Ok(sum)
        })
    }

    fn start(name: &str, work: impl FnOnce(&Receiver<()>) -> Result<Pass, RunError> + Send + 'static) -> Self {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&stopped));
        Self { stop: Some(stop), thread: Some(thread.expect("a thread can be started")) }
    }

    /// Ends the readers and tells what they read.
    ///
    /// # Errors
    /// As [`read_through`].
    pub fn stop(mut self) -> Result<Pass, RunError> {
        self.stop = None;
        let thread = self.thread.take().expect("joined once");
        thread.join().expect("a reader does not panic")
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Whoever drops it does not want to know.
            let _ = thread.join();
        }
    }
}

fn stopped(stop: &Receiver<()>) -> bool {
    stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected)
}
