//! Who does what is planned, and when: one node at a time, not twice for the same cause, and ever more slowly if it does not help.

use std::collections::BTreeMap;
use std::time::Duration;

use super::planner::{Action, Aim};
use crate::base::{Instant, Rng};

/// How much later each next node acts: the first one that is well does everything, as long as it can.
const TURN: Duration = Duration::from_secs(2);
/// How long after an action the same log is left alone; doubles with each action in short succession (L7).
const REST: Duration = Duration::from_secs(2);
const DOUBLINGS_MAX: u32 = 8;
/// A log that has been left alone for so long begins anew: longer than the longest rest.
const CALM: Duration = Duration::from_secs(1200);
/// As often at most doubles the rest before a log that wants for nothing is changed again.
const SHAPE_DOUBLINGS_MAX: u32 = 6;

#[derive(Clone, Debug)]
struct Planned {
    action: Action,
    due: Instant,
}

#[derive(Clone, Debug, Default)]
struct Acted {
    last: Instant,
    times: u32,
    /// How often it has changed since it was last left alone for as long as a log that wants for nothing is.
    shapes: u32,
    /// What was done by this node has not been seen in the chain yet.
    unseen: bool,
}

/// What has been planned, and what was done.
#[derive(Debug)]
pub struct Pacing {
    planned: Vec<Planned>,
    acted: BTreeMap<String, Acted>,
    /// The shortest rest before a log that wants for nothing is changed.
    shape_rest: Duration,
    /// From when on the next such log may be: one after another.
    shape_at: Instant,
    random: Rng,
}

impl Pacing {
    /// Nothing was planned yet. Before a log that wants for nothing is changed again, it rests for `shape_rest` at least.
    pub fn new(seed: u64, shape_rest: Duration) -> Self {
        let (planned, acted, random) = (Vec::new(), BTreeMap::new(), Rng::with_seed(seed));
        Self { planned, acted, shape_rest, shape_at: Instant::ORIGIN, random }
    }

    /// Takes in the present plan of the node that has `rank` others before it, and returns what it is to do now, if anything. What is in
    /// the plan no more has been done by others, or has mended by itself.
    pub fn next(&mut self, plan: Vec<Action>, rank: usize, now: Instant) -> Option<Action> {
        let same = |a: &Action, b: &Action| (&a.log, a.loglet, &a.change) == (&b.log, b.loglet, &b.change);
        self.planned.retain(|known| plan.iter().any(|action| same(action, &known.action)));
        for action in plan {
            if !self.planned.iter().any(|known| same(&known.action, &action)) {
                let acted = self.acted.get(&action.log);
                let rest = acted.map_or(Instant::ORIGIN, |acted| acted.last + self.rest(acted, action.aim));
                let jitter = Duration::from_nanos(self.random.u64(..TURN.as_nanos() as u64 / 4));
                // Who has just come may go again, or be needed for something else.
                let settling = if action.aim == Aim::Spread { self.shape_rest } else { Duration::ZERO };
                let due = rest.max(now + settling + TURN * rank as u32) + jitter;
                self.planned.push(Planned { action, due });
            }
        }
        let is_due = |planned: &Planned| match planned.action.aim {
            Aim::Mend => planned.due <= now,
            Aim::Scale | Aim::Spread => planned.due.max(self.shape_at) <= now,
        };
        let at = self.planned.iter().position(is_due)?;
        let action = self.planned[at].action.clone();
        self.count(&action.log, now);
        let acted = self.acted.get_mut(&action.log).expect("just counted");
        acted.unseen = true;
        if action.aim != Aim::Mend {
            self.shape_at = now + self.shape_rest;
        }
        // If it does not help, it will be due again.
        self.planned[at].due = now + self.rest(&self.acted[&action.log], action.aim);
        Some(action)
    }

    /// A log's chain has changed, whoever has done it: the rest is the log's, not this node's.
    pub fn changed(&mut self, log: &str, now: Instant) {
        let is_own = self.acted.get_mut(log).is_some_and(|acted| std::mem::take(&mut acted.unseen));
        if !is_own {
            self.count(log, now);
            let acted = &self.acted[log];
            let rests = [Aim::Mend, Aim::Scale, Aim::Spread].map(|aim| (aim, self.rest(acted, aim)));
            let rest = |aim: Aim| rests.iter().find(|(of, _)| *of == aim).expect("of each").1;
            let of_log = self.planned.iter_mut().filter(|planned| planned.action.log == log);
            of_log.for_each(|planned| planned.due = planned.due.max(now + rest(planned.action.aim)));
        }
    }

    fn count(&mut self, log: &str, now: Instant) {
        // Twice the longest rest.
        let shape_calm = self.shape_rest * (2 << SHAPE_DOUBLINGS_MAX);
        let acted = self.acted.entry(log.to_owned()).or_default();
        let away = now.since(acted.last);
        let again = |times: u32, calm: Duration| if away > calm { 1 } else { times + 1 };
        (acted.times, acted.shapes) = (again(acted.times, CALM), again(acted.shapes, shape_calm));
        acted.last = now;
    }

    /// How long a log is left alone after what was done to it, before something is done for this.
    fn rest(&self, acted: &Acted, aim: Aim) -> Duration {
        let doubled = |rest: Duration, times: u32, most: u32| rest * (1 << times.saturating_sub(1).min(most));
        match aim {
            Aim::Mend => doubled(REST, acted.times, DOUBLINGS_MAX),
            Aim::Scale | Aim::Spread => doubled(self.shape_rest, acted.shapes, SHAPE_DOUBLINGS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::planner::Change;
    use super::*;
    use crate::base::LogletId;

    fn action(log: &str, version: u64) -> Action {
        let loglet = LogletId { log: 1, version, nonce: 0 };
        let (change, aim) = (Change::Modify(Vec::new()), Aim::Mend);
        Action { log: log.to_owned(), loglet, change, aim, reason: "test".to_owned() }
    }

    fn pacing(seed: u64) -> Pacing {
        Pacing::new(seed, SHAPE_REST)
    }

    const SHAPE_REST: Duration = Duration::from_secs(30);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// When a node of this rank acts on a plan that stays, or changes its loglet each time.
    fn times(rank: usize, changes: bool, until_ms: u64) -> Vec<u64> {
        let mut pacing = pacing(1);
        let (mut times, mut version) = (Vec::new(), 1);
        for ms in (1_000..until_ms).step_by(100) {
            if pacing.next(vec![action("a", version)], rank, at(ms)).is_some() {
                times.push(ms);
                version += u64::from(changes);
            }
        }
        times
    }

    #[test]
    fn the_first_acts_at_once_and_the_others_only_if_it_does_not() {
        assert!(times(0, false, 2_000)[0] < 1_600);
        assert!((3_000..3_600).contains(&times(1, false, 5_000)[0]));
        let mut second = pacing(2);
        assert_eq!(second.next(vec![action("a", 1)], 1, at(0)), None);
        assert_eq!(second.next(Vec::new(), 1, at(1_000)), None, "the first has done it");
        assert_eq!(second.next(vec![action("a", 1)], 1, at(2_100)), None, "it is new again");
    }

    /// L7: no storm, whatever keeps happening.
    #[test]
    fn actions_on_one_log_become_rare_also_when_each_has_another_cause() {
        for changes in [false, true] {
            let times = times(0, changes, 600_000);
            assert!((4..14).contains(&times.len()), "{times:?}");
            let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(
                gaps.windows(2).all(|pair| pair[1] * 10 > pair[0] * 15),
                "each rest is about twice the one before: {gaps:?}"
            );
        }
    }

    #[test]
    fn another_log_does_not_wait() {
        let mut pacing = pacing(3);
        let both = || vec![action("a", 1), action("b", 1)];
        let mut done = Vec::new();
        for ms in (0..1_000).step_by(100) {
            done.extend(pacing.next(both(), 0, at(ms)).map(|action| action.log));
        }
        done.sort();
        assert_eq!(done, ["a", "b"]);
    }

    /// When logs that want for nothing are changed, each as often as the plan has it, which always has another loglet of it.
    fn shaped(aim: Aim, logs: &[&str], until_s: u64) -> Vec<(u64, String)> {
        let (mut pacing, mut done) = (pacing(4), Vec::new());
        for second in 1..until_s {
            let version = |log: &str| done.iter().filter(|(_, other)| other == log).count() as u64;
            let plan = logs.iter().map(|log| Action { aim, ..action(log, version(log)) }).collect();
            if let Some(action) = pacing.next(plan, 0, at(second * 1000)) {
                pacing.changed(&action.log, at(second * 1000 + 500));
                done.push((second, action.log));
            }
        }
        done
    }

    #[test]
    fn a_log_that_wants_for_nothing_is_changed_ever_more_slowly() {
        for aim in [Aim::Scale, Aim::Spread] {
            let times: Vec<u64> = shaped(aim, &["a"], 3_000).into_iter().map(|(second, _)| second).collect();
            let first = if aim == Aim::Scale { 0..3 } else { 30..33 };
            assert!(first.contains(&(times[0] - 1)), "a spread waits until those who have come have stayed: {times:?}");
            let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let expected = [30, 60, 120, 240, 480, 960];
            assert!(gaps.iter().zip(expected).all(|(gap, rest)| (rest..rest + 3).contains(gap)), "{gaps:?}");
            assert!(gaps.len() >= 6, "{gaps:?}");
        }
    }

    #[test]
    fn logs_that_want_for_nothing_are_changed_one_after_another() {
        let done = shaped(Aim::Spread, &["a", "b", "c"], 130);
        let times: Vec<u64> = done.iter().map(|(second, _)| *second).collect();
        assert!(times.len() >= 3 && times.windows(2).all(|pair| pair[1] >= pair[0] + 30), "{done:?}");
    }

    #[test]
    fn a_log_that_has_been_mended_rests_before_it_is_changed_for_its_load_and_not_the_other_way() {
        let mut pacing = pacing(5);
        pacing.changed("a", at(1_000));
        let scale = || vec![Action { aim: Aim::Scale, ..action("a", 1) }];
        assert!((2..30).all(|second| pacing.next(scale(), 0, at(second * 1_000)).is_none()));
        assert!((30..33).any(|second| pacing.next(scale(), 0, at(second * 1_000)).is_some()));
        let mended = (34..44).find(|second| pacing.next(vec![action("a", 2)], 0, at(second * 1_000)).is_some());
        assert!(mended.is_some_and(|second| second < 40), "{mended:?}");
    }
}
