use super::link::Shared;
use super::round::Broadcast;
use super::step::{Context, Step};
use crate::base::{Instant, Offset};
use crate::proto::loglet::LogletResult;
use crate::wire::Message;

/// Trims every LogServer that can be reached, at least a majority.
#[derive(Clone, Debug)]
pub(super) struct Trim {
    point: Offset,
    committed: Offset,
    broadcast: Broadcast,
    /// The smallest trim point answered.
    lowest: Option<Offset>,
}

impl Trim {
    pub(super) fn new(shared: &Shared, point: Offset, committed: Offset) -> Self {
        // P3: a point beyond what is known to be committed would trim appends that are still to come.
        let point = point.min(committed.max(shared.known_tail));
        Self { point, committed, broadcast: Broadcast::new(shared.servers()), lowest: None }
    }
}

impl Step for Trim {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        if context.shared.gone {
            return Some(LogletResult::Gone);
        }
        // `committed` may lie below a known tail that the point was clipped to.
        let (loglet, point, committed) = (context.shared.loglet(), self.point, self.committed.max(self.point));
        self.broadcast.round.ask(
            context.shared,
            context.key,
            |_| true,
            |request| Message::Trim { request, loglet, point, committed },
        );
        let trim_point = self.lowest.filter(|_| self.broadcast.is_complete(context))?;
        context.shared.trimmed = context.shared.trimmed.max(trim_point);
        Some(LogletResult::TrimDone { trim_point, servers: self.broadcast.round.answered() })
    }

    fn answer(&mut self, _: &mut Context<'_>, link: usize, _: u64, message: &Message<'_>) {
        if let Message::Trimmed { trim_point, .. } = *message {
            self.broadcast.round.settle(link);
            self.lowest = Some(self.lowest.map_or(trim_point, |lowest| lowest.min(trim_point)));
        } else {
            self.lost(link);
        }
    }

    fn lost(&mut self, link: usize) {
        self.broadcast.round.lost(link);
    }

    fn timeout(&self, shared: &Shared) -> Option<(Instant, &'static str)> {
        self.broadcast.timeout(shared)
    }

    fn missing(&self, shared: &Shared) -> String {
        format!("no majority is trimmed: {}", self.broadcast.round.missing(shared))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::base::Limits;
    use crate::proto::loglet::LogletOp;

    fn trim(point: u64, committed: u64) -> LogletOp {
        LogletOp::Trim { point: Offset(point), committed: Offset(committed) }
    }

    #[test]
    fn every_reachable_server_is_trimmed_and_the_smallest_point_told() {
        let mut rig = Rig::new(vec![Server::with(0..9); 3]);
        rig.servers[1].trim = 6;
        assert_eq!(rig.run_op(trim(4, 9)), [LogletResult::TrimDone { trim_point: Offset(4), servers: 3 }]);
    }

    /// P3: a point beyond what is committed would trim appends at their birth.
    #[test]
    fn a_point_beyond_what_is_committed_is_clipped() {
        let mut rig = Rig::new(vec![Server::with(0..9); 3]);
        assert_eq!(rig.run_op(trim(50, 7)), [LogletResult::TrimDone { trim_point: Offset(7), servers: 3 }]);
    }

    #[test]
    fn a_server_that_was_not_reached_does_not_bring_trimmed_records_back() {
        let mut rig = Rig::new(vec![Server::with(0..9); 3]);
        rig.disconnect(0);
        rig.disconnect(2);
        rig.connect(2);
        assert_eq!(rig.run_op(trim(4, 9)), [LogletResult::TrimDone { trim_point: Offset(4), servers: 2 }]);
        rig.connect(0);
        rig.core.set_preferred(0);
        assert_eq!(rig.servers[0].trim, 0);
        let (trimmed, ended) =
            (LogletResult::Trimmed { trim_point: Offset(4) }, LogletResult::SubscriptionEnded { sealed: false });
        let (max, limit, bytes_max) = (Offset(9), Offset(9), 4096);
        let read = |min| LogletOp::ReadNext { min: Offset(min), max, limit, bytes_max };
        assert_eq!(rig.run_op(read(3)), std::slice::from_ref(&trimmed));
        assert_eq!(rig.run_op(LogletOp::Subscribe { from: Offset(0), limit, credit: 9 }), [trimmed, ended]);
        assert!(matches!(rig.run_op(read(4))[..], [LogletResult::Records { first: Offset(4), .. }]));
    }

    #[test]
    fn a_majority_is_needed_and_a_silent_server_is_not_waited_for_long() {
        let mut rig = Rig::new(vec![Server::with(0..9); 3]);
        rig.disconnect(0);
        rig.start(1, trim(4, 9));
        rig.step(1);
        assert_eq!(rig.results(), []);
        rig.connect(0);
        rig.step(0);
        assert_eq!(rig.results(), [], "the third is connected");
        let _silent = rig.fetch(2);
        rig.pass_time(Limits::default().stall);
        assert_eq!(rig.results(), [LogletResult::TrimDone { trim_point: Offset(4), servers: 2 }]);
    }
}
