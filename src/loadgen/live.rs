//! A virtual log under a load that goes on while something is done to it: when each append was acknowledged, and whether all are there.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::base::{Limits, LogPos};
use crate::client::{LogAppend, LogAppendError, OpError, ReadResult, VirtualLog};

/// The shortest record: its number.
pub const RECORD_BYTES_MIN: usize = 8;
/// How often a paced load looks at the clock.
const TICK: Duration = Duration::from_micros(500);

/// How appends are offered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Offer {
    /// So many in flight, each replaced when it ends.
    Closed {
        /// How many.
        inflight: usize,
    },
    /// So many a second, whatever the log does.
    Open {
        /// How many.
        appends_per_s: f64,
    },
}

/// A load that goes on in the background until it is ended.
#[derive(Debug)]
pub struct LiveLoad {
    stop: Sender<()>,
    issuer: JoinHandle<u64>,
    waiter: JoinHandle<Acknowledged>,
}

/// What has become of a load.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// When each append was seen to be acknowledged, in the order of the appends.
    pub times: Vec<Instant>,
    /// Where each record is, and its number.
    pub places: Vec<(LogPos, u64)>,
    /// Appends that were not acknowledged, with their numbers.
    pub failed: Vec<(u64, LogAppendError)>,
}

/// Record number `number`, of this many bytes.
pub fn record(number: u64, bytes: usize) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.resize(bytes.max(RECORD_BYTES_MIN), number as u8);
    record
}

impl LiveLoad {
    /// Starts appending records of this size, numbered from `first`.
    pub fn start(log: VirtualLog, offer: Offer, bytes: usize, first: u64) -> Self {
        let (stop, stopped) = channel();
        let depth = match offer {
            Offer::Closed { inflight } => inflight,
            // Beyond what the client's window holds of the smallest records.
            Offer::Open { .. } => Limits::default().client_window_bytes as usize / RECORD_BYTES_MIN,
        };
        let (issued, appends) = sync_channel::<(u64, LogAppend)>(depth);
        let issuer = thread::spawn(move || {
            let (begin, mut number) = (Instant::now(), first);
            while matches!(stopped.try_recv(), Err(TryRecvError::Empty)) {
                let due = match offer {
                    Offer::Closed { .. } => u64::MAX,
                    Offer::Open { appends_per_s } => (begin.elapsed().as_secs_f64() * appends_per_s) as u64,
                };
                if number - first >= due {
                    thread::sleep(TICK);
                } else if issued.send((number, log.append(&record(number, bytes)))).is_err() {
                    break;
                } else {
                    number += 1;
                }
            }
            number
        });
        let waiter = thread::spawn(move || wait_for(&appends));
        Self { stop, issuer, waiter }
    }

    /// Ends the load and waits for what is on the way. Also gives the number of the next record.
    ///
    /// # Panics
    /// When one of its threads has.
    pub fn end(self) -> (Acknowledged, u64) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        let next = self.issuer.join().expect("the issuer does not panic");
        (self.waiter.join().expect("the waiter does not panic"), next)
    }
}

fn wait_for(appends: &Receiver<(u64, LogAppend)>) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for (number, append) in appends {
        match append.wait() {
            Ok(position) => {
                acknowledged.times.push(Instant::now());
                acknowledged.places.push((position, number));
            }
            Err(error) => acknowledged.failed.push((number, error)),
        }
    }
    acknowledged
}

impl Acknowledged {
    /// The longest time without an acknowledgement that overlaps this span.
    pub fn gap(&self, from: Instant, to: Instant) -> Duration {
        let first = self.times.partition_point(|time| *time < from).saturating_sub(1);
        let last = (self.times.partition_point(|time| *time <= to) + 1).min(self.times.len());
        let around = &self.times[first.min(last)..last];
        around.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max().unwrap_or_default()
    }

    /// Acknowledged appends a second.
    pub fn per_s(&self) -> f64 {
        let span = self.times.first().zip(self.times.last()).map(|(first, last)| last.duration_since(*first));
        span.map_or(0.0, |span| self.times.len() as f64 / span.as_secs_f64().max(1e-9))
    }
}

/// What was found when everything was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Acknowledged records.
    pub acked: u64,
    /// Of these, found where they were said to be.
    pub read_back: u64,
    /// Not found there.
    pub missing: u64,
    /// Records that are in the log twice, which a lost sequencer allows.
    pub twice: u64,
}

/// Reads the log from its beginning, and looks for every acknowledged record, all of this size.
///
/// # Errors
/// The log cannot be read.
pub fn verify(log: &VirtualLog, loads: &[&Acknowledged], bytes: usize) -> Result<Verified, OpError> {
    let mut places: VecDeque<(LogPos, u64)> = loads.iter().flat_map(|load| load.places.iter().copied()).collect();
    places.make_contiguous().sort_unstable();
    let acked = places.len() as u64;
    let (tail, mut at) = (log.check_tail()?, LogPos::ZERO);
    let (mut read_back, mut numbers) = (0, Vec::new());
    while at < tail {
        let ReadResult::Records(delivery) = log.read(at, tail, Limits::default().read_bytes_max)? else {
            thread::sleep(TICK);
            continue;
        };
        for (position, found) in delivery.entries() {
            numbers.extend(found.first_chunk().map(|number| u64::from_le_bytes(*number)));
            while places.front().is_some_and(|(place, _)| *place < position) {
                places.pop_front();
            }
            if let Some((_, number)) = places.front().filter(|(place, _)| *place == position) {
                read_back += u64::from(found == record(*number, bytes));
            }
        }
        at = delivery.end();
    }
    numbers.sort_unstable();
    let twice = numbers.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    Ok(Verified { acked, read_back, missing: acked - read_back, twice })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_the_longest_silence_that_overlaps_the_span() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let load = Acknowledged { times: [0, 1, 2, 40, 41, 42, 90].map(at).to_vec(), ..Acknowledged::default() };
        assert_eq!(load.gap(at(5), at(6)), Duration::from_millis(38));
        assert_eq!(load.gap(at(40), at(41)), Duration::from_millis(38), "it touches the span");
        assert_eq!(load.gap(at(0), at(1)), Duration::from_millis(1));
        assert_eq!(load.gap(at(50), at(60)), Duration::from_millis(48));
        assert_eq!(Acknowledged::default().gap(at(0), at(1)), Duration::ZERO);
    }
}
