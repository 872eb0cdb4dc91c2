//! Requests for no-ops that wait a while, because records may come where they would be (P6).
//!
//! A sequencer that somebody appends to is behind another stripe's for a moment again and again. No-ops would make it go ahead, and the other
//! one behind: it had better wait for the next records. Appenders with all that they may have under way on other stripes send more when some of
//! it has ended: after what an append takes them, which is some times what it takes here. One that has committed all it was given had better
//! not wait: appenders with few appends under way may all be withheld for want of what it does not get from them, and a store costs it little.

use std::time::Duration;

use super::machine::Sequencer;
use crate::base::{Instant, Limits, Offset};
use crate::proto::PeerId;
use crate::wire::Message;

/// How many times as long as appends take here.
const FACTOR: u32 = 4;
/// The shortest wait, and that of a sequencer which has nothing else to do.
const MIN: Duration = Duration::from_micros(100);

/// Who waits, and how long at most.
#[derive(Clone, Hash, Debug)]
pub(super) struct Patience {
    waiting: Vec<Patient>,
    /// How long appends have taken lately.
    usual: Duration,
    max: Duration,
    /// When the last append came.
    appended: Option<Instant>,
    /// Appends are under way here.
    works: bool,
}

#[derive(Clone, Copy, Hash, Debug)]
struct Patient {
    from: PeerId,
    request: u64,
    to: Offset,
    since: Instant,
}

impl Patience {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { waiting: Vec::new(), usual: Duration::ZERO, max: limits.fill_patience_max, appended: None, works: false }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn note_append(&mut self, now: Instant) {
        self.appended = Some(now);
        self.works = true;
    }

    /// Every append has been acknowledged.
    pub(super) fn note_idle(&mut self) {
        self.works = false;
    }

    /// An append has been acknowledged after so long.
    pub(super) fn note_latency(&mut self, latency: Duration) {
        self.usual = (self.usual * 7 + latency) / 8;
    }

    /// How long to wait for records.
    fn time(&self) -> Duration {
        let usual = if self.works { self.usual * FACTOR } else { Duration::ZERO };
        usual.clamp(MIN.min(self.max), self.max)
    }

    /// Whether more records are likely to come before long.
    pub(super) fn expects_records(&self, now: Instant) -> bool {
        self.appended.is_some_and(|at| now.since(at) < self.time())
    }

    /// When the first of them has waited long enough.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.waiting.first().map(|patient| patient.since + self.time())
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
}

impl Sequencer {
    pub(super) fn wait_for_records(&mut self, from: PeerId, request: u64, to: Offset, now: Instant) {
        assert!(self.patience.expects_records(now), "who is not appended to places no-ops at once");
        self.patience.waiting.push(Patient { from, request, to, since: now });
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
            self.replies.push_back((from, Message::Filled { request, loglet, placed: 0, known_tail }));
        }
        let patience = self.patience.time();
        waiting.retain(|patient| {
            let waits = now < patient.since + patience || !self.has_room();
            if !waits {
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

    /// While it has something to do.
    fn patience(rig: &Rig) -> Duration {
        Patience { works: true, ..rig.core.patience.clone() }.time()
    }

    /// A sequencer whose appends take half a millisecond.
    fn rig() -> Rig {
        let mut rig = Rig::new(1);
        for request in 0..50 {
            rig.append(request, 1);
            rig.pass_time(Duration::from_micros(500));
            rig.stored(0, request + 1);
        }
        rig.replies();
        rig
    }

    #[test]
    fn patience_is_what_some_appends_take() {
        let rig = rig();
        assert!((1_900..=2_000).contains(&patience(&rig).as_micros()), "{:?}", patience(&rig));
        assert_eq!(patience(&Rig::new(1)), MIN);
    }

    #[test]
    fn records_that_come_in_time_are_as_good_as_no_ops() {
        let mut rig = rig();
        rig.append(1, 2);
        rig.fill(2, 54);
        assert_eq!(rig.core.status().tail(), Offset(52), "more records may come");
        rig.append(3, 2);
        rig.stored(0, 52);
        assert_eq!(rig.replies(), [appended(1, 50, 2, 52)]);
        rig.stored(0, 54);
        assert_eq!(rig.replies(), [appended(3, 52, 2, 54), filled(2, 0, 54)]);
        assert_eq!(rig.core.status().given().no_ops, 0);
        assert_eq!(rig.core.patience.ends(), None);
    }

    #[test]
    fn where_nobody_has_appended_for_a_while_nothing_is_waited_for() {
        let mut rig = rig();
        rig.pass_time(patience(&rig));
        rig.fill(2, 54);
        assert_eq!(rig.core.status().tail(), Offset(54));
        rig.stored(0, 54);
        assert_eq!(rig.replies(), [filled(2, 4, 54)]);
    }

    #[test]
    fn who_has_waited_long_enough_gets_no_ops() {
        let mut rig = rig();
        rig.append(1, 2);
        rig.fill(2, 57);
        rig.append(3, 1);
        assert_eq!(rig.core.poll_timeout().map(|(at, _)| at), Some(rig.now + patience(&rig)));
        rig.pass_time(patience(&rig));
        assert_eq!(rig.core.status().tail(), Offset(57));
        rig.stored(0, 57);
        assert_eq!(rig.replies(), [appended(1, 50, 2, 57), appended(3, 52, 1, 57), filled(2, 4, 57)]);
    }

    /// Those who could append may all wait for it.
    #[test]
    fn who_has_nothing_else_to_do_is_not_patient() {
        let mut rig = rig();
        rig.append(1, 2);
        rig.fill(2, 54);
        rig.stored(0, 52);
        assert_eq!(rig.replies(), [appended(1, 50, 2, 52)]);
        assert_eq!(rig.core.status().given().no_ops, 0, "some may be on their way");
        assert_eq!(rig.core.poll_timeout().map(|(at, _)| at), Some(rig.now + MIN));
        rig.pass_time(MIN);
        assert_eq!(rig.core.status().tail(), Offset(54));
        rig.fill(3, 55);
        assert_eq!(rig.core.status().tail(), Offset(55), "nor is who has waited long enough already");
    }

    /// P11: no-ops take room as well; nothing is due before there is some.
    #[test]
    fn without_room_patience_lasts_until_there_is_some() {
        let mut rig = rig();
        rig.append(1, 1);
        rig.fill(2, 60);
        let mut appended = 51;
        while rig.core.has_room() {
            appended += 1;
            rig.append_bytes(appended, &[0; 4000]);
        }
        let to = rig.core.status().tail() + 9;
        rig.core.patience.waiting[0].to = to;
        rig.pass_time(2 * patience(&rig));
        let due = rig.core.poll_timeout().map(|(at, _)| at);
        assert!(due.is_some_and(|at| at > rig.now), "{due:?}");
        let tail = rig.core.status().tail();
        rig.stored(0, tail.0);
        rig.pass_time(2 * patience(&rig));
        assert_eq!(rig.core.status().tail(), to);
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
