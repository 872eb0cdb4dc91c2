//! Random faults on the joined cores: what was promised stays true, whatever breaks, and everything ends when the faults do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{Cluster, LOGLET};
use super::suite::NO_OP;
use crate::base::{Offset, Rng};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};

/// Clients 0 and 1 append, 2 subscribes, all check the tail.
const CLIENTS: usize = 3;

/// What was asked, and what must hold for the answer.
enum Asked {
    Append,
    Fill,
    /// What had been acknowledged, and found as an open tail, when it was asked.
    Tail(u64),
    Trim,
    Seal,
}

struct Run {
    cluster: Cluster,
    random: Rng,
    asked: BTreeMap<OpId, Asked>,
    appended: u64,
    /// One value for each offset that anybody was told of.
    values: BTreeMap<u64, Vec<u8>>,
    acknowledged: u64,
    open: u64,
    /// The smallest tail that a reconfigurer has found: the stop is no smaller than anything promised.
    sealed: Option<u64>,
    subscription: OpId,
    delivered: u64,
    trimmed: bool,
    counts: [usize; 5],
}

impl Run {
    fn new(servers: usize, lanes: usize, seed: u64) -> Self {
        let mut cluster = Cluster::with_lanes(servers, CLIENTS, lanes, seed);
        let subscribe = LogletOp::Subscribe { from: Offset(0), limit: Offset(0), credit: u32::MAX };
        let subscription = cluster.start(2, subscribe);
        Self {
            cluster,
            random: Rng::with_seed(seed ^ 0x5EED),
            asked: BTreeMap::new(),
            appended: 0,
            values: BTreeMap::new(),
            acknowledged: 0,
            open: 0,
            sealed: None,
            subscription,
            delivered: 0,
            trimmed: false,
            counts: [0; 5],
        }
    }

    fn ask(&mut self, client: usize, op: LogletOp, asked: Asked) {
        let id = self.cluster.start(client, op);
        self.asked.insert(id, asked);
    }

    fn check_tail(&mut self, client: usize) {
        let least = self.acknowledged.max(self.open);
        self.ask(client, LogletOp::CheckTail, Asked::Tail(least));
    }

    fn note(&mut self, first: u64, records: &Records) {
        let batch = crate::wire::Batch::new(records.count, &records.bytes).unwrap();
        for (offset, payload) in (first..).zip(batch.values()) {
            let payload = payload.unwrap_or(NO_OP);
            let known = self.values.entry(offset).or_insert_with(|| payload.to_vec());
            assert_eq!(known, payload, "two values at {offset}");
        }
    }

    fn judge(&mut self, id: OpId, result: LogletResult) {
        if id == self.subscription {
            return self.judge_delivery(&result);
        }
        let asked = self.asked.remove(&id).expect("one result for one operation");
        match (asked, result) {
            (Asked::Append, LogletResult::Appended { first, records, .. }) => {
                self.note(first.0, &records);
                self.acknowledged = self.acknowledged.max(first.0 + u64::from(records.count));
                self.counts[0] += 1;
            }
            (Asked::Append, _) => {}
            (Asked::Fill, LogletResult::Filled { known_tail, placed }) => {
                self.acknowledged = self.acknowledged.max(known_tail.0);
                self.counts[4] += placed as usize;
            }
            (Asked::Fill, LogletResult::FillFailed(_)) => {}
            (Asked::Tail(least), LogletResult::Tail { tail, sealed }) => {
                assert!(tail.0 >= least, "{tail} does not cover {least}");
                if sealed {
                    self.sealed = Some(self.sealed.map_or(tail.0, |before| before.min(tail.0)));
                    self.counts[2] += 1;
                } else {
                    self.open = self.open.max(tail.0);
                    self.counts[1] += 1;
                }
            }
            (_, LogletResult::Unavailable { .. } | LogletResult::TrimDone { .. } | LogletResult::Sealed) => {}
            (_, other) => panic!("not an answer to what was asked: {other:?}"),
        }
        self.check_bounds();
    }

    fn judge_delivery(&mut self, result: &LogletResult) {
        match result {
            LogletResult::Records { first, records } => {
                assert_eq!(first.0, self.delivered, "each offset once, in order");
                self.note(first.0, records);
                self.delivered += u64::from(records.count);
                self.counts[3] += records.count as usize;
            }
            LogletResult::Trimmed { .. } => assert!(self.trimmed),
            LogletResult::SubscriptionEnded { .. } => {}
            other => panic!("not from a subscription: {other:?}"),
        }
        self.check_bounds();
    }

    /// P1, P18: nothing that was promised lies beyond any tail that could become the stop.
    fn check_bounds(&self) {
        let Some(stop) = self.sealed else { return };
        let known = self.cluster.clients.iter().map(|client| client.known_tail());
        let process = &self.cluster.process;
        let lanes = (0..process.lanes()).filter_map(|lane| process.lane(lane)).map(|lane| lane.known_tail());
        let known = known.chain(lanes).map(|tail| tail.0).max().unwrap_or(0);
        for (what, bound) in
            [("acknowledged", self.acknowledged), ("open", self.open), ("known", known), ("delivered", self.delivered)]
        {
            assert!(bound <= stop, "{what} {bound} lies beyond the sealed tail {stop}");
        }
    }

    fn take_results(&mut self) {
        for (id, result) in std::mem::take(&mut self.cluster.fresh) {
            self.judge(id, result);
        }
    }

    fn act(&mut self) {
        let client = self.random.usize(..CLIENTS);
        let server = self.random.usize(..self.cluster.servers.len());
        match self.random.u32(..1000) {
            0..80 => {
                let count = self.random.u64(1..4);
                let payloads: Vec<String> = (0..count).map(|n| format!("{}.{n}", self.appended)).collect();
                let records = super::suite::records(&payloads);
                self.appended += 1;
                self.ask(client % 2, LogletOp::Append { records }, Asked::Append);
            }
            80..92 => self.check_tail(client),
            92..94 => {
                let point = Offset(self.random.u64(..=self.delivered.min(self.acknowledged)));
                self.trimmed = true;
                self.ask(client, LogletOp::Trim { point, committed: point }, Asked::Trim);
            }
            94..100 => {
                let late = self.random.bool();
                self.cluster.break_connection(late);
            }
            100..103 if self.cluster.servers[server].core.is_some() => {
                let writes = self.random.u64(..=self.cluster.servers[server].disk.last().0);
                self.cluster.land(server, writes);
                self.cluster.crash(server);
            }
            103..112 if self.cluster.servers[server].core.is_none() => self.cluster.restart(server),
            112..114 => self.cluster.isolate(server),
            114..120 => self.cluster.rejoin(server),
            120..123 => self.cluster.servers[server].disk_held = true,
            123..132 => self.cluster.servers[server].disk_held = false,
            132 if self.random.u8(..6) == 0 => self.ask(client, LogletOp::Seal, Asked::Seal),
            133..138 => {
                let offset = Offset(self.acknowledged + self.random.u64(..100));
                self.ask(client % 2, LogletOp::FillTo { offset }, Asked::Fill);
            }
            138..143 => {
                let time = Duration::from_millis(self.random.u64(..100));
                self.cluster.set_clock(self.cluster.now + time);
            }
            _ => drop(self.cluster.step()),
        }
        self.take_results();
    }

    /// The faults end: whatever is waited for comes, and everything below the tail is there.
    fn finish(&mut self) {
        for server in 0..self.cluster.servers.len() {
            if self.cluster.servers[server].core.is_none() {
                self.cluster.restart(server);
            }
            self.cluster.rejoin(server);
            self.cluster.servers[server].disk_held = false;
        }
        // One after the other: a checkTail beside the seal may rightly come before it, and answer open.
        self.ask(0, LogletOp::Seal, Asked::Seal);
        self.cluster.pass_time(self.cluster.limits.operation_timeout);
        self.check_tail(1);
        self.cluster.pass_time(self.cluster.limits.operation_timeout);
        self.take_results();
        assert!(self.asked.is_empty(), "{} operations have no result", self.asked.len());
        let stop = self.sealed.expect("a sealed tail was found");
        self.read_back(stop);
    }

    /// Every offset below the stop reads as what was promised there, from whichever server is asked first.
    fn read_back(&mut self, stop: u64) {
        for server in 0..self.cluster.servers.len() {
            self.cluster.clients[1].set_preferred(server);
            let mut at = 0;
            while at < stop {
                let id = self.cluster.start(1, super::cluster::read(at, stop));
                self.cluster.pass_time(self.cluster.limits.stall);
                match self.cluster.result(id) {
                    Some(LogletResult::Records { first, records }) => {
                        assert_eq!(first.0, at);
                        self.note(at, &records);
                        at += u64::from(records.count);
                    }
                    Some(LogletResult::Trimmed { trim_point }) => at = trim_point.0,
                    other => panic!("{at} of {LOGLET}, below {stop}: {other:?}"),
                }
            }
        }
    }
}

/// What the run was about, and how many lanes took appends.
fn run(servers: usize, lanes: usize, seed: u64) -> ([usize; 5], usize) {
    let mut run = Run::new(servers, lanes, seed);
    (0..4000).for_each(|_| run.act());
    run.finish();
    let process = &run.cluster.process;
    let used = (0..process.lanes()).filter(|lane| process.lane(*lane).is_some_and(|lane| lane.status().end().0 > 0));
    (run.counts, used.count())
}

#[test]
fn what_was_promised_stays_true_under_random_faults() {
    stays_true([(3, 1), (5, 1)]);
}

/// Clients 0 and 1 append on different lanes.
#[test]
fn what_was_promised_stays_true_under_random_faults_with_lanes() {
    stays_true([(3, 2), (5, 3)]);
}

fn stays_true(sizes: [(usize, usize); 2]) {
    let (mut sum, mut used) = ([0; 5], 0);
    for ((servers, lanes), seed) in sizes.into_iter().flat_map(|size| (0..60).map(move |seed| (size, seed))) {
        let (counts, lanes_used) = std::panic::catch_unwind(|| run(servers, lanes, seed)).unwrap_or_else(|cause| {
            eprintln!("{servers} LogServers, {lanes} lanes, seed {seed}");
            std::panic::resume_unwind(cause)
        });
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        used += lanes_used.min(lanes).min(2);
    }
    // Two clients append.
    let wanted: usize = sizes.iter().map(|(_, lanes)| 60 * lanes.min(&2)).sum();
    assert!(used * 10 > wanted * 9, "{used} of {wanted} lanes were used");
    // The runs must be about something: acknowledgements, open and sealed tails, deliveries, no-ops.
    assert!(sum[0] > 500 && sum[1] > 50 && sum[2] > 100 && sum[3] > 500 && sum[4] > 500, "{sum:?}");
}
