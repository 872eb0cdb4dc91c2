//! The latency profile of a shard: where appends spend their time, counted all the time. The cores read no clock; this does, a few times
//! a turn, and tells them.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::cores::Cores;
use super::probes;
use super::timing::histogram;
use crate::base::{Histogram, Instant, LogletId, NodeId, Offset, Slowest, Stage, Write};
use crate::proto::sequencer::StoreTimes;
use crate::wire::Residence;

/// The slowest appends that are remembered of each window.
const SLOWEST: usize = 8;
/// How long a window of the slowest appends is; the one before it is told as well.
const WINDOW: Duration = Duration::from_secs(60);

/// Histograms of stages, on one thread and of fixed size.
pub(super) struct Profile {
    /// Whether anything is measured.
    enabled: bool,
    /// By their order in [`Stage::SERVER`]; of the appends that are sequenced here.
    stages: [Histogram; Stage::SERVER.len()],
    /// The stages of an append together.
    residence: Histogram,
    units: UnitTimes,
    slowest: Slowest<Slow>,
    slowest_before: Slowest<Slow>,
    window_ends: Instant,
}

/// One of the slowest appends.
#[derive(Debug, Clone, Copy)]
struct Slow {
    loglet: LogletId,
    first: Offset,
    count: u32,
    residence: Residence,
    at: Instant,
}

/// The units of the journal, from their first entry until they are durable.
#[derive(Default)]
struct UnitTimes {
    /// Of consecutive writes, those not durable.
    units: VecDeque<UnitTime>,
    /// The write before the first of them.
    before: Write,
    wait: Histogram,
    submit: Histogram,
    device: Histogram,
}

#[derive(Clone, Copy)]
struct UnitTime {
    begun: Instant,
    /// From when until when it was submitted.
    submission: Option<(Instant, Instant)>,
}

impl UnitTimes {
    /// Notes the units that have been begun since the last call.
    fn begin(&mut self, newest: Write, now: Instant) {
        while self.before.0 + (self.units.len() as u64) < newest.0 {
            self.units.push_back(UnitTime { begun: now, submission: None });
        }
    }

    fn submitted(&mut self, write: Write, from: Instant, to: Instant) {
        let index = write.0.checked_sub(self.before.0 + 1).and_then(|index| usize::try_from(index).ok());
        if let Some(unit) = index.and_then(|index| self.units.get_mut(index)) {
            unit.submission = Some((from, to));
        }
    }

    /// The times of a write that is durable now.
    fn times(&self, write: Write, now: Instant) -> Option<StoreTimes> {
        let index = usize::try_from(write.0.checked_sub(self.before.0 + 1)?).ok()?;
        let (submitting, submitted) = self.units.get(index)?.submission?;
        Some(StoreTimes { submitting, submitted, durable: now })
    }

    fn durable(&mut self, through: Write, now: Instant) {
        while self.before < through {
            self.before.0 += 1;
            let Some(UnitTime { begun, submission: Some((from, to)) }) = self.units.pop_front() else { continue };
            let [wait, submit, device] = [from.since(begun), to.since(from), now.since(to)];
            self.wait.record(wait);
            self.submit.record(submit);
            self.device.record(device);
            probes::unit_durable(self.before, [wait, submit, device]);
        }
    }
}

impl Profile {
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            stages: Default::default(),
            residence: Histogram::default(),
            units: UnitTimes::default(),
            slowest: Slowest::new(SLOWEST),
            slowest_before: Slowest::new(SLOWEST),
            window_ends: Instant::ORIGIN,
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The clock's reading before something is polled from the journal, if that may be a unit.
    pub(super) fn before_submit(&self, cores: &Cores, clock: impl FnOnce() -> Instant) -> Option<Instant> {
        (self.enabled && cores.journal.submitted() < cores.journal.newest()).then(clock)
    }

    /// Something was polled and has gone to the driver, since `from`.
    pub(super) fn after_submit(
        &mut self,
        from: Instant,
        unit_before: Write,
        cores: &Cores,
        clock: impl FnOnce() -> Instant,
    ) {
        let unit = cores.journal.submitted();
        if unit > unit_before {
            self.units.submitted(unit, from, clock());
        }
    }

    /// Everything of this turn is in the journal.
    pub(super) fn note_begun(&mut self, cores: &Cores, now: Instant) {
        if self.enabled {
            self.units.begin(cores.journal.newest(), now);
        }
    }

    /// The journal's writes up to this one are durable; the LogServers are about to be told.
    pub(super) fn note_durable(&mut self, through: Write, cores: &mut Cores, now: Instant) {
        if !self.enabled {
            return;
        }
        for (write, loglet, end) in cores.log_server.records_until(through) {
            if let Some(times) = self.units.times(write, now) {
                cores.sequencing.note_stored(loglet, end, times);
            }
        }
        self.units.durable(through, now);
    }

    /// An append is answered: closes its last stage, and counts it.
    pub(super) fn release(
        &mut self,
        (loglet, first, count): (LogletId, Offset, u32),
        residence: &mut Residence,
        turn: Instant,
        now: Instant,
    ) {
        residence.stages[Stage::SERVER.len() - 1] = Residence::nanos(turn, now);
        for (stage, nanos) in self.stages.iter_mut().zip(residence.stages) {
            stage.record(Duration::from_nanos(nanos.into()));
        }
        probes::append_released(first, count, residence);
        let total = residence.total_nanos();
        self.residence.record(Duration::from_nanos(total));
        if now >= self.window_ends {
            self.window_ends = now + WINDOW;
            std::mem::swap(&mut self.slowest, &mut self.slowest_before);
            self.slowest.clear();
        }
        self.slowest.offer(total, || Slow { loglet, first, count, residence: *residence, at: now });
    }

    /// For the status document; `member` names a LogServer of a loglet by its number.
    pub(super) fn report(&self, now: Instant, member: impl Fn(LogletId, u8) -> Option<NodeId>) -> Value {
        if !self.enabled {
            return Value::Null;
        }
        let named = Stage::SERVER.iter().zip(&self.stages);
        let stages: Map<_, _> = named.map(|(stage, times)| (stage.name().to_owned(), histogram(times))).collect();
        let mut slowest: Vec<_> = self.slowest.sorted().into_iter().chain(self.slowest_before.sorted()).collect();
        slowest.sort_by_key(|(nanos, _)| std::cmp::Reverse(*nanos));
        let slowest = slowest.into_iter().take(SLOWEST).map(|(nanos, slow)| {
            let parts = Stage::SERVER.iter().zip(slow.residence.stages);
            let parts: Map<_, _> =
                parts.map(|(stage, nanos)| (stage.name().to_owned(), json!(f64::from(nanos) / 1e3))).collect();
            json!({
                "loglet": slow.loglet,
                "first": slow.first,
                "records": slow.count,
                "total_us": *nanos as f64 / 1e3,
                "stages_us": parts,
                "last_node": member(slow.loglet, slow.residence.last),
                "ago_ms": now.since(slow.at).as_millis() as u64,
            })
        });
        json!({
            "stages": stages,
            "residence": histogram(&self.residence),
            "store": {
                "batch_wait": histogram(&self.units.wait),
                "submit": histogram(&self.units.submit),
                "device": histogram(&self.units.device),
            },
            "slowest": slowest.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    #[test]
    fn a_unit_has_its_own_times_whatever_else_is_on_the_way() {
        let mut units = UnitTimes::default();
        units.begin(Write(1), at(0));
        units.submitted(Write(1), at(5), at(7));
        units.begin(Write(3), at(10));
        units.submitted(Write(2), at(20), at(21));
        let times = |submitting, submitted, durable| StoreTimes {
            submitting: at(submitting),
            submitted: at(submitted),
            durable: at(durable),
        };
        assert_eq!(units.times(Write(1), at(100)), Some(times(5, 7, 100)));
        assert_eq!(units.times(Write(2), at(100)), Some(times(20, 21, 100)));
        assert_eq!(units.times(Write(3), at(100)), None, "it has not been submitted");
        units.durable(Write(2), at(100));
        assert_eq!(units.times(Write(2), at(100)), None, "it is over");
        units.submitted(Write(3), at(110), at(110));
        assert_eq!(units.times(Write(3), at(120)), Some(times(110, 110, 120)));
        let sums = [&units.wait, &units.submit, &units.device].map(|times| (times.count(), times.sum_nanos() / 1000));
        assert_eq!(sums, [(2, 15), (2, 3), (2, 93 + 79)]);
    }

    #[test]
    fn the_slowest_of_the_window_before_are_told_as_well() {
        let mut profile = Profile::new(true);
        let loglet = LogletId { log: 1, version: 1, nonce: 1 };
        let mut append = |micros: u32, now: Instant| {
            let mut residence = Residence { arrived: 0, stages: [micros * 1000, 0, 0, 0, 0, 0], last: 1 };
            profile.release((loglet, Offset(micros.into()), 1), &mut residence, now, now);
        };
        append(700, at(1));
        (0..20).for_each(|_| append(5, at(61_000_000)));
        append(90, at(61_000_000));
        let report = profile.report(at(61_000_010), |_, last| Some(NodeId(last.into())));
        let slowest = report["slowest"].as_array().unwrap();
        let times: Vec<_> = slowest.iter().map(|slow| slow["total_us"].as_f64().unwrap()).collect();
        assert_eq!(times[..3], [700.0, 90.0, 5.0]);
        assert_eq!(slowest.len(), SLOWEST);
        assert_eq!(slowest[0]["last_node"], json!(NodeId(1)));
        assert_eq!(report["stages"]["sequencing"]["events"], 22);
    }
}
