use super::machine::{Lost, Sequencer, State};
use super::store::Server;
use crate::base::Instant;
use crate::wire::Message;

impl Sequencer {
    /// Whether appends are refused: fewer LogServers than a majority can take records, and some of the others cannot for want of
    /// space. One without space, like one that is slow, is nothing that an append would notice.
    pub fn lacks_space(&self) -> bool {
        let able = |server: &&Server| server.connected() && !server.no_space;
        self.state == State::Running
            && self.servers.iter().any(|server| server.no_space)
            && self.servers.iter().filter(able).count() < self.config.quorum()
    }

    /// LogServer `server` has no space for records. It will say `Behind` when it has.
    pub(super) fn handle_no_space(&mut self, server: usize) {
        if self.state == State::Running {
            self.servers[server].lose_space();
        }
    }

    /// LogServer `server` takes records again. What waits for it has the usual time from now on.
    pub(super) fn handle_space(&mut self, server: usize, now: Instant) {
        if std::mem::take(&mut self.servers[server].no_space) {
            self.progress = now;
        }
    }

    /// Answers the appends that have waited for space for too long. Their records keep their offsets and their place in the queue,
    /// for the range must be stored (P11): they become part of the log when there is space, or never, if it is sealed before.
    pub(super) fn abandon(&mut self) {
        assert_eq!(self.state, State::Running, "whoever has given up has answered everything");
        let loglet = self.loglet();
        for append in std::mem::take(&mut self.outstanding) {
            let answer = |request, first, count| Message::AppendNoSpace { request, loglet, first, count };
            self.replies.extend(append.answer(answer));
        }
        self.refuse_fills();
    }

    /// Ends a sequencer whose records nobody waits for and nobody can store, so that its memory serves others.
    pub(super) fn give_up_space(&mut self) {
        if self.lacks_space() && !self.is_waited_for() && self.watermark < self.end {
            self.lose(Lost::NoSpace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::base::Offset;

    fn no_space() -> Message<'static> {
        Message::NoSpace { request: 0, loglet: LOGLET }
    }

    fn behind(tail: u64) -> Message<'static> {
        Message::Behind { request: 0, loglet: LOGLET, tail: Offset(tail), known_tail: Offset(0) }
    }

    fn refused(request: u64, first: u64, count: u32) -> Message<'static> {
        Message::AppendNoSpace { request, loglet: LOGLET, first: Offset(first), count }
    }

    fn store(first: u64, count: u32, known: u64) -> Sent {
        Sent::Store { first: Offset(first), count, known: Offset(known) }
    }

    #[test]
    fn one_server_without_space_is_left_alone_and_caught_up_later() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        rig.drain(2);
        rig.handle(2, no_space());
        for request in 2..=3 {
            rig.append(request, 1);
            rig.stored(0, request);
            rig.stored(1, request);
        }
        assert_eq!(rig.replies().len(), 3, "appends go on");
        assert_eq!(rig.drain(2), [Sent::KnownTail(Offset(3))], "no stores, but what there is to know");
        rig.pass_time(10 * rig.core.stall);
        assert_eq!(rig.drain(2), [], "and no trying again");
        rig.handle(2, behind(0));
        assert_eq!(rig.drain(2), [store(0, 1, 3), store(1, 1, 3), store(2, 1, 3)]);
        rig.stored(2, 3);
        assert_eq!(rig.core.queue.end() - rig.core.queue.begin(), 0);
    }

    /// Without a majority that has space nothing more is given an offset, and what has one waits for a bounded time.
    #[test]
    fn appends_are_refused_early_and_those_in_flight_are_answered_with_their_offsets() {
        let mut rig = Rig::new(3);
        rig.append(1, 2);
        rig.append(2, 1);
        rig.handle(1, no_space());
        assert!(!rig.core.lacks_space(), "two have space");
        rig.handle(2, no_space());
        assert!(rig.core.lacks_space());
        rig.append(3, 5);
        assert_eq!(rig.replies(), [refused(3, 3, 0)]);
        rig.stored(0, 3);
        rig.pass_time(rig.core.stall);
        assert_eq!(rig.replies(), [refused(1, 0, 2), refused(2, 2, 1)]);
        assert_eq!(rig.core.state(), State::Running);
        assert_eq!(rig.core.poll_timeout(), None, "nobody waits");
        assert_eq!(rig.core.status().tail(), Offset(3), "offsets are not given twice");
    }

    /// P11: the range is stored when that is possible, before anything later, and its appends are not answered a second time.
    #[test]
    fn what_was_given_up_is_stored_first_when_there_is_space() {
        let mut rig = Rig::new(3);
        rig.append(1, 2);
        (0..3).for_each(|server| drop(rig.drain(server)));
        rig.handle(1, no_space());
        rig.handle(2, no_space());
        rig.pass_time(rig.core.stall);
        assert_eq!(rig.replies(), [refused(1, 0, 2)]);
        rig.stored(0, 2);
        rig.handle(1, behind(0));
        assert!(!rig.core.lacks_space());
        rig.append(2, 1);
        assert_eq!(rig.drain(1), [store(0, 2, 0), store(2, 1, 0)]);
        rig.stored(1, 2);
        assert_eq!((rig.core.known_tail(), rig.replies()), (Offset(2), vec![]));
        rig.stored(1, 3);
        rig.stored(0, 3);
        assert_eq!(rig.replies(), [appended(2, 2, 1, 3)]);
        rig.pass_time(10 * rig.core.stall);
        assert_eq!(rig.core.state(), State::Running);
    }

    /// L4 stands for everything else: with space regained there is the usual time, and no more.
    #[test]
    fn space_without_progress_is_a_stall() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        rig.handle(1, no_space());
        rig.handle(2, no_space());
        rig.pass_time(rig.core.stall / 2);
        rig.handle(1, behind(0));
        rig.pass_time(rig.core.stall / 2);
        assert_eq!(rig.core.state(), State::Running);
        rig.pass_time(rig.core.stall / 2);
        assert_eq!(rig.core.state(), State::Lost(Lost::Stalled));
    }

    /// A dead server and a full one make no majority either; the full one is the reason that is told.
    #[test]
    fn a_dead_server_and_a_full_one_refuse_appends_until_one_of_them_is_back() {
        let mut rig = Rig::new(3);
        rig.core.handle_disconnected(2, rig.now);
        rig.append(1, 1);
        rig.handle(1, no_space());
        assert!(rig.core.lacks_space());
        rig.core.handle_connected(2, rig.now);
        assert!(!rig.core.lacks_space());
        rig.stored(0, 1);
        rig.stored(2, 1);
        assert_eq!(rig.replies(), [appended(1, 0, 1, 1)]);
        rig.core.handle_disconnected(1, rig.now);
        rig.core.handle_disconnected(2, rig.now);
        assert!(!rig.core.lacks_space(), "of a server that is gone nothing is known: that is a stall");
    }

    #[test]
    fn a_full_window_does_not_leave_refused_appends_unread() {
        let mut rig = Rig::new(3);
        let mut request = 0;
        while rig.core.has_room() {
            request += 1;
            rig.append_bytes(request, &[0; 4000]);
        }
        (1..3).for_each(|server| rig.handle(server, no_space()));
        assert!(rig.core.has_room());
        rig.append(request + 1, 1);
        assert_eq!(rig.replies(), [refused(request + 1, request, 0)]);
    }

    /// The memory is needed by others, and only what nobody waits for is given up for it. The offsets still stand (P16).
    #[test]
    fn a_sequencer_that_nobody_waits_for_ends_for_want_of_memory() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        (1..3).for_each(|server| rig.handle(server, no_space()));
        rig.core.shed();
        assert_eq!(rig.core.state(), State::Running, "somebody waits");
        rig.pass_time(rig.core.stall);
        assert_eq!(rig.replies(), [refused(1, 0, 1)]);
        rig.core.shed();
        assert_eq!(rig.core.state(), State::Lost(Lost::NoSpace));
        assert_eq!(rig.core.memory_bytes(), 0);
        assert_eq!(rig.drain(1), [Sent::Seal], "also of the servers without space");
    }

    #[test]
    fn a_seal_met_without_space_ends_it_as_ever() {
        let mut rig = Rig::new(3);
        rig.append(1, 1);
        (1..3).for_each(|server| rig.handle(server, no_space()));
        let (tail, zero) = (Offset(0), Offset::ZERO);
        rig.handle(0, Message::Sealed { request: 0, loglet: LOGLET, tail, known_tail: zero, trim_point: zero });
        assert_eq!(rig.core.state(), State::Sealing);
        let sealed = Message::AppendSealed { request: 1, loglet: LOGLET, first: Offset(0), count: 1 };
        assert_eq!(rig.replies(), [sealed]);
        assert_eq!(rig.drain(1), [Sent::Seal]);
        rig.append(2, 1);
        assert!(matches!(rig.replies()[..], [Message::AppendSealed { count: 0, .. }]));
    }
}
