use super::link::Shared;
use super::repair::Repair;
use super::round::Round;
use super::step::{Context, Step};
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, Offset};
use crate::proto::loglet::LogletResult;
use crate::wire::Message;

/// The checkTail table (section 3).
///
/// An `(X, open)` needs X first, and then from each LogServer of a majority one answer that says both "open" and "at least X".
/// Asking for the seal apart from the tail is the published erratum: the seal is never checked before the tail.
#[derive(Clone, Hash, Debug)]
pub(super) struct CheckTail {
    round: Round,
    /// The largest tail that each LogServer has told while open.
    open: Vec<Option<Offset>>,
    /// The largest tail that each LogServer has told while sealed.
    sealed: Vec<Option<Offset>>,
    /// X of the row "none sealed", and when it was found.
    wait: Option<(Offset, Instant)>,
    /// Which LogServers have said that they cannot reach X for want of space.
    no_space: Vec<bool>,
    /// The questions for at least X.
    awaiting: Round,
    /// The smallest maximum of a majority of sealed answers: each of them covers all that was acknowledged, and the smallest has least to be
    /// repaired, or nothing, where only one LogServer has a record and cannot read it. It never grows, as a sealed tail may for ever.
    target: Option<Offset>,
    repair: Repair,
}

impl CheckTail {
    /// Begins with the sealed answers of LogServers that are connected: whom a seal has told its tail is not asked again (L2).
    pub(super) fn new(shared: &Shared) -> Self {
        let servers = shared.servers();
        let mut check_tail = Self {
            round: Round::new(servers),
            open: vec![None; servers],
            sealed: vec![None; servers],
            wait: None,
            no_space: vec![false; servers],
            awaiting: Round::new(servers),
            target: None,
            repair: Repair::new(servers),
        };
        // One that has gone may have been the only one to hold a record at its tail, which then could not be copied.
        for (server, tail) in shared.sealer.tails().filter(|(server, _)| shared.links[*server].ready()) {
            check_tail.round.settle(server);
            check_tail.sealed(server, tail);
        }
        check_tail
    }

    /// The rows "all sealed": at least a majority at the maximum, by repair where they differ.
    fn drive_sealed(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        let quorum = context.shared.quorum();
        if self.sealed.iter().flatten().count() < quorum {
            return None;
        }
        let mut tails: Vec<Offset> = self.sealed.iter().flatten().copied().collect();
        tails.sort_unstable();
        let lowest = tails[quorum - 1];
        let target = self.target.map_or(lowest, |target| target.min(lowest));
        self.target = Some(target);
        let at_target = |sealed: &[Option<Offset>]| sealed.iter().flatten().filter(|tail| **tail >= target).count();
        if at_target(&self.sealed) < quorum && !mutants::is(Mutant::NoRepair) {
            self.repair.drive(context, &self.sealed, target);
            return None;
        }
        // P1: this tail raises no known tail, here or anywhere.
        Some(LogletResult::Tail { tail: target, sealed: true })
    }

    /// The largest tail that a majority has told while open, if that is an answer without waiting: X will not be reached, for
    /// somebody has no space for what is in flight. Whatever was acknowledged before the question is on a majority, each of which
    /// has told a tail above it; so once all have answered, as many have told at least this.
    fn without_space(&self, quorum: usize) -> Option<Offset> {
        if !self.no_space.contains(&true) {
            return None;
        }
        let mut tails: Vec<Offset> = self.open.iter().copied().collect::<Option<_>>()?;
        tails.sort_unstable_by(|a, b| b.cmp(a));
        Some(tails[quorum - 1])
    }

    /// The row "none sealed".
    fn drive_open(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        let quorum = context.shared.quorum();
        if self.open.iter().flatten().count() < quorum {
            return None;
        }
        let largest = self.open.iter().flatten().max().expect("a majority answered");
        let (target, since) = *self.wait.get_or_insert((*largest, context.now));
        let known = mutants::is(Mutant::WaitForKnownTail) && context.shared.known_tail >= target;
        if known || self.open.iter().flatten().filter(|tail| **tail >= target).count() >= quorum {
            context.shared.learn(target);
            return Some(LogletResult::Tail { tail: target, sealed: false });
        }
        if let Some(target) = self.without_space(quorum) {
            context.shared.learn(target);
            return Some(LogletResult::Tail { tail: target, sealed: false });
        }
        if context.now.since(since) >= context.shared.limits.stall {
            // L4: the sequencer is not going to complete this.
            context.shared.sealer.want();
            return None;
        }
        let (loglet, open) = (context.shared.loglet(), &self.open);
        self.awaiting.ask(
            context.shared,
            context.key,
            |server| open[server].is_some_and(|tail| tail < target),
            |request| Message::AwaitTail { request, loglet, at_least: target },
        );
        None
    }
}

impl Step for CheckTail {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        if context.shared.gone {
            return Some(LogletResult::Gone);
        }
        let (loglet, known_tail) = (context.shared.loglet(), context.shared.known_tail);
        self.round.ask(
            context.shared,
            context.key,
            |_| true,
            |request| Message::CheckTail { request, loglet, known_tail },
        );
        let waits = mutants::is(Mutant::WaitForKnownTail) && self.wait.is_some();
        if self.sealed.iter().any(Option::is_some) && !waits {
            // The mixed row: what is still open is sealed, and those answers are the ones that count (L2).
            context.shared.sealer.want();
            return self.drive_sealed(context);
        }
        self.drive_open(context)
    }

    fn answer(&mut self, context: &mut Context<'_>, link: usize, request: u64, message: &Message<'_>) {
        match *message {
            Message::Tail { tail, .. } => {
                self.round.settle(link);
                self.open[link] = self.open[link].max(Some(tail));
                if self.wait.is_some_and(|(target, _)| tail >= target) {
                    self.awaiting.settle(link);
                }
            }
            Message::Sealed { tail, .. } => {
                self.round.settle(link);
                self.repair.answer(context, &mut self.sealed, link, request, message);
                self.sealed(link, tail);
            }
            _ => self.repair.answer(context, &mut self.sealed, link, request, message),
        }
    }

    fn lost(&mut self, link: usize) {
        self.round.lost(link);
        self.awaiting.lost(link);
        self.repair.lost(link);
    }

    fn no_space(&mut self, server: usize) {
        self.no_space[server] = true;
    }

    fn sealed(&mut self, server: usize, tail: Offset) {
        if mutants::is(Mutant::SealCheckBeforeTail) && self.open[server].is_some() {
            self.open[server] = self.open[server].max(Some(tail));
            return;
        }
        self.sealed[server] = self.sealed[server].max(Some(tail));
    }

    fn timeout(&self, shared: &Shared) -> Option<(Instant, &'static str)> {
        // Once given up, the seal goes its way without a deadline of its own.
        let (_, since) = self.wait.filter(|_| !shared.sealer.is_wanted())?;
        Some((since + shared.limits.stall, "loglet: a checkTail waits for the sequencer"))
    }

    fn missing(&self, shared: &Shared) -> String {
        let sealed = self.sealed.iter().flatten().count();
        match (self.target, self.wait) {
            (Some(target), _) => {
                format!("repair to {target} is not done: {}", self.repair.missing(shared, &self.sealed))
            }
            (None, Some((target, _))) if sealed == 0 => format!("no majority has reached {target}"),
            _ => format!("no tail: {}; {sealed} are sealed", self.round.missing(shared)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::base::Limits;
    use crate::proto::loglet::{LogletOp, OpId};

    fn tail(tail: u64, sealed: bool) -> LogletResult {
        LogletResult::Tail { tail: Offset(tail), sealed }
    }

    #[test]
    fn row_1_all_sealed_with_equal_tails() {
        let mut rig = Rig::new(vec![Server::with(0..3).sealed(); 3]);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [tail(3, true)]);
        assert!((0..3).all(|server| rig.count(server, "Repair") == 0));
    }

    #[test]
    fn row_2_all_sealed_with_different_tails_are_repaired() {
        let servers = [9, 2, 0].map(|end| Server::with(0..end).sealed());
        let mut rig = Rig::new(servers.to_vec());
        rig.disconnect(2);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [tail(9, true)]);
        assert_eq!(rig.servers[1].stored, rig.servers[0].stored);
    }

    /// What one LogServer has beyond the others was acknowledged by nobody, and may be what it cannot read any more.
    #[test]
    fn row_2_the_lowest_majority_needs_no_repair() {
        let mut rig = Rig::new([9, 2, 4].map(|end| Server::with(0..end).sealed()).to_vec());
        assert_eq!(rig.run_op(LogletOp::CheckTail), [tail(4, true)]);
        assert!((0..3).all(|server| rig.count(server, "Repair") == 0));
    }

    /// A majority that turns out to be lower is as good, also when a repair to the higher one has begun.
    #[test]
    fn row_2_a_record_that_cannot_be_copied_is_done_without() {
        let mut unreadable = Server::with(0..9).sealed();
        unreadable.stored.remove(&5);
        let mut rig = Rig::new(vec![unreadable, Server::with(0..5).sealed(), Server::with(0..3).sealed()]);
        rig.disconnect(2);
        assert_eq!(rig.run_op(LogletOp::CheckTail), []);
        rig.connect(2);
        rig.run();
        assert_eq!(rig.results(), [tail(5, true)]);
    }

    #[test]
    fn row_3_mixed_completes_the_seal() {
        let mut rig = Rig::new(vec![Server::with(0..2).sealed(), Server::with(0..2), Server::with(0..1)]);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [tail(2, true)]);
        assert!(rig.servers.iter().all(|server| server.sealed), "all of them, not only a majority (L1)");
    }

    /// L2: the answers to the seal are the answers; nobody is asked for a tail twice.
    #[test]
    fn row_3_asks_for_no_tail_a_second_time() {
        let mut rig = Rig::new(vec![Server::with(0..2).sealed(), Server::with(0..2), Server::with(0..2)]);
        rig.run_op(LogletOp::CheckTail);
        assert!((0..3).all(|server| rig.count(server, "CheckTail") == 1));
    }

    /// L2: what the seal has heard is the answer.
    #[test]
    fn who_has_told_a_tail_when_sealed_is_not_asked_for_it() {
        let mut rig = Rig::new(vec![Server::with(0..4), Server::with(0..4), Server::with(0..2)]);
        rig.run_op(LogletOp::Seal);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [tail(4, true)]);
        assert!((0..3).all(|server| rig.count(server, "CheckTail") == 0));
    }

    /// What a LogServer that has gone had told is no answer: it is asked again when it is back.
    #[test]
    fn the_sealed_tail_of_who_has_gone_does_not_count() {
        let mut rig = Rig::new(vec![Server::with(0..5), Server::with(0..4), Server::with(0..3)]);
        rig.disconnect(2);
        rig.run_op(LogletOp::Seal);
        rig.disconnect(0);
        assert_eq!(rig.run_op(LogletOp::CheckTail), []);
        rig.connect(0);
        rig.run();
        assert_eq!(rig.results(), [tail(5, true)]);
        assert_eq!((rig.count(0, "CheckTail"), rig.count(1, "CheckTail")), (1, 0));
    }

    #[test]
    fn row_4_none_sealed_and_a_majority_at_the_maximum() {
        let mut rig = Rig::new(vec![Server::with(0..5), Server::with(0..5), Server::with(0..1)]);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [tail(5, false)]);
        assert_eq!(rig.core.known_tail(), Offset(5), "an open tail is a known one (P1 b)");
    }

    #[test]
    fn row_4_waits_until_a_majority_has_the_maximum() {
        let mut rig = Rig::new(vec![Server::with(0..5), Server::with(0..4), Server::with(0..4)]);
        assert_eq!(rig.run_op(LogletOp::CheckTail), []);
        rig.servers[2] = Server { stored: Server::with(0..5).stored, ..rig.servers[2].clone() };
        rig.run();
        assert_eq!(rig.results(), [tail(5, false)]);
    }

    /// A seal that is met while waiting turns the wait into the mixed row.
    #[test]
    fn row_4_a_seal_seen_while_waiting_goes_on_as_sealed() {
        let mut rig = Rig::new(vec![Server::with(0..5), Server::with(0..4), Server::with(0..4)]);
        assert_eq!(rig.run_op(LogletOp::CheckTail), []);
        rig.servers[1].sealed = true;
        rig.run();
        // The maximum of the majority that has answered the seal: record 4 was on one server only.
        assert_eq!(rig.results(), [tail(4, true)]);
    }

    /// L4: nobody waits for a dead sequencer.
    #[test]
    fn row_4_a_wait_of_the_limit_seals() {
        let mut rig = Rig::new(vec![Server::with(0..5), Server::with(0..4), Server::with(0..4)]);
        assert_eq!(rig.run_op(LogletOp::CheckTail), []);
        rig.pass_time(Limits::default().stall - std::time::Duration::from_nanos(1));
        assert_eq!(rig.results(), []);
        rig.pass_time(std::time::Duration::from_nanos(1));
        assert_eq!(rig.results(), [tail(4, true)]);
        assert!(rig.servers.iter().all(|server| server.sealed));
    }

    fn without_space() -> Rig {
        let full = |end| Server { no_space: true, ..Server::with(0..end) };
        Rig::new(vec![Server::with(0..5), full(4), full(3)])
    }

    /// What is in flight is stuck for want of space. Sealing would end a log that a trim can bring back.
    #[test]
    fn row_4_without_space_returns_what_a_majority_has_once_all_have_answered() {
        let mut rig = without_space();
        assert_eq!(rig.run_op(LogletOp::CheckTail), [tail(4, false)]);
        assert_eq!(rig.core.known_tail(), Offset(4));
        rig.pass_time(10 * Limits::default().stall);
        assert!(rig.servers.iter().all(|server| !server.sealed));
    }

    /// A server that does not answer may hold what was acknowledged: then the row is as without it.
    #[test]
    fn row_4_without_space_and_with_an_answer_missing_seals() {
        let mut rig = without_space();
        rig.disconnect(2);
        assert_eq!(rig.run_op(LogletOp::CheckTail), []);
        rig.pass_time(Limits::default().stall);
        assert_eq!(rig.results(), [tail(5, true)]);
        assert!(rig.count(1, "AwaitTail") > 1, "it is asked again, for it may have space by then");
    }

    #[test]
    fn row_4_space_that_comes_back_in_time_completes_the_wait() {
        let mut rig = without_space();
        rig.disconnect(2);
        assert_eq!(rig.run_op(LogletOp::CheckTail), []);
        rig.servers[1] = Server::with(0..5);
        rig.pass_time(Limits::default().stall / 2);
        assert_eq!(rig.results(), [tail(5, false)]);
    }

    /// The erratum: two servers were open when they told their tails, the maximum was told by one of them only, and the seal
    /// came between. A tail of which a majority has not been heard *with* an open answer must not be open.
    #[test]
    fn an_open_answer_below_the_maximum_proves_nothing_about_the_seal() {
        let mut rig = Rig::new(vec![Server::with(0..1), Server::with(0..0), Server::with(0..0)]);
        rig.disconnect(2);
        assert_eq!(rig.run_op(LogletOp::CheckTail), []);
        rig.servers[1].stored = Server::with(0..1).stored;
        rig.servers[1].sealed = true;
        rig.run();
        assert_eq!(rig.results(), [tail(1, true)]);
    }

    /// P1: neither a sealed tail nor a repair raises the known tail, in any frame that follows.
    #[test]
    fn a_sealed_tail_is_never_a_known_tail() {
        let mut rig =
            Rig::new(vec![Server::with(0..7).sealed(), Server::with(0..2).sealed(), Server::with(0..2).sealed()]);
        rig.disconnect(2);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [tail(7, true)]);
        assert_eq!(rig.core.known_tail(), Offset::ZERO);
        rig.run_op(LogletOp::CheckTail);
        assert!(rig.servers.iter().all(|server| server.known == 0));
    }

    /// A known tail that somebody tells obeys P1 and is merged, also from a sealed answer.
    #[test]
    fn a_known_tail_heard_is_merged() {
        let server = Server { known: 2, ..Server::with(0..7) }.sealed();
        let mut rig = Rig::new(vec![server; 3]);
        rig.run_op(LogletOp::CheckTail);
        assert_eq!(rig.core.known_tail(), Offset(2));
    }

    /// L3: the question carries the client's known tail, by which a server with a gap catches up.
    #[test]
    fn the_question_tells_the_known_tail() {
        let mut rig = Rig::new(vec![Server::with(0..10), Server::with(0..10), Server::with(0..3)]);
        rig.run_op(LogletOp::CheckTail);
        rig.disconnect(1);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [tail(10, false)]);
        assert_eq!(rig.servers[2].known, 10);
    }

    /// P5: a deleted loglet has no tail.
    #[test]
    fn gone_is_never_an_empty_open_loglet() {
        let mut rig = Rig::new(vec![Server { gone: true, ..Server::default() }, Server::default(), Server::default()]);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [LogletResult::Gone]);
        assert!(!rig.core.wants(super::super::Target::LogServer(1)));
    }

    #[test]
    fn without_a_majority_the_reason_names_who_is_missing() {
        let mut rig = Rig::new(vec![Server::default(); 3]);
        rig.disconnect(1);
        rig.servers[2].full = true;
        assert_eq!(rig.run_op(LogletOp::CheckTail), []);
        rig.pass_time(Limits::default().operation_timeout);
        let results = rig.results();
        let [LogletResult::Unavailable { reason }] = &results[..] else { panic!("{results:?}") };
        assert!(reason.contains("LogServer 1 at 127.0.0.1:4100 is not connected"), "{reason}");
        assert!(reason.contains("refused: no space is left"), "{reason}");
    }

    #[test]
    fn a_server_that_comes_back_is_asked_again() {
        let mut rig = Rig::new(vec![Server::with(0..2); 3]);
        rig.disconnect(0);
        rig.disconnect(1);
        rig.core.handle_op(OpId(1), LogletOp::CheckTail, rig.now);
        rig.run();
        assert_eq!(rig.results(), []);
        rig.connect(1);
        rig.run();
        assert_eq!(rig.results(), [tail(2, false)]);
    }

    #[test]
    fn an_old_open_answer_does_not_undo_a_sealed_one() {
        let mut rig = Rig::new(vec![Server::with(0..2); 3]);
        rig.start(1, LogletOp::CheckTail);
        let open = rig.fetch(0).unwrap();
        rig.start(2, LogletOp::Seal);
        rig.step(0);
        rig.deliver(0, &open[0]);
        rig.run();
        assert_eq!(rig.results(), [tail(2, true), LogletResult::Sealed]);
    }
}
