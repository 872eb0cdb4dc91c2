//! The history of a run: what every client did and was told, for the rules that all histories obey.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::generator::Plan;
use super::payload::RecordKey;
use super::verify::Ledger;
use crate::base::Offset;
use crate::client::{Log, OpError, ReadResult};
use crate::history::{Append, AppendOutcome, History, Moment, Read, Segment, TailCheck, Value, Violation, check};

/// Between two questions of the witness.
const PAUSE: Duration = Duration::from_millis(2);
/// Records that it reads at most, below the tail that it was just told.
const READ_RECORDS: u64 = 64;
const READ_BYTES: u32 = 64 << 10;

/// What a client saw that only asks and reads, while others append.
#[derive(Debug, Default)]
pub(super) struct Witness {
    tails: Vec<TailCheck>,
    reads: Vec<Read>,
}

/// Asks for the tail and reads what is below it, again and again, until `end` is closed.
///
/// # Errors
/// A question failed, which in a load without faults is a finding.
pub(super) fn witness(log: &Log, client: u32, start: Instant, end: &Receiver<()>) -> Result<Witness, OpError> {
    let now = || start.elapsed().as_nanos() as u64;
    let mut witness = Witness::default();
    while end.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        let invoked = now();
        let tail = log.check_tail()?;
        witness.tails.push(TailCheck {
            client,
            segment: Some(0),
            invoked,
            ended: now(),
            tail: tail.tail.0,
            sealed: tail.sealed,
        });
        let (min, max) = (Offset(tail.tail.0.saturating_sub(READ_RECORDS)), tail.tail);
        let invoked = now();
        if min < max
            && let ReadResult::Records(delivery) = log.read(min, max, READ_BYTES)?
        {
            witness.reads.push(Read {
                client,
                segment: Some(0),
                invoked,
                ended: now(),
                min: min.0,
                max: max.0,
                first: delivery.first().0,
                values: delivery.values().map(Value::at).collect(),
            });
        }
    }
    Ok(witness)
}

/// The verdict on a history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// Appends in it, warm-up included.
    pub appends: usize,
    /// Tails that were told while others appended.
    pub tails: usize,
    /// Reads that were answered while others appended.
    pub reads: usize,
    /// What it breaks.
    pub violations: Vec<Violation>,
    /// How long the check took.
    pub seconds: f64,
}

/// Puts the history together and checks it. `contents` is the log as it was read in the end, from offset 0 on.
pub(super) fn check_history(plan: &Plan, ledgers: &[Ledger], witness: Witness, contents: Vec<Value>) -> Checked {
    let begun = Instant::now();
    let mut appends = Vec::with_capacity(ledgers.iter().map(|ledger| ledger.timings().len()).sum());
    let mut record = Vec::new();
    for (client, ledger) in (0..).zip(ledgers) {
        for (sequence, timing) in (0..).zip(ledger.timings()) {
            RecordKey { seed: plan.seed, client: u64::from(client), sequence }.write(plan.record_bytes, &mut record);
            let outcome = match timing.offset {
                Some(offset) => AppendOutcome::Acknowledged(offset.0),
                None => AppendOutcome::Unknown,
            };
            appends.push(Append {
                client,
                segment: Some(0),
                value: Value::of(&record),
                invoked: timing.invoked,
                ended: timing.ended.map(|ended| (ended, outcome)),
            });
        }
    }
    appends.sort_unstable_by_key(|append| append.invoked);
    let history = History {
        // Nothing was appended any more when it was read.
        segments: vec![Segment { stop: Some((contents.len() as u64, Moment::MAX)), ..Segment::default() }],
        appends,
        tails: witness.tails,
        reads: witness.reads,
        contents: Some((0, contents)),
        ..History::default()
    };
    let violations = check(&history);
    let seconds = (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    Checked {
        appends: history.appends.len(),
        tails: history.tails.len(),
        reads: history.reads.len(),
        violations,
        seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let second = Duration::from_secs(1);
        let pace = super::super::generator::Pace::Closed { inflight: 1 };
        Plan {
            pace,
            record_bytes: 32,
            seed: 3,
            warm_up: second,
            measured: second,
            drain: second,
            check_history: true,
            realtime: false,
            trim_behind: None,
        }
    }

    fn value(client: u64, sequence: u64) -> Value {
        let mut record = Vec::new();
        RecordKey { seed: 3, client, sequence }.write(32, &mut record);
        Value::of(&record)
    }

    /// Two clients, each with two appends at times that overlap only between clients; the log has them at `offsets`.
    fn checked(offsets: [u64; 4]) -> Checked {
        let mut ledgers = vec![Ledger::recording(), Ledger::recording()];
        let mut contents = vec![Value(0); 4];
        for (index, &offset) in offsets.iter().enumerate() {
            let (client, sequence) = (index % 2, (index / 2) as u64);
            ledgers[client].issue(10 * sequence);
            ledgers[client].acknowledge(sequence, Offset(offset), 10 * sequence + 5);
            contents[offset as usize] = value(client as u64, sequence);
        }
        check_history(&plan(), &ledgers, Witness::default(), contents)
    }

    #[test]
    fn appends_that_overlap_may_have_either_order() {
        for offsets in [[0, 1, 2, 3], [1, 0, 2, 3], [1, 0, 3, 2]] {
            assert_eq!(checked(offsets).violations, []);
        }
    }

    #[test]
    fn an_append_that_began_later_and_came_earlier_is_found() {
        let violations = checked([0, 2, 1, 3]).violations;
        assert_eq!(violations[0].invariant, "real-time-order", "{violations:?}");
    }

    #[test]
    fn other_contents_than_were_acknowledged_are_found() {
        let mut ledger = Ledger::recording();
        ledger.issue(1);
        ledger.acknowledge(0, Offset(0), 2);
        let checked = check_history(&plan(), &[ledger], Witness::default(), vec![value(0, 1)]);
        assert!(!checked.violations.is_empty());
    }

    #[test]
    fn a_tail_below_what_was_acknowledged_before_it_was_asked_for_is_found() {
        let mut ledger = Ledger::recording();
        ledger.issue(1);
        ledger.acknowledge(0, Offset(0), 2);
        let tail = |tail| TailCheck { client: 1, segment: Some(0), invoked: 3, ended: 4, tail, sealed: false };
        let check = |end| {
            let witness = Witness { tails: vec![tail(end)], reads: Vec::new() };
            check_history(&plan(), std::slice::from_ref(&ledger), witness, vec![value(0, 0)]).violations
        };
        assert_eq!(check(1), []);
        assert_eq!(check(0)[0].invariant, "tail-covers-acknowledged");
    }
}
