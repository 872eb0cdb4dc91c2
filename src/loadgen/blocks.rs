//! Short blocks of appends, in turn on a virtual log and on a bare loglet, so that both see the same hours of the machine.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use super::live::record;
use crate::base::{Limits, LogPos, Offset};
use crate::client::{Append, AppendError, Log, LogAppend, LogAppendError, OpError, ReadResult, VirtualLog};

/// How long to wait before a read that found nothing is done again.
const AGAIN: Duration = Duration::from_micros(500);

/// What is appended to.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A loglet without a chain.
    Loglet(Log),
    /// A log.
    Log(VirtualLog),
}

/// An append of either kind on its way.
enum Pending {
    Loglet(Append),
    Log(LogAppend),
}

/// Why a block has ended early.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The loglet has refused an append.
    #[error("the bare loglet: {0}")]
    Loglet(#[from] AppendError),
    /// The log has refused one.
    #[error("the virtual log: {0}")]
    Log(#[from] LogAppendError),
}

impl Pending {
    fn wait(self) -> Result<u64, BlockError> {
        Ok(match self {
            Self::Loglet(append) => append.wait()?.0,
            Self::Log(append) => append.wait()?.0,
        })
    }
}

impl Subject {
    fn append(&self, record: &[u8]) -> Pending {
        match self {
            Self::Loglet(log) => Pending::Loglet(log.append(record)),
            Self::Log(log) => Pending::Log(log.append(record)),
        }
    }
}

/// The appends to one subject, numbered from 0, and where each of them is.
#[derive(Debug)]
pub struct Appender {
    subject: Subject,
    bytes: usize,
    /// The place of each record, by its number.
    places: Vec<u64>,
}

/// What one block has measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Median latency, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, by nearest rank.
    pub p99_us: f64,
    /// Acknowledged appends a second.
    pub per_s: f64,
}

impl Appender {
    /// Appends records of this size to a subject that is still empty.
    pub fn new(subject: Subject, bytes: usize) -> Self {
        Self { subject, bytes, places: Vec::new() }
    }

    /// Keeps so many appends in flight for this long, and waits for the last of them.
    ///
    /// # Errors
    /// An append was not acknowledged.
    pub fn block(&mut self, inflight: usize, time: Duration) -> Result<Block, BlockError> {
        let (begin, mut pending, mut latencies) = (Instant::now(), VecDeque::new(), Vec::new());
        let mut next = self.places.len() as u64;
        loop {
            let goes_on = begin.elapsed() < time;
            while goes_on && pending.len() < inflight {
                let record = record(next, self.bytes);
                pending.push_back((Instant::now(), self.subject.append(&record)));
                next += 1;
            }
            let Some((since, append)) = pending.pop_front() else { break };
            self.places.push(append.wait()?);
            latencies.push(since.elapsed());
        }
        let per_s = latencies.len() as f64 / begin.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let at =
            |share: f64| latencies[((latencies.len() as f64 * share).ceil() as usize).max(1) - 1].as_secs_f64() * 1e6;
        Ok(Block { p50_us: at(0.5), p99_us: at(0.99), per_s })
    }

    /// How many records have been acknowledged.
    pub fn acked(&self) -> u64 {
        self.places.len() as u64
    }

    /// Reads everything back; how many of the acknowledged records are where they were said to be.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn verify(&self) -> Result<u64, OpError> {
        let (mut found, mut at) = (0, 0);
        let tail = match &self.subject {
            Subject::Loglet(log) => log.check_tail()?.tail.0,
            Subject::Log(log) => log.check_tail()?.0,
        };
        let mut numbers = vec![None; usize::try_from(tail).expect("positions fit into memory")];
        for (number, place) in self.places.iter().enumerate() {
            if let Some(slot) = numbers.get_mut(*place as usize) {
                *slot = Some(number as u64);
            }
        }
        while at < tail {
            let before = at;
            let mut check = |places: &mut dyn Iterator<Item = Option<&[u8]>>| {
                for place in places {
                    let number = numbers[at as usize].filter(|number| place == Some(&record(*number, self.bytes)[..]));
                    found += u64::from(number.is_some());
                    at += 1;
                }
            };
            let read_bytes = Limits::default().read_bytes_max;
            match &self.subject {
                Subject::Loglet(log) => {
                    if let ReadResult::Records(delivery) = log.read(Offset(before), Offset(tail), read_bytes)? {
                        check(&mut delivery.values());
                    }
                }
                Subject::Log(log) => {
                    if let ReadResult::Records(delivery) = log.read(LogPos(before), LogPos(tail), read_bytes)? {
                        check(&mut delivery.values());
                    }
                }
            }
            if at == before {
                thread::sleep(AGAIN);
            }
        }
        Ok(found)
    }
}
