//! Requests for no-ops that wait a while, because records may come where they would be (P6).
//!
//! A sequencer that somebody appends to is behind another stripe's for a moment again and again. No-ops would make it go ahead, and the other
//! one behind: it had better wait for the next records. Only how long is not known, so that it follows what came of the last waits:
//! longer where records came, also where not all came in time, and shorter where few did.

use std::time::Duration;

use super::machine::Sequencer;
use crate::base::{Instant, Limits, Offset};
use crate::proto::PeerId;
use crate::wire::Message;

/// The shortest wait.
const MIN: Duration = Duration::from_micros(100);

/// Who waits, and how long at most.
#[derive(Clone, Hash, Debug)]
pub(super) struct Patience {
    waiting: Vec<Patient>,
    now: Duration,
    max: Duration,
    /// When the last append came.
    appended: Option<Instant>,
}

#[derive(Clone, Copy, Hash, Debug)]
struct Patient {
    from: PeerId,
    request: u64,
    to: Offset,
    since: Instant,
    /// The next offset then.
    tail: Offset,
}

impl Patient {
    /// Whether a fair part of what is wanted has come meanwhile: the rest would have come before long.
    fn was_getting_on(&self, tail: Offset) -> bool {
        4 * tail.since(self.tail) >= self.to.since(self.tail)
    }
}

impl Patience {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { waiting: Vec::new(), now: limits.fill_patience_max / 4, max: limits.fill_patience_max, appended: None }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn note_append(&mut self, now: Instant) {
        self.appended = Some(now);
    }

    /// Whether more records are likely to come before long.
    pub(super) fn expects_records(&self, now: Instant) -> bool {
        self.appended.is_some_and(|at| now.since(at) < self.now)
    }

    /// When the first of them has waited long enough.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.waiting.first().map(|patient| patient.since + self.now)
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.waiting.retain(|patient| patient.from != peer);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<Patient>()
    }

    pub(super) fn trim_memory(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }

    /// Records come: the next may wait a little longer.
    fn was_right(&mut self) {
        self.now = (self.now * 5 / 4).min(self.max);
    }

    /// They do not.
    fn was_wrong(&mut self) {
        self.now = (self.now / 2).max(MIN.min(self.max));
    }
}

impl Sequencer {
    pub(super) fn wait_for_records(&mut self, from: PeerId, request: u64, to: Offset, now: Instant) {
        assert!(self.patience.expects_records(now), "who is not appended to places no-ops at once");
        self.patience.waiting.push(Patient { from, request, to, since: now, tail: self.tail });
    }

    /// Answers those whom records have brought as far as they want to be. For those who have waited too long no-ops are placed, as soon as
    /// there is room for them.
    pub(super) fn lose_patience(&mut self, now: Instant) {
        if self.patience.waiting.is_empty() {
            return;
        }
        if !self.takes_appends() {
            return self.refuse_patient();
        }
        let (loglet, known_tail) = (self.loglet(), self.watermark);
        let waiting = std::mem::take(&mut self.patience.waiting);
        let (filled, mut waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|it| it.to <= known_tail);
        for Patient { from, request, .. } in filled {
            self.patience.was_right();
            self.replies.push_back((from, Message::Filled { request, loglet, placed: 0, known_tail }));
        }
        let (patience, tail) = (self.patience.now, self.tail);
        waiting.retain(|patient| {
            let waits = now < patient.since + patience || !self.has_room();
            if !waits {
                match patient.was_getting_on(tail) {
                    true => self.patience.was_right(),
                    false => self.patience.was_wrong(),
                }
                self.fill_now(patient.from, patient.request, patient.to, now);
            }
            waits
        });
        self.patience.waiting = waiting;
    }

    pub(super) fn refuse_patient(&mut self) {
        for Patient { from, request, .. } in std::mem::take(&mut self.patience.waiting) {
            self.refuse_append(from, request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn patience(rig: &Rig) -> Duration {
        rig.core.patience.now
    }

    #[test]
    fn records_that_come_in_time_are_as_good_as_no_ops() {
        let mut rig = Rig::new(1);
        rig.append(1, 2);
        rig.fill(2, 4);
        assert_eq!(rig.core.status().tail(), Offset(2), "more records may come");
        rig.append(3, 2);
        rig.stored(0, 2);
        assert_eq!(rig.replies(), [appended(1, 0, 2, 2)]);
        let before = patience(&rig);
        rig.stored(0, 4);
        assert_eq!(rig.replies(), [appended(3, 2, 2, 4), filled(2, 0, 4)]);
        assert_eq!((rig.core.status().given().no_ops, patience(&rig) > before), (0, true));
    }

    #[test]
    fn where_nobody_has_appended_for_a_while_nothing_is_waited_for() {
        let mut rig = Rig::new(1);
        rig.append(1, 2);
        rig.stored(0, 2);
        rig.pass_time(patience(&rig));
        rig.fill(2, 4);
        assert_eq!(rig.core.status().tail(), Offset(4));
        rig.stored(0, 4);
        assert_eq!(rig.replies(), [appended(1, 0, 2, 2), filled(2, 2, 4)]);
    }

    #[test]
    fn who_has_waited_long_enough_gets_no_ops() {
        let mut rig = Rig::new(1);
        rig.append(1, 2);
        rig.fill(2, 7);
        rig.append(3, 1);
        let before = patience(&rig);
        assert_eq!(rig.core.poll_timeout().map(|(at, _)| at), Some(rig.now + before));
        rig.pass_time(before);
        assert_eq!((rig.core.status().tail(), patience(&rig)), (Offset(7), before / 2));
        rig.stored(0, 7);
        assert_eq!(rig.replies(), [appended(1, 0, 2, 7), appended(3, 2, 1, 7), filled(2, 4, 7)]);
    }

    /// Most of what it waited for came: a little longer, and all of it would have.
    #[test]
    fn who_gave_up_too_early_waits_longer_the_next_time() {
        let mut rig = Rig::new(1);
        rig.append(1, 2);
        rig.fill(2, 7);
        rig.append(3, 4);
        let before = patience(&rig);
        rig.pass_time(before);
        assert_eq!((rig.core.status().tail(), patience(&rig)), (Offset(7), before * 5 / 4));
    }

    #[test]
    fn a_seal_answers_those_who_wait_for_records() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        rig.fill(2, 4);
        rig.fill(3, 4);
        rig.core.handle_client_disconnected(CLIENT);
        assert_eq!(rig.core.patience.waiting(), 0);
        rig.fill(4, 4);
        rig.handle(0, Message::Gone { request: 0, loglet: LOGLET });
        let refused = Message::AppendSealed { request: 4, loglet: LOGLET, first: Offset(1), count: 0 };
        assert_eq!(rig.replies(), [refused]);
        assert_eq!(rig.core.status().tail(), Offset(1));
    }
}
