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
