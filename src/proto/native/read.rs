use super::choice::Choice;
use super::link::Shared;
use super::round::{server_name, why_silent};
use super::step::{Context, Step};
use crate::base::{Instant, Offset};
use crate::proto::loglet::{LogletResult, OpId, Records};
use crate::wire::{Batch, Message};

/// One read, from one LogServer after another until one has what is asked.
#[derive(Clone, Debug)]
pub(super) struct Read {
    min: Offset,
    max: Offset,
    limit: Offset,
    bytes_max: u32,
    choice: Choice,
    asked: Option<(usize, u64, Instant)>,
    outcome: Option<LogletResult>,
}

/// The part of a batch at `first` that lies in `[min, upper)`, if it has a record at `min` (P17: never over a gap) and all its
/// records match their checksums.
pub(super) fn usable(first: Offset, batch: Batch<'_>, min: Offset, upper: Offset) -> Option<Records> {
    let skip = u32::try_from(min.0.checked_sub(first.0)?).ok().filter(|skip| *skip < batch.count())?;
    let wanted = u32::try_from(upper.since(min)).unwrap_or(u32::MAX).min(batch.count() - skip);
    if wanted == 0 || batch.verify().is_err() {
        return None;
    }
    let mut bytes = Vec::with_capacity(batch.len());
    let count = if wanted == batch.count() {
        batch.write_to(&mut bytes);
        wanted
    } else {
        batch.copy_range(skip, wanted, usize::MAX, &mut bytes)
    };
    assert_eq!(count, wanted, "without a limit of bytes everything is copied");
    Some(Records { count, bytes })
}

impl Read {
    pub(super) fn new(
        shared: &Shared,
        id: OpId,
        min: Offset,
        max: Offset,
        limit: Offset,
        bytes_max: u32,
        now: Instant,
    ) -> Self {
        let outcome = (min >= max).then_some(LogletResult::NothingYet);
        Self { min, max, limit, bytes_max, choice: Choice::new(shared, id, now), asked: None, outcome }
    }

    /// First offset that must not be returned: nothing at or beyond the segment's stop, which is `max`, and nothing that is not
    /// known to be committed.
    fn upper(&self, shared: &Shared) -> Offset {
        self.max.min(self.limit.max(shared.known_tail))
    }
}

impl Step for Read {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        if let Some(outcome) = self.outcome.take() {
            return Some(outcome);
        }
        if context.shared.gone {
            return Some(LogletResult::Gone);
        }
        if self.asked.is_none() && self.min < context.shared.trimmed {
            return Some(LogletResult::Trimmed { trim_point: context.shared.trimmed });
        }
        if let Some((server, _, since)) = self.asked {
            if context.now.since(since) < context.shared.limits.stall {
                return None;
            }
            self.lost(server);
        }
        let server = self.choice.pick(context.shared, context.now)?;
        let Self { min, max, limit, bytes_max, .. } = *self;
        let loglet = context.shared.loglet();
        let request = context.shared.ask(server, context.key, |request| Message::Read {
            request,
            loglet,
            min,
            max,
            limit,
            bytes_max,
        });
        self.asked = Some((server, request, context.now));
        None
    }

    fn answer(&mut self, context: &mut Context<'_>, link: usize, request: u64, message: &Message<'_>) {
        if self.asked.is_none_or(|(server, asked, _)| (server, asked) != (link, request)) {
            return;
        }
        let upper = self.upper(context.shared);
        self.asked = None;
        self.outcome = match *message {
            Message::Records { first, batch, .. } => {
                usable(first, batch, self.min, upper).map(|records| LogletResult::Records { first: self.min, records })
            }
            Message::Trimmed { trim_point, .. } if trim_point > self.min => {
                context.shared.trimmed = context.shared.trimmed.max(trim_point);
                Some(LogletResult::Trimmed { trim_point })
            }
            Message::Gone { .. } => Some(LogletResult::Gone),
            // Nobody is known to have more. Below the limit somebody has, so another one is asked.
            Message::Behind { .. } if self.min >= upper => Some(LogletResult::NothingYet),
            _ => None,
        };
        if self.outcome.is_none() {
            self.choice.fail(link);
        }
    }

    fn lost(&mut self, link: usize) {
        if self.asked.take_if(|(server, _, _)| *server == link).is_some() {
            self.choice.fail(link);
        }
    }

    fn timeout(&self, shared: &Shared) -> Option<(Instant, &'static str)> {
        let at = match self.asked {
            Some((_, _, since)) => since + shared.limits.stall,
            None => self.choice.timeout(shared)?,
        };
        Some((at, "loglet: a read goes to another LogServer"))
    }

    fn missing(&self, shared: &Shared) -> String {
        let servers = (0..shared.servers()).map(|server| (server, why_silent(shared, server)));
        let who: Vec<String> = servers.map(|(server, why)| format!("{} {why}", server_name(shared, server))).collect();
        format!("nobody has {}: {}", self.min, who.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::base::Limits;
    use crate::proto::loglet::LogletOp;

    fn read(min: u64, max: u64, limit: u64) -> LogletOp {
        LogletOp::ReadNext { min: Offset(min), max: Offset(max), limit: Offset(limit), bytes_max: 4096 }
    }

    fn read_records(range: std::ops::Range<u64>) -> LogletResult {
        LogletResult::Records { first: Offset(range.start), records: honest(range) }
    }

    #[test]
    fn the_preferred_server_is_asked_and_no_other() {
        let mut rig = Rig::new(vec![Server::with(0..3); 3]);
        rig.core.set_preferred(2);
        assert_eq!(rig.run_op(read(1, 9, 3)), [read_records(1..3)]);
        assert_eq!([0, 1, 2].map(|server| rig.count(server, "Read")), [0, 0, 1]);
    }

    #[test]
    fn without_a_preference_they_take_turns() {
        let mut rig = Rig::new(vec![Server::with(0..3); 3]);
        (0..6).for_each(|id| rig.start(id, read(0, 9, 3)));
        rig.run();
        assert_eq!([0, 1, 2].map(|server| rig.count(server, "Read")), [2, 2, 2]);
    }

    /// P17: a server without the record at `min` is never a reason to return a later one.
    #[test]
    fn a_gap_and_a_server_behind_are_passed_over() {
        let mut holed = Server::with(0..9);
        holed.stored.remove(&4);
        let mut rig = Rig::new(vec![holed, Server::with(0..2), Server::with(0..9)]);
        rig.core.set_preferred(0);
        assert_eq!(rig.run_op(read(4, 9, 9)), [read_records(4..8)]);
        assert_eq!([0, 1, 2].map(|server| rig.count(server, "Read")), [1, 1, 1]);
    }

    #[test]
    fn a_record_beyond_the_one_asked_for_is_not_taken() {
        let batch_records = honest(5..8);
        let batch = Batch::new(3, &batch_records.bytes).unwrap();
        assert_eq!(usable(Offset(5), batch, Offset(4), Offset(9)), None);
        assert_eq!(usable(Offset(5), batch, Offset(6), Offset(7)), Some(honest(6..7)));
        assert_eq!(usable(Offset(5), batch, Offset(8), Offset(9)), None);
        assert_eq!(usable(Offset(5), batch, Offset(5), Offset(5)), None);
    }

    #[test]
    fn a_bad_checksum_sends_the_read_elsewhere() {
        let rotten = Server { rotten: true, ..Server::with(0..3) };
        let mut rig = Rig::new(vec![rotten, Server::with(0..3)]);
        rig.core.set_preferred(0);
        assert_eq!(rig.run_op(read(0, 9, 3)), [read_records(0..3)]);
    }

    /// P1 9a: nothing at or beyond the segment's stop, nor beyond what is known to be committed, whatever a server sends.
    #[test]
    fn nothing_beyond_the_stop_or_the_limit_is_returned() {
        for (max, limit) in [(3, 9), (9, 3)] {
            let mut rig = Rig::new(vec![Server::with(0..9)]);
            rig.start(1, read(1, max, limit));
            let answers = rig.fetch(0).unwrap();
            let Answer::Records { request, .. } = answers[0] else { panic!() };
            rig.deliver(0, &Answer::Records { request, first: 0, known: 0, records: honest(0..9) });
            assert_eq!(rig.results(), [read_records(1..3)]);
        }
    }

    #[test]
    fn at_the_tail_there_is_nothing_yet() {
        let mut rig = Rig::new(vec![Server::with(0..3); 3]);
        assert_eq!(rig.run_op(read(3, 9, 3)), [LogletResult::NothingYet]);
    }

    #[test]
    fn the_trim_point_is_told() {
        let mut rig = Rig::new(vec![Server { trim: 5, ..Server::with(0..9) }]);
        assert_eq!(rig.run_op(read(3, 9, 9)), [LogletResult::Trimmed { trim_point: Offset(5) }]);
    }

    #[test]
    fn disconnects_refusals_and_silence_send_the_read_elsewhere() {
        let mut rig = Rig::new(vec![Server::with(0..3); 4]);
        rig.core.set_preferred(0);
        rig.servers[1].full = true;
        rig.start(1, read(0, 9, 3));
        rig.fetch(0);
        rig.disconnect(0);
        rig.step(1);
        rig.fetch(2);
        rig.pass_time(Limits::default().stall);
        assert_eq!(rig.results(), [read_records(0..3)]);
        assert_eq!(rig.count(3, "Read") + rig.count(1, "Read"), 2);
    }

    #[test]
    fn a_committed_record_that_nobody_at_hand_has_is_tried_for_until_the_timeout() {
        let mut rig = Rig::new(vec![Server::with(0..2); 3]);
        assert_eq!(rig.run_op(read(2, 9, 5)), []);
        rig.pass_time(Limits::default().stall);
        rig.servers[1] = Server::with(0..5);
        rig.pass_time(Limits::default().stall);
        assert_eq!(rig.results(), [read_records(2..5)]);
        rig.start(2, read(7, 9, 9));
        rig.pass_time(Limits::default().operation_timeout);
        assert!(
            matches!(&rig.results()[..], [LogletResult::Unavailable { reason }] if reason.starts_with("nobody has 7"))
        );
    }
}
