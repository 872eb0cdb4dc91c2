use super::choice::Choice;
use super::link::Shared;
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
    /// How it ends: a last word, perhaps, and whether the loglet is sealed.
    end: Option<(Option<LogletResult>, bool)>,
}

impl Subscribe {
    pub(super) fn new(shared: &Shared, id: OpId, from: Offset, limit: Offset, credit: u32, now: Instant) -> Self {
        let choice = Choice::new(shared, id, now);
        Self { next: from, limit, credit: i64::from(credit), choice, active: None, progress: now, end: None }
    }

    /// More bytes, and perhaps a larger limit.
    pub(super) fn grant(&mut self, context: &mut Context<'_>, limit: Offset, bytes: u32) {
        // What is readable changes: silence counts from here.
        if self.limit < limit {
            self.progress = context.now;
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
        if context.shared.links[server].ready() {
            let (loglet, from, limit) = (context.shared.loglet(), self.next, self.limit);
            context.shared.tell(server, Message::Subscribe { request, loglet, from, limit, credit: 0 });
        }
    }

    fn deliver(&mut self, context: &mut Context<'_>, first: Offset, batch: Batch<'_>) {
        let received = batch.bytes().len();
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
            self.progress = context.now;
        }
        self.credit -= delivered as i64;
        // The caller grants again what it is given; what it is not given, being known already, is granted here.
        if let Ok(surplus @ 1..) = u32::try_from(received.saturating_sub(delivered)) {
            self.pass_on(context, surplus);
        }
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
        if let Some((word, sealed)) = self.end.take() {
            self.leave(context);
            context.shared.results.extend(word.map(|word| (context.id, word)));
            return Some(LogletResult::SubscriptionEnded { sealed });
        }
        if self.owed(context.shared) && context.now.since(self.progress) >= context.shared.limits.stall {
            self.leave(context);
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
            self.progress = context.now;
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
                self.end.get_or_insert((Some(LogletResult::Trimmed { trim_point }), false));
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
            Some(_) if self.owed(shared) => self.progress + shared.limits.stall,
            None if self.credit > 0 => self.choice.timeout(shared)?,
            _ => return None,
        };
        Some((at, "loglet: a subscription goes to another LogServer"))
    }

    fn missing(&self, _: &Shared) -> String {
        format!("nothing at {} yet", self.next)
    }
}
