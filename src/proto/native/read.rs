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
    let mut bytes = Vec::with_capacity(batch.bytes().len());
    let count = if wanted == batch.count() {
        bytes.extend_from_slice(batch.bytes());
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
            Message::Trimmed { trim_point, .. } if trim_point > self.min => Some(LogletResult::Trimmed { trim_point }),
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
