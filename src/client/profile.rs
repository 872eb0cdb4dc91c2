//! Where the time of appends went, from the client's side: its own stages, those that the answers tell, and the network between.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::native::NativeClient;
use crate::base::{Instant, LogletId, NodeId, Offset, Slowest, Stage};
use crate::proto::native::Went;
use crate::wire::Residence;

/// The slowest appends of a profile.
const SLOWEST: usize = 20;
/// A profile tells times up to this apart, in nanoseconds; longer ones are this.
const NANOS_MAX: u64 = 60_000_000_000;
/// How long the fastest messages stand for what the way takes at least: clocks drift apart by some microseconds meanwhile.
const WINDOW: Duration = Duration::from_secs(1);

/// The latency of the appends of a time, and of each of their stages. An append in here is a batch: its oldest record, which has waited
/// longest in the client.
#[derive(Debug, Clone)]
pub struct AppendProfile {
    /// By their order in [`Stage::ALL`].
    stages: [Histogram<u64>; Stage::ALL.len()],
    whole: Histogram<u64>,
    records: u64,
    slowest: Slowest<SlowAppend>,
}

/// One of the slowest appends.
#[derive(Debug, Clone, Copy)]
pub struct SlowAppend {
    /// Where it went.
    pub loglet: LogletId,
    /// The offset of its first record.
    pub first: Offset,
    /// Records in its batch.
    pub records: u32,
    /// Nanoseconds of each stage, in the order of [`Stage::ALL`].
    pub stages: [u64; Stage::ALL.len()],
    /// The node whose answer completed the majority.
    pub last: Option<NodeId>,
}

impl SlowAppend {
    /// All stages together, in nanoseconds.
    pub fn nanos(&self) -> u64 {
        self.stages.iter().sum()
    }
}

/// An acknowledged batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// From its first record's coming until the turn in which the client's loop had the answer.
    pub(super) nanos: u64,
    pub(super) append: SlowAppend,
}

impl Sample {
    /// Of a batch whose first record came at `since`, and whose answer was there at `heard`; `loglet` is where it has gone.
    pub(super) fn of(
        loglet: &mut NativeClient,
        (first, records): (Offset, u32),
        since: Instant,
        heard: Instant,
        went: &Went,
    ) -> Self {
        // A record may come while the turn that takes it up is under way.
        let taken = went.since.max(since);
        let [there, back] = loglet.transit.split(taken, heard, &went.residence);
        let [sequencing, batch_wait, submit, device, quorum_wait, release] = went.residence.stages.map(u64::from);
        let queue = taken.since(since).as_nanos() as u64;
        let stages = [queue, there, sequencing, batch_wait, submit, device, quorum_wait, release, back];
        let config = loglet.core.config();
        let last = config.log_servers.get(usize::from(went.residence.last)).map(|member| member.node);
        let append = SlowAppend { loglet: config.id, first, records, stages, last };
        Self { nanos: heard.since(since).as_nanos() as u64, append }
    }

    /// With its last stage, which was measured until `heard`, going on until `told`.
    pub(super) fn until(mut self, heard: Instant, told: Instant) -> Self {
        let more = told.since(heard).as_nanos() as u64;
        self.nanos += more;
        self.append.stages[Stage::NetworkOut as usize] += more;
        self
    }
}

impl Default for AppendProfile {
    fn default() -> Self {
        let empty = || Histogram::new_with_bounds(1, NANOS_MAX, 3).expect("the bounds are valid");
        Self { stages: std::array::from_fn(|_| empty()), whole: empty(), records: 0, slowest: Slowest::new(SLOWEST) }
    }
}

impl AppendProfile {
    pub(super) fn record(&mut self, sample: &Sample) {
        for (stage, nanos) in self.stages.iter_mut().zip(sample.append.stages) {
            stage.saturating_record(nanos);
        }
        self.whole.saturating_record(sample.nanos);
        self.records += u64::from(sample.append.records);
        self.slowest.offer(sample.nanos, || sample.append);
    }

    /// Adds what another one has.
    pub fn add(&mut self, other: &Self) {
        let pairs = self.stages.iter_mut().chain([&mut self.whole]).zip(other.stages.iter().chain([&other.whole]));
        pairs.for_each(|(stage, more)| stage.add(more).expect("all have the same bounds"));
        self.records += other.records;
        for (nanos, append) in other.slowest.sorted() {
            self.slowest.offer(*nanos, || *append);
        }
    }

    /// Times of a stage, in nanoseconds.
    pub fn stage(&self, stage: Stage) -> &Histogram<u64> {
        &self.stages[stage as usize]
    }

    /// Times from the first record's coming into a batch until whoever waits for it was told, in nanoseconds; measured by themselves.
    pub fn whole(&self) -> &Histogram<u64> {
        &self.whole
    }

    /// Records of all batches.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The slowest first.
    pub fn slowest(&self) -> impl Iterator<Item = &SlowAppend> {
        self.slowest.sorted().into_iter().map(|(_, append)| append)
    }
}

/// Splits the time that a request and its answer were on the way into the way there and the way back, for one connection.
///
/// The two clocks differ by what nobody knows, and it makes one way look longer by as much as the other looks shorter. The fastest message
/// of the last seconds in either direction is taken to have needed the same time both ways; what others took longer is then known. The
/// sum of both ways does not depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transit {
    window: Fastest,
    window_before: Fastest,
    ends: Instant,
}

/// Least differences of the clocks' readings at the two ends.
#[derive(Debug, Clone, Copy)]
struct Fastest {
    there: i64,
    back: i64,
}

const NEVER: Fastest = Fastest { there: i64::MAX, back: i64::MAX };

impl Default for Transit {
    fn default() -> Self {
        Self { window: NEVER, window_before: NEVER, ends: Instant::ORIGIN }
    }
}

impl Transit {
    /// Nanoseconds of both ways of a request that left at `sent` and whose answer was there at `heard`.
    pub(super) fn split(&mut self, sent: Instant, heard: Instant, residence: &Residence) -> [u64; 2] {
        let stayed = residence.total_nanos();
        let both = (heard.since(sent).as_nanos() as u64).saturating_sub(stayed);
        let there = residence.arrived.wrapping_sub(sent.as_nanos()) as i64;
        let back = heard.as_nanos().wrapping_sub(residence.arrived.wrapping_add(stayed)) as i64;
        if heard >= self.ends {
            (self.ends, self.window_before, self.window) = (heard + WINDOW, self.window, NEVER);
        }
        self.window = Fastest { there: self.window.there.min(there), back: self.window.back.min(back) };
        let least_there = self.window.there.min(self.window_before.there);
        let least_back = self.window.back.min(self.window_before.back);
        // How far the server's clock is ahead.
        let ahead = (i128::from(least_there) - i128::from(least_back)) / 2;
        let there = (i128::from(there) - ahead).clamp(0, i128::from(both)) as u64;
        [there, both - there]
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Of appends that took so long, all of it on the device.
    pub(crate) fn profile_of(nanos: &[u64]) -> AppendProfile {
        let mut profile = AppendProfile::default();
        for &nanos in nanos {
            let mut stages = [0; Stage::ALL.len()];
            stages[Stage::Device as usize] = nanos;
            let (loglet, first) = (LogletId::default(), Offset(nanos));
            profile.record(&Sample { nanos, append: SlowAppend { loglet, first, records: 2, stages, last: None } });
        }
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::testing::profile_of;
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    /// A request over a way of so many microseconds, which stays 100 on a server whose clock is `ahead` by nanoseconds.
    fn split(transit: &mut Transit, start: u64, there: u64, back: u64, ahead: i64) -> [u64; 2] {
        let arrived = ((start + there) * 1000).wrapping_add_signed(ahead);
        let residence = Residence { arrived, stages: [10_000, 20_000, 5_000, 60_000, 5_000, 0], last: 0 };
        transit.split(at(start), at(start + there + 100 + back), &residence).map(|nanos| nanos / 1000)
    }

    #[test]
    fn the_ways_are_told_apart_whatever_the_clocks_say() {
        for ahead in [0, 7_000_000_000, -900_000_000] {
            let mut transit = Transit::default();
            assert_eq!(split(&mut transit, 1_000_000, 10, 30, ahead), [20, 20], "of one nothing is known");
            assert_eq!(split(&mut transit, 1_001_000, 30, 10, ahead), [30, 10]);
            assert_eq!(split(&mut transit, 1_002_000, 500, 10, ahead), [500, 10]);
            assert_eq!(split(&mut transit, 1_003_000, 10, 500, ahead), [10, 500]);
        }
    }

    #[test]
    fn what_is_known_of_clocks_that_drift_is_forgotten() {
        let mut transit = Transit::default();
        // 50 ppm: 50 us in a second.
        for second in 0..60 {
            split(&mut transit, 1_000_000 * second, 10, 10, 50_000 * second as i64);
            let [there, back] =
                split(&mut transit, 1_000_000 * second + 500_000, 10, 10, 50_000 * second as i64 + 25_000);
            assert_eq!(there + back, 20);
        }
        let [there, _] = split(&mut transit, 60_100_000, 400, 10, 3_005_000);
        assert!((300..=410).contains(&there), "{there}");
    }

    #[test]
    fn profiles_add_up() {
        let mut all = profile_of(&[1000]);
        let others: Vec<u64> = (0..2 * SLOWEST as u64).map(|more| 5000 + more).collect();
        all.add(&profile_of(&others));
        assert_eq!((all.whole().len(), all.records()), (41, 82));
        assert_eq!(all.stage(Stage::Device).len(), 41);
        assert_eq!(all.stage(Stage::Device).max() / 100, 50);
        let slowest: Vec<_> = all.slowest().map(SlowAppend::nanos).collect();
        assert_eq!((slowest.len(), slowest[0]), (SLOWEST, 5039));
    }
}
