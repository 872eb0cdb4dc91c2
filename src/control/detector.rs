//! The failure detector: who has not been heard of for longer than is usual for it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{Incarnation, Instant, NodeId};

/// A node is missed after a silence of at least this, however regular it is otherwise: a process on a busy machine waits for its turn.
const SILENCE_MIN: Duration = Duration::from_secs(2);
/// And after this, however irregular it is.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often the mean deviation fits between the mean time from one answer to the next and the bound.
const DEVIATIONS: u32 = 6;
/// How long a node that was missed has to be there before anything new is placed on it; doubles each time that it is missed.
const PROBATION: Duration = Duration::from_secs(5);
const DOUBLINGS_MAX: u32 = 7;
/// After so long without having been missed a node is as good as any other.
const CALM: Duration = Duration::from_secs(600);

/// What is known of one node.
#[derive(Clone, Debug)]
struct Watch {
    incarnation: Option<Incarnation>,
    heard_at: Instant,
    /// Mean time from one answer to the next, and its mean deviation.
    mean: Duration,
    deviation: Duration,
    /// How often it was missed of late.
    misses: u32,
    /// From when on something may be placed on it.
    steady_at: Instant,
}

/// Watches nodes that are asked again and again, each answer of which is told to it.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    nodes: BTreeMap<NodeId, Watch>,
    looked_at: Option<Instant>,
}

impl Watch {
    fn bound(&self) -> Duration {
        (self.mean + self.deviation * DEVIATIONS).clamp(SILENCE_MIN, SILENCE_MAX)
    }

    fn missed_since(&self, now: Instant) -> Option<Duration> {
        Some(now.since(self.heard_at)).filter(|silence| *silence > self.bound())
    }
}

impl Detector {
    /// These are the nodes that are asked from now on. A new one is missed only after it has been asked for a while.
    pub fn watch(&mut self, nodes: &[NodeId], now: Instant) {
        self.nodes.retain(|node, _| nodes.contains(node));
        for node in nodes {
            self.nodes.entry(*node).or_insert(Watch {
                incarnation: None,
                heard_at: now,
                mean: Duration::ZERO,
                deviation: Duration::ZERO,
                misses: 0,
                steady_at: now,
            });
        }
    }

    /// To be called often. Who was stopped himself, or did not get a turn, cannot blame others for that time.
    pub fn look(&mut self, now: Instant) {
        let away = self.looked_at.map_or(Duration::ZERO, |before| now.since(before));
        if away > SILENCE_MIN / 2 {
            self.nodes.values_mut().for_each(|watch| watch.heard_at = (watch.heard_at + away).min(now));
        }
        self.looked_at = Some(now);
    }

    /// A node has answered, in this life of it.
    pub fn heard(&mut self, node: NodeId, incarnation: Incarnation, now: Instant) {
        let Some(watch) = self.nodes.get_mut(&node) else { return };
        if now.since(watch.steady_at) > CALM {
            watch.misses = 0;
        }
        if watch.missed_since(now).is_some() {
            watch.steady_at = now + PROBATION * (1 << watch.misses.min(DOUBLINGS_MAX));
            watch.misses += 1;
        } else {
            // As the retransmission timeout of TCP is estimated (Jacobson 1988).
            let gap = now.since(watch.heard_at);
            watch.deviation = (watch.deviation * 3 + gap.abs_diff(watch.mean)) / 4;
            watch.mean = (watch.mean * 7 + gap) / 8;
        }
        watch.heard_at = now;
        watch.incarnation = Some(incarnation);
    }

    /// How long a node has been missed; nothing while it is not.
    pub fn missed(&self, node: NodeId, now: Instant) -> Option<Duration> {
        self.nodes.get(&node)?.missed_since(now)
    }

    /// All that are missed.
    pub fn all_missed(&self, now: Instant) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, watch)| watch.missed_since(now).is_some()).map(|(node, _)| *node).collect()
    }

    /// Whether something new may be placed on a node: it answers, and has not been missed for a while.
    pub fn is_steady(&self, node: NodeId, now: Instant) -> bool {
        let is_steady = |watch: &Watch| watch.steady_at <= now && watch.missed_since(now).is_none();
        self.nodes.get(&node).is_some_and(is_steady)
    }

    /// The life of a node that has answered last.
    pub fn incarnation(&self, node: NodeId) -> Option<Incarnation> {
        self.nodes.get(&node)?.incarnation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);
    const LIFE: Incarnation = Incarnation(9);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// One that has answered every `every` milliseconds until `until`.
    fn heard(every: usize, until: u64) -> Detector {
        let mut detector = Detector::default();
        detector.watch(&[NODE], at(0));
        for ms in (0..=until).step_by(every) {
            detector.look(at(ms));
            detector.heard(NODE, LIFE, at(ms));
        }
        detector
    }

    fn look(detector: &mut Detector, from: u64, to: u64) {
        (from..to).step_by(100).for_each(|ms| detector.look(at(ms)));
    }

    #[test]
    fn a_regular_node_is_missed_after_the_shortest_bound_and_an_irregular_one_later() {
        let mut regular = heard(500, 20_000);
        look(&mut regular, 20_000, 30_000);
        assert_eq!(regular.missed(NODE, at(21_900)), None);
        assert_eq!(regular.missed(NODE, at(22_100)), Some(Duration::from_millis(2_100)));
        let mut irregular = Detector::default();
        irregular.watch(&[NODE], at(0));
        let mut ms = 0;
        for gap in [100, 1900, 200, 1800, 100, 1950, 300, 1700, 150, 1900] {
            ms += gap;
            look(&mut irregular, ms - gap, ms);
            irregular.heard(NODE, LIFE, at(ms));
        }
        look(&mut irregular, ms, ms + 20_000);
        assert_eq!(irregular.missed(NODE, at(ms + 4_000)), None);
        assert!(irregular.missed(NODE, at(ms + 10_001)).is_some(), "never later than this");
    }

    #[test]
    fn one_that_was_stopped_himself_blames_nobody() {
        let mut detector = heard(500, 20_000);
        detector.look(at(80_000));
        assert_eq!(detector.missed(NODE, at(80_000)), None);
        look(&mut detector, 80_000, 82_500);
        assert!(detector.missed(NODE, at(82_500)).is_some());
    }

    #[test]
    fn a_flapping_node_is_on_probation_longer_each_time() {
        let mut detector = heard(500, 20_000);
        let mut ms = 20_000;
        let mut probations = Vec::new();
        for _ in 0..3 {
            look(&mut detector, ms, ms + 5_000);
            ms += 5_000;
            detector.heard(NODE, LIFE, at(ms));
            let begin = ms;
            while !detector.is_steady(NODE, at(ms)) {
                ms += 500;
                detector.look(at(ms));
                detector.heard(NODE, LIFE, at(ms));
            }
            probations.push(ms - begin);
        }
        assert_eq!(probations, [5_000, 10_000, 20_000]);
        let mut calm = detector.clone();
        for later in (ms..ms + 700_000).step_by(500) {
            calm.look(at(later));
            calm.heard(NODE, LIFE, at(later));
        }
        assert!(calm.is_steady(NODE, at(ms + 699_500)));
        assert_eq!(calm.nodes[&NODE].misses, 0, "it is forgiven");
    }
}
