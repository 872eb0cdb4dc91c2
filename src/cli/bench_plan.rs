//! From arguments to a load, and how much journal it will fill.

use std::thread::available_parallelism;
use std::time::Duration;

use super::exit;
use super::load_args::Load;
use crate::base::Limits;
use crate::loadgen::floor::Floor;
use crate::loadgen::generator::{Pace, Plan};
use crate::loadgen::payload::NUMBERS_BYTES;
use crate::loadgen::realtime;
use crate::loadgen::trimmer::TrimBehind;

/// Appends a second of each core, about as many as the fastest runs on two had with four clients of 2,500 in flight: 4.1 million. Only an upper
/// bound for the space to prepare.
const APPENDS_PER_S_PER_CORE_MAX: f64 = 2_000_000.0;
/// Journal bytes beside the payload of one record: its table entry, and its share of entry and unit headers.
const RECORD_OVERHEAD_BYTES: f64 = 16.0;
/// The smallest durable write.
const BLOCK_BYTES: f64 = 4096.0;
/// Estimates are rounded up by this, because running out spoils a run and a surplus only takes a moment.
const MARGIN: f64 = 1.25;
/// From when records are old enough to be trimmed until their segment may be written to again, generously.
const TRIM_SECONDS: f64 = 1.0;
/// Segments of a log that is trimmed that hold nothing of what is kept, or only a little: the first, the last, and a reserve.
const SEGMENTS_IN_HAND: f64 = 6.0;

/// The plan that the arguments describe.
pub(super) fn plan(options: &Load) -> anyhow::Result<Plan> {
    let largest = Limits::default().record_bytes_max as usize;
    if !(NUMBERS_BYTES..=largest).contains(&options.record_bytes) {
        return Err(exit::coded(
            exit::USAGE,
            format!(
                "--record-bytes {} cannot be measured: every record is verified, which takes {NUMBERS_BYTES} bytes to tell \
                 where it comes from, and none may be larger than {largest}",
                options.record_bytes
            ),
        ));
    }
    check_realtime(options.realtime)?;
    let pace = match options.rate {
        Some(appends_per_s) => Pace::Open { appends_per_s },
        None => Pace::Closed { inflight: options.inflight as usize },
    };
    Ok(Plan {
        pace,
        record_bytes: options.record_bytes,
        seed: options.seed.unwrap_or_else(|| fastrand::u64(..)),
        warm_up: Duration::from_secs_f64(options.warm_up),
        measured: Duration::from_secs_f64(options.seconds),
        drain: Limits::default().operation_timeout,
        check_history: options.check_history,
        realtime: options.realtime,
        trim_behind: options.trim_behind.map(|bytes| TrimBehind { records: bytes / options.record_bytes as u64 }),
    })
}

/// Refuses a priority that the load may not have.
pub(super) fn check_realtime(wanted: bool) -> anyhow::Result<()> {
    match wanted.then(realtime::permitted) {
        Some(Err(error)) => Err(exit::coded(
            exit::USAGE,
            format!(
                "--realtime is not permitted ({error}): it needs root, CAP_SYS_NICE, or a limit on real-time priority (ulimit -r)"
            ),
        )),
        Some(Ok(())) | None => Ok(()),
    }
}

/// Journal bytes that each node will write for this plan, as far as can be said beforehand.
///
/// A closed loop turns once in a floor at best, and each turn writes what is in flight; an open loop writes its rate.
/// Neither can write faster than the disk, nor handle more records than the cores. A load that trims behind itself needs what it keeps, and
/// what it writes until a trim has freed a segment.
pub(super) fn journal_bytes(plan: &Plan, clients: u32, floor: &Floor) -> u64 {
    journal_bytes_on(plan, clients, floor, available_parallelism().map_or(1, usize::from))
}

fn journal_bytes_on(plan: &Plan, clients: u32, floor: &Floor, cores: usize) -> u64 {
    let record = plan.record_bytes as f64 + RECORD_OVERHEAD_BYTES;
    let turns_per_s = 1e6 / floor.append_p50;
    let cores_limit = cores as f64 * APPENDS_PER_S_PER_CORE_MAX * record;
    let bytes_per_s = match plan.pace {
        Pace::Closed { inflight } => {
            let turn = clients as f64 * inflight as f64 * record;
            (turn * turns_per_s).min(cores_limit).max(BLOCK_BYTES * turns_per_s)
        }
        Pace::Open { appends_per_s } => {
            (appends_per_s * record).max(BLOCK_BYTES * appends_per_s.min(4.0 * turns_per_s))
        }
    };
    let seconds = (plan.warm_up + plan.measured).as_secs_f64();
    let bytes_per_s = bytes_per_s.min(floor.disk_copy_bytes_per_s);
    let all = bytes_per_s * seconds * MARGIN;
    let Some(behind) = plan.trim_behind else { return all as u64 };
    let record_in_unit = match plan.pace {
        // What is in flight may come in several units.
        Pace::Closed { inflight } => {
            (4.0 * BLOCK_BYTES / (clients as f64 * inflight as f64)).min(BLOCK_BYTES).max(record)
        }
        Pace::Open { appends_per_s } => bytes_per_s / appends_per_s,
    };
    let kept = behind.records as f64 * record_in_unit + bytes_per_s * TRIM_SECONDS;
    all.min(kept * MARGIN + SEGMENTS_IN_HAND * Limits::default().segment_bytes as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Floor = Floor {
        dsync_p50: 68.0,
        dsync_p99: 200.0,
        rtt_p50: 16.0,
        rtt_p99: 40.0,
        round_trips: 2,
        append_p50: 100.0,
        append_p99: 280.0,
        disk_copy_bytes_per_s: 800e6,
    };

    fn plan(pace: Pace, record_bytes: usize) -> Plan {
        let second = Duration::from_secs(1);
        Plan {
            pace,
            record_bytes,
            seed: 1,
            warm_up: second,
            measured: 4 * second,
            drain: second,
            check_history: false,
            realtime: false,
            trim_behind: None,
        }
    }

    #[test]
    fn one_at_a_time_fills_a_block_each_turn() {
        let bytes = journal_bytes_on(&plan(Pace::Closed { inflight: 1 }, 100), 1, &FLOOR, 2);
        assert_eq!(bytes, (10_000.0 * 4096.0 * 5.0 * 1.25) as u64);
    }

    #[test]
    fn a_large_load_is_bounded_by_the_cores_or_the_disk() {
        let small = journal_bytes_on(&plan(Pace::Closed { inflight: 4096 }, 100), 4, &FLOOR, 2);
        assert_eq!(small, (4_000_000.0 * 116.0 * 5.0 * 1.25) as u64);
        let large = journal_bytes_on(&plan(Pace::Closed { inflight: 4096 }, 4096), 4, &FLOOR, 2);
        assert_eq!(large, (800e6 * 5.0 * 1.25) as u64);
    }

    #[test]
    fn an_open_loop_fills_what_it_offers() {
        let bytes = journal_bytes_on(&plan(Pace::Open { appends_per_s: 1000.0 }, 100), 4, &FLOOR, 2);
        assert_eq!(bytes, (1000.0 * 4096.0 * 5.0 * 1.25) as u64);
    }

    #[test]
    fn a_load_that_trims_behind_itself_needs_no_more_for_a_longer_run() {
        let bytes = |seconds, records| {
            let trim_behind = Some(TrimBehind { records });
            let measured = Duration::from_secs(seconds);
            let plan = Plan { trim_behind, measured, ..plan(Pace::Closed { inflight: 2500 }, 100) };
            journal_bytes_on(&plan, 4, &FLOOR, 2)
        };
        assert_eq!(bytes(60, 1_000_000), bytes(600, 1_000_000));
        assert!(bytes(60, 2_000_000) - bytes(60, 1_000_000) >= 116_000_000);
        let everything = journal_bytes_on(&plan(Pace::Closed { inflight: 2500 }, 100), 4, &FLOOR, 2);
        assert_eq!(bytes(4, 1 << 40), everything, "no more than all that is written");
    }
}
