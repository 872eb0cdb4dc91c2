//! Random faults: what was promised stays true, whatever breaks on whichever stripe, and everything ends when the faults do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::cluster::{Cluster, read};
use super::super::suite::{NO_OP, records};
use super::loglet::{Joinable, Striped};
use crate::base::mutants::{self, Mutant};
use crate::base::{Limits, Offset, Rng};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::proto::striped::Ask;
use crate::wire::Batch;

/// Clients 0 and 1 append, 2 subscribes, all check the tail.
const CLIENTS: usize = 3;
const SEEDS: u64 = 60;
const SUBSCRIPTION: OpId = OpId(1);

/// What had been told when something was asked: what was acknowledged or found as an open tail, and that the seal was complete.
#[derive(Clone, Copy)]
struct Before {
    told: u64,
    after_seal: bool,
}

struct Run<S> {
    striped: Striped<S>,
    random: Rng,
    next: u64,
    asked: BTreeMap<OpId, Before>,
    /// One value for each offset that anybody was told of.
    values: BTreeMap<u64, Vec<u8>>,
    /// Values of appends that are left to the stop, and of those that surely are not stored (P16).
    left_to_stop: BTreeMap<u64, Vec<u8>>,
    not_stored: Vec<Vec<u8>>,
    acknowledged: u64,
    open: u64,
    /// The smallest tail that a reconfigurer has found.
    sealed: Option<u64>,
    seal_complete: bool,
    delivered: u64,
    is_followed: bool,
    trimmed: bool,
    counts: [usize; 6],
}

fn values_of(records: &Records) -> Vec<Vec<u8>> {
    let batch = Batch::new(records.count, &records.bytes).unwrap();
    batch.verify().unwrap();
    batch.values().map(|value| value.unwrap_or(NO_OP).to_vec()).collect()
}

impl<S: Joinable> Run<S> {
    fn new(striped: Striped<S>, seed: u64) -> Self {
        let mut run = Self {
            striped,
            random: Rng::with_seed(seed ^ 0x5EED),
            next: 1,
            asked: BTreeMap::new(),
            values: BTreeMap::new(),
            left_to_stop: BTreeMap::new(),
            not_stored: Vec::new(),
            acknowledged: 0,
            open: 0,
            sealed: None,
            seal_complete: false,
            delivered: 0,
            is_followed: true,
            trimmed: false,
            counts: [0; 6],
        };
        let subscribe = LogletOp::Subscribe { from: Offset(0), limit: Offset(0), credit: u32::MAX };
        run.striped.ask(2, SUBSCRIPTION, Ask::Op(subscribe));
        run
    }

    fn ask(&mut self, client: usize, op: LogletOp) {
        self.next += 1;
        let before = Before { told: self.acknowledged.max(self.open), after_seal: self.seal_complete };
        self.asked.insert(OpId(self.next), before);
        self.striped.ask(client, OpId(self.next), Ask::Op(op));
    }

    fn append(&mut self, client: usize) {
        let count = self.random.u64(1..4);
        let payloads: Vec<String> = (0..count).map(|n| format!("{}.{n}", self.next)).collect();
        self.ask(client, LogletOp::Append { records: records(&payloads) });
    }

    fn note(&mut self, first: u64, stride: u32, records: &Records) -> u64 {
        let mut last = first;
        for (offset, value) in (first..).step_by(stride as usize).zip(values_of(records)) {
            let known = self.values.entry(offset).or_insert_with(|| value.clone());
            assert_eq!(*known, value, "two values at {offset}");
            last = offset;
        }
        last + 1
    }

    fn judge(&mut self, id: OpId, result: LogletResult) {
        let Before { told, after_seal } = self.asked.remove(&id).expect("one result for one operation");
        match result {
            LogletResult::Appended { first, stride, records } => {
                assert_eq!(stride, self.striped.stride());
                assert!(first.0 >= told && !after_seal, "{first} after {told}, and a seal: {after_seal}");
                let end = self.note(first.0, stride, &records);
                self.acknowledged = self.acknowledged.max(end);
                self.counts[0] += 1;
            }
            LogletResult::AppendSealed { first: Some(first), stride, records } => {
                self.left_to_stop.extend((first.0..).step_by(stride as usize).zip(values_of(&records)));
                self.counts[4] += 1;
            }
            LogletResult::AppendSealed { first: None, records, .. }
            | LogletResult::SequencerLost { maybe_stored: false, records } => {
                self.not_stored.extend(values_of(&records));
            }
            LogletResult::Tail { tail, sealed } => {
                assert!(tail.0 >= told, "{tail} does not cover {told}");
                if sealed {
                    self.sealed = Some(self.sealed.map_or(tail.0, |before| before.min(tail.0)));
                    self.seal_complete = true;
                    self.counts[2] += 1;
                } else {
                    assert!(!after_seal, "open after a seal");
                    self.open = self.open.max(tail.0);
                    self.counts[1] += 1;
                }
            }
            LogletResult::Sealed => self.seal_complete = true,
            LogletResult::SequencerLost { .. }
            | LogletResult::Filled { .. }
            | LogletResult::FillFailed(_)
            | LogletResult::TrimDone { .. }
            | LogletResult::Unavailable { .. } => {}
            other => panic!("not an answer to what was asked: {other:?}"),
        }
    }

    fn judge_delivery(&mut self, result: &LogletResult) {
        match result {
            LogletResult::Records { first, records } => {
                assert_eq!(first.0, self.delivered, "each offset once, in order");
                self.delivered = self.note(first.0, 1, records);
                self.counts[3] += records.count as usize;
            }
            LogletResult::Trimmed { .. } => assert!(self.trimmed),
            LogletResult::SubscriptionEnded { .. } => self.is_followed = false,
            other => panic!("not from a subscription: {other:?}"),
        }
    }

    /// P1, P6, P18: nothing that was promised lies beyond any tail that could become the stop.
    fn take_results(&mut self) {
        for (client, id, result) in self.striped.take_results() {
            match (client, id) {
                (2, SUBSCRIPTION) => self.judge_delivery(&result),
                _ => self.judge(id, result),
            }
        }
        let Some(stop) = self.sealed else { return };
        let known = (0..CLIENTS).map(|client| self.striped.known_tail(client).0).max().unwrap_or(0);
        for (what, bound) in
            [("acknowledged", self.acknowledged), ("open", self.open), ("known", known), ("delivered", self.delivered)]
        {
            assert!(bound <= stop, "{what} {bound} lies beyond the sealed tail {stop}");
        }
    }

    /// One of the natives.
    fn native(&mut self) -> &mut Cluster {
        let mut natives = self.striped.natives();
        let index = self.random.usize(..natives.len());
        natives.swap_remove(index)
    }

    fn act(&mut self) {
        let client = self.random.usize(..CLIENTS);
        let (server, late, part) = (self.random.usize(..3), self.random.bool(), self.random.u64(..4));
        match self.random.u32(..1000) {
            0..80 => self.append(client % 2),
            80..92 => self.ask(client, LogletOp::CheckTail),
            92..94 => {
                let point = Offset(self.random.u64(..=self.delivered.min(self.acknowledged)));
                self.trimmed = true;
                self.ask(client, LogletOp::Trim { point, committed: point });
            }
            94..100 => self.native().break_connection(late),
            100..103 => {
                let native = self.native();
                if native.servers[server].core.is_some() {
                    native.land(server, part);
                    native.crash(server);
                }
            }
            103..116 => {
                let native = self.native();
                if native.servers[server].core.is_none() {
                    native.restart(server);
                }
            }
            116..118 => self.native().isolate(server),
            118..126 => self.native().rejoin(server),
            126..129 => self.native().servers[server].disk_held = true,
            129..140 => self.native().servers[server].disk_held = false,
            140 if self.random.u8(..6) == 0 => self.ask(client, LogletOp::Seal),
            141 if self.random.u8(..12) == 0 => self.native().restart_process(),
            142..145 => {
                let offset = Offset(self.acknowledged + self.random.u64(..100));
                self.ask(client % 2, LogletOp::FillTo { offset });
            }
            145..155 => {
                let time = Duration::from_micros(self.random.u64(..100_000) >> self.random.u32(..10));
                self.striped.set_clock(self.striped.now + time);
            }
            _ => drop(self.striped.step()),
        }
        self.striped.pump();
        self.take_results();
    }

    fn pass_time(&mut self, time: Duration) {
        self.striped.pass_time(time);
        self.take_results();
    }

    /// The faults end: whatever is waited for comes, also before anybody seals, and everything below the tail is there.
    fn finish(&mut self) {
        for native in self.striped.natives() {
            for server in 0..native.servers.len() {
                if native.servers[server].core.is_none() {
                    native.restart(server);
                }
                native.rejoin(server);
                native.servers[server].disk_held = false;
            }
        }
        let timeout = Limits::default().operation_timeout;
        self.pass_time(timeout);
        assert!(self.asked.is_empty(), "{} operations have no result", self.asked.len());
        // One after the other: a checkTail beside the seal may rightly come before it, and answer open.
        self.ask(0, LogletOp::Seal);
        self.pass_time(timeout);
        self.ask(1, LogletOp::CheckTail);
        self.pass_time(timeout);
        assert!(self.asked.is_empty() && !self.is_followed, "everything ends with the seal");
        let stop = self.sealed.expect("a sealed tail was found");
        (0..3).for_each(|server| self.read_back(server, stop));
        let settled = self.left_to_stop.range(..stop);
        settled.for_each(|(offset, value)| {
            if let Some(found) = self.values.get(offset) {
                assert_eq!(found, value, "at {offset}, which the stop makes part of the log (P16)");
            }
        });
        let below = || self.values.range(..stop).map(|(_, value)| value);
        assert!(!self.not_stored.iter().any(|value| below().any(|found| found == value)), "it was not stored");
        let given: Vec<_> = below().filter(|value| *value != NO_OP).collect();
        assert_eq!(given.iter().collect::<std::collections::BTreeSet<_>>().len(), given.len(), "no record twice");
        self.counts[5] += below().filter(|value| *value == NO_OP).count();
    }

    /// Every offset below the stop reads as what was promised there, from whichever server is asked first.
    fn read_back(&mut self, server: usize, stop: u64) {
        self.striped.natives().into_iter().for_each(|native| native.clients[1].set_preferred(server));
        let mut at = 0;
        while at < stop {
            self.next += 1;
            self.striped.ask(1, OpId(self.next), Ask::Op(read(at, stop)));
            self.striped.pass_time(Limits::default().stall);
            match self.striped.take_results().as_slice() {
                [(1, _, LogletResult::Records { first, records })] => {
                    assert_eq!(first.0, at);
                    at = self.note(at, 1, records);
                }
                [(1, _, LogletResult::Trimmed { trim_point })] => {
                    assert!(self.trimmed && trim_point.0 > at);
                    at = trim_point.0;
                }
                other => panic!("at {at}, below {stop}: {other:?}"),
            }
        }
        assert_eq!(at, stop, "nothing at or beyond the stop");
    }
}

fn stays_true<S: Joinable>(striped: impl Fn(u64) -> Striped<S> + std::panic::RefUnwindSafe) {
    let mut sum = [0; 6];
    for seed in 0..SEEDS {
        let run = || {
            let mut run = Run::new(striped(seed), seed);
            (0..4000).for_each(|_| run.act());
            run.finish();
            run.counts
        };
        let counts = std::panic::catch_unwind(run).unwrap_or_else(|cause| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause)
        });
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let [appended, open, sealed, delivered, left_to_stop, no_ops] = sum;
    assert!(
        appended > 300 && open > 100 && sealed > 100 && delivered > 300 && left_to_stop > 50 && no_ops > 100,
        "the runs are about something: {sum:?}"
    );
}

#[test]
fn what_was_promised_stays_true_over_two_stripes() {
    stays_true(|seed| Striped::over_natives(2, CLIENTS, seed));
}

#[test]
fn what_was_promised_stays_true_over_three_stripes() {
    stays_true(|seed| Striped::over_natives(3, CLIENTS, seed));
}

#[test]
fn what_was_promised_stays_true_over_stripes_of_stripes() {
    stays_true(|seed| {
        let stripe = |stripe| Striped::over_natives(2, CLIENTS, 100 * seed + stripe);
        Striped::over((0..2).map(stripe).collect(), CLIENTS, seed)
    });
}

/// What the runs are worth: they notice that a rule is broken. A seal that ends too early is the model's, as every stripe is sealed soon
/// after it here.
#[test]
fn broken_rules_are_noticed() {
    let mutants = [
        Mutant::AckBeforeLowerFilled,
        Mutant::StripedFilledBySealedTail,
        Mutant::StripedTailFromMixedSeals,
        Mutant::FillerPastSeal,
    ];
    for mutant in mutants {
        let is_noticed = |seed: &u64| {
            mutants::select(Some(mutant));
            let run = || {
                let mut run = Run::new(Striped::over_natives(2, CLIENTS, *seed), *seed);
                (0..4000).for_each(|_| run.act());
                run.finish();
            };
            let noticed = std::panic::catch_unwind(run).is_err();
            mutants::select(None);
            noticed
        };
        let seed = (0..500).find(is_noticed).unwrap_or_else(|| panic!("{} is not noticed", mutant.name()));
        println!("| `{}` | {} |", mutant.name(), seed + 1);
    }
}
