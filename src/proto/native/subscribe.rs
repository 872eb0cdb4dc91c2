use super::choice::Choice;
use super::link::{Connection, Shared};
use super::read::usable;
use super::step::{Context, Step};
use crate::base::{Instant, Offset};
use crate::proto::loglet::{LogletResult, OpId};
use crate::wire::{Batch, Message};

/// A subscription: each offset exactly once, in order, from one LogServer at a time.
#[derive(Clone, Debug)]
pub(super) struct Subscribe {
    /// The next offset to deliver.
    next: Offset,
    limit: Offset,
    /// What the caller has granted and not been given. A server may send more than it was granted by one batch, so it can be
    /// below zero for a while.
    credit: i64,
    choice: Choice,
    active: Option<(usize, u64)>,
    /// When something was last heard or asked.
    progress: Instant,
    /// When, after a silence, the server was first found to owe something. What it owes may be new: another operation has heard
    /// of a larger known tail.
    owed_since: Option<Instant>,
    /// How it ends: a last word, perhaps, and whether the loglet is sealed.
    end: Option<(Option<LogletResult>, bool)>,
}

impl Subscribe {
    pub(super) fn new(shared: &Shared, id: OpId, from: Offset, limit: Offset, credit: u32, now: Instant) -> Self {
        let choice = Choice::new(shared, id, now);
        Self {
            next: from,
            limit,
            credit: i64::from(credit),
            choice,
            active: None,
            progress: now,
            owed_since: None,
            end: None,
        }
    }

    /// More bytes, and perhaps a larger limit.
    pub(super) fn grant(&mut self, context: &mut Context<'_>, limit: Offset, bytes: u32) {
        // What is readable changes: silence counts from here.
        if self.limit < limit {
            self.heard(context.now);
        }
        self.limit = self.limit.max(limit);
        self.credit += i64::from(bytes);
        self.pass_on(context, bytes);
    }

    /// The caller wants no more.
    pub(super) fn end(&mut self) {
        self.end.get_or_insert((None, false));
    }

    fn pass_on(&self, context: &mut Context<'_>, bytes: u32) {
        let (loglet, limit) = (context.shared.loglet(), self.limit);
        if let Some((server, request)) = self.active {
            context.shared.tell(server, Message::Credit { request, loglet, limit, bytes });
        }
    }

    /// Stops the stream of the present server, if there is one, and does not take that one again soon.
    fn leave(&mut self, context: &mut Context<'_>) {
        let Some((server, request)) = self.active.take() else { return };
        self.choice.fail(server);
        context.shared.links[server].pending.remove(&request);
        if context.shared.links[server].connection == Connection::Up {
            let (loglet, from, limit) = (context.shared.loglet(), self.next, self.limit);
            context.shared.tell(server, Message::Subscribe { request, loglet, from, limit, credit: 0 });
        }
    }

    fn deliver(&mut self, context: &mut Context<'_>, first: Offset, batch: Batch<'_>) {
        let received = batch.len();
        let mut delivered = 0;
        if first + u64::from(batch.count()) > self.next {
            let upper = self.limit.max(context.shared.known_tail);
            let Some(records) = usable(first, batch, self.next, upper) else { return self.leave(context) };
            delivered = records.bytes.len();
            let result = LogletResult::Records { first: self.next, records };
            if let LogletResult::Records { records, .. } = &result {
                self.next = self.next + u64::from(records.count);
            }
            context.shared.results.push_back((context.id, result));
            self.choice.forgive();
            self.heard(context.now);
        }
        self.credit -= delivered as i64;
        // The caller grants again what it is given; what it is not given, being known already, is granted here.
        if let Ok(surplus @ 1..) = u32::try_from(received.saturating_sub(delivered)) {
            self.pass_on(context, surplus);
        }
    }

    fn heard(&mut self, now: Instant) {
        self.progress = now;
        self.owed_since = None;
    }

    /// Whether the present server owes something that is known to be readable.
    fn owed(&self, shared: &Shared) -> bool {
        self.active.is_some() && self.credit > 0 && self.next < self.limit.max(shared.known_tail)
    }
}

impl Step for Subscribe {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        if context.shared.gone {
            self.end.get_or_insert((Some(LogletResult::Gone), false));
        }
        if self.active.is_none() && self.next < context.shared.trimmed {
            let trim_point = context.shared.trimmed;
            self.end.get_or_insert((Some(LogletResult::Trimmed { trim_point }), false));
        }
        if let Some((word, sealed)) = self.end.take() {
            self.leave(context);
            context.shared.results.extend(word.map(|word| (context.id, word)));
            return Some(LogletResult::SubscriptionEnded { sealed });
        }
        if self.owed(context.shared) && context.now.since(self.progress) >= context.shared.limits.stall {
            let since = *self.owed_since.get_or_insert(context.now);
            if context.now.since(since) >= context.shared.limits.stall {
                self.leave(context);
            }
        }
        // Without credit there is nothing to ask for, and a subscription with none means its end.
        if self.active.is_none() && self.credit > 0 {
            let server = self.choice.pick(context.shared, context.now)?;
            let (loglet, from, limit) = (context.shared.loglet(), self.next, self.limit);
            let credit = u32::try_from(self.credit).unwrap_or(u32::MAX);
            let request = context.shared.ask(server, context.key, |request| Message::Subscribe {
                request,
                loglet,
                from,
                limit,
                credit,
            });
            self.active = Some((server, request));
            self.heard(context.now);
        }
        None
    }

    fn answer(&mut self, context: &mut Context<'_>, link: usize, request: u64, message: &Message<'_>) {
        if self.active != Some((link, request)) {
            return;
        }
        match *message {
            Message::Records { first, batch, .. } => self.deliver(context, first, batch),
            // Sealed, and everything that is known to be committed has been delivered (L5). Otherwise this server lacks some.
            Message::Sealed { .. } if self.next >= self.limit.max(context.shared.known_tail) => {
                self.active = None;
                self.end.get_or_insert((None, true));
            }
            Message::Trimmed { trim_point, .. } if trim_point > self.next => {
                self.active = None;
                context.shared.trimmed = context.shared.trimmed.max(trim_point);
            }
            _ => {
                self.active = None;
                self.choice.fail(link);
            }
        }
    }

    fn lost(&mut self, link: usize) {
        if self.active.take_if(|(server, _)| *server == link).is_some() {
            self.choice.fail(link);
        }
    }

    fn timeout(&self, shared: &Shared) -> Option<(Instant, &'static str)> {
        let at = match self.active {
            Some(_) if self.owed(shared) => self.owed_since.unwrap_or(self.progress) + shared.limits.stall,
            None if self.credit > 0 => self.choice.timeout(shared)?,
            _ => return None,
        };
        Some((at, "loglet: a subscription goes to another LogServer"))
    }

    fn missing(&self, _: &Shared) -> String {
        format!("nothing at {} yet", self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::base::Limits;
    use crate::proto::loglet::{LogletOp, Records};

    fn subscribe(from: u64, limit: u64) -> LogletOp {
        LogletOp::Subscribe { from: Offset(from), limit: Offset(limit), credit: 10_000 }
    }

    /// Checks that the deliveries are exactly the records from `from` on; returns the end.
    fn delivered(rig: &mut Rig, from: u64) -> u64 {
        let mut next = from;
        for result in rig.results() {
            let LogletResult::Records { first, records } = result else { panic!("{result:?}") };
            assert_eq!(first, Offset(next));
            assert_eq!(records, honest(next..next + u64::from(records.count)));
            next += u64::from(records.count);
        }
        next
    }

    #[test]
    fn records_come_as_the_known_tail_moves() {
        let mut rig = Rig::new(vec![Server::with(0..20); 3]);
        rig.start(0, subscribe(2, 6));
        rig.run();
        assert_eq!(delivered(&mut rig, 2), 6);
        rig.servers[0].known = 11;
        rig.run();
        assert_eq!(delivered(&mut rig, 6), 11);
        rig.start(0, LogletOp::Credit { limit: Offset(15), bytes: 100 });
        rig.run();
        assert_eq!(delivered(&mut rig, 11), 15);
    }

    #[test]
    fn each_offset_comes_once_across_fail_over() {
        let mut rig = Rig::new(vec![Server::with(0..60); 3]);
        rig.servers[1].stored.remove(&33);
        rig.servers[2].rotten = true;
        rig.start(0, subscribe(0, 60));
        for turn in 0..60 {
            let server = turn % 3;
            rig.step(server);
            if turn % 7 == 0 {
                rig.disconnect(server);
                rig.connect(server);
            }
        }
        rig.pass_time(Limits::default().stall);
        assert_eq!(delivered(&mut rig, 0), 60);
    }

    #[test]
    fn duplicates_are_suppressed_and_their_credit_given_back() {
        let mut rig = Rig::new(vec![Server::with(0..9)]);
        rig.start(0, subscribe(0, 9));
        rig.fetch(0);
        let (request, ..) = rig.servers[0].streams[0];
        for range in [0..4, 0..4, 2..6] {
            rig.deliver(0, &Answer::Records { request, first: range.start, known: 0, records: honest(range) });
        }
        assert_eq!(delivered(&mut rig, 0), 6);
        while rig.fetch(0).is_some() {}
        let size = |range| honest(range).bytes.len();
        let given_back: Vec<bool> = [size(0..4), size(2..6) - size(4..6)]
            .iter()
            .map(|bytes| rig.log.iter().any(|(_, text)| text.contains(&format!("bytes: {bytes} "))))
            .collect();
        assert_eq!(given_back, [true, true], "{:?}", rig.log);
    }

    #[test]
    fn a_record_after_a_hole_is_never_delivered() {
        let mut rig = Rig::new(vec![Server::with(0..9), Server::with(0..9)]);
        rig.core.set_preferred(0);
        rig.start(0, subscribe(0, 9));
        rig.fetch(0);
        let (request, ..) = rig.servers[0].streams[0];
        rig.deliver(0, &Answer::Records { request, first: 1, known: 0, records: honest(1..3) });
        rig.run();
        assert_eq!(delivered(&mut rig, 0), 9);
    }

    /// L5: it ends with the seal, once everything that is known to be committed has come.
    #[test]
    fn it_ends_sealed_after_the_last_record() {
        let mut rig = Rig::new(vec![Server::with(0..3).sealed(), Server::with(0..7).sealed()]);
        rig.core.set_preferred(0);
        rig.start(0, subscribe(0, 7));
        rig.run();
        let results = rig.results();
        assert_eq!(*results.last().unwrap(), LogletResult::SubscriptionEnded { sealed: true });
        let count: u32 =
            results.iter().map(|r| if let LogletResult::Records { records, .. } = r { records.count } else { 0 }).sum();
        assert_eq!(count, 7, "the sealed server that lacks the rest did not end it");
    }

    #[test]
    fn trimmed_and_gone_are_said_before_the_end() {
        let mut rig = Rig::new(vec![Server { trim: 5, ..Server::with(0..9) }]);
        let ended = LogletResult::SubscriptionEnded { sealed: false };
        assert_eq!(rig.run_op(subscribe(0, 9)), [LogletResult::Trimmed { trim_point: Offset(5) }, ended]);
        let mut rig = Rig::new(vec![Server::with(0..9)]);
        rig.start(0, subscribe(9, 9));
        rig.run();
        rig.servers[0].gone = true;
        rig.start(1, LogletOp::CheckTail);
        rig.run();
        assert_eq!(rig.results().iter().filter(|result| **result == LogletResult::Gone).count(), 2);
    }

    /// L5: a server cut off from the sequencer says nothing although more is known to be readable.
    #[test]
    fn a_silent_server_is_left_when_more_is_known_to_be_readable() {
        let mut rig = Rig::new(vec![Server::with(0..3), Server::with(0..9)]);
        rig.core.set_preferred(0);
        rig.start(0, subscribe(0, 3));
        rig.run();
        assert_eq!(delivered(&mut rig, 0), 3);
        rig.pass_time(10 * Limits::default().stall);
        assert_eq!(rig.count(1, "Subscribe"), 0, "with nothing more to read silence is right");
        rig.servers[0].chunk = 0;
        rig.start(0, LogletOp::Credit { limit: Offset(9), bytes: 1 });
        rig.run();
        rig.pass_time(2 * Limits::default().stall);
        assert_eq!(delivered(&mut rig, 3), 9);
        assert!(rig.servers[0].streams.is_empty(), "the old stream is ended");
    }

    /// A known tail that another operation has just heard of is no reason to leave at once.
    #[test]
    fn what_has_only_just_become_readable_is_waited_for() {
        let mut rig = Rig::new(vec![Server::with(0..9), Server::with(0..9)]);
        rig.core.set_preferred(0);
        rig.start(0, subscribe(9, 9));
        rig.run();
        rig.pass_time(10 * Limits::default().stall);
        rig.core.shared.learn(Offset(10));
        rig.pass_time(Limits::default().stall / 2);
        assert_eq!(rig.count(1, "Subscribe"), 0);
        rig.pass_time(Limits::default().stall);
        assert_eq!(rig.count(1, "Subscribe"), 1);
    }

    #[test]
    fn without_credit_no_server_is_asked() {
        let mut rig = Rig::new(vec![Server::with(0..9); 2]);
        let size = honest(0..4).bytes.len() as u32;
        rig.start(0, LogletOp::Subscribe { from: Offset(0), limit: Offset(4), credit: size });
        rig.run();
        assert_eq!(delivered(&mut rig, 0), 4);
        rig.disconnect(0);
        rig.pass_time(Limits::default().stall);
        assert_eq!(rig.count(1, "Subscribe"), 0);
        rig.start(0, LogletOp::Credit { limit: Offset(9), bytes: 500 });
        rig.run();
        assert_eq!(delivered(&mut rig, 4), 9);
    }

    #[test]
    fn the_caller_may_end_it() {
        let mut rig = Rig::new(vec![Server::with(0..9)]);
        rig.start(0, subscribe(9, 9));
        rig.run();
        assert_eq!(rig.servers[0].streams.len(), 1);
        rig.start(0, LogletOp::Unsubscribe);
        rig.run();
        assert_eq!(rig.results(), [LogletResult::SubscriptionEnded { sealed: false }]);
        assert!(rig.servers[0].streams.is_empty());
        rig.start(0, LogletOp::Unsubscribe);
        assert_eq!(rig.results(), []);
    }

    #[test]
    fn empty_payloads_are_records_too() {
        let mut rig = Rig::new(vec![Server::with(0..2)]);
        rig.servers[0].stored.insert(0, Vec::new());
        rig.start(0, subscribe(0, 2));
        rig.run();
        let expected: Records = records(&[b"", &payload(1)]);
        assert_eq!(rig.results(), [LogletResult::Records { first: Offset(0), records: expected }]);
    }
}
