use super::link::Shared;
use super::repair::Repair;
use super::round::Round;
use super::step::{Context, Step};
use crate::base::{Instant, Offset};
use crate::proto::loglet::LogletResult;
use crate::wire::Message;

/// The checkTail table (section 3).
///
/// An `(X, open)` needs X first, and then from each LogServer of a majority one answer that says both "open" and "at least X".
/// Asking for the seal apart from the tail is the published erratum: the seal is never checked before the tail.
#[derive(Clone, Debug)]
pub(super) struct CheckTail {
    round: Round,
    /// The largest tail that each LogServer has told while open.
    open: Vec<Option<Offset>>,
    /// The largest tail that each LogServer has told while sealed. A sealed answer stays true (L2).
    sealed: Vec<Option<Offset>>,
    /// X of the row "none sealed", and when it was found.
    wait: Option<(Offset, Instant)>,
    /// The questions for at least X.
    awaiting: Round,
    /// The maximum of the first majority of sealed answers. It stays: a sealed tail may grow for ever.
    target: Option<Offset>,
    repair: Repair,
}

impl CheckTail {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            round: Round::new(servers),
            open: vec![None; servers],
            sealed: vec![None; servers],
            wait: None,
            awaiting: Round::new(servers),
            target: None,
            repair: Repair::new(servers),
        }
    }

    /// The rows "all sealed": at least a majority at the maximum, by repair where they differ.
    fn drive_sealed(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        let quorum = context.shared.quorum();
        if self.sealed.iter().flatten().count() < quorum {
            return None;
        }
        let target =
            *self.target.get_or_insert_with(|| *self.sealed.iter().flatten().max().expect("a majority answered"));
        let at_target = |sealed: &[Option<Offset>]| sealed.iter().flatten().filter(|tail| **tail >= target).count();
        if at_target(&self.sealed) < quorum {
            self.repair.drive(context, &self.sealed, target);
            return None;
        }
        // P1: this tail raises no known tail, here or anywhere.
        Some(LogletResult::Tail { tail: target, sealed: true })
    }

    /// The row "none sealed".
    fn drive_open(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        let quorum = context.shared.quorum();
        if self.open.iter().flatten().count() < quorum {
            return None;
        }
        let largest = self.open.iter().flatten().max().expect("a majority answered");
        let (target, since) = *self.wait.get_or_insert((*largest, context.now));
        if self.open.iter().flatten().filter(|tail| **tail >= target).count() >= quorum {
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
        if self.sealed.iter().any(Option::is_some) {
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

    fn sealed(&mut self, server: usize, tail: Offset) {
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
