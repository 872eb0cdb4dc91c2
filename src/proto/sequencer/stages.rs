//! Where the time of an append goes here. The host reads the clock and says when things happened; without that nothing is measured.

use super::append::Outstanding;
use super::machine::Sequencer;
use crate::base::{Instant, Offset};
use crate::wire::Residence;

/// When the own LogServer's journal made something durable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StoreTimes {
    /// The journal began to submit the unit.
    pub submitting: Instant,
    /// The driver had it.
    pub submitted: Instant,
    /// It, and every unit before it, was seen to be durable.
    pub durable: Instant,
}

/// When things happened to an append.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct Times {
    /// It came in.
    pub(super) arrived: Instant,
    /// It had been handed to the LogServers.
    sequenced: Option<Instant>,
    /// The own LogServer stored it.
    stored: Option<StoreTimes>,
}

impl Times {
    pub(super) fn since(arrived: Instant) -> Self {
        Self { arrived, sequenced: None, stored: None }
    }

    /// The stages of an append that a majority has since `now`, by the answer of LogServer `last`; of its way through the own
    /// LogServer what lies before that. Nothing where the host measures nothing.
    pub(super) fn residence(&self, last: usize, now: Instant) -> Option<Residence> {
        let sequenced = self.sequenced?;
        let stored =
            self.stored.unwrap_or(StoreTimes { submitting: sequenced, submitted: sequenced, durable: sequenced });
        let mut at = self.arrived;
        let mut until = |end: Instant| {
            let from = at;
            at = end.clamp(from, now.max(from));
            Residence::nanos(from, at)
        };
        let ends = [sequenced, stored.submitting, stored.submitted, stored.durable, now];
        let [sequencing, batch_wait, submit, device, quorum_wait] = ends.map(&mut until);
        // The host adds the release when it hands the answer out.
        let stages = [sequencing, batch_wait, submit, device, quorum_wait, 0];
        // A configuration has a handful of LogServers.
        Some(Residence { arrived: self.arrived.as_nanos(), stages, last: last as u8 })
    }
}

impl Sequencer {
    /// Everything appended so far has been handed to the LogServers, as far as they take it, at `now`. Says whether that is more than
    /// before.
    pub fn note_sequenced(&mut self, now: Instant) -> bool {
        let known = std::mem::replace(&mut self.sequenced, self.end);
        for append in self.outstanding.iter_mut().rev().take_while(|append| append.first >= known) {
            append.times.sequenced = Some(now);
        }
        known < self.end
    }

    /// The own LogServer has made everything below `end` durable, what is above the `end` of the call before at these times. Called
    /// before the LogServer's answer is handed in.
    pub fn note_stored(&mut self, end: Offset, times: StoreTimes) {
        let known = self.timed;
        self.timed = known.max(end);
        let begin = self.outstanding.partition_point(|append| append.end() <= known);
        for append in self.outstanding.range_mut(begin..).take_while(|append: &&mut Outstanding| append.end() <= end) {
            append.times.stored = Some(times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::wire::Message;
    use std::time::Duration;

    const US: u64 = 1000;

    fn at(rig: &Rig, micros: u64) -> Instant {
        rig.now + Duration::from_micros(micros)
    }

    /// Of every acknowledged append: its first offset, stages in microseconds, and whose answer was the last.
    fn residences(rig: &mut Rig) -> Vec<(u64, [u64; 6], u8)> {
        let micros = |residence: Residence| residence.stages.map(|nanos| u64::from(nanos) / US);
        let acknowledged = rig.replies().into_iter().map(|reply| match reply {
            Message::Appended { first, residence: Some(residence), .. } => (first.0, micros(residence), residence.last),
            other => panic!("{other:?}"),
        });
        acknowledged.collect()
    }

    fn stored_at(rig: &mut Rig, server: usize, tail: u64, micros: u64) {
        let now = at(rig, micros);
        rig.core.handle(server, Message::Stored { loglet: LOGLET, tail: Offset(tail), followed: false }, now);
    }

    fn times(rig: &Rig, submitting: u64, submitted: u64, durable: u64) -> StoreTimes {
        let at = |micros| at(rig, micros);
        StoreTimes { submitting: at(submitting), submitted: at(submitted), durable: at(durable) }
    }

    #[test]
    fn stages_follow_one_another_and_add_up() {
        let mut rig = Rig::new(3);
        rig.append(1, 2);
        rig.core.note_sequenced(at(&rig, 10));
        rig.core.note_stored(Offset(2), times(&rig, 30, 35, 135));
        stored_at(&mut rig, 0, 2, 135);
        stored_at(&mut rig, 2, 2, 150);
        assert_eq!(residences(&mut rig), [(0, [10, 20, 5, 100, 15, 0], 2)]);
    }

    #[test]
    fn a_majority_without_the_own_store_has_only_waited_for_others() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        rig.core.note_sequenced(at(&rig, 10));
        stored_at(&mut rig, 1, 1, 80);
        stored_at(&mut rig, 2, 1, 90);
        rig.core.note_stored(Offset(1), times(&rig, 20, 30, 500));
        stored_at(&mut rig, 0, 1, 500);
        assert_eq!(residences(&mut rig), [(0, [10, 0, 0, 0, 80, 0], 2)]);
    }

    #[test]
    fn each_append_has_the_times_of_its_own_unit() {
        let mut rig = Rig::new(1);
        rig.append(1, 1);
        rig.core.note_sequenced(at(&rig, 1));
        rig.append(2, 3);
        rig.core.note_sequenced(at(&rig, 2));
        rig.core.note_sequenced(at(&rig, 50));
        rig.core.note_stored(Offset(1), times(&rig, 3, 4, 60));
        rig.core.note_stored(Offset(4), times(&rig, 12, 14, 60));
        stored_at(&mut rig, 0, 4, 60);
        assert_eq!(residences(&mut rig), [(0, [1, 2, 1, 56, 0, 0], 0), (1, [2, 10, 2, 46, 0, 0], 0)]);
    }

    #[test]
    fn nothing_is_measured_without_a_clock() {
        let mut rig = Rig::new(1);
        rig.append(1, 1);
        rig.stored(0, 1);
        assert_eq!(rig.replies(), [appended(1, 0, 1, 1)]);
    }
}
