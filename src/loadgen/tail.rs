//! How soon a subscriber has what another client appends: both in this process, so that one clock times both.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::generator::{Plan, Progress, generate, histogram};
use super::payload::RecordKey;
use super::run::{Observer, Phase, RunError};
use super::verify::Ledger;
use crate::base::Offset;
use crate::client::{Event, Log, Subscription};

/// Between two looks at an interruption and the end of the load.
const TURN: Duration = Duration::from_millis(50);
/// How long what was acknowledged is waited for after the load, before it counts as missing.
const STALL: Duration = Duration::from_secs(10);

/// What a subscriber saw of a load.
pub struct Tailed {
    /// From an append's beginning to its acknowledgement, in nanoseconds, as all that follow.
    pub append: Histogram<u64>,
    /// From the acknowledgement to the delivery: 0 where the delivery came first.
    pub after_ack: Histogram<u64>,
    /// From the beginning to the delivery.
    pub after_append: Histogram<u64>,
    /// Of these, records that were delivered before their append was seen to be acknowledged.
    pub before_ack: u64,
    /// Of all records, warm-up included.
    pub verified: Delivered,
    /// Whether an open loop kept its timetable.
    pub kept_up: bool,
    /// 99th percentile of how late an open loop took appends up.
    pub lag_us: Option<f64>,
    /// Appends that failed.
    pub failed: u64,
    /// Why the first of them did.
    pub first_error: Option<String>,
}

/// Whether everything was delivered once, in order and equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Delivered {
    /// Appends that were acknowledged.
    pub acked: u64,
    /// Records that came, each at the offset after the one before.
    pub delivered: u64,
    /// Acknowledged, and not delivered.
    pub missing: u64,
    /// Records that are not what was appended at that place, and acknowledgements of another place.
    pub wrong: u64,
}

impl Delivered {
    /// Whether every acknowledged record came, where it belongs, and nothing else.
    pub fn holds(&self) -> bool {
        self.missing == 0 && self.wrong == 0 && self.delivered == self.acked
    }
}

impl Tailed {
    /// Whether every append was acknowledged and delivered, and there were some in the measured time.
    pub fn is_sound(&self) -> bool {
        self.failed == 0 && self.verified.holds() && !self.after_ack.is_empty()
    }
}

/// What a subscriber has noted.
#[derive(Default)]
struct Followed {
    /// When each record was there, by its offset, in nanoseconds from the start.
    at: Vec<u64>,
    wrong: u64,
}

/// Appends by `plan` from one client to a log that is still empty, through `appender`, while `reader` subscribes to it.
///
/// # Errors
/// See [`RunError`]. A load in which appends failed, or records were not delivered, is a result, not an error.
pub fn run(appender: Log, reader: &Log, plan: &Plan, observer: &mut dyn Observer) -> Result<Tailed, RunError> {
    // The times of every append, to be held against those of the deliveries.
    let plan = Plan { check_history: true, ..plan.clone() };
    let plan = &plan;
    let mut subscription = reader.subscribe(Offset::ZERO);
    let progress = Mutex::new(Progress::default());
    let start = Instant::now();
    thread::scope(|scope| {
        let progress = &progress;
        let (expect, expected) = channel();
        let follower = scope.spawn(move || follow(&mut subscription, plan, start, &expected));
        let generator = scope.spawn(move || generate(plan, vec![appender], start, progress));
        while !generator.is_finished() {
            thread::sleep(TURN);
            let acknowledged = progress.lock().unwrap_or_else(PoisonError::into_inner).acknowledged;
            if !observer.progress(Phase::Appending { elapsed: start.elapsed(), acknowledged }) {
                progress.lock().unwrap_or_else(PoisonError::into_inner).abandoned = true;
                return Err(RunError::Interrupted);
            }
        }
        let generated = generator.join().expect("the generator does not panic");
        let [ledger] = &generated.ledgers[..] else { unreachable!("there is one client") };
        // A follower that has ended already says why below.
        let _ = expect.send(ledger.acknowledged());
        let followed = follower.join().expect("the follower does not panic")?;
        let mut tailed = book(plan, ledger, &followed);
        tailed.kept_up = generated.kept_up();
        tailed.lag_us = generated.lag_us();
        (tailed.failed, tailed.first_error) = (generated.failed, generated.first_error);
        Ok(tailed)
    })
}

/// Notes when each record is there, and compares it with what belongs there: until as many are there as `expected` says, and a turn
/// longer, in which nothing may come.
fn follow(
    subscription: &mut Subscription,
    plan: &Plan,
    start: Instant,
    expected: &Receiver<u64>,
) -> Result<Followed, RunError> {
    let (mut followed, mut scratch) = (Followed::default(), Vec::with_capacity(plan.record_bytes));
    let (mut until, mut moved, mut next) = (None, start, Offset::ZERO);
    loop {
        match subscription.next_timeout(TURN).map_err(RunError::Watch)? {
            Some(Event::Records(delivery)) => {
                // The clock first: what follows is not the log's time.
                let now = start.elapsed().as_nanos() as u64;
                if delivery.first() != next {
                    return Err(RunError::OutOfOrder { expected: next, got: delivery.first() });
                }
                next = delivery.end();
                for record in delivery.records() {
                    let key = RecordKey { seed: plan.seed, client: 0, sequence: followed.at.len() as u64 };
                    followed.wrong += u64::from(!key.matches(record, plan.record_bytes, &mut scratch));
                    followed.at.push(now);
                }
                moved = Instant::now();
            }
            // What does not come any more is missing, and is counted.
            Some(Event::Trimmed(_) | Event::Sealed) => return Ok(followed),
            None => {
                let is_complete = until.is_some_and(|until| followed.at.len() as u64 >= until);
                if is_complete || (until.is_some() && moved.elapsed() > STALL) {
                    return Ok(followed);
                }
                match expected.try_recv() {
                    Ok(count) => (until, moved) = (Some(count), Instant::now()),
                    // Nobody wants to know any more.
                    Err(TryRecvError::Disconnected) if until.is_none() => return Ok(followed),
                    Err(_) => {}
                }
            }
        }
    }
}

/// Holds deliveries against acknowledgements. Latencies are of appends that began in the measured time.
fn book(plan: &Plan, ledger: &Ledger, followed: &Followed) -> Tailed {
    let nanos = |time: Duration| time.as_nanos() as u64;
    let measured = nanos(plan.warm_up)..nanos(plan.warm_up + plan.measured);
    let mut tailed = Tailed {
        append: histogram(),
        after_ack: histogram(),
        after_append: histogram(),
        before_ack: 0,
        verified: Delivered {
            acked: ledger.acknowledged(),
            delivered: followed.at.len() as u64,
            missing: 0,
            wrong: followed.wrong,
        },
        kept_up: true,
        lag_us: None,
        failed: 0,
        first_error: None,
    };
    for (sequence, timing) in (0..).zip(ledger.timings()) {
        let (Some(acknowledged), Some(offset)) = (timing.ended, timing.offset) else { continue };
        tailed.verified.wrong += u64::from(offset != Offset(sequence));
        let Some(&delivered) = followed.at.get(offset.0 as usize) else {
            tailed.verified.missing += 1;
            continue;
        };
        if measured.contains(&timing.invoked) {
            tailed.append.saturating_record(acknowledged.saturating_sub(timing.invoked));
            tailed.after_ack.saturating_record(delivered.saturating_sub(acknowledged));
            tailed.after_append.saturating_record(delivered.saturating_sub(timing.invoked));
            tailed.before_ack += u64::from(delivered < acknowledged);
        }
    }
    tailed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadgen::generator::Pace;

    /// Warm-up until 100 ns, measured until 1,100 ns.
    fn plan() -> Plan {
        Plan {
            pace: Pace::Closed { inflight: 1 },
            record_bytes: 32,
            seed: 3,
            warm_up: Duration::from_nanos(100),
            measured: Duration::from_nanos(1000),
            drain: Duration::from_secs(1),
            check_history: true,
            realtime: false,
            trim_behind: None,
        }
    }

    /// Appends that began, were acknowledged, and went to an offset.
    fn ledger(appends: &[(u64, u64, u64)]) -> Ledger {
        let mut ledger = Ledger::recording();
        for (sequence, &(invoked, acknowledged, offset)) in (0..).zip(appends) {
            ledger.issue(invoked);
            ledger.acknowledge(sequence, Offset(offset), acknowledged);
        }
        ledger
    }

    fn followed(at: &[u64]) -> Followed {
        Followed { at: at.to_vec(), wrong: 0 }
    }

    #[test]
    fn a_delivery_before_its_acknowledgement_counts_as_at_once_and_is_told() {
        let ledger = ledger(&[(50, 60, 0), (200, 300, 1), (400, 500, 2), (600, 700, 3), (1200, 1300, 4)]);
        let tailed = book(&plan(), &ledger, &followed(&[1000, 290, 540, 760, 5000]));
        assert_eq!(tailed.verified, Delivered { acked: 5, delivered: 5, missing: 0, wrong: 0 });
        assert!(tailed.is_sound());
        assert_eq!((tailed.after_ack.len(), tailed.before_ack), (3, 1), "those of the measured time");
        assert_eq!((tailed.after_ack.min(), tailed.after_ack.max()), (0, 60));
        assert_eq!(tailed.after_ack.value_at_quantile(0.5), 40);
        assert_eq!((tailed.after_append.min(), tailed.after_append.max()), (90, 160));
        assert_eq!((tailed.append.min(), tailed.append.max()), (100, 100));
    }

    #[test]
    fn what_was_not_delivered_is_missing() {
        let tailed = book(&plan(), &ledger(&[(200, 300, 0), (400, 500, 1)]), &followed(&[310]));
        assert_eq!(tailed.verified, Delivered { acked: 2, delivered: 1, missing: 1, wrong: 0 });
        assert!(!tailed.is_sound());
    }

    #[test]
    fn an_acknowledgement_of_another_place_is_wrong() {
        let tailed = book(&plan(), &ledger(&[(200, 300, 1), (400, 500, 0)]), &followed(&[310, 510]));
        assert_eq!((tailed.verified.missing, tailed.verified.wrong), (0, 2));
        assert!(!tailed.is_sound());
    }

    #[test]
    fn more_than_was_acknowledged_is_not_sound() {
        let tailed = book(&plan(), &ledger(&[(200, 300, 0)]), &followed(&[310, 320]));
        assert!(!tailed.is_sound(), "{:?}", tailed.verified);
    }
}
