//! What the disk and the loopback of this machine can do, measured just before the load.
//!
//! An append cannot be faster than two round trips (client to sequencer, sequencer to LogServer), or one where the sequencer is in the
//! client's process, and the durable write that completes a quorum. Threads and blocking calls are used here on purpose: the floor must not share code, or
//! weaknesses, with what it is compared to.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::prewritten::Prewritten;
use crate::base::{Buf, quorum};

/// Bytes of one round-trip message: about a frame header and a small record.
const MESSAGE_BYTES: usize = 88;
const BLOCK_BYTES: usize = 4096;
const SEQUENTIAL_BYTES: usize = 128 << 10;
/// Of each file; large enough that the sequential writes do not stay in one spot.
const FILE_BYTES: u64 = 64 << 20;
/// Rounds that are measured and thrown away.
const WARM_UP_ROUNDS: usize = 64;
/// Each measurement is made this often and the best one counts: other work on the machine raises a floor, and a raised floor
/// flatters whoever is compared with it.
const TURNS: usize = 3;

/// The floor, in microseconds and bytes per second.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Floor {
    /// The quorum-th of as many simultaneous durable 4 KiB overwrites as there are replicas, each on its own file.
    pub dsync_p50: f64,
    /// Its 99th percentile.
    pub dsync_p99: f64,
    /// Loopback TCP round trip.
    pub rtt_p50: f64,
    /// Its 99th percentile.
    pub rtt_p99: f64,
    /// Round trips of an append: two, or one with the sequencer in the client's process.
    pub round_trips: u32,
    /// The least that an append takes: `dsync_p50 + round_trips * rtt_p50`.
    pub append_p50: f64,
    /// `dsync_p99 + round_trips * rtt_p99`.
    pub append_p99: f64,
    /// Durable sequential bytes per second of each copy, with as many writers as replicas at once.
    #[serde(skip)]
    pub disk_copy_bytes_per_s: f64,
}

/// Measures the floor with files in `directory`, which are removed again. Takes about two seconds and three times 64 MiB
/// of disk for three replicas.
///
/// # Errors
/// The directory refuses direct or durable writes, or loopback sockets fail.
pub fn measure(directory: &Path, replicas: usize) -> io::Result<Floor> {
    let scratch = tempfile::Builder::new().prefix("floor-").tempdir_in(directory)?;
    let mut files = (0..replicas)
        .map(|index| Prewritten::create(&scratch.path().join(index.to_string()), FILE_BYTES))
        .collect::<io::Result<Vec<_>>>()?;
    let (mut round_trip, mut write, mut disk_copy_bytes_per_s) = (Pair::WORST, Pair::WORST, 0.0_f64);
    for _ in 0..TURNS {
        round_trip = round_trip.better(Pair::of(round_trips(Duration::from_millis(100))?));
        write = write.better(Pair::of(quorum_writes(&mut files, Duration::from_millis(250))?));
        disk_copy_bytes_per_s = disk_copy_bytes_per_s.max(sequential_writes(&mut files, Duration::from_millis(200))?);
    }
    scratch.close()?;
    let floor = Floor {
        dsync_p50: write.p50,
        dsync_p99: write.p99,
        rtt_p50: round_trip.p50,
        rtt_p99: round_trip.p99,
        round_trips: 0,
        append_p50: write.p50,
        append_p99: write.p99,
        disk_copy_bytes_per_s,
    };
    Ok(floor.with_round_trips(2))
}

impl Floor {
    /// The same machine's, for appends of so many round trips.
    pub fn with_round_trips(self, round_trips: u32) -> Self {
        let least = |dsync: f64, rtt: f64| dsync + f64::from(round_trips) * rtt;
        let (append_p50, append_p99) = (least(self.dsync_p50, self.rtt_p50), least(self.dsync_p99, self.rtt_p99));
        Self { round_trips, append_p50, append_p99, ..self }
    }
}

/// Rounds of simultaneous durable block writes; each sample is the quorum-th of the round.
///
/// Every write is timed from its own submission. Timing them from the round's start would add the wake-up of the writing
/// threads, which is no property of the disk, and would flatter whoever is compared with it.
fn quorum_writes(files: &mut [Prewritten], duration: Duration) -> io::Result<Vec<u64>> {
    let (replicas, nth) = (files.len(), quorum(files.len()) - 1);
    let barrier = Barrier::new(replicas);
    // Calibrated with one writer, so that all agree on the number of rounds beforehand and none waits for one that stopped.
    let buf = Buf::zeroed(BLOCK_BYTES);
    let start = Instant::now();
    for _ in 0..WARM_UP_ROUNDS {
        files[0].overwrite_next(&buf)?;
    }
    let alone = start.elapsed() / WARM_UP_ROUNDS as u32;
    let rounds = (duration.as_nanos() / (2 * alone).as_nanos().max(1)).clamp(200, 50_000) as usize;
    let samples: Vec<io::Result<Vec<u64>>> = thread::scope(|scope| {
        let writers: Vec<_> = files
            .iter_mut()
            .map(|file| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let buf = Buf::zeroed(BLOCK_BYTES);
                    // A writer that fails still keeps every appointment at the barrier: the others must not hang.
                    let mut result = Ok(Vec::with_capacity(rounds));
                    for _ in 0..rounds {
                        barrier.wait();
                        let start = Instant::now();
                        match (&mut result, file.overwrite_next(&buf)) {
                            (Ok(samples), Ok(())) => samples.push(start.elapsed().as_nanos() as u64),
                            (Ok(_), Err(error)) => result = Err(error),
                            (Err(_), _) => {}
                        }
                    }
                    result
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("a floor writer does not panic")).collect()
    });
    let samples = samples.into_iter().collect::<io::Result<Vec<_>>>()?;
    let quorum_of = |round: usize| {
        let mut times: Vec<u64> = samples.iter().map(|writer| writer[round]).collect();
        times.sort_unstable();
        times[nth]
    };
    Ok((WARM_UP_ROUNDS.min(rounds / 2)..rounds).map(quorum_of).collect())
}

/// Bytes per second that each of the writers gets, all writing at once.
fn sequential_writes(files: &mut [Prewritten], duration: Duration) -> io::Result<f64> {
    let replicas = files.len() as f64;
    let start = Instant::now();
    let written: Vec<io::Result<u64>> = thread::scope(|scope| {
        let writers: Vec<_> = files
            .iter_mut()
            .map(|file| {
                scope.spawn(move || {
                    let buf = Buf::zeroed(SEQUENTIAL_BYTES);
                    let mut bytes = 0;
                    while start.elapsed() < duration {
                        file.overwrite_next(&buf)?;
                        bytes += SEQUENTIAL_BYTES as u64;
                    }
                    Ok(bytes)
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("a floor writer does not panic")).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let total: u64 = written.into_iter().sum::<io::Result<u64>>()?;
    Ok(total as f64 / seconds / replicas)
}

/// Round trips of one message between two threads.
fn round_trips(duration: Duration) -> io::Result<Vec<u64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let echo = scope.spawn(move || -> io::Result<()> {
            let (mut socket, _) = listener.accept()?;
            socket.set_nodelay(true)?;
            let mut message = [0; MESSAGE_BYTES];
            loop {
                match socket.read_exact(&mut message) {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                    other => other?,
                }
                socket.write_all(&message)?;
            }
        });
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let (mut message, mut samples) = ([1; MESSAGE_BYTES], Vec::new());
        let begin = Instant::now();
        while begin.elapsed() < duration {
            let start = Instant::now();
            socket.write_all(&message)?;
            socket.read_exact(&mut message)?;
            samples.push(start.elapsed().as_nanos() as u64);
        }
        drop(socket);
        echo.join().expect("the echo thread does not panic")?;
        samples.drain(..WARM_UP_ROUNDS.min(samples.len() / 2));
        Ok(samples)
    })
}

/// The 50th and 99th percentile of one turn, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Pair {
    p50: f64,
    p99: f64,
}

impl Pair {
    const WORST: Self = Self { p50: f64::INFINITY, p99: f64::INFINITY };

    /// Of samples in nanoseconds.
    fn of(mut samples: Vec<u64>) -> Self {
        assert!(!samples.is_empty(), "a floor has samples");
        samples.sort_unstable();
        let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize] as f64 / 1e3;
        Self { p50: at(0.5), p99: at(0.99) }
    }

    fn better(self, other: Self) -> Self {
        if other.p50 < self.p50 { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_sorted_samples() {
        let samples = (1..=1000).rev().map(|micros| micros * 1000).collect();
        let pair = Pair::of(samples);
        assert_eq!(pair, Pair { p50: 500.0, p99: 990.0 });
        assert_eq!(Pair::WORST.better(pair).better(Pair { p50: 600.0, p99: 1.0 }), pair);
    }

    #[test]
    fn a_round_trip_is_measured_and_its_threads_end() {
        let samples = round_trips(Duration::from_millis(5)).unwrap();
        assert!(samples.iter().all(|&nanos| nanos > 0));
    }
}
