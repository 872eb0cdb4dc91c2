use std::time::Duration;

use super::machine::{Lost, Sequencer, State};
use super::seal::{SEAL_REQUEST, Seal};
use crate::base::{Instant, Offset};
use crate::wire::Message;

/// Request number of every `Create`; its answer needs no pairing.
const CREATE_REQUEST: u64 = 1;

/// What the sequencer knows of one LogServer. Cursors are numbers of queue entries: `done <= next`, and
/// `queue.begin <= done`, since nothing is dropped that somebody is still to get, except by [`Server::jump`].
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Server {
    connected: bool,
    /// Largest tail that it has answered while open. Never sinks: a success stays one.
    pub(super) acked: Offset,
    /// The first entry that it may still lack.
    pub(super) done: u64,
    /// The next entry to send.
    next: u64,
    create_owed: bool,
    /// A known tail is to go before the next store: it will never get something that it lacks (P11 c).
    drop_owed: bool,
    /// A known tail is to go once no store is queued: the connection is new (L3).
    greeting_owed: bool,
    /// The largest known tail sent on this connection.
    told: Offset,
    /// Somebody waits there for the known tail to move.
    followed: bool,
    /// When the known tail goes by itself, unless a store has taken it along by then.
    announce_at: Option<Instant>,
    /// It goes by itself now.
    announce_due: bool,
    /// The tail of the last `Behind`, until an answer moves beyond it.
    behind: Option<Offset>,
    /// When to send again from `done`, unless nothing is missing by then.
    again: Option<Instant>,
    /// Nothing is sent before.
    paused: Option<Instant>,
    /// It has no space for records, and has not said since from where on to send again.
    pub(super) no_space: bool,
    pub(super) seal: Seal,
}

impl Server {
    /// Everything before entry `begin` has been dropped.
    pub(super) fn jump(&mut self, begin: u64) {
        if self.done < begin {
            self.done = begin;
            self.next = self.next.max(begin);
            self.drop_owed = true;
        }
    }

    /// The known tail has moved: whoever waits for it is told at once, others with the next store, or by themselves if none comes (L3).
    /// While appends follow one another, a frame and a wake-up are spared for each of them.
    pub(super) fn owe_known_tail(&mut self, now: Instant, delay: Duration) {
        if self.followed || delay.is_zero() {
            self.announce_due = true;
        } else if self.connected {
            self.announce_at.get_or_insert(now + delay);
        }
    }

    /// The known tail is on its way.
    fn tell(&mut self, known_tail: Offset) {
        self.told = known_tail;
        self.announce_at = None;
        self.announce_due = false;
    }

    pub(super) fn owe_create(&mut self) {
        self.create_owed = true;
    }

    pub(super) fn timeout(&self) -> Option<(Instant, &'static str)> {
        let paused = self.paused.map(|at| (at, "sequencer: a LogServer could not take stores"));
        let again = self.again.map(|at| (at, "sequencer: a LogServer asked for stores again"));
        let announce = self.announce_at.map(|at| (at, "sequencer: a known tail goes by itself"));
        paused.into_iter().chain(again).chain(announce).min_by_key(|(at, _)| *at)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(super) fn connected(&self) -> bool {
        self.connected
    }

    /// It cannot take anything before it says `Behind`: what was sent was not taken, and what is asked for again is that answer.
    pub(super) fn lose_space(&mut self) {
        self.no_space = true;
        self.behind = None;
        self.again = None;
    }
}

impl Sequencer {
    /// The connection to LogServer `server` is up: it gets the configuration, then everything it has not answered, then the
    /// known tail.
    pub fn handle_connected(&mut self, server: usize, _now: Instant) {
        let begin = self.queue.begin();
        let state = &mut self.servers[server];
        state.connected = true;
        state.create_owed = true;
        state.greeting_owed = true;
        state.tell(Offset::ZERO);
        state.followed = false;
        state.behind = None;
        state.again = None;
        state.paused = None;
        state.no_space = false;
        state.next = state.done;
        state.seal.lost();
        assert!(begin <= state.done, "cursors jump when entries are dropped");
        // What was dropped before may have been announced on the old connection only.
        state.drop_owed |= self.queue.dropped_end() > state.acked;
    }

    /// The connection to LogServer `server` is down.
    pub fn handle_disconnected(&mut self, server: usize, _now: Instant) {
        let state = &mut self.servers[server];
        state.connected = false;
        state.announce_at = None;
        state.no_space = false;
        state.paused = None;
        state.again = None;
        state.seal.lost();
    }

    /// The next message for LogServer `server`; for a store with the body checksum as it came from the client. `None` when
    /// nothing may be sent now.
    pub fn poll_send(&mut self, server: usize) -> Option<(Message<'_>, Option<u32>)> {
        let loglet = self.loglet();
        let state = &mut self.servers[server];
        if !state.connected || state.paused.is_some() {
            return None;
        }
        if self.state != State::Running {
            // No `Create` first: a seal for an unknown loglet creates it sealed (P5).
            return state.seal.ask().then_some((Message::Seal { request: SEAL_REQUEST, loglet }, None));
        }
        if std::mem::take(&mut state.create_owed) {
            return Some((Message::Create { request: CREATE_REQUEST, config: self.config.clone() }, None));
        }
        let known_tail = self.watermark;
        let Some(entry) = self.queue.get(state.next).filter(|_| !state.drop_owed && !state.no_space) else {
            let moved = state.announce_due && state.told < known_tail;
            let owed = state.drop_owed || state.greeting_owed || moved;
            // The greeting goes after the stores; the debt for a dropped range before them.
            state.greeting_owed &= state.drop_owed && state.next < self.queue.end();
            state.drop_owed = false;
            if !owed {
                return None;
            }
            state.tell(known_tail);
            return Some((Message::KnownTail { loglet, known_tail }, None));
        };
        let in_flight = self.queue.weight_between(state.done, state.next);
        let weight = self.queue.weight_between(state.next, state.next + 1);
        if in_flight > 0 && in_flight + weight > self.store_window_bytes {
            return None;
        }
        state.next += 1;
        state.tell(known_tail);
        let store = Message::Store { loglet, first: entry.first, known_tail, batch: self.queue.batch(entry) };
        Some((store, Some(entry.body_checksum)))
    }

    /// LogServer `server` has everything below `tail`, durably, and was open; somebody waits there for the known tail if it is `followed`.
    pub(super) fn handle_stored(&mut self, server: usize, tail: Offset, followed: bool, now: Instant) {
        if tail > self.tail {
            self.lose(Lost::Contradicted { server, at: self.tail });
        }
        if self.state != State::Running {
            return;
        }
        let done = self.queue.index_of(tail);
        let state = &mut self.servers[server];
        state.acked = state.acked.max(tail);
        state.followed = followed;
        state.done = state.done.max(done);
        state.next = state.next.max(state.done);
        if state.behind.is_some_and(|behind| behind < tail) {
            state.behind = None;
        }
        self.advance(server, now);
    }

    /// LogServer `server` has dropped early arrivals, or lost what it had not made durable: send again from `tail` on.
    pub(super) fn handle_behind(&mut self, server: usize, tail: Offset, now: Instant) {
        if tail > self.tail {
            self.lose(Lost::Contradicted { server, at: self.tail });
        }
        if self.state != State::Running {
            return;
        }
        self.handle_space(server, now);
        let (from, retry) = (self.queue.index_of(tail), self.retry);
        let dropped = self.queue.dropped_end() > tail;
        let state = &mut self.servers[server];
        // Every store that was on its way has the same answer: one resend for all of them, and another one later in case it
        // arrived too early as well (L6).
        if state.behind == Some(tail) {
            state.again.get_or_insert(now + retry);
            return;
        }
        state.behind = Some(tail);
        state.again = Some(now + retry);
        state.done = from;
        state.next = from;
        state.drop_owed |= dropped;
    }

    /// LogServer `server` cannot take anything now; everything unanswered is sent again after a while.
    pub(super) fn pause(&mut self, server: usize, now: Instant) {
        let retry = self.retry;
        let state = &mut self.servers[server];
        if state.connected {
            state.paused.get_or_insert(now + retry);
        }
    }

    pub(super) fn handle_server_timeout(&mut self, server: usize, now: Instant) {
        let state = &mut self.servers[server];
        let paused = state.paused.take_if(|at| *at <= now).is_some();
        let again = state.again.take_if(|at| *at <= now).is_some();
        state.announce_due |= state.announce_at.take_if(|at| *at <= now).is_some();
        if paused {
            state.seal.lost();
        }
        if (paused || again) && state.done < state.next {
            state.next = state.done;
            // Until it has answered what it is sent now, there may have to be yet another time.
            state.again = Some(now + self.retry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_new_connection_gets_create_then_stores_then_the_known_tail() {
        let mut rig = Rig::new(3);
        rig.append(1, 2);
        rig.append(2, 1);
        rig.stored(0, 2);
        rig.stored(1, 2);
        rig.core.handle_disconnected(2, rig.now);
        assert_eq!(rig.drain_raw(2), [], "nothing is sent without a connection");
        rig.core.handle_connected(2, rig.now);
        let stores =
            [(0, 2), (2, 1)].map(|(first, count)| Sent::Store { first: Offset(first), count, known: Offset(2) });
        assert_eq!(rig.drain_raw(2), [vec![Sent::Create], stores.to_vec(), vec![Sent::KnownTail(Offset(2))]].concat());
    }

    /// L3: an idle sequencer announces a watermark that has moved, and on every connection.
    #[test]
    fn an_idle_sequencer_announces_its_known_tail() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        (0..3).for_each(|server| drop(rig.drain(server)));
        rig.stored(0, 1);
        rig.stored(1, 1);
        for server in 0..3 {
            assert_eq!(rig.drain(server), [Sent::KnownTail(Offset(1))]);
            assert_eq!(rig.drain(server), [], "once");
        }
        rig.core.handle_connected(2, rig.now);
        assert_eq!(*rig.drain(2).last().unwrap(), Sent::KnownTail(Offset(1)));
    }

    /// L3, and no frame and wake-up more for each of appends that follow one another.
    #[test]
    fn a_known_tail_waits_a_moment_for_a_store_unless_somebody_waits_for_it() {
        let mut rig = Rig::new(3);
        let delay = Duration::from_micros(300);
        rig.core.known_tail_delay = delay;
        rig.append(1, 1);
        (0..3).for_each(|server| drop(rig.drain(server)));
        rig.stored(0, 1);
        rig.handle(1, Message::Stored { loglet: LOGLET, tail: Offset(1), followed: true });
        assert_eq!(rig.drain(0), []);
        assert_eq!(rig.drain(1), [Sent::KnownTail(Offset(1))], "a reader waits there");
        rig.append(2, 1);
        assert_eq!(rig.drain(0), [Sent::Store { first: Offset(1), count: 1, known: Offset(1) }], "it is taken along");
        rig.pass_time(delay);
        assert_eq!(rig.drain(0), []);
        (1..3).for_each(|server| drop(rig.drain(server)));
        (0..2).for_each(|server| rig.stored(server, 2));
        rig.pass_time(delay - Duration::from_nanos(1));
        (0..3).for_each(|server| assert_eq!(rig.drain(server), []));
        rig.pass_time(Duration::from_nanos(1));
        (0..3).for_each(|server| assert_eq!(rig.drain(server), [Sent::KnownTail(Offset(2))]));
        assert_eq!(rig.core.poll_timeout(), None, "nothing is left to be told");
    }

    /// P11: the frame says what is known when it is sent, not when it was queued.
    #[test]
    fn the_known_tail_is_stamped_when_sent() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        rig.append(2, 1);
        rig.stored(0, 1);
        rig.stored(1, 1);
        let Sent::Store { known, .. } = rig.drain(2)[0] else { panic!() };
        assert_eq!(known, Offset(1));
    }

    #[test]
    fn the_body_checksum_travels_unchanged() {
        let mut rig = Rig::new(1);
        rig.drain(0);
        rig.append(1, 1);
        let checksum = rig.core.poll_send(0).and_then(|(_, checksum)| checksum);
        assert_eq!(checksum, Some(CHECKSUM));
    }

    #[test]
    fn unanswered_bytes_are_bounded_for_each_server() {
        let mut rig = Rig::new(1);
        (1..=12).for_each(|request| rig.append_bytes(request, &[0; 4000]));
        let sent = rig.drain(0).len() as u64;
        assert!((2..12).contains(&sent), "{sent}");
        rig.stored(0, 1);
        assert!(matches!(rig.drain(0)[..], [Sent::Store { first, .. }] if first == Offset(sent)));
    }

    #[test]
    fn behind_resends_once_however_often_it_is_said() {
        let mut rig = Rig::new(1);
        (1..=3).for_each(|request| rig.append(request, 1));
        rig.drain(0);
        let behind = Message::Behind { request: 0, loglet: LOGLET, tail: Offset(1), known_tail: Offset(0) };
        rig.handle(0, behind.clone());
        rig.handle(0, behind.clone());
        let firsts = |sent: Vec<Sent>| -> Vec<u64> {
            sent.iter()
                .filter_map(|sent| if let Sent::Store { first, .. } = sent { Some(first.0) } else { None })
                .collect()
        };
        assert_eq!(firsts(rig.drain(0)), [1, 2]);
        rig.handle(0, behind);
        assert_eq!(firsts(rig.drain(0)), [] as [u64; 0]);
        rig.pass_time(rig.core.retry);
        assert_eq!(firsts(rig.drain(0)), [1, 2], "and again later, in case those came too early as well");
    }

    /// The connection was full while the time for the second resend passed.
    #[test]
    fn behind_said_again_after_a_slow_resend_is_heard() {
        let mut rig = Rig::new(1);
        rig.append(1, 1);
        rig.drain(0);
        let behind = Message::Behind { request: 0, loglet: LOGLET, tail: Offset(0), known_tail: Offset(0) };
        rig.handle(0, behind.clone());
        rig.pass_time(rig.core.retry);
        assert_eq!(rig.drain(0).len(), 1);
        rig.handle(0, behind);
        rig.pass_time(rig.core.retry);
        assert_eq!(rig.drain(0).len(), 1);
    }

    /// Resending is idempotent: what comes back twice counts once, and an old answer takes nothing back.
    #[test]
    fn repeated_and_old_answers_change_nothing() {
        let mut rig = Rig::new(3);
        (1..=2).for_each(|request| rig.append(request, 1));
        (0..3).for_each(|server| rig.core.handle_connected(server, rig.now));
        rig.stored(0, 2);
        rig.stored(0, 2);
        assert_eq!(rig.replies(), []);
        rig.stored(1, 2);
        rig.stored(1, 1);
        rig.stored(0, 0);
        assert_eq!(rig.core.known_tail(), Offset(2));
        assert_eq!(rig.replies().len(), 2);
    }

    #[test]
    fn a_server_that_cannot_now_is_tried_again_later() {
        let mut rig = Rig::new(1);
        rig.append(1, 1);
        rig.drain(0);
        rig.handle(0, Message::Unavailable { request: 0, loglet: LOGLET, reason: "full" });
        assert_eq!(rig.drain(0), []);
        rig.pass_time(rig.core.retry);
        assert!(matches!(rig.drain(0)[..], [Sent::Store { .. }]));
    }

    #[test]
    fn a_server_that_forgot_the_loglet_is_told_its_configuration_again() {
        let mut rig = Rig::new(1);
        rig.append(1, 1);
        rig.drain(0);
        rig.handle(0, Message::Reject { request: 0, code: crate::wire::RejectCode::UnknownLoglet, detail: "" });
        rig.pass_time(rig.core.retry);
        assert!(matches!(rig.drain_raw(0)[..], [Sent::Create, Sent::Store { .. }, ..]));
    }

    /// P4: an answer beyond what was given out comes from another sequencer's records.
    #[test]
    fn a_tail_that_was_never_given_out_ends_the_sequencer() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        rig.stored(1, 9);
        assert_eq!(rig.core.state(), State::Lost(Lost::Contradicted { server: 1, at: Offset(1) }));
        assert_eq!(rig.replies(), [Message::SequencerLost { request: 1, loglet: LOGLET }]);
    }
}
