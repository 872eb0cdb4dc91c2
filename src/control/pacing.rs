//! Who does what is planned, and when: one node at a time, not twice for the same cause, and ever more slowly if it does not help.

use std::collections::BTreeMap;
use std::time::Duration;

use super::planner::Action;
use crate::base::{Instant, Rng};

/// How much later each next node acts: the first one that is well does everything, as long as it can.
const TURN: Duration = Duration::from_secs(2);
/// How long after an action the same log is left alone; doubles with each action in short succession (L7).
const REST: Duration = Duration::from_secs(2);
const DOUBLINGS_MAX: u32 = 8;
/// A log that has been left alone for so long begins anew: longer than the longest rest.
const CALM: Duration = Duration::from_secs(1200);

#[derive(Clone, Debug)]
struct Planned {
    action: Action,
    due: Instant,
}

#[derive(Clone, Debug, Default)]
struct Acted {
    last: Instant,
    times: u32,
    /// What was done by this node has not been seen in the chain yet.
    unseen: bool,
}

/// What has been planned, and what was done.
#[derive(Debug)]
pub struct Pacing {
    planned: Vec<Planned>,
    acted: BTreeMap<String, Acted>,
    random: Rng,
}

impl Pacing {
    /// Nothing was planned yet.
    pub fn new(seed: u64) -> Self {
        Self { planned: Vec::new(), acted: BTreeMap::new(), random: Rng::with_seed(seed) }
    }

    /// Takes in the present plan of the node that has `rank` others before it, and returns what it is to do now, if anything. What is in
    /// the plan no more has been done by others, or has mended by itself.
    pub fn next(&mut self, plan: Vec<Action>, rank: usize, now: Instant) -> Option<Action> {
        let same = |a: &Action, b: &Action| (&a.log, a.loglet, &a.change) == (&b.log, b.loglet, &b.change);
        self.planned.retain(|known| plan.iter().any(|action| same(action, &known.action)));
        for action in plan {
            if !self.planned.iter().any(|known| same(&known.action, &action)) {
                let rest = self.acted.get(&action.log).map_or(Instant::ORIGIN, |acted| acted.last + rest(acted.times));
                let jitter = Duration::from_nanos(self.random.u64(..TURN.as_nanos() as u64 / 4));
                let due = rest.max(now + TURN * rank as u32) + jitter;
                self.planned.push(Planned { action, due });
            }
        }
        let at = self.planned.iter().position(|planned| planned.due <= now)?;
        let action = self.planned[at].action.clone();
        let times = self.count(&action.log, now);
        self.acted.get_mut(&action.log).expect("just counted").unseen = true;
        // If it does not help, it will be due again.
        self.planned[at].due = now + rest(times);
        Some(action)
    }

    /// A log's chain has changed, whoever has done it: the rest is the log's, not this node's.
    pub fn changed(&mut self, log: &str, now: Instant) {
        let is_own = self.acted.get_mut(log).is_some_and(|acted| std::mem::take(&mut acted.unseen));
        if !is_own {
            let times = self.count(log, now);
            let due = now + rest(times);
            let of_log = self.planned.iter_mut().filter(|planned| planned.action.log == log);
            of_log.for_each(|planned| planned.due = planned.due.max(due));
        }
    }

    fn count(&mut self, log: &str, now: Instant) -> u32 {
        let acted = self.acted.entry(log.to_owned()).or_default();
        if now.since(acted.last) > CALM {
            acted.times = 0;
        }
        (acted.last, acted.times) = (now, acted.times + 1);
        acted.times
    }
}

fn rest(times: u32) -> Duration {
    REST * (1 << times.saturating_sub(1).min(DOUBLINGS_MAX))
}

#[cfg(test)]
mod tests {
    use super::super::planner::Change;
    use super::*;
    use crate::base::LogletId;

    fn action(log: &str, version: u64) -> Action {
        let loglet = LogletId { log: 1, version, nonce: 0 };
        Action { log: log.to_owned(), loglet, change: Change::Modify(Vec::new()), reason: "test".to_owned() }
    }

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// When a node of this rank acts on a plan that stays, or changes its loglet each time.
    fn times(rank: usize, changes: bool, until_ms: u64) -> Vec<u64> {
        let mut pacing = Pacing::new(1);
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
        let mut second = Pacing::new(2);
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
        let mut pacing = Pacing::new(3);
        let both = || vec![action("a", 1), action("b", 1)];
        let mut done = Vec::new();
        for ms in (0..1_000).step_by(100) {
            done.extend(pacing.next(both(), 0, at(ms)).map(|action| action.log));
        }
        done.sort();
        assert_eq!(done, ["a", "b"]);
    }
}
