//! Over how many stripes a log should go that has a range of them, by how busy its sequencers are. Pure, as the planner is.

use std::time::Duration;

use super::loads::Load;
use crate::base::LogletId;
use crate::client::StripeRange;

/// When a log gets more stripes, or fewer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scaling {
    /// Over what time the load is measured.
    pub round: Duration,
    /// A log's sequencer is busy when its shard has used so much of a core for the log, and when the busiest is so
    pub high: f64,
    /// for so many rounds in succession, the log gets twice as many stripes.
    pub high_rounds: u32,
    /// It is busy as well when appends have waited there for as long as this many durable writes take, and it would not be quiet with
    /// twice as many sequencers: it would lose again what it was given.
    pub waits: f64,
    /// If all its sequencers have used no more than this, which is well below half of `high`,
    pub low: f64,
    /// for so many rounds in succession, it gets half as many.
    pub low_rounds: u32,
    /// How long a log is left as it is after that, and before its stripes are spread; doubles with each change in short succession.
    pub rest: Duration,
}

impl Default for Scaling {
    fn default() -> Self {
        let (high, low) = (0.75, 0.25);
        Self {
            round: Duration::from_secs(10),
            high,
            high_rounds: 3,
            waits: 4.0,
            low,
            low_rounds: 30,
            rest: Duration::from_secs(30),
        }
    }
}

/// Why marks cannot be used. Named as in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("marks of scaling contradict each other: {0}")]
pub struct InvalidScaling(&'static str);

impl Scaling {
    /// The shortest round: what is measured in less says more of the moment than of the load.
    pub const ROUND_MIN: Duration = Duration::from_secs(1);

    /// Checks the marks, once, at the start of whoever uses them.
    ///
    /// # Errors
    /// A log would be changed to and fro, or without a measurement.
    pub fn check(&self) -> Result<(), InvalidScaling> {
        let rules = [
            (self.round >= Self::ROUND_MIN, "round_ms is at least 1000"),
            (self.high_rounds > 0, "busy_rounds is at least 1"),
            (self.low_rounds > 0, "quiet_rounds is at least 1"),
            (self.waits > 0.0, "long_wait_writes is at least 1"),
            // Half as many sequencers are twice as busy each.
            (self.low * 2.0 < self.high, "quiet_percent is below half of busy_percent"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(InvalidScaling(rule)),
            None => Ok(()),
        }
    }
}

/// A machine whose nodes have used so much of its cores has none left for another sequencer: their clients need some too.
pub(super) const CORES_FULL: f64 = 0.9;
/// A shard that was ready for so much of the time and had no core: its appends have waited for that, whoever had the core.
const CORE_LACKED: f64 = 0.1;
/// A disk with so much on the way takes no more, whoever sequences it.
pub(super) const DISK_FULL: f64 = 0.9;

/// Why another sequencer would not help a log.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Obstacle {
    /// All shards that could take a stripe are on machines like this.
    Cores { machine: String, used: f64, cores: usize },
    /// All shards that could take one are as busy.
    Shards,
    /// The LogServers' disks, which all stripes share, have no more to give.
    Disk(f64),
}

/// A sequencer of a log, in a round.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sequenced {
    /// Share of a core that its shard has used for the log. What the shard does for other logs is no reason to divide this one: as many
    /// sequencers more would have as little to do.
    pub(super) busy: f64,
    /// All that the shard does.
    pub(super) shard: Load,
}

impl Sequenced {
    /// For how many durable writes its appends have waited in the shard, on the average, before one was begun for them. With a disk that is fast they
    /// wait for what the shard has to do before, and with one that is slow for those that are on their way: one or two, whatever a
    /// sequencer does. Nothing where there is nothing to compare it with, and where another sequencer would have them wait as long: the disk takes
    /// no more, or the shard shares its core with others, who may want the next one as well.
    fn waits(&self) -> Option<f64> {
        let Load { queueing, write, disk, delayed, .. } = self.shard;
        let is_its_own = !write.is_zero() && disk < DISK_FULL && delayed < CORE_LACKED;
        is_its_own.then(|| queueing.as_secs_f64() / write.as_secs_f64())
    }

    /// Whether appends wait long for want of a sequencer.
    fn waits_long(&self, scaling: &Scaling) -> bool {
        self.busy > 2.0 * scaling.low && self.waits().is_some_and(|waits| waits >= scaling.waits)
    }

    /// Whether another one should take a part of what it does.
    pub(super) fn is_busy(&self, scaling: &Scaling) -> bool {
        self.busy >= scaling.high || self.waits_long(scaling)
    }

    /// Why it is busy, in words that go with a number of rounds.
    fn why_busy(&self, scaling: &Scaling) -> &'static str {
        if self.busy >= scaling.high { "it is busy" } else { "its appends wait long" }
    }
}

/// What was measured of a log in a round.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Sample {
    /// The last loglet: what was measured of another one says nothing of it.
    pub(super) loglet: LogletId,
    /// Its stripes.
    pub(super) stripes: usize,
    /// What it may have.
    pub(super) range: StripeRange,
    /// How many its nodes have room for.
    pub(super) room: usize,
    /// The sequencer that has most need of another one.
    pub(super) busiest: Sequenced,
    /// Why growing would be in vain, if it would.
    pub(super) obstacle: Option<Obstacle>,
}

/// What a log needs another number of stripes for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// It is busy.
    Busy,
    /// It is quiet.
    Quiet,
    /// It may not have as many, or as few, as it has: its range was changed.
    Range,
}

/// What follows from the rounds so far.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Verdict {
    /// It should have so many stripes.
    Divide(usize, Cause),
    /// It is busy, and has the most that it may have.
    Most,
    /// It should have more, and its nodes have room for so many only.
    NoRoom(usize, Cause),
    /// It is busy, and that would not help.
    InVain(Obstacle),
    /// It is quiet, and has the fewest.
    Fewest,
    /// It is neither, or not for long.
    Stay,
}

/// The rounds of one log.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    loglet: Option<LogletId>,
    high: u32,
    low: u32,
    /// What was measured last, and what follows.
    last: Option<(Sample, Verdict)>,
    /// Stripes before and after, why, and the load, when it was to change last.
    change: Option<(usize, usize, Cause, f64)>,
}

impl Rounds {
    pub(super) fn new() -> Self {
        Self { loglet: None, high: 0, low: 0, last: None, change: None }
    }

    /// Takes in another round, and returns what follows from it if that is something else than before.
    pub(super) fn measured(&mut self, sample: Sample, scaling: &Scaling) -> Option<Verdict> {
        if self.loglet != Some(sample.loglet) {
            (self.loglet, self.high, self.low) = (Some(sample.loglet), 0, 0);
        }
        let busiest = sample.busiest;
        let count = |rounds: u32, is_so: bool| if is_so { rounds.saturating_add(1) } else { 0 };
        (self.high, self.low) =
            (count(self.high, busiest.is_busy(scaling)), count(self.low, busiest.busy <= scaling.low));
        let verdict = self.judge(&sample, scaling);
        if let Verdict::Divide(stripes, cause) = verdict {
            self.change = Some((sample.stripes, stripes, cause, busiest.busy));
        }
        let kind = std::mem::discriminant;
        let before = self.last.as_ref().map(|(sample, verdict)| (sample.loglet, kind(verdict)));
        let is_new = before != Some((sample.loglet, kind(&verdict)));
        self.last = Some((sample, verdict.clone()));
        is_new.then_some(verdict)
    }

    fn judge(&self, sample: &Sample, scaling: &Scaling) -> Verdict {
        let Sample { stripes, range, room, .. } = *sample;
        // What somebody has asked for does not wait for a load.
        match range.stripes(stripes).count {
            fits if fits > stripes && fits > room => return Verdict::NoRoom(room, Cause::Range),
            fits if fits != stripes => return Verdict::Divide(fits, Cause::Range),
            _ => {}
        }
        if self.high >= scaling.high_rounds {
            let more = (stripes * 2).min(room);
            return match &sample.obstacle {
                _ if stripes >= range.most => Verdict::Most,
                Some(obstacle) => Verdict::InVain(obstacle.clone()),
                None if more <= stripes => Verdict::NoRoom(room, Cause::Busy),
                None => Verdict::Divide(range.stripes(more).count, Cause::Busy),
            };
        }
        if self.low >= scaling.low_rounds {
            return match range.stripes(stripes / 2).count {
                fewer if fewer < stripes => Verdict::Divide(fewer, Cause::Quiet),
                _ => Verdict::Fewest,
            };
        }
        Verdict::Stay
    }

    /// It could not be measured for a while: what was before says nothing of what is now.
    pub(super) fn interrupted(&mut self) {
        (self.loglet, self.last) = (None, None);
    }

    /// How many stripes it should have behind this loglet, if not as many as it has.
    pub(super) fn wanted(&self, loglet: LogletId) -> Option<usize> {
        match self.last {
            Some((Sample { loglet: of, .. }, Verdict::Divide(stripes, _))) if of == loglet => Some(stripes),
            _ => None,
        }
    }

    /// The last decision with its reason and what was measured, for people.
    pub(super) fn reason(&self, scaling: &Scaling) -> String {
        let Some((sample, verdict)) = &self.last else {
            return "not scaled, because its sequencers have not been measured yet".to_owned();
        };
        let Sample { stripes, range, busiest, .. } = sample;
        let Sequenced { busy, shard } = busiest;
        let is_busy = busiest.why_busy(scaling);
        let why = match verdict {
            Verdict::Divide(count, cause) => {
                let because = match cause {
                    Cause::Busy => format!("{is_busy} for {} rounds", self.high),
                    Cause::Quiet => format!("it is quiet for {} rounds", self.low),
                    Cause::Range => format!("it may have {range}"),
                };
                format!("to have {}, because {because}", counted(*count))
            }
            Verdict::Most => format!("not scaled, because {is_busy} and it has the most stripes that it may have"),
            Verdict::NoRoom(room, cause) => {
                let wants = if *cause == Cause::Range { format!("it may have {range}") } else { is_busy.to_owned() };
                format!("not scaled, because {wants} and its nodes have room for {} only", counted(*room))
            }
            Verdict::InVain(obstacle) => format!("not scaled, because {obstacle}"),
            Verdict::Fewest => "not scaled, because it is quiet and has the fewest stripes".to_owned(),
            Verdict::Stay if self.high > 0 => {
                format!("not scaled, because {is_busy} for {} of {} rounds", self.high, scaling.high_rounds)
            }
            Verdict::Stay if self.low > 0 => {
                format!("not scaled, because it is quiet for {} of {} rounds", self.low, scaling.low_rounds)
            }
            Verdict::Stay => "not scaled, because it is neither busy nor quiet".to_owned(),
        };
        let change = self.change.filter(|(_, to, ..)| to == stripes).map(|(from, to, cause, busy)| {
            let at = if cause == Cause::Range { "by its range".to_owned() } else { format!("at {busy:.2}") };
            format!("; got {} instead of {from} {at}", counted(to))
        });
        let waits =
            busiest.waits().map(|waits| format!(", which is {waits:.1} durable writes ({:.1} is long)", scaling.waits));
        let lacked = (shard.delayed >= CORE_LACKED)
            .then(|| format!(" and had none for {:.0} % of the time", shard.delayed * 100.0));
        format!(
            "{} of {range}, {why}: its busiest sequencer has used {busy:.2} of a core ({:.2} is busy, {:.2} quiet) and its shard \
             {:.2} in all{}, appends waited {} us there{}, {:.0} % of the disk's queue was in use{}",
            counted(*stripes),
            scaling.high,
            scaling.low,
            shard.busy,
            lacked.unwrap_or_default(),
            shard.queueing.as_micros(),
            waits.unwrap_or_default(),
            shard.disk * 100.0,
            change.unwrap_or_default()
        )
    }
}

fn counted(stripes: usize) -> String {
    format!("{stripes} stripe{}", if stripes == 1 { "" } else { "s" })
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cores { machine, used, cores } => {
                write!(
                    f,
                    "another sequencer would have no core: {used:.2} of the {cores} of {machine} are used already"
                )
            }
            Self::Shards => write!(f, "all shards that could take a stripe are as busy"),
            Self::Disk(share) => {
                write!(f, "its LogServers' disks take no more ({:.0} % of a queue is in use)", share * 100.0)
            }
        }
    }
}

#[cfg(test)]
#[path = "scaling_tests.rs"]
mod tests;
